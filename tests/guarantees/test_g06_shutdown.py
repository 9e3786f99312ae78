"""G6 shutdown: every init that succeeded is followed by exactly one shutdown, in reverse order,
in bounded time, however the run ends.

Order and time limits are shown on virtual time. Signals are sent to real processes.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import queue
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import hypothesis
import pytest
import trio
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

import horus_trio as horus
from horus_trio import Fatal, Node, Restart, Scheduler

ROOT = Path(horus.__file__).parents[1]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    logger = logging.getLogger("horus_trio")
    logger.setLevel(logging.CRITICAL + 1)
    yield
    logger.setLevel(logging.NOTSET)


async def well(node: Node) -> None:
    pass


class Diary:
    """Makes nodes that write down when their hooks begin and end."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, str, float]] = []

    def node(
        self, name: str, *, seconds: float = 0.0, tick: Callable[..., Any] = well, **more: Any
    ) -> Node:
        async def init(node: Node) -> None:
            self.write("init", name)

        async def shutdown(node: Node) -> None:
            self.write("shutdown", name)
            await trio.sleep(seconds)
            self.write("end", name)

        return Node(name, tick=tick, init=init, shutdown=shutdown, **more)

    def write(self, what: str, name: str) -> None:
        self.entries.append((what, name, trio.current_time()))

    def names(self, what: str) -> list[str]:
        return [name for entry, name, _ in self.entries if entry == what]

    def instants(self, what: str) -> dict[str, float]:
        return {name: instant for entry, name, instant in self.entries if entry == what}


def seconds_to_next_deadline() -> float:
    """How far to jump; nothing if no task waits for time."""
    seconds = trio.lowlevel.current_statistics().seconds_to_next_deadline
    return 0.0 if math.isinf(seconds) else max(0.0, seconds)


# Exactly one shutdown for each init, in reverse groups


async def test_groups_of_one_order_shut_down_in_reverse_and_side_by_side(
    autojump_clock: MockClock,
) -> None:
    diary = Diary()
    scheduler = Scheduler(8.0)
    orders = {"late": 1, "drive": -3, "arm": -3, "eye": 0, "ear": 0}
    for name, order in orders.items():
        scheduler.add(diary.node(name, seconds=0.5), order=order)
    await scheduler.run(1.0)
    begun, ended = diary.instants("shutdown"), diary.instants("end")
    assert begun == {"late": 1.0, "eye": 1.5, "ear": 1.5, "drive": 2.0, "arm": 2.0}
    assert ended == {name: instant + 0.5 for name, instant in begun.items()}
    assert sorted(diary.names("init")) == sorted(orders)
    positions = {name: diary.names("init").index(name) for name in orders}
    assert max(positions["drive"], positions["arm"]) < min(positions["eye"], positions["ear"])
    assert positions["late"] == 4


async def test_groups_of_one_order_init_side_by_side_and_in_order(
    autojump_clock: MockClock,
) -> None:
    begun: dict[str, float] = {}

    async def init(node: Node) -> None:
        begun[node.name] = trio.current_time()
        await trio.sleep(0.5)

    scheduler = Scheduler(8.0)
    for name, order in {"c": 2, "a": 0, "b": 0}.items():
        scheduler.add(Node(name, tick=well, init=init), order=order)
    await scheduler.run(0)
    assert begun == {"a": 0.0, "b": 0.0, "c": 0.5}


class Ending(Exception):
    pass


schedules = st.lists(
    st.fixed_dictionaries(
        {
            "init": st.lists(st.sampled_from(["ok", "ok", "ok", "raise", "hang"]), max_size=4),
            "tick": st.lists(st.sampled_from(["ok", "ok", "raise", "hang", "shield"]), max_size=5),
            "shutdown": st.sampled_from(["ok", "ok", "raise", "hang", "slow"]),
            "order": st.integers(-1, 1),
            "critical": st.booleans(),
            "policy": st.sampled_from(
                [Fatal(), horus.Ignore(), Restart(max_restarts=2, backoff=0.25), Restart()]
            ),
            "fresh": st.booleans(),
        }
    ),
    min_size=1,
    max_size=4,
)


