"""The robot's own 25 nodes: all kinds of ticks, all kinds of failures, and a supervisor."""

from __future__ import annotations

import asyncio
import json
import math
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import trio

import horus_trio as horus
from horus_trio.bridges import AsyncioNode

__all__ = ["loops"]

HOST = "127.0.0.1"

FOR_EVER = horus.Restart(within=None, backoff=0.05, max_backoff=0.2)


class Control(horus.AsyncNode):
    """Steers by the newest of everything. Its failure would end the run."""

    rate = 100
    failure_policy: horus.FailurePolicy = horus.Fatal()

    def __init__(self, number: int) -> None:
        super().__init__(f"control {number}")
        self.number = number

    async def tick_async(self) -> None:
        seen = [self.latest(topic) for topic in ("serial 1", "arm 1", "sonar", "weather")]
        self.send(f"command {self.number}", (self.now, sum(one is not None for one in seen)))


class Loop(horus.AsyncNode):
    """A loop with a message for the next one; what it cannot take in, the sender waits with.

    Arguments:
        plants: Are called in each tick: what is to be noticed.
    """

    rate = 50

    def __init__(self, name: str, plants: Iterable[Callable[[], object]] = ()) -> None:
        super().__init__(name, subs=horus.Sub("ring", capacity=8, overflow=horus.Overflow.BLOCK))
        self.plants = tuple(plants)

    async def tick_async(self) -> None:
        for plant in self.plants:
            plant()
        self.recv_all("ring")
        await self.send_async("ring", self.now)


class Own(horus.Node):
    """A thread of its own, and a line to its neighbour that loses nothing."""

    rate = 50
    thread = "own"

    def __init__(self, name: str, link: horus.Link[int], *, sends: bool) -> None:
        super().__init__(name)
        self.link = link
        self.sends = sends
        self.count = 0

    def tick(self) -> None:
        try:
            if self.sends:
                self.link.send_nowait(self.count)
                self.count += 1
                return
            while True:
                number = self.link.receive_nowait()
                if number < self.count:
                    raise ValueError(f"{number} has come after {self.count}")
                self.count = number
        except trio.WouldBlock:
            pass


