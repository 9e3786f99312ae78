"""What it costs to have many nodes that do nothing: to start and stop them, and their memory.

The rival is a nursery whose tasks say that they have started and sleep until they are cancelled.
"""

from __future__ import annotations

import gc
import time
import tracemalloc
from collections.abc import Awaitable, Callable

import trio
import trio.testing

import horus_trio as horus

__all__ = ["bare_memory", "bare_start_and_stop", "memory", "start_and_stop"]


class Idle(horus.AsyncNode):
    """Its first tick is far away."""

    rate = 1e-3

    async def tick_async(self) -> None:
        pass


async def task(task_status: trio.TaskStatus[None]) -> None:
    """What the rival runs for each node."""
    task_status.started()
    await trio.sleep_forever()


def start_and_stop(nodes: int) -> float:
    """CPU time of a node in µs: of a run that stops as soon as it has started."""

    async def run() -> None:
        scheduler = fleet(nodes)
        async with trio.open_nursery() as nursery:
            await nursery.start(scheduler.run)
            scheduler.stop("measured")

    return _cpu_of(run) / nodes * 1e6


def bare_start_and_stop(nodes: int) -> float:
    """CPU time of a task in µs."""

    async def run() -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(nodes):
                await nursery.start(task)
            nursery.cancel_scope.cancel()

    return _cpu_of(run) / nodes * 1e6


def memory(nodes: int) -> float:
    """KiB of a node that waits for its tick, the node itself included."""

    async def run() -> int:
        before = _traced()
        scheduler = fleet(nodes)
        async with trio.open_nursery() as nursery:
            await nursery.start(scheduler.run)
            await trio.testing.wait_all_tasks_blocked()
            held = _traced() - before
            scheduler.stop("measured")
        return held

    return _traced_in(run) / nodes / 1024


def bare_memory(nodes: int) -> float:
    """KiB of a task that sleeps."""

    async def run() -> int:
        async with trio.open_nursery() as nursery:
            before = _traced()
            for _ in range(nodes):
                await nursery.start(task)
            held = _traced() - before
            nursery.cancel_scope.cancel()
        return held

    return _traced_in(run) / nodes / 1024


def fleet(nodes: int) -> horus.Scheduler:
    """A scheduler with idle nodes."""
    scheduler = horus.Scheduler()
    for number in range(nodes):
        scheduler.add(Idle(f"idle-{number}"))
    return scheduler


def _cpu_of(run: Callable[[], Awaitable[None]]) -> float:
    gc.collect()
    begun = time.process_time()
    trio.run(run)
    return time.process_time() - begun


def _traced_in(run: Callable[[], Awaitable[int]]) -> int:
    tracemalloc.start()
    try:
        return trio.run(run)
    finally:
        tracemalloc.stop()


def _traced() -> int:
    """Bytes that Python holds, without what is garbage already."""
    gc.collect()
    return tracemalloc.get_traced_memory()[0]
