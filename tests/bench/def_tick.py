"""What a no-op ``def`` tick costs, against a bare `trio.to_thread.run_sync`.

Each result asks for the next tick, so a mailbox and a results callback are part of ours. Elapsed
time, since most of it is spent between two threads.
"""

from __future__ import annotations

import functools
import time
from typing import Literal

import trio
from _compare import Target, compare, print_machine

import horus_trio as horus

TICKS = 1500


class Idle(horus.Node):
    def tick(self) -> None:
        pass


async def bare() -> float:
    def nothing() -> None:
        pass

    limiter = trio.CapacityLimiter(4)
    begun = time.perf_counter()
    for _ in range(TICKS):
        await trio.to_thread.run_sync(nothing, limiter=limiter)
    return (time.perf_counter() - begun) / TICKS * 1e6


async def ours(thread: Literal["pool", "own"]) -> float:
    async with horus.open_executor() as executor:
        await executor.spawn_node(Idle("idle"), thread=thread)
        left = TICKS
        done = trio.Event()

        def go_on(result: horus.AsyncResult) -> None:
            nonlocal left
            left -= 1
            if left:
                executor.tick("idle")
            else:
                done.set()

        executor.observers.append(go_on)
        begun = time.perf_counter()
        executor.tick("idle")
        await done.wait()
        return (time.perf_counter() - begun) / TICKS * 1e6


if __name__ == "__main__":
    print_machine()
    compare(
        "A no-op def tick",
        "µs",
        {
            "trio.to_thread.run_sync": functools.partial(trio.run, bare),
            "horus_trio": functools.partial(trio.run, ours, "pool"),
            "horus_trio, thread='own'": functools.partial(trio.run, ours, "own"),
        },
        base="trio.to_thread.run_sync",
        targets={"horus_trio": Target(at_most=1.3)},
    )
