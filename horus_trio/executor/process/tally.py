"""A row of counters that a robot and a worker process share, and that outlives the worker.

So it is known what a tick took of its inputs even if it was killed: a worker that is dead cannot
say it. The counters are in a small file that both processes map into their memory.
"""

from __future__ import annotations

import mmap
import struct
import tempfile
from pathlib import Path
from typing import Self

__all__ = ["Tally"]

_COUNTER = struct.Struct("=q")


class Tally:
    """Counters, all 0 at the beginning. `close` them.

    Arguments:
        size: How many; at least one is made.
    """

    def __init__(self, size: int) -> None:
        with tempfile.NamedTemporaryFile(prefix="horus_trio-", delete=False) as file:
            file.truncate(_COUNTER.size * max(1, size))
            self.path: str = file.name
            self._map = mmap.mmap(file.fileno(), 0)
        self._is_ours = True

    @classmethod
    def of(cls, path: str) -> Self:
        """The counters of that file, in the other process."""
        tally = cls.__new__(cls)
        tally.path = path
        with Path(path).open("r+b") as file:
            tally._map = mmap.mmap(file.fileno(), 0)
        tally._is_ours = False
        return tally

    def close(self) -> None:
        """Give them back; the file goes with whoever made it."""
        self._map.close()
        if self._is_ours:
            Path(self.path).unlink(missing_ok=True)

    def add(self, index: int, count: int) -> None:
        """Count; not to be called in two threads at once."""
        offset = _COUNTER.size * index
        (before,) = _COUNTER.unpack_from(self._map, offset)
        _COUNTER.pack_into(self._map, offset, before + count)

    def read(self, index: int) -> int:
        """One counter."""
        count: int = _COUNTER.unpack_from(self._map, _COUNTER.size * index)[0]
        return count

    def clear(self) -> None:
        """Set all to 0."""
        self._map[:] = bytes(len(self._map))
