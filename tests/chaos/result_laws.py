"""The laws of ticks: each has one result, counters are exact, releases keep the rate. Pure."""

from __future__ import annotations

import collections
from collections.abc import Iterator

from horus_trio import NodeState

from .diary import Result
from .record import Record, is_subsequence
from .snapshots import Violation

__all__ = [
    "channel_is_whole",
    "counters_are_results",
    "every_tick_has_its_result",
    "numbers_rise",
    "releases_follow_the_rate",
    "restarts_are_counted",
]

COUNTED = {
    "OK": "ok",
    "ERROR": "errors",
    "TIMED_OUT": "timed_out",
    "ABANDONED": "abandoned",
    "CANCELLED": "cancelled",
}
"""The counter of each status."""


def every_tick_has_its_result(record: Record) -> Iterator[Violation]:
    """Each tick that began has one result, and it says what the tick did."""
    began: dict[tuple[str, int], str] = {}
    for entry in record.diary.entries:
        if entry.what != "tick":
            continue
        key = entry.life, entry.seq
        if entry.phase == "begins":
            if key in began:
                yield Violation("one tick", f"tick {entry.seq} of {entry.life} began twice")
            began[key] = "runs"
        else:
            began[key] = entry.phase
    results: dict[tuple[str, int], Result] = {}
    for result in record.diary.results:
        key = result.life, result.seq
        if key in results:
            yield Violation("results", f"tick {result.seq} of {result.life} has two results")
        results[key] = result
        ended = began.get(key, "never began")
        if ended == "never began" and record.plan_of(result.life).kind == "asyncio":
            ended = "cancelled"  # asyncio code begins a step later than its tick
        yield from _true_result(result, ended)
    for life, seq in sorted(began.keys() - results.keys()):
        yield Violation("results", f"tick {seq} of {life} began and has no result")


def _true_result(result: Result, ended: str) -> Iterator[Violation]:
    expected = {
        "OK": ("returned",),
        "ERROR": ("raised",),
        "TIMED_OUT": ("cancelled", "raised"),
        "ABANDONED": ("returned", "raised", "cancelled", "runs"),
        "CANCELLED": ("cancelled", "raised", "never began"),
    }[result.status]
    what = f"tick {result.seq} of {result.life} is {result.status} {result.text}"
    if ended not in expected:
        yield Violation("results", f"{what}, and it {ended}")
    if result.status == "OK" and result.value != f"{result.life} {result.seq}":
        yield Violation("results", f"{what}, with the value {result.value!r}")


def numbers_rise(record: Record) -> Iterator[Violation]:
    """The numbers of one node's ticks rise strictly, and none is above that of releases."""
    latest: dict[str, int] = {}
    for result in record.diary.results:
        if result.seq <= latest.get(result.life, 0):
            yield Violation(
                "numbers", f"{result.life}: {result.seq} came after {latest[result.life]}"
            )
        latest[result.life] = result.seq
    for life, node in record.final.items():
        if latest.get(life, 0) > node.ticks_released:
            yield Violation(
                "numbers", f"{life}: tick {latest[life]} of {node.ticks_released} released"
            )


def counters_are_results(record: Record) -> Iterator[Violation]:
    """The final counters are those of the results; nothing is in flight."""
    seen: collections.Counter[tuple[str, str]] = collections.Counter()
    for result in record.diary.results:
        seen[result.life, COUNTED[result.status]] += 1
    for life, node in record.final.items():
        if node.in_flight:
            yield Violation("accounting", f"{life} has ended with {node.in_flight} in flight")
        for counter in COUNTED.values():
            counted, told = getattr(node, counter), seen[life, counter]
            if counted != told:
                text = f"{life}: {counter} is {counted}, and {told} result(s) said so"
                yield Violation("results", text)


def channel_is_whole(record: Record) -> Iterator[Violation]:
    """What came through the channel is what observers saw, less what was counted as dropped."""
    told = [(result.life.partition("/")[0], result.seq) for result in record.diary.results]
    if len(record.channel) + record.channel_dropped != len(told):
        yield Violation(
            "results",
            f"{len(told)} results, {len(record.channel)} received, {record.channel_dropped} lost",
        )
    if not is_subsequence(record.channel, told):
        yield Violation("results", "the channel's order is not that of the observer")


def restarts_are_counted(record: Record) -> Iterator[Violation]:
    """Each ``init`` after the first is a restart, and a policy gives up when it says so."""
    inits: collections.Counter[str] = collections.Counter()
    for entry in record.diary.entries:
        if entry.what == "init" and entry.phase == "begins":
            inits[entry.life] += 1
    for life, node in record.final.items():
        plan = record.plan_of(life)
        if inits[life] > node.restarts + 1:
            text = f"{life} was initialised {inits[life]}x with {node.restarts} restart(s)"
            yield Violation("supervision", text)
        if node.state is NodeState.FAILED:
            least = {"restart": plan.policy.count + 1, "fatal": 1}.get(plan.policy.kind)
            if least is None or node.failures < least:
                text = f"{life} has failed for good: {node.failures} of {plan.policy}"
                yield Violation("supervision", text)


def releases_follow_the_rate(record: Record) -> Iterator[Violation]:
    """On virtual time a node is released at its rate, whatever else happens in the robot."""
    if not record.plan.virtual or record.started is None:
        return
    end = record.started + record.report.duration
    for life, segments in record.rates.items():
        node = record.final.get(life)
        if node is None or node.state is NodeState.FAILED:
            continue
        expected = 0.0
        for n, segment in enumerate(segments):
            until = segments[n + 1].since if n + 1 < len(segments) else end
            if segment.rate is not None and until > segment.since:
                expected += segment.rate * (until - segment.since)
        if abs(node.ticks_released - expected) > len(segments) + 1e-6:
            text = f"{life}: {node.ticks_released} released, {expected:.2f} expected: {segments}"
            yield Violation("rate", text)
