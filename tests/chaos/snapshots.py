"""The laws of one snapshot, and of two that follow each other. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from horus_trio import HubStatistics, NodeState, NodeStatistics, SchedulerStatistics

__all__ = ["Look", "Violation", "check_following", "check_snapshot", "check_tokens"]

RISING = (
    "ticks_released",
    "ok",
    "errors",
    "timed_out",
    "abandoned",
    "cancelled",
    "missed",
    "coalesced",
    "deadline_missed",
    "restarts",
    "failures",
    "observer_errors",
)
"""Counters of a node that never fall."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A law that was broken.

    Attributes:
        law: Its name.
        text: What was seen.
    """

    law: str
    text: str

    def __str__(self) -> str:
        return f"{self.law}: {self.text}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A snapshot, and which lives its nodes had: those that began meanwhile are in neither."""

    statistics: SchedulerStatistics
    lives: Mapping[str, str]


def check_snapshot(look: Look) -> Iterator[Violation]:
    """What is wrong in it by itself, whatever thread has taken it."""
    for node in look.statistics.nodes.values():
        yield from _check_node(node)
    for topic in look.statistics.topics.values():
        yield from _check_topic(topic)
    pool = look.statistics.pool
    if pool is not None and not 0 <= pool.borrowed <= pool.tokens:
        yield Violation("tokens", f"{pool.borrowed} of {pool.tokens} tokens are borrowed")


def check_tokens(look: Look, pooled: Collection[str]) -> Iterator[Violation]:
    """On the loop: tokens are held by calls that run, and by threads beyond ``max_abandoned``.

    Arguments:
        look: A snapshot taken on the loop.
        pooled: Names of the nodes that have calls in the robot's pool.
    """
    pool = look.statistics.pool
    if pool is None:
        return
    calls = sum(
        (node.in_flight > 0 and node.state is not NodeState.STUCK)
        or node.state is NodeState.STARTING
        for name, node in look.statistics.nodes.items()
        if name in pooled
    )
    beyond = max(0, len(pool.abandoned) - pool.max_abandoned)
    if pool.borrowed > calls + beyond:
        yield Violation(
            "tokens",
            f"{pool.borrowed} are borrowed by {calls} call(s) and {beyond} thread(s) beyond "
            f"max_abandoned={pool.max_abandoned}",
        )


def _check_node(node: NodeStatistics) -> Iterator[Violation]:
    ended = node.ok + node.errors + node.timed_out + node.abandoned + node.cancelled + node.missed
    if node.ticks_released != ended + node.in_flight:
        yield Violation(
            "accounting",
            f"{node.name}: {node.ticks_released} released, {ended} ended, {node.in_flight} in "
            f"flight; {node}",
        )
    counters = {name: getattr(node, name) for name in (*RISING, "in_flight")}
    if any(value < 0 for value in counters.values()):
        yield Violation("accounting", f"{node.name}: a counter is below 0: {counters}")
    # One may wait while one runs; a second one that waits would have coalesced.
    if node.in_flight > 2:
        yield Violation("one tick", f"{node.name}: {node.in_flight} ticks in flight")


def _check_topic(topic: HubStatistics) -> Iterator[Violation]:
    for entry in topic.subscriptions:
        if entry.received + entry.dropped + entry.depth != entry.published:
            yield Violation("topics", f"{topic.name}: what came is not where it went: {entry}")
        if not 0 <= entry.depth <= entry.capacity:
            yield Violation("topics", f"{topic.name}: {entry.depth} wait in {entry}")


def check_following(before: Look, after: Look) -> Iterator[Violation]:
    """What has fallen from one snapshot to the next one of the same thread."""
    for name, node in after.statistics.nodes.items():
        life = after.lives.get(name)
        earlier = before.statistics.nodes.get(name)
        if earlier is None or life is None or before.lives.get(name) != life:
            continue
        for counter in RISING:
            was, now = getattr(earlier, counter), getattr(node, counter)
            if now < was:
                yield Violation("rising", f"{counter} of {life} fell from {was} to {now}")
    for name, topic in after.statistics.topics.items():
        sent = before.statistics.topics[name].sent if name in before.statistics.topics else 0
        if topic.sent < sent:
            yield Violation("rising", f"sent on {name} fell from {sent} to {topic.sent}")
    for counter in ("wake_ups", "callback_errors", "stall_count", "elapsed"):
        was, now = getattr(before.statistics, counter), getattr(after.statistics, counter)
        if now < was:
            yield Violation("rising", f"{counter} fell from {was} to {now}")
