"""G5 accounting: in every snapshot released == ok + errors + timed_out + abandoned + cancelled +
missed + in_flight, whoever takes it and whenever; and seq strictly rises.

The results are counted here a second time, so the counters are compared with what happened, not
only with one another.
"""

from __future__ import annotations

import collections
import json
import logging
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import hypothesis
import pytest
import trio
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

import horus_trio as horus
from horus_trio import AsyncResult, Miss, NodeStatistics, Overflow, Scheduler, Sub, TickStatus

DYADIC = [0.0, 0.125, 0.25, 0.375, 0.5, 0.75, 1.0, 1.5, 2.0]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Thousands of failures are provoked here on purpose."""
    logger = logging.getLogger("horus_trio")
    logger.setLevel(logging.CRITICAL + 1)
    yield
    logger.setLevel(logging.NOTSET)


class Auditor:
    """Keeps its own books from the results, and audits snapshots."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.by_status: dict[str, collections.Counter[TickStatus]] = {}
        self.latest_seq: dict[str, int] = {}
        self.audits = 0
        self.problems: list[object] = []
        scheduler.on_result(self.observe)

    def observe(self, result: AsyncResult) -> None:
        self.expect(result.seq > self.latest_seq.get(result.node, 0), result, self.latest_seq)
        self.latest_seq[result.node] = result.seq
        counter = self.by_status.setdefault(result.node, collections.Counter())
        counter[result.status] += 1
        self.audit()

    def audit(self) -> None:
        self.audits += 1
        assert self.audits < 20_000, "virtual time stands still"
        for node in self.scheduler.statistics().nodes.values():
            self.expect(is_lawful(node), node)
            self.expect(node.in_flight in (0, 1, 2), node)  # one that runs, one that waits
            self.expect(node.ticks_released >= self.latest_seq.get(node.name, 0), node)

    def expect(self, truth: bool, *evidence: object) -> None:
        """Note what is wrong: raised in a tick it would only be a failure of the node."""
        if not truth:
            self.problems.append(evidence)

    def close_the_books(self) -> None:
        """After the run: nothing is in flight, and every number stands for what happened."""
        assert not self.problems, self.problems[0]
        statistics = self.scheduler.statistics()
        for node in statistics.nodes.values():
            assert is_lawful(node)
            mine = self.by_status.get(node.name, collections.Counter())
            assert node.in_flight == 0
            assert node.ok == mine[TickStatus.OK]
            assert node.errors == mine[TickStatus.ERROR]
            assert node.timed_out == mine[TickStatus.TIMED_OUT]
            assert node.abandoned == mine[TickStatus.ABANDONED]
            assert node.cancelled == mine[TickStatus.CANCELLED]
            assert node.ticks_released == mine.total() + node.missed


def is_lawful(node: NodeStatistics) -> bool:
    ended = node.ok + node.errors + node.timed_out + node.abandoned + node.cancelled
    return node.ticks_released == ended + node.missed + node.in_flight


# Generated robots


@dataclass(frozen=True, kw_only=True)
class Act:
    """What one tick does: work for some seconds, then end in some way."""

    seconds: float
    ending: str

    async def play(self, node: horus.Node) -> None:
        if self.ending == "shielded":
            with trio.CancelScope(shield=True):
                await trio.sleep(self.seconds)
            return
        await trio.sleep(self.seconds)
        match self.ending:
            case "raise":
                raise ValueError("on purpose")
            case "raise a group":
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(Act(seconds=0.25, ending="raise").play, node)
                    nursery.start_soon(trio.sleep_forever)
            case "exit":
                raise SystemExit(3)
            case "interrupt":
                raise KeyboardInterrupt
            case "hang":
                await trio.sleep_forever()
            case "wait for input":
                await node.recv_async("input")
            case "publish":
                node.send("input", 1)
            case "stop":
                node.request_stop()
            case "raise while cancelled":
                try:
                    await trio.sleep_forever()
                finally:
                    raise ValueError("on the way out")


@dataclass(frozen=True, kw_only=True)
class Robot:
    nodes: list[dict[str, Any]]
    acts: list[list[Act]]
    inits: list[list[str]]
    operations: list[tuple[str, int, float]]
    deterministic: bool
    ending: str
    stop_timeout: float


