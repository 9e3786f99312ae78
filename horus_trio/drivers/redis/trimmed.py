"""How many entries of a stream were trimmed away before they were read.

A server says how many entries were ever added to a stream, and how many are there. Of those that
were added after the one that was read last, the rest is lost. No I/O is done here.
"""

from __future__ import annotations

from collections.abc import Sequence

from .entries import Position, StreamState

__all__ = ["Trimmed"]


class Trimmed:
    """Counts what one reader of a stream has missed.

    Entries that were deleted one by one (XDEL) before they were read count as trimmed.

    Attributes:
        lost: How many.
    """

    def __init__(self) -> None:
        self.lost: int = 0
        self._passed: int | None = None
        """Entries that were ever added to the stream up to the one read last; None: not known."""

    def took(self) -> None:
        """An entry was read."""
        if self._passed is not None:
            self._passed += 1

    def look(self, state: StreamState, position: Position, batch: Sequence[Position] = ()) -> None:
        """Compare.

        Arguments:
            state: Of the stream, now.
            position: Of the entry read last.
            batch: Those of the entries read last, up to that one. Without, entries that are gone
                are noticed only if the one read last is gone, too.
        """
        if state.added is None:
            return
        if position >= state.last:
            passed = state.added
        elif state.first is None or position < state.first:
            passed = state.added - state.length
        elif state.first in batch:
            passed = state.added - (state.length - (len(batch) - batch.index(state.first)))
        else:
            return  # what was read before is there still
        if self._passed is not None:
            # Fewer than before: it is another stream of the same name.
            self.lost += max(0, passed - self._passed)
        self._passed = passed
