"""G8 supervision: what a restart gives, what failures say, and what may come in between."""

from __future__ import annotations

import contextlib
import logging
import math
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
    CircuitBreaker,
    FailurePolicy,
    Fatal,
    Ignore,
    Node,
    NodeState,
    Restart,
    RunFailed,
    Scheduler,
)
from horus_trio.policies import Continue, Decision, EndRun, FailureState, Rebuild, Suspend
from horus_trio.testing import FakeDevice, Harness, blocking_delay, open_harness


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
ONCE = Restart(max_restarts=0)
SIBLING = {"rate": 8.0, "phase": 1 / 64}


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


def fails_twice_to_make(make: Callable[[], Node]) -> Iterator[Node]:
    yield make()
    raise Broken("no such camera")


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
    instances = fails_twice_to_make(camera(diary, "async", failing={1}))
    error = Broken("no such camera")

    def factory() -> Node:
        for node in instances:
            return node
        raise error

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


# Background tasks


TASK_FATES: list[tuple[FailurePolicy, list[float], NodeState]] = [
    (Fatal(), [0.0], NodeState.FAILED),
    (ONCE, [0.0], NodeState.FAILED),
    (Ignore(), [0.0, 0.3125], NodeState.STOPPED),
    (PROMPT, [0.0, 0.3125 + 11 / 64], NodeState.STOPPED),
    (CircuitBreaker(1, cooldown=0.5), [0.0, 0.8125], NodeState.STOPPED),
    (CircuitBreaker(2, cooldown=0.5), [0.0, 0.3125], NodeState.STOPPED),
]


@pytest.mark.parametrize(("policy", "inits", "state"), TASK_FATES, ids=lambda v: repr(v))
async def test_a_task_that_fails_goes_through_the_policy(
    policy: FailurePolicy, inits: list[float], state: NodeState, autojump_clock: MockClock
) -> None:
    """Whatever it says, the tasks are gone, so the node begins anew."""
    calls: list[tuple[str, float]] = []
    other_ended: list[float] = []

    async def keep_alive(seconds: float) -> None:
        await trio.sleep(seconds)
        raise Broken("keep-alive lost")

    async def other() -> None:
        try:
            await trio.sleep_forever()
        finally:
            other_ended.append(trio.current_time())

    async def init(node: Node) -> None:
        calls.append(("init", node.now))
        node.start_soon(other)
        if len(calls) == 1:
            node.start_soon(keep_alive, 0.3125)

    async def shutdown(node: Node) -> None:
        calls.append(("shutdown", node.now))

    scheduler = Scheduler(8.0, signals=False)
    node = Node("a", tick=well, init=init, shutdown=shutdown)
    scheduler.add(node, phase=1 / 64, failure_policy=policy)
    scheduler.add(Node("sibling", tick=well), **SIBLING)  # type: ignore[arg-type]
    with contextlib.suppress(RunFailed):
        await scheduler.run(2.0)
    assert scheduler.report is not None
    assert [t for what, t in calls if what == "init"] == inits
    assert ("shutdown", 0.3125) in calls
    assert other_ended[0] == 0.3125
    assert scheduler.report.statistics.nodes["a"].state is state
    assert scheduler.report.statistics.nodes["a"].failures == 1


async def test_a_task_of_an_init_that_failed_ends_with_it() -> None:
    """Its own failure, which comes too late, must not take the node away from its policy."""
    inits: list[float] = []
    tasks: list[str] = []

    async def late(node: Node) -> None:
        try:
            await trio.sleep(0.5)
            raise Broken("too late")
        except trio.Cancelled:
            tasks.append("ended")
            raise

    def init(node: Node) -> None:
        inits.append(node.now)
        if len(inits) == 1:
            node.start_soon(late, node)
            blocking_delay(2.0)

    node = Node("a", tick=well, init=init)
    async with open_harness(node, rate=8.0, init_timeout=0.25, failure_policy=PROMPT) as h:
        await h.advance(3.0)
        assert tasks == ["ended"]
        assert inits == [0.0, 2.0 + 11 / 64]  # the thread was out for 2 s
        assert h.state() is NodeState.RUNNING


