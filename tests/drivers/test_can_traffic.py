"""`CanBus` over slcan: frames, a line that is full, and a controller that has errors."""

from __future__ import annotations

import math
import os
import sys
import time
from typing import Any

import pytest
import trio
import trio.testing
from drivers.can_peers import (
    FRAME,
    OTHERS,
    exchange,
    numbered,
    open_bus,
)
from drivers.steps import SOON, raises_soon, until

from horus_trio.drivers import (
    CanBusState,
    CanFilter,
    CanFrame,
    DeviceGone,
    DriverState,
    FrameError,
    SendFailed,
    SendInterrupted,
    Wire,
)
from horus_trio.drivers.can.slcan import encode

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="ptys differ elsewhere")


# Frames


async def test_frames_of_every_kind_go_both_ways() -> None:
    async with open_bus() as (driver, adapter):
        for frame in (FRAME, *OTHERS):
            await driver.send(frame)
            assert await adapter.receive() == frame
            await adapter.send(frame)
            before = trio.current_time()
            came = await driver.receive()
            assert came == frame
            assert came.channel == adapter.path
            assert before - 1 < came.timestamp <= trio.current_time()
        counted = driver.statistics()
        assert (counted.sent, counted.received, counted.rejected) == (4, 4, 0)
        assert counted.bytes_sent == sum(len(encode(frame)) for frame in (FRAME, *OTHERS))


async def test_frames_of_can_fd() -> None:
    long = CanFrame(id=1, data=bytes(64), is_fd=True, bitrate_switch=True)
    async with open_bus() as (driver, _):
        error = await raises_soon(FrameError, lambda: driver.send(long))
        assert "CanBus(…, fd=True) sends such" in str(error)
    async with open_bus(fd=True) as (driver, adapter):
        await driver.send(long)
        assert await adapter.receive() == long
        await adapter.send(long)
        assert await driver.receive() == long
        assert adapter.commands[3] == b"Y2"


@pytest.mark.parametrize("message", [b"t1230", None, "text"])
async def test_what_is_no_frame_is_not_sent(message: Any) -> None:
    async with open_bus() as (driver, adapter):
        error = await raises_soon(FrameError, lambda: driver.send(message))
        assert "expected a CanFrame, got" in str(error)
        await exchange(driver, adapter)


async def test_an_error_frame_is_not_sent() -> None:
    async with open_bus() as (driver, _):
        error = await raises_soon(FrameError, lambda: driver.send(CanFrame(id=0x40, is_error=True)))
        assert "error frames only come" in str(error)


async def test_who_only_listens_sends_nothing() -> None:
    async with open_bus(options={"listen_only": True}) as (driver, _):
        error = await raises_soon(SendFailed, lambda: driver.send(FRAME))
        assert "only listens" in str(error)
        assert driver.state is DriverState.OPEN


async def test_garbage_is_counted_and_what_follows_is_good() -> None:
    async with open_bus() as (driver, adapter):
        await adapter.write(b"hello\r\xff\xfe\rt1239\rt12321\r" + b"y" * 500 + b"\r")
        await adapter.send(FRAME)
        assert await driver.receive() == FRAME
        counted = driver.statistics()
        assert counted.rejected == 5
        assert counted.discarded >= 500


async def test_filters_choose() -> None:
    wanted = [CanFilter(id=0x100, mask=0x700, extended=False), CanFilter(id=0x18FF50E5)]
    async with open_bus(filters=wanted) as (driver, adapter):
        for frame in (OTHERS[1], FRAME, OTHERS[2], OTHERS[0]):
            await adapter.send(frame)
        assert [await driver.receive() for _ in range(2)] == [FRAME, OTHERS[0]]
        assert driver.statistics().unwanted == 2


async def test_many_frames_that_have_come_do_not_hold_others_up() -> None:
    async with open_bus() as (driver, adapter):
        longest = 0.0
        is_over = False

        async def beat() -> None:
            nonlocal longest
            while not is_over:
                began = time.perf_counter()
                await trio.lowlevel.checkpoint()
                longest = max(longest, time.perf_counter() - began)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(adapter.write, encode(FRAME) * 5000)
            nursery.start_soon(beat)
            with trio.fail_after(SOON):
                for _ in range(5000):
                    await driver.receive()
            is_over = True
        assert longest < 1  # all of them take longer than a turn of a few hundred


