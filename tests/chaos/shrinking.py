"""Makes a plan that breaks a law smaller, as long as it still breaks it."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from .plan import Plan

__all__ = ["shrink"]

T = TypeVar("T")


def shrink(plan: Plan, fails: Callable[[Plan], bool], seconds: float) -> Plan:
    """The smallest plan found that fails still.

    Arguments:
        plan: One that fails.
        fails: Plays one, and says whether it fails in the same way.
        seconds: Real seconds that may be spent.
    """
    give_up = time.monotonic() + seconds
    smaller = True
    while smaller:
        smaller = False
        for candidate in candidates(plan):
            if time.monotonic() > give_up:
                return plan
            if fails(candidate):
                plan, smaller = candidate, True
                break
    return plan


def candidates(plan: Plan) -> Iterator[Plan]:
    """Plans with less in them, the smallest first."""
    for events in _fewer(plan.events):
        yield dataclasses.replace(plan, events=events)
    for nodes in _fewer(plan.nodes):
        if nodes:
            yield _without_orphans(dataclasses.replace(plan, nodes=nodes))
    for late in _fewer(plan.late):
        yield _without_orphans(dataclasses.replace(plan, late=late))


def _fewer(items: Sequence[T]) -> Iterator[tuple[T, ...]]:
    """Without ever smaller parts of it."""
    size = len(items)
    while size:
        for start in range(0, len(items), size):
            yield (*items[:start], *items[start + size :])
        size //= 2


def _without_orphans(plan: Plan) -> Plan:
    """Without the events of nodes that are not there."""
    names = {*plan.all_nodes(), *plan.topics, ""}
    events = tuple(event for event in plan.events if event.node in names)
    return dataclasses.replace(plan, events=events)
