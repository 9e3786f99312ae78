"""One robot, every way to run it: blocking, awaited, started, in one line, in the background."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import trio
import trio.testing

import horus_trio as horus
from horus_trio import NodeState
from horus_trio.scheduler.run import Run
from horus_trio.scheduler.surroundings import importer
from horus_trio.scheduler.watchdog import Lookout
from horus_trio.testing import open_harness


class Beats(horus.AsyncNode):
    """Counts its ticks and what else is called."""

    def __init__(self, name: str | None = "a", **options: Any) -> None:
        super().__init__(name, **options)
        self.ticks = 0
        self.calls: list[str] = []

    async def init(self) -> None:
        self.calls.append("init")

    async def tick_async(self) -> int:
        self.ticks += 1
        return self.ticks

    async def shutdown(self) -> None:
        self.calls.append("shutdown")


class Fails(Beats):
    async def tick_async(self) -> int:
        raise ValueError("no")


class SlowToStart(Beats):
    """What happens before it is initialised, happens before the robot has started."""

    async def init(self) -> None:
        await trio.sleep(0.1)


def stop_at(ticks: int, **options: Any) -> Beats:
    """A node that stops the run in that tick."""

    class Stops(Beats):
        async def tick_async(self) -> int:
            if await super().tick_async() == ticks:
                self.request_stop("done")
            return self.ticks

    return Stops(**options)


def completed(node: Beats) -> bool:
    return node.calls == ["init", "shutdown"] and node.ticks > 0


# The spellings of Scheduler.run


def test_outside_a_trio_run_it_blocks() -> None:
    node = stop_at(5)
    report = horus.Scheduler(tick_rate=1000).add(node).run()
    assert isinstance(report, horus.RunReport)
    assert (report.reason, report.ok) == ("done", True)
    assert node.ticks >= 5  # a tick that was due before the stop was seen may follow
    assert completed(node)


def test_it_blocks_in_a_thread_as_well() -> None:
    reports: list[horus.RunReport] = []
    scheduler = horus.Scheduler(tick_rate=1000).add(stop_at(2))
    thread = threading.Thread(target=lambda: reports.append(scheduler.run()))
    thread.start()
    thread.join(20)
    assert [report.reason for report in reports] == ["done"]


def test_it_is_an_async_function_for_trio() -> None:
    node = stop_at(3)
    scheduler = horus.Scheduler(tick_rate=1000).add(node)
    report = trio.run(scheduler.run)
    assert report is scheduler.report
    assert completed(node)
    trio.run(scheduler.run, 0.01)
    assert scheduler.report is not None
    assert scheduler.report.reason == "its duration of 0.01 s was over"


async def test_it_can_be_awaited(autojump_clock: trio.testing.MockClock) -> None:
    node = Beats()
    scheduler = horus.Scheduler(tick_rate=10).add(node)
    await trio.sleep(3)
    report = await scheduler.run(2)
    assert trio.current_time() == 5
    assert report.duration == 2.0
    assert node.ticks == 20
    assert completed(node)


@pytest.mark.parametrize(("duration", "ticks"), [(0.95, 10), (1, 10), (1.05, 11)])
async def test_n_seconds_at_r_hz_are_n_times_r_ticks(
    autojump_clock: trio.testing.MockClock, duration: float, ticks: int
) -> None:
    node = Beats()
    await horus.Scheduler(tick_rate=10).add(node).run(duration)
    assert node.ticks == ticks


async def test_a_nursery_can_start_it(autojump_clock: trio.testing.MockClock) -> None:
    class Slow(Beats):
        async def init(self) -> None:
            await trio.sleep(2)
            await super().init()

    node = Slow()
    scheduler = horus.Scheduler(tick_rate=1).add(node)
    async with trio.open_nursery() as nursery:
        assert await nursery.start(scheduler.run) is None
        assert trio.current_time() == 2
        assert node.calls == ["init"]
        assert scheduler.statistics().running
        await trio.sleep(3.5)
        scheduler.stop()
    assert node.ticks == 4
    assert completed(node)


async def test_a_nursery_can_start_it_for_a_duration(
    autojump_clock: trio.testing.MockClock,
) -> None:
    scheduler = horus.Scheduler().add(Beats())
    async with trio.open_nursery() as nursery:
        await nursery.start(scheduler.run, 2)
    assert trio.current_time() == 2


async def test_it_is_started_though_a_node_is_left_to_its_policy(
    autojump_clock: trio.testing.MockClock,
) -> None:
    class Broken(Beats):
        async def init(self) -> None:
            raise OSError("no")

    scheduler = horus.Scheduler().add(Broken("broken")).add(Beats())
    async with trio.open_nursery() as nursery:
        await nursery.start(scheduler.run)
        assert trio.current_time() == 0
        assert scheduler.statistics().nodes["broken"].state is NodeState.BACKING_OFF
        scheduler.stop()


async def test_two_robots_run_side_by_side(autojump_clock: trio.testing.MockClock) -> None:
    nodes = [Beats(), Beats()]
    async with trio.open_nursery() as nursery:
        for node in nodes:
            nursery.start_soon(horus.Scheduler(tick_rate=10).add(node).run, 1)
    assert [node.ticks for node in nodes] == [10, 10]


async def test_cancelling_it_stops_the_robot_properly(
    autojump_clock: trio.testing.MockClock,
) -> None:
    node = Beats()
    scheduler = horus.Scheduler(tick_rate=10).add(node)
    with trio.move_on_after(1.05) as scope:
        await scheduler.run()
    assert scope.cancelled_caught
    assert node.ticks == 11
    assert completed(node)
    assert scheduler.report is not None
    assert scheduler.report.reason == "it was cancelled"
    assert not scheduler.statistics().running


# Again and again


async def test_it_runs_again_and_again(autojump_clock: trio.testing.MockClock) -> None:
    node = Beats()
    scheduler = horus.Scheduler(tick_rate=10).add(node)
    for n in range(1, 6):
        report = await scheduler.run(1)
        assert report is scheduler.report
        assert report.statistics.nodes["a"].ok == 10  # counted anew
        assert node.ticks == 10 * n
    assert node.calls == ["init", "shutdown"] * 5


def test_it_runs_again_under_another_loop() -> None:
    node = Beats()
    scheduler = horus.Scheduler(tick_rate=1000).add(node)
    reader = scheduler.topic("t").subscribe()
    for _ in range(3):
        scheduler.run(0.005)
        trio.run(scheduler.run, 0.005)
    scheduler.topic("t").send(1)
    assert reader.receive_nowait() == 1  # a topic outlives runs
    assert node.calls == ["init", "shutdown"] * 6


async def test_it_runs_again_after_a_failure(autojump_clock: trio.testing.MockClock) -> None:
    scheduler = horus.Scheduler().add(Fails(failure_policy=horus.Fatal()))
    for _ in range(2):
        with pytest.raises(horus.RunFailed):
            await scheduler.run()
    assert scheduler.report is not None
    assert [failure.node for failure in scheduler.report.failed] == ["a"]
    scheduler.remove("a")
    assert (await scheduler.add(Beats("b")).run(1)).ok


async def test_messages_of_an_earlier_run_are_not_the_latest_of_the_next(
    autojump_clock: trio.testing.MockClock,
) -> None:
    seen: list[object] = []

    class Looks(horus.AsyncNode):
        async def tick_async(self) -> None:
            seen.append(self.latest("t", default="nothing"))
            self.send("t", "of this run")

    scheduler = horus.Scheduler(tick_rate=2).add(Looks())
    await scheduler.run(1)
    await scheduler.run(1)
    assert seen == ["nothing", "of this run"] * 2


# What a run says


async def test_a_fatal_failure_is_raised_with_its_report(
    autojump_clock: trio.testing.MockClock,
) -> None:
    scheduler = horus.Scheduler(name="robot").add(Fails(failure_policy=horus.Fatal()))
    with pytest.raises(horus.RunFailed, match="robot: node 'a' failed") as caught:
        await scheduler.run()
    assert caught.value.report is scheduler.report
    (error,) = caught.value.exceptions
    assert isinstance(error, ValueError)
    matched, rest = caught.value.split(ValueError)
    assert isinstance(matched, horus.RunFailed)
    assert matched.report is scheduler.report
    assert rest is None


async def test_a_failed_node_leaves_its_siblings_running(
    autojump_clock: trio.testing.MockClock,
) -> None:
    node = Beats("well")
    scheduler = horus.Scheduler(tick_rate=10).add(node)
    scheduler.add(Fails("ill", failure_policy=horus.Restart(0)))
    report = await scheduler.run(1)
    assert node.ticks == 10
    assert not report.ok
    assert [(f.node, f.fatal) for f in report.failed] == [("ill", False)]


async def test_a_robot_of_failed_nodes_ends(autojump_clock: trio.testing.MockClock) -> None:
    scheduler = horus.Scheduler()
    for name in "ab":
        scheduler.add(Fails(name, failure_policy=horus.Restart(0)))
    with pytest.raises(horus.RunFailed, match="every node has failed") as caught:
        await scheduler.run()
    assert [type(error) for error in caught.value.exceptions] == [ValueError, ValueError]
    assert caught.value.report is not None
    assert [failure.fatal for failure in caught.value.report.failed] == [True, True]


def test_a_scheduler_shows_its_state() -> None:
    scheduler = horus.Scheduler(name="robot").add(Beats())
    assert repr(scheduler) == "<Scheduler 'robot', 1 node(s), idle>"
    with horus.background(scheduler):
        assert repr(scheduler) == "<Scheduler 'robot', 1 node(s), running>"
    assert repr(horus.AsyncScheduler()) == "<AsyncScheduler 'horus', 0 node(s), idle>"


@pytest.mark.parametrize(("interval", "in_run"), [(None, 0.00025), (0.001, 0.001)])
def test_the_switch_interval_is_the_runs_alone(interval: float | None, in_run: float) -> None:
    before = sys.getswitchinterval()
    seen: list[float] = []

    class Looks(Beats):
        async def tick_async(self) -> int:
            seen.append(sys.getswitchinterval())
            self.request_stop()
            return 0

    horus.Scheduler(switch_interval=interval).add(Looks()).run()
    assert before > in_run  # else this shows nothing
    assert seen[0] == pytest.approx(in_run)
    assert sys.getswitchinterval() == before


async def test_runs_that_overlap_leave_the_switch_interval_as_it_was(
    autojump_clock: trio.testing.MockClock,
) -> None:
    before = sys.getswitchinterval()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(horus.Scheduler().add(Beats()).run, 2)
        await trio.sleep(1)
        nursery.start_soon(horus.Scheduler().add(Beats()).run, 2)
    assert sys.getswitchinterval() == before


# One line


def test_one_line_runs_nodes_and_frees_them() -> None:
    nodes = [stop_at(3), Beats("b")]
    for _ in range(2):
        report = horus.run(*nodes, tick_rate=500)
        assert report.reason == "done"
        nodes[0].ticks = 0
    assert nodes[1].calls == ["init", "shutdown"] * 2


def test_one_line_takes_factories_a_duration_and_settings() -> None:
    report = horus.run(Beats, duration=0.02, tick_rate=500, name="robot")
    assert report.name == "robot"
    assert report.statistics.nodes["a"].ok > 0


async def test_one_line_can_be_awaited(autojump_clock: trio.testing.MockClock) -> None:
    node = Beats()
    for _ in range(2):
        report = await horus.run(node, duration=1, tick_rate=10)
        assert report.ok
    assert node.ticks == 20


def test_one_line_frees_the_nodes_of_a_failed_run() -> None:
    node = Fails(failure_policy=horus.Fatal())
    for _ in range(2):
        with pytest.raises(horus.RunFailed):
            horus.run(node)


def test_one_line_frees_the_nodes_though_the_next_cannot_be_made() -> None:
    node = Beats()

    def interrupted() -> horus.Node:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        horus.run(node, interrupted)
    horus.Scheduler().add(node)


# In the background


def test_background_runs_beside_this_thread() -> None:
    node = Beats()
    with horus.background(node, tick_rate=500, name="robot") as scheduler:
        assert node.calls == ["init"]
        assert scheduler.name == "robot"
        (thread,) = [t for t in threading.enumerate() if t.name == "horus_trio robot"]
        assert thread.daemon  # a robot that hangs does not keep the program from ending
        assert scheduler.statistics().running
        reader = scheduler.topic("t").subscribe()
        scheduler.add(horus.Node("b", tick=lambda n: n.send("t", threading.get_ident())))
        for _ in range(4000):
            if reader.depth and node.ticks:
                break
            threading.Event().wait(0.005)
        assert reader.receive_nowait() != threading.get_ident()
    assert completed(node)
    assert scheduler.report is not None
    assert scheduler.report.reason == "its background block was left"
    with horus.background([node, Beats("c")]):  # several, and the node is free again
        pass
    assert node.calls == ["init", "shutdown"] * 2


def test_background_takes_a_scheduler_and_leaves_it_its_nodes() -> None:
    node = Beats()
    scheduler = horus.Scheduler().add(node)
    for _ in range(2):
        with horus.background(scheduler) as given:
            assert given is scheduler
    assert list(scheduler.statistics().nodes) == ["a"]


def test_background_raises_what_the_run_raises() -> None:
    def until_over(scheduler: horus.Scheduler) -> None:
        for _ in range(4000):
            if not scheduler.statistics().running:
                return
            threading.Event().wait(0.005)
        pytest.fail("it runs on")

    with (
        pytest.raises(horus.RunFailed) as caught,
        horus.background(Fails(failure_policy=horus.Fatal(), phase=0.05)) as scheduler,
    ):
        until_over(scheduler)
    assert [type(error) for error in caught.value.exceptions] == [ValueError]


def test_background_raises_what_the_start_raises() -> None:
    class Broken(Beats):
        async def init(self) -> None:
            raise OSError("no camera")

    entered = False
    with (
        pytest.raises(horus.RunFailed) as caught,
        horus.background([Broken(failure_policy=horus.Fatal()), SlowToStart("b", order=1)]),
    ):
        entered = True
    assert not entered
    assert [type(error) for error in caught.value.exceptions] == [OSError]


def test_background_ends_well_though_the_robot_ended_before() -> None:
    class Stops(Beats):
        async def init(self) -> None:
            self.request_stop("in init")

    entered = False
    with horus.background([Stops(), SlowToStart("b", order=1)]) as scheduler:
        entered = True
    assert entered
    assert scheduler.report is not None
    assert scheduler.report.reason == "in init"


def test_an_error_in_the_block_stops_the_robot_and_comes_out() -> None:
    node = Beats()
    with pytest.raises(KeyError), horus.background(node):
        raise KeyError("mine")
    assert node.calls == ["init", "shutdown"]


async def test_background_works_beside_another_trio_run() -> None:
    node = Beats()

    def use() -> None:
        with horus.background(node) as scheduler:
            scheduler.pause("a")
            scheduler.resume("a")

    with trio.fail_after(20):
        await trio.to_thread.run_sync(use)
    assert node.calls == ["init", "shutdown"]


def test_background_works_inside_asyncio() -> None:
    node = Beats(rate=500)

    async def main() -> None:
        with horus.background(node):
            for _ in range(4000):
                if node.ticks:
                    return
                await asyncio.sleep(0.005)

    asyncio.run(main())
    assert completed(node)


# Under HORUS's names


async def test_an_async_scheduler_has_the_other_names(
    autojump_clock: trio.testing.MockClock,
) -> None:
    values: list[int] = []
    scheduler = horus.AsyncScheduler(10, on_result=lambda r: values.append(r.value), name="robot")
    assert scheduler.add_async(Beats()) is scheduler
    report = await scheduler.run_async(0.5)
    assert (report.name, values) == ("robot", [1, 2, 3, 4, 5])
    assert (await scheduler.run(0.1)).ok


# A robot as a program: nothing happens to a coroutine that nobody awaits, and it is said

FORGOTTEN = """
import horus_trio as horus, trio

