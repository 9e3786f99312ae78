"""Notices a stop that does not get through, makes the robot safe, and names what holds it up."""

from __future__ import annotations

import math
from collections.abc import Callable

from ...executor import SafetyChain
from .thread import Duty

__all__ = ["HELD_UP", "Announcer", "LateStop"]

HELD_UP = 0.1
"""Seconds a stop may take to reach the critical nodes before they enter their safe state."""

ANNOUNCE_EVERY = 0.25
"""Seconds between two looks at an emergency."""

PATIENCE = 1.5
"""Seconds beyond its time limit that a stop may take before it counts as endless."""


class LateStop(Duty):
    """Watches the end of one run.

    Arguments:
        within: Seconds the stop may take.
        exposed: Called with the reason if the loop has not begun to stop after `HELD_UP` seconds.
        endless: Called once, if the run does not end.
    """

    def __init__(
        self, within: float, exposed: Callable[[str], None], endless: Callable[[], None]
    ) -> None:
        self._exposed = exposed
        self._endless = endless
        self._stop = _Deadline(within + PATIENCE)
        self._force = _Deadline(PATIENCE)
        self._begin = _Deadline(HELD_UP)

    def asked(self) -> None:
        """A stop was asked for; any thread and any signal handler, any number of times."""
        self._stop.is_set = self._begin.is_set = True

    def begun(self) -> None:
        """The loop has heard of it. On the loop."""
        self._stop.is_set = True
        self._begin.is_over = True

    def forced(self) -> None:
        """It is to end at once; any thread and any signal handler."""
        self.asked()
        self._force.is_set = True

    def look(self, now: float) -> float:
        if self._begin.has_passed(now):
            self._begin.is_over = True
            self._exposed("a stop does not get through: the loop is blocked")
        if self._stop.has_passed(now) or self._force.has_passed(now):
            self._stop.is_over = self._force.is_over = True
            self._endless()
        return min(self._begin.due, self._stop.due, self._force.due)


class _Deadline:
    """So many seconds from the moment at which the watchdog sees that it is set."""

    def __init__(self, seconds: float) -> None:
        self.is_set = False
        self.is_over = False
        self._seconds = seconds
        self._instant = math.inf

    @property
    def due(self) -> float:
        return math.inf if self.is_over else self._instant

    def has_passed(self, now: float) -> bool:
        if self.is_set and self._instant == math.inf:
            self._instant = now + self._seconds
        return now >= self.due


class Announcer(Duty):
    """Sees to it that an emergency is logged although the loop is blocked."""

    def __init__(self, safety: SafetyChain) -> None:
        self._safety = safety

    def look(self, now: float) -> float:
        self._safety.announce()
        return math.inf if not self._safety.is_tripped else now + ANNOUNCE_EVERY
