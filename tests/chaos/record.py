"""Everything that was taken down about one robot, for the laws to be held against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from horus_trio import NodeStatistics, RunReport

from .diary import Diary, Entry, Message
from .plan import NodePlan, Plan

__all__ = ["Record", "Segment", "by_life", "is_subsequence"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A rate that a node had, from an instant on (seconds); None: it was not released."""

    since: float
    rate: float | None


@dataclass(slots=True, kw_only=True)
class Record:
    """Everything that was taken down about one robot.

    Attributes:
        report: That of the run.
        error: What `run` raised, or None.
        final: The counters of each life, when it was over.
        order: All messages of each topic in the order of their publication.
        channel: Results that came through `open_results`, as life-less pairs of node and number.
        channel_dropped: How many that has dropped.
        borrowed: Tokens of the robot's limiter that were not given back.
        left: What was left behind, as text; abandoned threads not included.
        busy: How many threads had not returned when the run was over.
        started: When it began to tick, or None.
        returned: When `run` returned.
        restored: Whether the signal handlers were as before.
        signals: How many were sent.
        rates: Of each life that only its rate was changed of, from when on.
    """

    plan: Plan
    diary: Diary
    report: RunReport
    error: BaseException | None = None
    final: dict[str, NodeStatistics] = field(default_factory=dict)
    order: dict[str, list[Message]] = field(default_factory=dict)
    channel: list[tuple[str, int]] = field(default_factory=list)
    channel_dropped: int = 0
    borrowed: int = 0
    left: list[str] = field(default_factory=list)
    busy: int = 0
    started: float | None = None
    returned: float = 0.0
    restored: bool = True
    signals: int = 0
    rates: dict[str, list[Segment]] = field(default_factory=dict)

    def plan_of(self, life: str) -> NodePlan:
        """The plan of a life's node."""
        return self.plan.all_nodes()[life.partition("/")[0]]


def by_life(entries: Sequence[Entry]) -> dict[str, list[Entry]]:
    """The entries of each life."""
    found: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry.life:
            found.setdefault(entry.life, []).append(entry)
    return found


def is_subsequence(part: Sequence[object], whole: Sequence[object]) -> bool:
    """Whether its items are in the other one, in this order."""
    rest = iter(whole)
    return all(any(item == other for other in rest) for item in part)