acts = st.builds(
    Act,
    seconds=st.sampled_from([0.0, 0.0, 0.0, 0.125, 0.25, 0.5, 1.5]),
    ending=st.sampled_from(
        ["return"] * 6
        + ["raise", "raise", "raise a group", "exit", "hang", "wait for input", "publish"]
        + ["shielded", "raise while cancelled", "interrupt", "stop"]
    ),
)
policies = st.one_of(
    st.just(horus.Ignore()),
    st.just(horus.Fatal()),
    st.builds(
        horus.Restart,
        max_restarts=st.integers(0, 4),
        within=st.sampled_from([None, 2.0, 60.0]),
        backoff=st.sampled_from([0.125, 1.0]),
    ),
    st.builds(
        horus.CircuitBreaker, max_failures=st.integers(1, 3), cooldown=st.sampled_from([0.25, 1.0])
    ),
)
options = st.fixed_dictionaries(
    {"failure_policy": policies},
    optional={
        "rate": st.sampled_from([1.0, 2.0, 4.0, 8.0, 10.0]),
        "on": st.just("input"),
        "phase": st.sampled_from([0.0, 0.0625]),
        "tick_timeout": st.sampled_from([0.125, 0.25, 1.0]),
        "deadline": st.sampled_from([0.125, 0.25]),
        "on_miss": st.sampled_from([Miss.SKIP, Miss.WARN, Miss.CATCH_UP, Miss.SAFE_MODE]),
        "order": st.integers(-1, 1),
        "critical": st.booleans(),
        "subs": st.just(Sub("input", capacity=1, overflow=Overflow.BLOCK)),
    },
)
operations = st.tuples(
    st.sampled_from(["pause", "resume", "rate", "remove", "add", "publish", "stall", "look"]),
    st.integers(0, 3),
    st.sampled_from(DYADIC),
)
robots = st.integers(1, 4).flatmap(
    lambda n: st.builds(
        Robot,
        nodes=st.lists(options, min_size=n, max_size=n),
        acts=st.lists(st.lists(acts, min_size=1, max_size=4), min_size=n, max_size=n),
        inits=st.lists(
            st.lists(
                st.sampled_from(["ok", "ok", "ok", "ok", "raise", "hang"]), min_size=1, max_size=3
            ),
            min_size=n,
            max_size=n,
        ),
        operations=st.lists(operations, max_size=10),
        deterministic=st.booleans(),
        ending=st.sampled_from(["stop", "duration", "cancel"]),
        stop_timeout=st.sampled_from([0.25, 10.0]),
    )
)


