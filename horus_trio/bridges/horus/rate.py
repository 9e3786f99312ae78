"""HORUS's `Rate`: keeps a loop of a thread at its rate, without drift."""

from __future__ import annotations

import collections
import math
import time

from ...topics.waiting import refuse_on_loop
from .messages.kinds import f64

__all__ = ["Rate"]

WINDOW = 32
"""Periods that `Rate.actual_hz` looks at."""


class Rate:
    """Sleeps until the next instant of a grid; a loop that calls `sleep` runs at that rate.

    Who is late by up to a period is not made to wait, so the grid is kept; who is later begins a
    new grid instead of catching up.

    Arguments:
        hz: The rate, above 0.
    """

    def __init__(self, hz: float) -> None:
        self._hz = f64(hz)
        if not 0.0 < self._hz < math.inf:
            raise ValueError(f"Rate: frequency must be positive and finite (got {self._hz:g})")
        self._period = 1.0 / self._hz
        self._woken: collections.deque[float] = collections.deque(maxlen=WINDOW + 1)
        self._due = 0.0
        self.reset()

    def __repr__(self) -> str:
        return f"Rate(target={self._hz:.1f}Hz, actual={self.actual_hz():.1f}Hz)"

    def sleep(self) -> None:
        """Wait for the next instant of the grid; blocks this thread.

        Raises:
            AsyncCallInThread: Called on the Trio loop, which it would block.
        """
        refuse_on_loop("Rate.sleep()", "await trio.sleep_until(…)")
        now = time.monotonic()
        if now < self._due:
            time.sleep(self._due - now)
        elif now - self._due > self._period:
            self._due = now
        self._due += self._period
        self._woken.append(time.monotonic())

    def actual_hz(self) -> float:
        """The rate over the latest periods; the wanted one until there is a period."""
        if len(self._woken) < 2:
            return self._hz
        passed = self._woken[-1] - self._woken[0]
        return (len(self._woken) - 1) / passed if passed > 0.0 else self._hz

    def target_hz(self) -> float:
        """The wanted rate."""
        return self._hz

    def period(self) -> float:
        """The time from one instant to the next (s)."""
        return self._period

    def reset(self) -> None:
        """Begin a new grid, now, and measure anew."""
        self._woken.clear()
        self._due = time.monotonic() + self._period

    def is_late(self) -> bool:
        """Whether the next instant has passed."""
        return time.monotonic() > self._due
