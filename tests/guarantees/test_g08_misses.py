"""G8 supervision: what each `Miss` does about an overrun and about a missed deadline."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

import horus_trio as horus
from horus_trio import Fatal, Ignore, Miss, Node, NodeState, Scheduler
from horus_trio.executor.misses import Misses
from horus_trio.logs import OffLoopLogger
from horus_trio.policies import CATCH_UP_BOUND
from horus_trio.testing import blocking_delay, open_harness

Cause: TypeAlias = Literal["overrun", "deadline"]

LATE = "ended 0.188 s after its release, past its deadline"
BUSY = "is still busy at its next release"
TEXTS: dict[Cause, str] = {"overrun": BUSY, "deadline": LATE}


class Recorder(logging.Handler):
    """Keeps what was logged."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(f"{record.levelname} {record.getMessage()}")


@pytest.fixture
def logged() -> Iterator[list[str]]:
    logger, recorder = logging.getLogger("horus_trio"), Recorder()
    logger.addHandler(recorder)
    logger.propagate = False
    yield recorder.texts
    logger.propagate = True
    logger.removeHandler(recorder)


# The decision, as a table


@dataclass
class Effects:
    now: float = 0.0
    safe: int = 0
    stops: list[str] = field(default_factory=list)

    def misses(self, policy: Miss) -> Misses:
        def make_safe() -> None:
            self.safe += 1

        return Misses(
            "a",
            policy,
            clock=lambda: self.now,
            log=OffLoopLogger(logging.getLogger("horus_trio")),
            make_safe=make_safe,
            stop=self.stops.append,
        )

    def bring_about(self, cause: Cause, misses: Misses) -> None:
        if cause == "overrun":
            misses.overrun()
        else:
            misses.late(LATE)


@pytest.mark.parametrize("cause", ["overrun", "deadline"])
@pytest.mark.parametrize("policy", list(Miss), ids=repr)
def test_what_each_policy_does_about_a_miss(policy: Miss, cause: Cause, logged: list[str]) -> None:
    effects = Effects()
    misses = effects.misses(policy)
    effects.bring_about(cause, misses)
    effects.bring_about(cause, misses)
    text = TEXTS[cause]
    assert logged == ([f"WARNING node 'a' {text}"] if policy is Miss.WARN else [])
    assert effects.safe == (2 if policy is Miss.SAFE_MODE else 0)
    assert effects.stops == ([f"node 'a' {text}"] * 2 if policy is Miss.STOP else [])


def test_warnings_held_back_are_told_in_time_and_in_the_end(logged: list[str]) -> None:
    effects = Effects()
    misses = effects.misses(Miss.WARN)
    for now in (0.0, 1.0, 9.5, 10.0, 10.5, 12.0):
        effects.now = now
        misses.overrun()
    misses.late(LATE)  # of another kind: at once
    misses.close()
    busy = f"WARNING node 'a' {BUSY}"
    assert logged == [
        busy,
        f"{busy} (3 more times in the last 10 s)",
        f"WARNING node 'a' {LATE}",
        f"{busy} (2 more times in the last 2 s)",
    ]


# The same in a robot: the first tick is long, all others take no time


@dataclass(kw_only=True)
class Outcome:
    """What came of it.

    Attributes:
        starts: When ticks began, up to 1 s.
        missed, late: The counters `missed` and `deadline_missed`.
        safe: When ``enter_safe_state`` was called.
        warnings: How many were logged: the first at once, the repeats as one in the end.
        stopped: When the run was stopped, or None, and why.
    """

    starts: list[float]
    missed: int = 0
    late: int = 0
    safe: list[float] = field(default_factory=list)
    warnings: int = 0
    stopped: tuple[float, str] | None = None


ALL = [0.0, 0.25, 0.5, 0.75]
TABLE: dict[tuple[Cause, Miss], Outcome] = {
    # The first tick ends at 0.625 s, after the releases of 0.25 and 0.5 s.
    ("overrun", Miss.SKIP): Outcome(starts=[0.0, 0.75], missed=2),
    ("overrun", Miss.WARN): Outcome(starts=[0.0, 0.75], missed=2, warnings=2),
    ("overrun", Miss.CATCH_UP): Outcome(starts=[0.0, 0.625, 0.625, 0.75]),
    ("overrun", Miss.SAFE_MODE): Outcome(starts=[0.0, 0.75], missed=2, safe=[0.25, 0.5]),
    ("overrun", Miss.STOP): Outcome(starts=[0.0], missed=1, stopped=(0.25, BUSY)),
    # The first tick ends at 0.1875 s, past its deadline of 0.125 s and before the next release.
    ("deadline", Miss.SKIP): Outcome(starts=ALL, late=1),
    ("deadline", Miss.WARN): Outcome(starts=ALL, late=1, warnings=1),
    ("deadline", Miss.CATCH_UP): Outcome(starts=ALL, late=1),  # nothing is owed
    ("deadline", Miss.SAFE_MODE): Outcome(starts=ALL, late=1, safe=[0.1875]),
    ("deadline", Miss.STOP): Outcome(starts=[0.0], late=1, stopped=(0.1875, LATE)),
}


