"""The watchdog's parts, with instants that the test chooses; whole robots are in G12's module."""

from __future__ import annotations

import contextlib
import itertools
import linecache
import logging
import math
import os
import queue
import re
import select
import signal
import sys
import threading
import time
import traceback
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from children import line_of
from trio.testing import MockClock

from horus_trio import Ignore, Node, Scheduler
from horus_trio.executor import AsyncIOExecutor, NodeRunner, Owner, open_executor
from horus_trio.executor.attribution import ASYNCIO_ADVICE, _owner_of_task
from horus_trio.health import NodeState
from horus_trio.logs import OffLoopLogger
from horus_trio.messages import Fence, current_fence
from horus_trio.scheduler.watchdog import blocked as watchdog
from horus_trio.scheduler.watchdog import culprit as culprits
from horus_trio.scheduler.watchdog import thread as watchdog_thread
from horus_trio.scheduler.watchdog.blocked import BlockedLoop
from horus_trio.scheduler.watchdog.culprit import Culprit, who_runs
from horus_trio.scheduler.watchdog.holder import who_held_the_lock
from horus_trio.scheduler.watchdog.lookout import Lookout
from horus_trio.scheduler.watchdog.stalled import StalledNodes, stall_limit
from horus_trio.scheduler.watchdog.stops import Announcer, LateStop
from horus_trio.scheduler.watchdog.thread import Duty, Watchdog

HERE = Path(__file__)


def log() -> OffLoopLogger:
    """Outside a run it handles records at once."""
    return OffLoopLogger(logging.getLogger("horus_trio"))


def descriptors() -> set[str]:
    """Those that are open."""
    return {path.name for path in Path("/proc/self/fd").iterdir()}


async def well(node: Node) -> None:
    pass


# A stop that does not get through


class Calls:
    def __init__(self, within: float) -> None:
        self.made: list[str] = []
        self.late = LateStop(within, self.made.append, lambda: self.made.append("endless"))


def test_nothing_is_late_before_a_stop_is_asked_for() -> None:
    calls = Calls(10.0)
    assert calls.late.look(0.0) == math.inf
    assert calls.late.look(1e6) == math.inf
    assert calls.made == []


def test_a_stop_that_the_loop_hears_of_has_its_time_limit_and_some_patience() -> None:
    calls = Calls(10.0)
    calls.late.asked()
    assert calls.late.look(100.0) == pytest.approx(100.1)
    calls.late.begun()
    assert calls.late.look(100.05) == 111.5
    assert calls.late.look(111.4) == 111.5
    assert calls.made == []
    assert calls.late.look(111.5) == math.inf
    assert calls.made == ["endless"]
    calls.late.asked()
    calls.late.forced()
    calls.late.look(1e6)
    assert calls.made == ["endless"]


def test_a_stop_that_the_loop_has_begun_before_the_watchdog_looks_has_its_time_limit() -> None:
    calls = Calls(10.0)
    calls.late.asked()
    calls.late.begun()
    assert calls.late.look(100.0) == 111.5
    calls.late.look(111.5)
    assert calls.made == ["endless"]


def test_a_stop_of_which_the_loop_does_not_hear_makes_the_robot_safe() -> None:
    calls = Calls(10.0)
    calls.late.asked()
    calls.late.look(0.0)
    calls.late.look(0.05)
    assert calls.made == []
    calls.late.look(0.1)
    assert calls.made == ["a stop does not get through: the loop is blocked"]
    calls.late.look(0.2)
    assert len(calls.made) == 1


def test_a_forced_stop_has_only_the_patience() -> None:
    calls = Calls(10.0)
    calls.late.begun()
    calls.late.look(0.0)
    calls.late.forced()
    assert calls.late.look(3.0) == 4.5
    calls.late.look(4.5)
    assert calls.made == ["endless"]


