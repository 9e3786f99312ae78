"""Judges which nodes have stalled: one tick in flight for too long, and not for want of input."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from ...executor import NodeRunner, readers_waiting, wait_of
from ...logs import OffLoopLogger, Throttle
from .blocked import LOOK_EVERY as ASKED_EVERY
from .blocked import BlockedLoop
from .culprit import Culprit
from .holder import who_held_the_lock
from .thread import Duty

__all__ = ["StalledNodes", "stall_limit"]

LOOK_EVERY = 0.5
"""Seconds."""

SPELT_OUT = 20
"""So many nodes are reported with what they wait for; of others that stall at once, the names."""

PERIODS, AT_LEAST = 5, 1.0
"""A tick may take so many periods of its node, and so many seconds."""


def stall_limit(period: float) -> float:
    """Seconds a tick may be in flight, for a node of that period (0.0: it has none)."""
    return max(PERIODS * period, AT_LEAST)


class StalledNodes(Duty):
    """Reports each stalled tick once, and again whenever it has lasted twice as long.

    A node whose every tick takes too long is reported once in ten seconds.

    Arguments:
        runners: The nodes, by name.
        clock: Seconds of the run, in any thread.
        blocked: Knows when the loop stood still.
        log: Is told.

    Attributes:
        names: The nodes that are stalled now, with the seconds for which they have been.
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
        blocked.suspect = self._suspect
        self._stalls = 0
        self._stood = False
        self._log = log
        self._next = -math.inf
        self._looked = -math.inf
        self._records: dict[NodeRunner, _Record] = {}

    def look(self, now: float) -> float:
        if now < self._next:
            return self._next
        self._next = now + LOOK_EVERY
        blocked, clock = self._blocked, self._clock()
        stood, self._stood = self._stood, blocked.is_blocked or blocked.count != self._stalls
        if stood or self._stood:
            # No node could go on: nobody but the one that blocked the loop is to blame.
            self._stalls = blocked.count
            for record in self._records.values():
                record.since = clock
            self.names = {}
        elif blocked.blocked_for < 2 * ASKED_EVERY:  # else it may be blocked: that is seen later
            # Of very many nodes few are in a tick: no more than those may cost anything.
            stalled = {
                runner: seconds
                for runner in tuple(self._runners.values())
                if runner.mailbox.busy and (seconds := self._judge(runner, clock)) is not None
            }
            self.names = {runner.name: seconds for runner, seconds in stalled.items()}
            for runner in [r for r in self._records if self._runners.get(r.name) is not r]:
                del self._records[runner]
            self._looked = clock
            self._report(stalled, clock)
        return self._next

    def _judge(self, runner: NodeRunner, clock: float) -> float | None:
        """Seconds for which a stalled node's tick has been in flight; None: it has not stalled."""
        tick = runner.seat.tick
        if tick is None or runner.ledger.in_flight == 0:
            return None  # a tick whose thread was left behind is settled, and was reported then
        record = self._records.get(runner)
        if record is None:
            record = self._records[runner] = _Record()
        if record.seq != tick.seq:
            # It may have waited for its turn: at the latest look it was not in this tick.
            record.begin(tick.seq, max(tick.scheduled, self._looked))
        if runner.seat.waiting_for is not None:
            record.since = clock
            return None
        seconds = clock - record.since
        if seconds <= stall_limit(runner.seat.period):
            return None
        wait = wait_of(runner)
        if wait is None or wait.for_input:
            record.since = clock
            return None
        return seconds

    def _report(self, stalled: Mapping[NodeRunner, float], clock: float) -> None:
        due = [r for r, seconds in stalled.items() if self._records[r].is_due(seconds, clock)]
        for runner in due[:SPELT_OUT]:
            wait = wait_of(runner)
            waiting = readers_waiting(runner.name, self._runners)
            readers = ", ".join(f"{name!r} (for topic {topic!r})" for name, topic in waiting)
            self._log.warning(
                "node %r has been in tick %d for %.1f s, more than %g s: it %s%s",
                runner.name,
                self._records[runner].seq,
                stalled[runner],
                stall_limit(runner.seat.period),
                "has ended just now" if wait is None else wait,
                f"; waiting for it: {readers}" if readers else "",
            )
        if len(due) > SPELT_OUT:
            names = ", ".join(repr(runner.name) for runner in due[SPELT_OUT : 2 * SPELT_OUT])
            more = " and others" if len(due) > 2 * SPELT_OUT else ""
            self._log.warning(
                "%d more nodes have been in one tick for too long: %s%s",
                len(due) - SPELT_OUT,
                names,
                more,
            )

    def _suspect(self, seconds: float, on_loop: bool) -> Culprit | None:
        return who_held_the_lock(self._runners, seconds, on_loop, self._clock())


class _Record:
    """One node's tick in flight.

    Attributes:
        seq: Its number.
        since: When it began, or was last seen waiting for input, or the loop was last blocked.
    """

    __slots__ = ("_due", "_throttle", "seq", "since")

    def __init__(self) -> None:
        self._throttle = Throttle()
        self.begin(None, math.inf)

    def begin(self, seq: int | None, since: float) -> None:
        """Another tick."""
        self.seq: int | None = seq
        self.since: float = since
        self._due: float = 0.0

    def is_due(self, seconds: float, now: float) -> bool:
        """Whether it is to be reported now, having lasted for so many seconds."""
        if seconds < self._due:
            return False
        if not self._due and self._throttle.admit(now, "a stalled tick") is None:
            return False
        self._due = 2 * seconds
        return True