async def test_a_task_started_by_an_init_that_was_given_up_changes_nothing() -> None:
    inits: list[float] = []

    async def fails() -> None:
        raise Broken("too late")

    def init(node: Node) -> None:
        inits.append(node.now)
        if len(inits) == 1:
            blocking_delay(1.0)  # given up after 0.25 s
            node.start_soon(fails)
            blocking_delay(1.0)

    node = Node("a", tick=well, init=init)
    async with open_harness(node, rate=8.0, init_timeout=0.25, failure_policy=PROMPT) as h:
        await h.advance(3.0)
        assert inits == [0.0, 2.0 + 11 / 64]
        assert h.state() is NodeState.RUNNING
        assert h.node_statistics().failures == 2


# on_error: told, not asked


@pytest.mark.parametrize("answer", [None, True, Continue(), NodeState.RUNNING], ids=repr)
@pytest.mark.parametrize("kind", ["def", "async"])
async def test_on_error_cannot_swallow_an_error(kind: str, answer: object) -> None:
    told: list[BaseException] = []
    error = Broken("first")

    def in_thread(node: Node, error: BaseException) -> object:
        told.append(error)
        return answer

    async def on_loop(node: Node, error: BaseException) -> object:
        return in_thread(node, error)

    async def tick(node: Node) -> None:
        raise error

    node = Node("a", tick=tick, on_error=in_thread if kind == "def" else on_loop)
    scheduler = Scheduler(8.0, signals=False)
    scheduler.add(node, failure_policy=ONCE, critical=True)
    with pytest.raises(RunFailed) as caught:
        async with open_harness(scheduler) as h:
            await h.advance(1.0)
    assert caught.value.exceptions == (error,)
    assert told == [error]


async def test_on_error_is_told_every_failure_before_anything_follows(
    autojump_clock: MockClock,
) -> None:
    calls: list[str] = []
    acts = iter(["raise", "hang", "well", "raise"])

    async def tick(node: Node) -> None:
        match next(acts, "well"):
            case "raise":
                raise Broken
            case "hang":
                await trio.sleep_forever()

    async def init(node: Node) -> None:
        calls.append("init")
        if len(calls) == 4:
            raise OSError

    def writes(what: str) -> Callable[..., Any]:
        async def hook(node: Node, *args: BaseException) -> None:
            calls.append(" ".join([what, *(type(error).__name__ for error in args)]))

        return hook

    hooks: dict[str, Any] = {
        name: writes(name) for name in ("on_error", "shutdown", "enter_safe_state")
    }
    scheduler = Scheduler(8.0, signals=False)
    policy = Restart(max_restarts=3, backoff=0.125, jitter=0.0)
    node = Node("a", tick=tick, init=init, **hooks)
    scheduler.add(node, failure_policy=policy, tick_timeout=0.25)
    scheduler.add(Node("sibling", tick=well))
    await scheduler.run(10.0)
    assert calls == [
        "init",
        "on_error Broken",
        "shutdown",
        "init",
        "on_error OSError",
        "init",
        "on_error TickTimedOut",
        "shutdown",
        "init",
        "on_error Broken",
        "enter_safe_state",
        "shutdown",
    ]


@pytest.mark.parametrize("kind", ["def", "async"])
async def test_an_on_error_that_hangs_holds_the_policy_up_no_longer_than_its_limit(
    kind: str,
) -> None:
    """In a thread it is out until it returns; then the policy goes on."""
    inits: list[float] = []

    async def tick(node: Node) -> None:
        if len(inits) == 1:
            raise Broken

    async def init(node: Node) -> None:
        inits.append(node.now)

    async def on_loop(node: Node, error: BaseException) -> None:
        await trio.sleep_forever()

    def in_thread(node: Node, error: BaseException) -> None:
        blocking_delay(3.0)

    node = Node("a", tick=tick, init=init, on_error=in_thread if kind == "def" else on_loop)
    options: dict[str, Any] = {"rate": 8.0, "phase": 0.0, "shutdown_timeout": 1.0}
    async with open_harness(node, failure_policy=PROMPT, **options) as h:
        await h.advance(5.0)
        assert inits == [0.0, (3.0 if kind == "def" else 1.0) + 11 / 64]
        assert h.node_statistics().observer_errors == 1
        report = await h.stop()
    assert report.hook_errors[0].startswith("on_error of node 'a': ")


