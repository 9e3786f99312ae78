"""G3 timeout: a tick that takes too long ends, one way or the other, and never overlaps the next.

An async tick is cancelled at its await; a def tick's thread is left behind. The threads here are
real and the clock is virtual, moved by the test, so each race is built and not waited for.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from typing import Literal

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import horus_trio as horus
from horus_trio import AsyncResult, NodeState, TickStatus, TickTimedOut


async def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    """Wait in real time for what a thread does; the test's clock stands still meanwhile."""
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up, "it never came true"
        await trio.to_thread.run_sync(time.sleep, 0.001)


def recorded(scheduler: horus.Scheduler) -> list[AsyncResult]:
    results: list[AsyncResult] = []
    scheduler.on_result(results.append)
    return results


def state_of(scheduler: horus.Scheduler, name: str) -> NodeState:
    return scheduler.statistics().nodes[name].state


class Device(horus.Node):
    """Each tick waits for a permit, and notes whether another one is under way."""

    def __init__(self, name: str = "device") -> None:
        super().__init__(name)
        self.permits = threading.Semaphore(0)
        self.lock = threading.Lock()
        self.started = 0
        self.returned = 0
        self.active = 0
        self.most_active = 0

    def tick(self) -> int:
        with self.lock:
            self.started += 1
            number = self.started
            self.active += 1
            self.most_active = max(self.most_active, self.active)
        self.permits.acquire(timeout=8)
        with self.lock:
            self.active -= 1
            self.returned += 1
        return number


# Async ticks


async def test_an_async_tick_is_cancelled_at_its_await(autojump_clock: MockClock) -> None:
    scheduler = horus.Scheduler(tick_rate=1)
    results = recorded(scheduler)
    unwound: list[float] = []

    async def slow(node: horus.Node) -> str:
        try:
            await trio.sleep(0.3 if node.now >= 2 else 10)
        finally:
            unwound.append(node.now)
        return "measured"

    scheduler.add(
        horus.Node("slow", tick=slow, phase=0, tick_timeout=0.4, failure_policy=horus.Ignore())
    )
    report = await scheduler.run(4)
    assert [r.status for r in results] == [TickStatus.TIMED_OUT] * 2 + [TickStatus.OK] * 2
    assert unwound == [0.4, 1.4, 2.3, 3.3]
    assert [r.duration for r in results] == pytest.approx([0.4, 0.4, 0.3, 0.3])
    assert [r.value for r in results] == [None, None, "measured", "measured"]
    error = results[0].error
    assert isinstance(error, TickTimedOut)
    assert isinstance(error, TimeoutError)
    assert "tick 1 of node 'slow'" in str(error)
    assert "tick_timeout of 0.4 s" in str(error)
    slow_node = report.statistics.nodes["slow"]
    assert (slow_node.timed_out, slow_node.ok, slow_node.missed) == (2, 2, 0)


async def test_a_timeout_reaches_the_children_of_a_tick(autojump_clock: MockClock) -> None:
    scheduler = horus.Scheduler(tick_rate=1)
    results = recorded(scheduler)
    ended: list[float] = []

    async def child() -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append(trio.current_time())

    async def parent(node: horus.Node) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)
            nursery.start_soon(child)

    scheduler.add(horus.Node("parent", tick=parent, phase=0, tick_timeout=0.5))
    await scheduler.run(0.9)
    assert [r.status for r in results] == [TickStatus.TIMED_OUT]
    assert ended == [0.5, 0.5]


async def test_an_async_tick_that_had_already_returned_keeps_its_result(
    autojump_clock: MockClock,
) -> None:
    """Its time limit passed while it computed; it returned all the same, without an await."""
    scheduler = horus.Scheduler(tick_rate=1)
    results = recorded(scheduler)

    async def compute(node: horus.Node) -> int:
        await trio.lowlevel.checkpoint()
        autojump_clock.jump(0.7)
        return 42

    scheduler.add(horus.Node("compute", tick=compute, phase=0, tick_timeout=0.5))
    await scheduler.run(0.9)
    assert [(r.status, r.value) for r in results] == [(TickStatus.OK, 42)]


