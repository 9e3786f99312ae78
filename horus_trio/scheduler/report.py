"""What a robot has done: `SchedulerStatistics` at any time, `RunReport` at the end."""

from __future__ import annotations

import dataclasses
import enum
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..executor import AbandonedThread, EmergencyReport, PoolStatistics
from ..health import Health, NodeState, NodeStatistics
from ..printable import entry
from ..topics import HubStatistics
from .watchdog import Stall

__all__ = ["NodeFailure", "RunReport", "SchedulerStatistics", "advice"]

LONG_WAIT = 0.05
"""Seconds of waiting for a thread (p95) from which the pool counts as saturated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerStatistics:
    """A robot at one instant.

    Attributes:
        name: The scheduler's name.
        running: Whether it runs.
        elapsed: Seconds since the run started ticking; after it, how long it ticked.
        nodes: Each node's counters, in the order in which they were added.
        topics: Each topic's counters.
        pool: The blocking pool, or None before the first run.
        timer: What wakes the metronome: ``timerfd``, ``trio.sleep``, or ``""`` before a run.
        wake_ups: How often it has been woken.
        health: The worst health of any node; critical also when the pool is exhausted.
        callback_errors: Exceptions raised by result callbacks.
        stall_count: How often the loop stood still.
        stalls: The latest of those times, and who caused them.
    """

    name: str
    running: bool
    elapsed: float
    nodes: Mapping[str, NodeStatistics]
    topics: Mapping[str, HubStatistics]
    pool: PoolStatistics | None
    timer: str
    wake_ups: int
    health: Health
    callback_errors: int
    stall_count: int = 0
    stalls: tuple[Stall, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON-able values."""
        plain: dict[str, Any] = _plain(self)
        return plain


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFailure:
    """A node that failed for good.

    Attributes:
        node: Its name.
        fatal: Whether it ended the run.
        error: The error's last line and notes.
        traceback: The whole traceback as text.
    """

    node: str
    fatal: bool
    error: str
    traceback: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """How a run went.

    Attributes:
        name: The scheduler's name.
        reason: Why it ended.
        duration: Seconds from the first tick to the stop.
        forced_by: The signal that cut the stop short, such as ``SIGINT``; or empty.
        statistics: The final counters.
        failed: Nodes that failed for good.
        stragglers: Threads that had not returned when the run ended, with their stacks.
        shutdown_while_busy: Nodes whose ``shutdown`` was called while a thread of theirs was out.
        hook_errors: Errors of ``shutdown``, ``on_error`` and ``enter_safe_state``, as text.
        emergencies: The latest 1000 emergencies, and whom they reached.
        earlier_emergencies: How many there were before these.
        warnings: What is worth changing: topics nobody publishes, a saturated pool, …
    """

    name: str
    reason: str
    duration: float
    statistics: SchedulerStatistics
    forced_by: str = ""
    failed: tuple[NodeFailure, ...] = ()
    stragglers: tuple[AbandonedThread, ...] = ()
    shutdown_while_busy: tuple[str, ...] = ()
    hook_errors: tuple[str, ...] = ()
    emergencies: tuple[EmergencyReport, ...] = ()
    earlier_emergencies: int = 0
    warnings: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether no node failed for good and no hook raised."""
        return not self.failed and not self.hook_errors

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON-able values."""
        plain: dict[str, Any] = _plain(self)
        return plain

    def __str__(self) -> str:
        lines = [f"{self.name} ran {self.duration:.2f} s and ended: {self.reason}"]
        lines.extend(_table(self.statistics.nodes.values()))
        for failure in self.failed:
            fate = "ended the run" if failure.fatal else "the others ran on"
            lines.append(f"FAILED {failure.node} ({fate}): {failure.error}")
        if self.earlier_emergencies:
            lines.append(f"EMERGENCY {self.earlier_emergencies} times before these")
        lines.extend(f"EMERGENCY {str(e).partition(' ')[2]}" for e in self.emergencies)
        for straggler in self.stragglers:
            lines.append(
                f"STRAGGLER {straggler.node}.{straggler.call}: its thread has been out for "
                f"{straggler.age:.1f} s\n{straggler.stack.rstrip()}"
            )
        for name in self.shutdown_while_busy:
            lines.append(f"NOTE {name} was shut down while a thread of it was still out")
        lines.extend(f"HOOK {text.rstrip()}" for text in self.hook_errors)
        lines.extend(f"WARNING {text}" for text in self.warnings)
        return "\n".join(map(entry, lines))


def advice(statistics: SchedulerStatistics) -> list[str]:
    """What the counters say should be changed: what blocks the loop, a saturated pool, by node."""
    texts = _stall_advice(statistics)
    pool = statistics.pool
    if pool is None:
        return texts
    if pool.exhausted:
        owners = ", ".join(sorted({thread.node for thread in pool.abandoned}))
        texts.append(
            f"{len(pool.abandoned)} abandoned threads are out, more than max_abandoned="
            f"{pool.max_abandoned}: their tokens are held and the pool is short of them; "
            f"give the device calls of {owners} a time limit of their own"
        )
    slow = sorted(
        (n for n in statistics.nodes.values() if n.waiting_for_thread.count),
        key=lambda n: n.duration.p95,
        reverse=True,
    )
    takers = ", ".join(n.name for n in slow[:3])
    for node in statistics.nodes.values():
        waited = node.waiting_for_thread.p95
        if waited >= LONG_WAIT or node.state is NodeState.WAITING_FOR_THREAD:
            texts.append(
                f"node {node.name!r} waited for a thread (p95 {waited:.3g} s): the pool's "
                f"{pool.tokens:g} tokens are saturated, most by {takers}; give slow nodes "
                "thread='own', make them async, or pass a larger limiter"
            )
    return texts


def _stall_advice(statistics: SchedulerStatistics) -> list[str]:
    longest: dict[str, Stall] = {}
    for stall in statistics.stalls:
        if stall.where and stall.duration >= longest.get(stall.where, stall).duration:
            longest[stall.where] = stall
    return [
        f"{stall.what if stall.node is None else f'node {stall.node!r}'} blocked the loop for up "
        f"to {stall.duration:.2g} s at {stall.where}; {stall.advice}"
        for stall in longest.values()
    ]


def _table(nodes: Iterable[NodeStatistics]) -> list[str]:
    rows = [("node", "state", "ticks", "rate", "failed", "missed", "late p50/p99", "restarts")]
    for n in nodes:
        rows.append(
            (
                n.name,
                n.state.value,
                str(n.ok),
                f"{n.achieved_rate:.1f} Hz",
                str(n.errors + n.timed_out + n.abandoned),
                str(n.missed),
                f"{n.lateness.p50 * 1e3:.1f}/{n.lateness.p99 * 1e3:.1f} ms",
                str(n.restarts),
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  " + "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
