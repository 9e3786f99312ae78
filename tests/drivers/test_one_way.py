"""`ReceiveOnlyDriver`, and packages that a driver needs."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from horus_trio.drivers import DriverNode, DriverState, MissingExtra, ReceiveOnlyDriver
from horus_trio.drivers.extra import Extra
from horus_trio.errors import ConfigurationError
from horus_trio.testing import cancel_everywhere


class Counts(ReceiveOnlyDriver[int]):
    count = 0

    async def _connect(self) -> None:
        await trio.lowlevel.checkpoint()

    async def _receive(self) -> int:
        await trio.lowlevel.checkpoint()
        self.count += 1
        return self.count

    def _disconnect(self) -> None:
        pass


async def test_it_receives_and_refuses_to_send() -> None:
    async with Counts() as driver:
        assert await driver.receive() == 1
        with pytest.raises(ConfigurationError, match="Counts takes no messages"):
            await driver.send(7)
        assert driver.state is DriverState.OPEN
        assert await driver.receive() == 2
        counted = driver.statistics()
        assert (counted.sent, counted.received, counted.failures) == (0, 2, 0)
    with pytest.raises(trio.ClosedResourceError):
        await driver.send(7)


async def test_send_is_a_checkpoint() -> None:
    async def send(driver: Counts) -> None:
        with pytest.raises(ConfigurationError):
            await driver.send(1)

    await cancel_everywhere(Counts, send)


def test_a_node_has_nothing_to_listen_to_for_it() -> None:
    with pytest.raises(ConfigurationError, match="Counts takes no messages: leave listen out"):
        DriverNode("counter", Counts(), publish="count", listen="orders")


# Packages


def test_a_package_that_is_there_is_imported_when_it_is_wanted() -> None:
    extra = Extra("numbers", "python", "colorsys")
    sys.modules.pop("colorsys", None)
    extra.check("Driver")
    assert "colorsys" not in sys.modules
    assert extra.load("Driver").__name__ == "colorsys"


def test_one_that_is_not_there_is_told_in_a_line() -> None:
    extra = Extra("moon", "moon-rover", "moon_rover.wheels")
    expected = "Rover needs moon-rover, which is not installed: pip install 'horus-trio[moon]'"
    for ask in (extra.check, extra.load):
        with pytest.raises(MissingExtra) as caught:
            ask("Rover")
        assert str(caught.value) == expected
        assert isinstance(caught.value, ImportError)


def test_one_that_is_broken_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_wheels.py").write_text("import there_is_no_such_module\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    extra = Extra("moon", "broken-wheels", "broken_wheels")
    extra.check("Rover")
    with pytest.raises(MissingExtra, match=r"cannot be imported .*there_is_no_such_module"):
        extra.load("Rover")


def test_one_that_tests_have_put_in_its_place_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = type(sys)("moon_rover")
    monkeypatch.setitem(sys.modules, "moon_rover", fake)
    with pytest.raises(ValueError, match="__spec__"):
        importlib.util.find_spec("moon_rover")
    Extra("moon", "moon-rover", "moon_rover").check("Rover")
    assert Extra("moon", "moon-rover", "moon_rover").load("Rover") is fake


def test_the_drivers_import_no_optional_package() -> None:
    names = ["can", "coredis", "cv2", "httpx2", "inotify_simple", "paho", "trio_websocket"]
    program = (
        "import sys, horus_trio.drivers\n"
        f"print([name for name in {names!r} if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
