"""The seam: states, turns, what errors become, the fence, and wires over real descriptors."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import wait_all_tasks_blocked

import horus_trio as horus
from horus_trio.drivers import (
    ConnectFailed,
    DeviceGone,
    Driver,
    DriverError,
    DriverState,
    FrameError,
    Lines,
    ReceiveFailed,
    SendFailed,
    SendInterrupted,
    StreamDriver,
    Wire,
)
from horus_trio.errors import TickAbandoned
from horus_trio.messages import Fence, current_fence
from horus_trio.testing import FakeDriver, cancel_everywhere
from horus_trio.testing.leftovers import open_descriptors

NEW, OPENING, OPEN = DriverState.NEW, DriverState.OPENING, DriverState.OPEN
BROKEN, CLOSED = DriverState.BROKEN, DriverState.CLOSED


class Scripted(Driver[bytes]):
    """Does in each of its four methods what the test says; notes what is called."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []
        self.on_connect: Callable[[], Awaitable[Any]] = trio.lowlevel.checkpoint
        self.on_receive: Callable[[], Awaitable[Any]] = trio.lowlevel.checkpoint
        self.on_send: Callable[[], Awaitable[Any]] = trio.lowlevel.checkpoint

    async def _connect(self) -> None:
        self.calls.append("connect")
        await self.on_connect()

    async def _receive(self) -> bytes:
        self.calls.append("receive")
        result = await self.on_receive()
        return b"message" if result is None else bytes(result)

    async def _send(self, message: bytes) -> None:
        self.calls.append(f"send {message.decode()}")
        await self.on_send()

    def _disconnect(self) -> None:
        self.calls.append("disconnect")


def raising(error: BaseException) -> Callable[[], Awaitable[Any]]:
    async def raise_it() -> None:
        await trio.lowlevel.checkpoint()
        raise error

    return raise_it


class Pair(StreamDriver):
    """Lines over a socket pair; a new one for each connection."""

    far: socket.socket

    def __init__(self) -> None:
        super().__init__(Lines())

    async def _open_wire(self) -> Wire:
        await trio.lowlevel.checkpoint()
        near, self.far = socket.socketpair()
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        self.far.setblocking(False)
        return Wire(near.detach())

    def _close_wire(self) -> None:
        if hasattr(self, "far"):
            self.far.close()


# States


async def test_the_life_of_a_driver() -> None:
    driver = Scripted()
    assert (driver.state, repr(driver)) == (NEW, "<Scripted, new>")
    await driver.open()
    assert (driver.state, repr(driver)) == (OPEN, "<Scripted, open>")
    assert await driver.receive() == b"message"
    await driver.send(b"a")
    await driver.aclose()
    assert (driver.state, repr(driver)) == (CLOSED, "<Scripted, closed>")
    await driver.aclose()
    await driver.open()
    assert driver.state is OPEN
    await driver.aclose()
    assert driver.calls == [
        *("connect", "receive", "send a", "disconnect"),
        *("connect", "disconnect"),
    ]
    statistics = driver.statistics()
    assert (statistics.connects, statistics.received, statistics.sent) == (2, 1, 1)
    assert (statistics.failures, statistics.last_error, statistics.state) == (0, "", CLOSED)


async def test_it_is_a_context_manager() -> None:
    async with Scripted() as driver:
        assert driver.state is OPEN
    assert driver.state is CLOSED


async def test_what_is_not_open_says_so() -> None:
    driver = Scripted()
    with pytest.raises(
        trio.ClosedResourceError, match=r"receive\(\): Scripted is not open: `async"
    ):
        await driver.receive()
    with pytest.raises(trio.ClosedResourceError, match=r"send\(\): Scripted is not open"):
        await driver.send(b"")
    await driver.aclose()
    with pytest.raises(trio.ClosedResourceError, match=r"receive\(\): Scripted is closed"):
        await driver.receive()
    with pytest.raises(trio.ClosedResourceError, match=r"send\(\): Scripted is closed"):
        await driver.send(b"")
    assert driver.calls == ["disconnect"]


async def test_opening_twice() -> None:
    async with Scripted() as driver:
        with pytest.raises(trio.BusyResourceError, match="Scripted is open already"):
            await driver.open()
        assert driver.state is OPEN