async def test_a_tick_that_returns_past_its_limit_leaves_the_next_one_alone(
    autojump_clock: MockClock,
) -> None:
    """It returns in spite of its cancellation, and what has cancelled it is not around the next."""
    scheduler = horus.Scheduler(tick_rate=1)
    results = recorded(scheduler)

    async def stubborn(node: horus.Node) -> float:
        if node.now == 0:
            with trio.CancelScope(shield=True):
                await trio.sleep(0.6)
        else:
            await trio.sleep(0.2)
        return node.now

    scheduler.add(horus.Node("stubborn", tick=stubborn, phase=0, tick_timeout=0.4))
    await scheduler.run(3)
    assert [r.status for r in results] == [TickStatus.OK] * 3
    assert [r.value for r in results] == [0.6, 1.2, 2.2]


async def test_the_limit_of_an_async_tick_goes_with_it(autojump_clock: MockClock) -> None:
    """It would have come while the node was idle, and again while its next tick was under way."""
    scheduler = horus.Scheduler(tick_rate=1)
    results = recorded(scheduler)

    async def brief(node: horus.Node) -> None:
        await trio.sleep(0.1 if node.now < 3 else 0.7)

    scheduler.add(horus.Node("brief", tick=brief, phase=0, tick_timeout=0.8))
    await scheduler.run(6)
    assert [r.status for r in results] == [TickStatus.OK] * 6
    assert [r.duration for r in results] == pytest.approx([0.1] * 3 + [0.7] * 3)


async def test_a_tick_that_is_cancelled_before_its_limit_has_not_timed_out(
    autojump_clock: MockClock,
) -> None:
    """Though it takes its time to unwind, until after the limit."""
    scheduler = horus.Scheduler(tick_rate=1)
    results = recorded(scheduler)

    async def slow(node: horus.Node) -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(0.6)

    scheduler.add(horus.Node("slow", tick=slow, phase=0, tick_timeout=0.5, shutdown_timeout=0.2))
    await scheduler.run(0.1)
    assert [r.status for r in results] == [TickStatus.CANCELLED]
    assert results[0].duration == pytest.approx(0.9)


async def test_a_tick_that_fails_while_it_is_cut_off_is_an_error_and_tells_its_policy(
    autojump_clock: MockClock,
) -> None:
    """Its node is told on a loop on which nothing is cancelled: ``on_error`` may await."""
    scheduler = horus.Scheduler(tick_rate=1)
    results = recorded(scheduler)
    told: list[tuple[float, str]] = []

    async def child(seconds: float) -> None:
        try:
            await trio.sleep(seconds)
        finally:
            if seconds == 5:
                raise OSError("no route to the sensor")

    class Brittle(horus.AsyncNode):
        async def tick_async(self) -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(child, 5)
                nursery.start_soon(child, 6)

        async def on_error(self, error: BaseException) -> None:
            await trio.sleep(0.1)
            told.append((self.now, repr(error)))

    scheduler.add(Brittle("brittle"), phase=0, tick_timeout=0.4, failure_policy=horus.Ignore())
    await scheduler.run(2)
    assert [r.status for r in results] == [TickStatus.ERROR] * 2
    assert [round(when, 3) for when, _ in told] == [0.5, 1.5]
    assert all("no route to the sensor" in text and "Cancelled" not in text for _, text in told)


async def test_an_async_node_never_has_two_ticks_at_once(autojump_clock: MockClock) -> None:
    scheduler = horus.Scheduler(tick_rate=100)
    results = recorded(scheduler)
    active: list[int] = []

    async def stubborn(node: horus.Node) -> None:
        active.append(1)
        assert sum(active) == 1
        try:
            await trio.sleep(0.05)
        finally:
            with trio.CancelScope(shield=True):  # longer than its limit, and than its period
                await trio.sleep(0.1)
            active.append(-1)

    async def poke(node: horus.Node) -> None:
        node.send("poke", None)

    node = horus.Node("stubborn", tick=stubborn, tick_timeout=0.03, on="poke", rate=100, phase=0)
    scheduler.add(node, failure_policy=horus.Ignore())
    scheduler.add(horus.Node("poke", tick=poke, rate=1000))
    await scheduler.run(2)
    ticks = [r for r in results if r.node == "stubborn"]
    assert {r.status for r in ticks} <= {TickStatus.TIMED_OUT, TickStatus.CANCELLED}
    assert len([r for r in ticks if r.status is TickStatus.TIMED_OUT]) >= 13
    for earlier, later in itertools.pairwise(ticks):
        assert later.started >= earlier.started + earlier.duration


