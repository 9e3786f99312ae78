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
        self._playing: NodeRunner | None = None
        self._scope = trio.CancelScope(shield=True)

    def join(self, runner: NodeRunner) -> None:
        """Stand between a node and its ticks."""

        def dispatch(tick: Tick) -> None:
            self._queue.append((runner, tick))
            self._arrived.set()

        def end_turn() -> None:
            if self._playing is runner:  # a node that leaves between its ticks holds no turn
                self._turn.set()

        def withdraw() -> list[Tick]:
            mine = [tick for whose, tick in self._queue if whose is runner]
            others = [(whose, tick) for whose, tick in self._queue if whose is not runner]
            self._queue.clear()
            self._queue.extend(others)
            return mine

        runner.mailbox.dispatch = dispatch
        runner.mailbox.end_turn = end_turn
        runner.mailbox.withdraw = withdraw

    async def run(self) -> None:
        """Conduct until `close`, also while the run around it is being cancelled."""
        with self._scope:
            while True:
                await self._arrived.wait()
                self._arrived = trio.Event()
                while self._queue:
                    runner, tick = self._queue.popleft()
                    if runner.mailbox.leaving is not None:
                        runner.cancel_tick(tick)
                        continue
                    self._playing, self._turn = runner, trio.Event()
                    runner.mailbox.put(tick)
                    await self._turn.wait()

    def close(self) -> None:
        """After every node has left, and has taken its ticks with it."""
        self._scope.cancel()
