"""What a no-op ``def`` tick of a HORUS node costs on this engine, against one of its own nodes.

Both tick in a thread of their own, as HORUS's nodes do; each result asks for the next tick.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import trio
from _compare import Target, compare, print_machine
from _quick import either

import horus_trio
from horus_trio.bridges import horus

TICKS = either(1500, 50)


class Idle(horus_trio.Node):
    def tick(self) -> None:
        pass


def nothing(node: horus.Node) -> None:
    pass


def native() -> horus_trio.Scheduler:
    """A scheduler with the engine's own node."""
    scheduler = horus_trio.Scheduler()
    scheduler.add(Idle("idle"), thread="own", on="never")
    return scheduler


def facade() -> horus_trio.Scheduler:
    """The engine's scheduler behind HORUS's, with HORUS's node at a rate that never comes."""
    scheduler = horus.Scheduler()
    scheduler.add(horus.Node("idle", nothing, rate=0.001))
    return scheduler.engine


async def ticks(scheduler: horus_trio.Scheduler) -> float:
    """Elapsed time of a tick in µs."""
    left = 0
    done = trio.Event()

    def go_on(result: horus_trio.AsyncResult) -> None:
        nonlocal left
        left -= 1
        if left > 0:
            ask()
        elif left == 0:
            done.set()

    def ask() -> None:
        run = scheduler._run_state
        assert run is not None
        assert run.executor is not None
        run.executor.tick("idle")

    scheduler.on_result(go_on)
    async with trio.open_nursery() as nursery:
        await nursery.start(scheduler.run)
        await trio.sleep(0.05)  # a first release of its own has passed
        left = TICKS
        begun = time.perf_counter()
        ask()
        await done.wait()
        took = time.perf_counter() - begun
        scheduler.stop()
    return took / TICKS * 1e6


def cost(make: Callable[[], horus_trio.Scheduler]) -> float:
    """`ticks` in a run of its own."""
    return trio.run(ticks, make())


def main() -> None:
    """Measure and print."""
    print_machine()
    compare(
        "A no-op def tick, thread='own'",
        "µs",
        {"horus_trio": lambda: cost(native), "horus_trio.bridges.horus": lambda: cost(facade)},
        base="horus_trio",
        repetitions=either(15, 2),
        targets={"horus_trio.bridges.horus": Target(at_most=1.3)},
    )


if __name__ == "__main__":
    main()