async def test_while_it_is_opening() -> None:
    driver = Scripted()
    driver.on_connect = trio.sleep_forever
    async with trio.open_nursery() as nursery:
        nursery.start_soon(driver.open)
        await wait_all_tasks_blocked()
        assert driver.state is OPENING
        with pytest.raises(trio.BusyResourceError, match="Scripted is opening already"):
            await driver.open()
        with pytest.raises(trio.ClosedResourceError, match="not open yet: wait until"):
            await driver.receive()
        with pytest.raises(trio.ClosedResourceError, match="not open yet"):
            await driver.send(b"")
        nursery.cancel_scope.cancel()
    assert driver.state is CLOSED
    assert driver.calls == ["connect", "disconnect"]


async def test_two_receivers() -> None:
    async with FakeDriver[int]() as driver, trio.open_nursery() as nursery:
        came: list[int] = []

        async def receive() -> None:
            came.append(await driver.receive())

        nursery.start_soon(receive)
        await wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError, match="another task is receiving"):
            await driver.receive()
        driver.feed(1)
    assert came == [1]


# What errors become


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError(errno.EACCES, "Permission denied"), "Permission denied"),
        (trio.BrokenResourceError("cut"), "cut"),
        (trio.EndOfChannel(), "EndOfChannel"),
    ],
)
async def test_an_error_in_open(error: Exception, text: str) -> None:
    driver = Scripted()
    driver.on_connect = raising(error)
    with pytest.raises(ConnectFailed) as caught:
        await driver.open()
    assert str(caught.value) == f"Scripted cannot be opened: {text}"
    assert caught.value.__cause__ is error
    assert isinstance(caught.value, (DriverError, ConnectionError))
    assert driver.state is CLOSED
    assert driver.calls == ["connect", "disconnect"]
    assert driver.statistics().failures == 1
    assert driver.statistics().last_error == str(caught.value)
    driver.on_connect = trio.lowlevel.checkpoint
    async with driver:  # it may be tried again
        assert driver.state is OPEN


@pytest.mark.parametrize("error", [ConnectFailed("in use"), ValueError("a bug")])
async def test_errors_that_pass_through_open(error: Exception) -> None:
    driver = Scripted()
    driver.on_connect = raising(error)
    with pytest.raises(type(error)) as caught:
        await driver.open()
    assert caught.value is error
    assert driver.state is CLOSED
    assert driver.statistics().failures == isinstance(error, DriverError)


@pytest.mark.parametrize("verb", ["receive", "send"])
@pytest.mark.parametrize(
    "error",
    [OSError(errno.EIO, "Input/output error"), trio.EndOfChannel(), DeviceGone("unplugged")],
)
async def test_a_lost_device(verb: str, error: Exception) -> None:
    driver = Scripted()
    await driver.open()
    setattr(driver, f"on_{verb}", raising(error))
    with pytest.raises(DeviceGone) as caught:
        await (driver.receive() if verb == "receive" else driver.send(b"a"))
    if isinstance(error, DeviceGone):
        assert caught.value is error
    else:
        assert caught.value.__cause__ is error
        assert str(caught.value).startswith("Scripted is gone: ")
    assert isinstance(caught.value, trio.BrokenResourceError)
    assert (driver.state, repr(driver)) == (BROKEN, "<Scripted, broken>")
    assert driver.calls[-1] == "disconnect"
    assert driver.statistics().failures == 1
    for call in (driver.receive, lambda: driver.send(b"b"), driver.open):
        with pytest.raises(DeviceGone, match=r"is broken: .*; aclose\(\) and open\(\) it") as again:
            await call()
        assert again.value.__cause__ is caught.value
    assert driver.state is BROKEN
    assert driver.statistics().failures == 1
    await driver.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await driver.receive()
    setattr(driver, f"on_{verb}", trio.lowlevel.checkpoint)
    async with driver:
        assert await driver.receive() == b"message"


