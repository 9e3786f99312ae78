"""Reports and statistics: readable, JSON-able, and they say what to do."""

from __future__ import annotations

import dataclasses
import json
import math
import threading
from typing import Any

import pytest
import trio
import trio.testing

import horus_trio as horus
from horus_trio import Health, NodeState
from horus_trio.health import Ledger
from horus_trio.node import resolve_options
from horus_trio.scheduler.report import (
    LONG_WAIT,
    NodeFailure,
    RunReport,
    SchedulerStatistics,
    advice,
)
from horus_trio.scheduler.wiring import check_wiring


class Beats(horus.AsyncNode):
    """A node that is well."""

    async def tick_async(self) -> None:
        """Nothing to do."""


class Fails(horus.AsyncNode):
    async def tick_async(self) -> None:
        raise ValueError("lens cap is on")


def node_statistics(name: str, **values: Any) -> horus.NodeStatistics:
    fresh = Ledger().snapshot(name=name, state=NodeState.RUNNING, rate=10.0, critical=False)
    return dataclasses.replace(fresh, **values)


def pool_statistics(**values: Any) -> horus.PoolStatistics:
    fresh: dict[str, Any] = {
        "tokens": 4,
        "borrowed": 0,
        "waiting": 0,
        "waiting_nodes": (),
        "max_abandoned": 16,
        "abandoned": (),
        "exhausted": False,
    }
    return horus.PoolStatistics(**{**fresh, **values})


def statistics_of(
    *nodes: horus.NodeStatistics, pool: horus.PoolStatistics | None = None
) -> SchedulerStatistics:
    return SchedulerStatistics(
        name="robot",
        running=False,
        elapsed=2.5,
        nodes={node.name: node for node in nodes},
        topics={},
        pool=pool,
        timer="timerfd",
        wake_ups=3,
        health=Health.HEALTHY,
        callback_errors=0,
    )


def report_of(**values: Any) -> RunReport:
    fresh: dict[str, Any] = {
        "name": "robot",
        "reason": "lunch",
        "duration": 2.5,
        "statistics": statistics_of(node_statistics("arm")),
    }
    return RunReport(**{**fresh, **values})


# As text


def test_a_report_begins_with_the_end() -> None:
    lines = str(report_of()).splitlines()
    assert lines[0] == "robot ran 2.50 s and ended: lunch"
    assert lines[1].split() == (
        ["node", "state", "ticks", "rate", "failed", "missed", "late", "p50/p99", "restarts"]
    )
    assert lines[2].split() == ["arm", "running", "0", "0.0", "Hz", "0", "0", "0.0/0.0", "ms", "0"]
    assert len(lines) == 3


def test_the_table_has_the_figures_of_a_node() -> None:
    late = horus.Distribution(count=5, p50=0.0012, p95=0.2, p99=0.0345, max=0.5)
    arm = node_statistics("arm", ok=5, missed=7, restarts=8, lateness=late, abandoned=2, errors=1)
    line = str(report_of(statistics=statistics_of(arm))).splitlines()[2]
    assert line.split() == ["arm", "running", "5", "0.0", "Hz", "3", "7", "1.2/34.5", "ms", "8"]


def test_a_robot_without_nodes_has_a_report() -> None:
    title, head, *_ = str(horus.Scheduler(name="robby").run(0)).splitlines()
    assert title.startswith("robby ran ")
    assert head.split()[:4] == ["node", "state", "ticks", "rate"]


def test_columns_stand_under_each_other() -> None:
    nodes = statistics_of(
        node_statistics("a", ok=5, achieved_rate=99.5, errors=1, timed_out=2, abandoned=3),
        node_statistics("a much longer name", state=NodeState.WAITING_FOR_INPUT, missed=12345),
    )
    lines = str(report_of(statistics=nodes)).splitlines()[1:]
    assert "99.5 Hz" in lines[1]
    assert lines[1].split()[5] == "6"  # all that failed
    for column in ("state", "missed"):
        at = lines[0].index(column)
        assert all(line[at - 1] == " " and line[at] != " " for line in lines)