async def test_a_cancelled_receive_takes_nothing() -> None:
    async with open_bus() as (driver, adapter):
        for number in range(200):
            if number % 2:
                await adapter.send(numbered(number))
            with trio.CancelScope() as scope:
                scope.cancel()
                await driver.receive()
            assert scope.cancelled_caught
            if not number % 2:
                await adapter.send(numbered(number))
            assert await driver.receive() == numbered(number)


# A line that is full, or not read


@pytest.mark.parametrize("has_room", [False, True])
async def test_a_send_that_is_cut_says_so_and_is_not_completed_by_what_comes_next(
    monkeypatch: pytest.MonkeyPatch, has_room: bool
) -> None:
    """A digit is missing, and ``C``, which closes an adapter, is one."""
    write_nowait = Wire.write_nowait
    room = len(encode(FRAME)) - 2

    def write(wire: Wire, data: bytes | memoryview) -> int:
        nonlocal room
        if has_room and bytes(data[:1]) in b"\rC":  # there is room again when it closes
            return write_nowait(wire, data)
        written = write_nowait(wire, data[:room])
        room -= written
        return written

    async with open_bus() as (driver, adapter):
        port = os.open(adapter.path, os.O_RDWR | os.O_NOCTTY)  # an adapter goes on without us
        monkeypatch.setattr(Wire, "write_nowait", write)
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(driver.send, FRAME)
                await until(lambda: not room)
                scope.cancel()
        # It is broken, and has closed the port.
        assert driver.state is DriverState.BROKEN
        error = await raises_soon(SendInterrupted, lambda: driver.send(FRAME))
        assert "a send ended in the middle of a message" in str(error)
        await driver.aclose()
        monkeypatch.undo()
        with trio.fail_after(SOON):
            await driver.open()
            await driver.send(OTHERS[0])
            assert await adapter.receive() == OTHERS[0]
        os.close(port)


async def test_who_only_sends_is_not_held_up_by_what_comes() -> None:
    """An adapter that cannot get rid of what it has takes nothing any more."""
    async with open_bus() as (driver, adapter):
        sent = 0
        is_over = False

        async def chatter() -> None:
            nonlocal sent
            while not is_over:
                await adapter.send(numbered(sent))
                sent += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(chatter)
            with trio.fail_after(SOON):
                for _ in range(2000):
                    await driver.send(FRAME)
                is_over = True
                for number in range(sent):
                    assert await driver.receive() == numbered(number)
        assert sent > 200  # more than the line holds
        with trio.fail_after(SOON):
            for _ in range(2000):
                assert await adapter.receive() == FRAME


async def test_what_nobody_receives_is_bounded_and_counted() -> None:
    async with open_bus() as (driver, adapter):
        driver._inbox._most = 10
        for number in range(25):
            await adapter.send(numbered(number))
        with trio.fail_after(SOON):
            while driver.statistics().lost < 15:
                await driver.send(FRAME)
                await trio.sleep(0.001)  # the kernel takes its time to hand them over
        assert await driver.receive() == numbered(15)


# The state of the controller


async def test_its_state_is_asked_for_now_and_then() -> None:
    async with open_bus(options={"status_every": 0.02}) as (driver, adapter):
        assert driver.bus_state is CanBusState.UNKNOWN
        async with trio.open_nursery() as nursery:
            nursery.start_soon(driver.receive)
            for flags, state in (
                (0x00, CanBusState.ACTIVE),
                (0x04, CanBusState.WARNING),
                (0xA4, CanBusState.PASSIVE),
                (0x00, CanBusState.ACTIVE),
            ):
                adapter.flags = flags
                await until(lambda state=state: driver.bus_state is state)  # type: ignore[misc]
            adapter.flags = 0x08
            await until(lambda: driver.statistics().overruns)
            nursery.cancel_scope.cancel()
        assert driver.statistics().bus_state is CanBusState.ACTIVE
        assert driver.statistics().refused == 0


@pytest.mark.slow
async def test_an_adapter_that_knows_no_status_is_asked_once() -> None:
    for silent in (False, True):
        options = {"status_every": 0.02, "answer_within": 0.3}
        async with open_bus(options=options) as (driver, adapter):
            if silent:
                adapter.ignores = b"F"
            else:
                adapter.refuses = b"F"
            with trio.move_on_after(0.7):
                await driver.receive()
            assert adapter.commands.count(b"F") == 1
            assert driver.bus_state is CanBusState.UNKNOWN
            assert driver.statistics().refused == 0
            await exchange(driver, adapter)