@pytest.mark.parametrize(("verb", "kind"), [("receive", ReceiveFailed), ("send", SendFailed)])
async def test_one_call_that_failed(verb: str, kind: type[DriverError]) -> None:
    driver = Scripted()
    error = OSError(errno.EINVAL, "Invalid argument")
    async with driver:
        setattr(driver, f"on_{verb}", raising(error))
        with pytest.raises(kind) as caught:
            await (driver.receive() if verb == "receive" else driver.send(b"a"))
        assert caught.value.__cause__ is error
        assert str(caught.value) == f"{verb}() of Scripted failed: Invalid argument"
        assert driver.state is OPEN
        setattr(driver, f"on_{verb}", trio.lowlevel.checkpoint)
        await driver.send(b"b")
        await driver.receive()
    assert driver.statistics().failures == 1
    assert driver.statistics().last_error == str(caught.value)


async def test_a_message_that_cannot_be_framed_is_no_failure_of_the_device() -> None:
    async with Pair() as driver:
        with pytest.raises(FrameError):
            await driver.send(b"two\nlines")
        await driver.send(b"one line")
        assert driver.far.recv(100) == b"one line\n"
    assert driver.statistics().failures == 0


async def test_a_bug_passes_through() -> None:
    async with Scripted() as driver:
        driver.on_receive = driver.on_send = raising(KeyError("x"))
        with pytest.raises(KeyError):
            await driver.receive()
        with pytest.raises(KeyError):
            await driver.send(b"a")
        assert driver.state is OPEN


async def test_an_error_in_the_middle_of_a_message_is_the_end_of_the_line() -> None:
    driver = Scripted()

    async def half() -> None:
        driver._mid_message = True
        await raising(OSError(errno.EINVAL, "Invalid argument"))()

    async with driver:
        driver.on_send = half
        with pytest.raises(DeviceGone):
            await driver.send(b"a")
        assert driver.state is BROKEN


# Turns


async def test_several_senders_take_turns() -> None:
    driver = FakeDriver[int](capacity=1)
    async with driver, trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(driver.send, number)
            await wait_all_tasks_blocked()
        assert driver.written == [0]
        assert [await driver.take() for _ in range(5)] == [0, 1, 2, 3, 4]


async def test_a_sender_that_waits_for_its_turn_is_cancelled() -> None:
    driver = FakeDriver[str](capacity=1)
    async with driver, trio.open_nursery() as nursery:
        await driver.send("first")
        nursery.start_soon(driver.send, "second")
        await wait_all_tasks_blocked()
        with trio.move_on_after(0):
            await driver.send("never")
        assert await driver.take() == "first"
        assert await driver.take() == "second"
        assert driver.state is OPEN
    assert driver.written == ["first", "second"]


# Closed meanwhile


@pytest.mark.parametrize("verb", ["open", "receive", "send"])
async def test_aclose_ends_every_call(verb: str) -> None:
    driver = FakeDriver[int](capacity=1, latency=1000.0 if verb == "open" else 0.0)
    if verb != "open":
        await driver.open()
        await driver.send(1)
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "open": driver.open,
        "receive": driver.receive,
        "send": lambda: driver.send(2),
    }
    ended: list[str] = []

    async def wait() -> None:
        with pytest.raises(trio.ClosedResourceError, match=r"FakeDriver was closed (while|during)"):
            await calls[verb]()
        ended.append(verb)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        await driver.aclose()
        assert driver.state is CLOSED
        if verb == "open":
            assert ended == ["open"]
    assert driver.statistics().failures == 0


async def test_aclose_waits_for_an_open_that_takes_its_time_to_end() -> None:
    driver = Scripted()
    over = trio.Event()

    async def connect() -> None:
        with trio.CancelScope(shield=True):
            await over.wait()

    async def open_it() -> None:
        with pytest.raises(trio.ClosedResourceError, match="closed while it was opened"):
            await driver.open()

    driver.on_connect = connect
    async with trio.open_nursery() as nursery:
        nursery.start_soon(open_it)
        await wait_all_tasks_blocked()
        with trio.move_on_after(0) as scope:
            await driver.aclose()
        assert scope.cancelled_caught
        assert driver.state is CLOSED
        # Opened again meanwhile: after the first one has come to its end.
        nursery.start_soon(driver.open)
        await wait_all_tasks_blocked()
        assert (driver.state, driver.calls) == (CLOSED, ["connect"])
        over.set()
    assert (driver.state, driver.calls) == (OPEN, ["connect", "disconnect", "connect"])
    assert driver.statistics().connects == 1
    await driver.aclose()


