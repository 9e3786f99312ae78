"""Many nodes: what one costs in memory, in a tick, at the start and at the stop; up to 10 000.

Memory is measured in processes of its own, since Python gives little of it back: a run of many
nodes and a run of few, whose difference is the nodes'. Start and stop are compared with a bare
Trio program whose tasks wait for messages as nodes do, say that they have started, and end when
they are told to.
"""

from __future__ import annotations

import functools
import gc
import json
import os
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Awaitable, Callable
from pathlib import Path

import trio
from _compare import Count, Target, compare, counts, curve, print_machine

import horus_trio as horus

MANY = 10_000
FEW = 1000
"""How many are started and stopped; and the fewer of the two runs for memory."""

MORE = 6000
TICKS_A_SECOND = 10_000
"""Of all nodes of a run together: as many as `MANY` at 1 Hz, whatever their number."""

WHAT_A_STOP_DOES = (
    "each node has a message, its turn, a fence and a mailbox to close, and leaves its statistics"
)

IN_A_PAGE = os.sysconf("SC_PAGE_SIZE")
KIB = 1024


class Idle(horus.AsyncNode):
    async def tick_async(self) -> None:
        pass


class IdleInThread(horus.Node):
    def tick(self) -> None:
        pass


def robot(nodes: int, rate: float, make: Callable[[str], horus.Node] = Idle) -> horus.Scheduler:
    scheduler = horus.Scheduler(tick_rate=rate)
    for number in range(nodes):
        scheduler.add(make(f"idle-{number}"))
    return scheduler


# Ten thousand at once


async def every_tick(seconds: float) -> tuple[int, int, int, int]:
    """How many ticks `MANY` nodes at 1 Hz keep and miss, and one at 100 Hz beside them."""
    scheduler = robot(MANY, 1.0)
    scheduler.add(Idle("fast"), rate=100.0)
    report = await scheduler.run(seconds)
    nodes = dict(report.statistics.nodes)
    fast = nodes.pop("fast")
    return (
        sum(node.ok for node in nodes.values()),
        sum(node.missed for node in nodes.values()),
        fast.ok,
        fast.missed,
    )


async def cost(nodes: int, seconds: float = 1.2) -> float:
    """CPU time of a tick in µs, of `TICKS_A_SECOND` that are spread over the nodes."""

    def released() -> int:
        return sum(member.ledger.released for member in scheduler._members.values())

    scheduler = robot(nodes, TICKS_A_SECOND / nodes)
    async with trio.open_nursery() as nursery:
        await nursery.start(scheduler.run)
        await trio.sleep(1.1 * max(0.1, nodes / TICKS_A_SECOND))  # each has ticked
        before, begun = released(), time.thread_time()
        await trio.sleep(seconds)
        spent = time.thread_time() - begun
        spent /= released() - before
        scheduler.stop("measured")
    return spent * 1e6


# Start and stop


async def bare_life(nodes: int) -> tuple[float, float]:
    """Seconds until `nodes` bare tasks have started, and until they have stopped."""

    async def node(mailbox: trio.MemoryReceiveChannel[bool], started: trio.Event) -> None:
        started.set()
        while await mailbox.receive():
            pass

    begun = time.perf_counter()
    mailboxes = []
    events = []
    async with trio.open_nursery() as nursery:
        for _ in range(nodes):
            send, receive = trio.open_memory_channel[bool](2)
            started = trio.Event()
            mailboxes.append(send)
            events.append(started)
            nursery.start_soon(node, receive, started)
        for started in events:
            await started.wait()
        ready = time.perf_counter()
        await trio.sleep(0.2)
        told = time.perf_counter()
        for mailbox in mailboxes:
            mailbox.send_nowait(False)
    return ready - begun, time.perf_counter() - told


async def our_life(nodes: int, make: Callable[[str], horus.Node] = Idle) -> tuple[float, float]:
    """Seconds until a scheduler of `nodes` has started, and until it has stopped."""
    scheduler = robot(nodes, 0.01, make)
    begun = time.perf_counter()
    async with trio.open_nursery() as nursery:
        await nursery.start(scheduler.run)
        ready = time.perf_counter()
        await trio.sleep(0.2)
        told = time.perf_counter()
        scheduler.stop("measured")
    return ready - begun, time.perf_counter() - told


def life(program: Callable[[int], Awaitable[tuple[float, float]]], which: int) -> float:
    """Milliseconds of the start (0) or the stop (1) of `FEW` nodes."""
    gc.collect()
    return trio.run(program, FEW)[which] * 1e3


