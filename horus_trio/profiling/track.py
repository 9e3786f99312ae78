"""`Track`: what is noted of one node in one run: exact sums, and its latest hooks one by one.

Noting has to be cheap. A tick on the loop that just returns, the most frequent thing, is a few
numbers: when it was due, began and ended, and where it paused. Whatever can be worked out later is:
sums when something becomes too old to be kept, everything else when somebody asks.
"""

from __future__ import annotations

import dataclasses
import math
import threading
import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import trio

from ..errors import TickAbandoned, TickCancelled, TickTimedOut
from ..executor import AsyncIOExecutor, NodeRunner, ThreadCall
from ..messages import Tick, TickStatus
from ..node import Seat
from ..timer import is_real_time
from .blocks import Blocks

__all__ = [
    "BLOCKING",
    "MARKS",
    "Open",
    "Span",
    "Sums",
    "Track",
    "Watch",
    "span_on_loop",
    "status_of",
    "without_this_frame",
]

BLOCKING = 0.01
"""Seconds: a longer step blocks the loop. It is the period of 100 Hz, the default rate."""

MARKS = 14
"""Instants that are kept of one hook, an even number: seven awaits and the steps around them."""

AT_ONCE = 64
"""Other spans that are given up together."""

LEEWAY = 0.001
"""Seconds: a tick that is cancelled so shortly before its limit, or later, has timed out."""


class Watch(NamedTuple):
    """Measures time on the loop. Trio's own clock is a fast one with an offset, so that is read.

    Attributes:
        read: Seconds.
        offset: What is to be added for an instant on the run's clock.
    """

    read: Callable[[], float]
    offset: float

    @classmethod
    def of(cls, clock: trio.abc.Clock) -> Self:
        """The watch for a run on that clock."""
        if not is_real_time(clock):
            return cls(clock.current_time, 0.0)
        before = time.perf_counter()
        now = clock.current_time()
        return cls(time.perf_counter, now - (before + time.perf_counter()) / 2)


class Span(NamedTuple):
    """One call of a hook. Instants and durations in seconds on the run's clock.

    Attributes:
        what: Name of the hook; ``tick`` for either kind of tick.
        tick: The tick, or None for other hooks.
        asked: When it asked for a thread; `begun` on the loop.
        begun: When its own code began.
        ended: When that came to an end, or was left behind.
        running: How long its code ran; the rest until `ended` it awaited something.
        longest: Its longest step on the loop; 0.0 in a thread.
        long_steps: How many steps were longer than `BLOCKING`.
        steps: How many steps there were on the loop; 0 in a thread.
        marks: Where its first steps ended and the next ones began, in turn.
        cpu: Seconds a processor worked for it; NaN where that is not known.
        status: How it ended.
    """

    what: str
    tick: Tick | None
    asked: float
    begun: float
    ended: float
    running: float
    longest: float = 0.0
    long_steps: int = 0
    steps: int = 0
    marks: tuple[float, ...] = ()
    cpu: float = math.nan
    status: TickStatus = TickStatus.OK

    @property
    def title(self) -> str:
        """Such as ``tick 12``, or ``init``."""
        return self.what if self.tick is None else f"tick {self.tick.seq}"


class Open(NamedTuple):
    """A hook that a thread is in."""

    what: str
    tick: Tick | None
    asked: float
    begun: float
    call: ThreadCall | None


