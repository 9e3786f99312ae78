"""Who meddles with a robot while it runs: live operations, a publisher, a reader, signals."""

from __future__ import annotations

import os
import queue
import signal
import threading
import time
from collections.abc import Callable
from typing import Self

import trio

import horus_trio as horus

from .actor import World
from .nodes import make_factory, make_node, options_of
from .plan import Event, NodePlan
from .record import Segment
from .snapshots import Look, Violation, check_following, check_snapshot, check_tokens

__all__ = ["Hand", "Publisher", "Reader", "Watch", "add_node"]

READS = 200.0
"""Snapshots a second that the reader takes, in real time."""


INSPECTIONS = 40
"""Times in the life of a robot that somebody looks who holds its tokens."""

LOOKS = 3

PATIENCE = 30.0
"""Seconds by which a robot may live longer than planned, on its clock."""


class Watch:
    """Takes snapshots from one thread and holds them to the laws."""

    def __init__(self, scheduler: horus.Scheduler, world: World, found: list[Violation]) -> None:
        self._scheduler = scheduler
        self._world = world
        self._found = found
        self._last: Look | None = None
        self._pooled = {
            name
            for name, plan in world.plan.all_nodes().items()
            if plan.kind in ("pool", "mixed") and not plan.limited
        }

    def look(self) -> None:
        """Take one."""
        lives = dict(self._world.diary.lives)
        statistics = self._scheduler.statistics()
        now = self._world.diary.lives.copy()
        stable = {name: f"{name}/{n}" for name, n in lives.items() if now.get(name) == n}
        look = Look(statistics=statistics, lives=stable)
        self._found.extend(check_snapshot(look))
        if self._last is not None:
            self._found.extend(check_following(self._last, look))
        self._last = look

    async def inspect_tokens(self) -> None:
        """Look again and again who holds the tokens; on the loop.

        A thread may have returned and not been heard of yet: then its call is over and its token is
        not back. So it takes three looks.
        """
        wrong: list[Violation] = []
        while True:
            await trio.sleep(self._world.plan.duration / INSPECTIONS)
            for _ in range(LOOKS):
                look = Look(statistics=self._scheduler.statistics(), lives={})
                wrong = list(check_tokens(look, self._pooled))
                if not wrong:
                    break
                await trio.sleep(self._world.plan.duration / INSPECTIONS / LOOKS / 4)
            else:
                self._found.extend(wrong)


class Reader:
    """A thread that reads the statistics at 200 Hz, while inside."""

    def __init__(self, watch: Watch) -> None:
        self.problem: BaseException | None = None
        self._watch = watch
        self._stop = threading.Event()
        self.thread: threading.Thread = threading.Thread(target=self._read, name="chaos reader")

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self.thread.join()

    def _read(self) -> None:
        try:
            while not self._stop.wait(1 / READS):
                self._watch.look()
        except BaseException as error:
            self.problem = error
            raise


class Publisher:
    """A foreign thread that publishes bursts and reads along, while inside."""

    def __init__(self, scheduler: horus.Scheduler, world: World) -> None:
        self._scheduler = scheduler
        self._world = world
        self._orders: queue.SimpleQueue[tuple[str, int] | None] = queue.SimpleQueue()
        self.thread: threading.Thread = threading.Thread(target=self._work, name="chaos publisher")

    def order(self, topic: str, count: int) -> None:
        """Have so many messages published, some time."""
        self._orders.put((topic, count))

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._orders.put(None)
        self.thread.join()

    def _work(self) -> None:
        diary = self._world.diary
        read = {
            topic: self._scheduler.topic(topic).subscribe(32) for topic in self._world.plan.topics
        }
        while (order := self._orders.get()) is not None:
            topic, count = order
            for _ in range(count):
                diary.publish("", topic, 0, lambda to, data: self._scheduler.topic(to).send(data))
                if count < 10:
                    time.sleep(0.001)  # a slow one, too
            diary.take("", topic, read[topic].drain())
        for subscription in read.values():
            subscription.close()


