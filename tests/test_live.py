"""Live control from the loop and from threads: add, remove, pause, set_rate, stop, watch."""

from __future__ import annotations

import io
import itertools
import math
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import trio
import trio.testing

import horus_trio as horus
from horus_trio import AsyncResult, NodeState, TickStatus
from horus_trio.executor import NodeRunner
from horus_trio.scheduler.metronome import late_phase
from horus_trio.scheduler.observer import Observer
from horus_trio.scheduler.run import Run
from horus_trio.timer import Timer

settle = trio.testing.wait_all_tasks_blocked
Ask = Callable[..., Any]


class Beats(horus.AsyncNode):
    """Writes down when it ticks, and what else is called."""

    def __init__(self, name: str | None = None, **options: Any) -> None:
        super().__init__(name, **{"phase": 0.0, **options})
        self.ticks: list[float] = []
        self.calls: list[str] = []

    async def init(self) -> None:
        self.calls.append("init")

    async def tick_async(self) -> None:
        self.ticks.append(self.now)

    async def shutdown(self) -> None:
        self.calls.append("shutdown")


@asynccontextmanager
async def running(scheduler: horus.Scheduler) -> AsyncIterator[trio.Nursery]:
    with trio.fail_after(3600):
        async with trio.open_nursery() as nursery:
            await nursery.start(scheduler.run)
            try:
                yield nursery
            finally:
                scheduler.stop()


def node_of(scheduler: horus.Scheduler, name: str) -> NodeRunner:
    runner = scheduler._members[name].runner
    assert runner is not None
    return runner


@pytest.mark.parametrize("rate", [0.5, 1.0, 100.0])
def test_late_nodes_are_spread_over_the_period(rate: float) -> None:
    phases = [late_phase(index, rate) * rate for index in range(1, 101)]
    assert all(0.0 <= phase < 1.0 for phase in phases)
    ordered = sorted([0.0, *phases, 1.0])
    gaps = [after - before for before, after in itertools.pairwise(ordered)]
    assert max(gaps) < 2.5 / 100  # 1 / 100 would be an even spread
    assert min(gaps) > 0.3 / 100
    assert phases[0] == pytest.approx((5**0.5 - 1) / 2)


# From the loop, on virtual time: everything exact


async def test_a_node_added_late_is_initialised_and_ticks(
    autojump_clock: trio.testing.MockClock,
) -> None:
    late = Beats("late", rate=2)
    scheduler = horus.Scheduler().add(Beats("early", rate=1))
    async with running(scheduler):
        await trio.sleep(1.25)
        assert scheduler.add(late) is scheduler
        await scheduler.started("late")
        assert late.calls == ["init"]
        await trio.sleep_until(2.75)
    assert late.ticks == [1.5, 2.0, 2.5]  # on the grid of the run
    assert late.calls == ["init", "shutdown"]
    assert scheduler.report is not None
    assert scheduler.report.statistics.nodes["late"].missed == 0


async def test_a_late_node_without_a_phase_is_spread(
    autojump_clock: trio.testing.MockClock,
) -> None:
    nodes = [Beats(f"n{n}", rate=1, phase="spread") for n in range(5)]
    scheduler = horus.Scheduler()
    async with running(scheduler):
        for node in nodes:
            scheduler.add(node)
        await trio.sleep(3)
    firsts = [node.ticks[0] % 1 for node in nodes]
    assert len(set(firsts)) == 5
    gaps = [b - a for a, b in zip(sorted(firsts), sorted(firsts)[1:], strict=False)]
    assert min(gaps) > 0.1


async def test_a_late_node_may_tick_on_arrivals(autojump_clock: trio.testing.MockClock) -> None:
    node = Beats("late", on="t")
    scheduler = horus.Scheduler()
    async with running(scheduler):
        scheduler.add(node)
        await scheduler.started("late")
        await trio.sleep(1)
        scheduler.topic("t").send(1)
        await trio.sleep(1)
    assert node.ticks == [1.0]