async def test_it_need_not_be_asked() -> None:
    async with open_bus(options={"status_every": math.inf}) as (driver, adapter):
        with trio.move_on_after(0.05):
            await driver.receive()
        await exchange(driver, adapter)
        assert b"F" not in adapter.commands


async def test_an_adapter_that_stops_answering_is_gone() -> None:
    options = {"status_every": 0.02, "answer_within": 0.3}
    async with open_bus(options=options) as (driver, adapter):

        async def hang() -> None:
            await until(lambda: driver.bus_state is CanBusState.ACTIVE)
            adapter.pause_reading()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(hang)
            error = await raises_soon(DeviceGone, driver.receive)
        assert "the adapter has not answered for" in str(error)
        assert driver.state is DriverState.BROKEN


async def test_an_adapter_that_gives_frames_is_not_gone_and_is_asked_again() -> None:
    options = {"status_every": 0.02, "answer_within": 0.3}
    async with open_bus(options=options) as (driver, adapter):

        async def receive_all() -> None:
            while True:
                await driver.receive()

        async def chatter() -> None:
            while True:
                await adapter.send(FRAME)
                await trio.sleep(0.005)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive_all)
            nursery.start_soon(chatter)
            await until(lambda: driver.bus_state is CanBusState.ACTIVE)
            adapter.ignores = b"F"
            asked = adapter.commands.count(b"F")
            await until(lambda: adapter.commands.count(b"F") > asked + 20)  # for half a second
            adapter.ignores = b""
            adapter.flags = 0x04
            await until(lambda: driver.bus_state is CanBusState.WARNING)
            nursery.cancel_scope.cancel()


async def test_a_frame_that_is_refused_is_counted_and_others_go() -> None:
    async with open_bus() as (driver, adapter):
        adapter.refuses = b"t"
        await driver.send(FRAME)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(driver.receive)
            await until(lambda: driver.statistics().refused == 1)
            adapter.refuses = b""
            await until(lambda: driver.bus_state is CanBusState.ACTIVE)  # it was asked why
            nursery.cancel_scope.cancel()
        await exchange(driver, adapter)
        assert driver.statistics().bus_offs == 0


async def test_off_the_bus_it_is_gone_and_opened_again_it_is_back() -> None:
    async with open_bus() as (driver, adapter):
        await adapter.send(OTHERS[0])
        adapter.go_off()
        await driver.send(FRAME)  # the adapter has it, and will refuse it
        assert await driver.receive() == OTHERS[0]
        error = await raises_soon(DeviceGone, driver.receive)
        assert "the controller is off the bus" in str(error)
        assert driver.bus_state is CanBusState.BUS_OFF
        assert isinstance(await raises_soon(DeviceGone, lambda: driver.send(FRAME)), DeviceGone)
        await driver.aclose()
        await driver.open()
        assert driver.statistics().bus_state is CanBusState.UNKNOWN
        await exchange(driver, adapter)
        counted = driver.statistics()
        assert (counted.bus_offs, counted.refused, counted.connects) == (1, 1, 2)


async def test_who_only_sends_gets_to_know_that_it_is_off_the_bus() -> None:
    async with open_bus() as (driver, adapter):
        adapter.go_off()

        async def send_on() -> None:
            while True:
                await driver.send(FRAME)
                await trio.sleep(0.005)

        error = await raises_soon(DeviceGone, send_on)
        assert "the controller is off the bus" in str(error)


async def test_an_adapter_may_tell_its_state_by_itself() -> None:
    async with open_bus() as (driver, adapter):
        await adapter.write(b"sp000130\r" + encode(FRAME) + b"sb000256\r")
        assert await driver.receive() == FRAME
        error = await raises_soon(DeviceGone, driver.receive)
        assert "off the bus" in str(error)
        assert driver.statistics().bus_offs == 1


@pytest.mark.parametrize("wanted", [False, True])
async def test_error_frames_are_given_out_if_they_are_asked_for(wanted: bool) -> None:
    async with open_bus(error_frames=wanted, filters=[CanFilter(id=0x123)]) as (driver, adapter):
        await adapter.write(b"e1a\r" + encode(FRAME))
        came = await driver.receive()
        if wanted:
            assert (came.is_error, came.id) == (True, 0xA0)
            came = await driver.receive()
        assert came == FRAME
        assert driver.statistics().error_frames == 1