async def test_an_emergency_is_announced_also_where_the_loop_is_blocked(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with open_executor() as executor:
        announcer = Announcer(executor.safety)
        assert announcer.look(5.0) == math.inf
        executor.safety.trip("a fence was opened")
        assert announcer.look(5.0) == 5.25  # until its end
    assert "a fence was opened" in caplog.text


# A blocked loop


async def in_thread(function: Callable[[], object]) -> None:
    """Call it in a thread, and block the loop meanwhile."""
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()


async def test_the_loop_is_asked_and_reported_with_the_line_that_blocks_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    blocked = BlockedLoop(0.5, log())
    start = time.monotonic()

    def look() -> None:
        for eighths in range(20):
            blocked.look(start + eighths / 8)

    await in_thread(look)
    reports = [record.getMessage() for record in caplog.records]
    pattern = rf"blocked for (.*) s by code of no node at {HERE}:\d+ in in_thread, and"
    assert [re.findall(pattern, text) for text in reports] == [["0.5"], ["1.0"], ["2.0"]]
    assert blocked.count == 1
    assert [stall.duration for stall in blocked.stalls] == [2.0]
    await trio.lowlevel.checkpoint()  # it answers
    await trio.lowlevel.checkpoint()
    assert blocked.blocked_for == 0.0
    blocked.look(start + 20 / 8)
    assert "the loop goes on: code of no node" in caplog.records[-1].getMessage()
    assert caplog.records[-1].getMessage().endswith("had blocked it for 2.5 s")
    assert [stall.duration for stall in blocked.stalls] == [2.5]
    (stall,) = blocked.stalls
    assert stall.advice
    assert caplog.records[0].getMessage().count(stall.advice) == 1


async def test_a_loop_that_answers_is_not_reported(caplog: pytest.LogCaptureFixture) -> None:
    blocked = BlockedLoop(0.5, log())
    start = time.monotonic()
    for eighths in range(30):
        await trio.to_thread.run_sync(blocked.look, start + eighths / 8)
        await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()
    assert blocked.count == 0
    assert caplog.records == []


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (["left", "left", "right"], "node 'left' (tick 1)"),
        (["right", "left", "left"], "node 'left' (tick 1)"),
        (["left", "right"], "several in turn, such as node 'left' (tick 1), node 'right' (tick 1)"),
        (list("abcde"), "(tick 1), node 'd' (tick 1) and 1 more"),
    ],
)
async def test_who_was_seen_most_of_the_time_blocks_the_loop_or_several_do_in_turn(
    seen: list[str],
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    looks = iter(seen)

    def who(thread: int) -> Culprit:
        return Culprit(node=next(looks), what="tick 1", advice="do less")

    monkeypatch.setattr(watchdog, "who_runs", who)
    blocked = BlockedLoop(0.5, log())
    start = time.monotonic()

    def look() -> None:
        blocked.look(start)
        for n in range(len(seen)):
            blocked.look(start + 0.5 * (n + 1) / len(seen))

    await in_thread(look)
    (record,) = caplog.records
    assert expected in record.getMessage()


async def test_a_watchdog_that_did_not_run_either_blames_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    blocked = BlockedLoop(0.5, log())
    await in_thread(lambda: blocked.look(time.monotonic() + 3.0))
    (stall,) = blocked.stalls
    assert (stall.node, stall.what, stall.where) == (None, "the process stood still", "")
    assert stall.duration == pytest.approx(3.0, abs=0.5)
    assert "stood still for 3.0 s" in caplog.records[0].getMessage()


@pytest.mark.parametrize(
    ("seconds", "report"), [(0.2, "the process stood still"), (1.0, "no Python code ran")]
)
async def test_a_busy_machine_that_kept_the_lock_for_a_moment_does_not_explain_the_pause(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, seconds: float, report: str
) -> None:
    blocked = BlockedLoop(0.5, log())
    waits = round(seconds / sys.getswitchinterval())
    monkeypatch.setattr(watchdog, "_waits_of_this_thread", lambda: waits)
    await in_thread(lambda: blocked.look(time.monotonic() + 3.0))
    (record,) = caplog.records
    assert record.getMessage().startswith(f"{report} for 3.0 s")


def test_the_line_shown_is_the_users_own_and_a_deep_stack_shows_both_ends() -> None:
    gate: queue.Queue[None] = queue.Queue()

    def dive(depth: int) -> None:
        if depth:
            sink(depth - 1)
        else:
            gate.get()  # waits here

    def sink(depth: int) -> None:
        dive(depth)

    thread = threading.Thread(target=dive, args=(30,))
    thread.start()
    try:
        culprit = None
        while culprit is None or "queue.py" not in culprit.stack:
            assert thread.ident is not None
            culprit = who_runs(thread.ident)
            time.sleep(0.001)
    finally:
        gate.put(None)
        thread.join()
    assert str(culprit) == f"code of no node at {HERE}:{line_of(HERE, '# waits here')} in dive"
    assert "in _bootstrap\n" in culprit.stack
    shown = culprit.stack.splitlines()
    gap = next(n for n, line in enumerate(shown) if " more]" in line)
    frames = [n for n, line in enumerate(shown) if line.lstrip().startswith("File ")]
    assert [sum(n < gap for n in frames), sum(n > gap for n in frames)] == [4, 8]
    assert who_runs(-1) is None


@pytest.mark.parametrize(("depth", "left_out"), [(11, 0), (12, 0), (13, 1), (40, 28)])
def test_what_is_left_out_of_a_deep_stack_is_counted(depth: int, left_out: int) -> None:
    places = tuple(traceback.FrameSummary("robot.py", n, "dive") for n in range(depth))
    stack = Culprit(node="arm", what="tick 1", places=places).stack
    shown = [int(line) for line in re.findall('File "robot.py", line (.*), in dive', stack)]
    assert shown == [n for n in range(depth) if n < 4 or n >= depth - 8]
    assert re.findall(r"^  \[(.*) more\]$", stack, re.MULTILINE) == [str(left_out)] * (left_out > 0)


def test_the_profiler_between_the_engine_and_a_hook_is_not_shown() -> None:
    made: dict[str, Any] = {}
    program = "def dressed(hook):\n    return hook()\n"
    code = compile(program, "/opt/horus_trio/profiling/dressing.py", "exec")
    exec(code, made)  # noqa: S102 - a function that is in a file of that name
    culprit = made["dressed"](lambda: who_runs(threading.get_ident()))
    assert "test_the_profiler_between" in culprit.stack
    assert "dressing.py" not in culprit.stack
    assert culprit.is_idle  # the innermost code, which looks, is the engine's


async def test_code_of_a_task_is_busy_and_no_other_frames_are_shown() -> None:
    found: list[Culprit] = []
    loop = threading.get_ident()

    def look() -> None:
        culprit = None
        for _ in range(10_000):
            culprit = who_runs(loop)
            if culprit is not None and "in computes" in culprit.where:
                break
            time.sleep(0.001)
        found.extend([culprit] if culprit is not None else [])

    looks = threading.Thread(target=look)

    async def computes() -> None:
        while not found:
            pass

    looks.start()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(computes)
    looks.join()
    (culprit,) = found
    assert [place.name for place in culprit.places] == ["computes"]
    assert (culprit.node, culprit.what, culprit.is_idle) == (None, "code of no node", False)


def test_code_without_trios_loop_is_its_hosts_and_the_loops_own_frame_is_shown_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    culprit = who_runs(threading.get_ident())
    assert culprit is not None
    assert (culprit.what, culprit.advice) == ("code of no node", culprits.HOST_ADVICE)
    frame = sys._getframe()
    owner = Owner(node=None, what="code of no node", advice="yield")
    monkeypatch.setattr(culprits, "frames_of_thread", lambda thread: [(frame, 1), (frame, 2)])
    monkeypatch.setattr(culprits, "owner_of", lambda frame: owner)
    culprit = who_runs(1)
    assert culprit is not None
    assert ([place.lineno for place in culprit.places], culprit.advice) == ([1], "yield")


def test_a_look_reads_no_source_until_the_stack_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """It looks eight times a second at a busy loop; each file that is read stays in memory."""
    monkeypatch.setattr(linecache, "cache", {})
    culprit = who_runs(threading.get_ident())  # and this one is shown
    assert linecache.cache == {}
    assert culprit is not None
    assert "culprit = who_runs(threading.get_ident())  # and this one is shown" in culprit.stack
    assert linecache.cache


async def test_a_task_that_a_node_has_started_in_a_nursery_of_its_own_is_the_nodes() -> None:
    found: list[Culprit | None] = []

    async def asks() -> None:
        await in_thread(lambda: found.append(who_runs(threading.main_thread().ident or 0)))

    async def tick(node: Node) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(asks)

    async with open_executor() as executor:
        await started(executor, Node("camera", tick=tick))
    await asks()
    told = [(one.node, one.what, bool(one.advice)) for one in found if one is not None]
    # What runs the test here is Trio's task, and no node's.
    assert told == [("camera", "a task that it started", True), (None, "code of no node", True)]


async def test_a_loop_that_waits_for_something_to_do_is_idle() -> None:
    loop = threading.get_ident()

    def look() -> bool:
        for _ in range(1000):
            culprit = who_runs(loop)
            if culprit is not None and culprit.is_idle:
                return True
            time.sleep(0.001)
        return False

    assert await trio.to_thread.run_sync(look)


# Nodes that stall


@pytest.mark.parametrize(
    ("period", "limit"), [(0.0, 1.0), (0.01, 1.0), (0.2, 1.0), (0.5, 2.5), (60.0, 300.0)]
)
def test_a_tick_may_take_five_periods_and_a_second(period: float, limit: float) -> None:
    assert stall_limit(period) == limit


class Bench:
    """Judges the nodes of an executor at instants of its own."""

    def __init__(self, executor: AsyncIOExecutor) -> None:
        self.now = 0.0
        self.nodes = StalledNodes(
            executor.runners, lambda: self.now, BlockedLoop(0.5, log()), log()
        )

    def look(self, now: float) -> dict[str, float]:
        self.now = now
        self.nodes.look(now)
        return self.nodes.names


async def started(executor: AsyncIOExecutor, node: Node, **options: Any) -> None:
    await executor.spawn_node(node, **options)
    executor.tick(node)
    await trio.testing.wait_all_tasks_blocked()


async def for_ever(node: Node) -> None:
    await trio.sleep_forever()


async def test_a_stalled_tick_is_reported_again_when_it_has_lasted_twice_as_long(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_executor() as executor:
        bench = Bench(executor)
        await started(executor, Node("arm", tick=for_ever))
        found = [bench.look(half / 2) for half in range(20)]
    assert found[:3] == [{}, {}, {}]
    assert found[3:] == [{"arm": half / 2} for half in range(3, 20)]
    seconds = [record.getMessage().split()[8] for record in caplog.records]
    assert seconds == ["1.5", "3.0", "6.0"]


async def test_a_tick_that_waited_for_its_turn_has_not_stalled_yet(
    autojump_clock: MockClock,
) -> None:
    """It was due long ago, and began after the latest look."""
    gate = trio.Event()

    async def tick(node: Node) -> None:
        if not gate.is_set():
            await gate.wait()
        else:
            await trio.sleep_forever()

    async with open_executor() as executor:
        bench = Bench(executor)
        node = Node("arm", tick=tick)
        await started(executor, node)
        executor.tick(node)  # waits, since 0.0
        assert bench.look(0.0) == {}
        assert bench.look(30.0) == {"arm": 30.0}
        gate.set()
        await trio.testing.wait_all_tasks_blocked()
        assert bench.look(31.0) == {}
        assert bench.look(31.5) == {"arm": 1.5}


async def test_a_tick_that_hears_something_now_and_then_has_not_stalled(
    autojump_clock: MockClock,
) -> None:
    async def tick(node: Node) -> None:
        while True:
            await node.recv_async("scan")
            await trio.sleep(1.0)

    async with open_executor() as executor:
        bench = Bench(executor)
        await started(executor, Node("mapper", tick=tick))
        assert bench.look(0.0) == {}
        assert bench.look(60.0) == {}
        executor.topics.hub("scan").send(0)
        await trio.sleep(0.5)
        assert bench.look(61.0) == {}  # at work, since 60.0 at the earliest
        assert bench.look(61.5) == {"mapper": 1.5}
        await trio.sleep(1.0)
        assert bench.look(62.0) == {}


async def test_a_node_that_is_always_slow_is_reported_once_in_ten_seconds(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def tick(node: Node) -> None:
        await trio.sleep(2.0)

    async with open_executor() as executor:
        bench = Bench(executor)
        node = Node("planner", tick=tick)
        await executor.spawn_node(node)
        for half in range(80):  # 20 ticks of two seconds
            if half % 4 == 0:
                executor.tick(node)
                await trio.testing.wait_all_tasks_blocked()
            bench.look(half / 2)
            await trio.sleep(0.5)
    assert len(caplog.records) == 4


async def test_of_many_that_stall_at_once_most_are_only_named(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_executor() as executor:
        bench = Bench(executor)
        for n in range(50):
            await started(executor, Node(f"arm {n}", tick=for_ever))
        bench.look(0.0)
        assert len(bench.look(2.0)) == 50
    reports = [record.getMessage() for record in caplog.records]
    assert len(reports) == 21
    assert reports[19].startswith("node 'arm 19' has been in tick 1 for 2.0 s, more than 1 s")
    assert reports[20].startswith(
        "30 more nodes have been in one tick for too long: 'arm 20', 'arm 21', "
    )
    assert reports[20].endswith("'arm 39' and others")


async def test_a_node_that_has_left_or_is_stuck_is_not_judged(mock_clock: MockClock) -> None:
    release, entered = threading.Event(), threading.Event()

    def hangs(node: Node) -> None:
        entered.set()
        release.wait(30)

    async with open_executor() as executor:
        bench = Bench(executor)
        await started(executor, Node("arm", tick=hangs), tick_timeout=1.5)
        try:
            while not entered.is_set():
                await trio.testing.wait_all_tasks_blocked(0.01)
            bench.look(0.0)
            assert bench.look(1.25) == {"arm": 1.25}
            mock_clock.jump(1.5)
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert executor.statistics().nodes["arm"].abandoned == 1
            assert bench.look(2.0) == {}
        finally:
            release.set()
        await trio.testing.wait_all_tasks_blocked(0.01)
    assert bench.look(20.0) == {}


# Who held the interpreter's lock


async def test_where_several_may_have_held_the_lock_all_are_named() -> None:
    release = threading.Event()

    def hangs(node: Node) -> None:
        release.wait(30)  # hangs

    async with open_executor() as executor:
        nodes = [Node(name, tick=hangs) for name in ("left", "right")]
        for node in nodes:
            await executor.spawn_node(node)
        idle = Node("idle", tick=well)
        await started(executor, idle)
        assert who_held_the_lock(executor.runners, 1.0, False, executor.clock() + 5.0) is None
        found = []
        try:
            for node in nodes:
                executor.tick(node)
                with trio.fail_after(10):
                    while executor.runners[str(node.name)].thread_call is None:
                        await trio.lowlevel.checkpoint()
                await trio.sleep(0.05)
                for on_loop in (False, True):
                    found.append(
                        who_held_the_lock(executor.runners, 1.0, on_loop, executor.clock() + 5.0)
                    )
        finally:
            release.set()
    place = f"at {HERE}:{line_of(HERE, '# hangs')} in hangs"
    one, two = (f"node '{name}' (tick) {place}" for name in ("left", "right"))
    assert [str(culprit) for culprit in found] == [one, one] + [f"one of {one}, {two}"] * 2
    assert [culprit and culprit.node for culprit in found] == ["left", "left", None, None]


async def test_of_very_many_that_may_have_held_it_four_are_named() -> None:
    release = threading.Event()

    def hangs(node: Node) -> None:
        release.wait(30)

    async with open_executor() as executor:
        try:
            for n in range(6):
                await started(executor, Node(f"arm {n}", tick=hangs, thread="own"))
            with trio.fail_after(10):
                while any(
                    runner.thread_call is None or math.isnan(runner.thread_call.started)
                    for runner in executor.runners.values()
                ):
                    await trio.lowlevel.checkpoint()
            culprit = who_held_the_lock(executor.runners, 1.0, False, executor.clock() + 5.0)
        finally:
            release.set()
    assert culprit is not None
    assert culprit.what.count("node 'arm ") == 4


async def test_a_tick_that_ended_as_the_lock_was_let_go_may_have_held_it() -> None:
    """It began before, it lasted long enough, and it is over only just now."""

    async def works(node: Node) -> None:
        deadline = time.monotonic() + 0.5
        while time.monotonic() < deadline:
            pass

    async with open_executor() as executor:
        await started(executor, Node("busy", tick=works))
        ledger = executor.runners["busy"].ledger
        began, lasted = ledger.last_start, ledger.durations.summary().max
        assert lasted >= 0.5
        ended = began + lasted

        def held(seconds: float, after: float) -> str | None:
            culprit = who_held_the_lock(executor.runners, seconds, True, ended + after)
            return None if culprit is None else culprit.node

        assert held(0.5, 0.0) == "busy"
        assert held(0.5, 0.05) == "busy"
        assert held(0.5, 0.2) is None  # that is too long ago
        assert held(lasted + 0.2, 0.0) is None  # it did not last so long
        assert held(0.2, 0.0) == "busy"


async def test_so_may_one_in_a_thread_of_whose_end_the_loop_has_not_heard() -> None:
    def works(node: Node) -> None:
        time.sleep(0.5)

    async with open_executor() as executor:
        await executor.spawn_node(Node("busy", tick=works))
        runner = executor.runners["busy"]
        executor.tick("busy")
        with trio.fail_after(10):
            while (call := runner.thread_call) is None or math.isnan(call.started):
                await trio.lowlevel.checkpoint()
        while call.result is None:
            threading.Event().wait(0.001)  # and this blocks the loop
        lasted = call.ended - call.started
        assert lasted >= 0.5

        def held(seconds: float, after: float) -> tuple[str | None, str] | None:
            now = call.ended + after
            culprit = who_held_the_lock(executor.runners, seconds, False, now)
            return None if culprit is None else (culprit.node, culprit.what)

        assert held(0.5, 0.0) == held(0.5, 0.05) == held(0.2, 0.0) == ("busy", "a tick")
        assert held(0.5, 0.2) is None  # that is too long ago
        assert held(lasted + 0.2, 0.0) is None  # it did not last so long


# What is told of it


async def test_the_robot_in_a_line_names_who_is_not_well(autojump_clock: MockClock) -> None:
    async def fails(node: Node) -> None:
        raise ValueError

    said: list[str] = []
    async with open_executor() as executor:
        lookout = Lookout(
            executor,
            stall_after=0.5,
            stop_within=10.0,
            hear=lambda signum: None,
            last_resort=said.append,
        )
        await started(executor, Node("well", tick=well))
        assert lookout._status() == "1 nodes, all healthy"
        for n in range(5):
            await started(executor, Node(f"ill {n}", tick=fails, failure_policy=Ignore()))
        running = ", ".join(f"ill {n} running" for n in range(4))
        assert lookout._status() == f"6 nodes; {running}"
        assert said == []
        lookout._name_the_late()
        (text,) = said
        assert "node 'well' does not end" in text
        assert "Trio cannot leave behind async code" in text
        with lookout:
            """Its end releases what it holds."""


@contextlib.asynccontextmanager
async def looking_out(
    hear: Callable[[int], None] = lambda signum: None,
    last_resort: Callable[[str], None] | None = None,
) -> AsyncGenerator[tuple[AsyncIOExecutor, Lookout]]:
    """An executor and its lookout, which is not started; its descriptors are closed in the end."""
    async with open_executor() as executor:
        lookout = Lookout(
            executor, stall_after=0.5, stop_within=10.0, hear=hear, last_resort=last_resort
        )
        yield executor, lookout
        with lookout:
            """Its end releases what it holds."""


async def test_what_it_is_told_is_looked_at_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pokes: list[str] = []
    async with looking_out() as (executor, lookout):
        with monkeypatch.context() as patches:
            patches.setattr(os, "write", lambda descriptor, data: pokes.append("poke"))
            tellers: list[Callable[[], object]] = [
                lookout.ready,
                lookout.stop_asked,
                lookout.stop_forced,
                lambda: executor.safety.trip("a fence was opened"),
            ]
            for number, tell in enumerate(tellers, 1):
                tell()
                assert len(pokes) == number


async def test_a_stop_is_watched_from_when_it_is_asked_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    said: list[str] = []
    async with looking_out(last_resort=said.append) as (_, lookout):
        assert lookout._late_stop.look(0.0) == math.inf
        lookout.stop_asked()
        assert lookout._late_stop.look(0.0) == 0.1
        lookout.stop_begun("enough")
        assert lookout._late_stop.look(0.0) == 11.5
        lookout.stop_forced()
        assert lookout._late_stop.look(0.0) == 1.5
        assert said == []
        lookout._late_stop.look(1.5)
        assert len(said) == 1


async def test_signals_are_heard_by_the_lookout() -> None:
    heard: queue.SimpleQueue[int] = queue.SimpleQueue()
    earlier = signal.set_wakeup_fd(-1)
    handler = signal.signal(signal.SIGUSR2, lambda signum, frame: None)
    try:
        async with looking_out(heard.put) as (_, lookout):
            lookout.listen()
            signal.raise_signal(signal.SIGUSR2)
        assert heard.get(timeout=10) == signal.SIGUSR2
        assert signal.set_wakeup_fd(-1) == -1
    finally:
        signal.signal(signal.SIGUSR2, handler)
        signal.set_wakeup_fd(earlier, warn_on_full_buffer=False)


async def test_where_no_thread_can_be_had_everything_is_given_back(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse() -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    earlier = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(earlier, warn_on_full_buffer=False)
    async with open_executor() as executor:
        before = descriptors()
        lookout = Lookout(
            executor,
            stall_after=0.5,
            stop_within=10.0,
            hear=lambda signum: None,
            last_resort=None,
        )
        lookout.listen()
        monkeypatch.setattr(lookout._watchdog._thread, "start", refuse)
        with pytest.raises(RuntimeError, match="can't start new thread"), lookout:
            pytest.fail("it has started")
        assert descriptors() == before
    assert signal.set_wakeup_fd(earlier, warn_on_full_buffer=False) == earlier


async def test_whoever_blocks_the_loop_is_alone_to_blame_for_a_stop_that_does_not_end(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    place = traceback.FrameSummary("robot.py", 14, "tick", line="compute()")
    culprit = Culprit(node="arm", what="tick 3", where="robot.py:14 in tick", places=(place,))
    said: list[str] = []
    async with looking_out(last_resort=said.append) as (executor, lookout):
        for name in ("arm", "leg", "gone"):
            await started(executor, Node(name, tick=well))
        done = executor.runners["gone"].done
        with monkeypatch.context() as patches:
            patches.setattr(done, "_is_set", True)
            lookout._name_the_late()
            patches.setattr(lookout.blocked, "culprit", lambda: culprit)
            lookout._name_the_late()
            lookout._last_resort = None  # as in a run that is not the command line's
            lookout._name_the_late()
    nobody, somebody = said
    assert re.findall("node '(.*)' does not end: it ", nobody) == ["arm", "leg"]
    assert "blocked by" not in nobody
    assert re.findall("node '(.*)' does not end: it ", somebody) == ["arm"]
    assert (
        "\nthe loop is blocked by node 'arm' (tick 3) at robot.py:14 in tick\n"
        '  File "robot.py", line 14, in tick\n    compute()\nTrio cannot leave behind'
    ) in somebody
    assert len(caplog.records) == 3


async def test_what_keeps_the_robot_from_its_work(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = {"arm": NodeState.RUNNING, "extra": NodeState.RUNNING}
    async with looking_out() as (executor, lookout):
        await started(executor, Node("arm", tick=well), critical=True)
        await started(executor, Node("extra", tick=well))
        with monkeypatch.context() as patches:
            patches.setattr(NodeRunner, "state", property(lambda runner: states[runner.name]))
            assert lookout._obstacle() == ""
            states["extra"] = NodeState.FAILED
            lookout._stalled.names = {"extra": 2.0}
            assert lookout._obstacle() == ""
            lookout._stalled.names = {"arm": 2.0}
            assert lookout._obstacle() == "node 'arm' has stalled"
            for states["arm"] in (NodeState.STUCK, NodeState.FAILED):
                assert lookout._obstacle() == f"node 'arm' is {states['arm'].value}"
            patches.setattr(lookout.blocked, "_answered", False)
            patches.setattr(lookout.blocked, "_asked", -math.inf)
            assert lookout._obstacle() == "the loop is blocked"


async def test_the_blocked_loop_and_the_stalls_are_one_account() -> None:
    async with looking_out() as (_, lookout):
        assert lookout.stalls() == (0, ())
        lookout.blocked.look(time.monotonic() + 3.0)
        count, (stall,) = lookout.stalls()
        assert count == 1
        assert stall.duration == pytest.approx(3.0, abs=0.5)


# The thread


class Failing(Duty):
    def look(self, now: float) -> float:
        raise ValueError("a duty")


class Counting(Duty):
    def __init__(self) -> None:
        self.looks: queue.SimpleQueue[float] = queue.SimpleQueue()

    def look(self, now: float) -> float:
        self.looks.put(now)
        return math.inf


def test_a_duty_that_fails_does_not_end_the_others(caplog: pytest.LogCaptureFixture) -> None:
    counting = Counting()
    with Watchdog([Failing(), counting], log()) as watchdog:
        for _ in range(3):
            counting.looks.get(timeout=10)
            watchdog.poke()
        counting.looks.get(timeout=10)
    (record,) = caplog.records
    assert record.getMessage() == "the watchdog gives up Failing"
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ValueError)


def test_pokes_beyond_the_pipe_are_no_harm_and_descriptors_are_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = set(Path("/proc/self/fd").iterdir())
    watchdog = Watchdog([], log())
    for _ in range(100_000):
        watchdog.poke()
    with watchdog:
        pass
    assert set(Path("/proc/self/fd").iterdir()) == before
    written: list[int] = []
    with monkeypatch.context() as patches:
        patches.setattr(os, "write", lambda descriptor, data: written.append(descriptor))
        watchdog.poke()
    assert written == [-1]  # others may have the numbers by now


class Pace:
    """A duty that is due at given instants, and a clock and a poll by which time passes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, due: list[float]) -> None:
        self.now = 100.0
        self.slept: list[int] = []
        self.looked: list[float] = []
        self.over = threading.Event()
        pace, poll = self, select.poll()

        class Due(Duty):
            def look(self, now: float) -> float:
                pace.looked.append(now)
                return due.pop(0) if due else math.inf

        def sleep(milliseconds: int) -> list[tuple[int, int]]:
            if due:
                self.slept.append(milliseconds)
                self.now += milliseconds / 1e3
                return []
            if not self.over.is_set():
                self.slept.append(milliseconds)
            self.over.set()
            return poll.poll()  # until it is poked

        self.duty = Due()
        fake = SimpleNamespace(register=poll.register, poll=sleep)
        monkeypatch.setattr(watchdog_thread, "time", SimpleNamespace(monotonic=lambda: self.now))
        patched = SimpleNamespace(poll=lambda: fake, POLLIN=select.POLLIN, PIPE_BUF=select.PIPE_BUF)
        monkeypatch.setattr(watchdog_thread, "select", patched)


def test_it_sleeps_until_the_next_duty_but_half_a_second_at_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In whole milliseconds, rounded up, so that the duty is due when it wakes up."""
    pace = Pace(monkeypatch, due=[100.25, 100.0, math.inf, 200.0, 101.3])
    with Watchdog([pace.duty], log()):
        assert pace.over.wait(10)
    assert pace.slept == [251, 1, 501, 501, 46]
    assert pace.looked[:3] == pytest.approx([100.0, 100.251, 100.252])


def test_a_duty_that_hangs_does_not_keep_the_run_from_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert watchdog_thread.JOIN == 1.0
    monkeypatch.setattr(watchdog_thread, "JOIN", 0.01)
    begun, release = threading.Event(), threading.Event()

    class Hanging(Duty):
        def look(self, now: float) -> float:
            begun.set()
            release.wait(30)
            return math.inf

    watchdog = Watchdog([Hanging()], log())
    try:
        with watchdog:
            assert begun.wait(10)
        assert watchdog._thread.daemon  # nor the program from its own
        os.fstat(watchdog._ears)  # it reads from this one yet
    finally:
        release.set()
        watchdog._thread.join()
        watchdog.__exit__(None, None, None)


@pytest.mark.parametrize("taken_over", [False, True])
def test_signals_for_which_there_is_no_room_are_no_harm(
    capsys: pytest.CaptureFixture[str], taken_over: bool
) -> None:
    """To whoever had them before, and to whoever has taken them over since."""
    pipes = [os.pipe2(os.O_NONBLOCK) for _ in range(2)]
    before, since = (writing for _, writing in pipes)
    earlier = signal.set_wakeup_fd(before, warn_on_full_buffer=False)
    handler = signal.signal(signal.SIGUSR2, lambda signum, frame: None)
    watchdog = Watchdog([], log())
    try:
        for descriptor in (before, since):
            with contextlib.suppress(BlockingIOError):
                while True:
                    os.write(descriptor, bytes(4096))
        watchdog.listen()
        for _ in range(100_000):
            watchdog.poke()
        signal.raise_signal(signal.SIGUSR2)
        if taken_over:
            signal.set_wakeup_fd(since, warn_on_full_buffer=False)
        with watchdog:
            """It hands them on, and ends."""
        signal.raise_signal(signal.SIGUSR2)
        assert signal.set_wakeup_fd(-1) == (since if taken_over else before)
        assert capsys.readouterr().err == ""
    finally:
        signal.signal(signal.SIGUSR2, handler)
        signal.set_wakeup_fd(earlier)
        for descriptor in itertools.chain.from_iterable(pipes):
            os.close(descriptor)


def test_where_nobody_listened_before_signals_are_heard_all_the_same() -> None:
    heard: queue.SimpleQueue[int] = queue.SimpleQueue()
    earlier = signal.set_wakeup_fd(-1)
    handler = signal.signal(signal.SIGUSR2, lambda signum, frame: None)
    try:
        with Watchdog([], log(), heard.put) as watchdog:
            watchdog.listen()
            for _ in range(2):
                signal.raise_signal(signal.SIGUSR2)
                assert heard.get(timeout=10) == signal.SIGUSR2
    finally:
        signal.signal(signal.SIGUSR2, handler)
        signal.set_wakeup_fd(earlier)


def test_signals_are_heard_and_handed_on_to_whoever_listened_before() -> None:
    heard: queue.SimpleQueue[int] = queue.SimpleQueue()
    reading, writing = os.pipe2(os.O_NONBLOCK)
    earlier = signal.set_wakeup_fd(writing)
    handler = signal.signal(signal.SIGUSR2, lambda signum, frame: None)
    try:
        with Watchdog([], log(), heard.put) as watchdog:
            watchdog.listen()
            os.kill(os.getpid(), signal.SIGUSR2)
            assert heard.get(timeout=10) == signal.SIGUSR2
        assert os.read(reading, 10) == bytes([signal.SIGUSR2])
        assert signal.set_wakeup_fd(writing) == writing  # as before
    finally:
        signal.signal(signal.SIGUSR2, handler)
        signal.set_wakeup_fd(earlier)
        os.close(reading)
        os.close(writing)


async def test_there_is_no_watchdog_on_a_virtual_clock(autojump_clock: MockClock) -> None:
    """Nothing is late in real time there, and a run has to be the same each time."""
    threads: list[list[str]] = []

    async def tick(node: Node) -> None:
        threads.append([thread.name for thread in threading.enumerate()])

    scheduler = Scheduler(10.0)
    scheduler.add(Node("a", tick=tick))
    await scheduler.run(0.5)
    assert threads
    assert not [name for names in threads for name in names if "watchdog" in name]


async def test_the_watchdog_ends_with_its_run() -> None:
    scheduler = Scheduler(100.0)
    names: list[str] = []

    async def tick(node: Node) -> None:
        names.extend(thread.name for thread in threading.enumerate())

    scheduler.add(Node("a", tick=tick))
    await scheduler.run(0.05)
    assert "horus_trio watchdog" in names
    assert "horus_trio watchdog" not in [thread.name for thread in threading.enumerate()]


async def test_a_task_of_asyncios_is_told_by_its_name_and_is_its_nodes() -> None:
    found: list[Owner] = []

    async def runs() -> None:
        current_fence.set(Fence("camera"))
        found.append(_owner_of_task(trio.lowlevel.current_task()))
        await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(runs, name="trio_asyncio._loop.runs")
    assert found == [Owner(node="camera", what="its asyncio code", advice=ASYNCIO_ADVICE)]
