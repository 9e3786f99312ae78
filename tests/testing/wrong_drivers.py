"""A driver over TCP that is as it should be, its peer, and drivers with one bug each."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import AsyncIterator
from typing import Protocol

import trio

from horus_trio.drivers import DriverState, Lines, StreamDriver, Wire

__all__ = ["HOARD", "WRONG", "Reference", "SocketPeer", "open_socket_peer"]

HOARD: list[int] = []
"""Descriptors that a wrong driver has left; a test closes them."""

SMALL = 16384
"""Bytes of a buffer, so that a line is full soon."""


class HasPort(Protocol):
    port: int


class SocketPeer:
    """A server for one connection at a time, the newest. It reads in `receive` alone."""

    def __init__(self, listener: trio.socket.SocketType) -> None:
        self.listener = listener
        self.port: int = listener.getsockname()[1]
        self.stream: trio.SocketStream | None = None
        self.came = trio.Event()
        self.buffer = bytearray()
        self.scope = trio.CancelScope()

    async def serve(self) -> None:
        with self.scope, contextlib.suppress(OSError, trio.ClosedResourceError):
            while True:
                connection, _ = await self.listener.accept()
                if self.scope.cancel_called:
                    connection.close()
                    return
                if self.stream is not None:
                    self.stream.socket.close()
                self.buffer.clear()
                self.stream = trio.SocketStream(connection)
                self.came.set()

    async def connected(self) -> trio.SocketStream:
        await self.came.wait()
        assert self.stream is not None
        return self.stream

    async def receive(self) -> bytes:
        stream = await self.connected()
        while b"\n" not in self.buffer:
            some = await stream.receive_some()
            if not some:
                raise trio.EndOfChannel
            self.buffer += some
        line, _, self.buffer = self.buffer.partition(b"\n")
        return bytes(line)

    async def send(self, data: bytes) -> None:
        await self.write(data + b"\n")

    async def write(self, data: bytes) -> None:
        await (await self.connected()).send_all(data)

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def vanish(self) -> None:
        self.scope.cancel()
        self.listener.close()
        if self.stream is not None:
            self.stream.socket.close()


@contextlib.asynccontextmanager
async def open_socket_peer() -> AsyncIterator[SocketPeer]:
    listener = trio.socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
    await listener.bind(("127.0.0.1", 0))
    listener.listen(64)
    peer = SocketPeer(listener)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer.serve)
        try:
            yield peer
        finally:
            peer.vanish()


class Reference(StreamDriver):
    """Lines over TCP, as they should be."""

    def __init__(self, peer: HasPort) -> None:
        super().__init__(Lines())
        self.port = peer.port

    async def _open_wire(self) -> Wire:
        connection = trio.socket.socket()
        try:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
            await connection.connect(("127.0.0.1", self.port))
        except BaseException:
            connection.close()
            raise
        return Wire(connection.detach())


class OpensTwice(Reference):
    async def open(self) -> None:
        if self.state is DriverState.OPEN:
            await trio.lowlevel.checkpoint()
            return
        await super().open()


class StaysBusyWhenCancelled(Reference):
    busy = False

    async def open(self) -> None:
        if self.busy:
            raise trio.BusyResourceError
        self.busy = True
        await super().open()
        self.busy = False


class ClosesLate(Reference):
    async def aclose(self) -> None:
        if trio.current_effective_deadline() > trio.current_time():
            await trio.lowlevel.checkpoint()
        await super().aclose()


class KeepsAFew(Reference):
    async def _receive(self) -> bytes:
        message = await super()._receive()
        while len(self._frames) > 8:
            self._frames.pop()
        return message


class GivesUpOnSilence(Reference):
    async def _receive(self) -> bytes:
        while True:
            if not self._framing._buffer:
                with trio.move_on_after(0.005):
                    return await super()._receive()
                continue
            with trio.move_on_after(0.005):
                return await super()._receive()
            self._framing.reset()


class CountsReads(Reference):
    """Drops a message that comes in very many pieces."""

    reads = 0

    async def _receive(self) -> bytes:
        wire = self._plugged()
        while not self._frames:
            data = await wire.read()
            if not data:
                return await super()._receive()
            self.reads += 1
            if self.reads > 200:
                self._framing.reset()
            self._frames.extend(self._framing.feed(data))
        self.reads = 0
        return await super()._receive()


class QueuesWithoutBound(Reference):
    waiting = b""

    async def _send(self, message: bytes) -> None:
        await trio.lowlevel.checkpoint()
        data = self.waiting + self._framing.encode(message)
        self.waiting = data[self._plugged().write_nowait(data) :][-65536:]

    async def _connect(self) -> None:
        self.waiting = b""
        await super()._connect()


class ShieldsTheWait(Reference):
    async def _send(self, message: bytes) -> None:
        await trio.lowlevel.checkpoint()
        with trio.CancelScope(shield=True):
            await super()._send(message)


class ForgetsTheRest(Reference):
    async def _send(self, message: bytes) -> None:
        try:
            await super()._send(message)
        finally:
            self._mid_message = False


class HangsWhenGone(Reference):
    async def _receive(self) -> bytes:
        try:
            return await super()._receive()
        except trio.BrokenResourceError:
            await trio.sleep_forever()
            raise


class SilentWhenGone(Reference):
    async def _receive(self) -> bytes:
        try:
            return await super()._receive()
        except trio.BrokenResourceError:
            return b""


class ClosedWhenGone(Reference):
    async def _receive(self) -> bytes:
        try:
            return await super()._receive()
        except trio.BrokenResourceError:
            raise trio.ClosedResourceError from None


class HalfAtTheEnd(Reference):
    async def _receive(self) -> bytes:
        try:
            return await super()._receive()
        except trio.BrokenResourceError:
            rest = bytes(self._framing._buffer)
            self._framing.reset()
            if not rest:
                raise
            return rest


class CannotCloseWhenGone(Reference):
    async def aclose(self) -> None:
        is_gone = self._broken_by is not None
        await super().aclose()
        if is_gone:
            raise OSError("no such device")


class LosesNowAndThen(Reference):
    async def _receive(self) -> bytes:
        message = await super()._receive()
        if self._received > 10:
            await trio.lowlevel.checkpoint()
        return message


class LeavesADescriptorLater(Reference):
    async def _connect(self) -> None:
        await super()._connect()
        if self._connects > 2:
            HOARD.append(os.dup(0))


WRONG: dict[type[Reference], tuple[str, list[str]]] = {
    OpensTwice: ("every order", ["open()", "when it is open", "it returned"]),
    StaysBusyWhenCancelled: ("cancelled open", ["BusyResourceError", "its repetition"]),
    ClosesLate: ("cancelled close", ["after a cancelled aclose()", "it waited"]),
    KeepsAFew: ("bursts", ["of the row to be", "seed="]),
    GivesUpOnSilence: ("slow peer", ["message 1 of the row"]),
    CountsReads: ("one byte at a time", ["of the row to be"]),
    QueuesWithoutBound: ("back-pressure", ["to wait at last", "without waiting"]),
    ShieldsTheWait: ("back-pressure", ["a cancelled send() to end", "do not shield"]),
    ForgetsTheRest: ("half a message", ["whole messages", "BrokenResourceError", "seed="]),
    HangsWhenGone: ("peer vanishes", ["still waited", "sleep_forever"]),
    SilentWhenGone: ("peer vanishes", ["to raise trio.BrokenResourceError", "it returned"]),
    ClosedWhenGone: ("peer vanishes", ["it raised ClosedResourceError"]),
    HalfAtTheEnd: ("peer vanishes", ["in the middle of a message", "end is missing"]),
    CannotCloseWhenGone: ("peer vanishes", ["aclose()", "OSError: no such device"]),
    LosesNowAndThen: ("numbered stream", ["of the row to be", "cancellations", "seed=7"]),
    LeavesADescriptorLater: ("many openings", ["opened and closed 10 times", "10 descriptor(s)"]),
}
"""Each with the rule that it breaks, and what is said of it."""
