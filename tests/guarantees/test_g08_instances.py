"""G8 supervision: a factory gives a fresh instance on each restart, an instance is itself."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import trio
from trio.testing import MockClock

import horus_trio as horus
from horus_trio import (
    AsyncNode,
    Node,
    NodeState,
    Restart,
    RunFailed,
    Scheduler,
)
from horus_trio.testing import open_harness


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    logger = logging.getLogger("horus_trio")
    logger.setLevel(logging.CRITICAL + 1)
    yield
    logger.setLevel(logging.NOTSET)


class Broken(Exception):
    pass


PROMPT = Restart(max_restarts=2, within=60.0, backoff=11 / 64, jitter=0.0)
"""Its pauses end between two points of the grid of 1/8 s."""


async def well(node: Node) -> None:
    pass


class Diary:
    """What nodes did: which instance, which hook."""

    def __init__(self) -> None:
        self.entries: list[tuple[int, str]] = []
        self.instances: list[Node] = []

    def write(self, node: Node, what: str) -> None:
        if not any(node is known for known in self.instances):
            self.instances.append(node)
        number = next(n for n, known in enumerate(self.instances, 1) if known is node)
        self.entries.append((number, what))


def camera(diary: Diary, kind: str, failing: set[int]) -> Callable[[], Node]:
    """A class of nodes; their ticks raise at those numbers of the run."""

    class OnTheLoop(AsyncNode):
        async def init(self) -> None:
            diary.write(self, "init")
            self.frames = 0

        async def tick_async(self) -> None:
            work(self)

        async def shutdown(self) -> None:
            diary.write(self, f"shutdown after {self.frames}")

    class InThread(Node):
        def init(self) -> None:
            diary.write(self, "init")
            self.frames = 0

        def tick(self) -> None:
            work(self)

        def shutdown(self) -> None:
            diary.write(self, f"shutdown after {self.frames}")

    def work(node: Any) -> None:
        node.frames += 1
        if node.current_tick.seq in failing:
            raise Broken(f"tick {node.current_tick.seq}")

    return OnTheLoop if kind == "async" else InThread


# Factories and instances


@pytest.mark.parametrize("kind", ["def", "async"])
async def test_a_factory_gives_a_fresh_instance_on_each_restart(kind: str) -> None:
    diary = Diary()
    scheduler = Scheduler(signals=False)
    make = camera(diary, kind, failing={2, 5})
    scheduler.add(make, name="camera", rate=8.0, failure_policy=PROMPT)
    async with open_harness(scheduler) as h:
        first = h.node("camera")
        await h.advance(2.0)
        assert diary.entries == [
            (1, "init"),
            (1, "shutdown after 2"),
            (2, "init"),
            (2, "shutdown after 2"),
            (3, "init"),
        ]
        assert diary.instances[0] is first
        assert h.node("camera") is diary.instances[2]
        assert [node.name for node in diary.instances] == ["camera"] * 3
        assert h.node_statistics().restarts == 2
        await h.stop()
    assert diary.entries[-1][0] == 3


@pytest.mark.parametrize("kind", ["def", "async"])
async def test_an_instance_is_initialised_again_as_it_is(kind: str) -> None:
    diary = Diary()
    node = camera(diary, kind, failing={2, 5})()
    async with open_harness(node, rate=8.0, failure_policy=PROMPT) as h:
        await h.advance(2.0)
        assert diary.instances == [node]
        assert [what for _, what in diary.entries].count("init") == 3
        assert h.node() is node


async def test_an_instance_that_was_replaced_is_free(autojump_clock: MockClock) -> None:
    """It may be used elsewhere, and the fresh one may not."""
    diary = Diary()
    scheduler = Scheduler(8.0, signals=False)
    scheduler.add(camera(diary, "async", failing={2}), failure_policy=PROMPT)
    await scheduler.run(2.0)
    old, fresh = diary.instances
    other = Scheduler(signals=False)
    other.add(old)
    with pytest.raises(horus.AlreadyRunning, match="in another scheduler already"):
        other.add(fresh)


async def test_a_factory_that_gives_the_same_instance_again_keeps_it(
    autojump_clock: MockClock,
) -> None:
    diary = Diary()
    node = camera(diary, "async", failing={2})()
    scheduler = Scheduler(8.0, signals=False)
    scheduler.add(lambda: node, failure_policy=PROMPT)
    await scheduler.run(2.0)
    assert diary.instances == [node]
    with pytest.raises(horus.AlreadyRunning):
        Scheduler().add(node)


async def test_options_given_to_add_hold_for_every_instance() -> None:
    diary = Diary()
    scheduler = Scheduler(signals=False)
    make = camera(diary, "async", failing={2, 5})
    scheduler.add(make, name="camera", rate=8.0, failure_policy=PROMPT, critical=True)
    async with open_harness(scheduler) as h:
        await h.advance(2.0)
        statistics = h.node_statistics("camera")
        assert (statistics.rate, statistics.critical) == (8.0, True)
        assert h.node("camera").dt == 0.125


async def test_the_next_instance_may_tick_in_another_way() -> None:
    diary = Diary()
    kinds = iter(["async", "def", "async", "def"])

    def make() -> Node:
        return camera(diary, next(kinds), failing={2, 5, 8})()

    policy = Restart(max_restarts=3, backoff=0.125, jitter=0.0)
    async with open_harness(make, rate=8.0, failure_policy=policy) as h:
        await h.advance(3.0)
        assert [isinstance(node, AsyncNode) for node in diary.instances] == [True, False] * 2
        assert [n for n, what in diary.entries if what == "init"] == [1, 2, 3, 4]
        statistics = h.node_statistics()
        assert (statistics.errors, statistics.restarts) == (3, 3)
        assert h.results[-1].success


UNFIT: list[tuple[str, Callable[[], Any], str]] = [
    ("raises", lambda: 1 / 0, "ZeroDivisionError"),
    ("None", lambda: None, "expected a horus_trio.Node, .* got None"),
    ("a class", lambda: AsyncNode, "expected a horus_trio.Node, .* got <class"),
    ("no tick", Node, "Node has no tick"),
    ("SystemExit", lambda: sys.exit(3), "SystemExit: 3"),
]


@pytest.mark.parametrize(("make", "text"), [u[1:] for u in UNFIT], ids=[u[0] for u in UNFIT])
async def test_a_factory_that_fails_on_a_restart_has_failed_to_initialise(
    make: Callable[[], Any], text: str
) -> None:
    diary = Diary()
    good = camera(diary, "async", failing={2})
    made: list[float] = []

    def factory() -> Any:
        made.append(trio.current_time())
        return good() if len(made) in (1, 4) else make()

    scheduler = Scheduler(8.0, signals=False)
    scheduler.add(factory, phase=0.0, failure_policy=Restart(3, backoff=0.1875, jitter=0.0))
    async with open_harness(scheduler) as h:
        await h.advance(0.4)
        assert h.state() is NodeState.BACKING_OFF
        last_error = h.node_statistics().last_error
        assert last_error is not None
        assert re.search(text, last_error)
        await h.advance(1.6)
        # Tick 2 failed at 0.125 s; pauses of 0.1875, 0.375 and 0.75 s.
        assert made[1:] == [0.3125, 0.6875, 1.4375]
        assert diary.entries == [(1, "init"), (1, "shutdown after 2"), (2, "init")]
        statistics = h.node_statistics()
        assert (statistics.failures, statistics.restarts) == (3, 3)
        assert statistics.state is NodeState.RUNNING


async def test_a_factory_may_exhaust_the_restarts(autojump_clock: MockClock) -> None:
    diary = Diary()
    nodes = iter([camera(diary, "async", failing={1})()])

    def factory() -> Node:
        for node in nodes:
            return node
        raise Broken("no such camera")

    scheduler = Scheduler(8.0, signals=False)
    scheduler.add(factory, name="camera", failure_policy=PROMPT)
    scheduler.add(Node("sibling", tick=well), rate=8.0, phase=1 / 64)
    report = await scheduler.run(2.0)
    (failure,) = report.failed
    assert failure.error == "Broken: no such camera; in node 'camera', init, failure 3 of 2 in 60 s"
    assert diary.entries == [(1, "init"), (1, "shutdown after 1")]
    assert report.statistics.nodes["sibling"].ok == 16


async def test_a_node_of_another_robot_is_no_fresh_instance(autojump_clock: MockClock) -> None:
    diary = Diary()
    theirs = camera(diary, "async", failing=set())()
    other = Scheduler(8.0, signals=False)
    other.add(theirs)
    nodes = iter([camera(diary, "async", failing={1})(), theirs, theirs])
    scheduler = Scheduler(8.0, signals=False)
    scheduler.add(lambda: next(nodes), failure_policy=PROMPT, critical=True)
    with pytest.raises(RunFailed) as caught:
        await scheduler.run(5.0)
    (error,) = caught.value.exceptions
    assert isinstance(error, horus.AlreadyRunning)
    assert diary.instances == [diary.instances[0]]
    report = await other.run(1.0)
    assert report.statistics.nodes[theirs.name].ok == 8
