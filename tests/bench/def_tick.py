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


async def run_sync() -> float:
    """Elapsed time of a call in µs."""

    def nothing() -> None:
        pass

    limiter = trio.CapacityLimiter(4)
    begun = time.perf_counter()
    for _ in range(TICKS):
        await trio.to_thread.run_sync(nothing, limiter=limiter)
    return (time.perf_counter() - begun) / TICKS * 1e6


async def ticks(thread: Literal["pool", "own"]) -> float:
    """Elapsed time of a tick in µs."""
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


HANDING_OVER = "the way to a thread and back is all of it, and is the same for both"


def bare() -> float:
    """`run_sync` in a run of its own."""
    return trio.run(run_sync)


def cost(thread: Literal["pool", "own"] = "pool") -> float:
    """`ticks` in a run of its own."""
    return trio.run(ticks, thread)


def main() -> None:
    """Measure and print."""
    print_machine()
    compare(
        "A no-op def tick",
        "µs",
        {
            "trio.to_thread.run_sync": bare,
            "horus_trio": cost,
            "horus_trio, thread='own'": functools.partial(cost, "own"),
        },
        base="trio.to_thread.run_sync",
        repetitions=15,
        targets={
            "horus_trio": Target(at_most=1.15),
            "horus_trio, thread='own'": Target(at_most=1.0, why_missed=HANDING_OVER),
        },
    )


if __name__ == "__main__":
    main()
