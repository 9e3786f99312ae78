"""`CanBus` over slcan: adapters on real ptys."""

from __future__ import annotations

import contextlib
import importlib.util
import math
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from drivers.can_peers import (
    FRAME,
    OTHERS,
    SlcanAdapter,
    exchange,
    make_slcan,
    new_bus,
    numbered,
    open_bus,
    open_slcan_adapter,
)
from drivers.peers import descriptors
from drivers.steps import SOON, raises_soon, until

from horus_trio.drivers import (
    CanBus,
    CanFilter,
    CanFrame,
    ConnectFailed,
    DriverState,
    MissingExtra,
    SlcanOptions,
)
from horus_trio.drivers.can import slcan_link
from horus_trio.drivers.can.slcan import encode
from horus_trio.errors import ConfigurationError
from horus_trio.testing import cancel_everywhere, check_driver

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="ptys differ elsewhere")


@pytest.fixture(autouse=True)
def _packages(require: Callable[[str, bool, str], None]) -> None:
    for package, module in (("python-can", "can"), ("pyserial", "serial")):
        present = importlib.util.find_spec(module) is not None
        require(package, present, "pip install 'horus-trio[can]'")


# What every driver does


@pytest.mark.slow
@pytest.mark.usefixtures("untraced")
async def test_it_keeps_the_contract_of_drivers() -> None:
    report = await check_driver(
        make_slcan,
        open_slcan_adapter,
        messages=(FRAME, *OTHERS),
        number=numbered,
        encode=encode,
        stream_bytes=1_000_000,
        cycles=1000,
    )
    assert report.not_tried == ()


async def test_it_closes_in_every_state() -> None:
    async with new_bus() as (driver, _):
        await driver.aclose()
        await driver.open()
        ended: list[BaseException] = []

        async def receive() -> None:
            ended.append(await raises_soon(trio.ClosedResourceError, driver.receive))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            await trio.testing.wait_all_tasks_blocked(0.01)
            await driver.aclose()
        assert len(ended) == 1
        await driver.aclose()
        assert driver.state is DriverState.CLOSED


async def test_opened_and_closed_it_leaves_nothing() -> None:
    async with open_bus() as (driver, _):
        await driver.aclose()
        before = descriptors()
        for _ in range(100):
            await driver.open()
            await driver.aclose()
        assert descriptors() <= before


async def test_every_call_can_be_cancelled_anywhere() -> None:
    async def works(line: tuple[CanBus, SlcanAdapter]) -> bool:
        await exchange(*line)
        return True

    async def send(line: tuple[CanBus, SlcanAdapter]) -> None:
        await line[0].send(FRAME)

    @contextlib.asynccontextmanager
    async def with_a_frame() -> AsyncIterator[tuple[CanBus, SlcanAdapter]]:
        async with open_bus() as (driver, adapter):
            await adapter.send(FRAME)
            yield driver, adapter

    async def receive(line: tuple[CanBus, SlcanAdapter]) -> CanFrame:
        return await line[0].receive()

    async def one_frame_came(line: tuple[CanBus, SlcanAdapter]) -> bool:
        driver, adapter = line
        await adapter.send(OTHERS[0])
        counted = driver.statistics().received
        with trio.fail_after(SOON):
            if not counted:
                assert await driver.receive() == FRAME
            assert await driver.receive() == OTHERS[0]
        return True

    async def no_frame_is_left(line: tuple[CanBus, SlcanAdapter]) -> bool:
        driver, adapter = line
        with trio.fail_after(SOON):
            for _ in range(driver.statistics().sent):
                assert await adapter.receive() == FRAME
            return await works(line)

    await cancel_everywhere(new_bus, lambda line: line[0].open(), observe=works)
    await cancel_everywhere(open_bus, send, observe=no_frame_is_left)
    await cancel_everywhere(with_a_frame, receive, observe=one_frame_came)
    await cancel_everywhere(
        open_bus, lambda line: line[0].aclose(), observe=lambda line: line[0].state
    )


# Opening


async def test_the_adapter_is_told_the_bit_rate_and_goes_on_the_bus() -> None:
    async with open_bus(bitrate=250_000) as (driver, adapter):
        assert adapter.commands == [b"C", b"V", b"S5", b"O"]
        assert adapter.is_open
        await driver.aclose()
        await until(lambda: not adapter.is_open)
        assert adapter.commands[4:] == [b"C"]


