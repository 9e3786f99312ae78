"""One attempt at an operation: cancelled at a chosen yield, and never longer than its deadline.

`Cut` counts how often the operation yields to Trio, in its own task and in those of nurseries it
opened, and cancels it at one of these yields: *while it waits* there, or *as it is woken*, when
what it waited for has happened and the cancellation is still to be delivered.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import outcome
import trio

from ..eviction import Eviction, is_inside
from ..internals import cancelled_with, is_shielded_from
from ..places import Place, place_of_task

__all__ = ["BEFORE", "UNCUT", "WAITING", "WOKEN", "Cut", "Ending", "attend"]

BEFORE = "before it began"
WAITING = "while it waited"
WOKEN = "as it was woken"
UNCUT = "not cancelled"


class Cut(trio.abc.Instrument):
    """Cancels an operation at its `checkpoint`-th yield.

    Arguments:
        checkpoint: Which yield, from 1; 0 for `BEFORE` and `UNCUT`.
        moment: `BEFORE`, `WAITING`, `WOKEN` or `UNCUT`.
        record: Whether to keep the place of every yield.

    Attributes:
        scope: What is cancelled.
        yields: How many yields there were.
        places: Where the operation stood at each of them, if `record`.
        place: Where it stood at the one where it was cancelled, or at the first.
        came: Where Cancelled came out of, told from outside.
        fired: Whether it was cancelled: it may have ended before.
        delivered: Whether Cancelled was raised in the operation's own task.
    """

    def __init__(self, checkpoint: int = 0, moment: str = UNCUT, *, record: bool = False) -> None:
        self.checkpoint = checkpoint
        self.moment = moment
        self.scope: trio.CancelScope = trio.CancelScope()
        self.yields: int = 0
        self.places: list[Place | None] = []
        self.place: Place | None = None
        self.came: Place | None = None
        self.fired: bool = False
        self.delivered: bool = False
        self._record = record
        self._task: trio.lowlevel.Task | None = None
        self._standing: dict[trio.lowlevel.Task, int] = {}
        self._ended: trio.lowlevel.Task | None = None
        self._broken: Exception | None = None

    async def run(self, operation: Callable[[], Awaitable[object]], seconds: float) -> Ending:
        """Run the operation in a task of its own. A checkpoint."""
        endings = list[Ending]()

        async def run() -> None:
            with self.scope:
                self._task = trio.lowlevel.current_task()
                if self.moment == BEFORE:
                    self._fire()
                endings.append(await attend(operation, seconds=seconds))

        trio.lowlevel.add_instrument(self)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(run, name="the operation")
        finally:
            trio.lowlevel.remove_instrument(self)
            self._standing.clear()
        if self._broken is not None:
            raise self._broken
        return endings[0]

    # Called by Trio; an instrument must not raise

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """The task has yielded, or ended."""
        ended, self._ended = self._ended, None
        if ended is task or not is_inside(task, self._task):
            return
        self.yields += 1
        self._standing[task] = self.yields
        try:
            if self._record:
                self.places.append(place_of_task(task, self._task))
            if self.yields == max(self.checkpoint, 1):
                self.place = place_of_task(task, self._task)
        except Exception as error:  # noqa: BLE001 - raised again in `run`
            self._broken = error
        if self.moment == WAITING and self.yields == self.checkpoint:
            self._fire()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """The task is about to go on."""
        standing = self._standing.pop(task, 0)
        if self.moment == WOKEN and standing and standing == self.checkpoint:
            self._fire()

    def task_scheduled(self, task: trio.lowlevel.Task) -> None:
        """If it is Cancelled that the operation's own task is woken with, it must come out."""
        if (
            self.fired
            and task is self._task
            and cancelled_with(task)
            and not is_shielded_from(task, self.scope)
        ):
            self.delivered = True

    def task_exited(self, task: trio.lowlevel.Task) -> None:
        """The step that is under way is the task's last."""
        self._ended = task

    def _fire(self) -> None:
        self.fired = True
        self.scope.cancel()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a piece of code ended.

    Attributes:
        result: What it returned or raised.
        hung: Whether it had to be evicted.
        stuck: Where it stood then, as far as that can be told.
    """

    result: outcome.Value[Any] | outcome.Error
    hung: bool
    stuck: Place | None


async def attend(function: Callable[..., Awaitable[object]], *args: Any, seconds: float) -> Ending:
    """Await ``function(*args)`` in this task, for at most `seconds` of real time.

    Whatever it raises is captured, `trio.Cancelled` included.
    """
    with Eviction(trio.lowlevel.current_task(), seconds) as eviction:
        result: outcome.Value[Any] | outcome.Error = await outcome.acapture(function, *args)
    return Ending(result=result, hung=eviction.begun, stuck=eviction.stuck)