# Def ticks


async def test_a_def_tick_is_left_behind_and_its_node_is_stuck_until_it_returns(
    mock_clock: MockClock, nursery: trio.Nursery
) -> None:
    scheduler = horus.Scheduler(tick_rate=1)
    results = recorded(scheduler)
    device = Device()
    scheduler.add(device, phase=0, tick_timeout=0.75, failure_policy=horus.Ignore())
    await nursery.start(scheduler.run)
    await until(lambda: device.started == 1)
    mock_clock.jump(0.5)
    await wait_all_tasks_blocked()
    assert not results
    mock_clock.jump(0.5)
    await until(lambda: len(results) == 1)
    (left,) = results
    assert left.status is TickStatus.ABANDONED
    assert (left.started, left.duration) == (0, 1.0)
    assert isinstance(left.error, TickTimedOut)
    assert "ran longer than its tick_timeout of 0.75 s" in str(left.error)
    assert "thread was left behind" in str(left.error)
    assert state_of(scheduler, "device") is NodeState.STUCK

    for _ in range(5):  # its releases are missed, not queued
        mock_clock.jump(1)
        await wait_all_tasks_blocked()
    stuck = scheduler.statistics().nodes["device"]
    assert (stuck.ticks_released, stuck.missed, stuck.abandoned) == (7, 6, 1)
    assert device.started == 1

    device.permits.release()
    await until(lambda: state_of(scheduler, "device") is NodeState.RUNNING)
    assert device.started == 1  # no tick of the past is made up for
    mock_clock.jump(1)
    device.permits.release()
    await until(lambda: len(results) == 2)
    assert (results[1].status, results[1].value, results[1].scheduled) == (TickStatus.OK, 2, 7)
    assert device.most_active == 1
    scheduler.stop()


@pytest.mark.parametrize("thread", ["pool", "own"])
async def test_a_function_that_had_already_returned_keeps_its_result(
    mock_clock: MockClock, nursery: trio.Nursery, thread: Literal["pool", "own"]
) -> None:
    """It returns while the loop is busy, and when the loop looks again its limit has passed too.

    Trio wakes what is due in random order, so twenty rounds see both: the return first, and the
    alarm first.
    """
    scheduler = horus.Scheduler(tick_rate=0.01)
    results = recorded(scheduler)
    device = Device()
    scheduler.add(device, phase=0, tick_timeout=1.0, thread=thread)
    await nursery.start(scheduler.run)
    for number in range(1, 21):
        await until(lambda number=number: device.started == number)  # type: ignore[misc]
        device.permits.release()
        while device.returned < number:
            time.sleep(0.001)  # noqa: ASYNC251 - the loop is to see nothing of it
        time.sleep(0.01)  # noqa: ASYNC251 - nor of the few instructions after it
        mock_clock.jump(50)
        await until(lambda number=number: len(results) == number)  # type: ignore[misc]
        mock_clock.jump(50)
    assert [(r.status, r.value) for r in results] == [
        (TickStatus.OK, number) for number in range(1, 21)
    ]
    device.permits.release()
    scheduler.stop()


@pytest.mark.parametrize("thread", ["pool", "own"])
async def test_a_def_node_never_has_two_ticks_at_once(
    mock_clock: MockClock, nursery: trio.Nursery, thread: Literal["pool", "own"]
) -> None:
    """Whoever asks: its rate, arrivals, a pause and a resume, a new rate."""
    scheduler = horus.Scheduler(tick_rate=1)
    results = recorded(scheduler)
    device = Device()
    scheduler.add(
        device,
        phase=0,
        rate=1,
        on="poke",
        tick_timeout=0.5,
        thread=thread,
        failure_policy=horus.Ignore(),
    )
    await nursery.start(scheduler.run)
    for round_ in range(1, 6):
        await until(lambda round_=round_: device.started == round_)  # type: ignore[misc]
        abandoned = scheduler.statistics().nodes["device"].abandoned
        mock_clock.jump(0.6)
        await until(lambda: state_of(scheduler, "device") is NodeState.STUCK)
        assert scheduler.statistics().nodes["device"].abandoned == abandoned + 1
        for ask in (
            lambda: scheduler.topic("poke").send(1),
            lambda: scheduler.pause("device"),
            lambda: scheduler.resume("device"),
            lambda: scheduler.set_rate("device", 2.0),
        ):
            ask()
            mock_clock.jump(1.1)
            await wait_all_tasks_blocked()
            assert device.started == round_
        device.permits.release()  # the tick that was asked for meanwhile begins now
    await until(lambda: device.started == 6)
    assert device.most_active == 1
    assert {r.status for r in results} == {TickStatus.ABANDONED}
    device.permits.release()
    scheduler.stop()


