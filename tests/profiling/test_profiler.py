"""What a profile says of a run: exactly on a virtual clock, and of threads in real time.

Instants on the virtual clock are sums of powers of two, so they are exact and compared with `==`.
"""

from __future__ import annotations

import contextlib
import io
import json
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

import horus_trio as horus
from horus_trio import AlreadyRunning, ConfigurationError, Node, NotRunning, Restart, Scheduler
from horus_trio.profiling import NodeProfile, Profiler, Times
from horus_trio.testing import blocking_delay, open_harness


def only(profiler: Profiler) -> NodeProfile:
    [node] = profiler.report().nodes
    return node


def seq_of(node: Node) -> int:
    return 0 if node.current_tick is None else node.current_tick.seq


async def no_op(node: Node) -> None:
    pass


# On the loop, in virtual time


async def test_awaiting_is_exact(autojump_clock: MockClock) -> None:
    async def tick(node: Node) -> None:
        await trio.sleep(0.25)

    scheduler = Scheduler(tick_rate=2).add(Node("sleeper", tick=tick))
    with Profiler(scheduler) as profiler:
        await scheduler.run(2)
    report, node = profiler.report(), only(profiler)
    assert (report.name, report.elapsed, report.dropped) == ("horus", 2.0, 0)
    assert (node.name, node.where, node.ticks) == ("sleeper", "loop", 4)
    assert node.awaiting == Times(total=1.0, share=0.5, p50=0.25, p99=0.25, max=0.25)
    assert node.late == node.waiting == node.running == node.step == Times()
    assert (node.longest_step, node.longest_in, node.blocking_steps) == (0.0, "", 0)
    assert node.cpu is None


async def test_each_step_and_each_await_is_exact(mock_clock: MockClock) -> None:
    """Code that takes time on the loop is code that moves the clock itself."""
    arrived: list[float] = []

    async def tick(node: Node) -> str:
        mock_clock.jump(0.125)
        await trio.sleep(0.5)
        mock_clock.jump(0.25)
        await trio.lowlevel.checkpoint()
        mock_clock.jump(0.0625)
        arrived.append(trio.current_time())
        return "done"

    scheduler = Scheduler().add(Node("worker", tick=tick, on="go"))
    with Profiler(scheduler) as profiler:
        async with trio.open_nursery() as nursery, scheduler.open_results() as results:
            await nursery.start(scheduler.run)
            scheduler.topic("go").send(None)
            await trio.testing.wait_all_tasks_blocked()
            mock_clock.jump(0.5)
            result = await results.receive()
            scheduler.stop()
    node = only(profiler)
    assert (result.value, result.duration) == ("done", 0.9375)
    assert node.running.total == 0.4375
    assert node.awaiting.total == 0.5
    assert (node.longest_step, node.longest_in, node.blocking_steps) == (0.25, "tick 1", 3)
    assert node.step == Times(p50=0.25, p99=0.25, max=0.25)


async def test_a_tick_that_begins_late_has_waited_for_the_loop(mock_clock: MockClock) -> None:
    async def tick(node: Node) -> None:
        pass

    scheduler = Scheduler(tick_rate=1).add(Node("late", tick=tick))
    with Profiler(scheduler) as profiler:
        async with trio.open_nursery() as nursery:
            await nursery.start(scheduler.run)
            await trio.testing.wait_all_tasks_blocked()
            mock_clock.jump(1.25)
            await trio.testing.wait_all_tasks_blocked()
            scheduler.stop()
    assert only(profiler).late == Times(total=0.25, share=0.2, p50=0.0, p99=0.25, max=0.25)


async def test_sums_know_of_all_ticks_and_percentiles_of_the_latest(
    autojump_clock: MockClock,
) -> None:
    times = iter(range(1, 1000))

    async def tick(node: Node) -> None:
        if (n := next(times)) > 200:
            await trio.sleep(0.25)
        elif n > 100:
            await trio.sleep(0.125)

    scheduler = Scheduler(tick_rate=2).add(Node("sleeper", tick=tick))
    with Profiler(scheduler, keep=20) as profiler:
        await scheduler.run(150)
    report, node = profiler.report(), only(profiler)
    assert node.ticks == 300
    assert report.dropped == 280
    assert node.awaiting.total == 100 * 0.125 + 100 * 0.25
    assert (node.awaiting.p50, node.awaiting.max) == (0.25, 0.25)


