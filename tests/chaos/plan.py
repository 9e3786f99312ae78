"""A generated robot as plain data: made from a seed, printed, made smaller, and played again.

Everything that is planned is in here: the nodes with their options and the chances of what their
hooks do, and the events from outside. The dice that are rolled while it is played follow from the
seed and the name of the node, so a node does the same in a plan from which others were removed.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, get_args

__all__ = [
    "ACTS",
    "EVENTS",
    "KINDS",
    "POLICIES",
    "Act",
    "Event",
    "EventKind",
    "Input",
    "Kind",
    "NodePlan",
    "Plan",
    "Policy",
]

Kind: TypeAlias = Literal["pool", "own", "async", "mixed", "asyncio"]
"""``def`` in the pool, ``def`` in a thread of its own, async, an async tick with ``def`` hooks,
asyncio."""

Act: TypeAlias = Literal[
    "raise", "exit", "interrupt", "delay", "overlong", "hang", "wait", "stop", "heed"
]
"""What a hook does besides its work: it raises, raises SystemExit or KeyboardInterrupt, takes its
time, takes longer than it may, hangs, waits for a message, stops the run, or asks in a loop whether
its time is over."""

EventKind: TypeAlias = Literal[
    "add",
    "remove",
    "pause",
    "resume",
    "set_rate",
    "burst",
    "look",
    "release",
    "emergency",
    "reset",
    "stop",
    "cancel",
    "signal",
    "signals at once",
]

KINDS: tuple[Kind, ...] = get_args(Kind)
ACTS: tuple[Act, ...] = get_args(Act)
EVENTS: tuple[EventKind, ...] = get_args(EventKind)
POLICIES = ("restart", "restart for ever", "breaker", "ignore", "fatal")


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A failure policy.

    Attributes:
        kind: One of `POLICIES`.
        count: Its ``max_restarts`` or ``max_failures``.
        seconds: Its ``within`` or ``cooldown``.
        backoff: Seconds before the first restart.
    """

    kind: str
    count: int = 0
    seconds: float = 1.0
    backoff: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """A topic a node reads.

    Attributes:
        topic: Its name.
        capacity: Messages that may wait.
        overflow: Name of the `Overflow`.
        max_age: Seconds after which it is stale, or None.
    """

    topic: str
    capacity: int
    overflow: str
    max_age: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePlan:
    """A node: its options, and the chances of what its hooks do.

    Attributes:
        tick, init, shutdown: Chances of acts in these hooks, by act; a share of all calls.
        safe_state: Whether ``enter_safe_state`` is ``def`` or ``async``, or empty: it has none.
        background: Seconds between two messages of a background task, or None: it has none.
        factory: Whether a restart makes a fresh instance.
        limited: Whether it has a limiter of its own.
    """

    name: str
    kind: Kind
    rate: float | None
    on: tuple[str, ...] = ()
    order: int = 0
    tick_timeout: float | None = None
    deadline: float | None = None
    on_miss: str = "SKIP"
    init_timeout: float = 1.0
    shutdown_timeout: float = 0.5
    policy: Policy
    critical: bool = False
    inputs: tuple[Input, ...] = ()
    outputs: tuple[str, ...] = ()
    tick: dict[str, float] = field(default_factory=dict)
    init: dict[str, float] = field(default_factory=dict)
    shutdown: dict[str, float] = field(default_factory=dict)
    safe_state: str = ""
    background: float | None = None
    factory: bool = False
    limited: bool = False

    @property
    def in_threads(self) -> bool:
        """Whether its ticks run in threads."""
        return self.kind in ("pool", "own")


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that is done to the robot from outside.

    Attributes:
        at: Seconds after its start.
        kind: What.
        node: Whom it concerns, or empty.
        value: A rate, a number of messages, a signal's number, a topic's number: see `intruders`.
        foreign: Whether a foreign thread does it.
    """

    at: float
    kind: EventKind
    node: str = ""
    value: float = 0.0
    foreign: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A robot.

    Attributes:
        seed: It was made from, and the dice while it is played follow from.
        virtual: Whether it lives on virtual time.
        duration: Seconds it runs unless something ends it before.
        tokens: Of its limiter.
        max_abandoned, stop_timeout, deterministic: As the scheduler is told.
        topics: Names of its topics.
        nodes: Its nodes from the beginning.
        late: Nodes that are added by events, by name.
        events: What is done to it, in order.
    """

    seed: int
    virtual: bool
    duration: float
    tokens: int
    max_abandoned: int
    stop_timeout: float
    deterministic: bool
    topics: tuple[str, ...]
    nodes: tuple[NodePlan, ...]
    late: tuple[NodePlan, ...] = ()
    events: tuple[Event, ...] = ()

    def all_nodes(self) -> dict[str, NodePlan]:
        """Its nodes and those that are added later, by name."""
        return {node.name: node for node in (*self.nodes, *self.late)}

    def to_json(self) -> str:
        """As JSON, on one line."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """The plan that `to_json` wrote."""
        data: dict[str, Any] = json.loads(text)
        return cls(
            **{
                **data,
                "topics": tuple(data["topics"]),
                "nodes": tuple(_node(node) for node in data["nodes"]),
                "late": tuple(_node(node) for node in data["late"]),
                "events": tuple(Event(**event) for event in data["events"]),
            }
        )

    def __str__(self) -> str:
        clock = "virtual" if self.virtual else "real"
        head = (
            f"seed {self.seed}: {len(self.nodes)} node(s) for {self.duration:g} s of {clock} time, "
            f"{self.tokens} token(s), max_abandoned={self.max_abandoned}, "
            f"stop_timeout={self.stop_timeout:g}{', deterministic' * self.deterministic}"
        )
        lines = [head]
        lines += [f"  {_shown(node)}" for node in self.nodes]
        lines += [f"  later: {_shown(node)}" for node in self.late]
        lines += [f"  at {event.at:.3f} s: {_shown(event)}" for event in self.events]
        return "\n".join(lines)


def _node(data: dict[str, Any]) -> NodePlan:
    return NodePlan(
        **{
            **data,
            "policy": Policy(**data["policy"]),
            "on": tuple(data["on"]),
            "inputs": tuple(Input(**entry) for entry in data["inputs"]),
            "outputs": tuple(data["outputs"]),
        }
    )


def _shown(value: Any) -> str:
    """A plan's part without what is as it is by default."""
    shown: list[str] = []
    for entry in dataclasses.fields(value):
        held = getattr(value, entry.name)
        usual = entry.default
        if entry.default_factory is not dataclasses.MISSING:
            usual = entry.default_factory()
        if held == usual or entry.name == "at":
            continue
        text = repr(held)
        if dataclasses.is_dataclass(held):
            text = f"({_shown(held)})"
        elif isinstance(held, tuple) and held and dataclasses.is_dataclass(held[0]):
            text = "; ".join(f"({_shown(item)})" for item in held)
        shown.append(f"{entry.name}={text}")
    return ", ".join(shown)
