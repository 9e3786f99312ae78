"""`CanBus` over what python-can knows and only a thread can wait for."""

from __future__ import annotations

import contextlib
import functools
import sys
import threading
import types
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import can
import pytest
import trio
import trio.testing
from drivers.can_peers import FRAME, OTHERS, VirtualPeer, make_virtual, open_virtual_peer
from drivers.steps import SOON, raises_soon, until

import horus_trio as horus
from horus_trio.drivers import (
    CanBus,
    CanBusState,
    CanFilter,
    CanFrame,
    ConnectFailed,
    DeviceGone,
    DriverNode,
    DriverState,
    SendFailed,
)
from horus_trio.drivers.can import thread_link
from horus_trio.testing import cancel_everywhere, check_driver

EXTENDED = OTHERS[0]


def numbered(number: int) -> CanFrame:
    return CanFrame(id=number % 0x800, data=number.to_bytes(4, "big"))


# In a thread


@pytest.mark.slow
@pytest.mark.usefixtures("untraced")
async def test_a_bus_with_a_thread_keeps_the_contract_of_drivers() -> None:
    await check_driver(
        make_virtual,
        open_virtual_peer,
        messages=(FRAME, EXTENDED),
        number=numbered,
        stream_bytes=500_000,
        cycles=50,
    )


@contextlib.asynccontextmanager
async def virtual_bus(**arguments: Any) -> AsyncIterator[tuple[CanBus, VirtualPeer]]:
    async with open_virtual_peer() as peer, make_virtual(peer, **arguments) as driver:
        yield driver, peer


async def exchange(driver: CanBus, peer: VirtualPeer) -> None:
    with trio.fail_after(SOON):
        await driver.send(FRAME)
        assert await peer.receive() == FRAME
        await peer.send(EXTENDED)
        assert await driver.receive() == EXTENDED


async def test_frames_go_both_ways() -> None:
    async with virtual_bus() as (driver, peer):
        for _ in range(20):
            await exchange(driver, peer)
        before = trio.current_time()
        await peer.send(FRAME)
        came = await driver.receive()
        assert before - 0.001 <= came.timestamp <= trio.current_time()
        assert came.channel == peer.channel
        assert driver.bus_state is CanBusState.UNKNOWN  # this interface does not tell


async def test_its_own_frames_come_if_they_are_asked_for() -> None:
    async with virtual_bus(receive_own=True) as (driver, _):
        await driver.send(FRAME)
        with trio.fail_after(SOON):
            assert await driver.receive() == FRAME


async def test_filters_choose() -> None:
    async with virtual_bus(filters=[CanFilter(id=0x100, mask=0x700)]) as (driver, peer):
        for number in (0x200, 0x101, 0x301, 0x1FF):
            await peer.send(numbered(number))
        with trio.fail_after(SOON):
            assert [(await driver.receive()).id for _ in range(2)] == [0x101, 0x1FF]


async def test_closed_it_leaves_no_thread() -> None:
    async with open_virtual_peer() as peer:
        driver = make_virtual(peer)
        for _ in range(5):
            await driver.open()
            assert any(
                thread.name.startswith("reads CanBus virtual") for thread in threading.enumerate()
            )
            await driver.aclose()
            assert not any(
                thread.name.startswith("reads CanBus virtual") for thread in threading.enumerate()
            )


async def test_every_call_can_be_cancelled_anywhere() -> None:
    @contextlib.asynccontextmanager
    async def new() -> AsyncIterator[tuple[CanBus, VirtualPeer]]:
        async with open_virtual_peer() as peer:
            driver = make_virtual(peer)
            try:
                yield driver, peer
            finally:
                with trio.CancelScope(shield=True):
                    await driver.aclose()

    async def works(line: tuple[CanBus, VirtualPeer]) -> bool:
        await exchange(*line)
        return True

    await cancel_everywhere(new, lambda line: line[0].open(), observe=works)
    await cancel_everywhere(
        virtual_bus, lambda line: line[0].aclose(), observe=lambda line: line[0].state
    )


async def test_a_node_of_it_publishes_and_sends() -> None:
    async with open_virtual_peer() as peer, trio.open_nursery() as nursery:
        scheduler = horus.Scheduler(signals=False)
        scheduler.add(DriverNode("bus", make_virtual(peer), publish="in", listen="out"))
        came = scheduler.topic("in").subscribe()
        with trio.fail_after(SOON):
            await nursery.start(scheduler.run)
            for number in range(5):
                await peer.send(numbered(number))
                assert await came.receive() == numbered(number)
                scheduler.topic("out").send(numbered(number))
                assert await peer.receive() == numbered(number)
        scheduler.stop()


# Libraries that behave badly


