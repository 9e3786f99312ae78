"""A device in memory, on the four methods of `Driver`: it answers as a test says, when it says."""

from __future__ import annotations

import errno
import heapq
import itertools
from collections.abc import Callable, Iterable
from typing import TypeAlias

import trio

from horus_trio.drivers import Driver

__all__ = ["Answers", "Instrument", "after"]

Answers: TypeAlias = Iterable[tuple[float, bytes | Exception]]
"""What follows from a request: after so many seconds, a message or the failure of a receive."""


def after(seconds: float) -> Callable[[bytes], Answers]:
    """Answers each request with ``re`` and the request, after so many seconds."""
    return lambda request: [(seconds, b"re " + request)]


def silent(request: bytes) -> Answers:
    """Answers nothing."""
    return ()


class Instrument(Driver[bytes]):
    """Answers each request as `behaviour` says. A new connection begins with an empty line.

    Attributes:
        behaviour: Called with each request.
        present: Whether it can be connected to.
        refuses: Raised by each send, if given.
        holds: A send waits before anything is out, while there is this event.
        splits: A send goes out by half, and then waits.
        requests: What has arrived, with the instants.
    """

    def __init__(self, behaviour: Callable[[bytes], Answers] = silent) -> None:
        super().__init__()
        self.behaviour = behaviour
        self.present = True
        self.refuses: Exception | None = None
        self.holds: trio.Event | None = None
        self.splits = False
        self.requests: list[tuple[float, bytes]] = []
        self._coming: list[tuple[float, int, bytes | Exception]] = []
        self._number = itertools.count()
        self._news = trio.Event()
        self._line: object = None

    def say(self, message: bytes | Exception, seconds: float = 0.0) -> None:
        """Have a message come that nobody has asked for."""
        item = (trio.current_time() + seconds, next(self._number), message)
        heapq.heappush(self._coming, item)
        self._news.set()

    def unplug(self) -> None:
        """The line is lost, and cannot be had again."""
        self.present = False
        self._disconnect()

    @property
    def asked(self) -> list[bytes]:
        """The requests alone."""
        return [request for _, request in self.requests]

    async def _connect(self) -> None:
        await trio.lowlevel.checkpoint()
        if not self.present:
            raise OSError(errno.ENOENT, "No such device")
        self._coming.clear()
        self._line = object()

    async def _receive(self) -> bytes:
        line = self._line
        await trio.lowlevel.checkpoint()
        while True:
            self._require(line)
            if self._coming and self._coming[0][0] <= trio.current_time():
                _, _, message = heapq.heappop(self._coming)
                if isinstance(message, Exception):
                    raise message
                return message
            self._news = trio.Event()
            with trio.move_on_at(self._coming[0][0] if self._coming else float("inf")):
                await self._news.wait()

    async def _send(self, message: bytes) -> None:
        line = self._line
        await trio.lowlevel.checkpoint()
        if self.holds is not None:
            await self.holds.wait()
        if self.splits:
            self._mid_message = True
            await trio.sleep_forever()
        if self.refuses is not None:
            raise self.refuses
        self._require(line)
        self.requests.append((trio.current_time(), message))
        for seconds, answer in self.behaviour(message):
            self.say(answer, seconds)

    def _disconnect(self) -> None:
        self._line = None
        self._news.set()

    def _require(self, line: object) -> None:
        if line is None or self._line is not line:
            if not self.present:
                raise OSError(errno.EIO, "Input/output error")
            raise trio.ClosedResourceError("it was closed")
