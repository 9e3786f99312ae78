"""A wire: the descriptors of a connection, read and written without blocking.

Serial ports, sockets and pipes are all this. Waiting is Trio's wait for the descriptor, so every
wait can be cancelled, and closing ends it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable

import trio

__all__ = ["CHUNK", "Wire"]

CHUNK = 65536
"""Bytes that are read at once at most."""


class Wire:
    """Two descriptors, or twice the same one. It owns them; `close` closes them.

    Arguments:
        read: Is read from.
        write: Is written to; None: `read` is.
        shut: Closes a descriptor; for those whose closing may block.
    """

    __slots__ = ("_read", "_shut", "_write")

    def __init__(
        self,
        read: int,
        write: int | None = None,
        *,
        shut: Callable[[int], object] = os.close,
    ) -> None:
        self._shut = shut
        self._read = read
        self._write = read if write is None else write
        for descriptor in {self._read, self._write}:
            os.set_blocking(descriptor, False)

    def __repr__(self) -> str:
        return f"<Wire of {self._read}, {self._write}>" if self._read >= 0 else "<Wire, closed>"

    async def read(self) -> bytes:
        """What has come, at most `CHUNK` bytes; waits for the first. Empty at the end.

        A checkpoint. Cancelled, nothing was read.

        Raises:
            OSError: The descriptor says so.
            trio.ClosedResourceError: It is closed, or was closed meanwhile.
        """
        while True:
            # A terminal gives an empty read when there is nothing yet, so it is always waited for.
            await trio.lowlevel.wait_readable(self._of(self._read))
            try:
                return os.read(self._read, CHUNK)
            except BlockingIOError:
                pass  # somebody else has read it

    def read_nowait(self) -> bytes:
        """What has come, at most `CHUNK` bytes; empty if nothing has, and at the end.

        Raises:
            OSError: The descriptor says so.
            trio.ClosedResourceError: It is closed.
        """
        try:
            return os.read(self._of(self._read), CHUNK)
        except BlockingIOError:
            return b""

    def write_nowait(self, data: bytes | memoryview) -> int:
        """Write what there is room for: how many bytes went out, perhaps 0."""
        try:
            return os.write(self._of(self._write), data)
        except BlockingIOError:
            return 0

    async def wait_writable(self) -> None:
        """Return when there is room. A checkpoint."""
        await trio.lowlevel.wait_writable(self._of(self._write))

    def end_writing(self) -> None:
        """Close the descriptor that is written to, if it is one of its own."""
        if self._write != self._read and self._write >= 0:
            write, self._write = self._write, -1
            self._put_down(write)

    def close(self) -> None:
        """Close it; who waits gets `trio.ClosedResourceError`. Idempotent."""
        self.end_writing()
        read, self._read, self._write = self._read, -1, -1
        if read >= 0:
            self._put_down(read)

    def _put_down(self, descriptor: int) -> None:
        trio.lowlevel.notify_closing(descriptor)
        # It is closed all the same, such as that of a lost device.
        with contextlib.suppress(OSError):
            self._shut(descriptor)

    def _of(self, descriptor: int) -> int:
        if descriptor < 0:
            raise trio.ClosedResourceError("the wire is closed")
        return descriptor