@pytest.mark.parametrize("keep", [1, 64, 65, 1000])
async def test_ticks_of_one_step_are_counted_whatever_is_kept(
    mock_clock: MockClock, keep: int
) -> None:
    async def tick(node: Node) -> None:
        mock_clock.jump(0.0625 if seq_of(node) == 7 else 0.015625)

    scheduler = Scheduler(tick_rate=1).add(Node("quick", tick=tick))
    with Profiler(scheduler, keep=keep) as profiler:
        mock_clock.autojump_threshold = 0
        await scheduler.run(300)
    node = only(profiler)
    assert node.ticks == 300
    assert node.running.total == 299 * 0.015625 + 0.0625
    assert (node.longest_step, node.longest_in, node.blocking_steps) == (0.0625, "tick 7", 300)
    assert profiler.report().dropped == 300 - min(300, max(16, keep))


# How ticks end


async def test_a_tick_behaves_as_if_nobody_looked(autojump_clock: MockClock) -> None:
    """Value, error, time limit, and the frames of the traceback."""

    async def tick(node: Node) -> Any:
        seq = seq_of(node)
        if seq == 2:
            await trio.lowlevel.checkpoint()
            raise ValueError("after a pause")
        if seq == 3:
            raise ValueError("at once")
        if seq == 4:
            try:
                await trio.sleep(9)
            finally:
                node.send("cleaned", trio.current_effective_deadline() == -float("inf"))
        return seq

    def robot() -> Scheduler:
        return Scheduler(tick_rate=1).add(
            Node("node", tick=tick), tick_timeout=0.5, failure_policy=horus.Ignore()
        )

    async def results_of(scheduler: Scheduler) -> list[tuple[Any, ...]]:
        async with scheduler.open_results() as results:
            await scheduler.run(5)
            found = [results.receive_nowait() for _ in range(5)]
        return [
            (
                r.seq,
                r.status,
                r.started - r.scheduled,
                r.duration,
                r.value,
                repr(r.error),
                [] if r.error is None else traceback.format_tb(r.error.__traceback__),
            )
            for r in found
        ]

    plain, profiled = robot(), robot()
    cleaned = profiled.topic("cleaned").subscribe()
    expected = await results_of(plain)
    with Profiler(profiled) as profiler:
        assert await results_of(profiled) == expected
    assert cleaned.receive_nowait() is True
    assert only(profiler).ticks == 5
    assert statuses(profiler) == ["ok", "error", "error", "timed out", "ok"]


def statuses(profiler: Profiler, what: str = "tick") -> list[str]:
    """How the ticks ended, as the trace tells it."""
    return [
        event["args"]["status"]
        for event in trace_of(profiler)
        if event["ph"] == "X" and event["name"].startswith(what)
    ]


def trace_of(profiler: Profiler) -> list[dict[str, Any]]:
    class File(list[str]):
        write = list.append

    file = File()
    profiler.write_trace(file)  # type: ignore[arg-type]
    events: list[dict[str, Any]] = json.loads("".join(file))["traceEvents"]
    return events


async def test_a_tick_that_a_stop_cuts_short_was_cancelled(autojump_clock: MockClock) -> None:
    async def tick(node: Node) -> None:
        await trio.sleep(60)

    scheduler = Scheduler(tick_rate=1).add(Node("endless", tick=tick))
    with Profiler(scheduler) as profiler:
        await scheduler.run(2)
    assert statuses(profiler) == ["cancelled"]
    assert only(profiler).awaiting.total == 2.5