def test_everything_that_went_wrong_is_named() -> None:
    straggler = horus.AbandonedThread(node="lidar", call="tick", age=12.34, stack="  File x\n")
    text = str(
        report_of(
            failed=(
                NodeFailure(node="imu", fatal=True, error="OSError: gone", traceback="…"),
                NodeFailure(node="cam", fatal=False, error="ValueError: cap", traceback="…"),
            ),
            stragglers=(straggler,),
            shutdown_while_busy=("lidar",),
            hook_errors=("shutdown of node 'cam': boom\n",),
            warnings=("wire it",),
        )
    )
    for line in (
        "FAILED imu (ended the run): OSError: gone",
        "FAILED cam (the others ran on): ValueError: cap",
        "STRAGGLER lidar.tick: its thread has been out for 12.3 s",
        "      File x",
        "NOTE lidar was shut down while a thread of it was still out",
        "HOOK shutdown of node 'cam': boom",
        "WARNING wire it",
    ):
        assert line in text.splitlines()


@pytest.mark.parametrize(
    ("values", "ok"),
    [
        ({}, True),
        ({"warnings": ("x",)}, True),
        ({"hook_errors": ("x",)}, False),
        ({"failed": (NodeFailure(node="a", fatal=False, error="", traceback=""),)}, False),
    ],
)
def test_a_run_is_well_without_failures(values: dict[str, Any], ok: bool) -> None:
    assert report_of(**values).ok is ok


# As JSON


async def test_reports_and_statistics_are_jsonable(
    autojump_clock: trio.testing.MockClock,
) -> None:
    scheduler = horus.Scheduler(tick_rate=10).add(Beats("a", pubs="t"))
    scheduler.add(Fails("b", failure_policy=horus.Restart(1, jitter=0)))
    scheduler.topic("t").subscribe()
    before = json.loads(json.dumps(scheduler.statistics().to_dict(), allow_nan=False))
    assert before["pool"] is None
    report = await scheduler.run(1)
    plain = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert plain["reason"] == "its duration of 1 s was over"
    assert plain["statistics"]["nodes"]["a"]["ok"] == 10
    assert plain["statistics"]["nodes"]["b"]["state"] == "FAILED"
    assert plain["statistics"]["nodes"]["b"]["health"] == "CRITICAL"
    assert plain["statistics"]["topics"]["t"]["subscriptions"][0]["overflow"] == "DROP_OLDEST"
    assert plain["failed"][0]["node"] == "b"
    assert "lens cap is on" in plain["failed"][0]["traceback"]
    assert set(plain) == {field.name for field in dataclasses.fields(RunReport)}


def test_what_json_cannot_say_is_null() -> None:
    odd = node_statistics("a", rate=math.inf, achieved_rate=math.nan)
    plain = statistics_of(odd).to_dict()["nodes"]["a"]
    assert (plain["rate"], plain["achieved_rate"]) == (None, None)


async def test_a_report_keeps_no_frame_alive(autojump_clock: trio.testing.MockClock) -> None:
    report = await horus.Scheduler().add(Beats("a")).add(Fails("b")).run(60)

    def leaves(value: object) -> list[object]:
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return [
                leaf for f in dataclasses.fields(value) for leaf in leaves(getattr(value, f.name))
            ]
        if isinstance(value, dict):
            return [leaf for item in value.values() for leaf in leaves(item)]
        if isinstance(value, (tuple, list)):
            return [leaf for item in value for leaf in leaves(item)]
        return [value]

    assert report.failed
    assert not [leaf for leaf in leaves(report) if isinstance(leaf, BaseException)]


async def test_a_failure_tells_where_and_how_often(
    autojump_clock: trio.testing.MockClock,
) -> None:
    scheduler = horus.Scheduler(tick_rate=10).add(Beats("a"))
    # Fails at 0.0, is back at 0.07; fails at 0.1, is back at 0.24, too late for 0.2; fails at 0.3.
    policy = horus.Restart(2, backoff=0.07, jitter=0)
    scheduler.add(Fails("b", phase=0.0, failure_policy=policy))
    report = await scheduler.run(5)
    (failure,) = report.failed
    assert failure.error == (
        "ValueError: lens cap is on; in node 'b', tick 4, failure 3 of 2 in 60 s"
    )
    assert not failure.fatal
    assert f"FAILED b (the others ran on): {failure.error}" in str(report)


