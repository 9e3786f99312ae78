"""The socket of a connection, as paho reads and writes it, and as Trio waits for it.

paho asks for a byte, then for another, then for the rest. So what has come is read in large pieces,
and given to it out of a buffer. Writing goes past that.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Awaitable, Callable

import trio

__all__ = ["Line"]

CHUNK = 65536
"""Bytes that are read at once. What TLS packs together is less, so nothing stays behind there."""

LINGER = 1.0
"""Seconds in which the other end is to close, too."""

WAIT = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
"""Errors that mean: not yet. paho knows them."""


class Line:
    """A connected socket. It owns it; `close` closes it.

    One task at a time waits for it and has it read and written; others wait for news of that.

    Arguments:
        connected: The socket, with or without TLS, non-blocking.

    Attributes:
        bytes_received: Bytes that came in.
        bytes_sent: Bytes that went out.
        blocked: Whether the latest read found nothing.
        error: What the operating system said when it ended, if it said anything.
        closed: Whether it is closed.
        lingers: Whether `linger` is to close the socket.
        is_torn: Whether a part of a message is out, and its end is not.
        is_driven: Whether a task waits for it.
        news: Where the others wait.
        look_at: When it is to be looked whether it is alive, on Trio's clock.
    """

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._buffer = b""
        self._taken = 0
        self._scope: trio.CancelScope | None = None
        self.bytes_received: int = 0
        self.bytes_sent: int = 0
        self.blocked: bool = False
        self.error: OSError | None = None
        self.closed: bool = False
        self.lingers = False
        self.is_torn = False
        self.is_driven: bool = False
        self.news: trio.lowlevel.ParkingLot = trio.lowlevel.ParkingLot()
        self.look_at: float = -float("inf")

    @property
    def ahead(self) -> int:
        """Bytes that have come and were not given out."""
        return len(self._buffer) - self._taken

    # For paho

    def recv(self, size: int) -> bytes:
        """Up to so many bytes; empty at the end."""
        if self._taken == len(self._buffer):
            self._taken = 0
            self._buffer = b""
            try:
                self._buffer = self._socket.recv(CHUNK)
            except WAIT:
                self.blocked = True
                raise
            except OSError as error:
                self.error = self.error or error
                raise
            self.bytes_received += len(self._buffer)
        data = self._buffer[self._taken : self._taken + size]
        self._taken += len(data)
        return data

    def send(self, data: bytes | bytearray) -> int:
        """Write what there is room for: how many bytes went out."""
        try:
            sent = self._socket.send(data)
        except WAIT:
            raise
        except OSError as error:
            self.error = self.error or error
            raise
        self.bytes_sent += sent
        return sent

    def fileno(self) -> int:
        """Its descriptor."""
        return self._socket.fileno()

    def setblocking(self, flag: bool) -> None:
        """It never blocks."""

    def close(self) -> None:
        """End it; who waits for it is woken. Idempotent. If it `lingers`, its socket stays."""
        if self.closed:
            return
        self.closed = True
        with contextlib.suppress(RuntimeError):  # it is garbage, and its run is over
            trio.lowlevel.notify_closing(self._socket.fileno())
        if self.lingers:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_WR)
        else:
            self._socket.close()
        self.news.unpark_all()

    async def linger(self) -> None:
        """Wait a while for the other end to close, too, and close the socket. A checkpoint.

        A socket that is closed before that answers to what still comes with a reset, and then the
        other end may not read what was sent last.
        """
        if self._socket.fileno() < 0:
            await trio.lowlevel.checkpoint()
            return
        try:
            with trio.move_on_after(LINGER), contextlib.suppress(OSError):
                while True:
                    await trio.lowlevel.wait_readable(self._socket.fileno())
                    with contextlib.suppress(*WAIT):
                        if not self._socket.recv(CHUNK):
                            break
        finally:
            self._socket.close()

    # For who waits

    async def ready(self, *, to_write: bool) -> None:
        """Wait until it can be read, or also until it can be written, or is to be looked at.

        Never by two tasks at once. A checkpoint.

        Raises:
            trio.ClosedResourceError: It is closed, or was closed meanwhile.
        """
        if self.closed:
            raise trio.ClosedResourceError("the line is closed")
        descriptor = self._socket.fileno()
        self.is_driven = True
        try:
            with trio.CancelScope(deadline=self.look_at) as self._scope:
                if to_write:
                    await _either(descriptor)
                else:
                    await trio.lowlevel.wait_readable(descriptor)
        finally:
            self._scope = None
            self.is_driven = False
            self.news.unpark_all()
        if self.closed:
            raise trio.ClosedResourceError("the line was closed")

    def nudge(self) -> None:
        """Have the task that waits look again what it waits for."""
        if self._scope is not None:
            self._scope.cancel()


async def _either(descriptor: int) -> None:
    """Wait until it can be read or written, or is closed."""

    async def until(ready: Callable[[int], Awaitable[None]]) -> None:
        with contextlib.suppress(trio.ClosedResourceError):
            await ready(descriptor)
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(until, trio.lowlevel.wait_readable)
        nursery.start_soon(until, trio.lowlevel.wait_writable)
