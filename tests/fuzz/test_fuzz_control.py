"""Who looks into robots: what a robot shows, and what a client makes of whoever answers.

What clients send to a robot is in `tests/cli/test_control_fuzz.py`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import io
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command_line import short_folder
from fuzzing import fuzzed, noise, peak
from hypothesis import example
from hypothesis import strategies as st

from horus_trio.cli import main
from horus_trio.cli.control.errors import ControlError
from horus_trio.cli.control.protocol import LINE_LIMIT, parse_request, refusal
from horus_trio.cli.control.rendering import DEPTH, ITEMS, ROOM, TEXT, rendered
from horus_trio.cli.control.requests import REQUESTS, checked
from horus_trio.cli.errors import CommandFailed
from horus_trio.cli.frame import Frame

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=10)
    | st.sampled_from(["imu", "camera", "\ud800", "\x1b[2J", "ok", "error"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["ok", "error", "nodes", "sent", "name", "pid", "data", "dropped", "x"])
            | st.text(max_size=3),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)

# Requests


@fuzzed(
    80,
    line=noise(b"{", b"}", b'"do"', b":", b'"rate"', b",", b"9" * 50, b"\\u", b"[")
    | JSON.map(lambda value: json.dumps(value).encode())
    | st.builds(
        lambda do, more: json.dumps(more | {"do": do}).encode(),
        st.sampled_from(list(REQUESTS)),
        st.dictionaries(st.sampled_from(["node", "topic", "hz", "reason", "version"]), JSON),
    ),
)
@example(line=b"[" * LINE_LIMIT)
@example(line=b'{"do": "rate", "node": "a", "hz": ' + b"9" * 5000 + b"}")
def test_a_line_is_a_request_or_refused(line: bytes) -> None:
    try:
        do, arguments = parse_request(line)
        given = checked(do, arguments)
    except ControlError as error:
        assert json.loads(refusal(str(error)))["error"]
        assert len(refusal(str(error))) < 8_000
        return
    assert do in REQUESTS
    assert all(isinstance(value, (str, float)) for value in given.values())


# What is shown of messages


class Colour(enum.Enum):
    RED = 1


@dataclasses.dataclass
class Pose:
    x: Any
    y: Any = None


class Evil:
    """Raises whatever it is asked."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __repr__(self) -> str:
        raise self._error


class EvilDict(dict[Any, Any]):
    def items(self) -> Any:
        raise ValueError("no items")


class EvilList(list[Any]):
    def __len__(self) -> int:
        raise KeyError("no length")

    def __iter__(self) -> Iterator[Any]:
        raise OSError("no items")


class EvilInt(int):
    def bit_length(self) -> int:
        raise ArithmeticError("no bits")


def _lazy() -> Any:
    """A dataclass of whose fields one is a property, which raises something else."""

    @dataclasses.dataclass
    class Message:
        x: int = 0

    Message.x = property(lambda self: 1 // 0)  # type: ignore[assignment]
    return object.__new__(Message)


EVIL: dict[str, Any] = {
    "a repr that raises": Evil(ValueError()),
    "a repr that recurs": Evil(RecursionError()),
    "a dict without items": EvilDict(a=1),
    "a list without a length": EvilList([1]),
    "a number without bits": EvilInt(5),
    "a dataclass that raises": _lazy(),
    "an enumeration": Colour.RED,
    "a class": Pose,
    "an object": object(),
    "no number": float("nan"),
    "a large number": 2**100_000,
    "a view": memoryview(b"x"),
}
EVILS = st.sampled_from(sorted(EVIL)).map(lambda name: EVIL[name])
MESSAGES = st.recursive(
    EVILS | st.text(max_size=50) | st.binary(max_size=50) | st.integers() | st.floats() | st.none(),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=5) | st.integers() | st.none(), inner, max_size=5)
        | st.builds(Pose, inner, inner)
    ),
    max_leaves=20,
)


