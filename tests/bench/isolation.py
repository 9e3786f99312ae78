"""What a node loses by its neighbours: the whole mixed load, and very many that wait.

The mixed load is eight nodes that block for 0.2 s in each tick, one that hangs, one that raises in
every tick and one that floods a topic without a pause, beside a control loop at 100 Hz. What
programmers write without an engine is measured with the same load: a control task in asyncio whose
blocking calls go to a pool of four threads, and a thread for each node. Neither of them has a limit
for what hangs, nor a word for what failed.
"""

from __future__ import annotations

import asyncio
import collections
import concurrent.futures
import contextlib
import functools
import logging
import os
import threading
import time
from collections.abc import Callable

import trio
from _child import run_child
from _compare import Count, Target, compare, counts, print_machine
from _jobs import Hand, Job, Late, Run, figure, gather, measured, middle
from _quick import either

import horus_trio as horus

CONTROL = Job(rate=100.0, seconds=either(3.0, 0.5))
BLOCKED, BLOCKS_FOR, POOL = 8, 0.2, 4
REPETITIONS = either(5, 1)
WAITING_RATE, AWAITS = 10.0, 0.05

P99 = Target(
    at_most=3.0,
    why_missed="alone it is hardly late; beside it, it waits for turns of the interpreter",
)
TOO_MUCH = (
    "so many wake-ups a second are more than a core of this machine can do, also on bare Trio"
)


class Control(horus.AsyncNode):
    rate = CONTROL.rate

    def __init__(self, late: Late, *, flooded: bool) -> None:
        super().__init__("control", subs="flood" if flooded else ())
        self.late = late
        self.flooded = flooded

    async def tick_async(self) -> None:
        tick = self.current_tick
        if tick is not None:
            self.late.append(trio.current_time() - tick.scheduled)
        if self.flooded:
            self.recv("flood")


def alone(_: Job, late: Late) -> None:
    horus.Scheduler().add(Control(late, flooded=False)).run(CONTROL.seconds)


def mixed(_: Job, late: Late) -> None:
    """Everything at once."""
    release = threading.Event()

    def blocked(node: horus.Node) -> None:
        time.sleep(BLOCKS_FOR)

    def hung(node: horus.Node) -> None:
        release.wait(30)

    async def failing(node: horus.Node) -> None:
        raise ValueError("every single time")

    def flood(node: horus.Node) -> None:
        number = 0
        while True:
            if number % 100 == 0:
                node.check_cancelled()
            node.send("flood", number)
            number += 1

    scheduler = horus.Scheduler()
    scheduler.add(Control(late, flooded=True))
    for number in range(BLOCKED):
        scheduler.add(horus.Node(f"blocked {number}", tick=blocked, rate=10))
    scheduler.add(horus.Node("hung", tick=hung, rate=10, tick_timeout=0.3, shutdown_timeout=0.1))
    scheduler.add(horus.Node("failing", tick=failing, rate=100, failure_policy=horus.Ignore()))
    scheduler.add(horus.Node("flood", tick=flood, rate=100, thread="own", tick_timeout=None))
    try:
        scheduler.run(CONTROL.seconds)
    finally:
        release.set()