async def test_time_counts_from_the_start_of_the_function_and_not_from_the_wait_for_a_token(
    mock_clock: MockClock, nursery: trio.Nursery
) -> None:
    scheduler = horus.Scheduler(tick_rate=0.001, limiter=trio.CapacityLimiter(1))
    results = recorded(scheduler)
    first, second = Device("first"), Device("second")
    scheduler.add(first, phase=0, tick_timeout=None)
    scheduler.add(second, phase=1, tick_timeout=1.0)
    await nursery.start(scheduler.run)
    await until(lambda: first.started == 1)
    for _ in range(10):
        mock_clock.jump(1)
        await wait_all_tasks_blocked()
    assert state_of(scheduler, "second") is NodeState.WAITING_FOR_THREAD
    assert not results
    first.permits.release()
    await until(lambda: second.started == 1)
    mock_clock.jump(0.75)
    await wait_all_tasks_blocked()
    assert [r.node for r in results] == ["first"]
    second.permits.release()
    await until(lambda: len(results) == 2)
    assert results[1].status is TickStatus.OK
    assert (results[1].scheduled, results[1].started, results[1].duration) == (1, 10, 0.75)
    waited = scheduler.statistics().nodes["second"].waiting_for_thread
    assert (waited.count, waited.max) == (1, 9)

    # And from there it does count.
    mock_clock.jump(989.75)
    await until(lambda: first.started == 2)
    first.permits.release()
    await until(lambda: len(results) == 3)
    mock_clock.jump(1)
    await until(lambda: second.started == 2)
    mock_clock.jump(1.25)
    await until(lambda: state_of(scheduler, "second") is NodeState.STUCK)
    assert results[-1].status is TickStatus.ABANDONED
    assert results[-1].duration == 1.25
    second.permits.release()
    scheduler.stop()


async def test_an_init_waits_for_a_token_without_losing_time(
    mock_clock: MockClock, nursery: trio.Nursery
) -> None:
    scheduler = horus.Scheduler(tick_rate=1, limiter=trio.CapacityLimiter(1))
    device = Device()
    scheduler.add(device, phase=0, tick_timeout=None)
    opened: list[float] = []
    await nursery.start(scheduler.run)
    await until(lambda: device.started == 1)
    late = horus.Node("late", init=lambda node: opened.append(node.now), tick=lambda node: None)
    scheduler.add(late, init_timeout=1.0)
    await wait_all_tasks_blocked()
    mock_clock.jump(100)
    await wait_all_tasks_blocked()
    assert not opened
    device.permits.release(100)
    await scheduler.started("late")
    assert opened == [100]
    assert scheduler.statistics().nodes["late"].failures == 0
    scheduler.stop()


@pytest.mark.slow
def test_both_kinds_of_timeout_in_real_time() -> None:
    release = threading.Event()
    scheduler = horus.Scheduler(tick_rate=10)
    results = recorded(scheduler)

    async def waits(node: horus.Node) -> None:
        await trio.sleep_forever()

    def blocks(node: horus.Node) -> None:
        release.wait(8)

    for name, tick in (("waits", waits), ("blocks", blocks)):
        node = horus.Node(name, tick=tick, tick_timeout=0.2, shutdown_timeout=0.1)
        scheduler.add(node, failure_policy=horus.Ignore())
    try:
        report = scheduler.run(1)
    finally:
        release.set()
    assert len([r for r in results if r.status is TickStatus.TIMED_OUT]) >= 2
    (left,) = [r for r in results if r.node == "blocks"]
    assert left.status is TickStatus.ABANDONED
    assert min(r.duration for r in results if r.status is not TickStatus.CANCELLED) >= 0.2
    assert [straggler.node for straggler in report.stragglers] == ["blocks"]
    assert "release.wait(8)" in report.stragglers[0].stack
