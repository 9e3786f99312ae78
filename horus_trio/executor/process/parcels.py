"""What travels between a robot and a worker process: nodes, messages, results, as pickled bytes.

Each thing of the user's is pickled by itself. So what cannot be pickled, or not be rebuilt, hurts
only whoever opens that one `Parcel`, and the error says which thing it is, which part of it, and
why. A node that refers to itself arrives as the node that is rebuilt, without its seat.
"""

from __future__ import annotations

import contextvars
import io
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from ...errors import NodeError
from ...messages import Tick
from ...node import Node

__all__ = [
    "EmergencyAsked",
    "Event",
    "Input",
    "Job",
    "Logged",
    "NodeParcel",
    "Parcel",
    "Reply",
    "Sent",
    "StopAsked",
    "dump",
    "state_of",
]

ENGINES = frozenset({"name", "_functions", "_log", "_options", "_owner", "_seat"})
"""Attributes of a node that are the engine's, and stay where they are."""

DEPTH = 5
"""Levels at which the part of a value that cannot be pickled is looked for."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """One pickled thing, or why there is none.

    Attributes:
        data: The thing, pickled.
        problem: Why it could not be, or empty.
    """

    data: bytes = b""
    problem: str = ""

    @classmethod
    def of(cls, value: object, what: str, node: Node) -> Parcel:
        """Pickle a value; never raises.

        Arguments:
            what: Name of the value, for messages.
            node: Is replaced by its other self wherever the value refers to it.
        """
        try:
            return cls(dump(value, node))
        except Exception as error:  # noqa: BLE001 - whatever a type's own reduction raises
            return cls(problem=flaw(value, what, node) or f"{what}: {_reason(error)}")

    def open(self, node: Node) -> Any:
        """The thing.

        Raises:
            NodeError: It was not pickled, or cannot be rebuilt here.
        """
        if self.problem:
            raise NodeError(f"{self.problem}; only what can be pickled goes between processes")
        try:
            return _load(self.data, node)
        except Exception as error:
            raise NodeError(
                f"what came from the other process cannot be rebuilt: {_reason(error)}"
            ) from error


@dataclass(frozen=True, slots=True)
class NodeParcel:
    """A node for a worker process: its class, its tick function and its attributes.

    Attributes:
        cls: The class, pickled.
        rest: The function, or None, and the attributes, pickled.
        name: The node's name.
    """

    cls: bytes
    rest: bytes
    name: str

    @classmethod
    def of(cls, node: Node) -> NodeParcel:
        """Pickle a node, in the robot's process.

        Raises:
            NodeError: Some part of it cannot be pickled; says which, why, and what to do.
        """
        function, state = node._functions.get("tick"), state_of(node)
        try:
            return cls(dump(type(node), node), dump((function, state), node), node.name)
        except Exception as error:
            found = flaw(type(node), "its class", node) or flaw(function, "its function", node)
            found = found or flaw(SimpleNamespace(**state), "self", node)
            raise NodeError(
                f"node {node.name!r} has thread='process', and cannot be sent to its worker "
                f"process: {found or _reason(error)}; make such things in the tick, leave them out "
                "in __getstate__, or give thread='pool'"
            ) from error

    def rebuild(self) -> Node:
        """Make its other self, in the worker process, without a seat."""
        cls = pickle.loads(self.cls)
        node: Node = cls.__new__(cls)
        node.name = self.name
        node._options = {}
        node._owner = node._log = node._seat = None
        function, state = _load(self.rest, node)
        node._functions = {} if function is None else {"tick": function}
        set_state = getattr(node, "__setstate__", None)
        if set_state is not None:
            set_state(state)
        else:
            for key, value in state.items():
                object.__setattr__(node, key, value)
        return node


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """What a tick may read of one topic.

    Attributes:
        topic: Its name.
        waiting: The messages that wait, oldest first.
        latest: The newest message, or None.
        latest_at: Its instant, in seconds on Trio's clock.
    """

    topic: str
    waiting: tuple[Parcel, ...]
    latest: Parcel | None
    latest_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One tick to be run.

    Attributes:
        node: The node.
        tick: As in the node's seat.
        previous: As in the node's seat.
        period: As in the node's seat.
        max_ages: As in the node's seat.
        lead: Seconds by which Trio's clock is ahead of `time.perf_counter`.
        inputs: The topics it may read.
        tally: File in which it counts what it takes, or empty.
        log_level: Below it, its records are of no interest.
    """

    node: NodeParcel
    tick: Tick | None
    previous: float | None
    period: float
    max_ages: dict[str, float]
    lead: float
    inputs: tuple[Input, ...]
    tally: str
    log_level: int