@pytest.mark.parametrize("asked", ["stop", "remove"])
@pytest.mark.parametrize("policy", [Fatal(), ONCE, PROMPT, Ignore()], ids=repr)
async def test_a_stop_during_on_error_comes_before_the_policy(
    policy: FailurePolicy, asked: str, autojump_clock: MockClock
) -> None:
    """The node is being stopped: it cannot also have failed for good."""

    async def tick(node: Node) -> None:
        raise Broken

    async def on_error(node: Node, error: BaseException) -> None:
        if asked == "stop":
            node.request_stop()
        else:
            trio.lowlevel.spawn_system_task(remove)
        await trio.sleep(0.25)

    async def remove() -> None:
        scheduler.remove("a")

    scheduler = Scheduler(8.0, signals=False)
    node = Node("a", tick=tick, on_error=on_error)
    scheduler.add(node, phase=0.0, failure_policy=policy, critical=True)
    scheduler.add(Node("sibling", tick=well), **SIBLING)  # type: ignore[arg-type]
    report = await scheduler.run(2.0)
    assert report.failed == ()
    assert report.ok
    if asked == "stop":
        assert report.statistics.nodes["a"].state is NodeState.STOPPED
    else:
        assert report.statistics.nodes.keys() == {"sibling"}
        assert report.duration == 2.0


# The end


async def test_the_note_says_which_failure_of_how_many(autojump_clock: MockClock) -> None:
    errors: list[Broken] = []

    async def tick(node: Node) -> None:
        assert node.current_tick is not None
        if node.current_tick.seq >= 7:
            errors.append(Broken(f"frame {node.current_tick.seq}"))
            raise errors[-1]

    scheduler = Scheduler(8.0, signals=False)
    policy = Restart(max_restarts=5, within=60.0, backoff=0.0)
    scheduler.add(Node("camera", tick=tick), failure_policy=policy, critical=True)
    with pytest.raises(RunFailed) as caught:
        await scheduler.run(10.0)
    assert len(errors) == 6
    assert caught.value.exceptions == (errors[-1],)
    assert errors[-1].__notes__ == ["in node 'camera', tick 12, failure 6 of 5 in 60 s"]
    assert [getattr(error, "__notes__", []) for error in errors[:-1]] == [[]] * 5
    (failure,) = caught.value.report.failed
    assert failure.error == ("Broken: frame 12; in node 'camera', tick 12, failure 6 of 5 in 60 s")


@pytest.mark.parametrize("hook", ["enter_safe_state", "shutdown"])
@pytest.mark.parametrize("how", ["raises", "hangs"])
@pytest.mark.parametrize("critical", [False, True])
async def test_the_last_hooks_of_a_failed_node_cannot_hold_up_the_end(
    hook: str, how: str, critical: bool, autojump_clock: MockClock
) -> None:
    calls: list[tuple[str, float]] = []

    async def tick(node: Node) -> None:
        raise Broken

    def scripted(name: str) -> Callable[[Node], Any]:
        async def call(node: Node) -> None:
            calls.append((name, node.now))
            if name == hook and how == "raises":
                raise OSError
            if name == hook:
                await trio.sleep_forever()

        return call

    hooks: dict[str, Any] = {name: scripted(name) for name in ("enter_safe_state", "shutdown")}
    scheduler = Scheduler(8.0, signals=False)
    scheduler.add(
        Node("a", tick=tick, **hooks),
        phase=0.0,
        failure_policy=ONCE,
        critical=critical,
        shutdown_timeout=0.75,
    )
    scheduler.add(Node("sibling", tick=well), **SIBLING)  # type: ignore[arg-type]
    with contextlib.suppress(RunFailed):
        await scheduler.run(2.0)
    report = scheduler.report
    assert report is not None
    later = 0.75 if how == "hangs" and hook == "enter_safe_state" else 0.0
    assert calls == [("enter_safe_state", 0.0), ("shutdown", later)]
    assert report.statistics.nodes["a"].state is NodeState.FAILED
    assert [failure.fatal for failure in report.failed] == [critical]
    assert [text.split()[0] for text in report.hook_errors] == [hook]
    assert report.duration == ((0.75 if how == "hangs" else 0.0) if critical else 2.0)


# Live control while a node backs off, rests or is stuck


async def backing_off(h: Harness) -> None:
    """Let tick 2, at 0.125 s, fail; the node backs off until 1.125 s."""
    await h.advance(0.5)
    assert h.state("a") is NodeState.BACKING_OFF


def flaky(calls: list[tuple[str, float]]) -> Node:
    def writes(what: str) -> Callable[[Node], Any]:
        async def hook(node: Node) -> None:
            calls.append((what, node.now))

        return hook

    async def tick(node: Node) -> None:
        assert node.current_tick is not None
        calls.append((f"tick {node.current_tick.seq}", node.now))
        if node.current_tick.seq == 2:
            raise Broken

    return Node("a", tick=tick, init=writes("init"), shutdown=writes("shutdown"))


