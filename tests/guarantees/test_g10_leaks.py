"""G10 leaks: after `run()` nothing of the engine is left but abandoned threads, which it lists.

Each ending is looked at from inside the Trio run (tasks, system tasks included) and from outside it
(threads, descriptors, child processes), as soon as `run()` has returned and not some time later.
"""

from __future__ import annotations

import contextlib
import gc
import signal
import sys
import threading
import time
import weakref
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from trio._core._thread_cache import THREAD_CACHE

import horus_trio as horus
from horus_trio.testing.leftovers import child_processes


def tasks() -> set[trio.lowlevel.Task]:
    """All tasks of this Trio run but the one that asks and those above it."""
    found: set[trio.lowlevel.Task] = set()
    root = trio.lowlevel.current_root_task()
    nurseries = list(root.child_nurseries) if root is not None else []
    while nurseries:
        for task in nurseries.pop().child_tasks:
            found.add(task)
            nurseries += task.child_nurseries
    return found


def threads() -> set[threading.Thread]:
    """All threads but Trio's own that wait for more work, and end if none comes."""
    idle = {worker._thread for worker in list(THREAD_CACHE._idle_workers)}
    return {thread for thread in threading.enumerate() if thread not in idle}


def descriptors() -> set[str]:
    """What is open, by number and target; empty where there is no `/proc`."""
    found: set[str] = set()
    for link in Path("/proc/self/fd").glob("*"):
        with contextlib.suppress(FileNotFoundError):
            found.add(f"{link.name} {link.readlink()}")
    return found


class Remains:
    """What there is more at the end than there was at the beginning."""

    def __init__(self) -> None:
        self.tasks: set[str] = set()
        self.threads: set[threading.Thread] = set()
        self.descriptors: set[str] = set()

    def of(self, main: Callable[[], Awaitable[object]]) -> Remains:
        """Run `main` on Trio, then look."""

        async def watched() -> None:
            await trio.lowlevel.checkpoint()
            before, open_before = tasks(), descriptors()
            try:
                await main()
            finally:
                self.tasks = {task.name for task in tasks() - before}
                # Trio itself keeps none open between two looks in one run.
                self.descriptors = descriptors() - open_before

        before, open_before = threads(), descriptors()
        try:
            trio.run(watched)
        finally:
            self.threads = settled(lambda: threads() - before)
            self.descriptors |= descriptors() - open_before
        assert not child_processes()
        return self

    def __repr__(self) -> str:
        return f"tasks {self.tasks}, threads {self.threads}, descriptors {self.descriptors}"

    @property
    def nothing(self) -> bool:
        return not (self.tasks or self.threads or self.descriptors)


def settled(look: Callable[[], set[threading.Thread]]) -> set[threading.Thread]:
    """A thread of Trio's has a last instruction or two after it has said that it is done."""
    give_up = time.monotonic() + 0.5
    while (found := look()) and time.monotonic() < give_up:
        time.sleep(0.001)
    return found


# A robot with everything in it


class Robot:
    """One node of each kind, some that fail and some that are restarted."""

    def __init__(self, **options: Any) -> None:
        self.scheduler = scheduler = horus.Scheduler(tick_rate=50, **options)
        scheduler.add(horus.Node("async", tick=self.wait, init=self.look, shutdown=self.look))
        scheduler.add(horus.Node("pool", tick=self.look, init=self.look, shutdown=self.look))
        scheduler.add(
            horus.Node("own", tick=self.look, init=self.look, shutdown=self.look, thread="own")
        )
        scheduler.add(horus.Node("late", tick=self.hang, tick_timeout=0.02))
        scheduler.add(horus.Node("hears", tick=self.wait, on="word", subs="word"))
        scheduler.add(horus.Node("tasks", tick=self.start_tasks))
        quick = horus.Restart(within=None, backoff=0.001)
        scheduler.add(
            lambda: horus.Node("restarts", tick=self.fail, init=self.look), failure_policy=quick
        )
        scheduler.add(
            horus.Node("restarts own", tick=self.fail, thread="own"), failure_policy=quick
        )
        scheduler.add(
            horus.Node("gives up", tick=self.fail), failure_policy=horus.Restart(0, backoff=0)
        )
        scheduler.add(horus.Node("no init", init=self.fail, tick=self.look), failure_policy=quick)
        scheduler.on_result(lambda result: None)

    def look(self, node: horus.Node) -> None:
        node.log.info("looked")
        node.send("word", node.now)
        trio.from_thread.run_sync(node.recv, "word")

    async def wait(self, node: horus.Node) -> None:
        await trio.sleep(0.001)

    async def hang(self, node: horus.Node) -> None:
        await trio.sleep_forever()

    def fail(self, node: horus.Node) -> None:
        raise ValueError("as it does")

    async def start_tasks(self, node: horus.Node) -> None:
        node.start_soon(trio.sleep, 0.01)
        node.start_soon(trio.sleep_forever)


