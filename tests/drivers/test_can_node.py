"""A node of a CAN bus: it comes back when its adapter is unplugged, and when it was off the bus."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
import trio.testing
from drivers.can_peers import SlcanAdapter, make_slcan, open_slcan_adapter
from drivers.steps import SOON, until

import horus_trio as horus
from horus_trio.drivers import CanBus, CanBusState, CanFrame, DriverNode, DriverState

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="ptys differ elsewhere")

QUICKLY = horus.Restart(within=None, backoff=0.02, max_backoff=0.1)


def numbered(number: int) -> CanFrame:
    return CanFrame(id=0x100, data=number.to_bytes(4, "big"))


def robot(driver: CanBus) -> horus.Scheduler:
    scheduler = horus.Scheduler(signals=False)
    node = DriverNode("bus", driver, publish="in", listen="out", failure_policy=QUICKLY)
    scheduler.add(node)
    return scheduler


async def test_it_publishes_and_sends() -> None:
    async with open_slcan_adapter() as adapter, trio.open_nursery() as nursery:
        driver = make_slcan(adapter)
        scheduler = robot(driver)
        came = scheduler.topic("in").subscribe()
        with trio.fail_after(SOON):
            await nursery.start(scheduler.run)
            for number in range(5):
                await adapter.send(numbered(number))
                assert await came.receive() == numbered(number)
                scheduler.topic("out").send(numbered(number + 100))
                assert await adapter.receive() == numbered(number + 100)
        scheduler.stop()
    assert driver.state is DriverState.CLOSED


async def test_it_comes_back_when_it_was_off_the_bus() -> None:
    async with open_slcan_adapter() as adapter, trio.open_nursery() as nursery:
        driver = make_slcan(adapter, options={"status_every": 0.05})
        scheduler = robot(driver)
        came = scheduler.topic("in").subscribe()
        with trio.fail_after(SOON):
            await nursery.start(scheduler.run)
            for number in range(3):
                await until(lambda: driver.bus_state is CanBusState.ACTIVE)
                adapter.go_off()
                scheduler.topic("out").send(numbered(100))  # which is refused
                await until(lambda: not adapter.is_off)  # it was opened anew
                await until(lambda: driver.state is DriverState.OPEN)
                await adapter.send(numbered(number))
                while await came.receive() != numbered(number):
                    pass
                scheduler.topic("out").send(numbered(number))
                while await adapter.receive() != numbered(number):
                    pass
            counted = driver.statistics()
            assert (counted.bus_offs, counted.refused, counted.connects) == (3, 3, 4)
            assert scheduler.statistics().nodes["bus"].restarts == 3
        scheduler.stop()


async def test_it_works_under_a_clock_that_jumps(autojump_clock: trio.testing.MockClock) -> None:
    """The adapter takes real time to answer, and is not given up for that."""
    async with open_slcan_adapter() as adapter:
        adapter.delay = 0.01
        driver = make_slcan(adapter, options={"status_every": 1.0})
        async with driver:
            came = []
            async with trio.open_nursery() as nursery:

                async def receive() -> None:
                    came.append(await driver.receive())

                nursery.start_soon(receive)
                await trio.sleep(60)
                assert driver.state is DriverState.OPEN
                await adapter.send(numbered(1))
            assert came == [numbered(1)]


@contextlib.asynccontextmanager
async def plugged_in(port: Path) -> AsyncIterator[SlcanAdapter]:
    """An adapter at this path, until it is unplugged."""
    async with open_slcan_adapter() as adapter:
        port.symlink_to(adapter.path)  # noqa: ASYNC240 - it is quick
        try:
            yield adapter
        finally:
            port.unlink()  # noqa: ASYNC240 - it is quick
            await adapter.vanish()


async def test_it_comes_back_when_its_adapter_is_plugged_in_again(tmp_path: Path) -> None:
    port = tmp_path / "can"
    driver = CanBus(port)
    scheduler = robot(driver)
    came = scheduler.topic("in").subscribe()
    async with trio.open_nursery() as nursery:
        with trio.fail_after(2 * SOON):
            for number in range(3):
                async with plugged_in(port) as adapter:
                    if number == 0:
                        await nursery.start(scheduler.run)
                    await until(lambda: driver.state is DriverState.OPEN)
                    assert adapter.is_open
                    await adapter.send(numbered(number))
                    assert await came.receive() == numbered(number)
                    await adapter.write(b"t10")  # half a frame of the old adapter
                await until(lambda: driver.state is not DriverState.OPEN)
        scheduler.stop()
    counted = driver.statistics()
    assert (counted.connects, counted.received, counted.rejected) == (3, 3, 0)
