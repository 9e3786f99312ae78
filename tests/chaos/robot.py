"""Plays one generated robot in this process, from its first node to its last thread, and judges it.

It has to be the main thread, for signals. On virtual time the clock runs free: it moves whenever no
task can run and no thread works, so a minute of the robot takes as long as its ticks.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import signal
import threading
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any

import trio

import horus_trio as horus
from horus_trio.executor import AsyncIOExecutor
from horus_trio.testing.blocking import ThreadWatch, current_watch
from horus_trio.testing.clock import VirtualClock
from horus_trio.testing.internals import seeded_run_order
from horus_trio.testing.leftovers import (
    Leftover,
    all_tasks,
    busy_threads,
    child_processes,
    open_descriptors,
)
from horus_trio.topics.waiting import current_rest

from .actor import ChaosError, World
from .diary import Diary
from .intruders import Hand, Publisher, Reader, Watch, add_node
from .laws import judge
from .plan import Plan
from .record import Record, Segment
from .snapshots import Violation

__all__ = ["Outcome", "act_out", "play"]

STANDSTILL = 20.0
"""Real seconds in which nothing may happen on virtual time."""

RETURN_WITHIN = 10.0
"""Real seconds that threads have to return, once nothing holds them."""

SETTLE = 1.0
"""Real seconds that threads have to become Trio's idle ones, when their function has returned."""

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one robot.

    Attributes:
        seed: Of its plan.
        violations: What was wrong.
        seconds: How long it ran, on its clock.
        features: What happened in it, for the distribution.
        took: Real seconds.
    """

    seed: int
    violations: tuple[str, ...]
    seconds: float
    features: dict[str, float]
    took: float

    def to_json(self) -> str:
        """As JSON, on one line."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Outcome:
        """What `to_json` wrote."""
        data: dict[str, Any] = json.loads(text)
        return cls(**{**data, "violations": tuple(data["violations"])})


def play(plan: Plan) -> Outcome:
    """Play a robot and say what came of it."""
    began = time.perf_counter()
    record, found = act_out(plan)
    if record is not None:
        found += judge(record)
    return Outcome(
        seed=plan.seed,
        violations=tuple(dict.fromkeys(map(str, found))),
        seconds=record.report.duration if record is not None else 0.0,
        features=_features(plan, record),
        took=time.perf_counter() - began,
    )


def act_out(plan: Plan) -> tuple[Record | None, list[Violation]]:
    """Play a robot; what was taken down, if it came to its end, and what was wrong meanwhile."""
    found: list[Violation] = []
    world = World(plan, Diary())
    robot = _Robot(plan, world, found)
    threads, things = busy_threads(), open_descriptors() | child_processes()
    with _own_handlers():
        handlers = [signal.getsignal(number) for number in SIGNALS]
        try:
            trio.run(robot.live, clock=VirtualClock() if plan.virtual else None)
        except BaseException as error:  # noqa: BLE001 - whatever comes out of it is a finding
            text = "".join(traceback.format_exception(error))
            found.append(Violation("end", f"the run of Trio itself ended with {text}"))
        restored = [signal.getsignal(number) for number in SIGNALS] == handlers
        world.hanging = False
        busy = _still_busy(threads, robot)
        _release(world, threads)
        left = sorted(str(thread) for thread in busy_threads() - threads)
        left += sorted(map(str, (open_descriptors() | child_processes()) - things))
    record = robot.record
    if record is not None:
        record.left += [f"{text} was left behind" for text in left]
        record.busy = busy
        record.borrowed = robot.limiter.borrowed_tokens
        record.restored = restored
        record.order = {name: robot.witnesses[name].drain() for name in plan.topics}
    return record, found


