"""Inputs whose age is watched: when one becomes stale and when it recovers, and who is to blame."""

from __future__ import annotations

import json
import logging
import re
import threading
import time
from typing import Any

import pytest
import trio

import horus_trio as horus
from horus_trio import Health, InputStatistics, Node, Overflow, Pub, Scheduler, Sub
from horus_trio.scheduler.watchdog.culprit import Culprit, who_runs
from horus_trio.testing import open_harness


async def well(node: Node) -> None:
    pass


def reader(name: str = "control", *, rate: float | None = 10.0, **sub: Any) -> Node:
    return Node(name, tick=well, rate=rate, subs=Sub("scan", max_age=0.5, **sub))


def inputs(statistics: horus.NodeStatistics) -> InputStatistics:
    [entry] = statistics.inputs
    return entry


# Events


async def test_stale_and_recovered_are_counted_at_their_instants() -> None:
    calls: list[tuple[str, float]] = []
    node = reader(on_stale=lambda topic: calls.append((topic, trio.current_time())))
    async with open_harness(node) as h:
        assert inputs(h.node_statistics()) == InputStatistics(
            topic="scan", max_age=0.5, is_stale=False, stale=0, recovered=0
        )
        await h.advance(0.4)
        h.publish("scan", 1)
        await h.advance(0.4)
        h.publish("scan", 2)
        assert inputs(h.node_statistics()).stale == 0
        await h.advance(0.6)
        assert calls == [("scan", 1.3)]
        entry = inputs(h.node_statistics())
        assert (entry.is_stale, entry.stale, entry.recovered) == (True, 1, 0)
        assert h.node_statistics().health is Health.WARNING
        await h.advance(5)
        assert len(calls) == 1  # once, however long it lasts
        h.publish("scan", 3)
        await h.settle()
        entry = inputs(h.node_statistics())
        assert (entry.is_stale, entry.stale, entry.recovered) == (False, 1, 1)
        assert h.node_statistics().health is Health.HEALTHY
        await h.advance(0.6)
        assert calls == [("scan", 1.3), ("scan", 6.9)]
        assert h.statistics().nodes["control"].inputs[0].stale == 2
        assert json.loads(json.dumps(h.statistics().to_dict()))["nodes"]["control"]["inputs"] == [
            {"topic": "scan", "max_age": 0.5, "is_stale": True, "stale": 2, "recovered": 1}
        ]


async def test_an_input_is_watched_from_the_first_tick_to_the_last() -> None:
    broken = False

    async def init(node: Node) -> None:
        await trio.sleep(1.0)

    async def tick(node: Node) -> None:
        if broken:
            raise ValueError

    late = Node("late", init=init, tick=tick, rate=10.0, subs=Sub("scan", max_age=0.5))
    async with open_harness(Node("first", tick=well)) as h:
        h.scheduler.add(late, failure_policy=horus.Restart(max_restarts=0))
        await h.advance(0.9)
        assert h.state("late") is horus.NodeState.STARTING
        assert inputs(h.node_statistics("late")).is_stale is False
        await h.advance(0.55)
        assert inputs(h.node_statistics("late")).is_stale is False
        await h.advance(0.1)
        assert inputs(h.node_statistics("late")).is_stale is True
        broken = True
        await h.advance(2.0)
        assert h.state("late") is horus.NodeState.FAILED
        assert inputs(h.node_statistics("late")) == InputStatistics(
            topic="scan", max_age=0.5, is_stale=False, stale=1, recovered=0
        )


async def test_an_input_that_also_triggers_ticks_does_both() -> None:
    ticks: list[float] = []

    async def tick(node: Node) -> None:
        ticks.append(node.recv("scan"))

    async with open_harness(Node("a", tick=tick, on="scan", subs=Sub("scan", max_age=0.5))) as h:
        for number in range(3):
            await h.advance(1)
            h.publish("scan", number)
            await h.settle()
        assert ticks == [0, 1, 2]
        assert (inputs(h.node_statistics()).stale, inputs(h.node_statistics()).recovered) == (3, 3)


async def test_a_message_that_a_full_subscription_refused_is_a_message_too() -> None:
    node = reader(capacity=1, overflow=Overflow.DROP_NEWEST)
    async with open_harness(node) as h:
        h.publish("scan", 0)
        await h.advance(0.7)
        assert inputs(h.node_statistics()).is_stale
        h.publish("scan", 1)  # dropped, but the newest of the topic
        await h.advance(0.4)
        entry = inputs(h.node_statistics())
        assert (entry.is_stale, entry.recovered) == (False, 1)