@pytest.mark.slow
@hypothesis.given(
    nodes=schedules,
    ending=st.sampled_from(["duration", "stop", "cancel", "remove"]),
    after=st.sampled_from([0.0, 0.125, 0.5, 1.0, 2.0]),
    stop_timeout=st.sampled_from([0.25, 2.0, 10.0]),
    deterministic=st.booleans(),
)
@hypothesis.settings(max_examples=200, deadline=None)
def test_every_init_that_succeeded_is_followed_by_one_shutdown(
    nodes: list[dict[str, Any]],
    ending: str,
    after: float,
    stop_timeout: float,
    deterministic: bool,
) -> None:
    scheduler = Scheduler(
        8.0, stop_timeout=stop_timeout, deterministic=deterministic, signals=False
    )
    up: dict[str, bool] = {}
    problems: list[str] = []  # raised in a hook, they would only be failures of the node

    def expect(name: str, state: bool, problem: str) -> None:
        if up[name] is not state:
            problems.append(f"{name} {problem}")

    def make(name: str, given: dict[str, Any]) -> None:
        inits, ticks = iter(given["init"]), iter(given["tick"])

        async def init(node: Node) -> None:
            expect(name, False, "was initialised twice without a shutdown between")
            await trio.sleep(0.125)
            match next(inits, "ok"):
                case "raise":
                    raise Ending
                case "hang":
                    await trio.sleep_forever()
            up[name] = True

        async def tick(node: Node) -> None:
            expect(name, True, "ticked without being initialised")
            match next(ticks, "ok"):
                case "raise":
                    raise Ending
                case "hang":
                    await trio.sleep_forever()
                case "shield":
                    with trio.CancelScope(shield=True):
                        await trio.sleep(0.75)

        async def shutdown(node: Node) -> None:
            expect(name, True, "was shut down without being initialised")
            up[name] = False
            await trio.lowlevel.checkpoint()  # not cancelled from outside
            match given["shutdown"]:
                case "raise":
                    raise Ending
                case "hang":
                    await trio.sleep_forever()
                case "slow":
                    await trio.sleep(0.5)

        def build() -> Node:
            return Node(name, tick=tick, init=init, shutdown=shutdown)

        scheduler.add(
            build if given["fresh"] else build(),
            order=given["order"],
            critical=given["critical"],
            failure_policy=given["policy"],
            init_timeout=0.5,
            tick_timeout=0.5,
        )

    for n, given in enumerate(nodes):
        up[f"node {n}"] = False
        make(f"node {n}", given)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(end_it)
            with trio.CancelScope() as scope:
                if ending == "cancel":
                    scope.deadline = after
                with contextlib.suppress(horus.RunFailed):
                    await scheduler.run(after if ending == "duration" else 3.0)
            for name in up:
                expect(name, False, "was not shut down")
            nursery.cancel_scope.cancel()

    async def end_it() -> None:
        await trio.sleep(after)
        if ending == "stop":
            scheduler.stop()
        elif ending == "remove":
            for name in list(scheduler.statistics().nodes):
                scheduler.remove(name)
                await scheduler.stopped(name)
                expect(name, False, "was not shut down when it had been removed")

    trio.run(main, clock=MockClock(autojump_threshold=0))
    assert problems == []


async def test_a_restart_shuts_down_before_it_initialises_again(
    autojump_clock: MockClock,
) -> None:
    diary = Diary()
    failures = iter([ValueError("1"), ValueError("2")])

    async def tick(node: Node) -> None:
        for error in failures:
            raise error

    scheduler = Scheduler(8.0)
    policy = Restart(backoff=0.125, jitter=0.0)
    scheduler.add(diary.node("a", tick=tick, seconds=0.25), failure_policy=policy)
    await scheduler.run(4.0)
    assert [entry for entry, _, _ in diary.entries] == ["init", "shutdown", "end"] * 3


