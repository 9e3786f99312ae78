"""`check_node` and `check_driver`: correct ones pass, and each wrong one breaks the rule it should.

Contract tests of contract tests: every wrong node and driver here is a correct one with one bug.
"""

from __future__ import annotations

import contextlib
import socket
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

import horus_trio as horus
from horus_trio.errors import HorusError
from horus_trio.testing.contracts import contract
from horus_trio.testing.contracts.contract import ContractBroken
from horus_trio.testing.contracts.driver import check_driver
from horus_trio.testing.contracts.driver_rules import DRIVER_RULES
from horus_trio.testing.contracts.node import check_node
from horus_trio.testing.contracts.node_rules import NODE_RULES


@pytest.fixture(autouse=True)
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contract, "GRACE", 0.05)


HOARD: list[socket.socket] = []
"""What wrong ones open is kept alive here, as a raw descriptor would be, until the test is over."""


@pytest.fixture(autouse=True)
def empty_hoard() -> Iterator[None]:
    yield
    while HOARD:
        HOARD.pop().close()


def open_pair() -> tuple[socket.socket, socket.socket]:
    pair = socket.socketpair()
    HOARD.extend(pair)
    return pair


# Correct nodes


class Camera(horus.AsyncNode):
    """Async, with declared topics, a socket pair and a background task."""

    subs: tuple[str, ...] = ("cmd",)
    pubs = ("image", "status")

    async def init(self) -> None:
        self.close()
        self.near, self.far = open_pair()
        self.lock = trio.Lock()
        self.start_soon(self.keep_alive)
        await trio.sleep(0.1)

    def close(self) -> None:
        for end in (getattr(self, "near", None), getattr(self, "far", None)):
            if end is not None:
                end.close()

    async def keep_alive(self) -> None:
        while True:
            await trio.sleep(1.0)
            self.send("status", "alive")

    async def tick_async(self) -> int:
        command = await self.recv_async("cmd")
        async with self.lock:
            await trio.sleep(0.01)
            self.far.send(command)
            data = self.near.recv(10)
            self.send("image", data)
        await trio.sleep(0.01)
        assert self.current_tick is not None
        return self.current_tick.seq

    async def shutdown(self) -> None:
        await trio.sleep(0.1)
        self.close()

    async def enter_safe_state(self) -> None:
        await trio.sleep(0.1)


class Reader(horus.Node):
    """In threads of the pool, with a thread of its own."""

    _thread: threading.Thread | None = None

    def init(self) -> None:
        self.shutdown()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._over.wait, name="reader")
        self._thread.start()

    def tick(self) -> str:
        self.send("out", self.recv("in", "nothing"))
        return self.name

    def shutdown(self) -> None:
        if self._thread is not None:
            self._over.set()
            self._thread.join()
            self._thread = None

    def enter_safe_state(self) -> None: ...


class Bound(horus.Node):
    """On one thread of its own, to which what it opens is bound."""

    thread = "own"

    def init(self) -> None:
        self.owner = threading.get_ident()

    def tick(self) -> None:
        if threading.get_ident() != self.owner:
            raise RuntimeError("the tick is in another thread than init")

    def shutdown(self) -> None:
        if threading.get_ident() != self.owner:
            raise RuntimeError("shutdown is in another thread than init")


class Database(horus.Node):
    """With a connection, on one thread of its own unless that hangs."""

    thread = "own"

    def __init__(self, path: Path, **options: Any) -> None:
        super().__init__(**options)
        self.path = path

    def init(self) -> None:
        self.db = sqlite3.connect(self.path, check_same_thread=False)
        self.db.execute("create table if not exists log (seq)")

    def tick(self) -> None:
        with self.db:
            self.db.execute("insert into log values (1)")

    def shutdown(self) -> None:
        self.db.close()


class Follower(horus.AsyncNode):
    """Ticks on arrivals, and may wait for none."""

    on = "position"
    pubs = "error"

    async def tick_async(self) -> None:
        position = await self.recv_async("position")
        self.send("error", 5 - position)


class Minimal(horus.AsyncNode):
    """Its tick is no checkpoint."""

    async def tick_async(self) -> None: ...