SLOWLY = Restart(backoff=1.0625, max_backoff=2.0, jitter=0.0)


def robot(calls: list[tuple[str, float]]) -> Scheduler:
    scheduler = Scheduler(8.0, signals=False)
    scheduler.add(flaky(calls), phase=0.0, failure_policy=SLOWLY)
    scheduler.add(Node("sibling", tick=well), **SIBLING)  # type: ignore[arg-type]
    return scheduler


BEFORE = [("init", 0.0), ("tick 1", 0.0), ("tick 2", 0.125), ("shutdown", 0.125)]


async def test_a_backoff_ends_at_its_instant() -> None:
    calls: list[tuple[str, float]] = []
    async with open_harness(robot(calls)) as h:
        await backing_off(h)
        await h.advance(0.875)
        assert calls == [*BEFORE, ("init", 1.1875), ("tick 11", 1.25)]
        statistics = h.node_statistics("a")
        assert (statistics.missed, statistics.restarts) == (8, 1)


async def test_a_node_removed_while_it_backs_off_is_gone_without_another_hook() -> None:
    calls: list[tuple[str, float]] = []
    async with open_harness(robot(calls)) as h:
        await backing_off(h)
        h.scheduler.remove("a")
        await h.settle()
        assert h.statistics().nodes.keys() == {"sibling"}
        await h.advance(2.0)
        assert calls == BEFORE


async def test_a_stop_while_a_node_backs_off_takes_no_time() -> None:
    calls: list[tuple[str, float]] = []
    async with open_harness(robot(calls)) as h:
        await backing_off(h)
        report = await h.stop()
        assert h.now == 0.5
    assert calls == BEFORE
    assert report.statistics.nodes["a"].state is NodeState.STOPPED
    assert report.ok


async def test_a_node_paused_while_it_backs_off_is_initialised_and_waits() -> None:
    calls: list[tuple[str, float]] = []
    async with open_harness(robot(calls)) as h:
        await backing_off(h)
        h.scheduler.pause("a")
        await h.advance(1.5)  # to 2.0 s
        assert calls == [*BEFORE, ("init", 1.1875)]
        assert h.state("a") is NodeState.PAUSED
        missed = h.node_statistics("a").missed
        assert missed == 2  # those at 0.25 and 0.375 s; paused grid points are none
        h.scheduler.resume("a")
        await h.advance(0.25)
        assert calls[5:] == [("tick 5", 2.0), ("tick 6", 2.125)]


async def test_a_node_resumed_while_it_backs_off_waits_for_its_init() -> None:
    calls: list[tuple[str, float]] = []
    async with open_harness(robot(calls)) as h:
        await backing_off(h)
        h.scheduler.pause("a")
        await h.advance(0.25)
        h.scheduler.resume("a")
        await h.advance(0.5)  # to 1.25 s
        assert calls == [*BEFORE, ("init", 1.1875)]
        await h.advance(0.125)
        assert calls[5:] == [("tick 9", 1.25)]


async def test_a_rate_set_while_a_node_backs_off_holds_after_it() -> None:
    calls: list[tuple[str, float]] = []
    async with open_harness(robot(calls)) as h:
        await backing_off(h)
        h.scheduler.set_rate("a", 2.0)
        await h.advance(2.0)  # to 2.5 s
        assert [instant for what, instant in calls[5:]] == [1.5, 2.0]


async def test_what_arrives_while_a_node_backs_off_is_one_tick_after_it() -> None:
    ticks: list[tuple[float, list[int]]] = []

    async def tick(node: Node) -> None:
        ticks.append((node.now, node.recv_all("word")))
        if len(ticks) == 2:
            raise Broken

    async with open_harness(Node("a", tick=tick), on="word", failure_policy=SLOWLY) as h:
        for word in range(2):
            h.publish("word", word)
            await h.settle()
        await h.advance(0.5)
        assert h.state() is NodeState.BACKING_OFF
        for word in range(2, 5):
            h.publish("word", word)
        await h.advance(2.0)
        assert ticks == [(0.0, [0]), (0.0, [1]), (1.0625, [2, 3, 4])]


