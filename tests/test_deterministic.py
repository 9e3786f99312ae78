"""A deterministic run: the same trace each time, though Trio runs its tasks in random order."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Any, cast

import pytest
import trio
import trio.lowlevel
import trio.testing

import horus_trio as horus
from horus_trio import Tick
from horus_trio.executor import NodeRunner
from horus_trio.scheduler.conductor import Conductor

Trace = list[tuple[object, ...]]


def trace_of(robot: horus.Scheduler, seconds: float, trace: Trace) -> Trace:
    """Run under a virtual clock and write results down beside what the nodes write."""
    robot.on_result(
        lambda r: trace.append(
            (r.node, r.seq, r.status.name, r.scheduled, r.started, r.duration, repr(r.error))
        )
    )

    async def main() -> None:
        with trio.fail_after(3600):
            await robot.run(seconds)

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    return trace


def lively_robot(trace: Trace, *, deterministic: bool) -> horus.Scheduler:
    """Nodes that talk, fail, time out, restart and overrun."""

    class Talks(horus.AsyncNode):
        async def tick_async(self) -> None:
            assert self.current_tick is not None
            heard = self.recv_all("chat")
            trace.append((self.name, self.now, tuple(heard)))
            self.send("chat", (self.name, self.current_tick.seq))
            await trio.lowlevel.checkpoint()
            self.send("chat", (self.name, "again"))

    class Moody(horus.AsyncNode):
        async def tick_async(self) -> None:
            assert self.current_tick is not None
            match self.current_tick.seq % 7:
                case 2:
                    raise ValueError(f"tick {self.current_tick.seq}")
                case 4:
                    await trio.sleep(10)
                case 5:
                    await trio.sleep(0.07)

    class Listens(horus.AsyncNode):
        async def tick_async(self) -> None:
            trace.append((self.name, self.now, len(self.recv_all("chat"))))

    robot = horus.Scheduler(tick_rate=20, deterministic=deterministic)
    for n in range(4):
        robot.add(Talks(f"talks {n}"))
    robot.add(Moody("moody", tick_timeout=0.2, rate=10))
    robot.add(Moody("catches up", tick_timeout=0.2, rate=10, on_miss=horus.Miss.CATCH_UP))
    robot.add(Listens("listens", on="chat"))
    return robot


def lively_trace(*, deterministic: bool) -> Trace:
    trace: Trace = []
    return trace_of(lively_robot(trace, deterministic=deterministic), 5, trace)


@pytest.fixture
def shuffled(monkeypatch: pytest.MonkeyPatch) -> random.Random:
    """Trio's dice, thrown by us: it runs what is ready in the order they say."""
    dice = random.Random()
    monkeypatch.setattr(trio._core._run, "_r", dice)
    return dice


def test_two_runs_give_identical_traces(shuffled: random.Random) -> None:
    traces = []
    for seed in range(4):
        shuffled.seed(seed)
        traces.append(lively_trace(deterministic=True))
    assert len(traces[0]) > 500
    assert all(trace == traces[0] for trace in traces[1:])


def test_without_it_the_order_is_chance(shuffled: random.Random) -> None:
    """Else the test above would show nothing."""
    traces = []
    for seed in range(6):
        shuffled.seed(seed)
        traces.append(lively_trace(deterministic=False))
    assert any(trace != traces[0] for trace in traces[1:])


def ordered_robot(trace: Trace, orders: list[int], **options: Any) -> horus.Scheduler:
    class Says(horus.AsyncNode):
        async def init(self) -> None:
            trace.append(("init", self.name))

        async def tick_async(self) -> None:
            trace.append((self.now, self.name, "begins"))
            await trio.lowlevel.checkpoint()
            trace.append((self.now, self.name, "ends"))

        async def shutdown(self) -> None:
            trace.append(("shutdown", self.name))

    robot = horus.Scheduler(tick_rate=2, deterministic=True, **options)
    for n, order in enumerate(orders):
        robot.add(Says(f"{order}/{n}", order=order))
    return robot