async def test_an_error_of_an_open_that_was_closed_is_not_the_devices() -> None:
    driver = Scripted()
    over = trio.Event()

    async def connect() -> None:
        with trio.CancelScope(shield=True):
            await over.wait()
        raise OSError(errno.ECONNREFUSED, "Connection refused")

    async def open_it() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await driver.open()

    driver.on_connect = connect
    async with trio.open_nursery() as nursery:
        nursery.start_soon(open_it)
        await wait_all_tasks_blocked()
        nursery.start_soon(driver.aclose)
        await wait_all_tasks_blocked()
        over.set()
    assert driver.statistics().failures == 0


async def test_late_ends_of_an_old_connection_do_not_touch_the_new_one() -> None:
    """Calls that cannot be woken end when it is open again: with an error, and nothing else."""
    driver = Scripted()
    over = trio.Event()

    async def deaf() -> None:
        driver._mid_message = True
        with trio.CancelScope(shield=True):
            await over.wait()
        raise OSError(errno.EIO, "Input/output error")

    async def closed_meanwhile(call: Callable[[], Awaitable[object]]) -> None:
        with pytest.raises(trio.ClosedResourceError, match="was closed during this"):
            await call()

    driver.on_receive = driver.on_send = deaf
    await driver.open()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(closed_meanwhile, driver.receive)
        nursery.start_soon(closed_meanwhile, lambda: driver.send(b"in turn"))
        await wait_all_tasks_blocked()
        nursery.start_soon(closed_meanwhile, lambda: driver.send(b"waits for its turn"))
        await wait_all_tasks_blocked()
        await driver.aclose()
        await driver.open()
        over.set()
    assert driver.state is OPEN
    driver.on_receive = driver.on_send = trio.lowlevel.checkpoint
    await driver.send(b"new")
    await driver.receive()
    assert "send waits for its turn" not in driver.calls
    assert driver.calls[-2:] == ["send new", "receive"]
    assert driver.statistics().failures == 0
    await driver.aclose()


async def test_closed_and_opened_again_while_one_receives() -> None:
    for _ in range(50):  # Trio's order of tasks is random
        async with Pair() as driver, trio.open_nursery() as nursery:

            async def receive(driver: Pair = driver) -> None:
                with pytest.raises(trio.ClosedResourceError):
                    await driver.receive()

            nursery.start_soon(receive)
            await wait_all_tasks_blocked()
            await driver.aclose()
            await driver.open()
            driver.far.send(b"new\n")
            assert await driver.receive() == b"new"


async def test_attending_lasts_as_long_as_the_connection() -> None:
    driver = Scripted()
    with pytest.raises(trio.ClosedResourceError, match=r"attend\(\): Scripted is not open"):
        await driver.attend()
    ended: list[BaseException] = []

    async def attend() -> None:
        try:
            await driver.attend()
        except (DeviceGone, trio.ClosedResourceError) as error:
            ended.append(error)

    async with trio.open_nursery() as nursery:
        await driver.open()
        nursery.start_soon(attend)
        await wait_all_tasks_blocked()
        assert await driver.receive() == b"message"
        await driver.aclose()
        await wait_all_tasks_blocked()
        assert "was closed during this attend()" in str(ended.pop())
        await driver.open()
        nursery.start_soon(attend)
        await wait_all_tasks_blocked()
        driver.on_send = raising(ConnectionResetError(errno.ECONNRESET, "reset"))
        with pytest.raises(DeviceGone):
            await driver.send(b"x")
        await wait_all_tasks_blocked()
        assert isinstance(ended.pop(), DeviceGone)
        await driver.aclose()


# Cancelled


@contextlib.asynccontextmanager
async def new_pair() -> AsyncIterator[Pair]:
    driver = Pair()
    yield driver
    await driver.aclose()