async def test_a_restart_gives_an_input_its_time_again_and_keeps_the_counts() -> None:
    async with open_harness(reader(), failure_policy=horus.Restart(backoff=1.0, jitter=0)) as h:
        await h.advance(0.95)
        assert inputs(h.node_statistics()).stale == 1
        h.fail("tick", OSError, at=1)
        await h.advance(0.2)
        assert h.state() is horus.NodeState.BACKING_OFF
        assert not inputs(h.node_statistics()).is_stale
        await h.advance(1.2)
        assert inputs(h.node_statistics()).stale == 1
        await h.advance(0.6)
        assert inputs(h.node_statistics()).stale == 2


async def test_an_on_stale_that_blocks_the_loop_is_named() -> None:
    found: list[Culprit | None] = []

    def blocks(topic: str) -> None:
        asks = threading.Thread(target=lambda: found.append(who_runs(loop)))
        asks.start()
        asks.join()

    loop = threading.get_ident()
    async with open_harness(reader(on_stale=blocks)) as h:
        await h.advance(0.6)
    [culprit] = found
    assert culprit is not None
    assert (culprit.node, culprit.what) == ("control", "on_stale")
    assert culprit.where.startswith(f"{__file__}:")
    assert culprit.where.endswith(" in blocks")
    assert " more]" not in culprit.stack  # it is short, and whole
    assert culprit.advice


async def test_an_on_stale_that_raises_is_counted_and_logged_and_changes_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(topic: str) -> None:
        raise KeyError(topic)

    async with open_harness(reader(on_stale=fail)) as h:
        await h.advance(3)
        statistics = h.node_statistics()
        assert statistics.observer_errors == 1
        assert statistics.failures == 0
        assert "KeyError: 'scan'" in str(statistics.last_error)
    assert "node 'control': on_stale failed" in caplog.text
    assert "KeyError: 'scan'" in caplog.text


async def test_inputs_without_max_age_are_not_watched() -> None:
    async with open_harness(Node("a", tick=well, rate=1, subs="scan")) as h:
        await h.advance(5)
        assert h.node_statistics().inputs == ()


# Asking oneself


async def test_latest_and_age() -> None:
    node = reader()
    async with open_harness(node) as h:
        assert node.age("scan") == float("inf")
        assert node.latest("scan", "none") == "none"
        h.publish("scan", None)
        await h.advance(0.4)
        assert node.age("scan") == pytest.approx(0.4)
        assert node.latest("scan", "none") is None  # a message like any other
        assert node.latest("scan", "none", max_age=0.3) == "none"
        await h.advance(0.2)
        assert node.latest("scan", "none") == "none"  # older than its Sub allows
        assert node.latest("scan", "none", max_age=1.0) is None
        with pytest.raises(horus.ConfigurationError, match="max_age=-1"):
            node.latest("scan", max_age=-1)
        with pytest.raises(horus.ConfigurationError, match="nan"):
            node.latest("scan", max_age=float("nan"))


# Who is to blame


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if "stale" in r.getMessage()]


async def lidar(node: Node) -> None:
    node.send("scan", 1)


BLAMES = {
    "in a tick": "its publisher 'lidar' has been in tick 1 for 0.5 s (awaits something, at",
    "backing off": "its publisher 'lidar' is backing off",
    "suspended": "its publisher 'lidar' is suspended",
    "failed": "its publisher 'lidar' is failed",
    "paused": "its publisher 'lidar' is paused",
    "safe": "its publisher 'lidar' is safe state",
    "silent": "its publisher 'lidar' runs, and sends nothing",
    "waiting": "its publisher 'lidar' has been in tick 1 for 0.5 s (waits",
}


