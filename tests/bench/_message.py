"""What a message costs that a node sends and receives itself, and the same through a bare channel.

One thread, nobody waits: an append, a removal, and what the engine keeps account of. CPU time.
"""

from __future__ import annotations

import math
import time

import trio

import horus_trio as horus

__all__ = ["bare", "cost"]

MESSAGES = 20_000
"""In one measurement."""


class Echo(horus.AsyncNode):
    """Sends and receives in one tick, and is done."""

    subs = ("echo",)
    pubs = ("echo",)
    spent = math.nan

    async def tick_async(self) -> None:
        send, recv = self.send, self.recv
        begun = time.thread_time()
        for number in range(MESSAGES):
            send("echo", number)
            if recv("echo") != number:
                raise RuntimeError("a message was lost")
        self.spent = time.thread_time() - begun
        self.request_stop()


def cost() -> float:
    """CPU time in µs of a node's `send` and `recv`."""
    node = Echo()
    horus.run(node)
    return node.spent / MESSAGES * 1e6


def bare() -> float:
    """CPU time in µs of `send_nowait` and `receive_nowait` on a memory channel."""

    async def echo() -> float:
        sending, receiving = trio.open_memory_channel[int](64)
        send, receive = sending.send_nowait, receiving.receive_nowait
        begun = time.thread_time()
        for number in range(MESSAGES):
            send(number)
            if receive() != number:
                raise RuntimeError("a message was lost")
        return time.thread_time() - begun

    return trio.run(echo) / MESSAGES * 1e6
