"""What a node's task awaits now, and how it is cut short: at a stop, or after a failure beside it.

The task is shielded, so besides time limits this is the only thing that ends what it awaits. Each
thing it awaits is within a scope; once that has been used, there is a new one.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from ..timer import Timer
from .worker import Worker

__all__ = ["Life"]


class Life:
    """The scope around whatever the task of one node awaits. On the loop.

    Arguments:
        worker: The node's: gives up the thread call it is in.
        timer: Rings when the time to finish is over.
        clock: Seconds.

    Attributes:
        scope: The present one. Who enters it calls `renew` afterwards.
        is_cut: Whether it was cut short, since the node began to tick.
    """

    __slots__ = ("_clock", "_timer", "_worker", "is_cut", "scope")

    def __init__(self, worker: Worker, timer: Timer, clock: Callable[[], float]) -> None:
        self.scope: trio.CancelScope = trio.CancelScope()
        self.is_cut: bool = False
        self._worker = worker
        self._timer = timer
        self._clock = clock

    def renew(self) -> None:
        """Have a new scope for what comes next."""
        self.scope = trio.CancelScope()

    def cut_short(self) -> None:
        """End what is awaited now, or what is awaited next."""
        self.is_cut = True
        self._worker.cancel()
        self.scope.cancel()

    def cut_short_in(self, seconds: float) -> None:
        """`cut_short` after so many seconds; once."""
        self._timer.alarm(lambda now: self.cut_short()).set(self._clock() + seconds)
