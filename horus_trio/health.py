"""How a node is doing: exact counters, latency distributions, one health model. Pure bookkeeping.

The law every snapshot obeys, whatever thread takes it and whenever:
``ticks_released == ok + errors + timed_out + abandoned + cancelled + missed + in_flight``.

It holds because each transition is written as consecutive attribute stores with no call between
them, and a snapshot reads all counters in one expression without a call: the interpreter switches
threads (and runs signal handlers) only at calls and backward jumps. Nothing is derived from the
law itself, and no lock is taken, so a signal handler may ask as well.
"""

from __future__ import annotations

import bisect
import enum
import itertools
import math
from dataclasses import dataclass

__all__ = [
    "Distribution",
    "Health",
    "Histogram",
    "InputStatistics",
    "Ledger",
    "NodeState",
    "NodeStatistics",
]


class NodeState(enum.Enum):
    """What a node is doing now."""

    NEW = "new"
    STARTING = "starting"
    """In its ``init``."""
    RUNNING = "running"
    """Ticking, or waiting for its next tick."""
    WAITING_FOR_INPUT = "waiting for input"
    """In a tick that awaits a message."""
    WAITING_FOR_THREAD = "waiting for a thread"
    """In a tick that waits for a token of the blocking pool."""
    STUCK = "stuck"
    """A thread of the node was abandoned and has not returned."""
    PAUSED = "paused"
    SAFE = "safe state"
    """In an emergency: it has been told to be safe, and does not tick until that is reset."""
    BACKING_OFF = "backing off"
    """Waiting to be initialised again."""
    SUSPENDED = "suspended"
    """Its circuit breaker is open."""
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"
    """Failed for good: its policy gave up."""

    def __repr__(self) -> str:
        return f"NodeState.{self.name}"