async def test_groups_of_errors_and_of_cancellations(autojump_clock: MockClock) -> None:
    async def fail() -> None:
        raise ValueError

    async def tick(node: Node) -> None:
        async with trio.open_nursery() as nursery:
            if seq_of(node) == 1:
                nursery.start_soon(fail)
            nursery.start_soon(trio.sleep, 60)

    scheduler = Scheduler(tick_rate=1).add(
        Node("groups", tick=tick), tick_timeout=0.5, failure_policy=horus.Ignore()
    )
    with Profiler(scheduler) as profiler:
        await scheduler.run(2)
    assert statuses(profiler) == ["error", "timed out"]


async def test_an_awaitable_that_is_no_coroutine(autojump_clock: MockClock) -> None:
    async def sleep() -> int:
        await trio.sleep(0.5)
        return 7

    class Awaitable:
        def __await__(self) -> Any:
            return sleep().__await__()

    class Ticking:
        async def __call__(self, node: Node) -> int:
            return int(await Awaitable())

    scheduler = Scheduler(tick_rate=1).add(Node("odd", tick=Ticking()))
    with Profiler(scheduler) as profiler:
        async with scheduler.open_results() as results:
            await scheduler.run(1)
            assert results.receive_nowait().value == 7
    assert only(profiler).awaiting.total == 0.5


async def test_a_task_that_waits_shows_its_own_frames(autojump_clock: MockClock) -> None:
    """So who looks for what a node waits for finds it."""
    found: list[str] = []

    async def inner() -> None:
        await trio.sleep(10)

    async def tick(node: Node) -> None:
        await inner()

    scheduler = Scheduler(tick_rate=1).add(Node("waiting", tick=tick))
    with Profiler(scheduler):
        async with trio.open_nursery() as nursery:
            await nursery.start(scheduler.run)
            await trio.sleep(0.5)
            found.append(scheduler.dump(file=io.StringIO()))
            scheduler.stop()
    [line] = [line for line in found[0].splitlines() if "in tick 1 for" in line]
    assert line.endswith("in inner")


# Runs


async def test_a_restart_is_measured_on(autojump_clock: MockClock) -> None:
    class Fragile(horus.AsyncNode):
        async def init(self) -> None:
            await trio.sleep(0.25)

        async def tick_async(self) -> None:
            await trio.sleep(0.25)
            raise ValueError

    scheduler = Scheduler(tick_rate=1)
    scheduler.add(
        Fragile, name="fragile", failure_policy=Restart(backoff=0.25, jitter=0, max_backoff=0.25)
    )
    with Profiler(scheduler) as profiler:
        await scheduler.run(4)
    node = only(profiler)
    assert (node.ticks, node.awaiting.total) == (4, 1.0)
    assert len(statuses(profiler, "init")) == 5


async def test_it_holds_one_run(autojump_clock: MockClock) -> None:
    scheduler = Scheduler(tick_rate=1).add(Node("node", tick=no_op))
    with Profiler(scheduler) as profiler:
        await scheduler.run(3)
        assert only(profiler).ticks == 3
        await scheduler.run(1)
        assert only(profiler).ticks == 1
    await scheduler.run(2)  # nobody looks any more
    assert only(profiler).ticks == 1


async def test_a_run_that_goes_on_can_be_looked_at(autojump_clock: MockClock) -> None:
    scheduler = Scheduler(tick_rate=1).add(Node("node", tick=no_op))
    with Profiler(scheduler) as profiler:
        async with trio.open_nursery() as nursery:
            await nursery.start(scheduler.run)
            await trio.sleep(2.5)
            assert (profiler.report().elapsed, only(profiler).ticks) == (2.5, 3)
            scheduler.remove("node")
            await scheduler.stopped("node")
            scheduler.add(Node("node", tick=no_op))  # another one, of that name
            await trio.sleep(2)
            scheduler.stop()
    assert only(profiler).ticks == 5