class Beats(horus.AsyncNode):
    async def tick_async(self):
        print("tick")

async def main():
    horus.Scheduler().add(Beats()).run(1)

trio.run(main)
"""


@pytest.mark.slow
def test_a_run_that_nobody_awaits_is_warned_about() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORGOTTEN], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.stdout == ""
    assert "was never awaited" in done.stderr


def test_a_late_wake_up_releases_nothing_past_the_end() -> None:
    """n seconds at r Hz are n * r releases, even if the loop is blocked across the end."""

    class Blocking(horus.AsyncNode):
        ticks = 0

        async def tick_async(self) -> None:
            self.ticks += 1
            if self.ticks == 28:
                time.sleep(0.1)  # noqa: ASYNC251 - from 0.27 s to 0.37 s, past the end

    report = horus.run(Blocking("blocking", rate=100), duration=0.3)
    node = report.statistics.nodes["blocking"]
    assert node.ticks_released == 30
    assert node.ok + node.missed == 30


async def test_a_stop_is_forced_once_on_virtual_time_too() -> None:
    async def hangs(node: horus.Node) -> None:
        await trio.sleep_forever()

    async with open_harness(horus.Node("a", tick=hangs)) as h:
        await h.advance(0.1)
        h.scheduler.stop("enough")
        await h.settle()
        run = h.scheduler._run_state
        assert run is not None
        run.force("SIGTERM")
        run.force("SIGINT")
        report = await h.stop()
    assert (report.reason, report.forced_by) == ("enough, forced by SIGTERM", "SIGTERM")
    assert report.statistics.nodes["a"].cancelled == 1


async def test_the_watchdog_hears_of_a_forced_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has less patience then."""

    async def hangs(node: horus.Node) -> None:
        await trio.sleep_forever()

    heard: list[str] = []
    scheduler = horus.Scheduler(signals=False).add(horus.Node("a", tick=hangs))
    async with trio.open_nursery() as nursery:
        await nursery.start(scheduler.run)
        run = scheduler._run_state
        assert run is not None
        assert run._lookout is not None
        monkeypatch.setattr(run._lookout, "stop_forced", lambda: heard.append("forced"))
        scheduler.stop("enough")
        run.force("SIGTERM")
    assert heard == ["forced"]