async def test_what_else_it_is_told() -> None:
    options = SlcanOptions(data_bitrate=5_000_000, listen_only=True, sleep_after_open=0.01)
    async with open_bus(bitrate=None, fd=True, options=options) as (_, adapter):
        assert adapter.commands == [b"C", b"V", b"Y5", b"L"]


@pytest.mark.parametrize(
    ("letter", "said"),
    [
        (b"S", "the adapter refuses a bit rate of 500000 (S6)"),
        (b"O", "the adapter refuses to go on the bus (O)"),
    ],
)
async def test_an_adapter_that_refuses(letter: bytes, said: str) -> None:
    async with new_bus() as (driver, adapter):
        adapter.refuses = letter
        error = await raises_soon(ConnectFailed, driver.open)
        assert said in str(error)
        assert driver.state is DriverState.CLOSED
        adapter.refuses = b""
        await driver.open()
        await exchange(driver, adapter)


async def test_an_adapter_that_accepts_and_says_nothing() -> None:
    async with new_bus(options={"answer_within": 0.05}) as (driver, adapter):
        adapter.ignores = b"CV"
        error = await raises_soon(ConnectFailed, driver.open)
        assert "nothing at this port answers C within 0.05 s, as an slcan adapter does" in str(
            error
        )
        assert "options={'replies': False}" in str(error)


