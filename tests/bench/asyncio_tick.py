"""What a no-op tick of an `AsyncioNode` costs, against bare trio-asyncio.

Bare is what one would write by hand: one open loop, and ``await aio_as_trio(tick)()`` for each
tick. Ours does that besides all that is done for every tick: its statistics, its time limit, its
result for somebody who reads it, its fence and its policy. CPU time of the thread. Each tick is
asked for as soon as the one before has ended.

A node on Trio's own loop is beside it, for what asyncio costs.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import trio
import trio_asyncio
from _compare import Target, compare, print_machine

import horus_trio as horus
from horus_trio.bridges import AsyncioNode

TICKS = 3000

WARM_UP = 200

TIMEOUT = 0.5
"""Seconds; as in the comparison of async ticks."""


async def idle(*args: object) -> None:
    """The tick."""


async def by_hand() -> float:
    """CPU time of a tick in µs."""
    async with trio_asyncio.open_loop():
        for _ in range(WARM_UP):
            await trio_asyncio.aio_as_trio(idle)()
        begun = time.thread_time()
        for _ in range(TICKS):
            await trio_asyncio.aio_as_trio(idle)()
        return (time.thread_time() - begun) / TICKS * 1e6


async def of_node(make: Callable[[str], horus.Node]) -> float:
    """CPU time of a tick in µs."""
    async with horus.open_executor() as executor:
        node = make("idle")
        await executor.spawn_node(node, tick_timeout=TIMEOUT)
        left = 0
        done = trio.Event()

        def ended(result: horus.AsyncResult) -> None:
            nonlocal left
            left -= 1
            if left:
                executor.tick(node)
            else:
                done.set()

        async def run(ticks: int) -> None:
            nonlocal left, done
            left, done = ticks, trio.Event()
            executor.tick(node)
            await done.wait()

        executor.observers.append(ended)
        await run(WARM_UP)
        begun = time.thread_time()
        await run(TICKS)
        spent = time.thread_time() - begun
        ok = executor.statistics().nodes["idle"].ok
    if ok != WARM_UP + TICKS:
        raise RuntimeError(f"only {ok} of {WARM_UP + TICKS} ticks ran")
    return spent / TICKS * 1e6


def main() -> None:
    """Measure and print."""
    print_machine()
    compare(
        "A no-op asyncio tick",
        "µs of CPU a tick",
        {
            "bare trio-asyncio": lambda: trio.run(by_hand),
            "horus_trio, AsyncioNode": lambda: trio.run(
                of_node, lambda name: AsyncioNode(name, tick=idle)
            ),
            "horus_trio, AsyncNode": lambda: trio.run(
                of_node, lambda name: horus.AsyncNode(name, tick=idle)
            ),
        },
        base="bare trio-asyncio",
        targets={"horus_trio, AsyncioNode": Target(at_most=1.3)},
    )


if __name__ == "__main__":
    main()
