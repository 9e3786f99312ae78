"""`Track`: what is noted of one node in one run: exact sums, and its latest hooks one by one.

Noting has to be cheap: what was measured goes as it is into a bounded list, and a tick of one step,
the most frequent thing, as four values. Whatever can be worked out later is: sums when spans become
too old to be kept, everything else when somebody asks.
"""

from __future__ import annotations

import dataclasses
import math
import threading
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import trio

from ..errors import TickAbandoned, TickCancelled, TickTimedOut
from ..executor import AsyncIOExecutor, NodeRunner, ThreadCall
from ..messages import Tick, TickStatus

__all__ = [
    "BLOCKING",
    "MARKS",
    "Open",
    "Span",
    "Sums",
    "Track",
    "status_of",
    "without_this_frame",
]

BLOCKING = 0.01
"""Seconds: a longer step blocks the loop. It is the period of 100 Hz, the default rate."""

MARKS = 15
"""Instants that are kept of one hook, an odd number: eight steps and the awaits between them."""

AT_ONCE = 64
"""Spans that are given up together."""

LEEWAY = 0.001
"""Seconds: a tick that is cancelled so shortly before its limit, or later, has timed out."""


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


ShortTick = tuple[int, float, float, float]
"""A tick on the loop that returned without a pause: number, due, begun, ended."""


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
        """Add spans."""
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


class Track:
    """The record of one node. Written where its hooks run, read anywhere.

    Arguments:
        executor: Whose node it is.
        name: The node's name.
        where: ``loop``, ``pool``, ``own`` or ``process``: where its ticks run.
        keep: Spans that are kept, the latest ones.
    """

    def __init__(self, executor: AsyncIOExecutor, name: str, where: str, keep: int) -> None:
        self.name: str = name
        self.where: str = where
        self._executor = executor
        self._keep = keep
        self._spans: list[Span | ShortTick] = []
        self._earlier = Sums()
        self._lock = threading.Lock()
        self._runner: NodeRunner | None = None
        self._open: dict[Hashable, Open] = {}

    def __repr__(self) -> str:
        return f"<Track of {self.name!r}>"

    @property
    def runner(self) -> NodeRunner:
        """Runs the node; there is none before the node has its seat."""
        runner = self._runner
        if runner is None:
            runner = self._runner = self._executor.runners[self.name]
        return runner

    def renew(self) -> None:
        """The node of this name may be another one from now on."""
        self._runner = None

    def note_short_tick(self, begun: float, ended: float) -> None:
        """A tick on the loop returned without a pause. This has to be quick."""
        tick = (self._runner or self.runner).seat.tick
        if tick is None:
            return  # there is none without one
        spans = self._spans
        spans.append((tick.seq, tick.scheduled, begun, ended))
        if len(spans) > self._keep + AT_ONCE:
            self._fold()

    def note(self, span: Span) -> None:
        """Any hook has come to its end."""
        spans = self._spans
        spans.append(span)
        if len(spans) > self._keep + AT_ONCE:
            self._fold()

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
        with self._lock:
            kept, sums = self._spans.copy(), dataclasses.replace(self._earlier)
        spans = [_whole(span) for span in kept]
        sums.add(spans)
        return sums, spans[-self._keep :]

    def _fold(self) -> None:
        """What is too old to be kept goes into the sums; a little at a time, for it is work."""
        with self._lock:
            self._earlier.add(map(_whole, self._spans[:AT_ONCE]))
            del self._spans[:AT_ONCE]


def _whole(span: Span | ShortTick) -> Span:
    if isinstance(span, Span):
        return span
    seq, due, begun, ended = span
    took = ended - begun
    return Span(
        "tick",
        Tick(seq=seq, scheduled=due),
        begun,
        begun,
        ended,
        running=took,
        longest=took,
        long_steps=took > BLOCKING,
        steps=1,
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
    if isinstance(error, BaseExceptionGroup):
        cancelled = error.split((trio.Cancelled, TickCancelled, TickAbandoned))[1] is None
    else:
        gone = (trio.Cancelled, TickCancelled, TickAbandoned, GeneratorExit)
        cancelled = isinstance(error, gone)
    if isinstance(error, TickTimedOut):  # its worker process was killed
        return TickStatus.TIMED_OUT
    if not cancelled:
        return TickStatus.ERROR
    if limit is not None and seconds > limit - LEEWAY:
        return TickStatus.TIMED_OUT
    return TickStatus.CANCELLED