@dataclass(frozen=True, slots=True)
class Sent:
    """The tick sent a message."""

    topic: str
    data: Parcel


@dataclass(frozen=True, slots=True)
class Logged:
    """The tick logged a record, as the attributes of one."""

    record: Parcel


@dataclass(frozen=True, slots=True)
class StopAsked:
    """The tick asked to stop the run."""

    reason: str


@dataclass(frozen=True, slots=True)
class EmergencyAsked:
    """The tick called an emergency."""

    reason: str


Event = Sent | Logged | StopAsked | EmergencyAsked


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What became of a tick that came to an end.

    Attributes:
        started: The instant its own code started, in seconds on Trio's clock.
        events: What it did, in order.
        changed: The attributes it changed, those of a namespace.
        deleted: The attributes it deleted.
        value: What it returned.
        error: What it raised, or None.
        trace: Where, as text.
    """

    started: float
    events: tuple[Event, ...]
    changed: Parcel
    deleted: tuple[str, ...]
    value: Parcel
    error: Parcel | None
    trace: str


def state_of(node: Node) -> dict[str, Any]:
    """The attributes of a node that are its own: those its `__getstate__` gives.

    Raises:
        NodeError: That gives something else.
    """
    state: Any = node.__getstate__()
    if isinstance(state, tuple) and len(state) == 2:  # with slots
        state = {**(state[0] or {}), **(state[1] or {})}
    if state is not None and not isinstance(state, dict):
        raise NodeError(
            f"node {node.name!r}: its __getstate__ gives {state!r:.80}, expected a dict of "
            "attributes, as thread='process' needs it"
        )
    return {key: value for key, value in (state or {}).items() if key not in ENGINES}


def flaw(value: object, path: str, node: Node, depth: int = DEPTH) -> str:
    """Which part of a value cannot be pickled, and why; empty if all can."""
    try:
        dump(value, node)
    except Exception as error:  # noqa: BLE001 - whatever a type's own reduction raises
        if depth:
            for step, part in _parts(value):
                if found := flaw(part, path + step, node, depth - 1):
                    return found
        return f"{path}: {_reason(error)}"
    return ""


def _parts(value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        yield from ((f"[{key!r:.40}]", part) for key, part in value.items())
    elif isinstance(value, (list, tuple)):
        yield from ((f"[{index}]", part) for index, part in enumerate(value))
    elif not isinstance(value, type):
        yield from ((f".{key}", part) for key, part in getattr(value, "__dict__", {}).items())


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


# Pickling around a node


_rebuilding: contextvars.ContextVar[Node] = contextvars.ContextVar("horus_trio_rebuilding")


def _node_here() -> Node:
    return _rebuilding.get()


class _Pickler(pickle.Pickler):
    def __init__(self, file: io.BytesIO, node: Node) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self._node = node

    def reducer_override(self, value: object) -> Any:
        """Replace the node itself; all else goes its ordinary way."""
        return (_node_here, ()) if value is self._node else NotImplemented


def dump(value: object, node: Node) -> bytes:
    """Pickle a value, for `_load` with the node's other self."""
    file = io.BytesIO()
    _Pickler(file, node).dump(value)
    return file.getvalue()


def _load(data: bytes, node: Node) -> Any:
    token = _rebuilding.set(node)
    try:
        return pickle.loads(data)
    finally:
        _rebuilding.reset(token)