@dataclass(slots=True)
class Sums:
    """What spans add up to, in seconds.

    Attributes:
        ticks: Ticks that came to an end.
        hooks: Other hooks that did.
        late, waiting, running, awaiting, cpu: Of all ticks: until the loop came to it, until it
            had a thread, in its code, in its awaits, of a processor.
        longest: The longest step of all hooks.
        longest_in: The hook that was.
        long_steps: Steps longer than `BLOCKING`, of all hooks.
    """

    ticks: int = 0
    hooks: int = 0
    late: float = 0.0
    waiting: float = 0.0
    running: float = 0.0
    awaiting: float = 0.0
    cpu: float = 0.0
    longest: float = 0.0
    longest_in: str = ""
    long_steps: int = 0

    def add(self, spans: Iterable[Span]) -> None:
        """Add hooks."""
        for span in spans:
            if span.tick is None:
                self.hooks += 1
            else:
                self.ticks += 1
                self.late += span.asked - span.tick.scheduled
                self.waiting += span.begun - span.asked
                self.running += span.running
                self.awaiting += span.ended - span.begun - span.running
                if span.cpu == span.cpu:  # not NaN
                    self.cpu += span.cpu
            self.long_steps += span.long_steps
            if span.longest > self.longest:
                self.longest, self.longest_in = span.longest, span.title

    def add_ticks(self, records: Iterable[Sequence[float]], offset: float) -> None:
        """Add ticks on the loop; this has to be quick, for it is done on the loop."""
        for seq, due, begun, ended, *marks in records:
            self.ticks += 1
            self.late += begun + offset - due
            since, longest, running = begun, 0.0, 0.0
            for paused, resumed in zip(marks[::2], marks[1::2], strict=True):
                took = paused - since
                running += took
                if took > longest:
                    longest = took
                if took > BLOCKING:
                    self.long_steps += 1
                since = resumed
            took = ended - since
            running += took
            if took > longest:
                longest = took
            if took > BLOCKING:
                self.long_steps += 1
            self.running += running
            self.awaiting += ended - begun - running
            if longest > self.longest:
                self.longest, self.longest_in = longest, f"tick {seq:.0f}"


class Track:
    """The record of one node. Written where its hooks run, read anywhere.

    Arguments:
        executor: Whose node it is.
        name: The node's name.
        where: ``loop``, ``pool``, ``own`` or ``process``: where its ticks run.
        keep: Spans that are kept, the latest ones.
        watch: Measures what is on the loop.
    """

    def __init__(
        self, executor: AsyncIOExecutor, name: str, where: str, keep: int, watch: Watch
    ) -> None:
        self.name: str = name
        self.where: str = where
        self.watch: Watch = watch
        self._executor = executor
        self._keep = keep
        self._short_ticks = Blocks(4, keep)
        self._ticks = {0: self._short_ticks}  # by the number of their marks
        self._spans: list[Span] = []
        self._earlier = Sums()
        self._lock = threading.Lock()
        self._runner: NodeRunner | None = None
        self._seat: Seat | None = None
        self._open: dict[Hashable, Open] = {}
        self._left = 0

    def __repr__(self) -> str:
        return f"<Track of {self.name!r}>"

    @property
    def runner(self) -> NodeRunner:
        """Runs the node; there is none before the node has its seat."""
        runner = self._runner
        if runner is None:
            runner = self._runner = self._executor.runners[self.name]
            self._seat = runner.seat
        return runner

    @property
    def left_behind(self) -> int:
        """Its threads that were left behind and have not returned; any thread."""
        is_out = (o.call is not None and o.call.abandoned for o in self._open.copy().values())
        return self._left + sum(is_out)

    def renew(self) -> None:
        """The node of this name may be another one from now on."""
        self._runner = self._seat = None

    def note_tick(self, begun: float, ended: float, marks: Sequence[float] = ()) -> None:
        """A tick on the loop has returned. This has to be quick.

        Arguments:
            begun, ended: By the watch.
            marks: Where it paused and was resumed, in turn, by the watch; `MARKS` at most.
        """
        tick = (self._seat or self.runner.seat).tick
        if tick is None:
            return  # there is none without one
        if marks:
            blocks = self._ticks.get(len(marks)) or self._make_blocks(len(marks))
        else:
            blocks = self._short_ticks
        at = blocks.at
        if at == blocks.size:
            with self._lock:
                self._earlier.add_ticks(blocks.turn(), self.watch.offset)
            at = 0
        if marks:
            blocks.pack(blocks.block, at, tick.seq, tick.scheduled, begun, ended, *marks)
        else:
            blocks.pack(blocks.block, at, tick.seq, tick.scheduled, begun, ended)
        blocks.at = at + blocks.record

    def note(self, span: Span) -> None:
        """Any other hook has come to its end, or a tick that did not just return; any thread."""
        with self._lock:
            spans = self._spans
            spans.append(span)
            if len(spans) > self._keep + AT_ONCE:
                self._earlier.add(spans[:AT_ONCE])
                del spans[:AT_ONCE]

    def open(self, key: Hashable, entered: Open) -> None:
        """A thread enters a hook."""
        self._open[key] = entered

    def leave(self, key: Hashable) -> Open | None:
        """It leaves it; None: the run is over."""
        return self._open.pop(key, None)

    def leave_behind(self, now: float) -> None:
        """The run is over; what its threads do from now on is not noted any more."""
        for key in tuple(self._open):
            left = self._open.pop(key, None)
            if left is None:
                continue
            self._left += 1
            at = now if left.call is None else left.call.abandoned_at
            ended = at if at == at else now  # NaN: it was not given up before
            self.note(
                Span(
                    left.what,
                    left.tick,
                    left.asked,
                    left.begun,
                    ended,
                    running=ended - left.begun,
                    status=TickStatus.ABANDONED,
                )
            )

    def look(self) -> tuple[Sums, list[Span]]:
        """The sums, and the spans that are kept, in the order in which they ended; any thread."""
        offset = self.watch.offset
        with self._lock:
            sums, spans = dataclasses.replace(self._earlier), self._spans.copy()
            records = [list(blocks.records()) for blocks in self._ticks.copy().values()]
        sums.add(spans)
        for ticks in records:
            sums.add_ticks(ticks, offset)
            spans += [_tick(tick, offset) for tick in ticks]
        spans.sort(key=lambda span: span.ended)
        return sums, spans[-self._keep :]

    def _make_blocks(self, marks: int) -> Blocks:
        blocks = self._ticks[marks] = Blocks(4 + marks, self._keep)
        return blocks


