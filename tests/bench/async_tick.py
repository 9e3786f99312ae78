"""What a no-op async tick costs, against the same thing written by hand.

The rival is a bare Trio program: a memory channel of capacity 2, a cancel scope with a deadline,
two readings of the clock, and a tuple into a bounded deque. Ours does all of that and the fence,
statistics, policies and a results reader besides. CPU time of the thread, ten nodes.
"""

from __future__ import annotations

import collections
import functools
import time
from typing import Any

import trio
import trio.testing
from _compare import Target, compare, print_machine

import horus_trio as horus

NODES = 10
ROUNDS = 2000
TIMEOUT = 1.0


class Idle(horus.AsyncNode):
    async def tick_async(self) -> None:
        pass


async def floor(*, with_deadline: bool) -> float:
    results: collections.deque[Any] = collections.deque(maxlen=1024)

    async def tick() -> Any:
        pass

    async def node(mailbox: trio.MemoryReceiveChannel[float]) -> None:
        while True:
            scheduled = await mailbox.receive()
            started = trio.current_time()
            if with_deadline:
                with trio.CancelScope(deadline=started + TIMEOUT):
                    value = await tick()
            else:
                value = await tick()
            results.append((scheduled, started, trio.current_time() - started, value))

    async with trio.open_nursery() as nursery:
        mailboxes = []
        for _ in range(NODES):
            send, receive = trio.open_memory_channel[float](2)
            mailboxes.append(send)
            nursery.start_soon(node, receive)
        await trio.testing.wait_all_tasks_blocked()
        begun = time.thread_time()
        for _ in range(ROUNDS):
            now = trio.current_time()
            for mailbox in mailboxes:
                mailbox.send_nowait(now)
            await trio.lowlevel.checkpoint()
            await trio.lowlevel.checkpoint()
        spent = time.thread_time() - begun
        nursery.cancel_scope.cancel()
    return spent / (NODES * ROUNDS) * 1e6


async def ours(*, timeout: float | None) -> float:  # noqa: ASYNC109 - the option's name
    async with horus.open_executor() as executor:
        for number in range(NODES):
            await executor.spawn_node(Idle(f"idle-{number}"), tick_timeout=timeout)
        mailboxes = [runner.mailbox for runner in executor.runners.values()]
        await trio.testing.wait_all_tasks_blocked()
        begun = time.thread_time()
        for _ in range(ROUNDS):
            now = executor.clock()
            for mailbox in mailboxes:
                mailbox.release(now)
            await trio.lowlevel.checkpoint()
            await trio.lowlevel.checkpoint()
        spent = time.thread_time() - begun
        done = sum(node.ok for node in executor.statistics().nodes.values())
    if done < NODES * (ROUNDS - 1):
        raise RuntimeError(f"only {done} of {NODES * ROUNDS} ticks ran")
    return spent / (NODES * ROUNDS) * 1e6


if __name__ == "__main__":
    print_machine()
    compare(
        "A no-op async tick",
        "µs of CPU a tick",
        {
            "bare Trio": functools.partial(trio.run, functools.partial(floor, with_deadline=True)),
            "horus_trio": functools.partial(trio.run, functools.partial(ours, timeout=TIMEOUT)),
            "bare Trio, no deadline": functools.partial(
                trio.run, functools.partial(floor, with_deadline=False)
            ),
            "horus_trio, no tick_timeout": functools.partial(
                trio.run, functools.partial(ours, timeout=None)
            ),
        },
        base="bare Trio",
        targets={"horus_trio": Target(at_most=1.6)},
    )
