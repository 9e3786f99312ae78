"""The blocking pool: tokens, the threads that are left behind, and what never waits for either.

Real threads on a clock that the test moves, so time limits pass when the test says so.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from typing import Any, Literal

import outcome
import pytest
import trio
from trio._core._thread_cache import THREAD_CACHE
from trio.testing import MockClock, wait_all_tasks_blocked

import horus_trio as horus
from horus_trio import Health, NodeState, TickStatus
from horus_trio.executor.late_init import LateInit
from horus_trio.executor.milestone import Milestone
from horus_trio.executor.threads import WorkerThread
from horus_trio.executor.waits import Wait, wait_of
from horus_trio.logs import OffLoopLogger
from horus_trio.node.hooks import find_hooks
from horus_trio.testing import open_harness


async def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    """Wait in real time for what a thread does; the test's clock stands still meanwhile."""
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up, "it never came true"
        await trio.to_thread.run_sync(time.sleep, 0.001)


async def pause() -> None:
    """Let threads that could go on do so; for what must *not* happen."""
    await wait_all_tasks_blocked()
    await trio.to_thread.run_sync(time.sleep, 0.02)
    await wait_all_tasks_blocked()


class Hanging(horus.Node):
    """Its ticks return when the test lets them."""

    def __init__(self, name: str, **options: Any) -> None:
        super().__init__(name, **options)
        self.permits = threading.Semaphore(0)
        self.started = 0
        self.returned = 0
        self.calls: list[str] = []

    def tick(self) -> None:
        self.started += 1
        self.permits.acquire(timeout=8)
        self.returned += 1

    def on_error(self, error: BaseException) -> None:
        self.calls.append("on_error")


def hanging(count: int, **options: Any) -> list[Hanging]:
    return [Hanging(f"hung {number}", **options) for number in range(count)]


def started(nodes: list[Hanging]) -> int:
    return sum(node.started for node in nodes)


def release(nodes: list[Hanging]) -> None:
    for node in nodes:
        node.permits.release(1000)


async def end_of(scheduler: horus.Scheduler, clock: MockClock) -> horus.RunReport:
    """The report of a run that is stopping, with as much time as its hung threads make it take."""
    give_up = time.monotonic() + 5
    while scheduler.report is None:
        assert time.monotonic() < give_up, "it never ended"
        clock.jump(0.5)
        await wait_all_tasks_blocked()
    return scheduler.report


def pool_of(scheduler: horus.Scheduler) -> horus.PoolStatistics:
    pool = scheduler.statistics().pool
    assert pool is not None
    return pool


def state_of(scheduler: horus.Scheduler, name: str) -> NodeState:
    return scheduler.statistics().nodes[name].state


def idle(node: horus.Node) -> None:
    pass


# Tokens


@pytest.mark.parametrize(("limiter", "tokens"), [(None, 4), (2, 2), (7, 7)])
async def test_as_many_calls_run_at_once_as_there_are_tokens(
    mock_clock: MockClock, nursery: trio.Nursery, limiter: int | None, tokens: int
) -> None:
    scheduler = horus.Scheduler(
        tick_rate=1, limiter=None if limiter is None else trio.CapacityLimiter(limiter)
    )
    nodes = hanging(10, phase=0.0)
    for node in nodes:
        scheduler.add(node)
    await nursery.start(scheduler.run)
    await until(lambda: started(nodes) == tokens)
    await pause()
    assert started(nodes) == tokens
    pool = pool_of(scheduler)
    assert (pool.tokens, pool.borrowed, pool.waiting) == (tokens, tokens, 10 - tokens)
    states = [state_of(scheduler, node.name) for node in nodes]
    assert states.count(NodeState.WAITING_FOR_THREAD) == 10 - tokens
    assert states.count(NodeState.RUNNING) == tokens
    release(nodes)
    await until(lambda: started(nodes) == 10)
    await until(lambda: pool_of(scheduler).borrowed == 0)
    scheduler.stop()