async def async_function(node: horus.Node) -> float:
    await trio.sleep(node.dt / 2)
    return node.now


def function(node: horus.Node) -> None:
    node.send("out", node.name)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "options"),
    [
        (Camera, {"inputs": {"cmd": [b"on", b"off"]}}),
        (Camera, {"inputs": {"cmd": [b"on"]}, "rate": 10.0, "critical": True, "tick_timeout": 1.0}),
        (Reader, {"inputs": {"in": iter([1, None])}, "ticks": 2}),
        (Reader, {}),
        (Follower, {"inputs": {"position": range(3)}, "order": 7}),
        (Follower, {"inputs": {"position": [1]}, "rate": 10.0, "name": "of that name"}),
        (Bound, {}),
        (Minimal, {}),
        (lambda: horus.Node("f", tick=function, init=function, shutdown=function), {}),
        (lambda: horus.Node("f", tick=async_function, init=async_function), {"rate": 2.0}),
    ],
)
async def test_a_correct_node_passes(make: Callable[[], horus.Node], options: Any) -> None:
    await check_node(make, **options)


@pytest.mark.slow
async def test_a_node_with_its_own_thread_passes(tmp_path: Path) -> None:
    await check_node(lambda: Database(tmp_path / "log.db"))


@pytest.mark.slow
@pytest.mark.parametrize("clock", [None, trio.testing.MockClock, "autojump"])
def test_it_works_whatever_the_clock(clock: Any) -> None:
    async def main() -> None:
        before = trio.current_time()
        await check_node(Camera, inputs={"cmd": [b"on"]})
        assert trio.current_time() > before

    if clock == "autojump":
        clock = trio.testing.MockClock(autojump_threshold=0)
    trio.run(main, clock=clock() if isinstance(clock, type) else clock)


async def test_what_is_on_purpose_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    await check_node(Camera, inputs={"cmd": [b"on"]})
    assert caplog.records == []


# Wrong nodes


class ForgetsADescriptor(Camera):
    def close(self) -> None:
        if hasattr(self, "near"):
            self.near.close()


class LeavesAThread(Reader):
    def shutdown(self) -> None: ...


class ShutdownFails(Camera):
    async def shutdown(self) -> None:
        await super().shutdown()
        raise OSError("no carrier")


class ShutdownHangs(Camera):
    async def shutdown(self) -> None:
        await super().shutdown()
        await trio.sleep_forever()


class InitFails(Camera):
    async def init(self) -> None:
        raise OSError("no camera")


class TickFails(Camera):
    async def tick_async(self) -> int:
        await super().tick_async()
        raise ValueError("no image")


class StopsTheRun(Camera):
    async def tick_async(self) -> int:
        self.request_stop("enough")
        return await super().tick_async()


class InitIsNotUndone(Camera):
    opened = False

    async def init(self) -> None:
        if self.opened:
            raise RuntimeError("is open already")
        await super().init()
        self.opened = True


class RestartIsNotUndone(Camera):
    """What a tick that failed has left is in the way of the next init."""

    failed = False

    async def init(self) -> None:
        if self.failed:
            raise RuntimeError("is still in error")
        await super().init()

    async def on_error(self, error: BaseException) -> None:
        self.failed = True


class HalfDoneInitLeaks(horus.Node):
    def init(self) -> None:
        self.ends = open_pair()

    def tick(self) -> None: ...

    def shutdown(self) -> None:
        for end in self.ends:
            end.close()


class CancelledInitLeaks(horus.AsyncNode):
    opened: tuple[socket.socket, ...] = ()

    async def init(self) -> None:
        self.close()
        ends = open_pair()
        await trio.sleep(0.1)  # cancelled here, nobody knows of them
        self.opened = ends

    async def tick_async(self) -> None: ...

    def close(self) -> None:
        for end in self.opened:
            end.close()

    async def shutdown(self) -> None:
        self.close()


class SendsElsewhere(Camera):
    async def tick_async(self) -> int:
        self.send("imgae", b"")
        return await super().tick_async()


class SwallowsCancelled(Camera):
    async def tick_async(self) -> int:
        try:
            return await super().tick_async()
        except BaseException:  # noqa: BLE001 - the bug
            return -1