def test_the_table_is_whole() -> None:
    assert TABLE.keys() == {(cause, miss) for cause in TEXTS for miss in Miss}


@pytest.mark.parametrize("kind", ["def", "async"])
@pytest.mark.parametrize(("cause", "policy"), TABLE, ids=repr)
async def test_misses_in_a_robot(cause: Cause, policy: Miss, kind: str, logged: list[str]) -> None:
    starts: list[float] = []
    safe: list[float] = []
    first = 0.625 if cause == "overrun" else 0.1875

    def tick(node: Node) -> None:
        starts.append(node.now)
        if len(starts) == 1:
            blocking_delay(first)

    async def tick_async(node: Node) -> None:
        starts.append(node.now)
        if len(starts) == 1:
            await trio.sleep(first)

    async def enter_safe_state(node: Node) -> None:
        safe.append(node.now)

    scheduler = Scheduler(4.0, signals=False)
    scheduler.add(
        Node(
            "a",
            tick=tick if kind == "def" else tick_async,
            enter_safe_state=enter_safe_state,
            on_miss=policy,
            deadline=0.125 if cause == "deadline" else None,
            failure_policy=Fatal(),  # a miss is no failure
        )
    )
    async with open_harness(scheduler) as h:
        await h.advance(1.0)
        report = h.report or await h.stop()
    node = report.statistics.nodes["a"]
    stopped = None if report.duration == 1.0 else (report.duration, report.reason[9:])
    assert TABLE[cause, policy] == Outcome(
        starts=starts,
        missed=node.missed,
        late=node.deadline_missed,
        safe=safe,
        warnings=sum(TEXTS[cause] in text for text in logged),
        stopped=stopped,
    )
    assert node.ok == len(starts)
    assert (node.failures, node.restarts, node.state) == (0, 0, NodeState.STOPPED)


async def test_an_overrun_and_its_missed_deadline_are_two_things(
    autojump_clock: MockClock,
) -> None:
    safe: list[float] = []

    async def tick(node: Node) -> None:
        if node.now == 0.0:
            await trio.sleep(0.3125)

    async def enter_safe_state(node: Node) -> None:
        safe.append(node.now)

    scheduler = Scheduler(4.0, signals=False)
    node = Node("a", tick=tick, enter_safe_state=enter_safe_state)
    scheduler.add(node, deadline=0.125, on_miss=Miss.SAFE_MODE)
    report = await scheduler.run(1.0)
    assert safe == [0.25, 0.3125]
    statistics = report.statistics.nodes["a"]
    assert (statistics.missed, statistics.deadline_missed) == (1, 1)


@pytest.mark.parametrize("policy", list(Miss), ids=repr)
async def test_releases_of_a_node_that_does_not_serve_are_no_overruns(
    policy: Miss, logged: list[str], autojump_clock: MockClock
) -> None:
    """While it backs off, rests or is initialised they are missed, and the policy is not asked."""
    safe: list[float] = []

    async def tick(node: Node) -> None:
        if node.now == 0.0:
            raise ValueError

    async def enter_safe_state(node: Node) -> None:
        safe.append(node.now)

    scheduler = Scheduler(4.0, signals=False)
    resting = Node("a", tick=tick, enter_safe_state=enter_safe_state, on_miss=policy)
    scheduler.add(resting, phase=0.0, failure_policy=horus.CircuitBreaker(1, cooldown=0.625))
    report = await scheduler.run(1.0)
    assert report.duration == 1.0
    node = report.statistics.nodes["a"]
    assert (node.missed, node.ok, safe) == (2, 1, [])
    assert not any("WARNING" in text for text in logged)


# CATCH_UP: owed, counted, never more than ten


