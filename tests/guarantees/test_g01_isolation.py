"""G1 isolation: what one node does never lowers an async sibling's rate.

The mixed load runs in real time with real threads, as only that can show it. The rest has a virtual
clock, which the test moves where there are threads, so that nothing depends on the machine's speed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import horus_trio as horus
from horus_trio import NodeState, Overflow, Sub


async def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    """Wait in real time for what a thread does; the test's clock stands still meanwhile."""
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up, "it never came true"
        await trio.to_thread.run_sync(time.sleep, 0.001)


def state_of(scheduler: horus.Scheduler, name: str) -> NodeState:
    return scheduler.statistics().nodes[name].state


def idle(node: horus.Node) -> None:
    pass


class Hanging(horus.Node):
    """Its ticks return when the test says so, and never by themselves."""

    def __init__(self, name: str, release: threading.Event) -> None:
        super().__init__(name)
        self.release = release
        self.started = 0

    def tick(self) -> None:
        self.started += 1
        self.release.wait(8)


# The whole mixed load, in real time


def mixed_load(*, endless_flood: bool) -> tuple[int, horus.RunReport]:
    """Three seconds of everything at once; how many of 300 ticks the control loop made."""
    release = threading.Event()
    scheduler = horus.Scheduler()
    seen: list[int] = []

    async def control(node: horus.Node) -> None:
        seen.append(node.recv("flood", -1))

    def blocked(node: horus.Node) -> None:
        time.sleep(0.2)

    async def failing(node: horus.Node) -> None:
        raise ValueError("every single time")

    def flood(node: horus.Node) -> None:
        number = 0
        while endless_flood or number < 1000:
            if number % 100 == 0:
                node.check_cancelled()
            node.send("flood", number)
            number += 1

    scheduler.add(horus.Node("control", tick=control, rate=100, subs="flood"))
    for number in range(8):
        scheduler.add(horus.Node(f"blocked {number}", tick=blocked, rate=10))
    scheduler.add(Hanging("hung", release), rate=10, tick_timeout=0.3, shutdown_timeout=0.1)
    scheduler.add(horus.Node("failing", tick=failing, rate=100, failure_policy=horus.Ignore()))
    scheduler.add(horus.Node("flood", tick=flood, rate=100, thread="own", tick_timeout=None))
    try:
        report = scheduler.run(3)
    finally:
        release.set()
    assert max(seen) > 0  # it did read the flooded topic
    return report.statistics.nodes["control"].ok, report


def best_of_three(measure: Callable[[], int], enough: int) -> int:
    """The machine's other work can only lower a figure, so the best of three is the engine's."""
    best = 0
    for _ in range(3):
        best = max(best, measure())
        if best >= enough:
            break
    return best


@pytest.mark.alone
def test_a_control_loop_keeps_its_rate_beside_one_blocking_node() -> None:
    async def control(node: horus.Node) -> None:
        pass

    def blocking(node: horus.Node) -> None:
        time.sleep(0.1)

    def measure() -> int:
        report = horus.run(
            horus.Node("control", tick=control, rate=100),
            horus.Node("blocking", tick=blocking, rate=100),
            duration=0.3,
        )
        return report.statistics.nodes["control"].ok

    assert best_of_three(measure, 28) >= 28


@pytest.mark.alone
@pytest.mark.slow
def test_a_control_loop_keeps_its_rate_beside_the_whole_mixed_load() -> None:
    reports: list[horus.RunReport] = []

    def measure() -> int:
        ticks, report = mixed_load(endless_flood=False)
        reports.append(report)
        return ticks

    assert best_of_three(measure, 295) >= 295
    nodes = reports[-1].statistics.nodes
    assert all(nodes[f"blocked {number}"].ok > 0 for number in range(8))
    assert nodes["hung"].abandoned == 1
    assert nodes["hung"].state is NodeState.STUCK
    assert nodes["failing"].errors >= 200
    assert reports[-1].statistics.topics["flood"].sent >= 30_000