class KeepsTheLock(Camera):
    async def tick_async(self) -> int:
        await self.lock.acquire()
        await trio.sleep(0.01)
        self.lock.release()
        return 0


class ForgetsADescriptorWhenCancelled(Camera):
    async def tick_async(self) -> int:
        near, far = open_pair()
        await trio.sleep(0.01)
        near.close()
        far.close()
        return 0


class SafeOnce(Camera):
    safe = False

    async def init(self) -> None:
        await super().init()
        self.safe = False

    async def enter_safe_state(self) -> None:
        if self.safe:
            raise RuntimeError("is safe already")
        self.safe = True

    async def tick_async(self) -> int:
        self.safe = False
        return await super().tick_async()


class SafeTooLate(Camera):
    async def enter_safe_state(self) -> None:
        await trio.sleep(4.0)


class BlocksTheLoop(Camera):
    async def tick_async(self) -> int:
        time.sleep(0.6)  # noqa: ASYNC251 - the bug
        return await super().tick_async()


class WaitsForAnother(Camera):
    subs = ("cmd", "go")

    async def tick_async(self) -> int:
        await self.recv_async("go")
        return await super().tick_async()


class WantsTwo(Camera):
    async def tick_async(self) -> int:
        await self.recv_async("cmd")
        return await super().tick_async()


class StoppedInInitLeaks(Camera):
    """What its init opens is closed by the next init or a shutdown, and a stop calls neither."""

    async def init(self) -> None:
        await super().init()
        await trio.sleep(5.0)


class ClosesInTheTick(Camera):
    async def tick_async(self) -> int:
        try:
            return await super().tick_async()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep_forever()


class NeedsADevice(Camera):
    def __init__(self) -> None:
        raise OSError("no device")


@pytest.mark.parametrize(
    ("make", "rule", "parts"),
    [
        (NeedsADevice, "life cycle", ["OSError: no device", "in init"]),
        (InitFails, "life cycle", ["RUNNING after init", "BACKING_OFF", "OSError: no camera"]),
        (TickFails, "life cycle", ["tick 1", "ERROR", "ValueError: no image", "inputs="]),
        (ShutdownFails, "life cycle", ["shutdown of node 'ShutdownFails'", "OSError: no carrier"]),
        (ShutdownHangs, "life cycle", ["shutdown of node", "longer than 3 s"]),
        (StopsTheRun, "life cycle", ["it is STOPPING, its run was stopped: enough"]),
        (WaitsForAnother, "life cycle", ["topic 'go'", "inputs={'go': [message, …]}"]),
        (WantsTwo, "life cycle", ["topic 'cmd'", "one message to 'cmd' before each tick"]),
        (ClosesInTheTick, "life cycle", ["did not end its tick", "sleep_forever"]),
        (BlocksTheLoop, "does not block", ["less than 0.5 s", "one took", "time.sleep(0.6)"]),
        (ForgetsADescriptor, "leaves nothing", ["descriptor", "socket:", "shutdown"]),
        (SendsElsewhere, "declared topics", ["image, status", "'imgae'; did you mean 'image'?"]),
        (InitIsNotUndone, "fresh instances", ["the first instance, run again", "open already"]),
        (RestartIsNotUndone, "restart", ["RuntimeError: is still in error", "failure 2 of 1"]),
        (HalfDoneInitLeaks, "failed init", ["descriptor", "an init that failed left"]),
        (CancelledInitLeaks, "failed init", ["descriptor", "await trio.sleep(0.1)"]),
        (SwallowsCancelled, "cancelled ticks", ["swallowed Cancelled", "in tick_async"]),
        (KeepsTheLock, "cancelled ticks", ["lock held", "'lock'", "a trio.Lock", "sleep(0.01)"]),
        (ForgetsADescriptorWhenCancelled, "cancelled ticks", ["descriptor left", "in tick_async"]),
        (SafeOnce, "safe state", ["twice in a row", "RuntimeError: is safe already"]),
        (SafeTooLate, "safe state", ["before the first tick, within 3 s", "HookTimedOut"]),
        (StoppedInInitLeaks, "stop at any time", ["descriptor", "socket:"]),
    ],
)
async def test_a_wrong_node_breaks_its_rule(
    make: Callable[[], horus.Node], rule: str, parts: list[str]
) -> None:
    inputs = {"cmd": [b"on"]} if issubclass(make, Camera) else {}  # type: ignore[arg-type]
    ticks = 1 if make is BlocksTheLoop else 3
    error = await broken_by(make, inputs=inputs, ticks=ticks)
    assert error.rule == rule, error
    for part in (f"rule {rule!r}: ", *parts):
        assert part in str(error)