async def test_a_block_that_is_left_during_a_run_measures_it_to_its_end(
    autojump_clock: MockClock,
) -> None:
    scheduler = Scheduler(tick_rate=1).add(Node("node", tick=no_op))
    async with trio.open_nursery() as nursery:
        with Profiler(scheduler) as profiler:
            await nursery.start(scheduler.run)
            await trio.sleep(1.5)
        await trio.sleep(1)
        scheduler.stop()
    assert only(profiler).ticks == 3


async def test_a_harness_can_be_profiled_and_def_ticks_keep_its_time() -> None:
    class Slow(horus.Node):
        def tick(self) -> None:
            blocking_delay(0.5)

    scheduler = Scheduler(tick_rate=1).add(Slow("slow"))
    with Profiler(scheduler) as profiler:
        async with open_harness(scheduler) as h:
            h.delay("tick", 0.25, at=2)
            await h.advance(2.0)
    node = only(profiler)
    assert (node.ticks, node.where) == (2, "pool")
    assert node.running.total == 2 * 0.5 + 0.25


def test_ticks_in_a_process_are_timed_in_their_worker(
    require: Callable[[str, bool, str], None],
) -> None:
    try:
        import trio_parallel  # noqa: F401
    except ImportError:
        require("trio-parallel", False, "pip install 'horus-trio[parallel]'")
    import process_nodes as nodes

    scheduler = Scheduler(tick_rate=10).add(nodes.Worker(nodes.burn, name="worker"))
    results: list[horus.AsyncResult] = []
    scheduler.on_result(results.append)
    with Profiler(scheduler) as profiler:
        scheduler.run(0.5)
    node = only(profiler)
    assert (node.where, node.cpu) == ("process", None)
    assert node.ticks == len(results) > 0
    durations = sum(result.duration for result in results)
    assert durations - 0.01 * node.ticks < node.running.total < durations
    assert node.waiting.p50 > 0


# Misuse


def test_what_is_no_scheduler_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"Profiler\(3\): expected the horus_trio.Sched"):
        Profiler(3)  # type: ignore[arg-type]


@pytest.mark.parametrize("keep", [0, -1, 2.5, True, None])
def test_what_cannot_be_kept_is_refused(keep: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"Profiler\(keep=.*: expected a whole number"):
        Profiler(Scheduler(), keep=keep)


def test_one_profiler_at_a_time() -> None:
    scheduler = Scheduler()
    with Profiler(scheduler) as profiler:
        for other in (profiler, Profiler(scheduler)):
            with pytest.raises(AlreadyRunning, match="has a profiler already; leave its"), other:
                pass
    with profiler:  # it can be attached again
        pass


async def test_a_run_has_to_begin_with_it(autojump_clock: MockClock) -> None:
    scheduler = Scheduler().add(Node("node", tick=no_op))
    async with trio.open_nursery() as nursery:
        await nursery.start(scheduler.run)
        with pytest.raises(AlreadyRunning, match="attach the profiler before"), Profiler(scheduler):
            pass
        scheduler.stop()


def test_there_is_nothing_to_say_before_a_run(tmp_path: Path) -> None:
    profiler = Profiler(Scheduler(name="rover"))
    with pytest.raises(NotRunning, match="has not run while the profiler was attached"):
        profiler.report()
    with pytest.raises(NotRunning):
        profiler.write_trace(tmp_path / "trace.json")
    assert not (tmp_path / "trace.json").exists()


async def test_its_repr_says_how_far_it_is(autojump_clock: MockClock) -> None:
    scheduler = Scheduler(tick_rate=1, name="rover").add(Node("node", tick=no_op))
    profiler = Profiler(scheduler)
    assert repr(profiler) == "<Profiler of 'rover', not attached>"
    with profiler:
        assert repr(profiler) == "<Profiler of 'rover', attached>"
        await scheduler.run(3)
        assert repr(profiler) == "<Profiler of 'rover', attached, 3 tick(s) of a run>"


# In threads, in real time