async def run_down(robot: Robot) -> None:
    await robot.scheduler.run(0.2)


async def run_twice(robot: Robot) -> None:
    await robot.scheduler.run(0.1)
    await robot.scheduler.run(0.1)


async def run_not_at_all(robot: Robot) -> None:
    await robot.scheduler.run(0)


async def be_stopped(robot: Robot) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(robot.scheduler.run)
        await trio.sleep(0.1)
        robot.scheduler.stop()


async def be_cancelled(robot: Robot) -> None:
    with trio.move_on_after(0.1):
        await robot.scheduler.run()


async def be_cancelled_at_the_start(robot: Robot) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await robot.scheduler.run()


async def be_interrupted(robot: Robot) -> None:
    async def linger(node: horus.Node) -> None:
        await trio.sleep(60)

    robot.scheduler.add(
        horus.Node("lingers", tick=robot.look, shutdown=linger, shutdown_timeout=60.0)
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(robot.scheduler.run)
        await trio.sleep(0.1)
        signal.raise_signal(signal.SIGINT)
        await trio.sleep(0.05)
        signal.raise_signal(signal.SIGTERM)  # the node lingers no longer


async def fail_fatally(robot: Robot) -> None:
    robot.scheduler.add(
        horus.Node("fatal", tick=robot.fail, failure_policy=horus.Fatal(), phase=0.0)
    )
    with contextlib.suppress(horus.RunFailed):
        await robot.scheduler.run()
    assert robot.scheduler.report is not None
    assert robot.scheduler.report.failed


async def fail_critically_in_its_own_thread(robot: Robot) -> None:
    robot.scheduler.add(
        horus.Node("fatal", tick=robot.fail, failure_policy=horus.Fatal(), thread="own")
    )
    with contextlib.suppress(horus.RunFailed):
        await robot.scheduler.run()


async def lose_its_caller(robot: Robot) -> None:
    async def raise_soon() -> None:
        await trio.sleep(0.1)
        raise LookupError("in a task beside the robot")

    with contextlib.suppress(ExceptionGroup):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(robot.scheduler.run)
            nursery.start_soon(raise_soon)


async def change_while_running(robot: Robot) -> None:
    scheduler = robot.scheduler
    async with trio.open_nursery() as nursery, scheduler.open_results() as results:
        await nursery.start(scheduler.run)
        for thread in ("pool", "own"):
            scheduler.add(horus.Node("new", tick=robot.look, thread=thread))
            await scheduler.started("new")
            await results.receive()
            scheduler.pause("new")
            scheduler.resume("new")
            scheduler.set_rate("new", 200)
            scheduler.remove("new")
            await scheduler.stopped("new")
        scheduler.remove("own")
        await scheduler.stopped("own")
        scheduler.stop()


ENDINGS = [
    run_down,
    run_twice,
    run_not_at_all,
    be_stopped,
    be_cancelled,
    be_cancelled_at_the_start,
    be_interrupted,
    fail_fatally,
    fail_critically_in_its_own_thread,
    lose_its_caller,
    change_while_running,
]


@pytest.mark.parametrize("ending", ENDINGS, ids=lambda ending: ending.__name__)
def test_nothing_is_left_however_a_run_ends(ending: Callable[[Robot], Awaitable[None]]) -> None:
    earlier = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    robot = Robot()
    remains = Remains().of(lambda: ending(robot))
    assert remains.nothing, remains
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == earlier


def test_a_deterministic_run_leaves_nothing() -> None:
    scheduler = horus.Scheduler(tick_rate=50, deterministic=True)

    async def wait(node: horus.Node) -> None:
        await trio.sleep(0.05)

    scheduler.add(horus.Node("slow", tick=wait)).add(horus.Node("other", tick=wait))
    remains = Remains().of(lambda: scheduler.run(0.2))
    assert remains.nothing, remains


def test_an_executor_leaves_nothing_whatever_happens_in_its_block() -> None:
    def look(node: horus.Node) -> None:
        node.send("word", 1)

    async def raise_in_the_block() -> None:
        with contextlib.suppress(ExceptionGroup, LookupError):
            async with horus.open_executor() as executor:
                await executor.spawn_node(horus.Node("pool", tick=look, shutdown=look))
                await executor.spawn_node(horus.Node("own", tick=look, thread="own"))
                executor.tick_all()
                await executor.results.receive()
                executor.tick_all()
                raise LookupError("in the block")

    remains = Remains().of(raise_in_the_block)
    assert remains.nothing, remains


def test_the_engine_in_a_thread_of_its_own_leaves_nothing() -> None:
    async def in_the_background() -> None:
        def use() -> None:
            robot = Robot()
            with horus.background(robot.scheduler) as scheduler:
                time.sleep(0.1)
                scheduler.pause("pool")

        await trio.to_thread.run_sync(use)

    remains = Remains().of(in_the_background)
    assert remains.nothing, remains


def test_many_runs_leave_no_more_than_one() -> None:
    for _ in range(5):
        remains = Remains().of(
            lambda: horus.run(horus.Node("n", tick=lambda n: None), duration=0.02)
        )
        assert remains.nothing, remains


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="counts references")
def test_nodes_and_results_are_not_kept_alive() -> None:
    kept: list[weakref.ref[object]] = []

    class Payload:
        pass

    def tick(node: horus.Node) -> Payload:
        payload = Payload()
        kept.append(weakref.ref(payload))
        return payload

    def run() -> None:
        for thread in ("pool", "own"):
            node = horus.Node(tick=tick, thread=thread)
            kept.append(weakref.ref(node))
            assert horus.run(node, duration=0.05).ok

    run()
    gc.collect()
    assert len(kept) >= 6
    assert [ref() for ref in kept if ref() is not None] == []