@pytest.mark.parametrize("state", BLAMES)
async def test_the_publisher_is_named_with_what_it_does(
    state: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def tick(node: Node) -> None:
        match state:
            case "in a tick":
                await trio.sleep(60)
            case "waiting":
                await node.send_async("full", 1)
                await node.send_async("full", 2)
            case "backing off" | "suspended" | "failed":
                raise OSError("no light")

    policies: dict[str, horus.FailurePolicy] = {
        "backing off": horus.Restart(backoff=10, jitter=0),
        "suspended": horus.CircuitBreaker(1, cooldown=10),
    }
    publisher = Node(
        "lidar",
        tick=tick,
        rate=0.5,
        phase=0.0,
        pubs=Pub("scan"),
        critical=state == "safe",
        failure_policy=policies.get(state, horus.Restart(0)),
    )
    block = Sub("full", capacity=1, overflow=Overflow.BLOCK)
    slow = Node("slow", tick=well, rate=0.01, phase=50.0, subs=block)
    async with open_harness(publisher, reader(rate=0.2), slow) as h:
        if state == "paused":
            h.scheduler.pause("lidar")
        if state == "safe":
            h.scheduler.emergency_stop()
        await h.advance(1)
    [text] = warnings(caplog)
    assert text.startswith("node 'control': its input 'scan' is stale, without a message for 0.5 s")
    expected = BLAMES[state]
    if state == "failed":
        expected = "is failed"
    assert expected in text
    if state == "waiting":
        assert "waits for room in topic 'full', held up by 'slow'" in text


async def test_whoever_sent_last_is_the_publisher_if_none_is_declared(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with open_harness(Node("lidar", tick=lidar, rate=10), reader()) as h:
        await h.advance(1)
        h.scheduler.pause("lidar")
        await h.advance(1)
    [text] = warnings(caplog)
    assert text.endswith("its publisher 'lidar' is paused")


async def test_a_topic_that_nobody_is_known_to_publish(caplog: pytest.LogCaptureFixture) -> None:
    async with open_harness(reader()) as h:
        await h.advance(1)
        h.publish("scan", 1)  # from outside
        await h.advance(1)
        h.publish("scan", 1)
        await h.settle()
    [text] = warnings(caplog)  # the second falls to the throttle
    assert text.endswith("no node is known to publish it")


async def test_an_input_that_flaps_does_not_flood_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "horus_trio")
    async with open_harness(reader()) as h:
        for _ in range(50):
            await h.advance(0.6)
            h.publish("scan", 1)
        assert inputs(h.node_statistics()).stale == inputs(h.node_statistics()).recovered == 50
    assert len(warnings(caplog)) <= 6
    recoveries = [r for r in caplog.records if "has recovered" in r.getMessage()]
    assert 1 <= len(recoveries) <= 6


async def test_a_recovery_is_logged_with_its_length(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "horus_trio")
    async with open_harness(reader()) as h:
        await h.advance(2)
        h.publish("scan", 1)
        await h.settle()
    assert "node 'control': its input 'scan' has recovered, after 2 s" in caplog.text


async def test_a_publisher_that_hangs_in_its_init_is_named_with_its_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def init(node: Node) -> None:
        await trio.sleep(60)  # here

    reads = Node("control", tick=well, rate=10, subs=Sub("scan", max_age=0.5))
    async with open_harness(reads) as h:
        h.scheduler.add(Node("lidar", tick=well, rate=10, init=init, pubs="scan"))
        await h.advance(1)
    assert re.search(r"publisher 'lidar' is starting, at .*test_inputs.py:\d+ in init", caplog.text)


def test_a_publisher_stuck_in_a_thread_is_named(caplog: pytest.LogCaptureFixture) -> None:
    released = threading.Event()

    def hang(node: Node) -> None:
        released.wait(20)

    publisher = Node("lidar", tick=hang, rate=20, pubs="scan", tick_timeout=0.05)
    try:
        with horus.background(
            [publisher, Node("control", tick=well, subs=Sub("scan", max_age=0.4))]
        ):
            deadline = time.monotonic() + 10
            while not warnings(caplog) and time.monotonic() < deadline:
                time.sleep(0.01)
            released.set()
    finally:
        released.set()
    assert "its publisher 'lidar' is stuck, at" in caplog.text


async def test_messages_of_an_earlier_run_do_not_count(
    autojump_clock: trio.testing.MockClock,
) -> None:
    scheduler = Scheduler(signals=False).add(reader())
    for _ in range(2):
        scheduler.topic("scan").send(1)
        report = await scheduler.run(0.9)
        assert inputs(report.statistics.nodes["control"]).stale == 1


async def test_only_while_it_is_stale_its_sender_pays_for_being_heard() -> None:
    """Hearing of each arrival costs the sender a wake-up of the loop."""
    async with open_harness(reader()) as h:
        heard = []
        for publishes in (True, False, True):
            if publishes:
                h.publish("scan", 1)
            await h.advance(0.25 if publishes else 0.75)
            heard.append(bool(h.topic("scan")._listening))
    assert heard == [False, True, False]