async def test_what_was_not_initialised_is_not_shut_down(autojump_clock: MockClock) -> None:
    shut_down: list[str] = []

    async def shutdown(node: Node) -> None:
        shut_down.append(node.name)

    async def raising(node: Node) -> None:
        raise ValueError

    async def hanging(node: Node) -> None:
        await trio.sleep_forever()

    scheduler = Scheduler(8.0)
    policy = Restart(max_restarts=1, backoff=0.125, jitter=0.0)
    for name, init in {"raising": raising, "hanging": hanging}.items():
        node = Node(name, tick=well, init=init, shutdown=shutdown)
        scheduler.add(node, failure_policy=policy, init_timeout=1.0)
    scheduler.add(Node("good", tick=well, shutdown=shutdown))  # no init: it has succeeded
    await scheduler.run(4.0)
    assert shut_down == ["good"]


async def test_shutdown_is_shielded_from_an_outer_cancellation(
    autojump_clock: MockClock,
) -> None:
    diary = Diary()
    scheduler = Scheduler(8.0)
    scheduler.add(diary.node("a", seconds=2.0), order=0)
    scheduler.add(diary.node("b", seconds=1.0), order=1)
    with trio.move_on_after(0.75) as scope:
        await scheduler.run()
    assert scope.cancelled_caught
    assert diary.instants("end") == {"b": 1.75, "a": 3.75}
    assert trio.current_time() == 3.75
    assert scheduler.report is not None
    assert scheduler.report.reason == "it was cancelled"


async def test_hooks_that_are_not_there_cost_nothing(mock_clock: MockClock) -> None:
    """No thread is started and no time passes for `def` hooks that nobody has defined."""
    before = set(threading.enumerate())
    scheduler = Scheduler(8.0)
    for n in range(50):
        scheduler.add(Node(f"node {n}", tick=well))
    report = await scheduler.run(0)
    assert report.statistics.pool is not None
    assert set(threading.enumerate()) <= before
    assert trio.current_time() == 0.0


# Bounded time


async def test_a_tick_in_flight_has_half_a_second_to_finish(autojump_clock: MockClock) -> None:
    endings: dict[str, float] = {}

    async def finishes(node: Node) -> None:
        await trio.sleep(1.25)
        endings[node.name] = trio.current_time()

    async def never(node: Node) -> None:
        try:
            await trio.sleep(30)
        finally:
            endings[node.name] = trio.current_time()

    async def reads(node: Node) -> None:
        try:
            await node.recv_async("nothing")
        finally:
            endings[node.name] = trio.current_time()

    scheduler = Scheduler(1.0)
    for name, tick in {"finishes": finishes, "never": never, "reads": reads}.items():
        scheduler.add(Node(name, tick=tick), phase=0.0)
    scheduler.add(Node("brief", tick=never), phase=0.0, shutdown_timeout=0.25)
    report = await scheduler.run(1.0)
    assert endings == {"finishes": 1.25, "never": 1.5, "reads": 1.0, "brief": 1.25}
    nodes = report.statistics.nodes
    assert [n.ok for n in nodes.values()] == [1, 0, 0, 0]
    assert [n.cancelled for n in nodes.values()] == [0, 1, 1, 1]


async def test_a_shutdown_that_takes_too_long_is_cut_off_and_said(
    autojump_clock: MockClock,
) -> None:
    async def shutdown(node: Node) -> None:
        await trio.sleep_forever()

    scheduler = Scheduler(8.0)
    scheduler.add(Node("a", tick=well, shutdown=shutdown), shutdown_timeout=2.0)
    report = await scheduler.run(1.0)
    assert trio.current_time() == 3.0
    (text,) = report.hook_errors
    assert text.endswith("HookTimedOut: shutdown of node 'a' took longer than 2 s")
    assert not report.ok