@fuzzed(60, message=MESSAGES)
def test_any_message_is_shown(message: Any) -> None:
    assert json.loads(json.dumps(rendered(message))) is not Ellipsis


@pytest.mark.parametrize(
    "message",
    [
        list(range(10**6)),
        ["x" * 10_000] * 10_000,
        dict.fromkeys(range(10000), "y" * 100),
        b"z" * 10**7,
        [[["w"] * 100] * 100] * 100,
    ],
    ids=["numbers", "texts", "names", "bytes", "levels"],
)
def test_little_is_shown_of_a_large_message(message: Any) -> None:
    shown = ""

    def show() -> None:
        nonlocal shown
        shown = json.dumps(rendered(message))

    assert peak(show) < 3_000_000
    assert len(shown) < 2 * ROOM + 60 * ITEMS + TEXT


def test_what_contains_itself_is_shown() -> None:
    message: list[Any] = []
    message.append(message)
    shown, levels = rendered(message), 0
    while isinstance(shown, list):
        [shown] = shown
        levels += 1
    assert (shown, levels) == ("…", DEPTH)


# Whoever answers

ANSWERS = JSON.map(lambda value: json.dumps(value).encode()) | st.builds(
    lambda value: json.dumps({"version": 1, "ok": value}).encode(), JSON
)
LINES = ANSWERS | noise(b"{", b'"ok"', b":", b"}") | st.just(b"[" * 5_000)


@contextlib.contextmanager
def posing(folder: Path, lines: list[bytes]) -> Iterator[None]:
    """Somebody listens where robots do, and answers each request with the next of these."""
    with socket.socket(socket.AF_UNIX) as listener:
        path = folder / "rover-1.sock"
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            for _ in range(2):  # one to be asked for its name, one to be asked for the rest
                with contextlib.suppress(OSError):
                    client, _ = listener.accept()
                    with client:
                        client.settimeout(5)
                        for line in lines:
                            if not client.recv(4096):
                                break
                            client.sendall(line + b"\n")

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            path.unlink()


COMMANDS = (
    ["nodes"],
    ["nodes", "--json"],
    ["topics"],
    ["top", "--json"],
    ["echo", "imu", "--count", "1"],
    ["echo", "imu", "--count", "1", "--json"],
    ["rate", "imu", "5"],
    ["dump"],
    ["emergency"],
    ["stop"],
)


@fuzzed(25, command=st.sampled_from(COMMANDS), lines=st.lists(LINES, min_size=1, max_size=3))
@example(command=["nodes"], lines=[b"[" * 5_000])
@example(command=["top", "--json"], lines=[b'{"ok": 5}'])
@example(command=["nodes"], lines=[b'{"ok": {"name": "rover", "pid": 1}}'])
def test_whoever_answers_the_command_ends_in_order(command: list[str], lines: list[bytes]) -> None:
    out, err = io.StringIO(), io.StringIO()
    with short_folder() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("HORUS_TRIO_RUNTIME_DIR", str(folder))
        with (
            posing(folder, lines),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            try:
                code = main(command)
            except SystemExit as end:
                assert end.code == 2  # it is no command line after all
            else:
                assert code in (0, 1)


def test_half_a_character_is_echoed() -> None:
    """Such as is in the name of a file that is no UTF-8."""
    hello = b'{"ok": {"name": "rover", "pid": 1}}'
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    with short_folder() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("HORUS_TRIO_RUNTIME_DIR", str(folder))
        message = b'{"ok": {"data": "\\udcff", "dropped": 0}}'
        with posing(folder, [hello + b"\n" + message]), contextlib.redirect_stdout(out):
            assert main(["echo", "imu", "--count", "1"]) == 0
    out.seek(0)
    assert out.read() == '"\\udcff"\n'


@fuzzed(50, values=JSON)
def test_any_frame_is_shown_as_far_as_it_is_understood(values: Any) -> None:
    with contextlib.suppress(CommandFailed):
        frame = Frame.from_dict(values)
        assert isinstance(frame, Frame)
