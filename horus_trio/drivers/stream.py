"""Framed messages over a stream of bytes: what serial ports, TCP and subprocesses have in common.

A subclass opens a wire. Messages are made of bytes, and bytes of messages, by a `Framing`.
"""

from __future__ import annotations

import abc
import collections
import copy
import dataclasses

import trio

from ..errors import ConfigurationError
from .driver import Driver, DriverStatistics
from .errors import DeviceGone
from .framing import Framing
from .wire import Wire

__all__ = ["StreamDriver"]

AT_ONCE = 4096
"""Bytes that are searched for messages before others may run; garbage takes the longest."""


class StreamDriver(Driver[bytes]):
    """A driver of a device whose line is a stream of bytes.

    For authors of transports: define `_open_wire`, and `_close_wire` if there is more to close.

    Arguments:
        framing: How messages lie in the stream. It is copied.
    """

    def __init__(self, framing: Framing) -> None:
        super().__init__()
        if not isinstance(framing, Framing):
            raise ConfigurationError(
                f"{type(self).__name__}(framing={framing!r:.80}): expected a Framing, such as "
                "Lines(), with its parentheses"
            )
        self._framing = copy.deepcopy(framing)
        self._wire: Wire | None = None
        self._frames: collections.deque[bytes] = collections.deque()
        self._came = b""  # what was read and not looked at
        self._bytes_received = self._bytes_sent = 0
        self._let_others_run = False

    def statistics(self) -> DriverStatistics:
        return dataclasses.replace(
            super().statistics(),
            bytes_received=self._bytes_received,
            bytes_sent=self._bytes_sent,
            discarded=self._framing.discarded,
            rejected=self._framing.rejected,
        )

    @abc.abstractmethod
    async def _open_wire(self) -> Wire:
        """Connect. A checkpoint; cancelled or failed, it leaves nothing open."""

    def _close_wire(self) -> None:
        """What else there is to close, wire or no wire. Must not raise."""

    async def _connect(self) -> None:
        self._begin_anew()
        self._wire = await self._open_wire()

    def _disconnect(self) -> None:
        if self._wire is not None:
            self._wire.close()
            self._wire = None
        self._frames.clear()
        self._came = b""
        self._close_wire()

    async def _receive(self) -> bytes:
        frames = self._frames
        if frames:
            await trio.lowlevel.checkpoint_if_cancelled()
            return frames.popleft()
        wire = self._plugged()
        if self._came:
            await trio.lowlevel.checkpoint_if_cancelled()
        elif self._let_others_run:
            # An answer may have come since the send, and need not be waited for.
            self._let_others_run = False
            await trio.lowlevel.checkpoint_if_cancelled()
            self._take(wire.read_nowait())
        while True:
            if not self._came:
                data = await wire.read()
                if not data:
                    raise DeviceGone(f"{self.name} has hung up")
                self._take(data)
            data, self._came = self._came[:AT_ONCE], self._came[AT_ONCE:]
            frames.extend(self._framing.feed(data))
            if frames:
                return frames.popleft()
            if self._came:
                await trio.lowlevel.checkpoint()

    def _take(self, data: bytes) -> None:
        self._bytes_received += len(data)
        self._came = data

    async def _send(self, message: bytes) -> None:
        data = self._framing.encode(message)
        await trio.lowlevel.checkpoint_if_cancelled()
        wire = self._plugged()
        written = wire.write_nowait(data)
        if written == len(data):
            self._bytes_sent += written
            await trio.lowlevel.cancel_shielded_checkpoint()
            self._let_others_run = True
            return
        rest = memoryview(data)[written:]
        self._bytes_sent += written
        while rest:
            self._mid_message = len(rest) < len(data)
            await wire.wait_writable()
            if not self._mid_message:
                self._check_fence()
            written = wire.write_nowait(rest)
            self._bytes_sent += written
            rest = rest[written:]
        self._mid_message = False

    def _begin_anew(self) -> None:
        """Forget what has come over the connection before."""
        self._framing.reset()
        self._frames.clear()
        self._came = b""
        self._let_others_run = False

    def _plugged(self) -> Wire:
        if self._wire is None:
            raise trio.ClosedResourceError(f"{self.name} is not connected")
        return self._wire
