"""Judges which nodes have stalled: one tick in flight for too long, and not for want of input."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from ...executor import NodeRunner, readers_waiting, wait_of
from ...logs import OffLoopLogger
from .blocked import BlockedLoop
from .thread import Duty

__all__ = ["StalledNodes", "stall_limit"]

LOOK_EVERY = 0.5
"""Seconds."""

PERIODS, AT_LEAST = 5, 1.0
"""A tick may take so many periods of its node, and so many seconds."""


def stall_limit(period: float) -> float:
    """Seconds a tick may be in flight, for a node of that period (0.0: it has none)."""
    return max(PERIODS * period, AT_LEAST)


class StalledNodes(Duty):
    """Reports each stalled tick once, and again whenever it has lasted twice as long.

    Arguments:
        runners: The nodes, by name.
        clock: Seconds of the run, in any thread.
        blocked: Knows when the loop stood still.
        log: Is told.

    Attributes:
        names: The nodes that are stalled now, with the seconds their tick is in flight.
    """

    def __init__(
        self,
        runners: Mapping[str, NodeRunner],
        clock: Callable[[], float],
        blocked: BlockedLoop,
        log: OffLoopLogger,
    ) -> None:
        self.names: dict[str, float] = {}
        self._runners = runners
        self._clock = clock
        self._blocked = blocked
        self._stalls = 0
        self._since = -math.inf
        self._log = log
        self._next = 0.0
        self._reports: dict[str, tuple[int, float]] = {}

    def look(self, now: float) -> float:
        if now >= self._next:
            self._next = now + LOOK_EVERY
            if self._blocked.is_blocked or self._blocked.count != self._stalls:
                # No node could go on: nobody but the one that blocked the loop is to blame.
                self._stalls = self._blocked.count
                self._since = self._clock()
            self.names = {
                name: seconds
                for name, runner in tuple(self._runners.items())
                if (seconds := self._judge(runner)) > 0.0
            }
            self._reports = {k: v for k, v in self._reports.items() if k in self.names}
        return self._next

    def _judge(self, runner: NodeRunner) -> float:
        """Seconds for which a stalled node's tick has been in flight; 0.0: it has not stalled."""
        tick = runner.seat.tick
        if tick is None or not runner.mailbox.busy or runner.ledger.in_flight == 0:
            return 0.0  # a tick whose thread was left behind is settled, and was reported then
        limit = stall_limit(runner.seat.period)
        seconds = self._clock() - max(tick.scheduled, self._since)
        if seconds <= limit or runner.seat.waiting_for is not None:
            return 0.0
        wait = wait_of(runner)
        if wait is None or wait.for_input:
            return 0.0
        seq, due = self._reports.get(runner.name, (0, 0.0))
        if seq != tick.seq or seconds >= due:
            self._reports[runner.name] = tick.seq, 2 * seconds
            waiting = readers_waiting(runner.name, self._runners)
            readers = ", ".join(f"{name!r} (for topic {topic!r})" for name, topic in waiting)
            self._log.warning(
                "node %r has been in tick %d for %.1f s, more than %g s: it %s%s",
                runner.name,
                tick.seq,
                seconds,
                limit,
                wait,
                f"; waiting for it: {readers}" if readers else "",
            )
        return seconds