async def test_a_limiter_of_its_own_is_a_node_s_own_pool(
    mock_clock: MockClock, nursery: trio.Nursery
) -> None:
    scheduler = horus.Scheduler(tick_rate=1)
    common = hanging(5, phase=0.0)
    own = trio.CapacityLimiter(1)
    apart = [Hanging("apart 1", phase=0.0), Hanging("apart 2", phase=0.0)]
    for node in common:
        scheduler.add(node)
    for node in apart:
        scheduler.add(node, limiter=own)
    await nursery.start(scheduler.run)
    await until(lambda: (started(common), started(apart)) == (4, 1))
    await pause()
    assert (started(common), started(apart)) == (4, 1)
    assert own.borrowed_tokens == 1
    release(common + apart)
    await until(lambda: (started(common), started(apart)) == (5, 2))
    scheduler.stop()


async def test_who_waits_for_a_token_is_held_up_by_those_that_hold_them(
    mock_clock: MockClock, nursery: trio.Nursery
) -> None:
    scheduler = horus.Scheduler(tick_rate=1)
    holder, elsewhere, waits = (Hanging(name, phase=0.0) for name in ("holder", "else", "waits"))
    common, own = trio.CapacityLimiter(1), trio.CapacityLimiter(1)
    scheduler.add(holder, limiter=common).add(elsewhere, limiter=own)
    await nursery.start(scheduler.run)
    await until(lambda: holder.started + elsewhere.started == 2)
    scheduler.add(waits, limiter=common)
    await until(lambda: state_of(scheduler, "waits") is NodeState.WAITING_FOR_THREAD)
    run = scheduler._run_state
    assert run is not None
    assert run.executor is not None
    runners = run.executor.runners
    assert wait_of(runners["waits"]) == Wait(what="waits for a thread of the pool", on=("holder",))
    holding = wait_of(runners["holder"])
    assert holding is not None
    assert holding.what == "is busy in a thread"
    assert f"{__file__}:" in holding.where
    assert holding.where.endswith(" in tick")
    release([holder, elsewhere, waits])
    await until(lambda: waits.returned == 1)
    await until(lambda: wait_of(runners["waits"]) is None)
    scheduler.stop()


async def test_an_abandoned_call_gives_its_token_back_at_once_and_its_thread_counts(
    mock_clock: MockClock, nursery: trio.Nursery
) -> None:
    limiter = trio.CapacityLimiter(2)
    scheduler = horus.Scheduler(tick_rate=1, limiter=limiter, name="robot")
    nodes = hanging(2, phase=0.0, tick_timeout=1.0)
    for node in nodes:
        scheduler.add(node)
    await nursery.start(scheduler.run)
    await until(lambda: started(nodes) == 2)
    mock_clock.jump(1)
    await until(lambda: len(pool_of(scheduler).abandoned) == 2)
    assert (limiter.borrowed_tokens, limiter.total_tokens) == (0, 2)
    mock_clock.jump(3)
    for thread in pool_of(scheduler).abandoned:
        assert thread.call == "tick"
        assert thread.age == 3
        assert "self.permits.acquire(timeout=8)" in thread.stack
        assert "outcome" not in thread.stack  # what leads to the node's code
    assert pool_of(scheduler).exhausted is False
    assert all(state_of(scheduler, node.name) is NodeState.STUCK for node in nodes)
    assert scheduler.statistics().health is Health.CRITICAL
    release(nodes)
    await until(lambda: pool_of(scheduler).abandoned == ())
    assert limiter.borrowed_tokens == 0
    scheduler.stop()