async def test_a_cancelled_open_leaves_nothing() -> None:
    await cancel_everywhere(new_pair, Pair.open, observe=lambda driver: driver.state)

    driver = Pair()
    before = open_descriptors()
    with trio.CancelScope() as scope:
        scope.cancel()
        await driver.open()
    assert driver.state is CLOSED
    assert open_descriptors() == before


async def test_a_cancelled_close_closes() -> None:
    driver = Pair()
    before = open_descriptors()
    await driver.open()
    with trio.CancelScope() as scope:
        scope.cancel()
        await driver.aclose()
    assert scope.cancelled_caught
    assert driver.state is CLOSED
    assert open_descriptors() == before


async def test_a_send_cancelled_before_anything_went_out_leaves_it_usable() -> None:
    async with Pair() as driver:
        while True:  # fill the line to the last byte
            try:
                os.write(driver._plugged()._write, b"x" * 4096)
            except BlockingIOError:
                break
        with trio.move_on_after(0.05) as scope:
            await driver.send(b"never")
        assert scope.cancelled_caught
        assert driver.state is OPEN


async def test_a_send_cancelled_in_the_middle_breaks_it() -> None:
    async with Pair() as driver:
        receiving: list[BaseException] = []

        async def receive() -> None:
            try:
                await driver.receive()
            except trio.BrokenResourceError as error:
                receiving.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            with trio.move_on_after(0.05) as scope:
                await driver.send(b"x" * 60_000)
            assert scope.cancelled_caught
        assert driver.state is BROKEN
        assert isinstance(receiving[0], SendInterrupted)
        assert "in the middle of a message" in str(receiving[0])
        for call in (driver.receive, lambda: driver.send(b"b"), driver.open):
            with pytest.raises(SendInterrupted, match="in the middle of a message"):
                await call()
        await driver.aclose()
        await driver.open()
        await driver.send(b"whole")
        assert driver.far.recv(100) == b"whole\n"


async def test_a_long_message_goes_out_in_pieces() -> None:
    message = bytes(65 + i % 26 for i in range(60_000))
    async with Pair() as driver, trio.open_nursery() as nursery:
        nursery.start_soon(driver.send, message)
        came = b""
        far = trio.socket.from_stdlib_socket(driver.far)
        while len(came) < 60_001:
            came += await far.recv(10_000)
        assert came == message + b"\n"
    assert driver.statistics().bytes_sent == 60_001


async def test_messages_before_a_hang_up_arrive() -> None:
    async with Pair() as driver:
        driver.far.send(b"one\ntwo\nhal")
        driver.far.close()
        assert [await driver.receive(), await driver.receive()] == [b"one", b"two"]
        with pytest.raises(DeviceGone, match="Pair has hung up"):
            await driver.receive()
        with pytest.raises(DeviceGone, match="hung up"):
            await driver.send(b"x")
    assert driver.statistics().bytes_received == 11


async def test_sending_to_who_has_hung_up() -> None:
    async with Pair() as driver:
        driver.far.close()
        with pytest.raises(DeviceGone) as caught:
            await driver.send(b"x")
        assert isinstance(caught.value.__cause__, BrokenPipeError)


# The fence


async def test_an_abandoned_tick_cannot_send() -> None:
    """A real one: its thread comes back when nobody waits for it any more."""
    driver = FakeDriver[str]()
    late: list[BaseException] = []
    go_on, done = threading.Event(), threading.Event()

    def tick(node: horus.Node) -> None:
        if done.is_set():
            return
        trio.from_thread.run(driver.send, "in time")
        go_on.wait(10)
        try:
            trio.from_thread.run(driver.send, "too late")
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            late.append(error)
        finally:
            done.set()

    node = horus.Node("arm", tick=tick, tick_timeout=0.05, rate=100, failure_policy=horus.Ignore())
    scheduler = horus.Scheduler(signals=False)
    scheduler.add(node)
    abandoned = trio.Event()

    def look(result: horus.AsyncResult) -> None:
        if result.status is horus.TickStatus.ABANDONED:
            abandoned.set()

    scheduler.on_result(look)
    async with driver, trio.open_nursery() as nursery:
        await nursery.start(scheduler.run)
        with trio.fail_after(5):
            await abandoned.wait()
            go_on.set()
            await trio.to_thread.run_sync(done.wait, 5)
        scheduler.stop()
    assert isinstance(late[0], TickAbandoned)
    assert driver.written == ["in time"]