@pytest.mark.parametrize("stop_timeout", [0.25, 1.0, 4.0])
async def test_stop_timeout_bounds_the_whole_stop(
    stop_timeout: float, autojump_clock: MockClock
) -> None:
    """A hundred groups one after the other, each with hooks that never end by themselves."""
    begun: list[str] = []

    async def shutdown(node: Node) -> None:
        begun.append(node.name)
        await trio.sleep_forever()

    async def tick(node: Node) -> None:
        await trio.sleep_forever()

    scheduler = Scheduler(1.0, stop_timeout=stop_timeout)
    for n in range(100):
        scheduler.add(Node(f"node {n}", tick=tick, shutdown=shutdown), order=n)
    await scheduler.run(2.0)
    assert trio.current_time() <= 2.0 + stop_timeout
    assert sorted(begun) == sorted(f"node {n}" for n in range(100))


@pytest.mark.slow
@pytest.mark.patience(60)
async def test_two_hundred_hung_hooks_are_all_started_and_listed(mock_clock: MockClock) -> None:
    release = threading.Event()
    lock = threading.Lock()
    begun: list[str] = []

    def hangs_in_its_shutdown(node: Node) -> None:
        with lock:
            begun.append(node.name)
        release.wait(60)

    scheduler = Scheduler(1.0, stop_timeout=5.0)
    for n in range(200):
        scheduler.add(Node(f"node {n}", tick=well, shutdown=hangs_in_its_shutdown), order=n % 3)
    reports: list[horus.RunReport] = []

    async def run(task_status: trio.TaskStatus[None]) -> None:
        reports.append(await scheduler.run(task_status=task_status))

    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(run)
            scheduler.stop()
            stopped_at = trio.current_time()
            while nursery.child_tasks:
                before = -1
                while before != len(begun):  # no thread is on its way
                    before = len(begun)
                    await wait_all_tasks_blocked(0.02)
                mock_clock.jump(seconds_to_next_deadline())
            took = trio.current_time() - stopped_at
        names = {f"node {n}" for n in range(200)}
        assert sorted(begun) == sorted(names)  # each of them, once
        assert took <= 5.0
        (report,) = reports
        assert {straggler.node for straggler in report.stragglers} == names
        assert len(report.stragglers) == 200
        for straggler in report.stragglers:
            assert straggler.call == "shutdown"
            assert "hangs_in_its_shutdown" in straggler.stack
        assert "STRAGGLER node 0.shutdown: its thread has been out for" in str(report)
    finally:
        release.set()


async def test_a_thread_that_is_busy_at_the_stop_gets_its_time_and_then_shutdown_all_the_same(
    mock_clock: MockClock,
) -> None:
    release, entered = threading.Event(), threading.Event()
    shut_down_at: list[float] = []

    def tick(node: Node) -> None:
        entered.set()
        release.wait(60)

    def shutdown(node: Node) -> None:
        shut_down_at.append(node.now)
        release.set()  # closing is what frees the reader

    scheduler = Scheduler(1.0)
    scheduler.add(Node("reader", tick=tick, shutdown=shutdown), shutdown_timeout=2.0, phase=0.0)
    reports: list[horus.RunReport] = []

    async def run() -> None:
        reports.append(await scheduler.run())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        while not entered.is_set():
            await wait_all_tasks_blocked(0.001)
        scheduler.stop()
        for _ in range(4):
            await wait_all_tasks_blocked(0.01)
            mock_clock.jump(0.5)
        while not shut_down_at:
            await wait_all_tasks_blocked(0.01)
        while nursery.child_tasks:
            await wait_all_tasks_blocked(0.01)
            mock_clock.jump(0.5)
    assert shut_down_at == [2.0]
    (report,) = reports
    assert report.shutdown_while_busy == ("reader",)
    assert report.statistics.nodes["reader"].abandoned == 1