async def broken_by(make: Callable[[], horus.Node], **options: Any) -> ContractBroken:
    with pytest.raises(ContractBroken) as caught:
        await check_node(make, **options)
    assert isinstance(caught.value, (HorusError, AssertionError))
    return caught.value


async def test_a_thread_that_is_left() -> None:
    made: list[LeavesAThread] = []

    def make() -> horus.Node:
        made.append(LeavesAThread())
        return made[-1]

    try:
        error = await broken_by(make)
        assert error.rule == "leaves nothing"
        assert "thread 'reader'" in str(error)
    finally:
        for node in made:
            Reader.shutdown(node)


async def test_the_same_instance_each_time() -> None:
    node = Minimal()
    error = await broken_by(lambda: node)
    assert error.rule == "fresh instances"
    assert f"it returned the same {node!r} again" in str(error)


@pytest.mark.parametrize(
    ("make", "options", "text"),
    [
        (Minimal(), {}, "pass the class, or `lambda: Camera(…)`"),
        (7, {}, "expected a class or a function that makes a node"),
        (Minimal, {"ticks": 0}, "ticks=0"),
        (Minimal, {"real_limit": 0}, "real_limit=0"),
        (Minimal, {"inputs": ["cmd"]}, "expected messages by topic"),
        (Minimal, {"inputs": {"cmd": "start"}}, "expected a list of messages"),
        (Minimal, {"inputs": {"cmd": []}}, "at least one message"),
        (Minimal, {"rate": -1}, "rate=-1"),
        (Minimal, {"rat": 1}, "did you mean 'rate'"),
        (Camera, {"inputs": {"cdm": [1]}}, "no such topic; did you mean 'cmd'?"),
        (Follower, {"inputs": {"positions": [1]}}, "no such topic; did you mean 'position'?"),
        (
            lambda: Minimal(pubs=horus.Pub("n", type=int)),
            {"inputs": {"n": ["one"]}},
            "check_node(inputs=…): ",
        ),
    ],
)
async def test_arguments_of_check_node(make: Any, options: Any, text: str) -> None:
    with pytest.raises(horus.ConfigurationError) as caught:
        await check_node(make, **options)
    assert text in str(caught.value)


async def test_what_is_no_node() -> None:
    async def make() -> Minimal:
        return Minimal()

    for no_node in (lambda: 7, make, horus.Node):
        with pytest.raises(horus.NodeError):
            await check_node(no_node)  # type: ignore[arg-type]


# A correct driver


class Peer:
    """The far end of a line of two memory channels."""

    def __init__(self, capacity: int) -> None:
        self.to_driver, self.from_peer = trio.open_memory_channel[Any](capacity)
        self.to_peer, self.from_driver = trio.open_memory_channel[Any](capacity)

    async def receive(self) -> Any:
        return await self.from_driver.receive()

    async def send(self, data: Any) -> None:
        await self.to_driver.send(data)


@contextlib.asynccontextmanager
async def open_peer(capacity: int = 0) -> AsyncIterator[Peer]:
    peer = Peer(capacity)
    async with trio.open_nursery() as nursery:  # as a server has one
        nursery.start_soon(trio.sleep_forever)
        yield peer
        nursery.cancel_scope.cancel()