@pytest.mark.alone
@pytest.mark.slow
def test_a_control_loop_keeps_its_rate_when_the_flood_never_pauses() -> None:
    """A pure-Python thread that never waits keeps the interpreter for a whole switch interval."""
    assert best_of_three(lambda: mixed_load(endless_flood=True)[0], 295) >= 295


# Async siblings, on virtual time: exact


async def test_slow_hung_failing_and_flooding_async_nodes_cost_a_sibling_no_tick(
    autojump_clock: MockClock,
) -> None:
    scheduler = horus.Scheduler()

    async def slow(node: horus.Node) -> None:
        await trio.sleep(0.5)

    async def hung(node: horus.Node) -> None:
        await trio.sleep_forever()

    async def failing(node: horus.Node) -> None:
        raise ValueError("every single time")

    async def flood(node: horus.Node) -> None:
        for number in range(200):
            node.send("flood", number)

    async def control(node: horus.Node) -> None:
        node.recv_all("flood")

    scheduler.add(horus.Node("slow", tick=slow))
    scheduler.add(horus.Node("hung", tick=hung, tick_timeout=None))
    scheduler.add(horus.Node("late", tick=hung, tick_timeout=0.7))
    scheduler.add(horus.Node("failing", tick=failing, failure_policy=horus.Ignore()))
    scheduler.add(horus.Node("restarting", tick=failing, failure_policy=horus.Restart(within=None)))
    scheduler.add(horus.Node("flood", tick=flood))
    scheduler.add(horus.Node("flooded", tick=control, on="flood"))
    scheduler.add(horus.Node("control", tick=control, rate=100))
    report = await scheduler.run(3)
    control_node = report.statistics.nodes["control"]
    assert (control_node.ticks_released, control_node.ok) == (300, 300)
    assert control_node.lateness.max == 0
    assert report.statistics.nodes["flooded"].ok == 300
    assert report.statistics.nodes["slow"].ok == 6


async def test_nodes_that_await_wait_side_by_side(autojump_clock: MockClock) -> None:
    scheduler = horus.Scheduler(tick_rate=10)

    async def device(node: horus.Node) -> None:
        await trio.sleep(0.05)

    for _ in range(200):
        scheduler.add(horus.Node(tick=device))
    report = await scheduler.run(1)
    assert {node.ok for node in report.statistics.nodes.values()} == {10}
    assert {node.missed for node in report.statistics.nodes.values()} == {0}
    assert {node.lateness.max for node in report.statistics.nodes.values()} == {0}


async def test_the_agreed_exception_a_blocking_reader_slows_its_sender_and_nobody_else(
    autojump_clock: MockClock,
) -> None:
    scheduler = horus.Scheduler()

    async def read(node: horus.Node) -> None:
        await trio.sleep(0.5)
        await node.recv_async("picture")

    async def send_patiently(node: horus.Node) -> None:
        await node.send_async("picture", node.now)

    async def send_at_once(node: horus.Node) -> None:
        node.send("picture", node.now)

    one = Sub("picture", capacity=1, overflow=Overflow.BLOCK)
    scheduler.add(horus.Node("reader", tick=read, subs=one))
    scheduler.add(horus.Node("patient", tick=send_patiently))
    scheduler.add(horus.Node("plain", tick=send_at_once))
    nodes = (await scheduler.run(3)).statistics.nodes
    assert nodes["patient"].ok < 10
    assert nodes["patient"].missed > 250
    assert nodes["plain"].ok == 300


# The pool that def nodes share, with real threads on a clock that the test moves


