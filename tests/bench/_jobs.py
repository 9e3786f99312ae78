"""One job in several hands: nodes that tick at a rate and note how late they were.

Each hand is a function of a `Job` that returns a `Run`: the engine, and what a programmer writes
without it. All spread their nodes over the period and aim at absolute instants, save
`trio_util.periodic`, which cannot. `gather` runs several of them in turn, and `figure` makes of
the runs what `compare` asks for, so that one run gives all of its figures.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import select
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import trio
import trio_util
from _compare import percentile, show_progress

import horus_trio as horus
from horus_trio.timer import _TimerFd

__all__ = [
    "Hand",
    "Job",
    "Late",
    "Run",
    "busy_thread",
    "by_asyncio",
    "by_horus_trio",
    "by_periodic",
    "by_threads",
    "by_timerfd",
    "by_trio",
    "figure",
    "gather",
    "measured",
    "middle",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is to be done.

    Attributes:
        nodes: How many tick.
        rate: Of each, in Hz.
        seconds: For how long.
        timeout: Seconds a tick may take, or None. Threads cannot have one.
    """

    nodes: int = 1
    rate: float
    seconds: float
    timeout: float | None = None

    @property
    def ticks(self) -> int:
        """Of one node."""
        return round(self.rate * self.seconds)

    def phase(self, node: int) -> float:
        """Seconds after the start at which a node begins."""
        return node / self.nodes / self.rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """How it went.

    Attributes:
        late: Seconds that each tick began after its instant.
        cpu: Seconds of CPU, of all threads of the process, start and stop included.
        loop_cpu: Seconds of CPU of the thread that ran it.
    """

    late: list[float]
    cpu: float
    loop_cpu: float

    def p(self, fraction: float) -> float:
        """A percentile of the lateness, in milliseconds."""
        return percentile(self.late, fraction) * 1e3

    def kept(self, job: Job) -> int:
        """How many ticks began before the next one of their node was due."""
        return sum(late < 1 / job.rate for late in self.late)


Late = list[float]
Hand = Callable[[Job], Run]


def measured(program: Callable[[Job, Late], object]) -> Hand:
    """Makes a hand of a program that fills a list."""

    @functools.wraps(program)
    def hand(job: Job) -> Run:
        late: Late = []
        cpu, loop_cpu = time.process_time(), time.thread_time()
        program(job, late)
        return Run(late=late, cpu=time.process_time() - cpu, loop_cpu=time.thread_time() - loop_cpu)

    return hand


class Sensor(horus.AsyncNode):
    """The engine's."""

    def __init__(self, late: Late) -> None:
        super().__init__()
        self.late = late

    async def tick_async(self) -> None:
        tick = self.current_tick
        if tick is not None:
            self.late.append(trio.current_time() - tick.scheduled)


@measured
def by_horus_trio(job: Job, late: Late) -> None:
    """The engine, as it comes."""
    scheduler = horus.Scheduler()
    for _ in range(job.nodes):
        scheduler.add(Sensor(late), rate=job.rate, tick_timeout=job.timeout)
    scheduler.run(job.seconds)


@measured
def by_trio(job: Job, late: Late) -> None:
    """A task a node, on `trio.sleep_until`."""

    async def loop(begin: float) -> None:
        for n in range(job.ticks):
            when = begin + n / job.rate
            await trio.sleep_until(when)
            if job.timeout is None:
                late.append(trio.current_time() - when)
            else:
                with trio.fail_after(job.timeout):  # noqa: ASYNC100 - a tick that does nothing
                    late.append(trio.current_time() - when)

    async def main() -> None:
        start = trio.current_time() + 0.01
        async with trio.open_nursery() as nursery:
            for node in range(job.nodes):
                nursery.start_soon(loop, start + job.phase(node))

    trio.run(main)


@measured
def by_timerfd(job: Job, late: Late) -> None:
    """The kernel alone: one node that waits for its timer with ``epoll``, without any loop."""
    with contextlib.closing(_TimerFd(_Monotonic())) as timer, select.epoll() as poll:
        poll.register(timer.fd, select.EPOLLIN)
        start = time.monotonic() + 0.01
        for n in range(job.ticks):
            when = start + n / job.rate
            timer.arm(when)
            poll.poll()
            late.append(time.monotonic() - when)


class _Monotonic(trio.abc.Clock):
    """The clock that the kernel's timers go by."""

    def start_clock(self) -> None: ...

    def current_time(self) -> float:
        return time.monotonic()

    def deadline_to_sleep_time(self, deadline: float) -> float:
        return deadline - time.monotonic()


@measured
def by_periodic(job: Job, late: Late) -> None:
    """A task a node, on `trio_util.periodic`; against the grid that it was asked for."""

    async def loop(begin: float) -> None:
        await trio.sleep_until(begin)
        n = 0
        async for _ in trio_util.periodic(1 / job.rate):
            now = trio.current_time()
            if now >= begin + job.seconds:
                return
            late.append(now - (begin + n / job.rate))
            n += 1

    async def main() -> None:
        start = trio.current_time() + 0.01
        async with trio.open_nursery() as nursery:
            for node in range(job.nodes):
                nursery.start_soon(loop, start + job.phase(node))

    trio.run(main)


@measured
def by_asyncio(job: Job, late: Late) -> None:
    """A task a node, on `asyncio.sleep` to absolute instants."""

    async def loop(begin: float) -> None:
        now_of = asyncio.get_running_loop().time
        for n in range(job.ticks):
            when = begin + n / job.rate
            await asyncio.sleep(when - now_of())
            async with asyncio.timeout(job.timeout):  # noqa: ASYNC100
                late.append(now_of() - when)

    async def main() -> None:
        start = asyncio.get_running_loop().time() + 0.01
        async with asyncio.TaskGroup() as group:
            for node in range(job.nodes):
                group.create_task(loop(start + job.phase(node)))

    asyncio.run(main())


@measured
def by_threads(job: Job, late: Late) -> None:
    """A thread a node, on `time.sleep` to absolute instants."""
    start = time.monotonic() + 0.01

    def loop(begin: float) -> None:
        for n in range(job.ticks):
            when = begin + n / job.rate
            time.sleep(max(0.0, when - time.monotonic()))
            late.append(time.monotonic() - when)

    threads = [
        threading.Thread(target=loop, args=[start + job.phase(node)]) for node in range(job.nodes)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@contextlib.contextmanager
def busy_thread() -> Iterator[None]:
    """A thread that computes in pure Python meanwhile and never waits."""
    over = threading.Event()

    def compute() -> None:
        total = 0
        while not over.is_set():
            for number in range(1000):
                total += number * number

    thread = threading.Thread(target=compute)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def gather(
    title: str, job: Job, hands: Mapping[str, Hand], repetitions: int
) -> dict[str, list[Run]]:
    """Run them in turn, again and again."""
    runs: dict[str, list[Run]] = {name: [] for name in hands}
    for repetition in range(repetitions):
        for name, hand in hands.items():
            show_progress(f"{title}: {repetition + 1}/{repetitions} {name}")
            runs[name].append(hand(job))
    show_progress("")
    return runs


def figure(
    runs: Mapping[str, list[Run]], of: Callable[[Run], float]
) -> dict[str, Callable[[], float]]:
    """For `compare`: programs that each return one figure of run after run."""
    return {
        name: functools.partial(next, iter([of(run) for run in several]))
        for name, several in runs.items()
    }


def middle(runs: list[Run], of: Callable[[Run], float]) -> float:
    """The median of a figure."""
    return statistics.median(of(run) for run in runs)
