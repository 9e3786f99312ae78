"""`Frame`: what a table shows of a robot at one instant, whether it runs here or elsewhere.

It is little, so that it costs the robot little to send; and it is made of plain values, so that
what a robot of another version sends is shown as far as it is understood.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import horus_trio as horus

from ..printable import one_line
from .answers import count, number, part, text

__all__ = ["Frame", "NodeRow"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRow:
    """A node. Durations in seconds, `achieved` is the rate over the whole run in Hz."""

    name: str = ""
    state: str = ""
    health: int = 0
    achieved: float = 0.0
    ok: int = 0
    failed: int = 0
    missed: int = 0
    restarts: int = 0
    late_p50: float = 0.0
    late_p99: float = 0.0
    took_p50: float = 0.0
    took_max: float = 0.0

    @classmethod
    def of(cls, node: horus.NodeStatistics) -> NodeRow:
        """A node's row."""
        return cls(
            name=node.name,
            state=node.state.value,
            health=node.health.value,
            achieved=node.achieved_rate,
            ok=node.ok,
            failed=node.errors + node.timed_out + node.abandoned,
            missed=node.missed,
            restarts=node.restarts,
            late_p50=node.lateness.p50,
            late_p99=node.lateness.p99,
            took_p50=node.duration.p50,
            took_max=node.duration.max,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A robot.

    Attributes:
        name: The robot's name.
        running: Whether it runs.
        elapsed: Seconds it has been ticking.
        nodes: Its nodes, in the order in which they were added.
        sent: Messages published so far, by topic.
        left_behind: Threads that were abandoned and have not returned.
        stalls: How often the loop stood still.
    """

    name: str = ""
    running: bool = False
    elapsed: float = 0.0
    nodes: tuple[NodeRow, ...] = ()
    sent: Mapping[str, int] = dataclasses.field(default_factory=dict)
    left_behind: int = 0
    stalls: int = 0

    @classmethod
    def of(cls, statistics: horus.SchedulerStatistics) -> Frame:
        """What there is to show of a snapshot."""
        pool = statistics.pool
        return cls(
            name=statistics.name,
            running=statistics.running,
            elapsed=statistics.elapsed,
            nodes=tuple(NodeRow.of(node) for node in statistics.nodes.values()),
            sent={topic.name: topic.sent for topic in statistics.topics.values()},
            left_behind=0 if pool is None else len(pool.abandoned),
            stalls=statistics.stall_count,
        )

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: object) -> Frame:
        """Undo `to_dict`; what is not known is left out, what is missing has its default.

        Raises:
            CommandFailed: Something has another type, so this is no frame.
        """
        given: Any = part({"frame": values}, "frame", dict)
        known = _known(cls, given)
        if "nodes" in given:
            known["nodes"] = tuple(
                NodeRow(**_known(NodeRow, r)) for r in part(given, "nodes", list)
            )
        if "sent" in given:
            sent = part(given, "sent", dict)
            known["sent"] = {one_line(topic): count(sent, topic) for topic in sent}
        return cls(**known)


def _known(cls: type[Frame | NodeRow], values: object) -> dict[str, Any]:
    given: Any = part({"frame": values}, "frame", dict)
    return {
        field.name: _READ[type(field.default)](given, field.name)
        for field in dataclasses.fields(cls)
        if field.name in given and type(field.default) in _READ
    }


def _truth(values: object, key: str) -> bool:
    return part(values, key, bool)


_READ: Mapping[type, Callable[[object, str], Any]] = {
    str: text,
    bool: _truth,
    int: count,
    float: number,
}
"""How a field is read, by the type of its default."""