# Threads that were left behind


@pytest.mark.parametrize("where", ["tick", "init", "shutdown", "own tick", "own shutdown"])
def test_exactly_the_listed_threads_are_left_and_they_end_when_they_return(where: str) -> None:
    release = threading.Event()
    caught_in: list[threading.Thread] = []

    def hang(node: horus.Node) -> None:
        caught_in.append(threading.current_thread())
        release.wait(8)

    def look(node: horus.Node) -> None:
        pass

    hook = where.removeprefix("own ")
    functions = {"tick": look, hook: hang}
    scheduler = horus.Scheduler(tick_rate=50)
    for number in range(2):
        scheduler.add(
            horus.Node(f"hung {number}", **functions),  # type: ignore[arg-type]
            thread="own" if "own" in where else "pool",
            tick_timeout=0.05,
            init_timeout=0.05,
            shutdown_timeout=0.05,
        )
    scheduler.add(horus.Node("sound", tick=look, shutdown=look))
    remains = Remains().of(lambda: scheduler.run(0.2))
    report = scheduler.report
    assert report is not None
    try:
        assert remains.tasks == set()
        assert remains.descriptors == set()
        assert remains.threads == set(caught_in)
        listed = sorted((straggler.node, straggler.call) for straggler in report.stragglers)
        assert listed == [("hung 0", hook), ("hung 1", hook)]
        assert all("release.wait(8)" in straggler.stack for straggler in report.stragglers)
    finally:
        release.set()
    assert not settled(lambda: threads() & remains.threads)


def test_a_forced_stop_leaves_only_what_it_lists() -> None:
    release = threading.Event()

    def hang(node: horus.Node) -> None:
        release.wait(8)

    scheduler = horus.Scheduler(tick_rate=50, stop_timeout=0.1)
    for number in range(20):
        scheduler.add(
            horus.Node(
                f"hung {number}", tick=hang, shutdown=hang, thread="own" if number % 2 else "pool"
            ),
            tick_timeout=None,
        )
    remains = Remains().of(lambda: scheduler.run(0.1))
    report = scheduler.report
    assert report is not None
    try:
        assert remains.tasks == set()
        assert remains.descriptors == set()
        assert 20 <= len(remains.threads) <= len(report.stragglers)
    finally:
        release.set()
    assert not settled(lambda: threads() & remains.threads)


def test_a_system_task_that_an_abandoned_tick_waits_for_ends_with_the_run() -> None:
    """`from_thread.run` in a thread that can be abandoned is a system task of Trio's."""
    ended: list[BaseException] = []

    def wait_for_input(node: horus.Node) -> None:
        async def receive() -> None:
            await node.recv_async("nothing comes")

        try:
            trio.from_thread.run(receive)
        except BaseException as error:
            ended.append(error)
            raise

    def wait_for_room(node: horus.Node) -> None:
        try:
            trio.from_thread.run(link.send, 2)
        except BaseException as error:
            ended.append(error)
            raise

    link: horus.Link[int] = horus.Link("full", capacity=1)
    link.send_nowait(1)
    scheduler = horus.Scheduler(tick_rate=50)
    for tick in (wait_for_input, wait_for_room):
        for thread in ("pool", "own"):
            if tick is wait_for_room and thread == "own":
                continue  # a link has one producer
            scheduler.add(
                horus.Node(tick=tick, thread=thread, shutdown_timeout=0.05),
                tick_timeout=0.05,
            )
    remains = Remains().of(lambda: scheduler.run(0.2))
    assert remains.nothing, remains
    assert len(ended) >= 3
