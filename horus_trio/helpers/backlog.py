"""The items of a `BatchProcessor`: those that wait, those under way, and those that are kept.

Items are numbered in their order, so that one can say up to which number all is settled: the ones
that wait begin with number `taken`. Nothing here waits or locks; the processor holds its lock.

    added == processed + dead + dropped + returned + len(kept) + waiting
"""

from __future__ import annotations

import collections
import math
from typing import Generic, TypeVar

from .delivery import Delivered

__all__ = ["Backlog"]

T = TypeVar("T")


class Backlog(Generic[T]):
    """What there is to process, and what became of it.

    Arguments:
        batch_size: Items in a batch, at most.
        interval: Seconds after which an item's batch is due, complete or not.
        capacity: Items that may wait. Those that are kept count, and room that is reserved.

    Attributes:
        limit: How many may wait, less what is reserved or kept.
        under_way: The batch that is being processed, or empty.
        kept: What could not be processed.
        added, processed, dead, dropped, returned: Items, by what became of them.
        batches: Those that were processed.
    """

    def __init__(self, batch_size: int, interval: float, capacity: int) -> None:
        self._batch_size = batch_size
        self._interval = interval
        self._capacity = capacity
        self._items: collections.deque[tuple[T, float]] = collections.deque()
        self._taken = 0
        self._wanted = 0  # those below go without delay
        self._under_way_from = 0
        self._left_from = math.inf  # those above were left by closing
        self._reserved = 0
        self.limit: int = capacity
        self.under_way: list[T] = []
        self.kept: list[T] = []
        self.added: int = 0
        self.processed: int = 0
        self.dead: int = 0
        self.dropped: int = 0
        self.returned: int = 0
        self.batches: int = 0

    def __len__(self) -> int:
        """How many wait, without those under way."""
        return len(self._items)

    @property
    def waiting(self) -> int:
        """How many wait or are under way."""
        return len(self._items) + len(self.under_way)

    @property
    def is_full(self) -> bool:
        """Whether there is no room for one more."""
        return len(self._items) >= self.limit

    # Putting in

    def append(self, item: T, now: float) -> bool:
        """Put it in; whether a batch may be due earlier by that."""
        self.added += 1
        self._items.append((item, now))
        count = len(self._items)
        return count == 1 or count >= self._batch_size

    def drop_oldest(self) -> bool:
        """Drop the one that has waited the longest, if one waits."""
        if not self._items:
            return False
        self._items.popleft()
        self._taken += 1
        self.dropped += 1
        return True

    def drop_newest(self) -> None:
        """Count one that is dropped in place of being put in."""
        self.added += 1
        self.dropped += 1

    def reserve(self) -> None:
        """Keep room for one more."""
        self._reserved += 1
        self.limit -= 1

    def give_back(self) -> None:
        """Undo `reserve`; `make_room` says what it comes to."""
        self._reserved -= 1

    def make_room(self) -> None:
        """See anew how many may wait."""
        self.limit = self._capacity - self._reserved - len(self.kept)

    # Taking out

    @property
    def due(self) -> float:
        """The instant at which a batch is due; `math.inf` if there is nothing."""
        if not self._items:
            return math.inf
        if len(self._items) >= self._batch_size or self._taken < self._wanted:
            return -math.inf
        return self._items[0][1] + self._interval

    def hurry(self) -> int:
        """Have all that waits be due at once; the number it ends with."""
        self._wanted = self._taken + len(self._items)
        return self._wanted

    def take_batch(self) -> None:
        """Have the next batch be under way."""
        pop = self._items.popleft
        count = min(len(self._items), self._batch_size)
        self.under_way = [pop()[0] for _ in range(count)]
        self._under_way_from = self._taken
        self._taken += count

    # Settling

    def settle(self, delivered: Delivered) -> None:
        """Have no batch under way, since this has become of it; keep it if it is left."""
        match delivered:
            case Delivered.PROCESSED:
                self.processed += len(self.under_way)
                self.batches += 1
            case Delivered.DEAD:
                self.dead += len(self.under_way)
            case Delivered.NOT:
                self.kept += self.under_way
        self.under_way = []

    def is_settled(self, number: int) -> bool | None:
        """Whether all up to this number is settled.

        Returns:
            None: not yet. False: it is not going to be, for closing has left some of it.
        """
        if number > self._left_from:
            return False
        return True if number <= self._settled else None

    @property
    def _settled(self) -> int:
        """Up to which number all is settled."""
        return self._under_way_from if self.under_way else self._taken

    def leave(self) -> None:
        """Keep all there is, under way or not: it is closed."""
        if self.under_way or self._items:
            self._left_from = self._settled
            self.settle(Delivered.NOT)
            self.kept += (item for item, _ in self._items)
            self._taken += len(self._items)
            self._items.clear()

    def resume(self, now: float) -> None:
        """Let what is kept wait again: it is opened."""
        self._left_from = math.inf
        self._items.extend((item, now) for item in self.kept)
        self.kept = []
        self.make_room()

    def take_kept(self) -> list[T]:
        """Take away what is kept."""
        kept, self.kept = self.kept, []
        self.returned += len(kept)
        return kept
