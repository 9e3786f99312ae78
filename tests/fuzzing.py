"""What the tests in `tests/fuzz` have in common: inputs, and the bounds that are held against them.

An input is a *stream* of bytes: noise, valid traffic, and valid traffic that is damaged. It is cut
into pieces anywhere, as lines do. What is asserted is the same everywhere: no exception but the
documented ones, work that grows with the input and no faster, memory that stays below what is
promised, and a count for everything that was refused.

`HORUS_FUZZ` says how much is tried. Without it a test takes a fixed small set of inputs, the same
in every run, so that continuous integration tells about changes and not about luck. With it a test
takes so many times as many, and others each time; what was found is tried first the next time.
`nox -s fuzz` sets it.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Any

import hypothesis
from hypothesis import strategies as st

__all__ = [
    "CUTS",
    "FACTOR",
    "Work",
    "counted",
    "cut",
    "damaged",
    "fuzzed",
    "noise",
    "peak",
    "streams",
]

FACTOR = int(os.environ.get("HORUS_FUZZ", "0"))
"""How many times as many inputs as usual; 0: as usual, and always the same."""


def fuzzed(examples: int, *given: Any, **named: Any) -> Callable[[Callable[..., Any]], Any]:
    """Call the test with so many inputs, times `FACTOR`.

    Arguments:
        examples: As many as take a tenth of a second or so.
        given: Strategies, as for `hypothesis.given`.
        named: The same, by the names of the test's arguments.
    """
    if FACTOR:
        settings = hypothesis.settings(max_examples=examples * FACTOR, deadline=None)
    else:
        settings = hypothesis.settings(
            max_examples=examples,
            deadline=None,
            derandomize=True,
            database=None,
            # A small budget is no place for what stumbles at the first large input.
            suppress_health_check=[hypothesis.HealthCheck.too_slow],
        )

    def decorated(test: Callable[..., Any]) -> Any:
        return settings(hypothesis.given(*given, **named)(test))  # type: ignore[no-untyped-call]

    return decorated


# Inputs


def noise(*tokens: bytes, most: int = 200) -> st.SearchStrategy[bytes]:
    """Bytes without a meaning; full of what a format takes for beginnings, ends and lengths."""
    raw = st.binary(max_size=most)
    if not tokens:
        return raw
    part = st.sampled_from(tokens) | st.binary(max_size=4)
    return raw | st.lists(part, max_size=most // 4).map(b"".join)


@st.composite
def damaged(draw: st.DrawFn, valid: st.SearchStrategy[bytes]) -> bytes:
    """Valid traffic in which bits were changed, bytes lost, doubled and put in."""
    data = bytearray(draw(valid))
    for _ in range(draw(st.integers(1, 3))):
        if not data:
            break
        at = draw(st.integers(0, len(data) - 1))
        match draw(st.sampled_from(("bit", "byte", "lose", "double", "cut", "insert"))):
            case "bit":
                data[at] ^= 1 << draw(st.integers(0, 7))
            case "byte":
                data[at] = draw(st.sampled_from((0, 1, 0x7F, 0x80, 0xFF, 10, 13, 45, 57)))
            case "lose":
                del data[at : at + draw(st.integers(1, 8))]
            case "double":
                data[at:at] = data[at : at + draw(st.integers(1, 32))]
            case "cut":
                del data[at:]
            case _:
                data[at:at] = draw(st.binary(max_size=8))
    return bytes(data)


def streams(
    valid: st.SearchStrategy[bytes], *tokens: bytes, most: int = 6
) -> st.SearchStrategy[bytes]:
    """Noise, valid traffic and damaged traffic, one after the other."""
    part = valid | damaged(valid) | noise(*tokens)
    return st.lists(part, max_size=most).map(b"".join)


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    """The data in pieces that end at these places, counted modulo its length; none is empty."""
    ends = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[start:end] for start, end in itertools.pairwise(ends)]


CUTS = st.lists(st.integers(0, 10_000), max_size=8)
"""Places for `cut`."""

# Bounds


class Work:
    """Calls of functions, Python's and C's, that were made."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        self.calls += event in ("call", "c_call")


@contextlib.contextmanager
def counted() -> Iterator[Work]:
    """Count the calls made inside: how much work something is, whatever the machine does."""
    work, before = Work(), sys.getprofile()
    sys.setprofile(work)
    try:
        yield work
    finally:
        sys.setprofile(before)


def peak(call: Callable[[], object]) -> int:
    """Bytes of memory that a call needs at most, beyond what there was before."""
    traced = tracemalloc.is_tracing()
    if not traced:
        tracemalloc.start()
    try:
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        call()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        if not traced:
            tracemalloc.stop()
