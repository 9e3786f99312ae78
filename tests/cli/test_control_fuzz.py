"""Whatever is sent to the socket: an error or a closed connection, and the robot goes on."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command_line import short_folder
from hypothesis import given, settings
from hypothesis import strategies as st

import horus_trio as horus
from horus_trio.cli.control import ControlError, listening
from horus_trio.cli.control.protocol import LINE_LIMIT, parse_request
from horus_trio.cli.control.requests import REQUESTS, checked

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["imu", "nothing", "", "\x00", "\ud800", "x" * 5000])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=10,
)
# What would end or pause the robot is left to the tests that mean it.
COMMANDS = st.sampled_from(
    [name for name in REQUESTS if name not in ("stop", "emergency")]
) | st.text(max_size=10)
OBJECTS = st.builds(
    lambda do, more: {"do": do} | more,
    COMMANDS,
    st.dictionaries(
        st.sampled_from(["node", "topic", "hz", "reason", "version", "x"]), VALUES, max_size=4
    ),
)
LINES = (
    st.binary(max_size=200)
    | OBJECTS.map(lambda value: json.dumps(value).encode())
    | VALUES.map(lambda value: json.dumps(value).encode())
    | OBJECTS.map(lambda value: json.dumps(value).encode()[:-3])
    | st.sampled_from(
        [
            b"[" * 10_000,
            b'{"do": ' * 2_000,
            b'{"do": "rate", "node": "imu", "hz": ' + b"9" * 10_000 + b"}",
            b'{"do": "frame", "do": "robot"}',
            b'{"do": "robot"}\x00',
            b"\xff\xfe",
            b"GET / HTTP/1.1",
            b"x" * (LINE_LIMIT + 1),
            b"x" * (20 * LINE_LIMIT),
        ]
    )
)


class Imu(horus.AsyncNode):
    rate = 100

    async def tick_async(self) -> None:
        self.send("imu", self.current_tick)


@pytest.fixture(scope="module")
def path() -> Iterator[Path]:
    """The socket of a robot that lives through all of this."""
    scheduler = horus.Scheduler(name="rover").add(Imu("imu"))
    with short_folder() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("HORUS_TRIO_RUNTIME_DIR", str(folder))
        with horus.background(scheduler), listening(scheduler) as path:
            before = threading.active_count()
            yield path
            deadline = time.monotonic() + 20
            while scheduler.topic("imu").statistics().subscriptions:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            # At most the threads in which requests wait for the robot, which end by themselves.
            assert threading.active_count() <= before + 10
            assert scheduler.statistics().nodes["imu"].errors == 0
        assert list(folder.iterdir()) == []


@pytest.mark.slow
@given(line=LINES)
@settings(max_examples=500)
def test_a_line_is_a_request_or_refused(line: bytes) -> None:
    with contextlib.suppress(ControlError):  # and nothing else is raised
        do, arguments = parse_request(line)
        checked(do, arguments)
        assert do in REQUESTS


def still_answers(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(20)
        client.connect(str(path))
        client.sendall(b'{"do": "robot"}\n')
        assert json.loads(client.recv(1000))["ok"]["pid"] == os.getpid()


@pytest.mark.slow
@given(lines=st.lists(LINES, max_size=5), half=st.booleans(), reads=st.booleans())
@settings(max_examples=150)
def test_whatever_is_sent_is_answered_or_hung_up_on(
    path: Path, lines: list[bytes], half: bool, reads: bool
) -> None:
    data = b"\n".join(lines) + (b"" if half else b"\n")
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(20)
        client.connect(str(path))
        try:
            client.sendall(data)
            if reads:
                client.shutdown(socket.SHUT_WR)
                answers = b""
                while chunk := client.recv(65536):
                    answers += chunk
                for answer in answers.splitlines():
                    said: dict[str, Any] = json.loads(answer)
                    assert said["version"] == 1
                    assert ("ok" in said) != ("error" in said)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it was hung up on
    still_answers(path)


@given(data=st.binary(max_size=300), pieces=st.integers(1, 50))
@settings(max_examples=50)
def test_requests_may_come_in_pieces(path: Path, data: bytes, pieces: int) -> None:
    line = json.dumps({"do": "robot", "x": data.hex()}).encode() + b"\n"
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(20)
        client.connect(str(path))
        size = max(1, len(line) // pieces)
        for start in range(0, len(line), size):
            client.sendall(line[start : start + size])
        assert b"no argument 'x'" in client.recv(1000)
