"""Releases nodes at their rates: each `Beat` walks along an absolute grid, all on one timer."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..executor import Mailbox
from ..policies import CATCH_UP_BOUND
from ..timer import Grid, Timer

__all__ = ["Beat", "spread_phases"]


class Beat:
    """Releases one node at the points of its grid.

    The loop may have stood still for many points: the latest is released, those before it are
    missed, and the old grid goes on without a burst.

    Arguments:
        timer: Rings.
        mailbox: Is released.
        grid: The instants.
        order: At equal instants, lower is earlier.
        end: No release at or after this instant, in seconds, however late the wake-up.
    """

    __slots__ = ("_alarm", "_last", "_mailbox", "_next", "grid")

    def __init__(
        self, timer: Timer, mailbox: Mailbox, grid: Grid, order: int, end: float = math.inf
    ) -> None:
        self.grid: Grid = grid
        self._mailbox = mailbox
        self._last = math.nextafter(end, -math.inf)
        self._next = 0
        self._alarm = timer.alarm(self._ring, order=order)

    def start(self, now: float) -> None:
        """Begin with the first grid point at or after `now` (seconds)."""
        n = self.grid.index(now)
        if n < 0 or self.grid.point(n) < now:
            n += 1
        self._next = n
        self._alarm.set(self.grid.point(n))

    def stop(self) -> None:
        """No more releases until `start`."""
        self._alarm.clear()

    def _ring(self, now: float) -> None:
        grid, n = self.grid, self._next
        following = grid.point(n + 1)
        if following <= now:
            first, n = n, max(n, grid.index(min(now, self._last)))
            kept = max(first, n - CATCH_UP_BOUND)
            self._mailbox.skip([grid.point(k) for k in range(kept, n)], kept - first)
            following = grid.point(n + 1)
        self._next = n + 1
        self._alarm.set(following)
        self._mailbox.release(grid.point(n))


def spread_phases(rates: Sequence[float | None]) -> list[float]:
    """Phases in seconds that spread nodes of one rate evenly over their period.

    Arguments:
        rates: Of the nodes in the order in which they were added, in Hz; None: no rate.
    """
    totals: dict[float, int] = {}
    for rate in rates:
        if rate is not None:
            totals[rate] = totals.get(rate, 0) + 1
    seen = dict.fromkeys(totals, 0)
    phases: list[float] = []
    for rate in rates:
        if rate is None:
            phases.append(0.0)
            continue
        phases.append(seen[rate] / totals[rate] / rate)
        seen[rate] += 1
    return phases


GOLDEN = (math.sqrt(5) - 1) / 2


def late_phase(index: int, rate: float) -> float:
    """A phase in seconds for the `index`-th node that was added while running.

    Multiples of the golden ratio stay spread however many follow (Weyl's equidistribution).
    """
    return (index * GOLDEN) % 1.0 / rate