# Advice


def test_without_a_pool_there_is_no_advice() -> None:
    assert advice(statistics_of(node_statistics("a"))) == []


def test_a_pool_that_suffices_gets_no_advice() -> None:
    quick = horus.Distribution(count=10, p50=0.001, p95=0.01, p99=0.01, max=0.01)
    node = node_statistics("a", waiting_for_thread=quick)
    assert advice(statistics_of(node, pool=pool_statistics())) == []


def test_a_saturated_pool_names_who_waits_who_takes_and_the_remedy() -> None:
    def node(name: str, waits: float, runs: float) -> horus.NodeStatistics:
        return node_statistics(
            name,
            waiting_for_thread=horus.Distribution(count=9, p50=waits, p95=waits, max=waits),
            duration=horus.Distribution(count=9, p50=runs, p95=runs, max=runs),
        )

    texts = advice(
        statistics_of(
            node("victim", 0.3, 0.01),
            node("camera", 0.001, 2.0),
            node("lidar", 0.001, 1.0),
            node("gps", 0.001, 0.5),
            node("lamp", 0.001, 0.001),
            pool=pool_statistics(),
        )
    )
    assert texts == [
        (
            "node 'victim' waited for a thread (p95 0.3 s): the pool's 4 tokens are saturated, "
            "most by camera, lidar, gps; give slow nodes thread='own', make them async, or pass "
            "a larger limiter"
        )
    ]


@pytest.mark.parametrize(
    ("waits", "state", "told"),
    [
        (0.049, NodeState.RUNNING, False),
        (LONG_WAIT, NodeState.RUNNING, True),
        (0.0, NodeState.WAITING_FOR_THREAD, True),  # it waits since then, and has had none yet
    ],
    ids=str,
)
def test_who_waits_long_or_still_waits_is_told(waits: float, state: NodeState, told: bool) -> None:
    waited = horus.Distribution(count=1, p50=waits, p95=waits, max=waits)
    node = node_statistics("a", waiting_for_thread=waited, state=state)
    assert bool(advice(statistics_of(node, pool=pool_statistics()))) is told


def test_an_exhausted_pool_names_whose_threads_are_out() -> None:
    out = tuple(
        horus.AbandonedThread(node=name, call="tick", age=1.0, stack="")
        for name in ("sonar", "lidar", "sonar")
    )
    (text,) = advice(
        statistics_of(pool=pool_statistics(max_abandoned=2, abandoned=out, exhausted=True))
    )
    assert text.startswith("3 abandoned threads are out, more than max_abandoned=2")
    assert "device calls of lidar, sonar" in text


async def test_on_virtual_time_nothing_blocks_the_loop(
    autojump_clock: trio.testing.MockClock,
) -> None:
    report = await horus.Scheduler(tick_rate=10).add(Beats("a")).run(1)
    assert (report.statistics.stall_count, report.statistics.stalls) == (0, ())


def test_what_blocked_the_loop_is_told_once_for_each_place_with_the_longest_time() -> None:
    def stall(where: str, duration: float, node: str | None = "arm") -> horus.Stall:
        what = "the process was suspended" if not where else "tick 1"
        return horus.Stall(node=node, what=what, where=where, duration=duration, advice="do less")

    stalls = (
        stall("arm.py:3 in tick", 0.6),
        stall("arm.py:3 in tick", 2.0),
        stall("arm.py:3 in tick", 0.9),
        stall("", 3.0),  # nobody's fault
        stall("main.py:8 in main", 0.7, None),
    )
    statistics = dataclasses.replace(statistics_of(node_statistics("arm")), stalls=stalls)
    assert advice(statistics) == [
        "node 'arm' blocked the loop for up to 2 s at arm.py:3 in tick; do less",
        "tick 1 blocked the loop for up to 0.7 s at main.py:8 in main; do less",
    ]