class Driver:
    """Receives and sends over copies of the peer's channels."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.incoming: trio.MemoryReceiveChannel[Any] | None = None
        self.outgoing: trio.MemorySendChannel[Any] | None = None
        self.receiving = False
        self.received = 0

    async def open(self) -> None:
        if self.incoming is not None:
            raise trio.BusyResourceError
        await trio.lowlevel.checkpoint()
        self.incoming = self.peer.from_peer.clone()
        self.outgoing = self.peer.to_peer.clone()

    async def receive(self) -> Any:
        if self.incoming is None:
            raise trio.ClosedResourceError
        if self.receiving:
            raise trio.BusyResourceError
        self.receiving = True
        try:
            message = await self.incoming.receive()
        finally:
            self.receiving = False
        self.received += 1
        return message

    async def send(self, data: Any) -> None:
        if self.outgoing is None:
            raise trio.ClosedResourceError
        await self.outgoing.send(data)

    def close(self) -> None:
        for channel in (self.incoming, self.outgoing):
            if channel is not None:
                channel.close()
        self.incoming = self.outgoing = None

    async def aclose(self) -> None:
        self.close()
        await trio.lowlevel.checkpoint()

    def statistics(self) -> dict[str, int]:
        return {"received": self.received}


class StreamDriver:
    """Lines over a Unix socket; a send that was cut short breaks it."""

    def __init__(self, peer: StreamPeer) -> None:
        self.stream_peer = peer
        self.stream: trio.SocketStream | None = None
        self.receiving = self.broken = False
        self.buffer = bytearray()

    async def open(self) -> None:
        if self.broken:
            raise trio.BrokenResourceError
        if self.stream is not None:
            raise trio.BusyResourceError
        self.stream = await self.stream_peer.connect()

    async def receive(self) -> bytes:
        if self.stream is None:
            raise trio.ClosedResourceError
        if self.receiving:
            raise trio.BusyResourceError
        self.receiving = True
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
            while b"\n" not in self.buffer:
                self.buffer += await self.stream.receive_some()
            line, _, self.buffer = self.buffer.partition(b"\n")
            await trio.lowlevel.cancel_shielded_checkpoint()
            return bytes(line)
        finally:
            self.receiving = False

    async def send(self, data: bytes) -> None:
        if self.broken:
            raise trio.BrokenResourceError
        if self.stream is None:
            raise trio.ClosedResourceError
        await trio.lowlevel.checkpoint()
        self.broken = True
        await self.stream.send_all(data + b"\n")
        self.broken = False

    async def aclose(self) -> None:
        stream, self.stream = self.stream, None
        if stream is not None:
            await stream.aclose()

    def statistics(self) -> bytes:
        return bytes(self.buffer)


class StreamPeer:
    """A server on a path, for one connection."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.listener = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
        self.stream: trio.SocketStream | None = None
        self.connected = trio.Event()
        self.buffer = bytearray()

    async def connect(self) -> trio.SocketStream:
        await trio.lowlevel.checkpoint()
        with trio.CancelScope(shield=True):  # neither of them waits for long
            stream = await trio.open_unix_socket(self.path)
            connection, _ = await self.listener.accept()
        if self.stream is not None:
            await self.stream.aclose()
        self.stream = trio.SocketStream(connection)
        self.connected.set()
        return stream

    async def receive(self) -> bytes:
        await self.connected.wait()
        assert self.stream is not None
        while b"\n" not in self.buffer:
            some = await self.stream.receive_some()
            if not some:
                raise trio.EndOfChannel
            self.buffer += some
        line, _, self.buffer = self.buffer.partition(b"\n")
        return bytes(line)

    async def send(self, data: bytes) -> None:
        await self.connected.wait()
        assert self.stream is not None
        await self.stream.send_all(data + b"\n")


@contextlib.asynccontextmanager
async def open_stream_peer(path: Path) -> AsyncIterator[StreamPeer]:
    await trio.Path(path).unlink(missing_ok=True)
    peer = StreamPeer(str(path))
    await peer.listener.bind(peer.path)
    peer.listener.listen()
    try:
        yield peer
    finally:
        peer.listener.close()
        if peer.stream is not None:
            await trio.aclose_forcefully(peer.stream)


SMALL: dict[str, Any] = {"stream_bytes": 50_000, "cycles": 50}
"""Rules for heavy use, in little time."""


@pytest.mark.slow
@pytest.mark.parametrize("capacity", [0, 1, 10])
async def test_a_correct_driver_passes(capacity: int) -> None:
    await check_driver(Driver, lambda: open_peer(capacity), **SMALL)