def test_a_thread_that_waits_and_one_that_computes() -> None:
    class Waiting(horus.Node):
        def tick(self) -> None:
            time.sleep(0.02)

    class Computing(horus.Node):
        def tick(self) -> None:
            end = time.thread_time() + 0.02
            while time.thread_time() < end:
                pass

    scheduler = Scheduler(tick_rate=20)
    scheduler.add(Waiting(), thread="own").add(Computing())
    with Profiler(scheduler) as profiler:
        scheduler.run(1.0)
    waiting, computing = profiler.report().nodes
    assert (waiting.where, computing.where) == ("own", "pool")
    for node in (waiting, computing):
        assert node.ticks >= 10  # enough for a hint, also on a machine that is busy
        assert node.running.p50 >= 0.02
        assert node.awaiting.total == 0
        assert node.longest_step == 0
    assert waiting.cpu is not None
    assert computing.cpu is not None
    assert waiting.cpu < 0.1
    assert computing.cpu > 3 * waiting.cpu
    assert any("mostly waits for I/O" in hint for hint in waiting.hints)


@pytest.mark.slow
def test_a_full_pool_is_seen_from_both_sides() -> None:
    class Slow(horus.Node):
        def tick(self) -> None:
            time.sleep(0.05)

    scheduler = Scheduler(tick_rate=10, limiter=trio.CapacityLimiter(1))
    for name in "abc":
        scheduler.add(Slow(name), phase=0.0)
    with Profiler(scheduler) as profiler:
        scheduler.run(2.0)
    report = profiler.report()
    assert report.pool.tokens == 1
    assert report.pool.saturation > 0.8
    assert report.pool.taken > 0.8
    assert report.pool.waiting > 0.6
    assert sum(node.waiting.share for node in report.nodes) > 0.6
    assert any("give it thread='own'" in hint for hint in report.hints)
    assert scheduler.settings.limiter is not None
    assert scheduler.settings.limiter.borrowed_tokens == 0


@pytest.mark.slow
def test_a_thread_that_is_left_behind() -> None:
    released = threading.Event()

    class Hung(horus.Node):
        def tick(self) -> None:
            released.wait(20)

    scheduler = Scheduler(tick_rate=10).add(Hung("hung"), tick_timeout=0.2, shutdown_timeout=0.1)
    with Profiler(scheduler) as profiler:
        scheduler.run(0.5)
    before = profiler.report()
    try:
        assert statuses(profiler) == ["abandoned"]
        assert before.pool.abandoned == 1
        assert 0.15 < only(profiler).running.total < 0.45  # until it was given up
    finally:
        released.set()
    for thread in threading.enumerate():
        if thread.name.startswith("pool"):
            thread.join(5)
    assert profiler.report() == before


def test_errors_in_a_thread_have_the_users_frames_alone() -> None:
    class Fragile(horus.Node):
        def tick(self) -> None:
            raise ValueError("bad")

    def frames_of_failure(around: Callable[[Scheduler], Any]) -> list[str]:
        scheduler = Scheduler(tick_rate=10).add(Fragile(), failure_policy=horus.Fatal())
        with around(scheduler), pytest.raises(horus.RunFailed) as failed:
            scheduler.run(1)
        [error] = failed.value.exceptions
        return traceback.format_tb(error.__traceback__)

    assert frames_of_failure(Profiler) == frames_of_failure(contextlib.nullcontext)


def test_every_hook_in_a_thread_is_in_the_trace() -> None:
    class Whole(horus.Node):
        def init(self) -> None: ...
        def tick(self) -> None:
            raise ValueError

        def on_error(self, error: BaseException) -> None: ...
        def enter_safe_state(self) -> None: ...
        def shutdown(self) -> None: ...

    scheduler = Scheduler(tick_rate=10)
    scheduler.add(Whole("whole"), failure_policy=Restart(max_restarts=0))
    with Profiler(scheduler) as profiler, pytest.raises(horus.RunFailed):
        scheduler.run(1)
    slices = [e for e in trace_of(profiler) if e["ph"] == "X" and "status" in e["args"]]
    names = [event["name"] for event in slices]
    assert sorted(names) == ["enter_safe_state", "init", "on_error", "shutdown", "tick 1"]
    assert names[:2] == ["init", "tick 1"]
