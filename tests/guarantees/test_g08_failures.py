"""G8 supervision: what counts as a failure, who is told, who decides, and how it ends."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from horus_trio import (
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
from horus_trio.testing import blocking_delay, open_harness


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
SIBLING: dict[str, Any] = {"rate": 8.0, "phase": 1 / 64}


async def well(node: Node) -> None:
    pass


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
    scheduler.add(Node("sibling", tick=well), **SIBLING)
    with contextlib.suppress(RunFailed):
        await scheduler.run(2.0)
    assert scheduler.report is not None
    assert [t for what, t in calls if what == "init"] == inits
    assert ("shutdown", 0.3125) in calls
    assert other_ended[0] == 0.3125
    assert scheduler.report.statistics.nodes["a"].state is state
    assert scheduler.report.statistics.nodes["a"].failures == 1


async def test_after_a_task_has_failed_the_node_lives_as_before() -> None:
    """Its new tasks may publish, and a tick of it that takes too long is a failure like any."""
    ticks: list[float] = []

    async def work(node: Node, first: bool) -> None:
        await trio.sleep(0.25)
        if first:
            raise Broken
        node.send("out", "from the second life")

    async def init(node: Node) -> None:
        node.start_soon(work, node, not ticks)

    async def tick(node: Node) -> None:
        ticks.append(node.now)
        if len(ticks) == 4:
            await trio.sleep_forever()

    node = Node("a", tick=tick, init=init, tick_timeout=0.0625, failure_policy=Ignore())
    async with open_harness(node, rate=8.0) as h:
        await h.advance(1.0)
        statistics = h.node_statistics()
        assert (statistics.timed_out, statistics.restarts, statistics.failures) == (1, 1, 2)
        assert h.state() is NodeState.RUNNING
        assert ticks[-1] > 0.8
        assert h.sent("out") == ["from the second life"]


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
    scheduler.add(Node("sibling", tick=well), **SIBLING)
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
    scheduler.add(Node("sibling", tick=well), **SIBLING)
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


async def test_a_rest_is_as_long_as_was_decided_though_an_earlier_one_was_cut_short() -> None:
    ticks: list[float] = []

    async def work() -> None:
        await trio.sleep(0.5)
        raise Broken

    async def tick(node: Node) -> None:
        ticks.append(node.now)
        if len(ticks) == 1:
            node.start_soon(work)
        if len(ticks) < 3:
            raise Broken

    decisions: list[Decision] = [Suspend(2.0), Rebuild(0.0), Suspend(2.0)]
    node = Node("a", tick=tick, failure_policy=Own(lambda n: decisions[n - 1]))
    async with open_harness(node, rate=8.0) as h:
        await h.advance(0.25)
        assert h.state() is NodeState.SUSPENDED
        await h.advance(0.5)
        assert h.node_statistics().restarts == 1
        await h.advance(3)
    assert ticks[:2] == [0.0, 0.625]
    assert ticks[2] == 2.75  # the first on the grid after two seconds


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
    scheduler.add(Node("sibling", tick=well, shutdown=shutdown), **SIBLING)
    report = await scheduler.run(2.0)
    (failure,) = report.failed
    assert failure.error.startswith("Broken: first; in node 'a', ")
    assert "failure_policy" in failure.error
    assert text in failure.error
    assert report.statistics.nodes["sibling"].ok == 16
    assert shut_down == (["a", "sibling"] if where == "tick" else ["sibling"])


async def test_a_policy_that_fails_at_a_success_is_counted_and_the_node_ticks_on() -> None:
    class Rude(FailurePolicy):
        def failed(
            self, state: FailureState, now: float, roll: float
        ) -> tuple[FailureState, Decision]:
            return dataclasses.replace(state, streak=1), Continue()

        def succeeded(self, state: FailureState, now: float) -> FailureState:
            raise RuntimeError("no successes, please")

    async def tick(node: Node) -> None:
        assert node.current_tick is not None
        if node.current_tick.seq == 1:
            raise ValueError

    async with open_harness(Node("a", tick=tick, failure_policy=Rude())) as h:
        await h.tick(3)
        statistics = h.node_statistics("a")
        assert (statistics.ok, statistics.errors, statistics.observer_errors) == (2, 1, 2)