def _tick(record: Sequence[float], offset: float) -> Span:
    seq, due, begun, ended, *marks = record
    tick = Tick(seq=int(seq), scheduled=due)
    return span_on_loop("tick", tick, begun, ended, marks, offset)


def span_on_loop(
    what: str,
    tick: Tick | None,
    begun: float,
    ended: float,
    marks: Sequence[float],
    offset: float,
    *,
    status: TickStatus = TickStatus.OK,
) -> Span:
    """The span of a hook on the loop of which all pauses are known; instants by the watch."""
    instants = (begun, *marks, ended)
    steps = [until - since for since, until in zip(instants[::2], instants[1::2], strict=True)]
    return Span(
        what,
        tick,
        begun + offset,
        begun + offset,
        ended + offset,
        running=sum(steps),
        longest=max(steps),
        long_steps=sum(took > BLOCKING for took in steps),
        steps=len(steps),
        marks=tuple([mark + offset for mark in marks]),
        status=status,
    )


def without_this_frame(error: BaseException) -> None:
    """Take the head off the traceback of an error that is being handled, and is raised again.

    The head is the frame that handles it, in which nobody who looks for an error is interested;
    `raise` puts none there a second time.
    """
    if error.__traceback__ is not None:
        error.__traceback__ = error.__traceback__.tb_next


def status_of(error: BaseException, seconds: float, limit: float | None) -> TickStatus:
    """How a hook ended that raised, as far as that can be known before the engine has judged it.

    Arguments:
        error: What it raised.
        seconds: How long it took.
        limit: Its time limit in seconds, or None.
    """
    if isinstance(error, TickTimedOut):  # its worker process was killed
        return TickStatus.TIMED_OUT
    gone = (trio.Cancelled, TickCancelled, TickAbandoned, GeneratorExit)
    if isinstance(error, BaseExceptionGroup):
        cancelled = error.split(gone)[1] is None
    else:
        cancelled = isinstance(error, gone)
    if not cancelled:
        return TickStatus.ERROR
    if limit is not None and seconds > limit - LEEWAY:
        return TickStatus.TIMED_OUT
    return TickStatus.CANCELLED