def run_robot(robot: horus.Scheduler, seconds: float) -> horus.RunReport:
    async def main() -> horus.RunReport:
        with trio.fail_after(3600):
            return await robot.run(seconds)

    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def test_nodes_due_together_tick_one_after_the_other_by_order() -> None:
    trace: Trace = []
    run_robot(ordered_robot(trace, [2, 0, 1, 0]), 1)
    turns = ["0/1", "0/3", "1/2", "2/0"]  # lower first, then in the order of add
    ticks = [entry for entry in trace if entry[0] not in ("init", "shutdown")]
    assert ticks == [
        (instant, name, step)
        for instant in (0.0, 0.5)
        for name in turns
        for step in ("begins", "ends")
    ]
    inits = [name for kind, name, *_ in trace if kind == "init"]
    downs = [name for kind, name, *_ in trace if kind == "shutdown"]
    assert inits[2:] == ["1/2", "2/0"]
    assert downs[:2] == ["2/0", "1/2"]


def test_nodes_of_one_rate_are_aligned() -> None:
    starts: set[float] = set()

    async def tick(node: horus.Node) -> None:
        starts.add(node.now)

    robot = horus.Scheduler(tick_rate=1, deterministic=True)
    for _ in range(5):
        robot.add(horus.Node(tick=tick))
    run_robot(robot, 3)
    assert starts == {0.0, 1.0, 2.0}


def test_a_given_phase_holds_all_the_same() -> None:
    starts: list[float] = []

    async def tick(node: horus.Node) -> None:
        starts.append(node.now)

    robot = horus.Scheduler(tick_rate=1, deterministic=True)
    robot.add(horus.Node(tick=tick, phase=0.25))
    run_robot(robot, 2)
    assert starts == [0.25, 1.25]


def test_a_tick_that_waits_holds_the_others_up() -> None:
    """The price, as documented."""
    starts: list[float] = []

    async def slow(node: horus.Node) -> None:
        await trio.sleep(0.4)

    async def quick(node: horus.Node) -> None:
        starts.append(node.now)

    robot = horus.Scheduler(tick_rate=1, deterministic=True)
    robot.add(horus.Node("slow", tick=slow)).add(horus.Node("quick", tick=quick))
    run_robot(robot, 2)
    assert starts == [0.4, 1.4]


def test_a_node_that_failed_for_good_holds_nobody_up() -> None:
    async def fails(node: horus.Node) -> None:
        raise ValueError("no")

    async def well(node: horus.Node) -> None:
        """Nothing to do."""

    robot = horus.Scheduler(tick_rate=10, deterministic=True)
    robot.add(horus.Node("ill", tick=fails, failure_policy=horus.Restart(0)))
    robot.add(horus.Node("well", tick=well))
    report = run_robot(robot, 2)
    assert report.statistics.nodes["well"].ok == 20


def test_a_stop_cancels_what_still_waits_for_its_turn() -> None:
    async def stops(node: horus.Node) -> None:
        node.request_stop()
        await trio.sleep(0.1)

    async def waits(node: horus.Node) -> None:
        """Never begun."""

    robot = horus.Scheduler(tick_rate=1, deterministic=True)
    robot.add(horus.Node("a", tick=stops)).add(horus.Node("b", tick=waits))
    report = run_robot(robot, 60)
    statistics = report.statistics.nodes["b"]
    assert (statistics.ok, statistics.cancelled, statistics.in_flight) == (0, 1, 0)
    assert report.statistics.nodes["a"].ok == 1


def test_a_node_that_is_removed_takes_what_waits_for_its_turn_with_it() -> None:
    results: list[tuple[str, int, horus.TickStatus]] = []

    async def holds_up(node: horus.Node) -> None:
        await trio.sleep(10)

    async def waits(node: horus.Node) -> None:
        """Never begun."""

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(robot.run)
            await trio.sleep(0.5)
            for _ in range(2):  # under its name there is another one at once
                robot.remove("b")
                await robot.stopped("b")
                assert robot.statistics().running
                robot.add(horus.Node("b", tick=waits, order=1))
                await trio.sleep(1)
            assert trio.current_time() < 10
            robot.stop()

    robot = horus.Scheduler(tick_rate=2, deterministic=True)
    robot.on_result(lambda r: results.append((r.node, r.seq, r.status)))
    robot.add(horus.Node("a", tick=holds_up)).add(horus.Node("b", tick=waits, order=1))
    robot.add(horus.Node("c", tick=waits, order=2))
    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert results[:2] == [("b", 1, horus.TickStatus.CANCELLED)] * 2
    # And nobody else's: all the rest is what was given to the others, and to the last of that name.
    assert sorted(node for node, _, _ in results[2:]) == ["a", "b", "c"]


