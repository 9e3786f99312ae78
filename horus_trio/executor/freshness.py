"""Watches the age of a node's inputs: tells the node when one has become stale."""

from __future__ import annotations

import math
from collections.abc import Callable

from ..timer import Alarm, Timer
from ..topics import Hub, Sub

__all__ = ["Freshness"]


class Freshness:
    """Calls ``on_stale`` once when the newest message of a topic is older than ``max_age``.

    A fresh message ends that; then it may become stale again. A topic without any message counts
    from `start`.

    Arguments:
        timer: Rings.
        clock: Seconds.
        sub: Declares ``max_age`` and perhaps ``on_stale``.
        hub: The topic.
        failed: Called with what ``on_stale`` raised.
    """

    def __init__(
        self,
        timer: Timer,
        clock: Callable[[], float],
        sub: Sub,
        hub: Hub[object],
        failed: Callable[[Exception], None],
    ) -> None:
        self._clock = clock
        self._sub = sub
        self._max_age = math.inf if sub.max_age is None else sub.max_age
        self._hub = hub
        self._failed = failed
        self._since = math.inf
        self._is_stale = False
        self._alarm: Alarm = timer.alarm(self._look)

    def start(self) -> None:
        """Begin to watch."""
        self._since = self._clock()
        self._is_stale = False
        self._alarm.set(self._since + self._max_age)

    def stop(self) -> None:
        """Watch no more."""
        self._alarm.clear()

    def _look(self, now: float) -> None:
        newest = self._hub.latest
        since = self._since if newest is None else max(newest[1], self._since)
        due = since + self._max_age
        if due > now:
            self._is_stale = False
            self._alarm.set(due)
            return
        if not self._is_stale:
            self._is_stale = True
            if self._sub.on_stale is not None:
                try:
                    self._sub.on_stale(self._sub.topic)
                except Exception as error:  # noqa: BLE001 - handed on
                    self._failed(error)
        self._alarm.set(now + self._max_age)