async def test_a_node_removed_while_its_breaker_is_open_is_shut_down() -> None:
    calls: list[tuple[str, float]] = []
    scheduler = Scheduler(8.0, signals=False)
    scheduler.add(flaky(calls), phase=0.0, failure_policy=CircuitBreaker(1, cooldown=1.0))
    scheduler.add(Node("sibling", tick=well), **SIBLING)  # type: ignore[arg-type]
    async with open_harness(scheduler) as h:
        await h.advance(0.5)
        assert h.state("a") is NodeState.SUSPENDED
        h.scheduler.remove("a")
        await h.settle()
        assert calls == [*BEFORE[:3], ("shutdown", 0.5)]


async def test_an_open_breaker_lets_one_probe_through() -> None:
    """Half open: the probe decides alone, and its success begins the count anew."""
    ticks: list[float] = []
    verdicts = iter([Broken(), Broken(), Broken(), None, Broken(), None, Broken(), Broken()])

    async def tick(node: Node) -> None:
        ticks.append(node.now)
        error = next(verdicts, None)
        if error is not None:
            raise error

    policy = CircuitBreaker(2, cooldown=1.0625)
    async with open_harness(Node("a", tick=tick), rate=8.0, failure_policy=policy) as h:
        await h.advance(0.125)
        assert h.state() is NodeState.RUNNING  # one failure leaves it closed
        await h.advance(0.125)
        assert h.state() is NodeState.SUSPENDED
        assert h.node_statistics().health is horus.Health.WARNING
        await h.advance(0.875)
        assert h.state() is NodeState.SUSPENDED
        await h.advance(0.125)
        assert h.state() is NodeState.RUNNING  # half open, since 1.1875 s
        assert ticks == [0.0, 0.125]
        await h.advance(0.125)
        assert ticks == [0.0, 0.125, 1.25]  # a probe that failed
        assert h.state() is NodeState.SUSPENDED
        await h.advance(1.75)
        # The probe of 2.375 s is well; then one failure, a success, and two failures in a row.
        assert ticks[3:] == [2.375, 2.5, 2.625, 2.75, 2.875]
        assert h.state() is NodeState.SUSPENDED
        statistics = h.node_statistics()
        assert (statistics.errors, statistics.ok, statistics.restarts) == (6, 2, 0)


@pytest.mark.parametrize("kind", ["def", "async"])
async def test_a_tick_that_an_emergency_cut_short_was_no_success(kind: str) -> None:
    """It leaves the count of failures in a row as it was."""
    calls = iter(["fails", "is cut short", "fails"])

    async def on_loop(node: Node) -> None:
        match next(calls, "well"):
            case "fails":
                raise Broken
            case "is cut short":
                await trio.sleep(3.0)

    def in_thread(node: Node) -> None:
        match next(calls, "well"):
            case "fails":
                raise Broken
            case "is cut short":
                for _ in range(30):
                    blocking_delay(0.1)
                    node.check_cancelled()

    policy = CircuitBreaker(2, cooldown=10.0)
    node = Node("a", tick=on_loop if kind == "async" else in_thread, critical=True)
    async with open_harness(node, rate=8.0, failure_policy=policy) as h:
        await h.advance(0.3)
        h.scheduler.emergency_stop("a test")
        await h.advance(0.5)
        assert h.state() is NodeState.SAFE
        h.scheduler.reset_emergency()
        await h.advance(0.25)
        statistics = h.node_statistics()
        assert (statistics.errors, statistics.cancelled, statistics.ok) == (2, 1, 0)
        assert h.state() is NodeState.SUSPENDED


async def test_a_node_removed_while_it_is_stuck_gives_its_thread_its_time() -> None:
    calls: list[tuple[str, float]] = []
    device = FakeDevice()

    def tick(node: Node) -> None:
        device.read()

    def shutdown(node: Node) -> None:
        calls.append(("shutdown", node.now))
        device.close()

    def enter_safe_state(node: Node) -> None:
        calls.append(("enter_safe_state", node.now))

    node = Node("a", tick=tick, shutdown=shutdown, enter_safe_state=enter_safe_state)
    scheduler = Scheduler(8.0, signals=False)
    options: dict[str, Any] = {"tick_timeout": 0.25, "shutdown_timeout": 0.5}
    scheduler.add(node, phase=0.0, failure_policy=ONCE, **options)
    scheduler.add(Node("sibling", tick=well), **SIBLING)  # type: ignore[arg-type]
    async with open_harness(scheduler) as h:
        await h.advance(1.0)
        assert h.state("a") is NodeState.STUCK
        assert h.node_statistics("a").last_error is not None  # though its thread may never return
        h.scheduler.remove("a")
        await h.advance(1.0)
        assert calls == [("shutdown", 1.5)]  # it freed the reader
        report = await h.stop()
    assert report.shutdown_while_busy == ("a",)
    assert report.stragglers == ()


