"""Runs a robot of one scripted node and one sibling, and writes down what was observed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import trio
from guarantees.supervision_model import (
    BRIEF,
    INIT_TIMEOUT,
    NOTIFICATION,
    PERIOD,
    PHASE,
    SHUTDOWN_TIMEOUT,
    SIBLING_PHASE,
    TICK,
    TICK_TIMEOUT,
    Act,
    Course,
    Kind,
    Script,
)

import horus_trio as horus
from horus_trio import FailurePolicy, Node, RunFailed, Scheduler
from horus_trio.testing import FakeDevice, VirtualClock, blocking_delay, open_harness

__all__ = ["play"]

COUNTERS = (
    "ticks_released",
    "ok",
    "errors",
    "timed_out",
    "abandoned",
    "cancelled",
    "missed",
    "in_flight",
    "restarts",
    "failures",
    "observer_errors",
)


class Scripted(Exception):
    pass


def play(
    policy: FailurePolicy,
    script: Script,
    *,
    kind: Kind,
    critical: bool = False,
    seed: int = 0,
    within: float = 60.0,
) -> Course:
    """Run it on virtual time.

    Arguments:
        policy: The node's.
        script: What befalls it.
        kind: Of its hooks.
        critical: Whether its final failure is fatal.
        seed: Of the jitter and the run order.
        within: Seconds within which the script stops the robot.
    """
    bench = _Bench(script)
    make = bench.async_node if kind == "async" else bench.def_node
    scheduler = Scheduler(1 / PERIOD, signals=False)
    scheduler.add(
        make(),
        phase=PHASE,
        critical=critical,
        failure_policy=policy,
        tick_timeout=TICK_TIMEOUT,
        init_timeout=INIT_TIMEOUT,
        shutdown_timeout=SHUTDOWN_TIMEOUT,
        thread="own" if kind == "own" else "pool",
    )
    scheduler.add(bench.sibling(), phase=SIBLING_PHASE)
    course = bench.course
    trio.run(bench.run, scheduler, seed, within, clock=VirtualClock())
    report = scheduler.report
    assert report is not None
    assert script.cancels or report.reason != "its harness was left"
    node, sibling = report.statistics.nodes["node"], report.statistics.nodes["sibling"]
    course.state = node.state.name
    course.counts = {name: n for name in COUNTERS if (n := getattr(node, name))}
    course.duration = report.duration
    for failure in report.failed:
        assert failure.node == "node"
        course.failed = "fatal" if failure.fatal else "alone"
    course.busy = report.shutdown_while_busy == ("node",)
    course.stragglers = [straggler.call for straggler in report.stragglers]
    course.hook_errors = list(dict.fromkeys(text.split()[0] for text in report.hook_errors))
    course.emergencies = [emergency.reason for emergency in report.emergencies]
    course.sibling = sibling.ok, course.sibling[1]
    assert sibling.ok == sibling.ticks_released
    return course


class _Bench:
    def __init__(self, script: Script) -> None:
        self.script = script
        self.course = Course()
        self.device = FakeDevice()
        self.acts: dict[str, Iterator[Act]] = {
            "init": _with_rest(script.inits, BRIEF),
            "tick": _with_rest(script.ticks, TICK),
            "shutdown": _with_rest(script.shutdowns, BRIEF),
            "on_error": _with_rest((), NOTIFICATION),
            "enter_safe_state": _with_rest((), NOTIFICATION),
        }
        self.inits = 0

    async def run(self, scheduler: Scheduler, seed: int, within: float) -> None:
        async with trio.open_nursery() as nursery:
            with trio.CancelScope() as scope, contextlib.suppress(RunFailed):
                nursery.start_soon(self.end_it, scheduler, scope)
                nursery.start_soon(self.see_it_leave, scheduler)
                async with open_harness(scheduler, seed=seed) as h:
                    if h.report is None:
                        await h.advance(within)
            if scope.cancelled_caught:
                self.course.ended = "cancelled"
            nursery.cancel_scope.cancel()
        assert scheduler.report is not None
        if any(failure.fatal for failure in scheduler.report.failed):
            self.course.ended = "failed"

    async def end_it(self, scheduler: Scheduler, scope: trio.CancelScope) -> None:
        await trio.sleep_until(self.script.stop)
        if self.script.cancels:
            scope.cancel()
        else:
            scheduler.stop()

    async def see_it_leave(self, scheduler: Scheduler) -> None:
        while scheduler._members["node"].runner is None:
            await trio.lowlevel.checkpoint()
        await scheduler.stopped("node")
        self.course.left = trio.current_time()

    def begin(self, node: Node, hook: str) -> Act:
        tick = node.current_tick
        number = f" {tick.seq}" if hook == "tick" and tick is not None else ""
        self.course.calls.append((hook + number, node.now))
        if hook == "init" and not self.inits and self.script.task_fails is not None:
            node.start_soon(self.background, self.script.task_fails)
        self.inits += hook == "init"
        return next(self.acts[hook])

    async def background(self, until: float) -> None:
        await trio.sleep_until(until)
        raise Scripted("a background task")

    def async_node(self) -> Node:
        def scripted(hook: str) -> Callable[..., Any]:
            async def call(node: Node, *args: object) -> None:
                act = self.begin(node, hook)
                await trio.sleep(act.seconds)
                if act.raises:
                    raise Scripted(hook)

            return call

        return _node(scripted)

    def def_node(self) -> Node:
        def scripted(hook: str) -> Callable[..., Any]:
            def call(node: Node, *args: object) -> None:
                act = self.begin(node, hook)
                if act.seconds == float("inf"):
                    self.device.read()
                blocking_delay(act.seconds)
                if act.raises:
                    raise Scripted(hook)

            return call

        return _node(scripted)

    def sibling(self) -> Node:
        async def tick(node: Node) -> None:
            pass

        async def shutdown(node: Node) -> None:
            self.course.sibling = 0, node.now

        return horus.Node("sibling", tick=tick, shutdown=shutdown)


def _node(scripted: Callable[[str], Callable[..., Any]]) -> Node:
    return Node(
        "node",
        tick=scripted("tick"),
        init=scripted("init"),
        shutdown=scripted("shutdown"),
        on_error=scripted("on_error"),
        enter_safe_state=scripted("enter_safe_state"),
    )


def _with_rest(acts: tuple[Act, ...], seconds: float) -> Iterator[Act]:
    yield from acts
    while True:
        yield Act(seconds)
