"""Watches the age of a node's input: when it becomes stale, and when it has recovered."""

from __future__ import annotations

import math
from collections.abc import Callable

from ..health import InputStatistics
from ..timer import Alarm, Timer
from ..topics import Hub, Sub

__all__ = ["Freshness"]


class Freshness:
    """Notices that the newest message of a topic is older than ``max_age``, and that one has come.

    A topic without any message counts from `start`. What is counted goes on over restarts.

    Arguments:
        timer: Rings.
        clock: Seconds.
        sub: Declares ``max_age``.
        hub: The topic.
        stale: Called when the input has become stale; must not raise.
        recovered: Called with the seconds it had been without a message; must not raise.
    """

    def __init__(
        self,
        timer: Timer,
        clock: Callable[[], float],
        sub: Sub,
        hub: Hub[object],
        stale: Callable[[Sub], None],
        recovered: Callable[[Sub, float], None],
    ) -> None:
        self.is_stale: bool = False
        self._clock = clock
        self._sub = sub
        self._max_age = math.inf if sub.max_age is None else sub.max_age
        self._hub = hub
        self._stale = stale
        self._recovered = recovered
        self._since = math.inf
        self._stale_events = 0
        self._recoveries = 0
        self._alarm: Alarm = timer.alarm(self._look)

    def start(self) -> None:
        """Begin to watch: the input has `max_age` seconds from now."""
        self._since = self._clock()
        self._alarm.set(self._since + self._max_age)

    def stop(self) -> None:
        """Watch no more."""
        self._alarm.clear()
        self.is_stale = False

    def arrived(self) -> None:
        """A message has come. On the loop."""
        if self.is_stale:
            self._recover(self._clock())  # the alarm, set since it is stale, rings in time

    def snapshot(self) -> InputStatistics:
        """What was counted; any thread."""
        return InputStatistics(
            topic=self._sub.topic,
            max_age=self._max_age,
            is_stale=self.is_stale,
            stale=self._stale_events,
            recovered=self._recoveries,
        )

    def _look(self, now: float) -> None:
        newest = self._hub.latest
        since = self._since if newest is None else max(newest[1], self._since)
        due = since + self._max_age
        if due > now:
            if self.is_stale:
                self._recover(now)
            self._alarm.set(due)
            return
        if not self.is_stale:
            self._since = since
            self.is_stale = True
            self._stale_events += 1
            self._stale(self._sub)
        # An arrival ends this at once, but for a message that a full subscription refused.
        self._alarm.set(now + self._max_age)

    def _recover(self, now: float) -> None:
        self.is_stale = False
        self._recoveries += 1
        self._recovered(self._sub, now - self._since)