@pytest.mark.parametrize("waits", ["for its turn", "for room"])
async def test_a_tick_abandoned_while_its_send_waits(waits: str) -> None:
    fence = Fence("arm")
    driver = FakeDriver[str](capacity=1)

    async def send() -> None:
        current_fence.set(fence)
        with pytest.raises(TickAbandoned):
            await driver.send("too late")

    async with driver, trio.open_nursery() as nursery:
        await driver.send("one")
        if waits == "for its turn":
            nursery.start_soon(driver.send, "two")
            await wait_all_tasks_blocked()
        nursery.start_soon(send)
        await wait_all_tasks_blocked()
        fence.close()
        await driver.take()
        await wait_all_tasks_blocked()
        assert driver.state is OPEN
        assert "too late" not in driver.written
        if waits == "for its turn":
            await driver.take()


async def test_a_tick_abandoned_while_its_message_waits_for_the_line() -> None:
    fence = Fence("arm")

    async with Pair() as driver, trio.open_nursery() as nursery:
        while True:
            try:
                os.write(driver._plugged()._write, b"x" * 4096)
            except BlockingIOError:
                break

        async def send() -> None:
            current_fence.set(fence)
            with pytest.raises(TickAbandoned):
                await driver.send(b"too late")

        nursery.start_soon(send)
        await wait_all_tasks_blocked()
        fence.close()
        while True:
            try:
                driver.far.recv(65536)
            except BlockingIOError:
                break
        await trio.sleep(0.05)
        with pytest.raises(BlockingIOError):
            driver.far.recv(100)
        assert driver.state is OPEN


# Wires


async def test_a_wire_of_two_pipes() -> None:
    there, write = os.pipe()
    read, here = os.pipe()
    wire = Wire(read, write)
    assert repr(wire) == f"<Wire of {read}, {write}>"
    assert wire.write_nowait(b"ping") == 4
    assert os.read(there, 10) == b"ping"
    os.write(here, b"pong")
    assert await wire.read() == b"pong"
    wire.end_writing()
    wire.end_writing()
    assert os.read(there, 10) == b""
    with pytest.raises(trio.ClosedResourceError):
        wire.write_nowait(b"x")
    os.close(here)
    assert await wire.read() == b""
    wire.close()
    wire.close()
    assert repr(wire) == "<Wire, closed>"
    with pytest.raises(trio.ClosedResourceError):
        await wire.read()
    with pytest.raises(trio.ClosedResourceError):
        await wire.wait_writable()
    os.close(there)


async def test_a_full_wire() -> None:
    near, far = socket.socketpair()
    wire = Wire(near.detach())
    sent = 0
    while written := wire.write_nowait(b"x" * 65536):
        sent += written
    waited: list[bool] = []

    async def wait() -> None:
        await wire.wait_writable()
        waited.append(True)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        assert waited == []
        while sent:
            sent -= len(far.recv(65536))
    assert waited == [True]
    wire.end_writing()  # it is the same descriptor: nothing happens
    assert wire.write_nowait(b"x") == 1
    wire.close()
    far.close()


@pytest.mark.parametrize("what", ["read", "wait_writable"])
async def test_closing_a_wire_wakes_who_waits(what: str) -> None:
    near, far = socket.socketpair()
    wire = Wire(near.detach())
    while wire.write_nowait(b"x" * 65536):
        pass

    async def wait() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await getattr(wire, what)()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        wire.close()
    far.close()


@contextlib.contextmanager
def ready_wire() -> Iterator[Wire]:
    near, far = socket.socketpair()
    far.send(b"data")
    wire = Wire(near.detach())
    yield wire
    wire.close()
    far.close()


async def test_a_read_is_safe_to_cancel_everywhere() -> None:
    await cancel_everywhere(ready_wire, Wire.read)


async def test_a_lost_descriptor_closes_without_an_error() -> None:
    near, far = socket.socketpair()
    descriptor = near.detach()
    wire = Wire(descriptor)
    os.close(descriptor)  # as somebody else may do by mistake
    wire.close()
    far.close()