class Hand:
    """Does what events say.

    Attributes:
        signals: How many it has sent.
        final: Asks for the counters of a life, also when its node is gone.
        rates: Of each life, as long as nothing but its rate has changed.
    """

    def __init__(
        self, scheduler: horus.Scheduler, world: World, publisher: Publisher, watch: Watch
    ) -> None:
        self.signals: int = 0
        self.final: dict[str, Callable[[], horus.NodeStatistics]] = {}
        self.rates: dict[str, list[Segment]] = {}
        self.run_scope: trio.CancelScope = trio.CancelScope()
        self._scheduler = scheduler
        self._world = world
        self._publisher = publisher
        self._watch = watch

    async def act_out(self) -> None:
        """All events, each at its time."""
        begin = trio.current_time()
        for event in self._world.plan.events:
            await trio.sleep_until(begin + event.at)
            if event.kind in ("signal", "signals at once"):
                await self._signal(event)
            elif event.foreign:
                await trio.to_thread.run_sync(self._do, event)
            else:
                self._do(event)
        # With every token held by threads that hang in `init`, a robot waits for ever to begin.
        await trio.sleep_until(begin + self._world.plan.duration + PATIENCE)
        self._world.diary.causes.append("chaos has waited for long")
        self._scheduler.stop("chaos has waited for long")

    def _do(self, event: Event) -> None:
        """On the loop or in a foreign thread."""
        scheduler, world, name = self._scheduler, self._world, event.node
        life = world.diary.life_of(name)
        try:
            match event.kind:
                case "add":
                    plan = world.plan.all_nodes()[name]
                    add_node(scheduler, world, plan, self)
                case "remove":
                    scheduler.remove(name)
                    self.rates.pop(life, None)
                case "pause":
                    scheduler.pause(name)
                    world.diary.write(life, "paused", "is")
                    self._note_rate(life, None)
                case "resume":
                    world.diary.write(life, "resumed", "is")
                    scheduler.resume(name)
                    member = scheduler._members.get(name)
                    self._note_rate(life, None if member is None else member.rate)
                case "set_rate":
                    scheduler.set_rate(name, event.value)
                    member = scheduler._members.get(name)
                    paused = member is not None and member.paused
                    self._note_rate(life, None if paused else event.value)
                case "burst":
                    self._publisher.order(name, int(event.value))
                case "look" if event.foreign:
                    Watch(self._scheduler, world, self._watch._found).look()
                case "look":
                    self._watch.look()
                case "release":
                    world.gate.open()
                case "emergency":
                    scheduler.emergency_stop("chaos")
                    world.diary.write("", "held", "is")
                case "reset":
                    world.diary.write("", "let go", "is")
                    scheduler.reset_emergency()
                case "stop":
                    world.diary.causes.append("chaos stops it")
                    scheduler.stop("chaos stops it")
                case "cancel":
                    world.diary.causes.append("it was cancelled")
                    if event.foreign:
                        trio.from_thread.run_sync(self.run_scope.cancel)
                    else:
                        self.run_scope.cancel()
                case _:
                    raise ValueError(f"unknown event {event!r}")
        except (horus.UnknownNode, horus.NotRunning, horus.ConfigurationError):
            return  # the node is gone, has not come, or is there already
        except horus.HorusError as refused:
            if event.kind != "reset" or "cannot be reset" not in str(refused):
                raise

    def _note_rate(self, life: str, rate: float | None) -> None:
        if life in self.rates:
            self.rates[life].append(Segment(since=self._world.now(), rate=rate))

    async def _signal(self, event: Event) -> None:
        number = signal.Signals(int(event.value))
        times = 2 if event.kind == "signals at once" else 1
        self._world.diary.causes.append(number.name)
        self.signals += times
        try:
            for _ in range(times):
                if event.foreign and times == 1:
                    await trio.to_thread.run_sync(os.kill, os.getpid(), number)
                else:
                    os.kill(os.getpid(), number)
        except KeyboardInterrupt:
            if times == 1:  # only the second one finds a loop that has not seen the first
                raise
        await trio.lowlevel.checkpoint()


def add_node(scheduler: horus.Scheduler, world: World, plan: NodePlan, hand: Hand) -> None:
    """Add the node of a plan: another life of it begins."""
    if plan.name in scheduler._members:
        raise horus.ConfigurationError(f"{plan.name} is there already")
    life = world.diary.life_begins(plan.name)
    thing = make_factory if plan.factory else make_node
    scheduler.add(thing(world, plan, life), **options_of(plan))
    hand.final[life] = scheduler._members[plan.name].snapshot
