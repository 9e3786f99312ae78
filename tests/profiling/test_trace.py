"""A trace is what the trace event format wants it to be, whatever the run was like."""

from __future__ import annotations

import io
import itertools
import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from horus_trio import Node, Scheduler, Tick, TickStatus
from horus_trio.profiling import Profiler
from horus_trio.profiling.trace import _Events
from horus_trio.profiling.track import Span


def check(trace: dict[str, Any]) -> list[dict[str, Any]]:
    """The rules of the format, as far as they concern the events that are written here."""
    events: list[dict[str, Any]] = trace["traceEvents"]
    assert trace["displayTimeUnit"] in ("ms", "ns")
    for event in events:
        assert isinstance(event["name"], str)
        assert event["ph"] in "MXC"
        assert isinstance(event["pid"], int)
        assert isinstance(event["tid"], int)
        assert isinstance(event["args"], dict)
        assert math.isfinite(event["ts"])
        assert event["ts"] >= 0
        if event["ph"] == "X":
            assert math.isfinite(event["dur"])
            assert event["dur"] >= 0
        if event["ph"] == "C":
            assert all(isinstance(value, int) for value in event["args"].values())
        if event["ph"] == "M":
            kinds = {"process_name": str, "thread_name": str, "thread_sort_index": int}
            [value] = event["args"].values()
            assert isinstance(value, kinds[event["name"]])
    instants = [event["ts"] for event in events]
    assert instants == sorted(instants)
    for tid in {event["tid"] for event in events}:
        check_nesting(event for event in events if event["ph"] == "X" and event["tid"] == tid)
    return events


def check_nesting(slices: Iterable[dict[str, Any]]) -> None:
    """Slices of one line are nested or apart; in whole nanoseconds, as they were written."""
    open_until: list[int] = []
    for event in slices:
        begun = round(event["ts"] * 1e3)
        ended = begun + round(event["dur"] * 1e3)
        while open_until and open_until[-1] <= begun:
            open_until.pop()
        assert not open_until or ended <= open_until[-1]
        open_until.append(ended)


def written(profiler: Profiler) -> list[dict[str, Any]]:
    file = io.StringIO()
    profiler.write_trace(file)
    return check(json.loads(file.getvalue()))


def slices(events: list[dict[str, Any]]) -> list[tuple[str, float, float]]:
    return [(e["name"], e["ts"], e["dur"]) for e in events if e["ph"] == "X"]


async def test_steps_and_awaits_are_within_their_tick(mock_clock: MockClock) -> None:
    async def init(node: Node) -> None:
        mock_clock.jump(0.0625)

    async def tick(node: Node) -> None:
        mock_clock.jump(0.001)
        await trio.sleep(0.25)
        mock_clock.jump(0.125)

    scheduler = Scheduler(name="röver").add(Node("wörker", tick=tick, init=init, on="go"))
    with Profiler(scheduler) as profiler:
        async with trio.open_nursery() as nursery:
            await nursery.start(scheduler.run)
            scheduler.topic("go").send(None)
            await trio.testing.wait_all_tasks_blocked()
            mock_clock.jump(0.25)
            await trio.testing.wait_all_tasks_blocked()
            scheduler.stop()
    events = written(profiler)
    names = {e["name"]: e["args"] for e in events if e["ph"] == "M" and "name" in e["args"]}
    assert names == {"process_name": {"name": "röver"}, "thread_name": {"name": "wörker (loop)"}}
    assert slices(events) == [
        ("init", 0.0, 62500.0),
        ("blocks the loop", 0.0, 62500.0),
        ("tick 1", 62500.0, 376000.0),
        ("runs", 62500.0, 1000.0),
        ("awaits", 63500.0, 250000.0),
        ("blocks the loop", 313500.0, 125000.0),
    ]
    [details] = [e["args"] for e in events if e["name"] == "tick 1"]
    assert details == {"status": "ok", "seq": 1, "late ms": 0.0}


@pytest.mark.parametrize("awaits", [0, 1, 6, 7, 8, 9, 30])
async def test_of_many_steps_the_first_are_shown_and_the_others_counted(
    autojump_clock: MockClock, awaits: int
) -> None:
    async def tick(node: Node) -> None:
        for _ in range(awaits):
            await trio.sleep(0.015625)

    scheduler = Scheduler(tick_rate=1).add(Node("steps", tick=tick))
    with Profiler(scheduler) as profiler:
        await scheduler.run(1)
    events = [e for e in written(profiler) if e["ph"] == "X"]
    assert events.pop(0)["name"] == "tick 1"
    shown = [event["name"] for event in events]
    if awaits == 0:
        assert shown == []
    elif awaits <= 7:
        assert shown == ["runs", "awaits"] * awaits + ["runs"]
    else:
        assert shown == ["runs", "awaits"] * 7 + ["runs and awaits"]
        assert events[-1]["args"] == {"steps": awaits + 1 - 7}
    assert sum(event["dur"] for event in events) == awaits * 15625.0


async def test_what_is_not_kept_is_counted(autojump_clock: MockClock, tmp_path: Path) -> None:
    async def tick(node: Node) -> None:
        pass

    scheduler = Scheduler(tick_rate=10).add(Node("quick", tick=tick))
    with Profiler(scheduler, keep=100) as profiler:
        await scheduler.run(100)
    profiler.write_trace(tmp_path / "trace.json")
    trace = json.loads((tmp_path / "trace.json").read_text())
    assert trace["otherData"] == {"robot": "horus", "dropped hooks": 900}
    seqs = [e["args"]["seq"] for e in check(trace) if e["ph"] == "X"]
    assert seqs == list(range(901, 1001))


def test_tokens_are_a_counter() -> None:
    scheduler = Scheduler(tick_rate=20, limiter=trio.CapacityLimiter(1))
    for name in "ab":
        scheduler.add(Node(name, tick=lambda node: None), phase=0.0)
    with Profiler(scheduler) as profiler:
        scheduler.run(0.2)
    counts = [e["args"] for e in written(profiler) if e["ph"] == "C"]
    assert {"tokens taken": 1, "calls waiting": 1} in counts
    assert counts[-1] == {"tokens taken": 0, "calls waiting": 0}


def test_an_unwritable_file_is_an_oserror(tmp_path: Path) -> None:
    scheduler = Scheduler()
    with Profiler(scheduler) as profiler:
        scheduler.run(0)
    with pytest.raises(FileNotFoundError):
        profiler.write_trace(tmp_path / "nowhere" / "trace.json")


instants = st.floats(0.0, 100.0)


@given(st.lists(st.tuples(instants, instants, instants, st.lists(instants, max_size=6))))
def test_whatever_was_measured_the_slices_are_legal(
    measured: list[tuple[float, float, float, list[float]]],
) -> None:
    """Threads that were left behind overlap with later hooks; clocks are read twice."""
    spans = [
        Span(
            "tick",
            Tick(seq=seq, scheduled=due),
            asked=max(due, begun - 1),
            begun=begun,
            ended=begun + took,
            running=took,
            steps=len(marks),
            marks=tuple(sorted(marks)),
            status=TickStatus.OK,
        )
        for seq, (due, begun, took, marks) in enumerate(measured, 1)
    ]
    events = list(_Events(0.0, 1, 1).of(spans, on_loop=False))
    check({"displayTimeUnit": "ms", "traceEvents": events})
    for earlier, later in itertools.pairwise(e for e in events if "status" in e["args"]):
        assert earlier["ts"] <= later["ts"]
