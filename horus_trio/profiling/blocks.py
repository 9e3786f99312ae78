"""`Blocks`: records of a few numbers each in blocks of bytes, a bounded number of them.

Memory that grows by objects costs more than all the rest of measuring a tick: to get it, and for
the garbage collector to look through it. A record goes into bytes that are there already, by one
call in C.
"""

from __future__ import annotations

import collections
import struct
from collections.abc import Callable, Iterator

__all__ = ["Blocks"]

AT_ONCE = 64
"""Records of a block; the oldest block goes as a whole."""


class Blocks:
    """Keeps the latest records. Written by one thread at a time.

    Arguments:
        numbers: Of a record, all of them floats in the end.
        keep: Records to be kept at least, if there have been so many.

    Attributes:
        pack: Puts numbers into `block`: ``pack(block, at, *numbers)``.
        block: The block that is being filled.
        at: Where the next record goes; `size` if there is no room.
        record, size: Bytes of a record, and of a block.
    """

    __slots__ = ("_full", "_keep", "_struct", "at", "block", "pack", "record", "size")

    def __init__(self, numbers: int, keep: int) -> None:
        self._struct = struct.Struct(f"{numbers}d")
        self._keep = keep
        self._full: collections.deque[bytearray] = collections.deque()
        self.pack: Callable[..., None] = self._struct.pack_into
        self.record: int = self._struct.size
        self.size: int = AT_ONCE * self.record
        self.block: bytearray = bytearray()  # the first record gets a real one
        self.at: int = self.size

    def turn(self) -> Iterator[tuple[float, ...]]:
        """Begin a new block; returns the records that are too old to be kept."""
        if self.block:
            self._full.append(self.block)
        is_enough = (len(self._full) - 1) * AT_ONCE >= self._keep
        too_old = self._full.popleft() if is_enough else b""
        self.block = bytearray(self.size)
        self.at = 0
        return self._struct.iter_unpack(too_old)

    def records(self) -> Iterator[tuple[float, ...]]:
        """What is kept, the oldest first; not while another thread is in `turn`."""
        blocks = [*self._full, self.block[: self.at]]
        return (record for block in blocks for record in self._struct.iter_unpack(block))