async def test_a_node_can_be_added_while_others_are_initialised(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    class Slow(Beats):
        async def init(self) -> None:
            await trio.sleep(2)

    node = Beats("added", rate=1)
    scheduler = horus.Scheduler().add(Slow("slow", rate=1))
    nursery.start_soon(scheduler.run)
    await trio.sleep(1)
    scheduler.add(node)
    await trio.sleep_until(3.5)
    scheduler.stop()
    assert node.calls == ["init"]
    assert node.ticks == [2.0, 3.0]


async def test_a_late_node_that_is_refused_is_not_added(
    autojump_clock: trio.testing.MockClock,
) -> None:
    threaded = horus.Node("threaded", tick=print)
    scheduler = horus.Scheduler().add(Beats("a"))
    async with running(scheduler):
        with pytest.raises(horus.ConfigurationError, match="virtual time"):
            scheduler.add(threaded)
        assert list(scheduler.statistics().nodes) == ["a"]
    horus.Scheduler().add(threaded)  # it is free


async def test_a_late_node_whose_init_fails_is_its_policys_business(
    autojump_clock: trio.testing.MockClock,
) -> None:
    class Broken(Beats):
        async def init(self) -> None:
            raise OSError("no")

    scheduler = horus.Scheduler().add(Beats("a", rate=1))
    async with running(scheduler):
        scheduler.add(Broken("b", failure_policy=horus.Restart(0)))
        await scheduler.started("b")
        await scheduler.stopped("b")
        assert scheduler.statistics().nodes["b"].state is NodeState.FAILED
        await trio.sleep(3)
    assert scheduler.report is not None
    assert [f.node for f in scheduler.report.failed] == ["b"]
    assert scheduler.statistics().nodes["a"].ok == 4


async def test_a_removed_node_shuts_down_and_is_gone(
    autojump_clock: trio.testing.MockClock,
) -> None:
    node = Beats("a", rate=2)
    scheduler = horus.Scheduler().add(node).add(Beats("b", rate=2))
    async with running(scheduler):
        await trio.sleep(1.25)
        scheduler.remove("a")
        await scheduler.stopped("a")
        assert node.calls == ["init", "shutdown"]
        assert list(scheduler.statistics().nodes) == ["b"]
        with pytest.raises(horus.UnknownNode):
            scheduler.remove("a")
        await trio.sleep(2)
        assert node.ticks == [0.0, 0.5, 1.0]
        scheduler.add(node)  # the same one, under the same name
        await scheduler.started("a")
        await trio.sleep(1)
        assert node.calls == ["init", "shutdown", "init"]
    assert node.calls[-1] == "shutdown"


async def test_a_node_removed_in_its_tick_finishes_it_first(
    autojump_clock: trio.testing.MockClock,
) -> None:
    class Long(Beats):
        async def tick_async(self) -> None:
            await trio.sleep(0.25)
            self.calls.append("tick")

    node = Long("a", rate=1)
    scheduler = horus.Scheduler().add(node)
    async with running(scheduler), scheduler.open_results() as results:
        await trio.sleep(0.1)
        scheduler.remove("a")
        await scheduler.stopped("a")
        assert trio.current_time() == 0.25
        assert [r.status for r in results.drain()] == [TickStatus.OK]
    assert node.calls == ["init", "tick", "shutdown"]


async def test_a_node_removed_in_its_init_is_not_initialised_further(
    autojump_clock: trio.testing.MockClock,
) -> None:
    class Slow(Beats):
        async def init(self) -> None:
            await trio.sleep(100)
            await super().init()

    node = Slow("a", init_timeout=1000)
    scheduler = horus.Scheduler()
    async with running(scheduler):
        scheduler.add(node)
        await trio.sleep(1)
        scheduler.remove("a")
        await scheduler.stopped("a")
        assert trio.current_time() == 1.5
        await trio.sleep(200)
    assert node.calls == []
    assert node.ticks == []


async def test_a_node_removed_while_backing_off_goes_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    class Fails(Beats):
        async def tick_async(self) -> None:
            raise ValueError("no")

    node = Fails("a", failure_policy=horus.Restart(backoff=10, jitter=0))
    scheduler = horus.Scheduler().add(node)
    async with running(scheduler):
        await trio.sleep(1)
        assert scheduler.statistics().nodes["a"].state is NodeState.BACKING_OFF
        scheduler.remove("a")
        await scheduler.stopped("a")
        assert trio.current_time() == 1.0
    assert node.calls == ["init", "shutdown"]


async def test_removing_oneself_is_refused_with_the_remedy(
    autojump_clock: trio.testing.MockClock,
) -> None:
    scheduler = horus.Scheduler()
    errors: list[horus.HorusError] = []

    class Leaves(Beats):
        async def tick_async(self) -> None:
            try:
                scheduler.remove("a")
            except horus.HorusError as error:
                errors.append(error)
            self.request_stop()

    scheduler.add(Leaves("a"))
    await scheduler.run()
    assert "'a' removes itself" in str(errors[0])
    assert "request_stop()" in str(errors[0])


async def test_one_node_may_remove_another(autojump_clock: trio.testing.MockClock) -> None:
    scheduler = horus.Scheduler()

    class Ends(Beats):
        async def tick_async(self) -> None:
            scheduler.remove("b")
            await scheduler.stopped("b")
            self.request_stop()

    node = Beats("b")
    scheduler.add(Ends("a", rate=1, phase=0.5)).add(node)
    report = await scheduler.run(60)
    assert node.calls == ["init", "shutdown"]
    assert list(report.statistics.nodes) == ["a"]


async def test_a_paused_node_takes_no_ticks_and_keeps_its_grid(
    autojump_clock: trio.testing.MockClock,
) -> None:
    node = Beats("a", rate=2)
    scheduler = horus.Scheduler().add(node)
    async with running(scheduler):
        await trio.sleep(1.25)
        scheduler.pause("a")
        scheduler.pause("a")  # idempotent
        assert scheduler.statistics().nodes["a"].state is NodeState.PAUSED
        await trio.sleep(5)
        assert node.ticks == [0.0, 0.5, 1.0]
        scheduler.resume("a")
        assert scheduler.statistics().nodes["a"].state is NodeState.RUNNING
        await trio.sleep_until(7.25)
    assert node.ticks[3:] == [6.5, 7.0]
    statistics = scheduler.statistics().nodes["a"]
    assert (statistics.ticks_released, statistics.missed) == (5, 0)


@pytest.mark.parametrize("end", ["stop", "remove"])
async def test_a_node_resumed_while_it_ends_is_released_no_more(
    autojump_clock: trio.testing.MockClock, end: str
) -> None:
    class Slow(Beats):
        async def shutdown(self) -> None:
            await trio.sleep(2)

    node = Slow("a")
    results: list[AsyncResult] = []
    scheduler = horus.Scheduler(tick_rate=10)
    scheduler.on_result(results.append)
    scheduler.add(node).add(Beats("b"))
    async with running(scheduler):
        await trio.sleep(0.25)
        scheduler.pause("a")
        if end == "stop":
            scheduler.stop()
        else:
            scheduler.remove("a")
        await trio.sleep(0.5)
        member = scheduler._members["a"]
        scheduler.resume("a")
        scheduler.set_rate("a", 20)
        await trio.sleep(1)
        assert member.snapshot().state is NodeState.STOPPING
    assert (member.snapshot().ticks_released, member.snapshot().missed) == (3, 0)
    assert [result.seq for result in results if result.node == "a"] == [1, 2, 3]


async def test_a_node_that_takes_its_time_to_leave_misses_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    class Slow(Beats):
        async def shutdown(self) -> None:
            await trio.sleep(2)

    scheduler = horus.Scheduler(tick_rate=10).add(Slow("removed")).add(Slow("stopped"))
    async with running(scheduler):
        await trio.sleep(0.25)
        removed = scheduler._members["removed"]
        scheduler.remove("removed")
        await trio.sleep(1)
    stopped = scheduler.statistics().nodes["stopped"]
    assert (removed.snapshot().ticks_released, removed.snapshot().missed) == (3, 0)
    assert (stopped.ticks_released, stopped.missed) == (13, 0)


async def test_a_node_that_has_failed_for_good_misses_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    class Fails(Beats):
        async def tick_async(self) -> None:
            raise ValueError("no")

    scheduler = horus.Scheduler(tick_rate=10).add(Beats("well"))
    scheduler.add(Fails("ill", failure_policy=horus.Restart(0)))
    async with running(scheduler):
        await trio.sleep(1)
        scheduler.set_rate("ill", 20)
        await trio.sleep(1)
    ill = scheduler.statistics().nodes["ill"]
    assert (ill.state, ill.ticks_released, ill.missed) == (NodeState.FAILED, 1, 0)


async def test_in_the_next_run_nothing_is_left_of_the_releases_of_the_last(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    class Slow(Beats):
        async def init(self) -> None:
            await trio.sleep(2)

    node = Beats("a", rate=1)
    scheduler = horus.Scheduler().add(node).add(Slow("slow"))
    await scheduler.run(0.5)
    scheduler.resume("a")
    assert scheduler._members["a"].beat is None
    nursery.start_soon(scheduler.run)
    await trio.sleep(0.5)
    scheduler.pause("a")
    scheduler.resume("a")  # before it ticks
    await trio.sleep(3)
    scheduler.stop()
    assert node.ticks == [2.0, 4.5, 5.5]


async def test_a_node_that_is_added_while_the_run_ends_waits_for_the_next(
    autojump_clock: trio.testing.MockClock,
) -> None:
    class Slow(Beats):
        async def shutdown(self) -> None:
            await trio.sleep(2)

    late = Beats("late", rate=1)
    scheduler = horus.Scheduler(tick_rate=10).add(Slow("a"))
    async with running(scheduler):
        scheduler.stop()
        await trio.sleep(1)
        scheduler.add(late)
    assert late.calls == []
    assert scheduler.statistics().nodes["late"].state is NodeState.NEW
    await scheduler.run(1)
    assert late.calls == ["init", "shutdown"]


async def test_the_counters_of_a_run_that_has_reported_stand_still(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduler = horus.Scheduler(tick_rate=10)
    scheduler.add(Beats("a"))
    seen: list[horus.SchedulerStatistics] = []

    async with running(scheduler):
        run = scheduler._run_state
        assert run is not None
        assert run.executor is not None
        timer = run.executor.timer

        def close() -> None:  # the report is there, and the timer has run until now
            seen.append(scheduler.statistics())
            timer._wake_ups += 1
            seen.append(scheduler.statistics())
            type(timer).close(timer)

        monkeypatch.setattr(timer, "close", close)
        await trio.sleep(1)
    assert scheduler.report is not None
    final = scheduler.report.statistics
    assert [s.wake_ups for s in seen] == [final.wake_ups] * 2
    assert scheduler.statistics().wake_ups == final.wake_ups


async def test_a_tick_in_flight_goes_on_through_a_pause(
    autojump_clock: trio.testing.MockClock,
) -> None:
    class Long(Beats):
        async def tick_async(self) -> None:
            await trio.sleep(0.4)
            self.ticks.append(self.now)

    node = Long("a", rate=1)
    scheduler = horus.Scheduler().add(node)
    async with running(scheduler):
        await trio.sleep(0.1)
        scheduler.pause("a")
        await trio.sleep(3)
        assert node.ticks == [0.4]


async def test_a_paused_node_ticks_for_what_arrived_once_it_is_resumed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    node = Beats("a", on="t")
    scheduler = horus.Scheduler().add(node)
    async with running(scheduler):
        scheduler.pause("a")
        for n in range(3):
            scheduler.topic("t").send(n)
            await trio.sleep(1)
        assert node.ticks == []
        scheduler.resume("a")
        await trio.sleep(1)
        assert node.ticks == [3.0]


async def test_a_node_paused_before_the_run_waits_for_resume(
    autojump_clock: trio.testing.MockClock,
) -> None:
    node = Beats("a", rate=1)
    scheduler = horus.Scheduler().add(node)
    scheduler.pause("a")
    assert scheduler.statistics().nodes["a"].state is NodeState.PAUSED
    async with running(scheduler):
        await trio.sleep(2.5)
        assert (node.calls, node.ticks) == (["init"], [])
        scheduler.resume("a")
        await trio.sleep(1)
    assert node.ticks == [3.0]
    scheduler.pause("a")
    scheduler.resume("a")
    assert scheduler.statistics().nodes["a"].state is not NodeState.PAUSED


async def test_a_paused_reader_holds_nobody_up(autojump_clock: trio.testing.MockClock) -> None:
    blocking = horus.Sub("t", capacity=1, overflow=horus.Overflow.BLOCK)
    scheduler = horus.Scheduler().add(Beats("a", rate=1, subs=blocking))
    async with running(scheduler):
        await settle()
        scheduler.pause("a")
        with trio.fail_after(1):
            for n in range(3):
                await scheduler.topic("t").send_async(n)
        assert scheduler.statistics().topics["t"].dropped == 2


async def test_a_new_rate_begins_now(autojump_clock: trio.testing.MockClock) -> None:
    node = Beats("a", rate=1)
    scheduler = horus.Scheduler().add(node)
    async with running(scheduler):
        await trio.sleep(1.25)
        scheduler.set_rate("a", 4)
        assert scheduler.statistics().nodes["a"].rate == 4.0
        await trio.sleep_until(2.1)
    assert node.ticks == [0.0, 1.0, 1.5, 1.75, 2.0]


async def test_a_rate_set_in_a_pause_counts_after_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    node = Beats("a", rate=1)
    scheduler = horus.Scheduler().add(node)
    async with running(scheduler):
        await trio.sleep(0.5)
        scheduler.pause("a")
        scheduler.set_rate("a", 4)
        await trio.sleep(1)
        assert node.ticks == [0.0]
        scheduler.resume("a")
        await trio.sleep(0.6)
        assert node_of(scheduler, "a").seat.period == 0.25
    assert node.ticks == [0.0, 1.5, 1.75, 2.0]
    assert scheduler.statistics().nodes["a"].missed == 0


async def test_a_rate_can_be_given_to_a_node_that_has_none(
    autojump_clock: trio.testing.MockClock,
) -> None:
    node = Beats("a", on="t")
    scheduler = horus.Scheduler().add(node)
    async with running(scheduler):
        scheduler.set_rate("a", 1)
        await trio.sleep(2.5)
    assert node.ticks == [1.0, 2.0]


async def test_a_rate_set_before_the_run_holds_in_every_run(
    autojump_clock: trio.testing.MockClock,
) -> None:
    node = Beats("a", rate=1)
    scheduler = horus.Scheduler().add(node)
    scheduler.set_rate("a", 10)
    for _ in range(2):
        assert (await scheduler.run(1)).statistics.nodes["a"].ok == 10


async def test_a_rate_set_during_the_start_does_not_tick_early(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    class Slow(Beats):
        async def init(self) -> None:
            await trio.sleep(2)

    node = Beats("a", rate=1)
    scheduler = horus.Scheduler().add(node).add(Slow("slow"))
    nursery.start_soon(scheduler.run)
    await trio.sleep(0.5)
    scheduler.set_rate("a", 4)
    await trio.sleep_until(2.6)
    scheduler.stop()
    assert node.ticks == [2.0, 2.25, 2.5]


async def test_stop_ends_the_run_with_the_first_reason(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    scheduler = horus.Scheduler().add(Beats())
    scheduler.stop("nobody runs")  # heard by nobody
    await nursery.start(scheduler.run)
    scheduler.stop("lunch")
    scheduler.stop("dinner")
    await trio.sleep(1)
    assert scheduler.report is not None
    assert scheduler.report.reason == "lunch"
    scheduler.stop()
    await nursery.start(scheduler.run)
    scheduler.stop()
    await trio.sleep(1)
    assert scheduler.report.reason == "stop() was called"


async def test_a_stop_during_the_start_ends_it(autojump_clock: trio.testing.MockClock) -> None:
    class Slow(Beats):
        async def init(self) -> None:
            await trio.sleep(100)

    slow, never = Slow("slow", init_timeout=1000), Beats("never", order=1)
    scheduler = horus.Scheduler().add(slow).add(never)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scheduler.run)
        await trio.sleep(1)
        scheduler.stop()
    assert trio.current_time() == 1.5
    assert never.calls == []


async def test_statistics_tell_the_time_of_the_run(
    autojump_clock: trio.testing.MockClock,
) -> None:
    scheduler = horus.Scheduler(name="robot").add(Beats("a", rate=1))
    before = scheduler.statistics()
    assert (before.name, before.running, before.elapsed, before.timer) == ("robot", False, 0, "")
    assert before.pool is None
    assert (before.wake_ups, before.stall_count) == (0, 0)
    assert before.nodes["a"].state is NodeState.NEW
    await trio.sleep(7)
    async with running(scheduler):
        await trio.sleep(2.5)
        during = scheduler.statistics()
    after = scheduler.statistics()
    assert (during.running, during.elapsed, during.timer) == (True, 2.5, "trio.sleep")
    assert during.pool is not None
    assert during.wake_ups >= 2
    assert (after.running, after.elapsed, after.timer) == (False, 2.5, "trio.sleep")
    assert (during.nodes["a"].ok, after.nodes["a"].ok) == (3, 3)
    assert after.nodes["a"].state is NodeState.STOPPED
    assert during.health is horus.Health.HEALTHY


async def test_the_health_of_a_robot_is_that_of_its_worst_node(
    autojump_clock: trio.testing.MockClock,
) -> None:
    class Fails(Beats):
        async def tick_async(self) -> None:
            raise ValueError("no")

    scheduler = horus.Scheduler().add(Beats("well"))
    scheduler.add(Fails("ill", failure_policy=horus.Ignore()))
    async with running(scheduler):
        await trio.sleep(1)
        statistics = scheduler.statistics()
        assert statistics.health is horus.Health.WARNING
        assert statistics.nodes["well"].health is horus.Health.HEALTHY


@pytest.mark.parametrize("phase", [0.25, 0.5, 2.25])
async def test_a_phase_is_never_too_long(
    autojump_clock: trio.testing.MockClock, phase: float
) -> None:
    """The first release is at the beginning of the grid, though a period be shorter than that."""
    node = Beats("a", rate=2, phase=phase)
    await horus.Scheduler().add(node).run(phase + 1)
    assert node.ticks == [phase, phase + 0.5]


# From foreign threads: the same, on real time


def in_thread(function: Callable[[], object]) -> None:
    errors: list[BaseException] = []

    def work() -> None:
        try:
            function()
        except BaseException as error:  # noqa: BLE001 - handed to the test
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()
    if errors:
        raise errors[0]


def until(condition: Callable[[], object]) -> None:
    """Wait for what another thread brings about."""
    pause = threading.Event()
    for _ in range(4000):
        if condition():
            return
        pause.wait(0.005)
    pytest.fail("it did not come about")


def test_everything_works_from_foreign_threads() -> None:
    first, second = Beats("first", rate=200), Beats("second", rate=200)
    scheduler = horus.Scheduler()

    def live() -> None:
        scheduler.add(first)
        until(lambda: len(first.ticks) > 3)
        scheduler.add(second)
        until(lambda: second.ticks)
        scheduler.pause("first")
        assert scheduler.statistics().nodes["first"].state is NodeState.PAUSED
        until(lambda: scheduler.statistics().nodes["first"].in_flight == 0)
        before = len(first.ticks)
        seen = len(second.ticks)
        until(lambda: len(second.ticks) > seen + 5)
        assert len(first.ticks) == before
        scheduler.resume("first")
        until(lambda: len(first.ticks) > before)
        scheduler.set_rate("first", 500)
        assert scheduler.statistics().nodes["first"].rate == 500.0
        scheduler.remove("second")
        until(lambda: "second" not in scheduler.statistics().nodes)
        assert second.calls == ["init", "shutdown"]
        with pytest.raises(horus.ConfigurationError, match="another name"):
            scheduler.add(Beats("first"))

    with horus.background(scheduler):
        in_thread(live)
        live_thread_done = scheduler.statistics()
        assert live_thread_done.running
        in_thread(lambda: scheduler.stop("from a thread"))
    assert scheduler.report is not None
    assert scheduler.report.reason == "from a thread"
    assert first.calls == ["init", "shutdown"]


def test_a_def_tick_may_control_the_scheduler() -> None:
    scheduler = horus.Scheduler()
    calls: list[str] = []

    class Controls(horus.Node):
        def tick(self) -> None:
            scheduler.pause("other")
            calls.append("paused")
            scheduler.add(Beats("added"))
            calls.append("added")
            try:
                scheduler.remove("self")
            except horus.HorusError as error:
                calls.append(str(error))
            self.request_stop()

    scheduler.add(Controls("self")).add(Beats("other"))
    report = scheduler.run(20)
    assert calls[:2] == ["paused", "added"]
    assert "removes itself" in calls[2]
    assert "added" in report.statistics.nodes


def test_between_runs_every_call_works_without_a_loop() -> None:
    node = Beats("a")
    scheduler = horus.Scheduler().add(node)
    scheduler.run(0)
    in_thread(lambda: scheduler.pause("a"))
    in_thread(lambda: scheduler.resume("a"))
    in_thread(lambda: scheduler.set_rate("a", 3))
    in_thread(lambda: scheduler.remove("a"))
    assert scheduler.statistics().nodes == {}


def test_snapshots_of_many_threads_balance() -> None:
    class Mixed(horus.AsyncNode):
        async def tick_async(self) -> None:
            if self.current_tick is not None and self.current_tick.seq % 3 == 0:
                raise ValueError("each third")

    scheduler = horus.Scheduler(tick_rate=1000)
    scheduler.add(Mixed("a", failure_policy=horus.Ignore())).add(Beats("b"))
    torn: list[object] = []
    count = [0]

    def watch() -> None:
        for _ in range(150):
            for s in scheduler.statistics().nodes.values():
                ended = s.ok + s.errors + s.timed_out + s.abandoned + s.cancelled + s.missed
                if s.ticks_released != ended + s.in_flight:
                    torn.append(s)
            count[0] += 1

    with horus.background(scheduler):
        threads = [threading.Thread(target=watch) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        until(lambda: scheduler.statistics().nodes["a"].errors > 0)
    assert torn == []
    assert count == [450]


# Results


async def test_a_callback_hears_every_result(autojump_clock: trio.testing.MockClock) -> None:
    heard: list[AsyncResult] = []

    async def tick(node: horus.Node) -> int:
        assert node.current_tick is not None
        if node.current_tick.seq == 2:
            raise ValueError("no")
        return node.current_tick.seq * 10

    scheduler = horus.Scheduler(tick_rate=1)
    scheduler.add(horus.Node("a", tick=tick, failure_policy=horus.Ignore()))
    scheduler.on_result(heard.append)
    await scheduler.run(3)
    assert [(r.node, r.seq, r.status, r.value) for r in heard] == [
        ("a", 1, TickStatus.OK, 10),
        ("a", 2, TickStatus.ERROR, None),
        ("a", 3, TickStatus.OK, 30),
    ]
    await scheduler.run(1)
    assert len(heard) == 4  # in the next run, too


async def test_a_callback_given_late_hears_what_follows(
    autojump_clock: trio.testing.MockClock,
) -> None:
    heard: list[AsyncResult] = []
    scheduler = horus.Scheduler().add(Beats("a", rate=1))
    async with running(scheduler):
        await trio.sleep(1.5)
        scheduler.on_result(heard.append)
        await trio.sleep(2)
    assert [r.scheduled for r in heard] == [2.0, 3.0]


async def test_a_callback_that_raises_ten_times_in_a_row_is_dropped(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    calls = {"bad": 0, "good": 0, "wavering": 0, "relapsing": 0}

    def bad(result: AsyncResult) -> None:
        calls["bad"] += 1
        raise RuntimeError("in the callback")

    def good(result: AsyncResult) -> None:
        calls["good"] += 1

    def wavering(result: AsyncResult) -> None:
        calls["wavering"] += 1
        if calls["wavering"] % 10:  # nine errors, one success
            raise RuntimeError("now and then")

    def relapsing(result: AsyncResult) -> None:
        calls["relapsing"] += 1
        if calls["relapsing"] != 10:  # nine errors, one success, ten errors
            raise RuntimeError("again")

    scheduler = horus.Scheduler(tick_rate=10).add(Beats("a"))
    for callback in (bad, good, wavering, relapsing):
        scheduler.on_result(callback)
    report = await scheduler.run(3)
    assert calls == {"bad": 10, "good": 30, "wavering": 30, "relapsing": 20}
    assert report.statistics.callback_errors == 10 + 27 + 19
    assert report.statistics.nodes["a"].ok == 30
    assert "failed 10 times in a row and is dropped" in caplog.text
    await scheduler.run(1)
    assert calls["bad"] == 10  # it stays dropped


async def test_results_come_through_a_channel(autojump_clock: trio.testing.MockClock) -> None:
    scheduler = horus.Scheduler().add(Beats("a", rate=1))
    got: list[float] = []
    async with scheduler.open_results() as results, running(scheduler):
        while len(got) < 3:
            got.append((await results.receive()).scheduled)
    assert got == [0.0, 1.0, 2.0]
    with pytest.raises(trio.ClosedResourceError):
        results.receive_nowait()


async def test_a_slow_reader_of_results_loses_the_oldest_and_knows_how_many(
    autojump_clock: trio.testing.MockClock,
) -> None:
    scheduler = horus.Scheduler(tick_rate=10).add(Beats("a"))
    async with scheduler.open_results(capacity=4) as slow, scheduler.open_results() as fast:
        await scheduler.run(1)
        statistics = slow.statistics()
        assert [r.seq for r in slow.drain()] == [7, 8, 9, 10]
        assert [r.seq for r in fast.drain()] == list(range(1, 11))
    assert (statistics.published, statistics.dropped, statistics.depth) == (10, 6, 4)


async def test_without_a_reader_no_result_is_made(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[object] = []
    real = AsyncResult.__init__

    def count(self: AsyncResult, **values: Any) -> None:
        made.append(values)
        real(self, **values)

    monkeypatch.setattr(AsyncResult, "__init__", count)
    scheduler = horus.Scheduler(tick_rate=10).add(Beats("a"))
    await scheduler.run(1)
    assert made == []
    async with scheduler.open_results():
        await scheduler.run(1)
    assert len(made) == 10


async def test_a_result_knows_how_late_it_was(mock_clock: trio.testing.MockClock) -> None:
    scheduler = horus.Scheduler().add(Beats("a", rate=1))
    async with scheduler.open_results() as results, trio.open_nursery() as nursery:
        await nursery.start(scheduler.run)
        await settle()
        mock_clock.jump(1.25)
        await settle()
        lateness = [(r.seq, r.scheduled, r.lateness) for r in results.drain()]
        scheduler.stop()
    assert lateness == [(1, 0.0, 0.0), (2, 1.0, 0.25)]


def test_a_callback_that_has_not_joined_a_run_leaves_it_all_the_same() -> None:
    """It was given while the run ended."""
    Observer(print).leave()


def test_before_a_run_the_options_of_a_node_may_be_changed_but_not_its_name() -> None:
    """As the command line does."""
    scheduler = horus.Scheduler(tick_rate=7).add(Beats("a"))
    assert scheduler._members["a"].rate == 7
    scheduler._change_options("a", {"rate": 5.0, "critical": True})
    assert scheduler._members["a"].rate == 5.0
    assert scheduler._members["a"].options.critical
    with pytest.raises(horus.ConfigurationError, match="a node that was added keeps its name"):
        scheduler._change_options("a", {"name": "b"})
    with pytest.raises(horus.ConfigurationError, match="process"):
        scheduler._change_options("a", {"thread": "process"})
    assert list(scheduler._members) == ["a"]
    assert scheduler._members["a"].options.thread == "pool"


def test_before_a_run_the_settings_may_be_changed() -> None:
    scheduler = horus.Scheduler(tick_rate=7).add(Beats("a")).add(Beats("b", rate=3))
    scheduler.set_rate("a", 5)
    scheduler._change_settings({"name": "robot", "stop_timeout": 2.0})
    assert (scheduler.name, scheduler.settings.stop_timeout) == ("robot", 2.0)
    assert [m.rate for m in scheduler._members.values()] == [5.0, 3.0]
    scheduler._change_settings({"tick_rate": 20.0})
    assert [m.rate for m in scheduler._members.values()] == [20.0, 3.0]
    with pytest.raises(horus.ConfigurationError, match=r"no option 'tick_rat'.*'tick_rate'"):
        scheduler._change_settings({"tick_rat": 1.0})
    with pytest.raises(horus.ConfigurationError, match="tick_rate=0"):
        scheduler._change_settings({"tick_rate": 0})
    assert scheduler.settings.tick_rate == 20.0


async def test_during_a_run_neither_settings_nor_options_are_changed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    scheduler = horus.Scheduler().add(Beats("a"))
    async with running(scheduler):
        with pytest.raises(horus.AlreadyRunning, match="its settings are fixed"):
            scheduler._change_settings({"tick_rate": 1.0})
        with pytest.raises(horus.AlreadyRunning, match="the options of nodes are fixed"):
            scheduler._change_options("a", {"rate": 1.0})


# In the first and the last moments of a run


async def test_in_real_time_the_grid_begins_when_the_beats_are_made(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Timer, "is_precise", property(lambda timer: True))
    monkeypatch.setitem(Run._begin.__globals__, "BEAT_TAKES", 0.25)
    first, second = Beats("first", rate=1), Beats("second", rate=1)
    scheduler = horus.Scheduler().add(first).add(second)
    report = await scheduler.run(2)
    assert first.ticks == second.ticks == [0.5, 1.5]
    assert report.duration == 2.0


async def test_before_a_run_has_made_its_executor_everything_works() -> None:
    """As from a thread that sees the run begin."""
    scheduler = horus.Scheduler().add(Beats("a"))
    scheduler._run_state = Run(scheduler)
    try:
        assert scheduler.add(Beats("b")) is scheduler
        scheduler.pause("a")
        scheduler.resume("a")
        scheduler.set_rate("a", 3)
        scheduler.remove("b")
        scheduler.on_result(print)
        scheduler.reset_emergency()
        assert scheduler.emergency is None
        statistics = scheduler.statistics()
        assert (statistics.running, list(statistics.nodes)) == (True, ["a"])
        assert (statistics.nodes["a"].rate, statistics.pool) == (3.0, None)
        with pytest.raises(horus.NotRunning, match="'a' is not started"):
            await scheduler.started("a")
        await scheduler.stopped("a")
    finally:
        scheduler._run_state = None


def test_what_is_asked_of_a_run_that_is_over_is_refused() -> None:
    """As in a thread that has seen it before, and comes too late."""
    scheduler = horus.Scheduler().add(Beats("a"))

    async def make_run() -> Run:
        return Run(scheduler)

    scheduler._run_state = run = trio.run(make_run)
    executor: Any = SimpleNamespace(is_on_loop=lambda: False)
    run.executor = executor
    with pytest.raises(horus.NotRunning, match="the run of scheduler 'horus' is over"):
        scheduler.pause("a")
    assert not scheduler._members["a"].paused
    scheduler._run_state = None
    scheduler._observe(Observer(print))  # it has ended meanwhile


async def test_a_late_node_that_cannot_be_started_is_free(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(run: Run, member: object) -> None:
        raise KeyboardInterrupt

    node = Beats("late")
    scheduler = horus.Scheduler().add(Beats("a"))
    async with running(scheduler):
        with monkeypatch.context() as patch:
            patch.setattr(Run, "add_late", interrupted)
            with pytest.raises(KeyboardInterrupt):
                scheduler.add(node)
        assert list(scheduler.statistics().nodes) == ["a"]
        scheduler.add(node)
        assert list(scheduler.statistics().nodes) == ["a", "late"]


async def test_a_node_may_remove_its_namesake_that_does_not_run(
    autojump_clock: trio.testing.MockClock,
) -> None:
    other = horus.Scheduler().add(Beats("a"))

    class Removes(horus.AsyncNode):
        async def tick_async(self) -> None:
            other.remove("a")
            self.request_stop()

    report = await horus.Scheduler().add(Removes("a")).run(10)
    assert report.ok
    assert other.statistics().nodes == {}


async def test_the_emergency_is_the_latest_of_the_run_and_then_of_the_last_run(
    autojump_clock: trio.testing.MockClock,
) -> None:
    scheduler = horus.Scheduler().add(Beats("a", critical=True))

    def latest() -> tuple[str, bool] | None:
        return (e.reason, e.active) if (e := scheduler.emergency) else None

    assert latest() is None
    async with running(scheduler):
        assert latest() is None
        for reason in ("one", "two", "three"):
            scheduler.emergency_stop(reason)
            assert latest() == (reason, True)
            scheduler.reset_emergency()
            assert latest() == (reason, False)
    assert latest() == ("three", False)
    idle = scheduler.emergency_stop()
    assert (idle.reason, idle.active, idle.nodes) == ("emergency_stop() was called", False, ())
    assert math.isnan(idle.at)


def test_a_dump_is_written_at_once_wherever_it_goes() -> None:
    class Paper(io.StringIO):
        flushed = False

        def flush(self) -> None:
            self.flushed = True

    paper = Paper()
    text = horus.Scheduler(name="robot").dump(paper)
    assert text.startswith("robot does not run")
    assert (paper.getvalue(), paper.flushed) == (text, True)