class Reports(AsyncioNode):
    """asyncio code: a line to a server, kept between ticks, and a task in the background."""

    rate = 20
    failure_policy: horus.FailurePolicy = FOR_EVER

    async def init(self) -> None:
        self.reader, self.writer = await asyncio.open_connection(HOST, self.port)
        self.start_soon(self.count_on)

    def __init__(self, name: str, port: int) -> None:
        super().__init__(name)
        self.port = port
        self.count = 0

    async def count_on(self) -> None:
        while True:
            await asyncio.sleep(0.02)
            self.count += 1

    async def tick(self) -> None:
        self.writer.write(b"%d\n" % self.count)
        async with asyncio.timeout(1):
            self.send(self.name, await self.reader.readline())

    async def shutdown(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()


class Visitor(horus.AsyncNode):
    """Comes and goes."""

    rate = 30

    async def init(self) -> None:
        self.start_soon(trio.sleep_forever)

    async def tick_async(self) -> None:
        self.recv_all("command 1")
        self.send("visitor", self.name)


class Supervisor(horus.AsyncNode):
    """Adds, pauses, resumes and removes a visitor; calls emergencies, and ends them."""

    rate = 1

    def __init__(self, scheduler: horus.Scheduler) -> None:
        super().__init__("supervisor")
        self.scheduler = scheduler
        self.count = 0
        self.visitors = 1

    async def tick_async(self) -> None:
        self.count += 1
        step, visitor = self.count % 6, f"visitor {self.visitors}"
        if step == 1:
            self.scheduler.pause(visitor)
        elif step == 2:
            await trio.to_thread.run_sync(self.scheduler.set_rate, visitor, 60.0)
        elif step == 3:
            await trio.to_thread.run_sync(self.scheduler.resume, visitor)
        elif step == 5:
            self.scheduler.remove(visitor)
            await self.scheduler.stopped(visitor)
            self.visitors += 1
            self.scheduler.add(Visitor(f"visitor {self.visitors}"))
        if self.count % 20 == 10:
            self.scheduler.emergency_stop("a drill")
        elif self.count % 20 == 12:
            self.scheduler.reset_emergency()


def square_roots(node: horus.Node) -> float:
    """The work of a process."""
    return sum(map(math.sqrt, range(1000)))


async def count(node: horus.Node) -> None:
    """A tick on arrival."""
    node.send("counted", sum(len(node.recv_all(topic)) for topic in ("serial 1", "serial 4")))


def pick(node: horus.Node) -> None:
    """A `def` tick on arrival."""
    node.recv_all("arm 1")


async def beat(node: horus.Node) -> None:
    """A tick on arrival, and at a rate as well."""
    node.recv_all("feed 1")


async def fail_at_times(node: horus.Node) -> None:
    """Raise in a fiftieth of the ticks."""
    tick = node.current_tick
    if tick is not None and tick.seq % 50 == 49:
        raise ValueError("at times")


async def fail_in_bursts(node: horus.Node) -> None:
    """Raise for a second, every eight."""
    if node.now % 8 < 1:
        raise ValueError("for a while")


async def fail(node: horus.Node) -> None:
    """Raise in every tick."""
    raise ValueError("every time")


class BadStart(horus.Node):
    """Two of three attempts to initialise it fail, and a tick now and then."""

    rate = 10
    failure_policy: horus.FailurePolicy = FOR_EVER

    def __init__(self) -> None:
        super().__init__("bad start")
        self.attempts = 0
        self.ticks = 0

    def init(self) -> None:
        self.attempts += 1
        if self.attempts % 3:
            raise ConnectionError("nobody is there")

    def tick(self) -> None:
        self.ticks += 1
        if self.ticks % 20 == 0:
            raise ConnectionError("nobody is there any more")


def hang_at_times(node: horus.Node) -> None:
    """Hang in a thirtieth of the ticks, until long after the time limit."""
    tick = node.current_tick
    if tick is not None and tick.seq % 30 == 29:
        threading.Event().wait(0.8)


async def overrun_at_times(node: horus.Node) -> None:
    """Be cancelled in a thirtieth of the ticks."""
    tick = node.current_tick
    if tick is not None and tick.seq % 30 == 29:
        await trio.sleep(60)


def work(node: horus.Node) -> None:
    """Block for a moment."""
    threading.Event().wait(0.008)
    node.send("worked", node.name)


class Brakes(horus.AsyncNode):
    """Is made safe in an emergency, and does not tick until that is over."""

    rate = 20
    critical = True

    def __init__(self) -> None:
        super().__init__("brakes", subs=horus.Sub("command 1", overflow=horus.Overflow.LATEST))
        self.drills = 0

    async def tick_async(self) -> None:
        self.recv("command 1")

    def enter_safe_state(self) -> None:
        self.drills += 1


def loops(
    world: dict[str, Any], scheduler: horus.Scheduler, plants: Iterable[Callable[[], object]]
) -> Iterator[tuple[horus.Node, bool]]:
    """The nodes, and whether each is meant to hold its rate."""

    def look(node: horus.Node) -> None:
        json.dumps(scheduler.statistics().to_dict())

    yield Control(1), True
    yield Control(2), True
    yield Loop("loop 1", plants), True
    yield Loop("loop 2"), True
    link = horus.Link[int]("own", capacity=16)
    yield Own("own 1", link, sends=True), True
    yield Own("own 2", link, sends=False), True
    for number in range(1, 4):
        yield horus.Node(f"pool {number}", tick=work, rate=10), True
    yield horus.Node("process", tick=square_roots, rate=5, thread="process"), True
    yield Reports("asyncio 1", world["echo"]), True
    yield Reports("asyncio 2", world["echo"]), True
    yield horus.Node("on serial", tick=count, on=("serial 1", "serial 4")), False
    yield horus.Node("on arm", tick=pick, on="arm 1"), False
    yield horus.Node("on and rate", tick=beat, on="feed 1", rate=5), False
    yield horus.Node("restarts", tick=fail_at_times, rate=20, failure_policy=FOR_EVER), False
    breaker = horus.CircuitBreaker(max_failures=3, cooldown=1.0)
    yield horus.Node("breaker", tick=fail_in_bursts, rate=20, failure_policy=breaker), False
    yield horus.Node("ignores", tick=fail, rate=20, failure_policy=horus.Ignore()), False
    yield BadStart(), False
    hangs = {"rate": 10.0, "failure_policy": FOR_EVER}
    yield horus.Node("hangs", tick=hang_at_times, tick_timeout=0.2, **hangs), False  # type: ignore[arg-type]
    yield horus.Node("overruns", tick=overrun_at_times, tick_timeout=0.2, **hangs), False  # type: ignore[arg-type]
    yield Brakes(), False
    yield Supervisor(scheduler), True
    yield horus.Node("statistics", tick=look, rate=2), True
    yield Visitor("visitor 1"), False
