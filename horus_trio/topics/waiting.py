"""Sleeping until somebody else, in any thread, says that it is worth looking again.

Both kinds of sleepers end early when the tick they belong to is abandoned.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from typing import Protocol, TypeAlias

import trio

from ..errors import AsyncCallInThread
from ..messages import Fence, current_fence
from .bell import Bell, current_bell

__all__ = [
    "Rest",
    "TaskWaiter",
    "ThreadWaiter",
    "Waiter",
    "WokenBy",
    "current_rest",
    "refuse_on_loop",
]

Rest: TypeAlias = tuple[Callable[[], None], Callable[[], None]]
"""What a thread calls when it goes to sleep, and what is called by whoever wakes it."""

current_rest: contextvars.ContextVar[Callable[[], Rest] | None] = contextvars.ContextVar(
    "horus_trio_rest", default=None
)
"""Gives a thread its `Rest`. On virtual time, a test harness knows by it which threads sleep."""


class Waiter(Protocol):
    """Whoever sleeps: a task, a thread, or a task of another kind of loop."""

    def wake(self) -> None:
        """End the sleep, also one that has not begun; any thread."""


class TaskWaiter:
    """A task that sleeps, once."""

    def __init__(self) -> None:
        self._bell: Bell = current_bell()
        self._task: trio.lowlevel.Task | None = None
        self._woken = False

    def wake(self) -> None:
        """End the sleep, also one that has not begun; any thread."""
        if not self._woken:  # once is enough: who is woken looks itself
            self._woken = True
            self._bell.ring(self)

    def _answer(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            trio.lowlevel.reschedule(task)

    async def wait(self, enter: Callable[[Waiter], bool], leave: Callable[[], None]) -> None:
        """Sleep until `wake`. A checkpoint only if there is something to wait for.

        Arguments:
            enter: Given the waiter, it sees to being woken, and says whether it is worth waiting.
            leave: Undoes `enter`; called however the sleep ends.

        Raises:
            TickAbandoned: The calling tick had been abandoned before.
        """
        if not enter(self):
            leave()
            return
        fence = current_fence.get()
        if fence is not None and fence.closed:
            leave()
            fence.refuse()
        self._task = trio.lowlevel.current_task()

        def abort(_: trio.lowlevel.RaiseCancelT) -> trio.lowlevel.Abort:
            self._task = None
            return trio.lowlevel.Abort.SUCCEEDED

        try:
            with WokenBy(fence, self.wake):
                await trio.lowlevel.wait_task_rescheduled(abort)
        finally:
            leave()


class ThreadWaiter:
    """A thread that sleeps, once."""

    def __init__(self) -> None:
        # Taken twice by the sleeper, the second time to sleep. A `threading.Event` is the same in
        # a few layers of Python, which are most of what a short sleep costs.
        self._bed = threading.Lock()
        self._bed.acquire()
        self._get_up: Callable[[], None] | None = None

    def wake(self) -> None:
        """End the sleep, also one that has not begun; any thread."""
        try:  # noqa: SIM105 - costs less than `suppress`
            self._bed.release()
        except RuntimeError:  # somebody else has
            pass
        if self._get_up is not None:  # looked at after the release, see `wait`
            self._get_up()

    def wait(
        self,
        enter: Callable[[Waiter], bool],
        leave: Callable[[], None],
        timeout: float | None = None,
    ) -> bool:
        """Sleep until `wake`, or for `timeout` seconds of real time.

        Arguments:
            enter: Given the waiter, it sees to being woken, and says whether it is worth waiting.
            leave: Undoes `enter`; called however the sleep ends.
            timeout: None: for as long as it takes.

        Returns:
            False if the time was over first.
        """
        worth_waiting = enter(self)
        try:
            if not worth_waiting:
                return True
            rest = current_rest.get()
            if rest is not None:
                lie_down, self._get_up = rest()
                if self._bed.locked():  # looked at after `_get_up` was set: no waker misses both
                    lie_down()
            fence = current_fence.get()
            if fence is None:
                return self._sleep(timeout)
            with WokenBy(fence, self.wake):
                return self._sleep(timeout)
        finally:
            if self._get_up is not None:
                self._get_up()  # its time was over, or the tick it belongs to
            leave()

    def _sleep(self, timeout: float | None) -> bool:
        if timeout is None:
            return self._bed.acquire()
        return self._bed.acquire(timeout=min(max(timeout, 0.0), threading.TIMEOUT_MAX))


class WokenBy:
    """While inside, the closing of the fence wakes the waiter."""

    __slots__ = ("_fence", "_wake")

    def __init__(self, fence: Fence | None, wake: Callable[[], None]) -> None:
        self._fence = fence
        self._wake = wake

    def __enter__(self) -> None:
        if self._fence is not None:
            self._fence.on_close(self._wake)

    def __exit__(self, *exc_info: object) -> None:
        if self._fence is not None:
            self._fence.forget(self._wake)


def refuse_on_loop(call: str, instead: str) -> None:
    """Raise `AsyncCallInThread` if this thread is the loop's, which `call` would block."""
    if trio.lowlevel.in_trio_run():
        raise AsyncCallInThread(f"{call} would block the Trio loop; in async code use {instead}")
