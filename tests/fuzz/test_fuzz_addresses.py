"""What a robot's configuration may say: addresses, places, positions, and the environment."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest
from fuzzing import fuzzed
from hypothesis import example
from hypothesis import strategies as st

from horus_trio.cli.control.address import owner_of
from horus_trio.drivers import (
    Camera,
    Crc,
    Delimited,
    HttpPoller,
    LengthPrefixed,
    MqttClient,
    MqttMessage,
    MqttSubscription,
    RedisServer,
    SerialPort,
    TailPosition,
    TcpClient,
    Udp,
    WebSocketClient,
)
from horus_trio.drivers.files.lookout import _by_age, _Named
from horus_trio.drivers.framing import Lines
from horus_trio.errors import HorusError
from horus_trio.scheduler.watchdog.notify import _watchdog_interval

PIECES = [
    "redis://",
    "rediss://",
    "http://",
    "https://",
    "ws://",
    "wss://",
    "rtsp://",
    "file://",
    "user:password@",
    "@",
    ":",
    "/",
    "//",
    "?",
    "#",
    "[",
    "]",
    "[::1]",
    "127.0.0.1",
    "host",
    ".",
    "\u2100",
    "\u3002",
    "\ud800",
    "\0",
    "\n",
    " ",
    "%",
    "%zz",
    ":0",
    ":-1",
    ":99999",
    ":\u0661",
    "/0",
    "/" + "9" * 5000,
    "/dev/video0",
    "xn--",
    "a" * 300,
    "+",
    "home/+/lamp",
]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=6).map("".join) | st.text(max_size=20)
ANYTHING = (
    TEXTS
    | st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-2, 70_000)
    | st.floats()
    | st.binary(max_size=5)
    | st.lists(st.integers(), max_size=2)
    | st.tuples(TEXTS, st.integers(-1, 70_000))
)

MAKERS: dict[str, Callable[..., Any]] = {
    "RedisServer.from_url": lambda text, more: RedisServer.from_url(text),
    "HttpPoller": lambda text, more: HttpPoller(text, every=more),
    "WebSocketClient": lambda text, more: WebSocketClient(text, subprotocols=more),
    "WebSocketClient, headers": lambda text, more: WebSocketClient(
        "ws://host/", headers={str(text): more}
    ),
    "Camera": lambda text, more: Camera(text),
    "TcpClient": lambda text, more: TcpClient(text, more, framing=Lines()),
    "Udp": lambda text, more: Udp(local=(text, more), remote=more),
    "MqttClient": lambda text, more: MqttClient(text, subscribe=more),
    "MqttSubscription": lambda text, more: MqttSubscription(text, more),
    "MqttMessage": lambda text, more: MqttMessage(text, more),
    "SerialPort": lambda text, more: SerialPort(text, baudrate=more, framing=Lines()),
    "Delimited": lambda text, more: Delimited(more, max_frame=more),
    "LengthPrefixed": lambda text, more: LengthPrefixed(more, byteorder=text),
    "Crc": lambda text, more: Crc(more, more),
    "TailPosition": lambda text, more: TailPosition(inode=more, offset=more, check=0),
}


@pytest.mark.parametrize("name", MAKERS)
@fuzzed(20, text=ANYTHING, more=ANYTHING)
@example(text="redis://host/" + "9" * 5000, more=None)
@example(text="http://[", more=0)
@example(text="ws://\u2100/", more=())
@example(text="Authorization", more=None)  # a variable that was not set
@example(text="\ud800", more=None)
def test_an_argument_is_taken_or_refused(name: str, text: Any, more: Any) -> None:
    try:
        made = MAKERS[name](text, more)
    except HorusError as error:
        assert str(error)
    else:
        assert repr(made)


NUMBERS = st.integers(-1, 2**70) | st.booleans() | st.none() | st.floats() | st.text(max_size=3)


@fuzzed(40, kept=st.fixed_dictionaries(dict.fromkeys(("inode", "offset", "check"), NUMBERS)))
def test_a_position_from_a_file_is_one_or_refused(kept: dict[str, Any]) -> None:
    try:
        position = TailPosition(**json.loads(json.dumps(kept)))
    except HorusError:
        return
    assert dataclasses.asdict(position) == kept


ENDINGS = st.sampled_from(
    ["1", "2", "007", "\u00b2", "\u0663", "12345", "123456", "", "-1", "2024"]
)


@fuzzed(40, endings=st.lists(ENDINGS | st.text(max_size=6), max_size=8))
@example(endings=["\u00b2", "1"])  # a digit that no number is made of
def test_rotated_files_of_any_name_have_an_order(endings: list[str]) -> None:
    files = [_Named(ending, f"log.{ending}", at, at) for at, ending in enumerate(endings)]
    assert sorted(_by_age(files)) == sorted(files)


@fuzzed(40, name=st.text(max_size=30) | st.integers().map(lambda pid: f"robot-{pid}.sock"))
def test_any_socket_has_an_owner_or_none(name: str) -> None:
    class Path:
        pass

    path = Path()
    path.name = name  # type: ignore[attr-defined]
    assert 0 <= owner_of(path) < 10**9  # type: ignore[arg-type]


DIGITS = st.sampled_from(["", "0", "-5", "1e6", "30000000", "\u0661", "9" * 400, "9" * 5000, "x"])


@fuzzed(40, microseconds=DIGITS | st.text(max_size=5), pid=DIGITS | st.none())
@example(microseconds="9" * 400, pid=None)  # more than a float holds
def test_whatever_systemd_says_there_is_an_interval_or_none(
    microseconds: str, pid: str | None
) -> None:
    environment = {"WATCHDOG_USEC": microseconds} | ({} if pid is None else {"WATCHDOG_PID": pid})
    interval = _watchdog_interval(environment)
    assert interval is None or interval > 0
