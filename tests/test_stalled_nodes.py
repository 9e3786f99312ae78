"""Which nodes count as stalled, and who may have held the interpreter's lock.

Nodes in an executor are judged at instants that the test chooses; where ticks lie to the last bit
they are stand-ins for nodes.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from horus_trio import Link, Node
from horus_trio.executor import AsyncIOExecutor, open_executor
from horus_trio.logs import OffLoopLogger
from horus_trio.scheduler.watchdog import holder, stalled
from horus_trio.scheduler.watchdog.blocked import BlockedLoop
from horus_trio.scheduler.watchdog.culprit import Culprit
from horus_trio.scheduler.watchdog.holder import who_held_the_lock
from horus_trio.scheduler.watchdog.stalled import StalledNodes


async def for_ever(node: Node) -> None:
    await trio.sleep_forever()


class Blocked(BlockedLoop):
    """A loop that has not answered for as long as the test says."""

    seconds: float = 0.0

    @property
    def blocked_for(self) -> float:
        return self.seconds


class Bench:
    """Judges the nodes of an executor at instants of its own."""

    def __init__(self, executor: AsyncIOExecutor) -> None:
        log = OffLoopLogger(logging.getLogger("horus_trio"))
        self.now = 0.0
        self.blocked = Blocked(0.5, log)
        self.nodes = StalledNodes(executor.runners, lambda: self.now, self.blocked, log)

    def look(self, now: float) -> dict[str, float]:
        self.now = now
        self.nodes.look(now)
        return self.nodes.names


async def started(executor: AsyncIOExecutor, name: str, tick: Callable[[Node], Any]) -> None:
    node = Node(name, tick=tick)
    await executor.spawn_node(node)
    executor.tick(node)
    await trio.testing.wait_all_tasks_blocked()


# Nodes that stall


async def test_nodes_are_judged_twice_a_second(autojump_clock: MockClock) -> None:
    async with open_executor() as executor:
        bench = Bench(executor)
        await started(executor, "arm", for_ever)
        assert bench.look(2.0) == {"arm": 2.0}
        assert bench.look(2.25) == {"arm": 2.0}
        assert bench.nodes.look(2.25) == 2.5
        assert bench.nodes.look(2.5) == 3.0
        assert bench.look(3.0) == {"arm": 3.0}


async def test_nobody_has_stalled_while_the_loop_was_blocked(autojump_clock: MockClock) -> None:
    async with open_executor() as executor:
        bench = Bench(executor)
        await started(executor, "arm", for_ever)
        assert bench.look(2.0) == {"arm": 2.0}
        bench.blocked.seconds = 0.5
        assert bench.look(2.5) == {}
        bench.blocked.seconds = 0.0
        assert bench.look(3.0) == {}  # it was, until a moment ago
        assert bench.look(4.0) == {}
        assert bench.look(4.5) == {"arm": 1.5}
        bench.blocked.count += 1  # between two looks
        assert bench.look(5.0) == {}
        assert bench.look(5.5) == {}
        assert bench.look(6.5) == {}
        assert bench.look(7.0) == {"arm": 1.5}


async def test_while_the_loop_may_be_blocked_the_judgement_waits(autojump_clock: MockClock) -> None:
    async with open_executor() as executor:
        bench = Bench(executor)
        await started(executor, "arm", for_ever)
        assert bench.look(2.0) == {"arm": 2.0}
        bench.blocked.seconds = 0.25
        assert bench.look(2.5) == {"arm": 2.0}
        bench.blocked.seconds = 0.1875
        assert bench.look(3.0) == {"arm": 3.0}


@pytest.mark.parametrize("between", [False, True], ids=["at once", "after a look"])
async def test_a_node_that_takes_the_name_of_one_that_had_stalled_begins_anew(
    autojump_clock: MockClock, between: bool
) -> None:
    async with open_executor() as executor:
        bench = Bench(executor)
        await started(executor, "arm", for_ever)
        assert bench.look(2.0) == {"arm": 2.0}
        runner = executor.runners.pop("arm")
        runner.leave("remove", None)
        await runner.done.wait()
        await trio.sleep_until(trio.current_time() + 8.0 - executor.clock())
        if between:
            assert bench.look(8.0) == {}
            assert not bench.nodes._records  # nothing keeps a node that has left
        await started(executor, "arm", for_ever)
        assert bench.look(8.5) == {}
        assert bench.look(9.5) == {"arm": 1.5}


@pytest.mark.parametrize("ending", [False, True], ids=["a link", "nothing any more"])
async def test_a_tick_counts_from_when_it_last_waited_for_input(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, ending: bool
) -> None:
    link = Link[int]("work")

    async def tick(node: Node) -> None:
        await link.receive()
        await trio.sleep_forever()

    async with open_executor() as executor:
        bench = Bench(executor)
        await started(executor, "arm", tick)
        if ending:
            monkeypatch.setattr(stalled, "wait_of", lambda runner: None)  # it is about to end
        assert bench.look(60.0) == {}
        monkeypatch.undo()
        await link.send(1)
        await trio.testing.wait_all_tasks_blocked()
        assert bench.look(61.0) == {}
        assert bench.look(61.5) == {"arm": 1.5}


@pytest.mark.parametrize(
    ("count", "last"),
    [
        (20, "node 'arm 19' has been in tick 1 for 2.0 s, more than 1 s: it awaits something, at"),
        (21, "1 more nodes have been in one tick for too long: 'arm 20'"),
        (40, "20 more nodes have been in one tick for too long: 'arm 20', 'arm 21', "),
        (41, "21 more nodes have been in one tick for too long: 'arm 20', 'arm 21', "),
    ],
)
async def test_of_those_that_stall_at_once_twenty_are_spelt_out_and_twenty_named(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, count: int, last: str
) -> None:
    async with open_executor() as executor:
        bench = Bench(executor)
        for n in range(count):
            await started(executor, f"arm {n}", for_ever)
        bench.look(2.0)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == min(count, 21)
    assert said[-1].startswith(last)
    assert said[-1].endswith("'arm 39' and others") is (count > 40)
    assert said[-1].endswith("'arm 39'") is (count == 40)


async def test_who_held_the_lock_is_sought_among_the_nodes(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_executor() as executor:
        bench = Bench(executor)
        bench.now = 9.0
        asked: list[object] = []

        def who(*details: object) -> Culprit:
            asked.extend(details)
            return Culprit(node="arm", what="tick 1")

        monkeypatch.setattr(stalled, "who_held_the_lock", who)
        culprit = bench.blocked.suspect(2.0, True)
        assert culprit is not None
        assert culprit.node == "arm"
        assert asked == [executor.runners, 2.0, True, 9.0]


# Who held the interpreter's lock

NOW, HELD, SLACK = 10.0, 2.0, 0.125


def stand_in(
    name: str,
    *,
    began: float = 0.0,
    longest: float = 0.0,
    call: object = None,
    busy: bool = False,
    on_loop: bool = True,
) -> Any:
    """What is looked at of a node, and no more."""

    async def on_the_loop(node: Node) -> None: ...

    def in_a_thread(node: Node) -> None: ...

    return SimpleNamespace(
        name=name,
        node=Node(name, tick=on_the_loop) if on_loop else Node(name, tick=in_a_thread),
        thread_call=call,
        seat=SimpleNamespace(tick=SimpleNamespace(seq=7)),
        ledger=SimpleNamespace(
            last_start=began,
            durations=SimpleNamespace(summary=lambda: SimpleNamespace(max=longest)),
        ),
        mailbox=SimpleNamespace(busy=busy),
    )


def call_of(began: float, ended: float = math.nan, result: object = None) -> object:
    return SimpleNamespace(started=began, ended=ended, result=result, thread=1234)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str | None]:
    """Who of some stand-ins held it; those whose calls run are in their threads."""
    monkeypatch.setattr(holder, "SLACK", SLACK)

    def held(*nodes: Any, on_loop: bool = True) -> str | None:
        threads = {
            node.thread_call.thread: Culprit(node=node.name, what="tick 7", where="robot.py:1")
            for node in nodes
            if node.thread_call is not None
        }
        monkeypatch.setattr(holder, "who_runs", threads.get)
        runners = {node.name: node for node in nodes}
        culprit = who_held_the_lock(runners, HELD, on_loop, NOW)
        return None if culprit is None else str(culprit)

    return held


@pytest.mark.parametrize(
    ("began", "longest", "busy", "what"),
    [
        (8.0, 2.0, False, "tick 7"),
        (8.0, 2.0, True, "a tick"),  # the next one is running
        (8.125, 2.0, False, "a tick"),  # began too late: an earlier one was the longest
        (9.0, 1.9375, False, "a tick"),
        (9.0, 1.875, False, None),  # none has lasted so long
        (7.0, 2.9375, False, "tick 7"),
        (7.0, 2.875, False, None),  # ended too long ago
    ],
)
def test_a_tick_that_has_ended_may_have_held_it_within_the_slack(
    held: Callable[..., str | None], began: float, longest: float, busy: bool, what: str | None
) -> None:
    arm = stand_in("arm", began=began, longest=longest, busy=busy)
    assert held(arm) == (None if what is None else f"node 'arm' ({what})")


@pytest.mark.parametrize(
    ("call", "who"),
    [
        (call_of(8.0), "node 'arm' (tick 7) at robot.py:1"),
        (call_of(8.125), None),  # began after the lock was taken
        (call_of(8.0, 9.9375, result=1), "node 'arm' (tick 7)"),
        (call_of(8.0, 9.875, result=1), None),
        (call_of(8.125, 10.0, result=1), None),
    ],
    ids=["runs", "began late", "ended", "ended early", "began late and ended"],
)
def test_a_tick_in_a_thread_may_hold_it_still_or_have_held_it(
    held: Callable[..., str | None], call: object, who: str | None
) -> None:
    assert held(stand_in("arm", call=call, longest=9.0, on_loop=False)) == who


def test_a_thread_that_is_gone_or_anothers_by_now_did_not_hold_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runners = {"arm": stand_in("arm", call=call_of(0.0), on_loop=False)}
    for runs in (None, Culprit(node="leg", what="tick 1")):
        monkeypatch.setattr(holder, "who_runs", lambda thread, runs=runs: runs)
        assert who_held_the_lock(runners, HELD, False, NOW) is None


def test_code_on_the_loop_and_in_threads_is_told_apart(held: Callable[..., str | None]) -> None:
    on_loop = stand_in("loop", began=8.0, longest=2.0)
    ended = stand_in("ended", began=8.0, longest=2.0, on_loop=False)
    runs = stand_in("runs", call=call_of(8.0), on_loop=False)
    assert held(runs, on_loop, on_loop=True) == "node 'loop' (tick 7)"
    assert held(on_loop, runs, on_loop=False) == "node 'runs' (tick 7) at robot.py:1"
    assert held(on_loop, ended, on_loop=False) == "node 'ended' (tick 7)"
    # Where there is none of the sort, one of the other.
    assert held(ended, on_loop=True) == "node 'ended' (tick 7)"
    assert held(on_loop, on_loop=False) == "node 'loop' (tick 7)"
    assert held(runs, ended, on_loop=False) == (
        "one of node 'ended' (tick 7), node 'runs' (tick 7) at robot.py:1"
    )