durations = st.lists(
    st.integers(0, 200).map(lambda n: 0.0 if n < 80 else (n - 80) / 32 + 1 / 64), max_size=8
)


def caught_up(durations: list[float], points: int) -> tuple[list[tuple[float, float]], int]:
    """The model: releases and starts of the ticks, and how many releases were missed."""
    takes = iter(durations)
    owed: list[float] = []
    ticks: list[tuple[float, float]] = []
    now, missed, n = 0.0, 0, 0
    while owed or n < points:
        if owed:
            due = owed.pop(0)
        else:
            due = now = n / 4
            n += 1
        ticks.append((due, now))
        now += next(takes, 0.0)
        while n < points and n / 4 < now:
            if len(owed) < 10:
                owed.append(n / 4)
            else:
                missed += 1
            n += 1
    return ticks, missed


@given(durations=durations)
@settings(max_examples=60)
def test_catching_up_follows_its_model(durations: list[float]) -> None:
    points = 4 * (int(sum(durations)) + 5)
    takes = iter(durations)
    ticks: list[tuple[float, float]] = []
    most_waiting = 0

    async def tick(node: Node) -> None:
        nonlocal most_waiting
        assert node.current_tick is not None
        ticks.append((node.current_tick.scheduled, node.now))
        most_waiting = max(most_waiting, scheduler.statistics().nodes["a"].in_flight)
        await trio.sleep(next(takes, 0.0))

    scheduler = Scheduler(4.0, signals=False)
    scheduler.add(Node("a", tick=tick), on_miss=Miss.CATCH_UP)

    async def main() -> horus.RunReport:
        return await scheduler.run(points / 4)

    report = trio.run(main, clock=MockClock(autojump_threshold=0))
    expected, missed = caught_up(durations, points)
    assert ticks == expected
    assert report.statistics.nodes["a"].missed == missed
    assert most_waiting <= 1  # owed ticks are not queued


def test_the_bound_is_the_documented_one() -> None:
    assert CATCH_UP_BOUND == 10


async def test_what_is_owed_at_a_stop_was_missed(autojump_clock: MockClock) -> None:
    async def tick(node: Node) -> None:
        await trio.sleep(1.1)

    scheduler = Scheduler(4.0, signals=False)
    scheduler.add(Node("a", tick=tick), on_miss=Miss.CATCH_UP)
    report = await scheduler.run(1.0)
    node = report.statistics.nodes["a"]
    assert (node.ticks_released, node.ok, node.missed) == (4, 1, 3)


# SAFE_MODE: a slow hook


@pytest.mark.parametrize("kind", ["def", "async"])
async def test_a_slow_enter_safe_state_is_not_called_over_and_over(kind: str) -> None:
    """One call at a time: a hundred of them would take the threads of other nodes' hooks."""
    calls: list[float] = []
    inside = most = 0

    def begins(node: Node) -> None:
        nonlocal inside, most
        calls.append(node.now)
        inside += 1
        most = max(most, inside)

    def ends() -> None:
        nonlocal inside
        inside -= 1

    def in_thread(node: Node) -> None:
        begins(node)
        blocking_delay(0.53125)
        ends()

    async def on_loop(node: Node) -> None:
        begins(node)
        await trio.sleep(0.53125)
        ends()

    async def tick(node: Node) -> None:
        await trio.sleep(3.03125)

    safe: Callable[[Node], Any] = in_thread if kind == "def" else on_loop
    node = Node("a", tick=tick, enter_safe_state=safe, on_miss=Miss.SAFE_MODE)
    async with open_harness(node, rate=8.0, failure_policy=Ignore()) as h:
        await h.advance(3.0)
        assert most == 1
        assert calls == [0.125, 0.75, 1.375, 2.0, 2.625]


async def test_a_miss_that_stops_the_run_stops_the_whole_robot(autojump_clock: MockClock) -> None:
    async def slow(node: Node) -> None:
        await trio.sleep(0.375)

    async def well(node: Node) -> None:
        pass

    scheduler = Scheduler(4.0, signals=False)
    scheduler.add(Node("slow", tick=slow), phase=0.0, on_miss=Miss.STOP)
    scheduler.add(Node("sibling", tick=well), rate=8.0, phase=1 / 64)
    with contextlib.nullcontext():
        report = await scheduler.run(10.0)
    assert report.ok
    assert report.duration == 0.25
    assert report.statistics.nodes["sibling"].ok == 2
    assert trio.current_time() == 0.375  # the tick had its grace
