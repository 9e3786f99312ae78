"""A limit of real time on code that may neither end nor let itself be cancelled.

What still runs then is evicted: every place where it waits raises `Evicted`, shielded or not. Only
code that blocks the loop, or discards every `BaseException`, resists; that of others may be
dropped where it stands, and nothing of it runs any more.
"""

from __future__ import annotations

import contextlib
import threading
from types import TracebackType
from typing import TYPE_CHECKING

import trio

from .internals import abort, drop, goes_on, is_blocked, throw_into
from .places import Place, place_of_frames, place_of_task

if TYPE_CHECKING:
    from typing import Self

__all__ = ["Evicted", "Eviction", "is_alive", "is_inside"]

EVICTION_INTERVAL = 0.02
"""Seconds between two rounds of eviction."""

EVICTIONS = 1000
"""How many places may raise `Evicted` before the code is dropped, or left alone."""


ROUNDS = 10
"""How many rounds of eviction there are before code that may be is dropped."""


class Evicted(BaseException):
    """Raised where code still waits after its deadline."""


class Eviction(trio.abc.Instrument):
    """While inside, a limit of real time on a task and on the nurseries opened inside it.

    A thread watches the time: the run's own clock may be a virtual one that stands still.

    Arguments:
        root: The task.
        seconds: Its limit.
        drops: Whether it is dropped if nothing else helps; not of the task that waits for this.

    Attributes:
        begun: Whether the time was over.
        stuck: Where the code stood then.
    """

    def __init__(self, root: trio.lowlevel.Task, seconds: float, *, drops: bool = False) -> None:
        self._drops = drops
        self._dropping = False
        self.begun: bool = False
        self.stuck: Place | None = None
        self._root = root
        self._seconds = seconds
        self._token = trio.lowlevel.current_trio_token()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="deadline", daemon=True)
        self._rounds = 0
        self._left = EVICTIONS

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()
        if self.begun:
            trio.lowlevel.remove_instrument(self)

    def _watch(self) -> None:
        wait = self._seconds
        with contextlib.suppress(trio.RunFinishedError):
            while not self._over.wait(wait):
                self._token.run_sync_soon(self._evict, idempotent=True)
                wait = EVICTION_INTERVAL

    def _evict(self) -> None:
        """On the loop, between the steps of all tasks."""
        if self._over.is_set():
            return
        leaves = [task for task in _tree(self._root) if not _has_children(task)]
        if not self.begun:
            self.begun = True
            places = [place_of_frames(task.iter_await_frames()) for task in leaves]
            places += [place_of_task(task, self._root) for task in leaves]
            self.stuck = next((place for place in places if place is not None), None)
            trio.lowlevel.add_instrument(self)
        self._rounds += 1
        promises = self._rounds * EVICTION_INTERVAL < self._seconds
        self._dropping = self._drops and (self._rounds > ROUNDS or self._left <= 0)
        for task in leaves:
            if is_blocked(task) and (self._left > 0 or self._dropping):
                self._left -= 1
                abort(task, Evicted(), heed_promises=promises)

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Evict also what never blocks for long: a loop that discards `trio.Cancelled`."""
        if not is_inside(task, self._root):
            return
        if self._dropping:
            drop(task, Evicted())
        elif self._left > 0 and goes_on(task):
            self._left -= 1
            throw_into(task, Evicted())


def is_alive(task: trio.lowlevel.Task) -> bool:
    """Whether a task has not ended."""
    nursery = task.parent_nursery
    return nursery is not None and task in nursery.child_tasks


def _tree(root: trio.lowlevel.Task) -> list[trio.lowlevel.Task]:
    tasks = [root]
    for task in tasks:  # it grows
        for nursery in task.child_nurseries:
            tasks.extend(nursery.child_tasks)
    return tasks


def _has_children(task: trio.lowlevel.Task) -> bool:
    return any(nursery.child_tasks for nursery in task.child_nurseries)


def is_inside(task: trio.lowlevel.Task, root: trio.lowlevel.Task | None) -> bool:
    """Whether a task is `root`, or runs in a nursery that was opened inside it."""
    inner: trio.lowlevel.Task | None = task
    while inner is not None and root is not None:
        if inner is root:
            return True
        nursery = inner.parent_nursery
        inner = nursery.parent_task if nursery else None
    return False