@pytest.mark.slow
async def test_a_correct_driver_passes_on_virtual_time(
    autojump_clock: trio.testing.MockClock,
) -> None:
    await check_driver(Driver, open_peer, messages=[1, None, "three"], **SMALL)


@pytest.mark.slow
async def test_a_driver_with_a_descriptor_passes(tmp_path: Path) -> None:
    await check_driver(StreamDriver, lambda: open_stream_peer(tmp_path / "line"), **SMALL)


@pytest.mark.slow
async def test_a_driver_that_is_made_by_async_code_passes() -> None:
    async def make(peer: Peer) -> Driver:
        await trio.lowlevel.checkpoint()
        return Driver(peer)

    await check_driver(make, open_peer, **SMALL)


# Wrong drivers


class Doubles(Driver):
    async def send(self, data: Any) -> None:
        await super().send(data)
        await super().send(data)


class Shortens(Driver):
    async def receive(self) -> Any:
        return (await super().receive())[:2]


class DoesNotOpen(Driver):
    async def open(self) -> None:
        raise KeyError("port")


class StatisticsOfTheOpen(Driver):
    def statistics(self) -> dict[str, int]:
        assert self.incoming is not None
        return {"tasks": self.incoming.statistics().tasks_waiting_receive}


class AsyncStatistics(Driver):
    async def statistics(self) -> dict[str, int]:  # type: ignore[override]
        return super().statistics()


class NoneBeforeOpen(Driver):
    async def receive(self) -> Any:
        if self.incoming is None and not self.received:
            return None
        return await super().receive()


class AttributeBeforeOpen(Driver):
    opened = False

    async def open(self) -> None:
        await super().open()
        self.opened = True

    async def send(self, data: Any) -> None:
        if not self.opened:
            await self.outgoing.send(data)  # type: ignore[union-attr]
        await super().send(data)


class HangsBeforeOpen(Driver):
    async def receive(self) -> Any:
        if self.incoming is None:
            await trio.sleep_forever()
        return await super().receive()


class ClosesOnce(Driver):
    closed = False

    async def aclose(self) -> None:
        if self.closed:
            raise RuntimeError("is closed already")
        self.closed = self.incoming is not None
        await super().aclose()


class ClosesOnlyTheOpen(Driver):
    opened = False

    async def open(self) -> None:
        await super().open()
        self.opened = True

    async def aclose(self) -> None:
        if not self.opened:
            raise RuntimeError("was never opened")
        await super().aclose()


class StaysOpenWhenCancelled(Driver):
    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()
        self.close()


class SwallowsTheCancellationOfClose(Driver):
    async def aclose(self) -> None:
        self.close()
        with trio.CancelScope(shield=True):
            await trio.lowlevel.checkpoint()


class BrokenAfterClose(Driver):
    closed = False

    async def aclose(self) -> None:
        self.closed = self.incoming is not None
        await super().aclose()

    async def send(self, data: Any) -> None:
        if self.closed:
            raise trio.BrokenResourceError
        await super().send(data)


class DoesNotWakeTheReceiver(Driver):
    def close(self) -> None:
        if not self.receiving:
            super().close()
        self.incoming = self.outgoing = None


class TwoReceivers(Driver):
    async def receive(self) -> Any:
        if self.incoming is None:
            raise trio.ClosedResourceError
        return await self.incoming.receive()


class LosesWhatItReceived(Driver):
    async def receive(self) -> Any:
        message = await super().receive()
        await trio.lowlevel.checkpoint()
        return message


class SendsTwice(Driver):
    async def send(self, data: Any) -> None:
        await super().send(data)
        await trio.lowlevel.checkpoint()


class HangsWhenOpenedAgain(Driver):
    opened = False

    async def open(self) -> None:
        if self.opened:
            await trio.sleep_forever()
        self.opened = True
        await super().open()


class FailsWhenOpenedAgain(HangsWhenOpenedAgain):
    async def open(self) -> None:
        if self.opened:
            raise KeyError("port")
        await super().open()


