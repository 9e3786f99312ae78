"""Messages of any kind as JSON of bounded size."""

from __future__ import annotations

import dataclasses
import enum
import json
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from horus_trio.cli.control.rendering import ITEMS, ROOM, TEXT, rendered


class Point(NamedTuple):
    x: float
    y: float


class Mode(enum.Enum):
    MANUAL = 1


@dataclasses.dataclass(frozen=True, slots=True)
class Pose:
    at: Point
    mode: Mode


class Rude:
    def __repr__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        (None, None),
        (True, True),
        (3, 3),
        (2**80, "<int of 81 bits>"),
        (0.5, 0.5),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        ("text", "text"),
        (b"\x00\xff", "b'\\x00\\xff'"),
        (Point(1.0, 2.0), {"x": 1.0, "y": 2.0}),
        (Pose(Point(1, 2), Mode.MANUAL), {"at": {"x": 1, "y": 2}, "mode": "MANUAL"}),
        ({1: (2, 3), "a": {4}}, {"1": [2, 3], "a": [4]}),
        (Rude(), "<Rude, whose repr raises RuntimeError>"),
    ],
)
def test_a_message_is_shown_as_what_it_is(message: object, shown: object) -> None:
    assert rendered(message) == shown


def test_a_class_is_no_value_of_it() -> None:
    assert str(rendered(Pose)).endswith("Pose'>")


def test_what_is_large_is_cut() -> None:
    assert rendered("x" * 5000) == "x" * TEXT + "… 3000 more"
    assert rendered(b"x" * 5000).endswith("… 4500 more bytes")
    numbers = rendered(list(range(10**6)))
    assert numbers[:3] == [0, 1, 2]
    assert numbers[-1] == f"… {10**6 - ITEMS + 1} more"
    pairs = rendered({str(i): i for i in range(10**5)})
    assert pairs["…"] == f"{10**5 - ITEMS + 1} more"


def test_what_has_no_end_is_cut() -> None:
    endless: list[Any] = []
    endless.append(endless)
    assert "…" in json.dumps(rendered(endless), ensure_ascii=False)


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.complex_numbers(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.text() | st.integers() | st.binary(), inner)
        | st.tuples(inner, inner)
    ),
)


@pytest.mark.slow
@given(message=ANYTHING, times=st.integers(1, 1000))
def test_everything_is_json_of_bounded_size(message: object, times: int) -> None:
    text = json.dumps(rendered([message] * times), allow_nan=False)
    assert len(text) <= 12 * ROOM + 60 * ITEMS
