"""Notices that the loop is blocked, and says by whom while it happens.

A loop that is not asleep is asked to answer again and again. No answer for `stall_after` seconds
means that some code does not come back to it. If this thread itself did not run meanwhile, either
the process was suspended, or some code held the interpreter's lock: then this thread has waited for
the lock again and again, once in each switch interval, and the kernel has counted that.
"""

from __future__ import annotations

import collections
import resource
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import trio

from ...logs import OffLoopLogger
from .culprit import Culprit, who_runs
from .thread import Duty

__all__ = ["LOOK_EVERY", "BlockedLoop", "Stall"]

LOOK_EVERY = 0.125
"""Seconds between two questions to the loop, at most."""

LOCK_WAITS, LOCK_SHARE = 10, 1 / 8
"""So many waits of this thread, and such a share of those there can be in a pause, tell that it
waited for the interpreter's lock. A suspended process has a few on its way into and out of the
pause; on a busy machine a held lock gives far fewer than there can be."""

KEPT = 16
"""Stalls that are remembered; all are counted."""

LOCK_ADVICE = "C code has to release that lock while it computes or waits"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stall:
    """A time for which the loop did not run.

    Attributes:
        node: Name of the node whose code blocked it, or None.
        what: Such as ``tick 12``, or ``the process was suspended``.
        where: File, line and function, as it was first seen; empty if that is not known.
        duration: Seconds; still rising while it lasts.
        advice: What to do about it; empty if nobody blocked it.
    """

    node: str | None
    what: str
    where: str
    duration: float
    advice: str = ""


