"""What a no-op async tick costs, against the bare Trio program of ``floor.py``.

Ours does all that the floor does, with its statistics on and a reader of the results open; and the
fence, the policies and the accounting besides. CPU time of the thread. First all nodes are
released at once, by hand, which is the tick and nothing else; then whole runs: a scheduler with
rates, against the floor on the engine's own timer.
"""

from __future__ import annotations

import functools
import math
import time

import floor
import trio
import trio.testing
from _compare import Target, curve, print_machine

import horus_trio as horus
from horus_trio.scheduler.interpreter import Collector

TICKS_A_SECOND = 4000
"""Of all nodes of a whole run together: busy, and far from saturated."""

SECONDS = 0.7

MORE_TO_TOUCH = "of very many nodes none is in the processor's caches, and ours are larger"


class Idle(horus.AsyncNode):
    async def tick_async(self) -> None:
        pass


async def by_hand(nodes: int, limit: float) -> float:
    """CPU time of a tick in µs; all nodes are released at once, round after round."""
    rounds = floor.TICKS // nodes
    tick_timeout = None if limit == math.inf else limit
    # As in a scheduler's run, the collector does not walk over the nodes again and again.
    with Collector() as collector:
        async with horus.open_executor() as executor:
            for number in range(nodes):
                await executor.spawn_node(Idle(f"idle-{number}"), tick_timeout=tick_timeout)
            mailboxes = [runner.mailbox for runner in executor.runners.values()]
            await trio.testing.wait_all_tasks_blocked()
            collector.freeze()
            begun = time.thread_time()
            for _ in range(rounds):
                now = executor.clock()
                for mailbox in mailboxes:
                    mailbox.release(now)
                await trio.lowlevel.checkpoint()
                await trio.lowlevel.checkpoint()
            spent = time.thread_time() - begun
            done = sum(node.ok for node in executor.statistics().nodes.values())
    if done < nodes * (rounds - 1):
        raise RuntimeError(f"only {done} of {nodes * rounds} ticks ran")
    return spent / (nodes * rounds) * 1e6


async def at_rates(nodes: int, rate: float, seconds: float) -> float:
    """CPU time of a tick in µs in a scheduler's run, once it has started."""

    def released() -> int:
        return sum(node.ticks_released for node in scheduler.statistics().nodes.values())

    scheduler = horus.Scheduler(tick_rate=rate)
    for number in range(nodes):
        scheduler.add(Idle(f"idle-{number}"), tick_timeout=floor.TIMEOUT)
    async with trio.open_nursery() as nursery, scheduler.open_results():
        await nursery.start(scheduler.run)
        await trio.sleep(0.1)
        before = released()
        begun = time.thread_time()
        await trio.sleep(seconds)
        spent = time.thread_time() - begun
        spent /= released() - before
        scheduler.stop("measured")
    return spent * 1e6


def cost(nodes: int, *, limit: float = floor.TIMEOUT) -> float:
    """`by_hand` in a run of its own."""
    return trio.run(by_hand, nodes, limit)


def main() -> None:
    """Measure and print."""
    print_machine()
    curve(
        "A no-op async tick",
        "µs of CPU a tick",
        floor.SIZES,
        "nodes",
        {
            "bare Trio": floor.cost,
            "horus_trio": cost,
            "horus_trio, no tick_timeout": functools.partial(cost, limit=math.inf),
            "bare Trio, no deadline": functools.partial(floor.cost, limit=math.inf),
        },
        base="bare Trio",
        targets={
            "horus_trio": Target(at_most=1.3, why_missed=MORE_TO_TOUCH),
            "horus_trio, no tick_timeout": Target(at_most=1.0, why_missed=MORE_TO_TOUCH),
        },
    )
    curve(
        f"A no-op async tick in a run, {TICKS_A_SECOND} ticks a second",
        "µs of CPU a tick, timer and waiting included",
        (10, 100, 1000),
        "nodes",
        {
            "bare Trio": lambda nodes: trio.run(
                floor.at_rates, nodes, TICKS_A_SECOND / nodes, SECONDS
            ),
            "horus_trio": lambda nodes: trio.run(at_rates, nodes, TICKS_A_SECOND / nodes, SECONDS),
        },
        base="bare Trio",
        targets={"horus_trio": Target(at_most=1.3)},
    )


if __name__ == "__main__":
    main()