class _Robot:
    """One robot while it is played."""

    def __init__(self, plan: Plan, world: World, found: list[Violation]) -> None:
        self.plan = plan
        self.world = world
        self.found = found
        self.limiter = trio.CapacityLimiter(plan.tokens)
        self.witnesses: dict[str, horus.Subscription[str]] = {}
        self.record: Record | None = None
        self._watch: ThreadWatch | None = None
        self._scheduler: horus.Scheduler | None = None

    async def live(self) -> None:
        """In a Trio run of its own."""
        plan, world = self.plan, self.world
        clock = trio.lowlevel.current_clock()
        world.now = clock.current_time
        scheduler = self._scheduler = horus.Scheduler(
            name="chaos",
            limiter=self.limiter,
            stop_timeout=plan.stop_timeout,
            max_abandoned=plan.max_abandoned,
            deterministic=plan.deterministic,
        )
        watch = Watch(scheduler, world, self.found)
        results_seen = 0

        def on_result(result: horus.AsyncResult) -> None:
            nonlocal results_seen
            world.diary.result(result)
            results_seen += 1
            if results_seen % 47 == 0:
                watch.look()

        def frail(result: horus.AsyncResult) -> None:
            if result.seq % 3:
                raise ChaosError("an observer fails")

        scheduler.on_result(on_result)
        if plan.seed % 4 == 0:
            scheduler.on_result(frail)
        for name in plan.topics:
            self.witnesses[name] = scheduler.topic(name).subscribe(10**9)
        with contextlib.ExitStack() as stack:
            stack.enter_context(seeded_run_order(plan.seed))
            if isinstance(clock, VirtualClock):
                self._go_virtual(clock, scheduler, stack)
            publisher = stack.enter_context(Publisher(scheduler, world))
            reader = stack.enter_context(Reader(Watch(scheduler, world, self.found)))
            hand = Hand(scheduler, world, publisher, watch)
            for node in plan.nodes:
                add_node(scheduler, world, node, hand)
            await self._run(scheduler, hand, watch)
        if reader.problem is not None:
            self.found.append(Violation("statistics", f"reading them raised {reader.problem!r}"))

    async def _run(self, scheduler: horus.Scheduler, hand: Hand, watch: Watch) -> None:
        plan, world = self.plan, self.world
        error: BaseException | None = None
        status = _Started(scheduler, hand, world)
        channel: list[tuple[str, int]] = []
        async with scheduler.open_results(256) as results:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(hand.act_out)
                nursery.start_soon(watch.inspect_tokens)
                nursery.start_soon(_listen, results, channel)
                before = all_tasks()
                with hand.run_scope:
                    try:
                        await scheduler.run(plan.duration, task_status=status)
                    except horus.HorusError as failure:
                        error = failure
                world.diary.write("", "over", "is")
                returned = trio.current_time()
                tasks = [f"task {task.name}" for task in all_tasks() - before]
                watch.look()
                nursery.cancel_scope.cancel()
            channel += [(result.node, result.seq) for result in results.drain()]
        report = scheduler.report
        if report is None:
            self.found.append(Violation("end", f"there is no report; run() raised {error!r}"))
            return
        self.record = Record(
            plan=plan,
            diary=world.diary,
            report=report,
            error=error,
            final={life: snapshot() for life, snapshot in hand.final.items()},
            channel=channel,
            channel_dropped=results.statistics().dropped,
            left=[f"{task} is still there" for task in tasks],
            started=status.at,
            returned=returned,
            signals=hand.signals,
            rates=hand.rates,
        )

    def _go_virtual(
        self, clock: VirtualClock, scheduler: horus.Scheduler, stack: contextlib.ExitStack
    ) -> None:
        watch = self._watch = ThreadWatch(STANDSTILL)
        stack.enter_context(clock.watched(self, STANDSTILL, watch.time_left))
        stack.enter_context(clock.running_free(watch.time_left))
        stack.callback(current_watch.reset, current_watch.set(watch))
        stack.callback(current_rest.reset, current_rest.set(watch.rest))

        @contextlib.contextmanager
        def serve(executor: AsyncIOExecutor) -> Iterator[None]:
            watch.serve(executor)
            try:
                yield
            finally:
                watch.close()

        scheduler._profile = serve

    # What the clock notices

    def stood_still(self) -> None:
        """Nothing happens, and time has nowhere to go."""
        who = "" if self._watch is None else self._watch.give_up()
        where = "" if self._scheduler is None else self._scheduler.dump(io.StringIO())
        self.found.append(Violation("hangs", f"nothing happens at all; {who}\n{where}"))
        raise SystemExit("it hangs")

    def spins(self, task: trio.lowlevel.Task) -> None:
        """A task lets no time pass."""
        self.found.append(Violation("hangs", f"task {task.name} spins at {self.world.now():g} s"))
        raise SystemExit("it spins")