class BlockedLoop(Duty):
    """Watches the loop it is made on.

    Arguments:
        stall_after: Seconds without an answer after which the loop counts as blocked.
        log: Is told.

    Attributes:
        count: Stalls so far.
        stalls: The latest of them.
        suspect: Asked who has held the interpreter's lock for so many seconds until now, where no
            stack tells it; the flag says whether it was code on the loop, probably.
    """

    def __init__(self, stall_after: float, log: OffLoopLogger) -> None:
        self.count: int = 0
        self.stalls: collections.deque[Stall] = collections.deque(maxlen=KEPT)
        self.suspect: Callable[[float, bool], Culprit | None] = lambda seconds, on_loop: None
        self._stall_after = stall_after
        self._log = log
        self._interval = min(LOOK_EVERY, stall_after / 4)
        self._token = trio.lowlevel.current_trio_token()
        self._thread = threading.get_ident()
        self._loops_waits = _WaitsOf(threading.get_native_id())
        self._answered = True
        self._asked = self._looked = time.monotonic()
        self._waits = 0
        self._culprit: Culprit | None = None
        self._seen: list[Culprit] = []
        self._next_report = stall_after

    @property
    def blocked_for(self) -> float:
        """Seconds since the loop was last asked in vain; 0.0: it answers. Any thread."""
        return 0.0 if self._answered else time.monotonic() - self._asked

    @property
    def is_blocked(self) -> bool:
        """Whether the loop has not answered for too long; any thread."""
        return self.blocked_for >= self._stall_after

    def culprit(self) -> Culprit | None:
        """Who blocks the loop now; None: nobody. Any thread."""
        return who_runs(self._thread) if self.is_blocked else None

    def look(self, now: float) -> float:
        slept, self._looked = now - self._looked, now
        before, self._waits = self._waits, _waits_of_this_thread()
        waits, loops_waits = self._waits - before, self._loops_waits.since_last()
        if slept > self._interval + self._stall_after:
            possible = slept / sys.getswitchinterval()
            if waits < min(possible / 2, max(LOCK_WAITS, possible * LOCK_SHARE)):
                self._was_suspended(slept)
            else:
                self._lock_was_held(slept, on_loop=loops_waits < waits / 2)
            self._asked = now
        asleep = _is_asleep(self._thread)
        if asleep or self._answered:
            self._recover(now)
            self._asked = now
            self._next_report = self._stall_after
            self._answered = True
            if not asleep:
                self._ask()
        else:
            self._watch(now - self._asked)
        return now + self._interval

    def _ask(self) -> None:
        self._answered = False
        try:
            self._token.run_sync_soon(self._answer)
        except (trio.RunFinishedError, OSError):  # ended; or dropped unfinished, with its loop
            self._answered = True

    def _answer(self) -> None:
        self._answered = True

    def _watch(self, seconds: float) -> None:
        """The loop has not answered for so many seconds."""
        culprit = who_runs(self._thread)
        if culprit is not None and not culprit.is_idle:
            self._seen.append(culprit)
        if seconds >= self._next_report and self._seen:
            self._next_report *= 2
            self._report(self._sum_up(), seconds)

    def _sum_up(self) -> Culprit:
        """Whom the latest looks have seen: one that blocks, or several that take turns."""
        looks, self._seen = self._seen, []
        times = collections.Counter((culprit.node, culprit.what) for culprit in looks)
        seen = list({(culprit.node, culprit.what): culprit for culprit in looks}.values())
        for culprit in seen:
            if 2 * times[culprit.node, culprit.what] > len(looks):
                return culprit
        names = ", ".join(map(str, seen[:4]))
        more = f" and {len(seen) - 4} more" if len(seen) > 4 else ""
        return Culprit(
            node=None,
            what=f"several in turn, such as {names}{more}",
            places=looks[-1].places,
            advice="there is more to do than time: lower rates, or move computations into "
            "threads or processes",
        )

    def _report(self, culprit: Culprit, seconds: float) -> None:
        if self._culprit is None:
            self._culprit = culprit
            self._count(culprit, seconds)
        else:
            self._lasts(seconds)
        self._log.error(
            "the loop has been blocked for %.1f s by %s, and meanwhile no async code runs; %s\n%s",
            seconds,
            culprit,
            culprit.advice,
            culprit.stack.rstrip(),
        )

    def _recover(self, now: float) -> None:
        self._seen.clear()
        if self._culprit is not None:
            self._lasts(now - self._asked)
            self._log.warning(
                "the loop goes on: %s had blocked it for %.1f s", self._culprit, now - self._asked
            )
            self._culprit = None

    def _was_suspended(self, seconds: float) -> None:
        """Not even this thread ran, and it did not wait for any other."""
        self._count(Culprit(node=None, what="the process stood still", advice=""), seconds)
        self._log.warning(
            "the process stood still for %.1f s: it was suspended, or the machine had no time for "
            "it; rates go on along their old grid",
            seconds,
        )

    def _lock_was_held(self, seconds: float, on_loop: bool) -> None:
        """Not even this thread ran: it waited for the interpreter's lock."""
        culprit = who_runs(self._thread) if on_loop else None
        if culprit is None or culprit.is_idle:
            culprit = self.suspect(seconds - self._interval, on_loop)
        if culprit is None:
            culprit = Culprit(node=None, what="a thread that is not known")
        culprit = replace(culprit, advice=LOCK_ADVICE)
        self._count(culprit, seconds)
        self._log.error(
            "no Python code ran for %.1f s: the interpreter's lock was held, it seems, by %s; "
            "%s\n%s",
            seconds,
            culprit,
            culprit.advice,
            culprit.stack.rstrip(),
        )

    def _count(self, culprit: Culprit, seconds: float) -> None:
        self.count += 1
        self.stalls.append(
            Stall(
                node=culprit.node,
                what=culprit.what,
                where=culprit.where,
                duration=seconds,
                advice=culprit.advice,
            )
        )

    def _lasts(self, seconds: float) -> None:
        self.stalls[-1] = replace(self.stalls[-1], duration=seconds)


def _waits_of_this_thread() -> int:
    """How often this thread has gone to sleep in the kernel."""
    this_thread = getattr(resource, "RUSAGE_THREAD", resource.RUSAGE_SELF)  # Linux has it
    return resource.getrusage(this_thread).ru_nvcsw


def _is_asleep(thread: int) -> bool:
    """Whether the loop of a thread waits for something to do: so it need not be woken and asked."""
    frame = sys._current_frames().get(thread)
    return frame is not None and str(frame.f_globals.get("__name__")).startswith("trio._core._io_")


class _WaitsOf:
    """How often a thread goes to sleep in the kernel; never, where that is not to be known.

    Arguments:
        thread: The kernel's number of it.
    """

    def __init__(self, thread: int) -> None:
        self._status = Path(f"/proc/self/task/{thread}/status")
        self._total = 0
        self.since_last()

    def since_last(self) -> int:
        """So often since it was last asked."""
        before = self._total
        try:
            _, _, rest = self._status.read_text().partition("\nvoluntary_ctxt_switches:")
            self._total = int(rest.split()[0])
        except (OSError, IndexError):
            return 0
        return self._total - before
