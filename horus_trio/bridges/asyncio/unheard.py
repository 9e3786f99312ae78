"""When a task of asyncio's that failed is its node's failure.

asyncio says that nobody has looked at a task's exception when the task is garbage; one that is kept
in an attribute would fail for nobody to know. On the other hand code may well look at a task a
little later, in the next tick for instance. So the rule is: there is time until the end of the next
tick that begins; for a node that does not tick meanwhile, `PATIENCE` seconds, or two periods if
that is more. A tick that runs may look at what it has created itself for as long as it runs.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable
from typing import Any

from ...node import Seat

__all__ = ["PATIENCE", "Unheard"]

PATIENCE = 1.0
"""Seconds for a node that does not tick."""


class Unheard:
    """The tasks of one loop that failed, until somebody looks at them.

    Arguments:
        loop: Their loop.
        seat: Knows the period of the node.
        failed: Called with what nobody has looked at.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        seat: Seat,
        failed: Callable[[BaseException], None],
    ) -> None:
        self._loop = loop
        self._seat = seat
        self._report = failed
        self._begun = 0  # ticks that have begun
        self.running: int = 0
        """The number of the tick that runs, or 0."""
        self._failed: dict[weakref.ref[asyncio.Task[Any]], int] = {}

    def tick_begins(self) -> int:
        """Returns its number."""
        self._begun += 1
        self.running = self._begun
        return self._begun

    def tick_ends(self, number: int) -> None:
        """Those that failed before it began have had their time."""
        if self.running == number:
            self.running = 0
        if self._failed:
            for failed, before in tuple(self._failed.items()):
                if before < number:
                    self._judge(failed)

    def add(self, task: asyncio.Task[Any], created_in: int) -> None:
        """A task is about to fail, which was created while that tick ran."""
        failed = weakref.ref(task)
        self._failed[failed] = self._begun
        self._give_time(failed, created_in)

    def close(self) -> None:
        """No more time for anybody."""
        for failed in tuple(self._failed):
            self._judge(failed)

    def _give_time(self, failed: weakref.ref[asyncio.Task[Any]], created_in: int) -> None:
        patience = max(PATIENCE, 2 * self._seat.period)
        self._loop.call_later(patience, self._time_is_over, failed, created_in)

    def _time_is_over(self, failed: weakref.ref[asyncio.Task[Any]], created_in: int) -> None:
        before = self._failed.get(failed)
        if before is None or self.running > before:
            return  # judged, or when the tick ends that has begun since
        if created_in and created_in == self.running:
            self._give_time(failed, created_in)
        else:
            self._judge(failed)

    def _judge(self, failed: weakref.ref[asyncio.Task[Any]]) -> None:
        self._failed.pop(failed, None)
        task = failed()
        if task is None or not task.done() or not task._log_traceback:
            return  # asyncio has told of it, or somebody has looked
        error = task.exception()
        if error is not None:
            self._report(error)
