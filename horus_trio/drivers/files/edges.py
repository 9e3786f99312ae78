"""What descriptors tell of edges: bytes, values that are read again, or records of the kernel."""

from __future__ import annotations

import abc
import contextlib
import errno
import os
import select
import struct
import time
from collections.abc import Iterator
from typing import NamedTuple

import trio

from ..errors import DeviceGone
from ..sequence import LossCounter

__all__ = ["EdgeSource", "Levels", "LineEvents", "Seen", "SysfsValue"]

CHUNK = 65536
"""Bytes that are read at once: all that a pipe holds, so what has waited in it is of one time."""

LINE_EVENT = struct.Struct("=QIIII24x")
"""``struct gpio_v2_line_event`` of Linux: time in ns, what it is, line, and two numbers."""

RISING, FALLING = 1, 2


class Seen(NamedTuple):
    """An edge as it was told.

    Attributes:
        level: What the level is since.
        age: Seconds since then, as far as it is known.
    """

    level: bool
    age: float


class EdgeSource(abc.ABC):
    """A descriptor that tells of edges. It owns it.

    Arguments:
        descriptor: It.

    Attributes:
        discarded: Bytes that tell of none.
        lost: Edges that are known to be missing.
        bytes: That were read.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor: int = descriptor
        self.discarded: int = 0
        self.lost: int = 0
        self.bytes: int = 0

    @property
    def waits_for(self) -> int:
        """The descriptor that is readable when there is something to read."""
        return self.descriptor

    def begin(self) -> bool | None:
        """The level that is there before any edge, if it can be read.

        Raises:
            DeviceGone: The other end has closed it.
            OSError: It says so.
        """
        return None

    @abc.abstractmethod
    def read_nowait(self) -> Iterator[Seen]:
        """What has come.

        Raises:
            DeviceGone: The other end has closed it.
            OSError: It says so.
        """

    def close(self) -> None:
        """Close it; who waits gets `trio.ClosedResourceError`."""
        trio.lowlevel.notify_closing(self.descriptor)
        with contextlib.suppress(OSError):  # it is closed all the same
            os.close(self.descriptor)

    def _read(self) -> bytes:
        try:
            data = os.read(self.descriptor, CHUNK)
        except BlockingIOError:
            return b""
        if not data:
            raise DeviceGone("the other end has closed it")
        self.bytes += len(data)
        return data


class Levels(EdgeSource):
    """Each byte is an edge: ``0`` or ``1``, what the level is since. White space means nothing."""

    discarded: int

    def read_nowait(self) -> Iterator[Seen]:
        levels = self._read().translate(None, b" \t\r\n\0")
        known = levels.translate(None, bytes(set(range(256)) - set(b"01")))
        self.discarded += len(levels) - len(known)
        high, low = Seen(True, 0.0), Seen(False, 0.0)
        return iter([high if byte == ord("1") else low for byte in known])


class SysfsValue(EdgeSource):
    """A file that is read from its beginning whenever it has an exception: ``value`` of sysfs.

    That is urgent data in terms of `poll`. Trio waits for readable and writable descriptors, and
    one of epoll is readable when what it waits for is there.

    Raises:
        PermissionError: It tells of no edges, such as a plain file.
    """

    discarded: int
    lost: int

    def __init__(self, descriptor: int, *, both: bool) -> None:
        super().__init__(descriptor)
        self._both = both
        self._level: bool | None = None
        self._epoll = select.epoll()
        try:
            self._epoll.register(descriptor, select.EPOLLPRI | select.EPOLLERR)
        except BaseException:
            self._epoll.close()
            raise

    @property
    def waits_for(self) -> int:
        return self._epoll.fileno()

    def begin(self) -> bool | None:
        level = self._level_now()
        self._level = level
        return level

    def read_nowait(self) -> Iterator[Seen]:
        if not self._epoll.poll(0):
            return iter(())
        level = self._level_now()
        if level is None:
            return iter(())
        if self._both and level is self._level:
            self.lost += 1  # it was elsewhere in between
        self._level = level
        return iter((Seen(level, 0.0),))

    def close(self) -> None:
        trio.lowlevel.notify_closing(self._epoll.fileno())
        self._epoll.close()
        super().close()

    def _level_now(self) -> bool | None:
        try:
            os.lseek(self.descriptor, 0, os.SEEK_SET)
        except OSError as error:
            if error.errno != errno.ESPIPE:  # what has no beginning tells the newest
                raise
        text = self._read().strip()
        if text not in (b"0", b"1"):
            self.discarded += len(text)
            return None
        return text == b"1"


class LineEvents(EdgeSource):
    """Records of a line that was requested from a gpiochip (``gpio_v2_line_event``), numbered."""

    discarded: int
    lost: int

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor)
        self._rest = b""
        self._losses = LossCounter(2**32)

    def read_nowait(self) -> Iterator[Seen]:
        data = self._rest + self._read()
        whole = len(data) - len(data) % LINE_EVENT.size
        self._rest = data[whole:]
        edges: list[Seen] = []
        now = time.monotonic_ns()
        for nanoseconds, kind, _, number, _ in LINE_EVENT.iter_unpack(data[:whole]):
            if kind not in (RISING, FALLING):
                self.discarded += LINE_EVENT.size
                continue
            self._losses.count(number)
            edges.append(Seen(kind == RISING, max(0.0, (now - nanoseconds) / 1e9)))
        self.lost = self._losses.lost
        return iter(edges)
