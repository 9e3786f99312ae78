"""The deterministic mode: one tick at a time, in the order in which they fell due.

It trades isolation away: a tick that waits holds all others up. In return a robot without foreign
threads does exactly the same in every run under a virtual clock, although Trio runs ready tasks in
random order.
"""

from __future__ import annotations

import collections

import trio

from ..executor import NodeRunner
from ..messages import Tick

__all__ = ["Conductor"]


class Conductor:
    """Hands ticks to their nodes one after the other. `run` is its task."""

    def __init__(self) -> None:
        self._queue: collections.deque[tuple[NodeRunner, Tick]] = collections.deque()
        self._arrived = trio.Event()
        self._turn = trio.Event()

    def join(self, runner: NodeRunner) -> None:
        """Stand between a node and its ticks."""

        def dispatch(tick: Tick) -> None:
            self._queue.append((runner, tick))
            self._arrived.set()

        runner.mailbox.dispatch = dispatch
        runner.mailbox.end_turn = lambda: self._turn.set()

    async def run(self) -> None:
        """Conduct until cancelled; what is left over then is cancelled too."""
        try:
            while True:
                await self._arrived.wait()
                self._arrived = trio.Event()
                while self._queue:
                    runner, tick = self._queue.popleft()
                    if runner.mailbox.leaving is not None:
                        runner.cancel_tick(tick)
                        continue
                    self._turn = trio.Event()
                    runner.mailbox.put(tick)
                    await self._turn.wait()
        finally:
            while self._queue:
                runner, tick = self._queue.popleft()
                runner.cancel_tick(tick)
