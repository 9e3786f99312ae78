"""The robot as it runs: a live table on a terminal, a line a second otherwise.

Everything is drawn in a thread of its own from ``scheduler.statistics()``, so that a slow terminal
is no node's business.
"""

from __future__ import annotations

import collections
import contextlib
import logging
import threading
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Self

import horus_trio as horus

from .console import Console

__all__ = ["Events", "View"]

REDRAW = 0.2
"""Seconds between pictures."""

EVENTS_SHOWN = 6
"""Events below the live table."""

WIDE = 108
"""Columns a terminal needs for all columns of the table."""

_TICKING = (
    horus.NodeState.RUNNING,
    horus.NodeState.WAITING_FOR_INPUT,
    horus.NodeState.WAITING_FOR_THREAD,
)

_STYLES = {
    **dict.fromkeys(_TICKING, "green"),
    horus.NodeState.BACKING_OFF: "yellow",
    horus.NodeState.SUSPENDED: "yellow",
    horus.NodeState.STUCK: "red",
    horus.NodeState.FAILED: "red",
}


class Events(logging.Handler):
    """What happens to nodes, as lines: ticks that end badly, and what nodes log.

    Attributes:
        failures: How often each node failed, by node and by what it said.
    """

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.failures: collections.Counter[tuple[str, str]] = collections.Counter()
        self._start = time.monotonic()
        self._lines: collections.deque[str] = collections.deque()

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Take what nodes log while inside; what the engine logs goes nowhere meanwhile."""
        silence = logging.NullHandler()
        engine, nodes = logging.getLogger("horus_trio"), logging.getLogger("horus_trio.node")
        level = nodes.level
        engine.addHandler(silence)
        nodes.addHandler(self)
        nodes.setLevel(logging.INFO)
        try:
            yield
        finally:
            nodes.setLevel(level)
            nodes.removeHandler(self)
            engine.removeHandler(silence)

    def start(self) -> None:
        """Forget what was, and count time from now."""
        self._start = time.monotonic()
        self._lines.clear()

    def result(self, result: horus.AsyncResult) -> None:
        """Take a tick's result; a callback for ``scheduler.on_result``."""
        if result.status in (horus.TickStatus.OK, horus.TickStatus.CANCELLED):
            return
        said = str(result.error) or type(result.error).__name__
        self.failures[result.node, said] += 1
        if result.status is horus.TickStatus.ERROR:
            self._note(result.node, f"tick {result.seq}: {said}")
        else:
            ending = result.status.value
            self._note(result.node, f"tick {result.seq} was {ending} after {result.duration:.1f} s")

    def emit(self, record: logging.LogRecord) -> None:
        """Take what a node logs."""
        self._note(getattr(record, "node", record.name), record.getMessage())

    def take(self) -> list[str]:
        """The lines since the last call."""
        return [self._lines.popleft() for _ in range(len(self._lines))]

    def _note(self, node: str, text: str) -> None:
        first_line = text.partition("\n")[0]
        elapsed = time.monotonic() - self._start
        self._lines.append(f"{elapsed:5.1f} s  {node:<9}  {first_line}")


class View:
    """Shows a scheduler while inside.

    Arguments:
        console: Where to.
        scheduler: What to show. Stopped when nobody reads the console any more.
        events: Shown too.
        seconds: How long it will run.

    Attributes:
        broken: Whether the console's reader went away.
    """

    def __init__(
        self, console: Console, scheduler: horus.Scheduler, events: Events, seconds: float
    ) -> None:
        self.broken: bool = False
        self._console = console
        self._scheduler = scheduler
        self._events = events
        self._seconds = seconds
        self._recent: collections.deque[str] = collections.deque(maxlen=EVENTS_SHOWN)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="demo view", daemon=True)
        self._earlier: collections.deque[horus.SchedulerStatistics] = collections.deque(maxlen=6)

    def __enter__(self) -> Self:
        self._events.start()
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            if self._console.live:
                self._redraw()
            else:
                self._report()
        except BrokenPipeError:
            self.broken = True
            while not self._over.wait(REDRAW):  # the run may be yet to begin
                self._scheduler.stop("nobody reads the output")

    def _redraw(self) -> None:
        while not self._over.wait(REDRAW):
            self._console.draw(self._picture())
        self._console.draw(self._picture())
        self._console.keep()

    def _report(self) -> None:
        console = self._console
        second = 0
        console.line(f"The same nodes in horus_trio, {self._seconds:g} s")
        while not self._over.wait(REDRAW):
            now = self._observe()
            for event in self._events.take():
                console.line(event)
            if now.elapsed >= second + 1:
                second = int(now.elapsed)
                console.line(self._summary(now))
        for event in self._events.take():
            console.line(event)

    def _observe(self) -> horus.SchedulerStatistics:
        now = self._scheduler.statistics()
        self._earlier.append(now)
        return now

    def _rate(self, now: horus.NodeStatistics) -> float:
        """Ticks a second over about the last second, or of the run when it is over, in Hz."""
        first, last = self._earlier[0], self._earlier[-1]
        if not last.running and last.elapsed > 0:
            return now.achieved_rate
        seconds = last.elapsed - first.elapsed
        before = first.nodes.get(now.name)
        if before is None or seconds <= 0:
            return 0.0
        return (now.ok - before.ok) / seconds

    def _summary(self, now: horus.SchedulerStatistics) -> str:
        """One line: the time, and each node's rate, or its state if it does not tick."""
        words = [
            f"{node.name} {self._rate(node):.0f} Hz"
            if node.state in _TICKING
            else f"{node.name} {node.state.value}"
            for node in now.nodes.values()
        ]
        return f"{now.elapsed:5.1f} s  " + ", ".join(words)

    def _picture(self) -> list[str]:
        console = self._console
        now = self._observe()
        wide = console.size[0] >= WIDE
        self._recent.extend(self._events.take())
        lines = [
            console.styled("The same nodes in horus_trio", "bold")
            + f"  {now.elapsed:.1f} of {self._seconds:g} s",
            "",
        ]
        header = f"{'node':<10}{'state':<21}{'rate':>9}{'ok':>7}{'failed':>8}{'missed':>8}"
        header += f"{'late p50/p99':>16}"
        if wide:
            header += f"{'restarts':>10}{'took p50/max':>18}"
        lines.append(console.styled(header, "dim"))
        lines += [self._row(node, wide=wide) for node in now.nodes.values()]
        lines += ["", self._totals(now), ""]
        lines += self._recent
        lines += [""] * (EVENTS_SHOWN - len(self._recent))
        return lines

    def _row(self, node: horus.NodeStatistics, *, wide: bool) -> str:
        style = _STYLES.get(node.state, "dim")
        state = self._console.styled(f"{node.state.value:<21}", style)
        failed = node.errors + node.timed_out + node.abandoned
        row = f"{node.name:<10}{state}{self._rate(node):>6.1f} Hz{node.ok:>7}{failed:>8}"
        row += f"{node.missed:>8}{_milliseconds(node.lateness.p50, node.lateness.p99):>16}"
        if wide:
            row += f"{node.restarts:>10}{_milliseconds(node.duration.p50, node.duration.max):>18}"
        return row

    def _totals(self, now: horus.SchedulerStatistics) -> str:
        sent = ", ".join(f"{topic.name} {topic.sent}" for topic in now.topics.values())
        pool = now.pool
        out = 0 if pool is None else len(pool.abandoned)
        return f"messages: {sent or 'none'}; threads left behind: {out or 'none'}"


def _milliseconds(*seconds: float) -> str:
    return "/".join(f"{1e3 * value:.1f}" for value in seconds) + " ms"
