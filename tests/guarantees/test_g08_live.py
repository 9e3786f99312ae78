"""G8 supervision: a node that backs off, rests or is stuck can be paused, removed and stopped."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import trio

import horus_trio as horus
from horus_trio import (
    CircuitBreaker,
    Ignore,
    Node,
    NodeState,
    Restart,
    Scheduler,
)
from horus_trio.testing import FakeDevice, Harness, blocking_delay, open_harness


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    logger = logging.getLogger("horus_trio")
    logger.setLevel(logging.CRITICAL + 1)
    yield
    logger.setLevel(logging.NOTSET)


class Broken(Exception):
    pass


ONCE = Restart(max_restarts=0)
SIBLING: dict[str, Any] = {"rate": 8.0, "phase": 1 / 64}


async def well(node: Node) -> None:
    pass


# Live control while a node backs off, rests or is stuck


async def backing_off(h: Harness) -> None:
    """Let tick 2, at 0.125 s, fail; the node backs off until 1.125 s."""
    await h.advance(0.5)
    assert h.state("a") is NodeState.BACKING_OFF


def flaky(calls: list[tuple[str, float]]) -> Node:
    def writes(what: str) -> Callable[[Node], Any]:
        async def hook(node: Node) -> None:
            calls.append((what, node.now))

        return hook

    async def tick(node: Node) -> None:
        assert node.current_tick is not None
        calls.append((f"tick {node.current_tick.seq}", node.now))
        if node.current_tick.seq == 2:
            raise Broken

    return Node("a", tick=tick, init=writes("init"), shutdown=writes("shutdown"))


SLOWLY = Restart(backoff=1.0625, max_backoff=2.0, jitter=0.0)


def robot(calls: list[tuple[str, float]]) -> Scheduler:
    scheduler = Scheduler(8.0, signals=False)
    scheduler.add(flaky(calls), phase=0.0, failure_policy=SLOWLY)
    scheduler.add(Node("sibling", tick=well), **SIBLING)
    return scheduler


BEFORE = [("init", 0.0), ("tick 1", 0.0), ("tick 2", 0.125), ("shutdown", 0.125)]


async def test_a_backoff_ends_at_its_instant() -> None:
    calls: list[tuple[str, float]] = []
    async with open_harness(robot(calls)) as h:
        await backing_off(h)
        await h.advance(0.875)
        assert calls == [*BEFORE, ("init", 1.1875), ("tick 11", 1.25)]
        statistics = h.node_statistics("a")
        assert (statistics.missed, statistics.restarts) == (8, 1)


async def test_a_node_removed_while_it_backs_off_is_gone_without_another_hook() -> None:
    calls: list[tuple[str, float]] = []
    async with open_harness(robot(calls)) as h:
        await backing_off(h)
        h.scheduler.remove("a")
        await h.settle()
        assert h.statistics().nodes.keys() == {"sibling"}
        await h.advance(2.0)
        assert calls == BEFORE


async def test_a_stop_while_a_node_backs_off_takes_no_time() -> None:
    calls: list[tuple[str, float]] = []
    async with open_harness(robot(calls)) as h:
        await backing_off(h)
        report = await h.stop()
        assert h.now == 0.5
    assert calls == BEFORE
    assert report.statistics.nodes["a"].state is NodeState.STOPPED
    assert report.ok


async def test_a_node_paused_while_it_backs_off_is_initialised_and_waits() -> None:
    calls: list[tuple[str, float]] = []
    async with open_harness(robot(calls)) as h:
        await backing_off(h)
        h.scheduler.pause("a")
        await h.advance(1.5)  # to 2.0 s
        assert calls == [*BEFORE, ("init", 1.1875)]
        assert h.state("a") is NodeState.PAUSED
        missed = h.node_statistics("a").missed
        assert missed == 2  # those at 0.25 and 0.375 s; paused grid points are none
        h.scheduler.resume("a")
        await h.advance(0.25)
        assert calls[5:] == [("tick 5", 2.0), ("tick 6", 2.125)]


async def test_a_node_resumed_while_it_backs_off_waits_for_its_init() -> None:
    calls: list[tuple[str, float]] = []
    async with open_harness(robot(calls)) as h:
        await backing_off(h)
        h.scheduler.pause("a")
        await h.advance(0.25)
        h.scheduler.resume("a")
        await h.advance(0.5)  # to 1.25 s
        assert calls == [*BEFORE, ("init", 1.1875)]
        await h.advance(0.125)
        assert calls[5:] == [("tick 9", 1.25)]


async def test_a_rate_set_while_a_node_backs_off_holds_after_it() -> None:
    calls: list[tuple[str, float]] = []
    async with open_harness(robot(calls)) as h:
        await backing_off(h)
        h.scheduler.set_rate("a", 2.0)
        await h.advance(2.0)  # to 2.5 s
        assert [instant for what, instant in calls[5:]] == [1.5, 2.0]


async def test_what_arrives_while_a_node_backs_off_is_one_tick_after_it() -> None:
    ticks: list[tuple[float, list[int]]] = []

    async def tick(node: Node) -> None:
        ticks.append((node.now, node.recv_all("word")))
        if len(ticks) == 2:
            raise Broken

    async with open_harness(Node("a", tick=tick), on="word", failure_policy=SLOWLY) as h:
        for word in range(2):
            h.publish("word", word)
            await h.settle()
        await h.advance(0.5)
        assert h.state() is NodeState.BACKING_OFF
        for word in range(2, 5):
            h.publish("word", word)
        await h.advance(2.0)
        assert ticks == [(0.0, [0]), (0.0, [1]), (1.0625, [2, 3, 4])]


async def test_a_node_removed_while_its_breaker_is_open_is_shut_down() -> None:
    calls: list[tuple[str, float]] = []
    scheduler = Scheduler(8.0, signals=False)
    scheduler.add(flaky(calls), phase=0.0, failure_policy=CircuitBreaker(1, cooldown=1.0))
    scheduler.add(Node("sibling", tick=well), **SIBLING)
    async with open_harness(scheduler) as h:
        await h.advance(0.5)
        assert h.state("a") is NodeState.SUSPENDED
        h.scheduler.remove("a")
        await h.settle()
        assert calls == [*BEFORE[:3], ("shutdown", 0.5)]


async def test_an_open_breaker_lets_one_probe_through() -> None:
    """Half open: the probe decides alone, and its success begins the count anew."""
    ticks: list[float] = []
    verdicts = iter([Broken(), Broken(), Broken(), None, Broken(), None, Broken(), Broken()])

    async def tick(node: Node) -> None:
        ticks.append(node.now)
        error = next(verdicts, None)
        if error is not None:
            raise error

    policy = CircuitBreaker(2, cooldown=1.0625)
    async with open_harness(Node("a", tick=tick), rate=8.0, failure_policy=policy) as h:
        await h.advance(0.125)
        assert h.state() is NodeState.RUNNING  # one failure leaves it closed
        await h.advance(0.125)
        assert h.state() is NodeState.SUSPENDED
        assert h.node_statistics().health is horus.Health.WARNING
        await h.advance(0.875)
        assert h.state() is NodeState.SUSPENDED
        await h.advance(0.125)
        assert h.state() is NodeState.RUNNING  # half open, since 1.1875 s
        assert ticks == [0.0, 0.125]
        await h.advance(0.125)
        assert ticks == [0.0, 0.125, 1.25]  # a probe that failed
        assert h.state() is NodeState.SUSPENDED
        await h.advance(1.75)
        # The probe of 2.375 s is well; then one failure, a success, and two failures in a row.
        assert ticks[3:] == [2.375, 2.5, 2.625, 2.75, 2.875]
        assert h.state() is NodeState.SUSPENDED
        statistics = h.node_statistics()
        assert (statistics.errors, statistics.ok, statistics.restarts) == (6, 2, 0)


@pytest.mark.parametrize("kind", ["def", "async"])
async def test_a_tick_that_an_emergency_cut_short_was_no_success(kind: str) -> None:
    """It leaves the count of failures in a row as it was."""
    calls = iter(["fails", "is cut short", "fails"])

    async def on_loop(node: Node) -> None:
        match next(calls, "well"):
            case "fails":
                raise Broken
            case "is cut short":
                await trio.sleep(3.0)

    def in_thread(node: Node) -> None:
        match next(calls, "well"):
            case "fails":
                raise Broken
            case "is cut short":
                for _ in range(30):
                    blocking_delay(0.1)
                    node.check_cancelled()

    policy = CircuitBreaker(2, cooldown=10.0)
    node = Node("a", tick=on_loop if kind == "async" else in_thread, critical=True)
    async with open_harness(node, rate=8.0, failure_policy=policy) as h:
        await h.advance(0.3)
        h.scheduler.emergency_stop("a test")
        await h.advance(0.5)
        assert h.state() is NodeState.SAFE
        h.scheduler.reset_emergency()
        await h.advance(0.25)
        statistics = h.node_statistics()
        assert (statistics.errors, statistics.cancelled, statistics.ok) == (2, 1, 0)
        assert h.state() is NodeState.SUSPENDED


async def test_a_node_removed_while_it_is_stuck_gives_its_thread_its_time() -> None:
    calls: list[tuple[str, float]] = []
    device = FakeDevice()

    def tick(node: Node) -> None:
        device.read()

    def shutdown(node: Node) -> None:
        calls.append(("shutdown", node.now))
        device.close()

    def enter_safe_state(node: Node) -> None:
        calls.append(("enter_safe_state", node.now))

    node = Node("a", tick=tick, shutdown=shutdown, enter_safe_state=enter_safe_state)
    scheduler = Scheduler(8.0, signals=False)
    options: dict[str, Any] = {"tick_timeout": 0.25, "shutdown_timeout": 0.5}
    scheduler.add(node, phase=0.0, failure_policy=ONCE, **options)
    scheduler.add(Node("sibling", tick=well), **SIBLING)
    async with open_harness(scheduler) as h:
        await h.advance(1.0)
        assert h.state("a") is NodeState.STUCK
        assert h.node_statistics("a").last_error is not None  # though its thread may never return
        h.scheduler.remove("a")
        await h.advance(1.0)
        assert calls == [("shutdown", 1.5)]  # it freed the reader
        report = await h.stop()
    assert report.shutdown_while_busy == ("a",)
    assert report.stragglers == ()


async def test_a_thread_that_times_out_during_the_stop_still_has_its_time() -> None:
    """Its ``tick_timeout`` is over before its ``shutdown_timeout``; it returns between the two."""
    calls: list[tuple[str, float]] = []

    def tick(node: Node) -> None:
        blocking_delay(1.0)
        calls.append(("returned", node.now))

    async def shutdown(node: Node) -> None:
        calls.append(("shutdown", node.now))

    node = Node("a", tick=tick, shutdown=shutdown, tick_timeout=0.5, shutdown_timeout=2.0)
    async with open_harness(node, rate=1.0, failure_policy=Ignore()) as h:
        await h.advance(0.25)
        report = await h.stop()
    assert calls == [("returned", 1.0), ("shutdown", 1.0)]
    assert report.shutdown_while_busy == ()
    assert report.statistics.nodes["a"].abandoned == 1


async def test_an_arrival_while_a_node_backs_off_is_one_tick_and_no_more() -> None:
    ticks: list[float] = []

    async def tick(node: Node) -> None:
        ticks.append(node.now)
        node.recv_all("scan")
        raise Broken

    policy = Restart(within=None, backoff=1.0, max_backoff=1.0, jitter=0.0)
    async with open_harness(Node("a", tick=tick, on="scan", failure_policy=policy)) as h:
        h.publish("scan", 1)
        await h.advance(0.5)
        assert h.state("a") is NodeState.BACKING_OFF
        h.publish("scan", 2)
        h.publish("scan", 3)
        await h.advance(9.5)
        assert ticks == [0.0, 1.0]
        statistics = h.node_statistics("a")
        assert statistics.ticks_released == statistics.errors == 2
        assert statistics.coalesced == 0  # nobody listens meanwhile