async def test_an_init_that_succeeds_after_it_was_given_up_is_undone_in_its_thread(
    mock_clock: MockClock,
) -> None:
    release = threading.Event()
    calls: list[tuple[str, int]] = []

    def init(node: Node) -> None:
        release.wait(60)
        calls.append(("init", threading.get_ident()))

    def shutdown(node: Node) -> None:
        calls.append(("shutdown", threading.get_ident()))

    scheduler = Scheduler(1.0)
    scheduler.add(
        Node("slow", tick=well, init=init, shutdown=shutdown),
        init_timeout=1.0,
        failure_policy=Restart(max_restarts=0),
    )
    scheduler.add(Node("other", tick=well))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scheduler.run)
        for _ in range(8):
            await wait_all_tasks_blocked(0.01)
            mock_clock.jump(0.25)
        assert calls == []
        release.set()
        while scheduler.statistics().nodes["slow"].state is not horus.NodeState.FAILED:
            await wait_all_tasks_blocked(0.005)
        assert [what for what, _ in calls] == ["init", "shutdown"]
        assert calls[0][1] == calls[1][1]
        scheduler.stop()
    assert len(calls) == 2


# Signals, in a process of its own


class Robot:
    """A robot in a process, which says on its standard output what happens to it."""

    def __init__(self, program: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-u", "-c", PRELUDE + textwrap.dedent(program)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        self.lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self.lines.put(line.rstrip())
        self.lines.put(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.process.kill()
        self.process.wait()
        self.reader.join()

    def wait_for(self, line: str) -> None:
        seen: list[str] = []
        while (said := self.lines.get(timeout=20)) != line:
            assert said is not None, seen
            seen.append(said)

    def signal(self, signum: signal.Signals) -> None:
        self.process.send_signal(signum)

    def end(self) -> tuple[int, list[str], float]:
        """Exit code, what else it said, and how many seconds it took."""
        began = time.monotonic()
        code = self.process.wait(timeout=20)
        said: list[str] = []
        while (line := self.lines.get(timeout=20)) is not None:
            said.append(line)
        return code, said, time.monotonic() - began


PRELUDE = """
import logging, signal, sys, time
import trio
import horus_trio as horus

logging.getLogger("horus_trio").setLevel(logging.CRITICAL + 1)

async def well(node):
    pass

async def waits(node):
    print("waiting")
    await trio.sleep(30)

async def blocks(node):
    print("blocking")
    time.sleep(30)

async def hangs(node):
    print("shutdown begins")
    await trio.sleep(30)

async def says_so(node):
    print("shutdown")

earlier = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)

def restored():
    return (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == earlier
"""


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_robot_gracefully(signum: signal.Signals) -> None:
    program = """
        scheduler = horus.Scheduler()
        scheduler.add(horus.Node("a", tick=waits, shutdown=says_so))
        scheduler.add(horus.Node("b", tick=well, shutdown=says_so))
        report = scheduler.run()
        print(report.reason, restored())
    """
    with Robot(program) as robot:
        robot.wait_for("waiting")
        robot.signal(signum)
        code, said, seconds = robot.end()
    assert (code, said) == (0, ["shutdown", "shutdown", f"{signum.name} True"])
    # Half a second of grace, and the interpreter's own end; HORUS's tier takes three.
    assert 0.4 < seconds < 2.5


@pytest.mark.slow
def test_a_second_signal_forces_the_end() -> None:
    program = """
        scheduler = horus.Scheduler()
        node = horus.Node("a", tick=waits, shutdown=hangs)
        scheduler.add(node, shutdown_timeout=20.0)
        report = scheduler.run()
        print(report.reason, restored())
    """
    with Robot(program) as robot:
        robot.wait_for("waiting")
        robot.signal(signal.SIGINT)
        robot.wait_for("shutdown begins")
        robot.signal(signal.SIGTERM)
        code, said, seconds = robot.end()
    assert (code, said) == (0, ["SIGINT, forced by SIGTERM True"])
    assert seconds < 3.0


@pytest.mark.slow
def test_where_the_loop_is_blocked_the_second_signal_interrupts_the_code_that_blocks_it() -> None:
    program = """
        scheduler = horus.Scheduler()
        scheduler.add(horus.Node("a", tick=blocks, shutdown=says_so))
        report = scheduler.run()
        node = report.statistics.nodes["a"]
        print(report.reason, report.failed, node.errors, node.ok, restored())
    """
    with Robot(program) as robot:
        robot.wait_for("blocking")
        robot.signal(signal.SIGINT)
        time.sleep(0.2)  # two signals in one instant are one
        robot.signal(signal.SIGINT)
        code, said, seconds = robot.end()
    assert (code, said) == (0, ["shutdown", "SIGINT () 1 0 True"])
    assert seconds < 5.0


@pytest.mark.slow
def test_signals_are_left_alone_on_request() -> None:
    program = """
        async def tick(node):
            print(restored())
            node.request_stop()

        scheduler = horus.Scheduler(signals=False)
        scheduler.add(horus.Node("a", tick=tick))

        async def main():
            global earlier  # Trio has its own handler for SIGINT
            earlier = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
            await scheduler.run()

        trio.run(main)
    """
    with Robot(program) as robot:
        code, said, _ = robot.end()
    assert (code, said) == (0, ["True"])


async def test_handlers_are_there_during_the_run_and_restored_after_it(
    autojump_clock: MockClock,
) -> None:
    def handlers() -> list[Any]:
        return [signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)]

    before = handlers()
    during: list[Any] = []

    async def tick(node: Node) -> None:
        during[:] = handlers()

    async def raises(node: Node) -> None:
        raise ValueError

    scheduler = Scheduler(8.0)
    scheduler.add(Node("a", tick=tick))
    await scheduler.run(0.5)
    assert during[0] == during[1]
    assert during[0] not in before
    assert handlers() == before
    scheduler.add(Node("b", tick=raises), failure_policy=Fatal())
    with pytest.raises(horus.RunFailed):
        await scheduler.run()
    assert handlers() == before


def test_off_the_main_thread_no_handler_is_touched() -> None:
    before = [signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)]
    during: list[Any] = []

    async def tick(node: Node) -> None:
        during[:] = [signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)]

    with horus.background(Node("a", tick=tick)) as scheduler:
        give_up = time.monotonic() + 10
        while not during and time.monotonic() < give_up:
            time.sleep(0.001)
        scheduler.stop()
    assert during == before