class Neighbours:
    """The same load on threads, for a control loop that is written by hand."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self.flood: collections.deque[int] = collections.deque(maxlen=64)

    def hang(self) -> None:
        self.over.wait(30)

    def flooding(self) -> None:
        number = 0
        while number % 100 or not self.over.is_set():
            self.flood.append(number)
            number += 1

    def control(self, late: float, lates: Late) -> None:
        lates.append(late)
        with contextlib.suppress(IndexError):
            self.flood.popleft()


def fail() -> None:
    raise ValueError("every single time")


def mixed_asyncio(_: Job, late: Late) -> None:
    """A task each; what blocks goes to a pool."""
    load = Neighbours()

    async def repeat(rate: float, tick: Callable[[], object]) -> None:
        loop = asyncio.get_running_loop()
        begin, n = loop.time(), 0
        while not load.over.is_set():
            with contextlib.suppress(ValueError):
                result = tick()
                if isinstance(result, asyncio.Future):
                    await result
            n = max(n + 1, int((loop.time() - begin) * rate))
            await asyncio.sleep(begin + n / rate - loop.time())

    async def main() -> None:
        loop = asyncio.get_running_loop()
        with concurrent.futures.ThreadPoolExecutor(POOL) as pool:
            in_pool = functools.partial(loop.run_in_executor, pool)
            tasks = [
                asyncio.create_task(repeat(10, lambda: in_pool(time.sleep, BLOCKS_FOR)))
                for _ in range(BLOCKED)
            ]
            tasks.append(asyncio.create_task(repeat(10, lambda: in_pool(load.hang))))
            tasks.append(asyncio.create_task(repeat(100, fail)))
            flood = threading.Thread(target=load.flooding)
            flood.start()
            begin = loop.time() + 0.01
            for n in range(CONTROL.ticks):
                await asyncio.sleep(begin + n / CONTROL.rate - loop.time())
                load.control(loop.time() - (begin + n / CONTROL.rate), late)
            load.over.set()
            flood.join()
            await asyncio.gather(*tasks)

    asyncio.run(main())


def mixed_threads(_: Job, late: Late) -> None:
    """A thread each."""
    load = Neighbours()

    def repeat(rate: float, tick: Callable[[], object]) -> None:
        while not load.over.wait(1 / rate):
            with contextlib.suppress(ValueError):
                tick()

    def control() -> None:
        begin = time.monotonic() + 0.01
        for n in range(CONTROL.ticks):
            when = begin + n / CONTROL.rate
            time.sleep(max(0.0, when - time.monotonic()))
            load.control(time.monotonic() - when, late)
        load.over.set()

    blocks = functools.partial(repeat, 10, functools.partial(time.sleep, BLOCKS_FOR))
    work: list[Callable[[], object]] = [
        *[blocks] * BLOCKED,
        functools.partial(repeat, 100, fail),
        load.hang,
        load.flooding,
    ]
    threads = [threading.Thread(target=target) for target in (*work, control)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def the_mixed_load() -> None:
    hands: dict[str, Hand] = {
        "horus_trio, alone": measured(alone),
        "horus_trio, beside it": measured(mixed),
        "asyncio, beside it": measured(mixed_asyncio),
        "threads, beside it": measured(mixed_threads),
    }
    runs = gather("The mixed load", CONTROL, hands, REPETITIONS)
    counts(
        "A 100 Hz loop beside the whole mixed load",
        "ticks that began within their period, median",
        [
            Count(
                name=name,
                figure=middle(of, kept),
                whole=CONTROL.ticks,
                target=Target(at_least=295 / 300) if name == "horus_trio, beside it" else None,
            )
            for name, of in runs.items()
        ],
    )
    for fraction in (0.5, 0.99):
        compare(
            f"Its lateness p{fraction * 100:.0f}",
            "ms",
            figure(runs, functools.partial(Run.p, fraction=fraction)),
            base="horus_trio, alone",
            repetitions=REPETITIONS,
            targets={"horus_trio, beside it": P99} if fraction > 0.5 else None,
        )


def kept(run: Run) -> int:
    return run.kept(CONTROL)


def beside_a_slow_node() -> None:
    """HORUS awaits all async nodes of a cycle before it begins the next."""
    late: Late = []

    async def slow(node: horus.Node) -> None:
        await trio.sleep(0.5)

    scheduler = horus.Scheduler().add(Control(late, flooded=False))
    scheduler.add(horus.Node("slow", tick=slow, rate=2)).run(CONTROL.seconds)
    rows = [
        Count(
            name="horus_trio",
            figure=len(late),
            whole=CONTROL.ticks,
            target=Target(at_least=295 / 300),
        )
    ]
    python = os.environ.get("HORUS_PYTHON")
    if python:
        said = run_child("_rival_horus", "beside a slow node", str(CONTROL.seconds), python=python)
        rows.append(Count(name="HORUS 0.4.1", figure=said["ticks"], whole=CONTROL.ticks))
    counts("A 100 Hz loop beside an async node that awaits 0.5 s", "ticks", rows)


class Device(horus.AsyncNode):
    rate = WAITING_RATE

    async def tick_async(self) -> None:
        await trio.sleep(AWAITS)


def many_ours(nodes: int) -> int:
    scheduler = horus.Scheduler()
    for number in range(nodes):
        scheduler.add(Device(f"device {number}"))
    report = scheduler.run(CONTROL.seconds)
    return sum(node.ok for node in report.statistics.nodes.values())


def many_trio(nodes: int) -> int:
    """Bare loops; a tick that begins after the next was due is not kept."""
    kept_ticks = 0
    ticks = round(WAITING_RATE * CONTROL.seconds)

    async def loop(begin: float) -> None:
        nonlocal kept_ticks
        for n in range(ticks):
            when = begin + n / WAITING_RATE
            await trio.sleep_until(when)
            kept_ticks += trio.current_time() < when + 1 / WAITING_RATE
            await trio.sleep(AWAITS)

    async def main() -> None:
        start = trio.current_time() + 0.1
        async with trio.open_nursery() as nursery:
            for node in range(nodes):
                nursery.start_soon(loop, start + node / nodes / WAITING_RATE)

    trio.run(main)
    return kept_ticks


def many_that_wait() -> None:
    python = os.environ.get("HORUS_PYTHON")
    for nodes, at_least in ((either(500, 50), 0.99), (either(2000, 200), 0.95)):
        whole = nodes * WAITING_RATE * CONTROL.seconds
        rows = [
            Count(
                name="horus_trio",
                figure=many_ours(nodes),
                whole=whole,
                target=Target(at_least=at_least, why_missed=TOO_MUCH),
            ),
            Count(name="bare Trio loops", figure=many_trio(nodes), whole=whole),
        ]
        if python and nodes <= 500:  # it has a thread for each node
            case = ("nodes", nodes, WAITING_RATE, CONTROL.seconds, AWAITS)
            said = run_child("_rival_horus", *map(str, case), python=python)
            rows.append(Count(name="HORUS 0.4.1", figure=said["ticks"], whole=whole))
        counts(
            f"{nodes} nodes at {WAITING_RATE:g} Hz that each await {AWAITS * 1e3:g} ms",
            "ticks",
            rows,
        )


def main() -> None:
    print_machine()
    logging.getLogger("horus_trio").addHandler(logging.NullHandler())  # what fails is meant to
    the_mixed_load()
    beside_a_slow_node()
    many_that_wait()


if __name__ == "__main__":
    main()