async def test_at_a_second_signal_the_robot_is_made_safe_and_the_watchdog_hears_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Arm(Beats):
        async def enter_safe_state(self) -> None:
            self.calls.append("safe")

    arm, heard = Arm(critical=True), []
    scheduler = horus.Scheduler(signals=False).add(arm)
    async with trio.open_nursery() as nursery:
        await nursery.start(scheduler.run)
        run = scheduler._run_state
        assert run is not None
        assert run._lookout is not None
        with monkeypatch.context() as patch:
            patch.setattr(run._lookout, "stop_forced", lambda: heard.append("forced"))
            run._second_signal("a second signal, SIGINT")
        assert heard == ["forced"]
        scheduler.stop()
    assert arm.calls == ["init", "safe", "shutdown"]
    assert scheduler.report is not None
    (emergency,) = scheduler.report.emergencies
    assert emergency.reason == "a second signal, SIGINT"


@pytest.mark.parametrize("scheduler", [horus.Scheduler(), horus.AsyncScheduler()])
def test_no_run_begins_in_a_program_that_is_only_imported(scheduler: horus.Scheduler) -> None:
    importing = importer.set("the shell")
    try:
        with pytest.raises(horus.ConfigurationError, match="the shell runs the robot itself, and"):
            scheduler.run(0)
    finally:
        importer.reset(importing)
    assert scheduler.run(0).ok