class BadBus(can.BusABC):
    """Does what the test wants."""

    receives: Callable[[float | None], can.Message | None]
    sends: Callable[[can.Message], None]
    says: can.BusState = can.BusState.ACTIVE
    closed: int = 0

    def __init__(self, channel: Any, **kwargs: Any) -> None:
        super().__init__(channel, **kwargs)
        type(self).opens(self)

    def opens(self) -> None:
        """Nothing goes wrong."""

    def recv(self, timeout: float | None = None) -> can.Message | None:
        return type(self).receives(timeout)

    def send(self, msg: can.Message, timeout: float | None = None) -> None:
        type(self).sends(msg)

    def shutdown(self) -> None:
        super().shutdown()
        type(self).closed += 1

    @property  # type: ignore[misc] # nobody sets it
    def state(self) -> can.BusState:
        return type(self).says


@pytest.fixture
def bad_bus(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A class of python-can's for the interface ``bad``; a thread that hangs in it is let go."""
    kind: Any = type("Bus", (BadBus,), {"closed": 0})
    let_go = threading.Event()

    def receive(timeout: float | None) -> None:
        let_go.wait(timeout)

    kind.receives = staticmethod(receive)
    kind.sends = staticmethod(lambda msg: None)
    kind.let_go = let_go
    module: Any = types.ModuleType("bad_bus")
    module.Bus = kind
    monkeypatch.setitem(sys.modules, "bad_bus", module)
    monkeypatch.setitem(can.interfaces.BACKENDS, "bad", ("bad_bus", "Bus"))
    monkeypatch.setattr(can, "VALID_INTERFACES", can.VALID_INTERFACES | {"bad"})
    monkeypatch.setattr(thread_link, "HANGS", 0.2)
    monkeypatch.setattr(thread_link, "END", 0.1)
    yield kind
    let_go.set()


def left_by(driver: CanBus) -> int:
    """How many threads it has left behind."""
    assert isinstance(driver._link, thread_link.ThreadLink)
    return driver._link.left


async def over(driver: CanBus, bad_bus: Any) -> None:
    """Let its threads go, and wait for them."""
    bad_bus.let_go.set()
    await until(lambda: left_by(driver) == 0)


async def test_a_read_that_hangs_is_left_behind_and_the_bus_opened_again(bad_bus: Any) -> None:
    driver = CanBus("x", interface="bad")
    hangs = threading.Event()

    def hang(timeout: float | None) -> None:
        if hangs.is_set():
            bad_bus.let_go.wait(60)
        else:
            threading.Event().wait(timeout)

    bad_bus.receives = staticmethod(hang)
    async with driver:
        hangs.set()
        error = await raises_soon(DeviceGone, driver.receive)
        assert "a read of python-can's that was to take 0.05 s has not returned for" in str(error)
        assert "its thread is left behind" in str(error)
    assert left_by(driver) == 1
    hangs.clear()
    async with driver:
        with trio.move_on_after(0.5):
            await driver.receive()
        assert driver.state is DriverState.OPEN
    assert bad_bus.closed == 1
    await over(driver, bad_bus)
    assert bad_bus.closed == 2  # by itself, once it was let go


async def test_only_so_many_threads_are_left_behind(bad_bus: Any) -> None:
    driver = CanBus("x", interface="bad")
    hanging = 0

    def hangs_after(number: int) -> bool:
        return hanging > number

    def hang(timeout: float | None) -> None:
        nonlocal hanging
        hanging += 1
        bad_bus.let_go.wait(60)

    bad_bus.receives = staticmethod(hang)
    for number in range(thread_link.MOST_LEFT):
        await driver.open()
        await until(functools.partial(hangs_after, number))
        await driver.aclose()
    error = await raises_soon(ConnectFailed, driver.open)
    assert "4 calls of python-can hang, each in a thread that was left behind" in str(error)
    await over(driver, bad_bus)
    await driver.open()
    await driver.aclose()


async def test_an_open_that_hangs_can_be_cancelled(bad_bus: Any) -> None:
    driver = CanBus("x", interface="bad")
    bad_bus.opens = lambda self: bad_bus.let_go.wait(60)
    with trio.move_on_after(0.2) as scope:
        await driver.open()
    assert scope.cancelled_caught
    assert driver.state is DriverState.CLOSED
    await driver.aclose()
    assert left_by(driver) == 1
    await over(driver, bad_bus)
    assert bad_bus.closed == 1  # what was opened late is closed


async def test_a_send_that_hangs_is_left_behind(bad_bus: Any) -> None:
    bad_bus.sends = staticmethod(lambda msg: bad_bus.let_go.wait(60))
    async with CanBus("x", interface="bad") as driver:
        error = await raises_soon(DeviceGone, lambda: driver.send(FRAME))
        assert "a send of python-can's has not returned for 0.2 s" in str(error)
        assert driver.state is DriverState.BROKEN
    bad_bus.let_go.set()
    await until(lambda: not any(t.name.startswith("sends on") for t in threading.enumerate()))


async def test_only_so_many_sends_are_left_behind(bad_bus: Any) -> None:
    bad_bus.sends = staticmethod(lambda msg: bad_bus.let_go.wait(60))
    driver = CanBus("x", interface="bad")
    for number in range(thread_link.MOST_LEFT):
        await driver.open()
        await raises_soon(DeviceGone, lambda: driver.send(FRAME))
        await driver.aclose()
        assert left_by(driver) == number + 1
    error = await raises_soon(ConnectFailed, driver.open)
    assert "4 calls of python-can hang" in str(error)
    bad_bus.let_go.set()
    await until(lambda: left_by(driver) == 0)
    async with driver:
        await driver.send(FRAME)
    assert driver.state is DriverState.CLOSED


async def test_a_send_that_is_cancelled_is_over_when_it_returns(bad_bus: Any) -> None:
    sent: list[can.Message] = []

    def send(message: can.Message) -> None:
        bad_bus.let_go.wait(0.05)
        sent.append(message)

    bad_bus.sends = staticmethod(send)
    async with CanBus("x", interface="bad") as driver:
        with trio.move_on_after(0.01):
            await driver.send(FRAME)
        assert len(sent) == 1
        assert driver.statistics().sent == 1
        with trio.CancelScope() as scope:
            scope.cancel()
            await driver.send(FRAME)
        assert (len(sent), driver.statistics().sent) == (1, 1)


async def test_what_the_library_raises_is_said(bad_bus: Any) -> None:
    def refuse(msg: can.Message) -> None:
        raise can.CanOperationError("the queue is full")

    def fail(timeout: float | None) -> None:
        raise can.CanOperationError("it was unplugged")

    bad_bus.sends = staticmethod(refuse)
    async with CanBus("x", interface="bad") as driver:
        error: BaseException = await raises_soon(SendFailed, lambda: driver.send(FRAME))
        assert "has not sent CanFrame(id=0x123" in str(error)
        assert "the queue is full" in str(error)
        assert driver.state is DriverState.OPEN
        bad_bus.receives = staticmethod(fail)
        error = await raises_soon(DeviceGone, driver.receive)
        assert "CanBus bad x is gone: it was unplugged" in str(error)
        assert isinstance(error.__cause__, can.CanOperationError)
    assert bad_bus.closed == 1


async def test_who_only_sends_gets_to_know_that_the_bus_is_lost(bad_bus: Any) -> None:
    def fail(timeout: float | None) -> None:
        raise can.CanOperationError("it was unplugged")

    async with CanBus("x", interface="bad") as driver:
        bad_bus.receives = staticmethod(fail)

        async def send_on() -> None:
            while True:
                await driver.send(FRAME)
                await trio.sleep(0.01)

        error = await raises_soon(DeviceGone, send_on)
        assert "it was unplugged" in str(error)


async def test_the_state_that_a_library_tells(bad_bus: Any) -> None:
    async with CanBus("x", interface="bad") as driver:
        await until(lambda: driver.bus_state is CanBusState.ACTIVE)
        bad_bus.says = can.BusState.PASSIVE
        await until(lambda: driver.bus_state is CanBusState.PASSIVE)
        bad_bus.says = can.BusState.ERROR
        error = await raises_soon(DeviceGone, driver.receive)
        assert "off the bus" in str(error)
        assert driver.statistics().bus_offs == 1


async def test_messages_that_are_no_frames_are_rejected(bad_bus: Any) -> None:
    messages = [can.Message(arbitration_id=1), can.Message(arbitration_id=2**40)]
    bad_bus.receives = staticmethod(lambda timeout: messages.pop() if messages else None)
    async with CanBus("x", interface="bad") as driver:
        with trio.fail_after(SOON):
            assert await driver.receive() == CanFrame(id=1, is_extended=True)
        assert driver.statistics().rejected == 1


async def test_while_the_loop_stalls_the_oldest_are_dropped_and_counted(
    bad_bus: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thread_link, "MOST", 10)
    number = 0

    def receive(timeout: float | None) -> can.Message | None:
        nonlocal number
        if number == 25:
            bad_bus.let_go.wait(timeout)
            return None
        number += 1
        return can.Message(arbitration_id=number, is_extended_id=False)

    async with CanBus("x", interface="bad") as driver:
        bad_bus.receives = staticmethod(receive)
        while number < 25:  # the loop is blocked
            threading.Event().wait(0.01)
        with trio.fail_after(SOON):
            came = [(await driver.receive()).id for _ in range(10)]
        assert came == list(range(16, 26))
        assert driver.statistics().lost == 15


# Opening


async def test_an_interface_that_there_is_not() -> None:
    error = await raises_soon(ConnectFailed, CanBus("x", interface="socketcam").open)
    said = str(error)
    assert "CanBus socketcam x cannot be opened: python-can has no interface 'socketcam'" in said
    assert "'socketcan' is the nearest; it has canalystii, " in said


async def test_an_interface_whose_driver_is_not_installed() -> None:
    error = await raises_soon(ConnectFailed, CanBus(0, interface="kvaser").open)
    assert "CanBus kvaser 0 cannot be opened: NameError: name 'can" in str(error)


async def test_an_option_that_the_interface_has_not(bad_bus: Any) -> None:
    bad_bus.__init__ = lambda self, channel, bitrate: None
    driver = CanBus("x", interface="bad", options={"speed": 5})
    error = await raises_soon(ConnectFailed, driver.open)
    assert "unexpected keyword argument 'speed'" in str(error)
