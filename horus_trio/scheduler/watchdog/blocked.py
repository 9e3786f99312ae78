"""Notices that the loop is blocked, and says by whom while it happens.

The loop is asked to answer again and again. No answer for `stall_after` seconds means that some
code does not come back to it. If this thread itself did not run meanwhile, either the process was
suspended, or some code held the interpreter's lock: then this thread has waited for the lock again
and again, once in each switch interval, and the kernel has counted that.
"""

from __future__ import annotations

import collections
import os
import resource
import sys
import threading
import time
from dataclasses import dataclass

import trio

from ...logs import OffLoopLogger
from .culprit import Culprit, who_runs
from .thread import Duty

__all__ = ["BlockedLoop", "Stall"]

LOCK_WAITS = 10
"""Waits of this thread in a pause from which on it was waiting for the interpreter's lock."""

KEPT = 16
"""Stalls that are remembered; all are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stall:
    """A time for which the loop did not run.

    Attributes:
        node: Name of the node whose code blocked it, or None.
        what: Such as ``tick 12``, or ``the process was suspended``.
        where: File, line and function, as it was first seen; empty if nothing blocked it.
        duration: Seconds; still rising while it lasts.
    """

    node: str | None
    what: str
    where: str
    duration: float


class BlockedLoop(Duty):
    """Watches the loop it is made on.

    Arguments:
        stall_after: Seconds without an answer after which the loop counts as blocked.
        log: Is told.

    Attributes:
        count: Stalls so far.
        stalls: The latest of them.
    """

    def __init__(self, stall_after: float, log: OffLoopLogger) -> None:
        self.count: int = 0
        self.stalls: collections.deque[Stall] = collections.deque(maxlen=KEPT)
        self._stall_after = stall_after
        self._log = log
        self._interval = min(0.125, stall_after / 4)
        self._token = trio.lowlevel.current_trio_token()
        self._thread = threading.get_ident()
        self._answered = True
        self._asked = self._looked = time.monotonic()
        self._waits = 0
        self._culprit: Culprit | None = None
        self._next_report = stall_after

    @property
    def blocked_for(self) -> float:
        """Seconds since the loop was last asked in vain; 0.0: it answers. Any thread."""
        return 0.0 if self._answered else max(0.0, time.monotonic() - self._asked)

    @property
    def is_blocked(self) -> bool:
        """Whether the loop has not answered for too long; any thread."""
        return self.blocked_for >= self._stall_after

    def culprit(self) -> Culprit | None:
        """Who blocks the loop now; None: nobody. Any thread."""
        return who_runs(self._thread) if self.is_blocked else None

    def look(self, now: float) -> float:
        slept, self._looked = now - self._looked, now
        waits, self._waits = _waits_of_this_thread() - self._waits, _waits_of_this_thread()
        if slept > self._interval + self._stall_after:
            self._stood_still(slept, waits)
            self._asked = now
        if self._answered:
            self._recover(now)
            self._answered = False
            self._asked = now
            self._next_report = self._stall_after
            try:
                self._token.run_sync_soon(self._answer)
            except trio.RunFinishedError:
                self._answered = True
        elif now - self._asked >= self._next_report:
            self._next_report *= 2
            self._report(now - self._asked)
        return now + self._interval

    def _answer(self) -> None:
        self._answered = True

    def _report(self, seconds: float) -> None:
        culprit = who_runs(self._thread)
        if culprit is None:
            return
        if self._culprit is None:
            self._culprit = culprit
            self._count(culprit, seconds)
        else:
            self._lasts(seconds)
        self._log.error(
            "the loop has been blocked for %.1f s by %s: no other node runs; make that code a "
            "plain `def` hook, which gets a thread, or await in it\n%s",
            seconds,
            culprit,
            culprit.stack.rstrip(),
        )

    def _recover(self, now: float) -> None:
        if self._culprit is not None:
            self._lasts(now - self._asked)
            self._log.warning(
                "the loop goes on: %s had blocked it for %.1f s", self._culprit, now - self._asked
            )
            self._culprit = None

    def _stood_still(self, seconds: float, waits: int) -> None:
        """Not even this thread ran."""
        if waits < LOCK_WAITS:
            what = "the process stood still"
            self._count(Culprit(node=None, what=what, where="", stack=""), seconds)
            self._log.warning(
                "the process stood still for %.1f s: it was suspended, or the machine had no time "
                "for it; rates go on along their old grid",
                seconds,
            )
            return
        culprit = who_runs(self._thread)
        if culprit is None or _is_waiting(culprit):
            culprit = self._suspect()
        self._count(culprit, seconds)
        self._log.error(
            "no other thread ran for %.1f s, for the interpreter's lock was held, last seen in %s; "
            "C code should release that lock while it waits\n%s",
            seconds,
            culprit,
            culprit.stack.rstrip(),
        )

    def _suspect(self) -> Culprit:
        """Of the other threads with a node's code, the first; perhaps it was another one."""
        for thread in sys._current_frames():
            culprit = None if thread == self._thread else who_runs(thread)
            if culprit is not None and culprit.node is not None:
                return culprit
        return Culprit(node=None, what="some thread", where="an unknown place", stack="")

    def _count(self, culprit: Culprit, seconds: float) -> None:
        self.count += 1
        self.stalls.append(
            Stall(node=culprit.node, what=culprit.what, where=culprit.where, duration=seconds)
        )

    def _lasts(self, seconds: float) -> None:
        latest = self.stalls[-1]
        self.stalls[-1] = Stall(
            node=latest.node, what=latest.what, where=latest.where, duration=seconds
        )


def _waits_of_this_thread() -> int:
    """How often this thread has gone to sleep in the kernel."""
    this_thread = getattr(resource, "RUSAGE_THREAD", resource.RUSAGE_SELF)  # Linux has it
    return resource.getrusage(this_thread).ru_nvcsw


def _is_waiting(culprit: Culprit) -> bool:
    """Whether the loop's thread is in Trio's own waiting, and so in nobody's code."""
    return culprit.node is None and f"{os.sep}trio{os.sep}_core{os.sep}" in culprit.where