class Health(enum.IntEnum):
    """The one health model; larger is worse, so the health of a robot is the maximum."""

    HEALTHY = 0
    WARNING = 1
    """It has just failed, is being restarted, is suspended, or has a stale input."""
    CRITICAL = 2
    """It does not do its work: stuck, failed, or in its safe state."""

    def __repr__(self) -> str:
        return f"Health.{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """A summary of many durations, in seconds; percentiles are exact to about 6 %.

    All but `count` are NaN-free: without any sample they are 0.0.
    """

    count: int = 0
    p50: float = 0.0
    p95: float = 0.0
    p99: float = 0.0
    max: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class InputStatistics:
    """An input whose age is watched: a `Sub` with ``max_age``.

    Attributes:
        topic: Its topic.
        max_age: Seconds without a message after which it is stale.
        is_stale: Whether it is stale now.
        stale: How often it has become stale.
        recovered: How often a message has ended that.
    """

    topic: str
    max_age: float
    is_stale: bool
    stale: int
    recovered: int


class Histogram:
    """Counts durations in buckets of equal ratio: eight to each factor of two.

    Bucketing by `math.frexp` as in HdrHistogram: constant time, sparse, no sample is kept.
    """

    __slots__ = ("_counts", "_max")

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self._max = 0.0

    def record(self, seconds: float) -> None:
        """Count one duration; what is negative counts as 0."""
        bucket = 0
        if seconds > 0.0:
            if seconds > self._max:
                self._max = seconds
            mantissa, exponent = math.frexp(seconds)
            # int(mantissa * 16) is 8..15, so no bucket but that of 0 is a multiple of 16.
            bucket = exponent * 16 + int(mantissa * 16)
        counts = self._counts
        try:
            counts[bucket] += 1
        except KeyError:
            counts[bucket] = 1

    def summary(self) -> Distribution:
        """Summarise what was recorded so far; any thread."""
        counts = self._counts.copy()  # one C call: atomic beside `record`
        if not counts:
            return _NOTHING
        ordered = sorted(counts, key=_middle)
        ranks = list(itertools.accumulate(counts[bucket] for bucket in ordered))
        total, longest = ranks[-1], self._max

        def percentile(fraction: float) -> float:
            bucket = ordered[bisect.bisect_left(ranks, math.ceil(fraction * total))]
            return min(_middle(bucket), longest)

        return Distribution(
            count=total,
            p50=percentile(0.50),
            p95=percentile(0.95),
            p99=percentile(0.99),
            max=longest,
        )


_NOTHING = Distribution()


def _middle(bucket: int) -> float:
    if bucket == 0:
        return 0.0
    exponent, slot = divmod(bucket, 16)
    return math.ldexp((slot + 0.5) / 16, exponent)


class Ledger:
    """The counters of one node. Written on the loop only, read anywhere."""

    __slots__ = (
        "abandoned",
        "cancelled",
        "coalesced",
        "deadline_missed",
        "durations",
        "errors",
        "failures",
        "first_start",
        "in_flight",
        "last_error",
        "last_start",
        "lateness",
        "missed",
        "observer_errors",
        "ok",
        "released",
        "restarts",
        "streak",
        "timed_out",
        "waits",
    )

    def __init__(self) -> None:
        self.released: int = 0
        self.ok: int = 0
        self.errors: int = 0
        self.timed_out: int = 0
        self.abandoned: int = 0
        self.cancelled: int = 0
        self.missed: int = 0
        self.in_flight: int = 0
        self.coalesced: int = 0
        self.deadline_missed: int = 0
        self.restarts: int = 0
        self.streak: int = 0
        self.failures: int = 0
        self.observer_errors: int = 0
        self.first_start: float = math.nan
        self.last_start: float = math.nan
        self.last_error: str | None = None
        self.durations: Histogram = Histogram()
        self.lateness: Histogram = Histogram()
        self.waits: Histogram = Histogram()

    def release(self) -> None:
        """A tick was released to the node."""
        self.released += 1
        self.in_flight += 1

    def miss(self, count: int = 1) -> None:
        """`count` releases found the node busy, or were slept through."""
        self.released += count
        self.missed += count

    def succeed(self, scheduled: float, started: float, ended: float) -> None:
        """The tick in flight returned. Instants in seconds."""
        self.ok += 1
        self.in_flight -= 1
        self.streak = 0
        self._ran(scheduled, started, ended)

    def fail(self, scheduled: float, started: float, ended: float) -> None:
        """The tick in flight raised."""
        self.errors += 1
        self.in_flight -= 1
        self.streak += 1
        self._ran(scheduled, started, ended)

    def time_out(self, scheduled: float, started: float, ended: float) -> None:
        """The tick in flight was cancelled at its time limit."""
        self.timed_out += 1
        self.in_flight -= 1
        self.streak += 1
        self._ran(scheduled, started, ended)

    def abandon(self, scheduled: float, started: float, ended: float) -> None:
        """The tick in flight was left behind in its thread."""
        self.abandoned += 1
        self.in_flight -= 1
        self.streak += 1
        self._ran(scheduled, started, ended)

    def cancel(self) -> None:
        """The tick in flight was cancelled."""
        self.cancelled += 1
        self.in_flight -= 1

    def _ran(self, scheduled: float, started: float, ended: float) -> None:
        if self.first_start != self.first_start:  # NaN: the first one
            self.first_start = started
        self.last_start = started
        self.lateness.record(started - scheduled)
        self.durations.record(ended - started)

    def counts(self) -> tuple[int, int, int, int, int, int, int, int]:
        """All counters of the law at one instant, `released` first; any thread."""
        return (
            self.released,
            self.ok,
            self.errors,
            self.timed_out,
            self.abandoned,
            self.cancelled,
            self.missed,
            self.in_flight,
        )

    def snapshot(
        self,
        *,
        name: str,
        state: NodeState,
        rate: float | None,
        critical: bool,
        inputs: tuple[InputStatistics, ...] = (),
    ) -> NodeStatistics:
        """Freeze everything; any thread."""
        released, ok, errors, timed_out, abandoned, cancelled, missed, in_flight = self.counts()
        ran = ok + errors + timed_out + abandoned
        span = self.last_start - self.first_start
        return NodeStatistics(
            name=name,
            state=state,
            health=_judge(state, self.streak, inputs),
            critical=critical,
            rate=rate,
            achieved_rate=(ran - 1) / span if ran > 1 and span > 0 else 0.0,
            ticks_released=released,
            ok=ok,
            errors=errors,
            timed_out=timed_out,
            abandoned=abandoned,
            cancelled=cancelled,
            missed=missed,
            in_flight=in_flight,
            coalesced=self.coalesced,
            deadline_missed=self.deadline_missed,
            restarts=self.restarts,
            failures=self.failures,
            observer_errors=self.observer_errors,
            duration=self.durations.summary(),
            lateness=self.lateness.summary(),
            waiting_for_thread=self.waits.summary(),
            inputs=inputs,
            last_error=self.last_error,
        )


def _judge(state: NodeState, streak: int, inputs: tuple[InputStatistics, ...]) -> Health:
    if state is NodeState.STUCK or state is NodeState.FAILED or state is NodeState.SAFE:
        return Health.CRITICAL
    if streak or state is NodeState.BACKING_OFF or state is NodeState.SUSPENDED:
        return Health.WARNING
    if any(entry.is_stale for entry in inputs):
        return Health.WARNING
    return Health.HEALTHY


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStatistics:
    """A node's counters at one instant.

    Attributes:
        name: The node's name.
        state: What it is doing.
        health: How it is doing.
        critical: Whether its final failure ends the run.
        rate: Its rate in Hz, or None for a node that ticks on arrivals only.
        achieved_rate: Ticks a second between its first and its latest start, in Hz.
        ticks_released: Releases, the missed ones included.
        ok, errors, timed_out, abandoned, cancelled: Ticks by how they ended.
        missed: Releases that found the node busy, stuck, backing off or suspended.
        in_flight: Ticks released and not ended, 2 at most: one that runs, and one that was asked
            for meanwhile and waits.
        coalesced: Arrivals on its ``on`` topics that fell to a tick already waiting.
        deadline_missed: Ticks that ended later than their ``deadline``.
        restarts: How often it was initialised again.
        failures: Failures of its ticks, its ``init`` and its background tasks.
        observer_errors: Exceptions its ``on_error`` and other notification hooks raised.
        duration: How long ticks ran, in seconds.
        lateness: Start minus scheduled instant, in seconds.
        waiting_for_thread: How long ticks waited for a thread of the pool, in seconds; nothing is
            counted of a node that has a thread of its own.
        inputs: Its inputs whose age is watched.
        last_error: The latest error's traceback as text.
    """

    name: str
    state: NodeState
    health: Health
    critical: bool
    rate: float | None
    achieved_rate: float
    ticks_released: int
    ok: int
    errors: int
    timed_out: int
    abandoned: int
    cancelled: int
    missed: int
    in_flight: int
    coalesced: int
    deadline_missed: int
    restarts: int
    failures: int
    observer_errors: int
    duration: Distribution
    lateness: Distribution
    waiting_for_thread: Distribution
    inputs: tuple[InputStatistics, ...]
    last_error: str | None