# Stopping, from anywhere


async def test_stop_is_idempotent_and_the_first_reason_counts(
    autojump_clock: MockClock,
) -> None:
    scheduler = Scheduler(8.0)
    scheduler.stop("nothing runs")
    scheduler.add(Node("a", tick=well))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scheduler.run)
        await trio.sleep(1.0)
        for reason in ("first", "second"):
            await trio.to_thread.run_sync(scheduler.stop, reason)
    assert scheduler.report is not None
    assert scheduler.report.reason == "first"
    json.dumps(scheduler.report.to_dict())


async def test_an_init_that_succeeds_as_the_run_is_cancelled_is_shut_down() -> None:
    """The thread may have done it before the loop knows: the loop is kept busy here."""
    inits: list[int] = []
    shutdowns: list[int] = []

    async def keep_the_loop_busy() -> None:
        while True:
            time.sleep(0.001)  # noqa: ASYNC251 - on purpose
            await trio.lowlevel.checkpoint()

    for n in range(20):
        node = Node(
            "device",
            init=lambda _, n=n: inits.append(n),
            tick=lambda _: None,
            shutdown=lambda _, n=n: shutdowns.append(n),
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keep_the_loop_busy)
            with trio.CancelScope() as scope:
                scope.cancel()
                await Scheduler().add(node).run(1)
            await trio.sleep(0.002)
            nursery.cancel_scope.cancel()
    assert inits == shutdowns


async def test_a_task_that_failed_while_init_succeeded_is_not_forgotten(
    autojump_clock: MockClock,
) -> None:
    class Opens(horus.AsyncNode):
        async def init(self) -> None:
            self.start_soon(self.fail)
            with trio.CancelScope(shield=True):
                await trio.sleep(1)

        async def fail(self) -> None:
            raise OSError("no line")

        async def tick_async(self) -> None:
            pass

    scheduler = Scheduler().add(Opens("a", failure_policy=Fatal()))
    with pytest.raises(horus.RunFailed) as caught:
        await scheduler.run(10)
    assert repr(caught.value.exceptions[0]) == "OSError('no line')"
