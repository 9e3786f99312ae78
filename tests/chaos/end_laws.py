"""The laws of the end: why and how soon a run ended, what is left, what is reported. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from horus_trio import NodeState, NodeStatistics, RunFailed

from .record import Record
from .snapshots import Violation

__all__ = ["end_is_explained", "nothing_is_left", "report_is_true", "stop_is_bounded"]

SLACK = 1e-6
"""Seconds that are lost to rounding, on virtual time."""


def end_is_explained(record: Record) -> Iterator[Violation]:
    """The run ended for a reason that was planned and has happened."""
    report, plan = record.report, record.plan
    reason = report.reason.partition(", forced by")[0]
    fatal = [failure for failure in report.failed if failure.fatal]
    causes = [*record.diary.causes, f"its duration of {plan.duration:g} s was over"]
    causes += [f"node {f.node!r} failed" for f in fatal] + ["every node has failed"] * bool(fatal)
    stoppers = [node.name for node in plan.all_nodes().values() if node.on_miss == "STOP"]
    causes += [f"node {name!r} " for name in stoppers]
    if not any(reason.startswith(cause) for cause in causes):
        yield Violation("end", f"ended for {report.reason!r}, expected one of {causes}")
    if bool(fatal) != isinstance(record.error, RunFailed):
        names = [failure.node for failure in fatal]
        yield Violation("end", f"fatal failures of {names}, and run() raised {record.error!r}")
    every = all(node.state is NodeState.FAILED for node in report.statistics.nodes.values())
    for failure in fatal:
        node = plan.all_nodes()[failure.node]
        if not every and not node.critical and node.policy.kind != "fatal":
            yield Violation("end", f"{failure.node} is not critical, and its failure was fatal")
    if isinstance(record.error, RunFailed):
        for error in record.error.exceptions:
            if isinstance(error, BaseExceptionGroup):
                yield Violation("end", f"RunFailed holds a group: {error!r}")
            notes = " ".join(getattr(error, "__notes__", ()))
            if not any(f"in node {failure.node!r}" in notes for failure in fatal):
                yield Violation("end", f"{error!r} does not say where it is from: {notes!r}")
    if record.plan.virtual and report.duration > plan.duration + SLACK:
        yield Violation("end", f"it ticked for {report.duration} s, expected {plan.duration}")
    if report.forced_by and record.signals < 2:
        yield Violation("end", f"forced by {report.forced_by} after {record.signals} signal(s)")


def stop_is_bounded(record: Record) -> Iterator[Violation]:
    """On virtual time the whole stop takes no longer than it may."""
    if not record.plan.virtual or record.started is None:
        return
    took = record.returned - record.started - record.report.duration
    if took > record.plan.stop_timeout + SLACK:
        text = f"the stop took {took:g} s, with a stop_timeout of {record.plan.stop_timeout:g} s"
        yield Violation("stop", text)


def nothing_is_left(record: Record) -> Iterator[Violation]:
    """Tokens are back, handlers are as before, and what is left is listed."""
    if record.borrowed:
        yield Violation("tokens", f"{record.borrowed} token(s) were not given back")
    for text in record.left:
        yield Violation("leaks", text)
    listed = len(record.report.stragglers)
    if record.busy > listed:
        text = f"{record.busy} thread(s) had not returned, and {listed} are listed"
        yield Violation("leaks", text)
    if not record.restored:
        yield Violation("leaks", "signal handlers are not as they were before")


def report_is_true(record: Record) -> Iterator[Violation]:
    """It can be printed and written as JSON, and its numbers are the final ones."""
    report = record.report
    try:
        plain: Mapping[str, Any] = json.loads(json.dumps(report.to_dict()))
    except (TypeError, ValueError) as error:
        yield Violation("report", f"it is not JSON-able: {error}")
        return
    if plain["reason"] != report.reason or report.name not in str(report):
        yield Violation("report", "it prints as another one")
    for name, node in report.statistics.nodes.items():
        final = record.final.get(record.diary.life_of(name))
        if final is not None and _counts(final) != _counts(node):
            yield Violation("report", f"{name} is {_counts(node)} in it, and {_counts(final)}")
    failed = {failure.node for failure in report.failed}
    for name, node in report.statistics.nodes.items():
        if (node.state is NodeState.FAILED) and name not in failed:
            yield Violation("report", f"{name} has failed and is not among {sorted(failed)}")


def _counts(node: NodeStatistics) -> tuple[int, ...]:
    return (
        node.ticks_released,
        node.ok,
        node.errors,
        node.timed_out,
        node.abandoned,
        node.cancelled,
        node.missed,
        node.in_flight,
        node.restarts,
    )
