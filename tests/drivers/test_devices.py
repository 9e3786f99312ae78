"""All devices: the page that lists them knows each, and what each needs is told when it lacks."""

from __future__ import annotations

import importlib.util
import inspect
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import horus_trio.drivers as drivers
from horus_trio.drivers import (
    CanBus,
    Driver,
    HttpPoller,
    JsonSensor,
    Lines,
    MissingExtra,
    ReceiveOnlyDriver,
    StreamDriver,
)

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "devices.md").read_text("utf-8")

NEEDING: dict[str, tuple[str, Callable[[], Driver[Any]]]] = {
    "Camera": ("camera", lambda: drivers.Camera(0)),
    "FileTail": ("files", lambda: drivers.FileTail("/var/log/robot.log")),
    "DirectoryWatch": ("files", lambda: drivers.DirectoryWatch("/srv/missions")),
    "HttpPoller": ("http", lambda: HttpPoller("http://127.0.0.1/")),
    "JsonSensor": ("http", lambda: JsonSensor("http://127.0.0.1/", fields={"t": "t"})),
    "WebSocketClient": ("websocket", lambda: drivers.WebSocketClient("ws://127.0.0.1/")),
    "MqttClient": ("mqtt", lambda: drivers.MqttClient("127.0.0.1")),
    "RedisStream": ("redis", lambda: drivers.RedisStream("redis://127.0.0.1", "s")),
    "RedisPubSub": ("redis", lambda: drivers.RedisPubSub("redis://127.0.0.1", channels=["c"])),
    "CanBus": ("can", lambda: CanBus("can0", interface="socketcan")),
}


def devices() -> list[str]:
    """The names of all drivers that reach a device."""
    bases = (Driver, ReceiveOnlyDriver, StreamDriver)
    return [
        name
        for name in drivers.__all__
        if inspect.isclass(kind := getattr(drivers, name))
        and issubclass(kind, Driver)
        and kind not in bases
    ]


def tables() -> list[list[list[str]]]:
    """The cells of each table of the page, without its head."""
    blocks = re.findall(r"(?:^\|.*\n)+", PAGE, re.MULTILINE)
    return [
        [[cell.strip() for cell in row.strip("|\n ").split("|")] for row in block.splitlines()[2:]]
        for block in blocks
    ]


def test_each_table_has_each_device() -> None:
    first, *others = tables()
    assert len(others) == 3
    for table in ([row[1:] for row in first], *others):
        listed = [name for row in table for name in re.findall(r"`(\w+)`", row[0])]
        assert sorted(listed) == sorted(devices())


def test_its_extras_are_those_there_are() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    rows = [(re.findall(r"`(\w+)`", row[1]), row[2].strip("`")) for row in tables()[0]]
    listed = {name: extra for names, extra in rows for name in names if extra}
    assert listed.keys() - {"SerialPort"} == NEEDING.keys()
    for name, extra in listed.items():
        assert extra in extras
        assert name == "SerialPort" or NEEDING[name][0] == extra


@pytest.mark.parametrize("name", NEEDING)
def test_what_is_missing_is_one_clear_line(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    extra, make = NEEDING[name]
    make()
    monkeypatch.setattr(importlib.util, "find_spec", lambda *_: None)
    with pytest.raises(MissingExtra) as caught:
        make()
    assert re.fullmatch(
        rf"{name} needs [\w-]+, which is not installed: pip install 'horus-trio\[{extra}\]'",
        str(caught.value),
    )


def test_what_needs_nothing_needs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda *_: None)
    drivers.EdgeInput("/sys/class/gpio/gpio17/value")
    drivers.TcpClient("127.0.0.1", 1, framing=Lines())
