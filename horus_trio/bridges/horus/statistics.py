"""HORUS's statistics: dictionaries of a node and of a scheduler's safety."""

from __future__ import annotations

from typing import Any

from ...scheduler import SchedulerStatistics
from .record import Record

__all__ = ["CAPABILITIES", "node_statistics", "safety_statistics"]

CAPABILITIES: dict[str, bool | int] = {
    "preempt_rt": False,
    "rt_priority_available": False,
    "max_rt_priority": 0,
    "min_rt_priority": 0,
}
"""What this engine uses of a real-time kernel: nothing."""


def node_statistics(record: Record) -> dict[str, Any]:
    """A node's counters; any thread."""
    node, tally = record.node, record.tally
    return {
        "name": node.name,
        "order": node.order,
        "rate_hz": record.rate,
        "total_ticks": tally.total,
        "successful_ticks": tally.succeeded,
        "failed_ticks": tally.failed,
        "errors_count": tally.failed,
        **tally.in_milliseconds(),
        "uptime_seconds": record.info.get_uptime() if tally.total else 0.0,
        "messages_sent": node._horus_sent,
        "messages_received": node._horus_received,
    }


def safety_statistics(
    statistics: SchedulerStatistics, records: tuple[Record, ...], *, in_emergency: bool
) -> dict[str, Any]:
    """What went beyond its time, in the present or latest run.

    Arguments:
        statistics: The engine's.
        records: Of all nodes.
        in_emergency: Whether an emergency holds critical nodes.
    """
    nodes = statistics.nodes.values()
    stopping = {record.node.name for record in records if record.node.on_miss == "stop"}
    missed = any(node.deadline_missed + node.missed for node in nodes if node.name in stopping)
    return {
        "state": "EmergencyStop" if in_emergency or missed else "Normal",
        "budget_overruns": sum(record.tally.overruns for record in records),
        "deadline_misses": sum(node.deadline_missed for node in nodes),
        "watchdog_expirations": sum(node.timed_out + node.abandoned for node in nodes),
        "degrade_activations": 0,
    }