async def test_beyond_the_bound_tokens_are_held_and_the_robot_is_critical(
    mock_clock: MockClock, nursery: trio.Nursery
) -> None:
    limiter = trio.CapacityLimiter(2)
    scheduler = horus.Scheduler(tick_rate=0.01, limiter=limiter, max_abandoned=3)
    nodes = hanging(6, phase=0.0, tick_timeout=1.0, shutdown_timeout=1.0)
    for node in nodes:
        scheduler.add(node)
    await nursery.start(scheduler.run)
    for expected in (2, 4, 5):  # the fourth keeps its token, so only one more can start
        await until(lambda expected=expected: started(nodes) == expected)  # type: ignore[misc]
        await pause()
        assert started(nodes) == expected
        mock_clock.jump(1.5)
    await until(lambda: len(pool_of(scheduler).abandoned) == 5)
    await pause()
    assert started(nodes) == 5
    pool = pool_of(scheduler)
    assert (pool.borrowed, pool.waiting, pool.exhausted, pool.max_abandoned) == (2, 1, True, 3)
    assert scheduler.statistics().health is Health.CRITICAL
    (last,) = [node for node in nodes if not node.started]
    assert pool.waiting_nodes == (last.name,)

    # Any two that return bring the rest back within the bound, and with it every token.
    first_two = [thread.node for thread in pool.abandoned[:2]]
    for node in nodes:
        if node.name in first_two:
            node.permits.release()
    await until(lambda: len(pool_of(scheduler).abandoned) == 3)
    await until(lambda: last.started == 1)
    assert pool_of(scheduler).exhausted is False
    mock_clock.jump(1.5)
    await until(lambda: pool_of(scheduler).exhausted)
    assert limiter.borrowed_tokens == 1

    scheduler.stop()
    report = await end_of(scheduler, mock_clock)
    (said,) = [text for text in report.warnings if "max_abandoned=3" in text]
    assert "4 abandoned threads are out" in said
    assert last.name in said
    assert "time limit of their own" in said
    assert limiter.borrowed_tokens == 0  # the run is over, and the limiter is the user's again
    release(nodes)


def test_running_twice_with_ones_own_limiter_and_four_hung_ticks_in_the_first_run() -> None:
    limiter = trio.CapacityLimiter(4)
    scheduler = horus.Scheduler(tick_rate=20, limiter=limiter, max_abandoned=2)
    nodes = hanging(4, tick_timeout=0.05, shutdown_timeout=0.05)
    for node in nodes:
        scheduler.add(node)

    async def main() -> None:
        report = await scheduler.run(0.2)
        assert len(report.stragglers) == 4
        assert (limiter.borrowed_tokens, limiter.total_tokens) == (0, 4)
        for node in nodes:
            scheduler.remove(node.name)
        fresh = [horus.Node(f"fresh {number}", tick=idle) for number in range(6)]
        for fresh_node in fresh:
            scheduler.add(fresh_node)
        report = await scheduler.run(0.3)
        assert all(n.ok for n in report.statistics.nodes.values())
        assert (limiter.borrowed_tokens, limiter.total_tokens) == (0, 4)
        release(nodes)  # a thread of the first run returns: it has no token to give back
        await until(lambda: all(node.returned for node in nodes))
        assert limiter.borrowed_tokens == 0

    trio.run(main)


def test_the_same_nodes_run_again_after_they_hung() -> None:
    scheduler = horus.Scheduler(tick_rate=20, limiter=trio.CapacityLimiter(4))
    nodes = hanging(4, tick_timeout=0.05, shutdown_timeout=0.05)
    for node in nodes:
        scheduler.add(node)
    trio.run(scheduler.run, 0.2)
    release(nodes)
    report = trio.run(scheduler.run, 0.3)
    assert all(n.ok for n in report.statistics.nodes.values())
    assert report.stragglers == ()


# Stuck