async def test_an_adapter_that_takes_nothing() -> None:
    """Its line is full, since it has hung for long."""
    async with new_bus(options={"answer_within": 0.05}) as (driver, adapter):
        adapter.pause_reading()
        port = os.open(adapter.path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(port, b"x" * 1000)
        error = await raises_soon(ConnectFailed, driver.open)
        os.close(port)
        assert "nothing at this port answers C within 0.05 s" in str(error)


async def test_an_adapter_that_never_answers_can_be_used() -> None:
    async with new_bus(options={"replies": False}) as (driver, adapter):
        adapter.ignores = b"CVSOFtT"
        with trio.fail_after(SOON):
            await driver.open()
            await exchange(driver, adapter)


async def test_an_adapter_that_is_busy_with_what_was_before() -> None:
    """It floods the line with frames of an earlier program until it is closed."""
    async with new_bus() as (driver, adapter):
        adapter.is_open = True

        async def flood() -> None:
            while adapter.is_open:
                with contextlib.suppress(trio.BrokenResourceError):
                    await adapter.write(encode(OTHERS[1]) * 20)
                await trio.sleep(0.001)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(flood)
            for _ in range(20):
                await trio.lowlevel.checkpoint()
            with trio.fail_after(SOON):
                await driver.open()
            nursery.cancel_scope.cancel()
        await exchange(driver, adapter)


async def test_an_answer_that_comes_late_is_not_taken_for_that_to_another_command() -> None:
    """What closed it has not been answered when it is opened again."""
    async with open_bus() as (driver, adapter):
        adapter.delay = 0.02
        with trio.fail_after(SOON):
            for _ in range(5):
                await driver.aclose()
                await driver.open()
                await exchange(driver, adapter)
        assert driver.statistics().refused == 0


async def test_nor_is_one_to_an_open_that_was_cancelled() -> None:
    async with new_bus() as (driver, adapter):
        adapter.delay = 0.005
        for number in range(1, 12, 2):
            with trio.move_on_after(0.0025 * number):
                await driver.open()
            with trio.fail_after(SOON):
                await driver.aclose()
                await driver.open()
                await exchange(driver, adapter)
                await driver.aclose()


@pytest.mark.parametrize("refuses", [b"V", b""])
async def test_an_adapter_that_does_not_tell_its_version(refuses: bytes) -> None:
    async with new_bus() as (driver, adapter):
        adapter.refuses = refuses
        adapter.ignores = b"" if refuses else b"V"
        with trio.fail_after(SOON):
            for _ in range(3):
                await driver.open()
                await exchange(driver, adapter)
                await driver.aclose()


async def test_what_does_not_stop_talking_is_no_adapter() -> None:
    async with new_bus(options={"answer_within": 0.6}) as (driver, adapter):
        adapter.ignores = b"V"

        async def chatter() -> None:
            while True:
                with contextlib.suppress(trio.BrokenResourceError):
                    await adapter.write(b"\n$GPGGA,120000\r")
                await trio.sleep(0.01)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(chatter)
            error = await raises_soon(ConnectFailed, driver.open)
            nursery.cancel_scope.cancel()
        assert "the adapter does not stop talking when it is closed" in str(error)


async def test_a_port_that_is_not_there_or_none() -> None:
    error = await raises_soon(ConnectFailed, CanBus("/dev/ttyNONE7").open)
    assert "CanBus slcan /dev/ttyNONE7 cannot be opened: there is no such port" in str(error)
    error = await raises_soon(ConnectFailed, CanBus("/dev/null").open)
    assert "it is not a serial port" in str(error)


async def test_a_port_that_another_bus_has() -> None:
    async with open_bus() as (driver, adapter):
        error = await raises_soon(ConnectFailed, make_slcan(adapter).open)
        assert "it is in use" in str(error)
        await exchange(driver, adapter)


async def test_an_adapter_that_is_unplugged_while_it_is_opened() -> None:
    async with new_bus() as (driver, adapter):
        adapter.ignores = b"CV"

        async def vanish() -> None:
            await until(lambda: adapter.commands)
            await adapter.vanish()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(vanish)
            await raises_soon(ConnectFailed, driver.open)
        assert driver.state is DriverState.CLOSED


# Bad input


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"channel": ""}, "expected a channel"),
        ({"channel": None}, "expected a channel"),
        ({"channel": 3}, "expected the path of a serial port"),
        ({"interface": ""}, "expected the name of one of python-can's interfaces"),
        ({"interface": None}, "expected the name of one of python-can's interfaces"),
        ({"bitrate": 0}, "expected bits a second"),
        ({"bitrate": "500k"}, "expected bits a second"),
        ({"bitrate": 123_456}, "slcan has 10000, 20000, .*1000000; None leaves the adapter"),
        ({"filters": 5}, "expected several CanFilter"),
        ({"filters": CanFilter(id=1)}, "expected several CanFilter"),
        ({"filters": [0x123]}, "expected a CanFilter"),
        ({"receive_own": True}, "slcan adapters do not give back what is sent"),
        ({"options": 5}, "expected a dict"),
        ({"options": {"baud": 5}}, "slcan has no such option; it has tty_baudrate, rtscts"),
        ({"options": {"tty_baudrate": 0}}, "expected bits a second"),
        ({"options": {"tty_baudrate": 9600.0}}, "expected bits a second"),
        ({"options": {"answer_within": 0}}, "expected seconds above 0"),
        ({"options": {"answer_within": True}}, "expected seconds above 0"),
        ({"options": {"status_every": "1"}}, "expected seconds above 0, or infinity"),
        ({"options": {"status_every": math.nan}}, "expected seconds above 0, or infinity"),
        ({"options": {"sleep_after_open": math.inf}}, "expected seconds, 0 or more"),
        ({"options": {"listen_only": 1}}, "expected True or False"),
        ({"options": {"data_bitrate": 3}}, "expected 2000000, 5000000"),
        ({"interface": "virtual", "options": SlcanOptions()}, "expected a dict of what"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        CanBus(**{"channel": "/dev/ttyACM0"} | arguments)


@pytest.mark.parametrize(
    ("package", "module", "interface"),
    [("python-can", "can", "socketcan"), ("pyserial", "serial", "slcan")],
)
def test_without_its_packages_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, package: str, module: str, interface: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(
        MissingExtra, match=rf"CanBus needs {package}.*pip install 'horus-trio\[can\]'"
    ):
        CanBus("/dev/ttyACM0", interface=interface)


def test_a_path_is_a_channel() -> None:
    bus = CanBus(Path("/dev/ttyACM0"))
    assert repr(bus) == "<CanBus slcan /dev/ttyACM0, new>"


def test_a_bus_that_is_never_opened_imports_nothing() -> None:
    program = "import sys, horus_trio.drivers as d; d.CanBus('x'); print('can' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        check=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(slcan_link.__file__).parents[3])},
    )
    assert done.stdout == "False\n"