async def test_a_thread_that_times_out_during_the_stop_still_has_its_time() -> None:
    """Its ``tick_timeout`` is over before its ``shutdown_timeout``; it returns between the two."""
    calls: list[tuple[str, float]] = []

    def tick(node: Node) -> None:
        blocking_delay(1.0)
        calls.append(("returned", node.now))

    async def shutdown(node: Node) -> None:
        calls.append(("shutdown", node.now))

    node = Node("a", tick=tick, shutdown=shutdown, tick_timeout=0.5, shutdown_timeout=2.0)
    async with open_harness(node, rate=1.0, failure_policy=Ignore()) as h:
        await h.advance(0.25)
        report = await h.stop()
    assert calls == [("returned", 1.0), ("shutdown", 1.0)]
    assert report.shutdown_while_busy == ()
    assert report.statistics.nodes["a"].abandoned == 1


# Policies of one's own


class Own(FailurePolicy):
    def __init__(self, decide: Callable[[int], Decision]) -> None:
        self.decide = decide

    def failed(self, state: FailureState, now: float, roll: float) -> tuple[FailureState, Decision]:
        total = state.total + 1
        return FailureState(total=total, streak=total), self.decide(total)


async def test_a_policy_of_ones_own_decides_each_failure(autojump_clock: MockClock) -> None:
    calls: list[tuple[str, float]] = []

    def writes(what: str) -> Callable[[Node], Any]:
        async def hook(node: Node) -> None:
            calls.append((what, node.now))
            if what == "tick":
                raise Broken

        return hook

    decisions: list[Decision] = [Continue(), Suspend(0.3125), Rebuild(0.3125), EndRun()]
    hooks: dict[str, Any] = {what: writes(what) for what in ("init", "tick", "shutdown")}
    node = Node("a", **hooks)
    scheduler = Scheduler(8.0, signals=False)
    scheduler.add(node, phase=0.0, failure_policy=Own(lambda n: decisions[n - 1]))
    with pytest.raises(RunFailed) as caught:
        await scheduler.run(10.0)
    assert calls == [
        ("init", 0.0),
        ("tick", 0.0),
        ("tick", 0.125),
        ("tick", 0.5),
        ("shutdown", 0.5),
        ("init", 0.8125),
        ("tick", 0.875),
        ("shutdown", 0.875),
    ]
    assert caught.value.exceptions[0].__notes__ == ["in node 'a', tick 8, failure 4"]


def raising(total: int) -> Decision:
    raise ZeroDivisionError("in the policy")


BROKEN: list[tuple[str, Callable[[int], Any], str]] = [
    ("raises", raising, "ZeroDivisionError"),
    ("nothing", lambda n: None, "expected a decision"),
    ("in the past", lambda n: Rebuild(-1.0), "0 or more"),
    ("never", lambda n: Suspend(math.nan), "0 or more"),
]


@pytest.mark.parametrize(("decide", "text"), [b[1:] for b in BROKEN], ids=[b[0] for b in BROKEN])
@pytest.mark.parametrize("where", ["tick", "init"])
async def test_a_policy_that_is_broken_gives_its_node_up(
    where: str, decide: Callable[[int], Decision], text: str, autojump_clock: MockClock
) -> None:
    """It must not take the robot with it: the node fails for good, and the policy is named."""
    shut_down: list[str] = []
    error = Broken("first")

    async def raises(node: Node) -> None:
        raise error

    async def shutdown(node: Node) -> None:
        shut_down.append(node.name)

    hooks: dict[str, Any] = {"tick": well, where: raises}
    scheduler = Scheduler(8.0, signals=False)
    node = Node("a", shutdown=shutdown, **hooks)
    scheduler.add(node, phase=0.0, failure_policy=Own(decide))
    scheduler.add(Node("sibling", tick=well, shutdown=shutdown), **SIBLING)  # type: ignore[arg-type]
    report = await scheduler.run(2.0)
    (failure,) = report.failed
    assert failure.error.startswith("Broken: first; in node 'a', ")
    assert "failure_policy" in failure.error
    assert text in failure.error
    assert report.statistics.nodes["sibling"].ok == 16
    assert shut_down == (["a", "sibling"] if where == "tick" else ["sibling"])