async def test_while_its_thread_is_out_none_of_a_node_s_hooks_runs(
    mock_clock: MockClock, nursery: trio.Nursery
) -> None:
    scheduler = horus.Scheduler(tick_rate=1)
    node = Hanging("hung", phase=0.0, tick_timeout=0.5, failure_policy=horus.Restart(backoff=0.25))
    inits: list[float] = []
    vars(node)["init"] = lambda: inits.append(node.now)
    vars(node)["shutdown"] = lambda: node.calls.append("shutdown")
    scheduler.add(node)
    await nursery.start(scheduler.run)
    await until(lambda: node.started == 1)
    mock_clock.jump(0.5)
    await until(lambda: state_of(scheduler, "hung") is NodeState.STUCK)
    for _ in range(10):
        mock_clock.jump(1)
        await wait_all_tasks_blocked()
    await pause()
    assert (inits, node.calls) == ([0], [])
    statistics = scheduler.statistics().nodes["hung"]
    assert (statistics.missed, statistics.restarts) == (10, 0)
    node.permits.release()  # only now is its policy asked
    await until(lambda: state_of(scheduler, "hung") is NodeState.BACKING_OFF)
    assert node.calls == ["on_error", "shutdown"]
    mock_clock.jump(0.3)
    await until(lambda: len(inits) == 2)
    node.permits.release(1000)
    scheduler.stop()


async def test_a_node_that_is_stuck_at_the_stop_is_shut_down_all_the_same(
    mock_clock: MockClock, nursery: trio.Nursery
) -> None:
    """Closing the device is often what frees its reader."""
    scheduler = horus.Scheduler(tick_rate=1)
    reader = Hanging("reader", phase=0.0, tick_timeout=None, shutdown_timeout=2.0)
    deaf = Hanging("deaf", phase=0.0, tick_timeout=0.5, shutdown_timeout=2.0)
    vars(reader)["shutdown"] = reader.permits.release
    shut: list[str] = []
    vars(deaf)["shutdown"] = lambda: shut.append("deaf")
    prompt = horus.Node("prompt", tick=idle, shutdown=lambda node: shut.append("prompt"))
    scheduler.add(reader).add(deaf).add(prompt)
    await nursery.start(scheduler.run)
    await until(lambda: reader.started == deaf.started == 1)
    mock_clock.jump(0.5)
    await until(lambda: state_of(scheduler, "deaf") is NodeState.STUCK)
    scheduler.stop()
    await pause()
    mock_clock.jump(1.9)
    await pause()
    assert "deaf" not in shut
    assert reader.returned == 0
    mock_clock.jump(0.2)
    await until(lambda: reader.returned == 1)
    await pause()
    report = await end_of(scheduler, mock_clock)
    assert sorted(shut) == ["deaf", "prompt"]
    assert sorted(report.shutdown_while_busy) == ["deaf", "reader"]
    # The reader's thread was let go in the last moment: it has been seen to end, or not yet.
    left = {(straggler.node, straggler.call) for straggler in report.stragglers}
    assert left - {("reader", "tick")} == {("deaf", "tick")}
    assert "deaf was shut down while a thread of it was still out" in str(report)
    deaf.permits.release()


async def test_a_stuck_thread_that_returns_in_time_is_shut_down_in_peace(
    mock_clock: MockClock, nursery: trio.Nursery
) -> None:
    scheduler = horus.Scheduler(tick_rate=1)
    node = Hanging("hung", phase=0.0, tick_timeout=0.5, shutdown_timeout=2.0)
    busy_at_shutdown: list[bool] = []
    vars(node)["shutdown"] = lambda: busy_at_shutdown.append(node.returned == 0)
    scheduler.add(node)
    await nursery.start(scheduler.run)
    await until(lambda: node.started == 1)
    mock_clock.jump(0.5)
    await until(lambda: state_of(scheduler, "hung") is NodeState.STUCK)
    scheduler.stop()
    await pause()
    assert busy_at_shutdown == []
    node.permits.release()
    await until(lambda: scheduler.report is not None)
    assert busy_at_shutdown == [False]
    assert scheduler.report is not None
    assert scheduler.report.shutdown_while_busy == ()
    assert scheduler.report.stragglers == ()