def test_a_saturated_robot_says_so_itself() -> None:
    gate = threading.Event()
    begun = threading.Semaphore(0)

    class Hogs(horus.Node):
        def tick(self) -> None:
            begun.release()
            gate.wait(20)

    class Starves(horus.Node):
        def tick(self) -> None:
            self.request_stop()

    scheduler = horus.Scheduler(tick_rate=1)
    for n in range(4):
        scheduler.add(Hogs(f"hog {n}", phase=0.0))
    scheduler.add(Starves("victim", phase=0.05))

    def release() -> None:
        for _ in range(4):
            begun.acquire()
        threading.Event().wait(0.25)
        gate.set()

    helper = threading.Thread(target=release)
    helper.start()
    report = scheduler.run(20)
    helper.join()
    (text,) = [text for text in report.warnings if "'victim'" in text]
    assert "4 tokens are saturated" in text
    assert "hog" in text
    assert "thread='own'" in text
    assert f"WARNING {text}" in str(report)


# Wiring


def wiring(**nodes: dict[str, Any]) -> list[str]:
    return check_wiring({name: resolve_options(name, given) for name, given in nodes.items()})


def test_a_topic_nobody_publishes_is_told_with_the_nearest() -> None:
    assert wiring(camera={"pubs": "camera_out"}, control={"subs": "camera_ot"}) == [
        (
            "node 'control' reads topic 'camera_ot', which no node declares to publish; "
            "did you mean 'camera_out' of node 'camera'?"
        )
    ]


def test_topics_to_tick_on_count_as_read() -> None:
    (text,) = wiring(camera={"pubs": "camera_out"}, control={"on": "camra_out"})
    assert "'camra_out'" in text
    assert "did you mean 'camera_out'" in text


def test_where_everybody_declares_a_topic_without_a_publisher_is_told() -> None:
    assert wiring(camera={"pubs": "image"}, control={"subs": "joystick"}) == [
        "node 'control' reads topic 'joystick', which no node declares to publish"
    ]


def test_a_node_that_declares_only_what_it_ticks_on_is_no_publisher() -> None:
    assert wiring(camera={"pubs": "image"}, control={"on": "joystick"}) == [
        "node 'control' reads topic 'joystick', which no node declares to publish"
    ]


def test_where_somebody_declares_nothing_he_may_publish_it() -> None:
    assert wiring(camera={"pubs": "image"}, silent={}, control={"subs": "joystick"}) == []


def test_of_a_robot_of_one_node_the_others_are_outside() -> None:
    assert wiring(control={"subs": "frame", "pubs": "cmd_vel"}) == []


def test_without_any_declared_publisher_nothing_is_told() -> None:
    assert wiring(camera={}, control={"subs": "image"}) == []
    assert wiring(control={"subs": "image"}) == []


def test_declared_types_are_compared() -> None:
    class Image:
        pass

    class Depth(Image):
        pass

    reads = {"subs": horus.Sub("t", type=Image)}
    assert wiring(a={"pubs": horus.Pub("t", type=Image)}, b=reads) == []
    assert wiring(a={"pubs": horus.Pub("t", type=Depth)}, b=reads) == []
    assert wiring(a={"pubs": "t"}, b=reads) == []
    assert wiring(a={"pubs": horus.Pub("t", type=int)}, b={"subs": "t"}) == []
    (text,) = wiring(a={"pubs": horus.Pub("t", type=int)}, b=reads)
    assert text.startswith("node 'b' reads topic 't' as ")
    assert text.endswith("Image, but node 'a' publishes int")
    assert wiring(a={"pubs": horus.Pub("t", type=int)}, b={**reads, "on": "t"}) == [text]
    misread = {**reads, "subs": [horus.Sub("u", type=int), horus.Sub("t", type=Image)]}
    two = {"pubs": [horus.Pub("u", type=int), horus.Pub("t", type=int)]}
    assert wiring(a=two, b=misread) == [text]


async def test_wiring_is_told_at_the_start_and_in_the_report(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    scheduler = horus.Scheduler().add(Beats("a", pubs="speed")).add(Beats("b", subs="sped"))
    report = await scheduler.run(0)
    (text,) = report.warnings
    assert "did you mean 'speed' of node 'a'?" in text
    assert text in caplog.text
    assert report.ok  # a warning is no failure
