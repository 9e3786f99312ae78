"""`ProfileReport`: where the time of a run went, as frozen values, worked out of the tracks."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from .table import draw
from .track import Span, Sums

__all__ = ["NodeProfile", "PoolProfile", "ProfileReport", "Times", "profile_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """How long a node's ticks did one thing, in seconds.

    Attributes:
        total: Of all ticks together.
        share: `total` as a fraction of the run's time.
        p50, p99, max: Of one tick, among the latest ones, which are kept; 0.0 without any.
    """

    total: float = 0.0
    share: float = 0.0
    p50: float = 0.0
    p99: float = 0.0
    max: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeProfile:
    """Where the time of one node went.

    Attributes:
        name: The node's name.
        where: Where its ticks run: ``loop``, ``pool``, ``own`` or ``process``.
        ticks: Ticks that came to an end.
        late: Waiting for the loop: from the instant a tick was due until the loop came to it.
        waiting: Waiting for a thread: from then on until its code began there; for a process,
            until the worker began.
        running: In its code: its steps on the loop, or its whole time in a thread.
        awaiting: In its awaits, between the steps.
        step: The longest step of a tick, for which it blocked the loop; its `total` is 0.0.
        longest_step: The longest step of all its hooks, in seconds; 0.0 in a thread.
        longest_in: The hook that was, such as ``tick 12`` or ``init``.
        blocking_steps: Steps longer than 10 ms.
        cpu: Seconds a processor worked for its ticks, as a fraction of `running`; None where that
            is not known: on the loop and in a process.
        hints: What to change, and why.
    """

    name: str
    where: str
    ticks: int
    late: Times
    waiting: Times
    running: Times
    awaiting: Times
    step: Times
    longest_step: float
    longest_in: str
    blocking_steps: int
    cpu: float | None
    hints: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolProfile:
    """How busy the tokens of the blocking pool were; nodes with a limiter of their own not counted.

    Attributes:
        tokens: How many there are.
        taken: How many were taken, on average.
        saturation: The fraction of the time in which none was free.
        waiting: How many calls waited for one, on average.
        abandoned: Threads left behind that have not returned.
    """

    tokens: float
    taken: float
    saturation: float
    waiting: float
    abandoned: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileReport:
    """Where the time of a run went. `str` of it is a table that 80 columns hold.

    Attributes:
        name: The scheduler's name.
        elapsed: Seconds of ticking; the shares are fractions of it.
        nodes: In the order in which they were added.
        pool: The blocking pool.
        dropped: Hooks whose instants are not kept any more; the sums know of them all the same.
    """

    name: str
    elapsed: float
    nodes: tuple[NodeProfile, ...]
    pool: PoolProfile
    dropped: int = 0

    @property
    def hints(self) -> tuple[str, ...]:
        """What to change, and why; each begins with the node's name."""
        return tuple(f"{node.name}: {hint}" for node in self.nodes for hint in node.hints)

    def table(self, columns: int = 80) -> str:
        """The report as text of that many columns (72 at least), without a newline at the end."""
        return "\n".join(draw(self, columns))

    def __str__(self) -> str:
        return self.table()

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON-able values."""
        plain = dataclasses.asdict(self)
        if not math.isfinite(self.pool.tokens):
            plain["pool"]["tokens"] = None
        return plain


def profile_of(name: str, where: str, sums: Sums, kept: list[Span], elapsed: float) -> NodeProfile:
    """The profile of a node, yet without hints."""
    spans = [span for span in kept if span.tick is not None]

    def times(total: float, each: Iterable[float]) -> Times:
        ordered = sorted(each)
        return Times(
            total=total,
            share=_share(total, elapsed),
            p50=_percentile(ordered, 0.50),
            p99=_percentile(ordered, 0.99),
            max=ordered[-1] if ordered else 0.0,
        )

    return NodeProfile(
        name=name,
        where=where,
        ticks=sums.ticks,
        late=times(sums.late, map(_late, spans)),
        waiting=times(sums.waiting, (span.begun - span.asked for span in spans)),
        running=times(sums.running, (span.running for span in spans)),
        awaiting=times(sums.awaiting, (span.ended - span.begun - span.running for span in spans)),
        step=times(0.0, (span.longest for span in spans)),
        longest_step=sums.longest,
        longest_in=sums.longest_in,
        blocking_steps=sums.long_steps,
        cpu=_share(sums.cpu, sums.running) if where in ("pool", "own") else None,
    )


def _late(span: Span) -> float:
    return span.asked - (span.asked if span.tick is None else span.tick.scheduled)


def _share(part: float, whole: float) -> float:
    return part / whole if whole > 0 else 0.0


def _percentile(ordered: Sequence[float], fraction: float) -> float:
    return ordered[math.ceil(fraction * len(ordered)) - 1] if ordered else 0.0