class Part:
    """What a conductor knows of a node. It notes the ticks that are given to it, and cancelled."""

    def __init__(self, conductor: Conductor) -> None:
        self.given: list[Tick] = []
        self.cancelled: list[Tick] = []
        self.done = trio.Event()
        self.leaving = None
        self.mailbox = self
        self.put = self.given.append
        self.cancel_tick = self.cancelled.append
        self.dispatch: Callable[[Tick], None] = self.put
        self.end_turn: Callable[[], None] | None = None
        self.withdraw: Callable[[], list[Tick]] = list
        conductor.join(cast(NodeRunner, self))


async def test_a_conductor_conducts_until_it_is_closed_and_gives_back_what_waits() -> None:
    """Also while the run around it is being cancelled."""
    conductor = Conductor()
    first, second = Part(conductor), Part(conductor)
    ticks = [Tick(seq=n, scheduled=0.0) for n in range(3)]
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(conductor.run)
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                for part, tick in zip((first, second, first), ticks, strict=True):
                    part.dispatch(tick)
                await trio.testing.wait_all_tasks_blocked()
                assert (first.given, second.given) == ([ticks[0]], [])
                assert first.end_turn is not None
                first.end_turn()
                await trio.testing.wait_all_tasks_blocked()
                assert (first.given, second.given) == ([ticks[0]], [ticks[1]])
                assert first.withdraw() == [ticks[2]]
                assert second.withdraw() == []
                conductor.close()
    assert (first.cancelled, second.cancelled) == ([], [])


def test_a_late_node_joins_the_order() -> None:
    trace: Trace = []
    robot = ordered_robot(trace, [1])

    class Adds(horus.AsyncNode):
        async def tick_async(self) -> None:
            async def tick(node: horus.Node) -> None:
                trace.append((node.now, "late"))

            robot.add(horus.Node("late", tick=tick, order=-1))

    robot.add(Adds("adds", rate=0.1, phase=0.25))
    run_robot(robot, 1)
    assert trace[-4:-1] == [(0.5, "late"), (0.5, "1/0", "begins"), (0.5, "1/0", "ends")]


def test_jitter_is_the_same_in_every_run() -> None:
    def restarts() -> list[float]:
        starts: list[float] = []

        class Fails(horus.AsyncNode):
            async def init(self) -> None:
                starts.append(self.now)

            async def tick_async(self) -> None:
                raise ValueError("no")

        policy = horus.Restart(4, backoff=0.3, jitter=0.5)
        robot = horus.Scheduler(tick_rate=20, deterministic=True)
        robot.add(Fails("a", failure_policy=policy))
        robot.add(horus.Node("b", tick=idle))
        run_robot(robot, 10)
        return starts

    async def idle(node: horus.Node) -> None:
        """Nothing to do."""

    first = restarts()
    assert len(first) == 5
    assert restarts() == first


def test_def_ticks_take_turns_as_well() -> None:
    running: list[str] = []
    overlaps: list[str] = []

    class Threaded(horus.Node):
        def tick(self) -> None:
            running.append(self.name)
            threading.Event().wait(0.002)
            if len(running) > 1:
                overlaps.append(self.name)
            running.remove(self.name)
            if self.current_tick is not None and self.current_tick.seq >= 15:
                self.request_stop()

    robot = horus.Scheduler(tick_rate=200, deterministic=True)
    for name in "abc":
        robot.add(Threaded(name))
    report = robot.run(20)
    assert all(node.ok > 0 for node in report.statistics.nodes.values())
    assert overlaps == []
