"""Releases nodes at their rates: each `Beat` walks along an absolute grid, all on one timer.

The `Metronome` makes the beats and can hold them: while held none of them releases, and when it
goes on each takes up its old grid. The points in between are neither released nor missed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..executor import Mailbox
from ..policies import CATCH_UP_BOUND
from ..timer import Grid, Timer

__all__ = ["Beat", "Metronome", "late_phase", "spread_phases"]


class Metronome:
    """The beats of one run.

    Arguments:
        timer: Rings for all of them.
        held: Whether it begins held.

    Attributes:
        end: No release at or after this instant, in seconds, however late the wake-up.
    """

    def __init__(self, timer: Timer, *, held: bool) -> None:
        self.end: float = math.inf
        self._timer = timer
        self._held = held
        self._beating: dict[Beat, None] = {}
        self._barline = timer.alarm(lambda now: self.hold(), order=-math.inf)

    def beat(self, mailbox: Mailbox, grid: Grid, order: int) -> Beat:
        """A beat for one node; `Beat.start` it."""
        return Beat(self, mailbox, grid, order)

    def hold(self) -> None:
        """Release nothing until `go`."""
        self._held = True
        for beat in self._beating:
            beat._alarm.clear()

    def go(self, now: float, until: float = math.inf) -> None:
        """Release from `now` on, and hold again at `until`, before its releases (seconds)."""
        self._held = False
        self._barline.set(until)
        for beat in self._beating:
            beat._take_up(now)

    def stop(self) -> None:
        """Stop every beat."""
        for beat in tuple(self._beating):
            beat.stop()


class Beat:
    """Releases one node at the points of its grid. Made by `Metronome.beat`.

    The loop may have stood still for many points: the latest is released, those before it are
    missed, and the old grid goes on without a burst.

    Arguments:
        metronome: May hold it.
        mailbox: Is released.
        grid: The instants.
        order: At equal instants, lower is earlier.
    """

    __slots__ = ("_alarm", "_mailbox", "_metronome", "_next", "grid")

    def __init__(self, metronome: Metronome, mailbox: Mailbox, grid: Grid, order: int) -> None:
        self.grid: Grid = grid
        self._metronome = metronome
        self._mailbox = mailbox
        self._alarm = metronome._timer.alarm(self._ring, order=order)

    def start(self, now: float) -> None:
        """Begin with the first grid point at or after `now` (seconds)."""
        self._metronome._beating[self] = None
        if not self._metronome._held:
            self._take_up(now)

    def stop(self) -> None:
        """No more releases until `start`."""
        self._metronome._beating.pop(self, None)
        self._alarm.clear()

    def _take_up(self, now: float) -> None:
        n = self.grid.index(now)
        if n < 0 or self.grid.point(n) < now:
            n += 1
        self._next = n
        self._alarm.set(self.grid.point(n))

    def _ring(self, now: float) -> None:
        grid, n = self.grid, self._next
        following = grid.point(n + 1)
        if following <= now:
            last = math.nextafter(self._metronome.end, -math.inf)
            first, n = n, max(n, grid.index(min(now, last)))
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