async def test_five_hung_nodes_do_not_starve_a_sixth(
    mock_clock: MockClock, nursery: trio.Nursery
) -> None:
    release = threading.Event()
    scheduler = horus.Scheduler(tick_rate=1)
    hung = [Hanging(f"hung {number}", release) for number in range(5)]
    for node in hung:
        scheduler.add(node, phase=0, tick_timeout=1.0, shutdown_timeout=0.01)
    scheduler.add(horus.Node("sixth", tick=idle, phase=0.5))

    def finished() -> int:
        return scheduler.statistics().nodes["sixth"].ok

    try:
        await nursery.start(scheduler.run)
        await until(lambda: sum(node.started for node in hung) == 4)
        mock_clock.jump(0.5)
        await wait_all_tasks_blocked()
        assert state_of(scheduler, "sixth") is NodeState.WAITING_FOR_THREAD
        assert finished() == 0
        mock_clock.jump(0.6)  # the first four have had their second
        await until(lambda: finished() == 1)
        await until(lambda: sum(node.started for node in hung) == 5)
        mock_clock.jump(1.2)
        await until(lambda: all(state_of(scheduler, n.name) is NodeState.STUCK for n in hung))
        await until(lambda: finished() == 2)
        for expected in range(3, 8):
            mock_clock.jump(1)
            await until(lambda expected=expected: finished() == expected)  # type: ignore[misc]
        pool = scheduler.statistics().pool
        assert pool is not None
        assert {thread.node for thread in pool.abandoned} == {node.name for node in hung}
    finally:
        release.set()


async def test_saturation_is_said_of_each_node_that_waits_with_the_remedy(
    mock_clock: MockClock, nursery: trio.Nursery
) -> None:
    release = threading.Event()
    scheduler = horus.Scheduler(tick_rate=1)
    hung = [Hanging(f"slow {number}", release) for number in range(4)]
    for node in hung:
        scheduler.add(node, phase=0)
    for name in ("left", "right"):
        scheduler.add(horus.Node(name, tick=idle, phase=0.5))
    scheduler.add(horus.Node("quick", tick=idle, phase=0, thread="own"))
    try:
        await nursery.start(scheduler.run)
        await until(lambda: sum(node.started for node in hung) == 4)
        await until(lambda: scheduler.statistics().nodes["quick"].ok == 1)
        mock_clock.jump(0.5)
        await wait_all_tasks_blocked()
        pool = scheduler.statistics().pool
        assert pool is not None
        assert (pool.tokens, pool.borrowed, pool.waiting) == (4, 4, 2)
        assert set(pool.waiting_nodes) == {"left", "right"}
        mock_clock.jump(0.4)
    finally:
        release.set()
    await until(lambda: all(scheduler.statistics().nodes[n].ok for n in ("left", "right")))
    scheduler.stop()
    await until(lambda: scheduler.report is not None)
    assert scheduler.report is not None
    # A busy machine may give cause for others.
    said = [text for text in scheduler.report.warnings if "waited for a thread" in text]
    assert len(said) == 2
    for name in ("left", "right"):
        waited = scheduler.report.statistics.nodes[name].waiting_for_thread
        assert waited.max == pytest.approx(0.4)
    for name, text in zip(("left", "right"), said, strict=True):
        assert f"node {name!r} waited for a thread" in text
        assert "slow" in text  # who had the tokens
        assert "thread='own'" in text
        assert "limiter" in text


async def test_a_node_with_a_thread_of_its_own_never_waits_for_the_pool(
    mock_clock: MockClock, nursery: trio.Nursery
) -> None:
    release = threading.Event()
    scheduler = horus.Scheduler(tick_rate=1)
    hung = [Hanging(f"hung {number}", release) for number in range(5)]
    for node in hung:
        scheduler.add(node, phase=0, tick_timeout=None, shutdown_timeout=0.01)
    where: list[int] = []

    class Own(horus.Node):
        def init(self) -> None:
            where.append(threading.get_ident())

        tick = init
        shutdown = init

    try:
        await nursery.start(scheduler.run)
        await until(lambda: sum(node.started for node in hung) == 4)
        scheduler.add(Own(), name="own", thread="own", phase=0.5)
        await until(lambda: len(where) == 1)
        await scheduler.started("own")
        mock_clock.jump(0.5)
        for expected in range(1, 6):
            await until(
                lambda expected=expected: scheduler.statistics().nodes["own"].ok == expected  # type: ignore[misc]
            )
            mock_clock.jump(1)
        assert sum(node.started for node in hung) == 4  # the fifth still waits
        assert scheduler.statistics().nodes["own"].waiting_for_thread.count == 0
        scheduler.remove("own")
        await until(lambda: "own" not in scheduler.statistics().nodes)
    finally:
        release.set()
    assert len(set(where)) == 1
    assert len(where) >= 7
