"""From how a HORUS node wants to be scheduled to this engine's options."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...arguments import is_number
from ...node import OptionKeywords
from ...policies import (
    CircuitBreaker,
    Decision,
    EndRun,
    FailurePolicy,
    FailureState,
    Fatal,
    GiveUp,
    Ignore,
    Miss,
    Restart,
)
from ...topics import Sub
from .refusals import Refused

if TYPE_CHECKING:
    from .node import Node

__all__ = ["RestartOrStop", "engine_options", "event_topic"]

DEADLINE_SHARE = 0.95
"""Share of its period after which a node misses its deadline, if none is given."""


MOST = {"budget": 1.0, "deadline": 5.0}
"""Seconds beyond which HORUS takes a number for microseconds."""

INIT_TIMEOUT = 600.0
"""Seconds that ``init`` may take; HORUS waits for ever, and some load models."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartOrStop(Restart):
    """`Restart` whose end is the run's: HORUS stops when the restarts of a node are used up."""

    def failed(self, state: FailureState, now: float, roll: float) -> tuple[FailureState, Decision]:
        state, decision = Restart.failed(self, state, now, roll)
        return state, EndRun() if isinstance(decision, GiveUp) else decision


_POLICIES: dict[str | None, FailurePolicy] = {
    None: Ignore(),
    "fatal": Fatal(),
    "restart": RestartOrStop(),
    "skip": CircuitBreaker(),
    "ignore": Ignore(),
}

_MISSES: dict[str | None, Miss] = {
    None: Miss.SKIP,
    "warn": Miss.WARN,
    "skip": Miss.SKIP,
    "safe_mode": Miss.SAFE_MODE,
    "stop": Miss.STOP,
}


def engine_options(node: Node, watchdog: float | None) -> OptionKeywords:
    """The options of the engine node that ticks a facade node.

    Arguments:
        node: Says how it wants to be scheduled.
        watchdog: Seconds after which its ticks are given up if it says nothing else, or None.

    Raises:
        Refused: A value that HORUS refuses.
        TypeError: A value of a wrong type.
        ValueError: A budget or a deadline that can only be meant in microseconds.
    """
    if not isinstance(node.name, str):
        raise TypeError(f"Node(name={node.name!r}): expected a str")
    if not node.name or not node.name.isprintable():
        raise Refused(f"Node(name={node.name!r}): expected a printable, non-empty str")
    if node.on_miss not in _MISSES:
        raise Refused(
            f"Unknown miss policy {node.on_miss!r}. "
            "Use Miss.WARN, Miss.SKIP, Miss.SAFE_MODE, or Miss.STOP"
        )
    if node.failure_policy not in _POLICIES:
        raise Refused(
            f"Unknown failure policy {node.failure_policy!r}. "
            "Use 'fatal', 'restart', 'skip', or 'ignore'"
        )
    for what in ("budget", "deadline", "watchdog"):
        _check_seconds(what, getattr(node, what))
    for what, most in MOST.items():
        _refuse_microseconds(what, getattr(node, what), most)
    if not node._horus_has_budget and (node.budget is not None or node.deadline is not None):
        raise Refused(
            f"node {node.name!r} has a budget or a deadline, and is async, compute or event-driven "
            "(on=…), where there is none; leave them out, or let it tick at its rate"
        )
    options: OptionKeywords = {
        "name": node.name,
        "order": node.order,
        "failure_policy": _POLICIES[node.failure_policy],
        "on_miss": _MISSES[node.on_miss],
        "init_timeout": INIT_TIMEOUT,
    }
    if node._horus_on is None:
        options["rate"] = node.rate
    elif isinstance(node._horus_on, str):
        topic = event_topic(node, node._horus_on)
        options["on"] = topic
        options["subs"] = Sub(topic, capacity=node.default_capacity)
    else:
        raise TypeError(f"Node({node.name!r}): on={node._horus_on!r}, expected a topic's name")
    if not node._horus_async and not node._horus_compute:
        options["thread"] = "own"
    if node.deadline is not None:
        options["deadline"] = node.deadline
    elif node._horus_has_budget:
        options["deadline"] = DEADLINE_SHARE / node.rate
    limit = node.watchdog if node.watchdog is not None else watchdog
    if limit is not None:
        options["tick_timeout"] = limit
    return options


def event_topic(node: Node, name: str) -> str:
    """The topic of ``on=``, under the name it has for the node's own `Topic`."""
    declared = node._topics.get(name)
    return name if declared is None else declared.name


def _refuse_microseconds(what: str, value: float | None, most: float) -> None:
    if value is not None and value > most:
        raise ValueError(
            f"{what}={value:g} is unusually large: it is in seconds, {most:g} at most. Did you "
            f"mean {what}={value:g} * us (or ms)? `from horus import us, ms`"
        )


def _check_seconds(what: str, value: Any) -> None:
    if value is None:
        return
    if not is_number(value):
        raise TypeError(f"{what}={value!r}: expected a number of seconds")
    if not 0 < value < math.inf:
        raise Refused(f"{what} must be positive and finite")
