"""G7 errors: what was fatal is raised as it was, one level deep, and says where it came from."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
import trio
from trio.testing import MockClock

import horus_trio as horus
from horus_trio import Fatal, Ignore, Node, NodeState, Restart, RunFailed, Scheduler

# Every test asks for the clock itself: under `usefixtures` pytest-trio does not see it.
pytestmark = pytest.mark.usefixtures("quiet")

ONCE = Restart(max_restarts=0)
PROMPT = Restart(max_restarts=2, within=60.0, backoff=0.125, jitter=0.0)


@pytest.fixture
def quiet() -> Iterator[None]:
    logger = logging.getLogger("horus_trio")
    logger.setLevel(logging.CRITICAL + 1)
    yield
    logger.setLevel(logging.NOTSET)


async def well(node: Node) -> None:
    pass


def raises(error: BaseException) -> Callable[[Node], Awaitable[None]]:
    async def tick(node: Node) -> None:
        raise error

    return tick


def raises_at(seq: int, error: BaseException) -> Callable[[Node], Awaitable[None]]:
    async def tick(node: Node) -> None:
        assert node.current_tick is not None
        if node.current_tick.seq == seq:
            raise error

    return tick


async def failure_of(scheduler: Scheduler, duration: float | None = 100.0) -> RunFailed:
    with pytest.raises(RunFailed) as caught:
        await scheduler.run(duration)
    return caught.value


# What is raised


async def test_the_original_exception_comes_out_with_a_note_that_says_where(
    autojump_clock: MockClock,
) -> None:
    original = ValueError("no frame")
    scheduler = Scheduler(10.0)
    scheduler.add(Node("camera", tick=raises_at(12, original)), failure_policy=Fatal())
    failed = await failure_of(scheduler)
    assert isinstance(failed, ExceptionGroup)
    assert isinstance(failed, horus.HorusError)
    assert failed.exceptions == (original,)
    assert original.__notes__ == ["in node 'camera', tick 12, failure 1"]
    assert original.__traceback__ is not None
    report: horus.RunReport = failed.report
    assert report is scheduler.report
    assert report.reason == "node 'camera' failed"
    assert not report.ok


async def test_exhausted_restarts_of_a_critical_node_say_how_many(
    autojump_clock: MockClock,
) -> None:
    raised: list[Exception] = []

    async def tick(node: Node) -> None:
        raised.append(ValueError(f"failure {len(raised)}"))
        raise raised[-1]

    policy = Restart(max_restarts=5, within=60.0, backoff=0.125, jitter=0.0)
    scheduler = Scheduler(8.0)
    scheduler.add(Node("camera", tick=tick), failure_policy=policy, critical=True, phase=0.0)
    failed = await failure_of(scheduler)
    assert len(raised) == 6
    assert failed.exceptions == (raised[-1],)
    # The last tick: restarts after 0.125, 0.25, 0.5, 1, 2 s, on a grid of 1/8 s.
    (note,) = raised[-1].__notes__
    assert note.startswith("in node 'camera', tick ")
    assert note.endswith(", failure 6 of 5 in 60 s")
    assert failed.report.statistics.nodes["camera"].restarts == 5
    assert failed.report.statistics.nodes["camera"].state is NodeState.FAILED


async def test_several_fatal_failures_come_out_side_by_side(autojump_clock: MockClock) -> None:
    """Both nodes fail in one instant; the group is one level deep, however they were raised."""
    one, two, three = ValueError("one"), KeyError("two"), OSError("three")
    scheduler = Scheduler(4.0)
    scheduler.add(Node("a", tick=raises(one)), failure_policy=Fatal(), phase=0.0)
    nested = ExceptionGroup("nested", [two, ExceptionGroup("deeper", [three])])
    scheduler.add(Node("b", tick=raises(nested)), failure_policy=Fatal(), phase=0.0)
    failed = await failure_of(scheduler)
    leaves = set(failed.exceptions)
    assert leaves <= {one, two, three}
    assert leaves  # which of the nodes came first is Trio's choice
    for error in failed.exceptions:
        assert not isinstance(error, BaseExceptionGroup)
        assert len(error.__notes__) == 1
        assert error.__notes__[0] in (
            "in node 'a', tick 1, failure 1",
            "in node 'b', tick 1, failure 1",
        )


async def test_a_nursery_in_a_tick_fails_with_what_its_tasks_raised(
    autojump_clock: MockClock,
) -> None:
    one, two = ValueError("one"), KeyError("two")

    async def tick(node: Node) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(raises(one), node)
            nursery.start_soon(raises(two), node)

    scheduler = Scheduler(4.0)
    scheduler.add(Node("a", tick=tick), failure_policy=Fatal())
    failed = await failure_of(scheduler)
    assert set(failed.exceptions) == {one, two}
    assert one.__notes__ == two.__notes__ == ["in node 'a', tick 1, failure 1"]


async def test_except_star_finds_the_original_type(autojump_clock: MockClock) -> None:
    scheduler = Scheduler(4.0)
    scheduler.add(Node("a", tick=raises(ZeroDivisionError())), failure_policy=Fatal())
    found: list[BaseException] = []
    try:
        await scheduler.run(1)
    except* ZeroDivisionError as group:
        found.append(group)
    (part,) = found
    assert isinstance(part, RunFailed)
    assert part.report is scheduler.report  # a part of it still has the report


async def test_a_timeout_is_a_failure_too(autojump_clock: MockClock) -> None:
    async def tick(node: Node) -> None:
        await trio.sleep_forever()

    scheduler = Scheduler(4.0)
    scheduler.add(Node("a", tick=tick), failure_policy=Fatal(), tick_timeout=0.5)
    failed = await failure_of(scheduler)
    (error,) = failed.exceptions
    assert isinstance(error, horus.TickTimedOut)
    assert isinstance(error, TimeoutError)
    assert str(error).startswith("tick 1 of node 'a' took longer than its tick_timeout of 0.5 s")
    assert error.__notes__ == ["in node 'a', tick 1, failure 1"]


async def test_a_background_task_fails_its_node(autojump_clock: MockClock) -> None:
    original = ValueError("keep-alive lost")

    async def keep_alive() -> None:
        await trio.sleep(0.5)
        raise original

    async def init(node: Node) -> None:
        node.start_soon(keep_alive)

    scheduler = Scheduler(4.0)
    scheduler.add(Node("a", tick=well, init=init), failure_policy=Fatal())
    failed = await failure_of(scheduler)
    assert failed.exceptions == (original,)
    assert original.__notes__ == ["in node 'a', a background task, failure 1"]


# What ends the run, and what does not


async def test_a_node_that_is_not_critical_fails_alone(autojump_clock: MockClock) -> None:
    scheduler = Scheduler(8.0)
    scheduler.add(Node("weak", tick=raises(ValueError("broken"))), failure_policy=ONCE)
    scheduler.add(Node("strong", tick=well), phase=0.0)
    report = await scheduler.run(2.0)
    assert report.statistics.nodes["strong"].ok == 16
    assert report.statistics.nodes["weak"].state is NodeState.FAILED
    assert report.statistics.nodes["weak"].health is horus.Health.CRITICAL
    assert not report.ok
    (failure,) = report.failed
    assert failure.node == "weak"
    assert not failure.fatal
    assert failure.error == ("ValueError: broken; in node 'weak', tick 1, failure 1 of 0 in 60 s")
    assert "raise error" in failure.traceback
    assert "FAILED weak (the others ran on): ValueError: broken" in str(report)
    json.dumps(report.to_dict())


async def test_its_critical_sibling_would_have_ended_the_run(autojump_clock: MockClock) -> None:
    scheduler = Scheduler(8.0)
    scheduler.add(Node("weak", tick=raises(ValueError("weak"))), failure_policy=ONCE)
    final = OSError("vital")
    vital = Node("vital", tick=raises_at(5, final))
    scheduler.add(vital, failure_policy=ONCE, critical=True, phase=0.0)
    scheduler.add(Node("strong", tick=well))
    failed = await failure_of(scheduler)
    assert failed.exceptions == (final,)  # the other failure did not end it, and is in the report
    assert failed.report.duration == 0.5
    assert {f.node: f.fatal for f in failed.report.failed} == {"weak": False, "vital": True}


async def test_the_run_ends_when_every_node_has_failed(autojump_clock: MockClock) -> None:
    one, two = ValueError("one"), ValueError("two")
    scheduler = Scheduler(8.0)
    scheduler.add(Node("a", tick=raises(one)), failure_policy=ONCE, phase=0.0)
    scheduler.add(Node("b", tick=raises_at(9, two)), failure_policy=ONCE, phase=0.0)
    failed = await failure_of(scheduler)
    assert failed.exceptions == (one, two)
    assert failed.report.reason == "every node has failed"
    assert failed.report.duration == 1.0


async def test_ignored_failures_are_counted_and_nothing_else(autojump_clock: MockClock) -> None:
    scheduler = Scheduler(8.0)
    scheduler.add(Node("a", tick=raises(ValueError("again"))), failure_policy=Ignore())
    report = await scheduler.run(2.0)
    node = report.statistics.nodes["a"]
    assert (node.errors, node.restarts, node.state) == (16, 0, NodeState.STOPPED)
    assert report.ok
    assert node.last_error is not None
    assert node.last_error.endswith("ValueError: again\n")


async def test_a_failure_after_the_stop_was_asked_for_ends_nothing_more(
    autojump_clock: MockClock,
) -> None:
    async def tick(node: Node) -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("on the way out")

    scheduler = Scheduler(4.0)
    scheduler.add(Node("a", tick=tick), failure_policy=Fatal())
    report = await scheduler.run(1.0)
    assert report.statistics.nodes["a"].errors == 1
    assert report.failed == ()


# init


async def test_a_failed_init_is_a_failure_of_its_node(autojump_clock: MockClock) -> None:
    original = OSError("no such device")
    scheduler = Scheduler(4.0)
    scheduler.add(Node("camera", tick=well, init=raises(original)), failure_policy=Fatal())
    failed = await failure_of(scheduler)
    assert failed.exceptions == (original,)
    assert original.__notes__ == ["in node 'camera', init, failure 1"]
    assert failed.report.statistics.nodes["camera"].ticks_released == 0


async def test_a_failed_init_is_tried_again_as_the_policy_says(autojump_clock: MockClock) -> None:
    errors = [OSError(f"attempt {n}") for n in range(3)]
    attempts = iter(errors)
    instants: list[float] = []

    async def init(node: Node) -> None:
        instants.append(node.now)
        raise next(attempts)

    scheduler = Scheduler(4.0)
    scheduler.add(Node("camera", tick=well, init=init), failure_policy=PROMPT, critical=True)
    start = trio.current_time()
    failed = await failure_of(scheduler)
    assert failed.exceptions == (errors[-1],)
    assert errors[-1].__notes__ == ["in node 'camera', init, failure 3 of 2 in 60 s"]
    assert [t - start for t in instants] == [0.0, 0.125, 0.375]


async def test_an_init_that_takes_too_long_has_failed(autojump_clock: MockClock) -> None:
    async def init(node: Node) -> None:
        await trio.sleep_forever()

    scheduler = Scheduler(4.0)
    node = Node("camera", tick=well, init=init)
    scheduler.add(node, failure_policy=Fatal(), init_timeout=2.0)
    failed = await failure_of(scheduler)
    (error,) = failed.exceptions
    assert isinstance(error, horus.HookTimedOut)
    assert str(error) == "init of node 'camera' took longer than 2 s"


# SystemExit and KeyboardInterrupt


@pytest.mark.parametrize("hook", ["tick", "init"])
async def test_system_exit_is_a_failure(hook: str, autojump_clock: MockClock) -> None:
    original = SystemExit(3)
    hooks: dict[str, Any] = {"tick": well, hook: raises(original)}
    scheduler = Scheduler(4.0)
    scheduler.add(Node("a", **hooks), failure_policy=Fatal())
    failed = await failure_of(scheduler)
    (error,) = failed.exceptions
    assert isinstance(error, horus.NodeExited)
    assert error.__cause__ is original
    where = "init" if hook == "init" else "tick 1"
    assert error.__notes__ == [f"in node 'a', {where}, failure 1"]


async def test_system_exit_is_survived_like_any_failure(autojump_clock: MockClock) -> None:
    scheduler = Scheduler(4.0)
    scheduler.add(Node("a", tick=raises_at(2, SystemExit())), failure_policy=PROMPT, phase=0.0)
    report = await scheduler.run(2.0)
    node = report.statistics.nodes["a"]
    assert (node.errors, node.restarts) == (1, 1)
    assert report.ok


async def test_system_exit_of_a_task_in_a_nursery_of_a_tick(autojump_clock: MockClock) -> None:
    async def tick(node: Node) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(raises(SystemExit(3)), node)

    scheduler = Scheduler(4.0)
    scheduler.add(Node("a", tick=tick), failure_policy=Fatal())
    failed = await failure_of(scheduler)
    (error,) = failed.exceptions
    assert isinstance(error, horus.NodeExited)
    assert isinstance(error.__cause__, SystemExit)


@pytest.mark.parametrize("hook", ["tick", "init", "on_error", "shutdown", "background"])
async def test_keyboard_interrupt_in_a_node_is_a_stop_request(
    hook: str, autojump_clock: MockClock
) -> None:
    async def interrupt(*args: Any) -> None:
        raise KeyboardInterrupt

    async def background(node: Node) -> None:
        node.start_soon(interrupt)

    shut_down: list[str] = []

    async def shutdown(node: Node) -> None:
        shut_down.append(node.name)

    hooks: dict[str, Any] = {"tick": well, "shutdown": shutdown, hook: interrupt}
    if hook == "background":
        del hooks["background"]
        hooks["init"] = background
    if hook == "on_error":
        hooks["tick"] = raises_at(2, ValueError())
    scheduler = Scheduler(4.0)
    scheduler.add(Node("a", **hooks), failure_policy=Fatal() if hook == "tick" else Ignore())
    scheduler.add(Node("b", tick=well, shutdown=shutdown))
    report = await scheduler.run(8.0)
    assert report.failed == ()
    assert report.statistics.nodes["a"].restarts == 0
    assert "b" in shut_down
    if hook != "shutdown":
        assert report.reason == "KeyboardInterrupt in node 'a'"
        assert report.duration < 2.0 or math.isnan(report.duration)
        assert ("a" in shut_down) == (hook != "init")


async def test_a_keyboard_interrupt_is_the_end_of_ticks_that_are_owed(
    autojump_clock: MockClock,
) -> None:
    ticks: list[float] = []

    async def tick(node: Node) -> None:
        ticks.append(node.now)
        await trio.sleep(1.0)
        raise KeyboardInterrupt

    scheduler = Scheduler(4.0, signals=False)
    scheduler.add(Node("a", tick=tick), phase=0.0, on_miss=horus.Miss.CATCH_UP)
    report = await scheduler.run(8.0)
    assert ticks == [0.0]
    assert report.reason == "KeyboardInterrupt in node 'a'"
    assert report.statistics.nodes["a"].cancelled == 0


# Hooks that raise change nothing, and are said


@pytest.mark.parametrize("hook", ["shutdown", "on_error", "enter_safe_state"])
async def test_a_hook_that_raises_is_in_the_report(hook: str, autojump_clock: MockClock) -> None:
    async def broken(*args: Any) -> None:
        raise RuntimeError("the hook itself")

    hooks: dict[str, Any] = {hook: broken}
    scheduler = Scheduler(4.0)
    scheduler.add(Node("a", tick=raises(ValueError("first")), **hooks), failure_policy=ONCE)
    scheduler.add(Node("b", tick=well))
    report = await scheduler.run(1.0)
    (failure,) = report.failed
    assert failure.error.startswith("ValueError: first")  # on_error cannot swallow it
    (text,) = report.hook_errors
    assert text.startswith(f"{hook} of node 'a': Traceback")
    assert text.endswith("RuntimeError: the hook itself")
    assert report.statistics.nodes["a"].observer_errors == 1


async def test_on_error_is_told_the_original(autojump_clock: MockClock) -> None:
    original = ValueError("first")
    told: list[BaseException] = []

    async def on_error(node: Node, error: BaseException) -> None:
        told.append(error)

    scheduler = Scheduler(4.0)
    scheduler.add(
        Node("a", tick=raises_at(1, original), on_error=on_error), failure_policy=Ignore()
    )
    await scheduler.run(1.0)
    assert told == [original]


async def test_a_failed_node_is_put_into_its_safe_state_and_then_shut_down(
    autojump_clock: MockClock,
) -> None:
    calls: list[str] = []

    async def enter_safe_state(node: Node) -> None:
        calls.append("safe")

    async def shutdown(node: Node) -> None:
        calls.append("shutdown")

    node = Node(
        "a", tick=raises(ValueError()), shutdown=shutdown, enter_safe_state=enter_safe_state
    )
    scheduler = Scheduler(4.0)
    scheduler.add(node, failure_policy=ONCE)
    scheduler.add(Node("b", tick=well))
    await scheduler.run(1.0)
    assert calls == ["safe", "shutdown"]


async def test_a_failed_robot_can_run_again(autojump_clock: MockClock) -> None:
    scheduler = Scheduler(4.0)
    scheduler.add(Node("a", tick=raises_at(3, ValueError())), failure_policy=Fatal())
    first = await failure_of(scheduler)
    second = await failure_of(scheduler)
    assert first.report is not second.report
    assert [f.node for f in second.report.failed] == ["a"]