async def test_signals_before_anything_has_started_find_nobody() -> None:
    scheduler = horus.Scheduler().add(Beats())
    run = Run(scheduler)
    run._second_signal("a second signal, SIGINT")
    run.force("SIGINT")
    run.add_late(scheduler._members["a"])
    assert not run.emergency_stop("a button").active
    assert run.emergencies() == ()
    assert run.stalls() == (0, ())
    assert run.elapsed() == 0.0
    run._epoch = run.now() + 1  # the grid begins when the beats are made
    assert run.elapsed() == 0.0


async def test_the_watchdog_hears_of_a_stop_that_came_before_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is asked for in the first moments of the run."""
    heard: list[str] = []
    monkeypatch.setattr(Lookout, "stop_asked", lambda lookout: heard.append("stop"))
    scheduler = horus.Scheduler(signals=False).add(Beats())

    @contextlib.contextmanager
    def stopped_at_once(executor: object) -> Iterator[None]:
        scheduler.stop("at once")
        assert heard == []
        yield

    scheduler._profile = stopped_at_once
    report = await scheduler.run()
    assert report.reason == "at once"
    assert heard == ["stop"]


async def test_a_node_with_a_phase_of_its_own_takes_no_place_among_those_that_are_spread(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def tick(node: horus.Node) -> None:
        """Nothing."""

    first: dict[str, float] = {}
    scheduler = horus.Scheduler(tick_rate=10)
    scheduler.on_result(lambda result: first.setdefault(result.node, result.scheduled))
    scheduler.add(horus.Node("a", tick=tick))
    scheduler.add(horus.Node("b", tick=tick, phase=0.03))
    scheduler.add(horus.Node("c", tick=tick))
    await scheduler.run(0.5)
    assert first["b"] - first["a"] == pytest.approx(0.03)
    assert first["c"] - first["a"] == pytest.approx(0.05)