# Memory


async def bare_memory(nodes: int) -> float:
    """Bytes that `nodes` bare tasks and all else take."""

    async def node(mailbox: trio.MemoryReceiveChannel[bool]) -> None:
        while await mailbox.receive():
            pass

    async with trio.open_nursery() as nursery:
        mailboxes = []
        for _ in range(nodes):
            send, receive = trio.open_memory_channel[bool](2)
            mailboxes.append(send)
            nursery.start_soon(node, receive)
        await trio.sleep(0.5)
        taken = memory()
        nursery.cancel_scope.cancel()
    return taken


async def our_memory(nodes: int, make: Callable[[str], horus.Node], rate: float) -> float:
    """Bytes that a robot and all else take, once each node has ticked."""
    scheduler = robot(nodes, rate, make)
    async with trio.open_nursery() as nursery:
        await nursery.start(scheduler.run)
        await trio.sleep(1.5 / rate)
        taken = memory()
        scheduler.stop("measured")
    return taken


def memory() -> float:
    """Bytes in use now: those that Python has asked for if that is traced, else resident ones."""
    gc.collect()
    if tracemalloc.is_tracing():
        return tracemalloc.get_traced_memory()[0]
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * IN_A_PAGE


KINDS: dict[str, Callable[[int], Awaitable[float]]] = {
    "a bare task": bare_memory,
    "an async node": functools.partial(our_memory, make=Idle, rate=1.0),
    "a def node": functools.partial(our_memory, make=IdleInThread, rate=0.2),
}


def measure_in_child(kind: str, nodes: int, *, traced: bool) -> float:
    """Bytes of a run of so many, in a process of its own."""
    command = [sys.executable, __file__, kind, str(nodes), *(["traced"] if traced else [])]
    printed = subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=120
    ).stdout
    taken: float = json.loads(printed)
    return taken


def per_node(kind: str, *, traced: bool) -> float:
    """KiB of one node."""
    few, many = (measure_in_child(kind, nodes, traced=traced) for nodes in (FEW, MORE))
    return (many - few) / (MORE - FEW) / KIB


def main() -> None:
    """Measure and print."""
    print_machine()
    seconds = 3.0
    ok, missed, fast, fast_missed = trio.run(every_tick, seconds)
    counts(
        f"{MANY} nodes at 1 Hz and one at 100 Hz, {seconds:g} s",
        "ticks",
        [
            Count(name="kept", figure=ok, whole=MANY * seconds, target=Target(at_least=1.0)),
            Count(name="missed", figure=missed, target=Target(at_most=0)),
            Count(
                name="kept by the one at 100 Hz",
                figure=fast,
                whole=100 * seconds,
                target=Target(at_least=295 / 300),
            ),
            Count(name="missed by it", figure=fast_missed),
        ],
    )
    counts(
        f"Memory of one, from runs of {FEW} and {MORE}",
        "KiB",
        [
            Count(
                name=f"{kind}, {'traced' if traced else 'resident'}",
                figure=round(per_node(kind, traced=traced), 2),
                target=None if kind == "a bare task" else Target(at_most=12.0),
            )
            for kind in KINDS
            for traced in (False, True)
        ],
    )
    curve(
        f"A no-op async tick, {TICKS_A_SECOND} a second of all nodes together",
        "µs of CPU a tick, timer and waiting included",
        (10, 100, 1000, MANY),
        "nodes",
        {
            "with 100 nodes": lambda nodes: trio.run(cost, 100),
            "horus_trio": lambda nodes: trio.run(cost, nodes),
        },
        base="with 100 nodes",
        targets={"horus_trio": Target(at_most=1.5)},
    )
    for which, title in enumerate(("Start", "Stop")):
        target = Target(at_most=3.0, why_missed=WHAT_A_STOP_DOES if title == "Stop" else "")
        compare(
            f"{title} of {FEW} nodes",
            "ms",
            {
                "bare Trio": functools.partial(life, bare_life, which),
                "horus_trio": functools.partial(life, our_life, which),
                "horus_trio, def nodes": functools.partial(
                    life, functools.partial(our_life, make=IdleInThread), which
                ),
            },
            base="bare Trio",
            targets=dict.fromkeys(("horus_trio", "horus_trio, def nodes"), target),
        )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        if "traced" in sys.argv:
            tracemalloc.start()
        print(json.dumps(trio.run(KINDS[sys.argv[1]], int(sys.argv[2]))))
    else:
        main()