# A late init


@pytest.mark.parametrize("ending", ["succeeds", "fails"])
@pytest.mark.parametrize("thread", ["pool", "own"])
async def test_an_abandoned_init_that_succeeds_late_is_undone_in_its_thread(
    mock_clock: MockClock,
    nursery: trio.Nursery,
    ending: str,
    thread: Literal["pool", "own"],
) -> None:
    scheduler = horus.Scheduler(tick_rate=1)
    permit = threading.Event()
    calls: list[tuple[str, int]] = []

    def init(node: horus.Node) -> None:
        permit.wait(8)
        calls.append(("init", threading.get_ident()))
        if ending == "fails":
            raise OSError("no such device")

    def shutdown(node: horus.Node) -> None:
        calls.append(("shutdown", threading.get_ident()))

    device = horus.Node("device", init=init, tick=idle, shutdown=shutdown, init_timeout=1.0)
    scheduler.add(device, thread=thread, failure_policy=horus.Restart(0))
    scheduler.add(horus.Node("other", tick=idle))
    nursery.start_soon(scheduler.run)
    await until(lambda: state_of(scheduler, "device") is NodeState.STARTING)
    await pause()
    mock_clock.jump(1.5)
    await until(lambda: state_of(scheduler, "device") is NodeState.STUCK)
    assert calls == []
    permit.set()
    await until(lambda: state_of(scheduler, "device") is NodeState.FAILED)
    names = [name for name, _ in calls]
    assert names == (["init", "shutdown"] if ending == "succeeds" else ["init"])
    assert len({ident for _, ident in calls}) == 1
    scheduler.stop()
    await until(lambda: scheduler.report is not None)
    assert [name for name, _ in calls] == names  # and not shut down once more
    assert scheduler.report is not None
    (failure,) = scheduler.report.failed
    assert "HookTimedOut" in failure.error


def test_a_shutdown_that_fails_after_a_late_init_is_said(caplog: pytest.LogCaptureFixture) -> None:
    def shutdown(node: horus.Node) -> None:
        raise OSError("the lens is stuck")

    late = LateInit("camera", OffLoopLogger(logging.getLogger("horus_trio")), Milestone())
    hook = find_hooks(horus.Node("camera", tick=idle, shutdown=shutdown)).shutdown
    late.ended(outcome.Error(OSError("no camera")), hook)
    assert caplog.records == []  # there is nothing to undo
    late.ended(outcome.Value(None), hook)
    (record,) = caplog.records
    assert record.getMessage().startswith("node 'camera': shutdown after a late init failed\n")
    assert record.getMessage().endswith("OSError: the lens is stuck")
    assert not late.take_debt()