class LeavesADescriptor(Driver):
    async def open(self) -> None:
        await super().open()
        open_pair()


@pytest.mark.parametrize(
    ("kind", "rule", "parts"),
    [
        (Doubles, "exchange", ["message 2 to be b'two' at the peer", "it was b'one'"]),
        (Shortens, "exchange", ["message 1 to be b'one' at the driver", "it was b'on'"]),
        (DoesNotOpen, "exchange", ["no error but those it asks for; KeyError: 'port'"]),
        (StatisticsOfTheOpen, "statistics", ["before open", "AssertionError"]),
        (AsyncStatistics, "statistics", ["it is async", "plain def"]),
        (NoneBeforeOpen, "before open", ["receive() before open() to raise", "returned None"]),
        (AttributeBeforeOpen, "before open", ["send() before open()", "AttributeError"]),
        (HangsBeforeOpen, "before open", ["still waited after 0.5 s", "sleep_forever"]),
        (ClosesOnce, "close twice", ["aclose() twice", "RuntimeError: is closed already"]),
        (ClosesOnlyTheOpen, "close from every state", ["without open()", "was never opened"]),
        (StaysOpenWhenCancelled, "close from every state", ["after a cancelled aclose()"]),
        (SwallowsTheCancellationOfClose, "close from every state", ["it returned", "checkpoint"]),
        (BrokenAfterClose, "after close", ["send() after aclose()", "BrokenResourceError"]),
        (DoesNotWakeTheReceiver, "after close", ["still waited", "waiting while aclose()"]),
        (TwoReceivers, "two receivers", ["BusyResourceError", "beside the first"]),
        (LosesWhatItReceived, "cancelled receive", ["lost or changed", "expected b'one'"]),
        (SendsTwice, "cancelled send", ["done twice or lost", "[b'one', b'one', b'two']"]),
        (HangsWhenOpenedAgain, "open again", ["still running", "sleep_forever"]),
        (FailsWhenOpenedAgain, "open again", ["KeyError: 'port'", "begin anew"]),
        (LeavesADescriptor, "leaves nothing", ["descriptor", "socket:", "aclose()"]),
    ],
)
async def test_a_wrong_driver_breaks_its_rule(
    kind: type[Driver], rule: str, parts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind is not LeavesADescriptor:  # which is looked for during half a second
        monkeypatch.setattr(contract, "LIMIT", 1.0)
    with pytest.raises(ContractBroken) as caught:
        await check_driver(kind, lambda: open_peer(1))
    assert caught.value.rule == rule, caught.value
    for part in (f"rule {rule!r}: ", *parts):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("make_driver", "make_peer", "messages", "text"),
    [
        (7, open_peer, (1, 2), "make_driver=7"),
        (Driver, 7, (1, 2), "make_peer=7"),
        (Driver, open_peer, (1,), "at least two messages that differ"),
        (Driver, open_peer, (1, 1), "at least two messages that differ"),
        (lambda peer: 7, open_peer, (1, 2), "has no open, receive, send, aclose, statistics"),
    ],
)
async def test_arguments_of_check_driver(
    make_driver: Any, make_peer: Any, messages: Any, text: str
) -> None:
    with pytest.raises(horus.ConfigurationError) as caught:
        await check_driver(make_driver, make_peer, messages=messages)
    assert text in str(caught.value)


# Both


async def test_each_rule_of_a_node_is_in_the_docstring_in_order() -> None:
    names = [rule.__name__.replace("_", " ") for rule in NODE_RULES]
    assert names == names_in(check_node)


async def test_each_rule_of_a_driver_is_in_the_docstring_in_order() -> None:
    assert list(DRIVER_RULES) == names_in(check_driver)


def names_in(function: Callable[..., Awaitable[object]]) -> list[str]:
    lines = (function.__doc__ or "").splitlines()
    return [line.split("*")[1] for line in lines if line.strip().startswith("- *")]


def test_the_error() -> None:
    error = ContractBroken("life cycle", "expected this; that came; do so")
    assert str(error) == "rule 'life cycle': expected this; that came; do so"
    assert error.rule == "life cycle"
    assert isinstance(error, HorusError)
    assert isinstance(error, AssertionError)