@pytest.mark.slow
@hypothesis.given(robot=robots)
@hypothesis.settings(max_examples=250, deadline=None)
def test_the_law_holds_in_every_snapshot_of_generated_robots(robot: Robot) -> None:
    clock = MockClock(autojump_threshold=0)
    scheduler = Scheduler(
        4.0, deterministic=robot.deterministic, stop_timeout=robot.stop_timeout, signals=False
    )
    auditor = Auditor(scheduler)

    async def be_safe(node: horus.Node) -> None:
        await trio.sleep(0.5)

    def make(name: str, script: list[Act], starts: list[str]) -> horus.Node:
        ticks, inits = iter(script * 1000), iter(starts * 1000)

        async def init(node: horus.Node) -> None:
            auditor.audit()
            match next(inits):
                case "raise":
                    raise OSError("no device")
                case "hang":
                    await trio.sleep_forever()

        async def tick(node: horus.Node) -> None:
            current = node.current_tick
            assert current is not None
            auditor.expect(current.seq > auditor.latest_seq.get(name, 0), current)
            auditor.audit()
            try:
                await next(ticks).play(node)
            finally:
                auditor.audit()

        return horus.Node(name, tick=tick, init=init, enter_safe_state=be_safe)

    for n, (given, script, starts) in enumerate(
        zip(robot.nodes, robot.acts, robot.inits, strict=True)
    ):
        node = make(f"node {n}", script, starts)
        scheduler.add(node, init_timeout=0.5, **given)

    async def operate(task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        for number, (operation, which, value) in enumerate(robot.operations):
            await trio.sleep(value)
            names = list(scheduler.statistics().nodes)
            name = names[which % len(names)] if names else None
            if operation == "stall":
                clock.jump(value)
            elif operation == "publish":
                scheduler.topic("input").send(number)
            elif operation == "add":
                late = make(f"late {number}", robot.acts[0], robot.inits[0])
                scheduler.add(late, init_timeout=0.5, **robot.nodes[0])
            elif name is not None:
                match operation:
                    case "pause":
                        scheduler.pause(name)
                    case "resume":
                        scheduler.resume(name)
                    case "rate":
                        scheduler.set_rate(name, 1.0 + 4 * value)
                    case "remove":
                        scheduler.remove(name)
            auditor.audit()
        await trio.sleep(2.0)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(operate)
            with trio.CancelScope() as scope:
                if robot.ending == "cancel":
                    scope.deadline = trio.current_time() + 3.0
                duration = 3.0 if robot.ending == "duration" else None
                if robot.ending == "stop":
                    nursery.start_soon(stop_later)
                try:
                    await scheduler.run(duration)
                except horus.RunFailed:
                    hypothesis.event("the run failed")
            auditor.audit()
            nursery.cancel_scope.cancel()

    async def stop_later() -> None:
        await trio.sleep(3.0)
        scheduler.stop()

    trio.run(main, clock=clock)
    auditor.close_the_books()
    for mine in auditor.by_status.values():
        for status in mine:
            hypothesis.event(status.name)


async def test_every_grid_point_takes_a_number_also_a_missed_one(
    autojump_clock: MockClock,
) -> None:
    scheduler = Scheduler(8.0)
    seqs: list[tuple[int, float]] = []

    async def slow(node: horus.Node) -> None:
        assert node.current_tick is not None
        seqs.append((node.current_tick.seq, node.current_tick.scheduled))
        await trio.sleep(0.3125)

    scheduler.add(horus.Node("slow", tick=slow), phase=0.0)
    report = await scheduler.run(2.0)
    assert seqs == [(1 + 3 * n, 0.375 * n) for n in range(6)]
    node = report.statistics.nodes["slow"]
    assert (node.ticks_released, node.ok, node.missed, node.in_flight) == (16, 6, 10, 0)


# Generated robots with threads: the test moves the clock and says when each thread returns


@dataclass(frozen=True, kw_only=True)
class Threaded:
    endings: list[list[str]]
    own: list[bool]
    steps: list[tuple[str, int, float]]
    max_abandoned: int


threaded = st.integers(1, 3).flatmap(
    lambda n: st.builds(
        Threaded,
        endings=st.lists(
            st.lists(
                st.sampled_from(["return", "return", "raise", "hang", "obey", "exit"]),
                min_size=1,
                max_size=4,
            ),
            min_size=n,
            max_size=n,
        ),
        own=st.lists(st.booleans(), min_size=n, max_size=n),
        steps=st.lists(
            st.tuples(
                st.sampled_from(["wait", "wait", "wait", "release", "pause", "resume", "remove"]),
                st.integers(0, 2),
                st.sampled_from([0.25, 0.5, 1.0, 2.5]),
            ),
            min_size=2,
            max_size=8,
        ),
        max_abandoned=st.integers(0, 2),
    )
)


@pytest.mark.slow
@hypothesis.given(robot=threaded)
@hypothesis.settings(max_examples=40, deadline=None)
def test_the_law_holds_when_threads_hang_and_return(robot: Threaded) -> None:
    clock = MockClock()
    scheduler = Scheduler(
        4.0,
        signals=False,
        stop_timeout=2.0,
        limiter=trio.CapacityLimiter(2),
        max_abandoned=robot.max_abandoned,
    )
    auditor = Auditor(scheduler)
    hanging: list[threading.Event] = []

    def make(name: str, script: list[str]) -> horus.Node:
        endings = iter(script * 1000)

        def tick(node: horus.Node) -> None:
            release = threading.Event()
            match next(endings):
                case "raise":
                    raise ValueError("on purpose")
                case "exit":
                    raise SystemExit(3)
                case "hang":
                    hanging.append(release)
                    release.wait(60)
                case "obey":
                    hanging.append(release)
                    while not release.wait(0.002):
                        node.check_cancelled()

        return horus.Node(name, tick=tick)

    policy = horus.Restart(max_restarts=1000, backoff=0.25, max_backoff=0.25, jitter=0.0)
    for n, (script, own) in enumerate(zip(robot.endings, robot.own, strict=True)):
        scheduler.add(
            make(f"node {n}", script),
            tick_timeout=0.5,
            shutdown_timeout=0.5,
            failure_policy=policy,
            thread="own" if own else "pool",
        )

    async def advance(seconds: float) -> None:
        for _ in range(round(seconds / 0.25)):
            await wait_all_tasks_blocked(0.0005)  # a little real time for the threads
            auditor.audit()
            clock.jump(0.25)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(run)
            for step, which, seconds in robot.steps:
                names = list(scheduler.statistics().nodes) or [""]
                name = names[which % len(names)]
                if step == "wait":
                    await advance(seconds)
                elif step == "release" and hanging:
                    hanging.pop(which % len(hanging)).set()
                elif step == "pause" and name:
                    scheduler.pause(name)
                elif step == "resume" and name:
                    scheduler.resume(name)
                elif step == "remove" and name:
                    scheduler.remove(name)
                auditor.audit()
            scheduler.stop()
            while nursery.child_tasks:
                await advance(0.25)
        auditor.audit()

    async def run(task_status: trio.TaskStatus[None]) -> None:
        await scheduler.run(task_status=task_status)

    try:
        trio.run(main, clock=clock)
    finally:
        for release in hanging:
            release.set()
    auditor.close_the_books()
    for mine in auditor.by_status.values():
        for status in mine:
            hypothesis.event(status.name)


# Snapshots from everywhere, in real time


def mixed_robot() -> Scheduler:
    """A second of everything that can become of a tick, as fast as it goes."""
    scheduler = Scheduler(switch_interval=1e-5, signals=False)
    numbers = iter(range(10**9))

    async def well(node: horus.Node) -> None:
        node.send("numbers", next(numbers))

    async def badly(node: horus.Node) -> None:
        raise ValueError("on purpose")

    async def never(node: horus.Node) -> None:
        await trio.sleep_forever()

    async def slowly(node: horus.Node) -> None:
        await trio.sleep(0.004)

    def in_a_thread(node: horus.Node) -> None:
        assert node.current_tick is not None
        if node.current_tick.seq % 8 == 0:
            threading.Event().wait(0.2)  # far beyond its limit, however late the loop is

    always = horus.Ignore()
    scheduler.add(horus.Node("well", tick=well), rate=500)
    scheduler.add(horus.Node("badly", tick=badly), rate=1000, failure_policy=always)
    scheduler.add(
        horus.Node("never", tick=never), rate=200, tick_timeout=0.004, failure_policy=always
    )
    scheduler.add(horus.Node("slowly", tick=slowly), rate=500)
    scheduler.add(horus.Node("on", tick=slowly), on="numbers")
    scheduler.add(
        horus.Node("in a thread", tick=in_a_thread),
        rate=100,
        tick_timeout=0.01,
        failure_policy=always,
    )
    return scheduler


def unlawful(scheduler: Scheduler) -> list[NodeStatistics]:
    return [node for node in scheduler.statistics().nodes.values() if not is_lawful(node)]


@pytest.mark.slow
def test_the_law_holds_for_foreign_threads_that_never_stop_asking() -> None:
    scheduler = mixed_robot()
    over = threading.Event()
    problems: list[NodeStatistics] = []
    snapshots = [0, 0]

    def ask(which: int) -> None:
        while not over.is_set():
            snapshots[which] += 1
            problems.extend(unlawful(scheduler))

    threads = [threading.Thread(target=ask, args=[which]) for which in range(2)]
    for thread in threads:
        thread.start()
    try:
        report = scheduler.run(1.5)
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert not problems, problems[0]
    assert min(snapshots) > 50
    nodes = report.statistics.nodes
    assert nodes["well"].ok > 0
    assert nodes["badly"].errors > 0
    assert nodes["never"].timed_out > 0
    assert nodes["slowly"].missed > 0
    assert nodes["on"].coalesced > 0
    assert nodes["in a thread"].abandoned > 0


@pytest.mark.slow
def test_the_law_holds_in_a_signal_handler() -> None:
    """The handler interrupts the loop between any two bytecodes; in a process of its own, since
    an engine that took a lock would hang there."""
    program = """
        import json, logging, signal, sys
        sys.path[:0] = json.loads(sys.argv[1])
        import importlib.util
        spec = importlib.util.spec_from_file_location("accounting", sys.argv[2])
        accounting = sys.modules["accounting"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(accounting)
        logging.getLogger("horus_trio").setLevel(logging.CRITICAL + 1)
        scheduler = accounting.mixed_robot()
        snapshots, problems = 0, []

        def handler(signum, frame):
            global snapshots
            snapshots += 1
            problems.extend(map(str, accounting.unlawful(scheduler)))
            # One at a time: a slow handler must not be interrupted by itself, nor take it all.
            signal.setitimer(signal.ITIMER_REAL, 0.0007)

        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.0007)
        scheduler.run(1.5)
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        print(json.dumps([snapshots, problems[:1]]))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), json.dumps(sys.path), __file__],
        capture_output=True,
        text=True,
        timeout=25,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    snapshots, problems = json.loads(done.stdout)
    assert not problems, problems[0]
    assert snapshots > 100


def test_a_tick_that_waits_for_a_thread_at_the_stop_is_settled() -> None:
    """Everything around it is cancelled then; it is given up by itself, and counted."""
    release = threading.Event()
    scheduler = Scheduler(limiter=trio.CapacityLimiter(1), signals=False)

    hung = threading.Event()

    def hangs(node: horus.Node) -> None:
        hung.set()
        release.wait(8)

    async def stops(node: horus.Node) -> None:
        pool = scheduler.statistics().pool
        if hung.is_set() and pool is not None and pool.waiting:
            node.request_stop("one waits")

    for name in ("first", "second"):
        scheduler.add(
            horus.Node(name, tick=hangs), rate=100, tick_timeout=None, shutdown_timeout=0.05
        )
    scheduler.add(horus.Node("stops", tick=stops), rate=100)
    try:
        nodes = scheduler.run(5).statistics.nodes
    finally:
        release.set()
    assert all(is_lawful(node) for node in nodes.values())
    assert [node.in_flight for node in nodes.values()] == [0, 0, 0]
    assert nodes["first"].abandoned + nodes["second"].abandoned == 1
    assert nodes["first"].cancelled + nodes["second"].cancelled == 1