class _Started(trio.TaskStatus[None]):
    """Notes when the robot begins to tick, and the rates with which it does."""

    def __init__(self, scheduler: horus.Scheduler, hand: Hand, world: World) -> None:
        self.at: float | None = None
        self._scheduler = scheduler
        self._hand = hand
        self._world = world

    def started(self, value: None = None) -> None:
        """Every node is initialised, or its policy's business."""
        self.at = self._world.now()
        plans = self._world.plan.all_nodes()
        for name, member in self._scheduler._members.items():
            if member.rate is not None and not plans[name].on and not member.removing:
                rate = None if member.paused else member.rate
                life = self._world.diary.life_of(name)
                self._hand.rates[life] = [Segment(since=self.at, rate=rate)]


async def _listen(
    results: horus.Subscription[horus.AsyncResult], channel: list[tuple[str, int]]
) -> None:
    async for result in results:
        channel.append((result.node, result.seq))
        if len(channel) % 50 == 0:
            await trio.sleep(0.5)  # it is slow at times


@contextlib.contextmanager
def _own_handlers() -> Iterator[None]:
    """A signal that comes too late for the robot does not end this process."""

    def ignore(number: int, frame: FrameType | None) -> None:
        """The run is over."""

    before = [(number, signal.signal(number, ignore)) for number in SIGNALS]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)


def _still_busy(threads: set[Leftover], robot: _Robot) -> int:
    """How many threads have not returned, once those that end by themselves have had the time."""
    report = None if robot.record is None else robot.record.report
    listed = 0 if report is None else len(report.stragglers)
    give_up = time.monotonic() + SETTLE
    while len(busy_threads() - threads) > listed and time.monotonic() < give_up:
        threading.Event().wait(0.002)
    return len(busy_threads() - threads)


def _release(world: World, threads: set[Leftover]) -> None:
    """Let go whatever hangs, and give the threads time to return."""
    give_up = time.monotonic() + RETURN_WITHIN
    while busy_threads() - threads and time.monotonic() < give_up:
        world.gate.open()
        threading.Event().wait(0.002)


def _features(plan: Plan, record: Record | None) -> dict[str, float]:
    nodes = plan.all_nodes().values()
    features: dict[str, float] = {
        "virtual": plan.virtual,
        "nodes": len(plan.nodes),
        "deterministic": plan.deterministic,
        **{f"kind {kind}": 1.0 for kind in {node.kind for node in nodes}},
        **{f"policy {kind}": 1.0 for kind in {node.policy.kind for node in nodes}},
        "event-driven": any(node.on for node in nodes),
        "late node": any(event.kind == "add" for event in plan.events),
        "live changes": any(
            event.kind in ("remove", "pause", "resume", "set_rate") for event in plan.events
        ),
    }
    if record is None:
        return features
    final = record.final.values()
    features |= {
        "signal": record.signals > 0,
        "two signals": record.signals > 1,
        "forced": bool(record.report.forced_by),
        "restart": any(node.restarts for node in final),
        "abandoned": any(node.abandoned for node in final) or bool(record.report.stragglers),
        "stragglers": bool(record.report.stragglers),
        "time-out": any(node.timed_out for node in final),
        "failed for good": bool(record.report.failed),
        "fatal": record.error is not None,
        "emergency": bool(record.report.emergencies),
        "ticks": sum(node.ticks_released for node in final),
        "messages": sum(send.fate == "accepted" for send in record.diary.sends),
        "dropped": sum(topic.dropped for topic in record.report.statistics.topics.values()) > 0,
    }
    return {name: float(value) for name, value in features.items()}
