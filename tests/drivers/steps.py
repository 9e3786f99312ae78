"""What is tried with every transport."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import trio
import trio.testing
from drivers.peers import descriptors

import horus_trio as horus
from horus_trio.drivers import DeviceGone, Driver, DriverNode, DriverState

__all__ = [
    "closes_in_every_state",
    "exchange",
    "fills_up",
    "gone_in_receive",
    "leaks_nothing",
    "raises_soon",
    "through_a_node",
    "until",
]

SOON = 10.0
"""Seconds in which everything here ends, on a slow machine, too."""


async def until(condition: Callable[[], object]) -> None:
    """Wait for what nobody tells."""
    with trio.fail_after(SOON):
        while not condition():  # noqa: ASYNC110 - it is another process that makes it true
            await trio.sleep(0.01)


class Peer(Protocol):
    async def receive(self) -> bytes: ...

    async def send(self, message: bytes, /) -> None: ...


class Vanishing(Peer, Protocol):
    async def vanish(self) -> None: ...


class Pausing(Peer, Protocol):
    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


async def exchange(driver: Driver[bytes], peer: Peer, message: bytes = b"hello") -> None:
    """A message there and one back."""
    with trio.fail_after(SOON):
        await driver.send(message)
        assert await peer.receive() == message
        await peer.send(message[::-1])
        assert await driver.receive() == message[::-1]


async def through_a_node(driver: Driver[bytes], peer: Peer) -> horus.Scheduler:
    """A node of the driver publishes what comes and sends what is published; it has stopped."""
    scheduler = horus.Scheduler(signals=False)
    scheduler.add(DriverNode("device", driver, publish="in", listen="out"))
    async with trio.open_nursery() as nursery:
        came = scheduler.topic("in").subscribe()
        with trio.fail_after(SOON):
            await nursery.start(scheduler.run)
            for number in range(5):
                await peer.send(b"up %d" % number)
                assert await came.receive() == b"up %d" % number
                scheduler.topic("out").send(b"down %d" % number)
                assert await peer.receive() == b"down %d" % number
        scheduler.stop()
    assert driver.state is DriverState.CLOSED
    return scheduler


async def raises_soon(kind: type[BaseException], call: Callable[[], Any]) -> BaseException:
    """The error that a call raises."""
    with trio.fail_after(SOON):
        try:
            result = await call()
        except kind as error:
            return error
    raise AssertionError(f"expected {kind.__name__}, it returned {result!r}")


async def gone_in_receive(driver: Driver[bytes], peer: Vanishing) -> DeviceGone:
    """The error of a receive that waits while the peer vanishes."""
    caught: list[BaseException] = []

    async def receive() -> None:
        caught.append(await raises_soon(DeviceGone, driver.receive))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        await trio.testing.wait_all_tasks_blocked(0.01)
        await peer.vanish()
    [error] = caught
    assert isinstance(error, DeviceGone)
    assert driver.state is DriverState.BROKEN
    assert isinstance(await raises_soon(DeviceGone, driver.receive), DeviceGone)
    assert isinstance(await raises_soon(DeviceGone, lambda: driver.send(b"x")), DeviceGone)
    await driver.aclose()
    return error


async def fills_up(driver: Driver[bytes], peer: Pausing, count: int = 40) -> None:
    """A send waits while the peer takes nothing, others take turns, and nothing is lost."""
    messages = [bytes([65 + number % 50]) * 50_000 for number in range(count)]
    sent = 0

    async def send_all() -> None:
        nonlocal sent
        for message in messages:
            await driver.send(message)
            sent += 1

    await exchange(driver, peer)
    peer.pause_reading()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(send_all)
        stood = -1
        with trio.fail_after(SOON):
            while stood != sent:
                stood = sent
                await trio.sleep(0.3)
        assert sent < len(messages)
        peer.resume_reading()
        with trio.fail_after(3 * SOON):
            for message in messages:
                assert await peer.receive() == message


async def leaks_nothing(make: Callable[[], Driver[Any]], cycles: int) -> None:
    """Opened and closed so often, it leaves no descriptor."""
    driver = make()
    await driver.open()
    await driver.aclose()
    before = descriptors()
    for _ in range(cycles):
        await driver.open()
        await driver.aclose()
    await trio.sleep(0.05)  # the far end may have to notice
    assert descriptors() <= before
    assert driver.statistics().connects == cycles + 1


async def closes_in_every_state(make: Callable[[], Driver[Any]]) -> None:
    """New, while it opens, open, and closed; with a call that waits."""
    driver = make()
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
