"""Where in a file a reader is: after the latest message that it has given out."""

from __future__ import annotations

import bisect
import copy
import functools
import os
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from ...errors import ConfigurationError
from ..framing import Framing

__all__ = ["OVERLAP", "UNKNOWN", "Ledger", "Place", "TailPosition", "check_of", "read_before"]

UNKNOWN = 2**32
"""A checksum that no bytes have."""

OVERLAP = 256
"""Bytes before a place by which it is known again."""

Place: TypeAlias = tuple[int, int]
"""An inode, and an offset in it in bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TailPosition:
    """Where a `FileTail` is, to be kept by a program and given to the next one as `start`.

    Made of numbers alone, so `dataclasses.asdict` makes JSON of it.

    Attributes:
        inode: Number of the file in its file system, whatever it is called by now; 0: none was
            there yet.
        offset: Bytes from its beginning to the next message that was not given out.
        check: Checksum of the bytes right before that. It tells a new file from an old one that
            had the same number, or was truncated.
    """

    inode: int
    offset: int
    check: int

    def __post_init__(self) -> None:
        given = (self.inode, self.offset, self.check)
        if not all(type(number) is int and number >= 0 for number in given):
            raise ConfigurationError(f"{self!r:.200}: expected whole numbers, 0 or more")


def check_of(before: bytes) -> int:
    """The checksum of the bytes before a place."""
    return zlib.crc32(before[-OVERLAP:])


class Ledger:
    """Keeps account of the place after the latest message that was given out.

    A framing does not tell where in its bytes a message ends. That is found out when somebody asks,
    by feeding a copy of it with less and less.
    """

    def __init__(self) -> None:
        self._place: Place = (0, 0)
        self._now: Callable[[int], Place] | None = None
        self._next: Callable[[int], Place] | None = None
        self._given = 0

    @property
    def place(self) -> Place:
        """That place."""
        if self._now is not None:
            self._place = self._now(self._given)
        return self._place

    def settle(self, place: Place) -> None:
        """What comes next begins here."""
        self._place, self._now, self._next = place, None, None

    def expect(self, places: Callable[[int], Place]) -> None:
        """Messages have come, and none of them was given out; those before all were.

        Arguments:
            places: Says where things are after so many of them.
        """
        self._next = places

    def expect_of(self, before: Framing, data: bytes, inode: int, offset: int) -> None:
        """The same, of bytes that came at an offset.

        Arguments:
            before: A copy of the framing before it got them.
            data: The bytes.
            inode: Of the file.
            offset: Of the bytes in it.
        """
        self.expect(functools.partial(_place_after, before, data, inode, offset))

    def give(self) -> None:
        """The next message was given out."""
        if self._next is not None:
            self._now, self._next, self._given = self._next, None, 0
        self._given += 1


def _place_after(before: Framing, data: bytes, inode: int, offset: int, count: int) -> Place:
    """Where the message of that number ends in the data."""

    def fed(size: int) -> tuple[int, int]:
        framing = copy.deepcopy(before)
        return len(framing.feed(data[:size])), framing.pending

    size = bisect.bisect_left(range(len(data)), count, key=lambda size: fed(size)[0])
    return inode, offset + size - fed(size)[1]


def read_before(descriptor: int, offset: int) -> bytes:
    """The bytes right before a place. It may block.

    Raises:
        OSError: It cannot be read.
    """
    begin = max(0, offset - OVERLAP)
    return os.pread(descriptor, offset - begin, begin)
