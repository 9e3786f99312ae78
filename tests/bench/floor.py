"""The floor: what a supervised async tick costs in a bare Trio program, written by hand.

A memory channel of capacity 2, a cancel scope with a deadline, two readings of the clock, and a
tuple into a bounded deque: no fence, no statistics, no policy, nobody told of a failure. It is
what `horus_trio` is measured against, and a program of its own: run it to see the floor alone.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import math
import time
from typing import Any

import trio
import trio.testing
from _compare import curve, print_machine

from horus_trio.timer import Alarm, Grid, Timer

TIMEOUT = 1.0
SIZES = (1, 10, 100, 1000)
TICKS = 20_000
"""In one measurement, shared among the nodes."""


async def tick() -> Any:
    pass


async def node(
    mailbox: trio.MemoryReceiveChannel[float], results: collections.deque[Any], limit: float
) -> None:
    """A node with a limit for its tick; without a limit there is no scope."""
    while True:
        scheduled = await mailbox.receive()
        started = trio.current_time()
        if limit < math.inf:
            with trio.CancelScope(deadline=started + limit):
                value = await tick()
        else:
            value = await tick()
        results.append((scheduled, started, trio.current_time() - started, value))


def start(
    nursery: trio.Nursery, nodes: int, limit: float = TIMEOUT
) -> list[trio.MemorySendChannel[float]]:
    """Start nodes; returns their mailboxes."""
    results: collections.deque[Any] = collections.deque(maxlen=1024)
    mailboxes = []
    for _ in range(nodes):
        send, receive = trio.open_memory_channel[float](2)
        mailboxes.append(send)
        nursery.start_soon(node, receive, results, limit)
    return mailboxes


async def by_hand(nodes: int, limit: float) -> float:
    """CPU time of a tick in µs; all nodes are released at once, round after round."""
    rounds = TICKS // nodes
    async with trio.open_nursery() as nursery:
        mailboxes = start(nursery, nodes, limit)
        await trio.testing.wait_all_tasks_blocked()
        begun = time.thread_time()
        for _ in range(rounds):
            now = trio.current_time()
            for mailbox in mailboxes:
                mailbox.send_nowait(now)
            await trio.lowlevel.checkpoint()
            await trio.lowlevel.checkpoint()
        spent = time.thread_time() - begun
        nursery.cancel_scope.cancel()
    return spent / (nodes * rounds) * 1e6


async def at_rates(nodes: int, rate: float, seconds: float) -> float:
    """CPU time of a tick in µs; nodes tick at a rate, spread, on the same timer as the engine's."""
    ticks = 0

    class Beat:
        def __init__(self, mailbox: trio.MemorySendChannel[float], grid: Grid) -> None:
            self.mailbox, self.grid, self.n = mailbox, grid, 0
            self.alarm: Alarm = timer.alarm(self.ring)
            self.alarm.set(grid.point(0))

        def ring(self, now: float) -> None:
            nonlocal ticks
            ticks += 1
            with contextlib.suppress(trio.WouldBlock):  # the machine stood still
                self.mailbox.send_nowait(self.grid.point(self.n))
            self.n += 1
            self.alarm.set(self.grid.point(self.n))

    timer = Timer()
    try:
        async with trio.open_nursery() as nursery:
            mailboxes = start(nursery, nodes)
            await trio.testing.wait_all_tasks_blocked()
            epoch = trio.current_time() + 0.05
            for number, mailbox in enumerate(mailboxes):
                Beat(mailbox, Grid(epoch + number / nodes / rate, rate))
            nursery.start_soon(timer.run)
            await trio.sleep(0.1)
            before, begun = ticks, time.thread_time()
            await trio.sleep(seconds)
            spent = (time.thread_time() - begun) / (ticks - before)
            nursery.cancel_scope.cancel()
    finally:
        timer.close()
    return spent * 1e6


def cost(nodes: int, *, limit: float = TIMEOUT) -> float:
    """`by_hand` in a run of its own."""
    return trio.run(by_hand, nodes, limit)


def main() -> None:
    """Print the floor."""
    print_machine()
    curve(
        "The floor: a tick in a bare Trio program",
        "µs of CPU a tick",
        SIZES,
        "nodes",
        {
            "with a deadline": cost,
            "without one": functools.partial(cost, limit=math.inf),
        },
        base="with a deadline",
    )


if __name__ == "__main__":
    main()