@pytest.mark.parametrize("is_over", [False, True])
def test_an_async_shutdown_after_a_late_init_is_owed_while_there_is_a_loop(
    is_over: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def shutdown(node: horus.Node) -> None:
        raise AssertionError("it is the loop's to call it")

    done = Milestone()
    if is_over:
        done.set()
    late = LateInit("camera", OffLoopLogger(logging.getLogger("horus_trio")), done)
    hooks = find_hooks(horus.Node("camera", tick=idle, shutdown=shutdown))
    late.ended(outcome.Value(None), hooks.shutdown)
    assert late.take_debt()
    assert ["after the run was over" in text for text in caplog.messages] == [True] * is_over


# Reserved threads


async def test_hooks_do_not_wait_behind_ticks(mock_clock: MockClock, nursery: trio.Nursery) -> None:
    scheduler = horus.Scheduler(tick_rate=1)
    nodes = hanging(6, phase=0.0, tick_timeout=None, shutdown_timeout=1.0)
    calls: list[str] = []

    async def fail(node: horus.Node) -> None:
        raise ValueError("as it does")

    for node in nodes:
        scheduler.add(node)
    scheduler.add(
        horus.Node(
            "fails",
            tick=fail,
            phase=0.5,
            on_error=lambda node, error: calls.append("on_error"),
            enter_safe_state=lambda node: calls.append("enter_safe_state"),
            shutdown=lambda node: calls.append("shutdown"),
            failure_policy=horus.Restart(0),
        )
    )
    scheduler.add(
        horus.Node(
            "sound", tick=idle, on="never", shutdown=lambda node: calls.append("shutdown, sound")
        )
    )
    await nursery.start(scheduler.run)
    await until(lambda: started(nodes) == 4)
    mock_clock.jump(0.5)
    await until(lambda: len(calls) == 3)
    assert calls == ["on_error", "enter_safe_state", "shutdown"]
    scheduler.stop()
    await until(lambda: len(calls) == 4)
    assert calls[-1] == "shutdown, sound"
    assert started(nodes) == 4  # the pool was full all the while
    release(nodes)


# How many threads there are


@pytest.mark.slow
def test_there_are_never_more_threads_than_tokens_and_bound_and_reserved_ones() -> None:
    """Forty nodes whose ticks hang, and half of whose `on_error` hangs too."""
    tokens, bound, reserved = 3, 5, 8
    unblock = threading.Event()
    over = threading.Event()
    counted: list[int] = []

    def busy_threads() -> set[threading.Thread]:
        idle = {worker._thread for worker in list(THREAD_CACHE._idle_workers)}
        ours = ("horus_trio log", "horus_trio watchdog")
        return {t for t in threading.enumerate() if t not in idle and t.name not in ours}

    def sample() -> None:
        while not over.wait(0.002):
            counted.append(len(busy_threads() - before))

    def hang(node: horus.Node, *args: object) -> None:
        unblock.wait(8)

    async def fail(node: horus.Node) -> None:
        raise ValueError("as it does")

    scheduler = horus.Scheduler(
        tick_rate=20, limiter=trio.CapacityLimiter(tokens), max_abandoned=bound
    )
    for number in range(40):
        options: dict[str, Any] = {"tick_timeout": 0.02, "shutdown_timeout": 0.02}
        node = horus.Node(f"{number}", tick=hang if number % 2 else fail, on_error=hang, **options)
        scheduler.add(node, failure_policy=horus.Ignore())
    sampler = threading.Thread(target=sample)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(scheduler.run)
            with trio.fail_after(5):
                while max(counted, default=0) < tokens + bound + reserved:  # noqa: ASYNC110
                    await trio.sleep(0.01)
            await trio.sleep(0.3)  # forty nodes want more, and get none
            over.set()
            unblock.set()
            scheduler.stop()

    before = busy_threads() | {sampler}
    sampler.start()
    try:
        trio.run(main)
    finally:
        unblock.set()
        over.set()
        sampler.join()
    assert max(counted) == tokens + bound + reserved


# A thread of its own


def test_all_hooks_of_a_node_share_its_own_thread() -> None:
    class Book(horus.Node):
        """A sqlite3 connection may be used in the thread that opened it, and in no other."""

        ticks = 0

        def init(self) -> None:
            self.threads = {threading.get_ident()}
            self.book = sqlite3.connect(":memory:")
            self.book.execute("CREATE TABLE line (number)")

        def tick(self) -> None:
            self.threads.add(threading.get_ident())
            self.book.execute("INSERT INTO line VALUES (1)")
            self.ticks += 1
            if self.ticks == 2:
                raise ValueError("once")
            if self.ticks == 5:
                self.request_stop()

        def on_error(self, error: BaseException) -> None:
            self.threads.add(threading.get_ident())
            self.book.execute("INSERT INTO line VALUES (-1)")

        def shutdown(self) -> None:
            self.threads.add(threading.get_ident())
            self.lines = self.book.execute("SELECT count(*) FROM line").fetchone()[0]
            self.book.close()

    book = Book(rate=50, thread="own", failure_policy=horus.Ignore())
    report = horus.run(book, horus.Node(tick=idle), duration=20)
    assert report.ok, report
    assert len(book.threads) == 1
    ticks = next(iter(report.statistics.nodes.values()))
    assert book.lines == ticks.ok + 2 * ticks.errors
    assert ticks.errors == 1


class Gate:
    """The jobs of a worker thread, which it takes when it is let."""

    def __init__(self, worker: WorkerThread) -> None:
        self.put = worker._jobs.put
        self.is_shut = False
        self.opened = threading.Event()
        self._get = worker._jobs.get

    def get(self) -> object:
        self.is_shut = True
        self.opened.wait(10)
        return self._get()


async def test_a_hook_stays_in_the_own_thread_though_a_tick_was_given_up_on_the_way_there() -> None:
    threads: list[int] = []

    class Book(horus.Node):
        def init(self) -> None:
            threads.append(threading.get_ident())

        def tick(self) -> None:
            threads.append(threading.get_ident())

        def shutdown(self) -> None:
            threads.append(threading.get_ident())

    scheduler = horus.Scheduler(tick_rate=50)
    scheduler.add(Book("book", thread="own"))
    async with trio.open_nursery() as nursery:
        await nursery.start(scheduler.run)
        runner = scheduler._members["book"].runner
        assert runner is not None
        worker = runner._worker.own
        assert worker is not None
        gate = Gate(worker)
        worker._jobs = gate  # type: ignore[assignment]

        def a_tick_is_on_the_way() -> bool:
            call = runner.thread_call
            return gate.is_shut and call is not None and call.waits_for_thread

        await until(a_tick_is_on_the_way)
        scheduler.stop()
        await until(lambda: runner.thread_call is None)
        gate.opened.set()
    assert len(threads) >= 2
    assert len(set(threads)) == 1


async def test_a_stop_just_as_init_returns_shuts_down_in_the_same_thread() -> None:
    """The thread is through, and the loop has yet to hear of it: that thread is free."""
    begun, go, posted = threading.Event(), threading.Event(), threading.Event()
    token = trio.lowlevel.current_trio_token()
    threads: list[int] = []

    class Slow:
        def run_sync_soon(self, function: Callable[..., object], *args: Any) -> None:
            posted.wait(8)
            token.run_sync_soon(function, *args)

    class Bound(horus.Node):
        thread = "own"

        def init(self) -> None:
            begun.set()
            go.wait(8)
            threads.append(threading.get_ident())

        def tick(self) -> None: ...

        def shutdown(self) -> None:
            threads.append(threading.get_ident())

    async with horus.open_executor() as executor, trio.open_nursery() as nursery:
        nursery.start_soon(executor.spawn_node, Bound("bound"))
        await until(begun.is_set)
        runner = executor.runners["bound"]
        call, own = runner.thread_call, runner._worker.own
        assert call is not None
        assert own is not None
        own._token = Slow()  # type: ignore[assignment]
        go.set()
        await until(lambda: call.result is not None)
        runner.leave("stopped")
        call.cancel()
        await until(lambda: runner.phase == "in shutdown" or len(threads) == 2)
        own._token = token
        posted.set()
        await runner.done.wait()
    assert len(threads) == 2
    assert threads[0] == threads[1]


async def test_a_node_goes_back_to_its_own_thread_after_a_tick_was_left_behind(
    mock_clock: MockClock, nursery: trio.Nursery
) -> None:
    scheduler = horus.Scheduler(tick_rate=1)
    permits = threading.Semaphore(0)
    threads: list[int] = []

    def tick(node: horus.Node) -> None:
        threads.append(threading.get_ident())
        permits.acquire(timeout=8)

    node = horus.Node("own", tick=tick, thread="own", phase=0.0, tick_timeout=0.5)
    scheduler.add(node, failure_policy=horus.Ignore())
    statuses: list[TickStatus] = []
    scheduler.on_result(lambda result: statuses.append(result.status))
    await nursery.start(scheduler.run)
    await until(lambda: len(threads) == 1)
    mock_clock.jump(0.75)
    await until(lambda: state_of(scheduler, "own") is NodeState.STUCK)
    permits.release(1000)
    await until(lambda: state_of(scheduler, "own") is NodeState.RUNNING)
    mock_clock.jump(0.25)
    await until(lambda: len(statuses) == 2)
    assert statuses == [TickStatus.ABANDONED, TickStatus.OK]
    assert len(set(threads)) == 1
    scheduler.stop()


def test_an_init_that_hangs_holds_the_stop_up_for_its_own_limit_only() -> None:
    """The thread has `shutdown_timeout` to return, not the whole `stop_timeout`."""
    started, let = threading.Event(), threading.Event()

    def hang(node: horus.Node) -> None:
        started.set()
        let.wait(60)

    scheduler = horus.Scheduler(stop_timeout=30)
    scheduler.add(horus.Node("hung", tick=idle, init=hang, shutdown_timeout=0.1))

    def stop() -> None:
        started.wait(20)
        scheduler.stop()

    stopper = threading.Thread(target=stop)
    stopper.start()
    begun = time.monotonic()
    report = scheduler.run()
    took = time.monotonic() - begun
    let.set()
    stopper.join()
    assert [straggler.call for straggler in report.stragglers] == ["init"]
    assert took < 15


def test_a_thread_that_cannot_be_started_fails_the_tick_and_is_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As on a machine that has no threads left; the next tick finds one."""
    start = trio.to_thread.run_sync
    refusals = iter([RuntimeError("can't start new thread")] * 2)

    async def short_of_threads(*args: Any, **options: Any) -> Any:
        for refusal in refusals:
            raise refusal
        return await start(*args, **options)

    monkeypatch.setattr(trio.to_thread, "run_sync", short_of_threads)
    limiter = trio.CapacityLimiter(1)
    scheduler = horus.Scheduler(limiter=limiter)
    scheduler.add(horus.Node("pool", tick=idle, rate=50, failure_policy=horus.Ignore()))
    scheduler.add(
        horus.Node("own", tick=idle, rate=50, thread="own", failure_policy=horus.Ignore())
    )
    report = scheduler.run(0.5)
    nodes = report.statistics.nodes
    assert [nodes[name].errors for name in ("pool", "own")] == [1, 1]
    assert all(nodes[name].ok > 5 for name in ("pool", "own"))
    assert "can't start new thread" in (nodes["own"].last_error or "")
    assert limiter.borrowed_tokens == 0
    assert report.stragglers == ()


def test_an_init_without_a_thread_is_a_failure_like_any_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start = trio.to_thread.run_sync
    refusals = iter([RuntimeError("can't start new thread")])

    async def short_of_threads(*args: Any, **options: Any) -> Any:
        for refusal in refusals:
            raise refusal
        return await start(*args, **options)

    monkeypatch.setattr(trio.to_thread, "run_sync", short_of_threads)
    inits: list[str] = []
    node = horus.Node(
        "node",
        tick=idle,
        init=lambda node: inits.append(node.name),
        rate=50,
        failure_policy=horus.Restart(backoff=0.01),
    )
    report = horus.run(node, duration=0.5)
    assert inits == ["node"]
    statistics = report.statistics.nodes["node"]
    assert (statistics.failures, statistics.restarts, statistics.errors) == (1, 1, 0)
    assert statistics.ok > 5


async def test_a_thread_that_is_free_is_used_again(autojump_clock: MockClock) -> None:
    threads: set[int] = set()

    def tick(node: horus.Node) -> None:
        threads.add(threading.get_ident())

    async with open_harness(horus.Node("camera", tick=tick, rate=10)) as h:
        await h.tick(20)
    assert len(threads) == 1
