"""What one task or thread waits for, and another thread brings.

Who waits may go away: then it is given up, and what is brought is nobody's. Which of the two comes
first is decided under a lock, once. A task is woken through the loop's bell, so however many
results come at once, the loop is woken once.
"""

from __future__ import annotations

import contextvars
import queue
import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import outcome
import trio

from ..messages import current_fence
from ..topics.bell import Bell, current_bell
from ..topics.waiting import ThreadWaiter, Waiter
from .at_work import current_at_work
from .functions import nothing

__all__ = ["CallThread", "Pending", "ThreadCall"]

T = TypeVar("T")


class Pending(Generic[T]):
    """A result that is to come; it is waited for once.

    Arguments:
        holds: Whether who waits stays once the work has begun: then it is not given up any more,
            except by a tick that is abandoned.
    """

    __slots__ = (
        "_bell",
        "_given_up",
        "_has_begun",
        "_holds",
        "_lock",
        "_result",
        "_task",
        "_waiter",
    )

    def __init__(self, *, holds: bool = False) -> None:
        self._holds = holds
        self._lock = threading.Lock()
        self._has_begun = False
        self._given_up = False
        self._result: outcome.Outcome[T] | None = None
        self._bell: Bell | None = None
        self._task: trio.lowlevel.Task | None = None
        self._waiter: ThreadWaiter | None = None

    @property
    def is_over(self) -> bool:
        """Whether the result has come, wanted or not; any thread."""
        return self._result is not None

    # Who brings it; any thread

    def begin(self) -> bool:
        """The work begins; False: nobody wants it any more."""
        with self._lock:
            self._has_begun = not self._given_up
            return self._has_begun

    def end(self, result: outcome.Outcome[T]) -> bool:
        """The result; False: nobody wants it any more."""
        with self._lock:
            self._result = result
            if self._given_up:
                return False
            bell, waiter = self._bell, self._waiter
        if waiter is not None:
            waiter.wake()
        elif bell is not None:
            bell.ring(self)
        return True

    # Who waits

    async def wait(self, submit: Callable[[], object]) -> T:
        """Have the work done, and wait for its result. A checkpoint.

        Cancelled, it is given up, unless the result has come already.

        Arguments:
            submit: Hands it to who brings the result.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        self._bell = current_bell()
        self._task = trio.lowlevel.current_task()
        submit()
        await trio.lowlevel.wait_task_rescheduled(self._abort)
        return self._unwrap()

    def wait_blocking(self, submit: Callable[[], object], call: str, timeout: float | None) -> T:
        """`wait` for threads: blocks this one.

        Raises:
            TimeoutError: `call` has not ended within `timeout` seconds of real time.
            TickAbandoned: The calling tick was abandoned meanwhile.
        """

        def enter(waiter: Waiter) -> bool:
            submit()
            return True

        self._waiter = waiter = ThreadWaiter()
        in_time = waiter.wait(enter, nothing, timeout)
        if not in_time and not self._give_up():
            waiter.wait(_worth_it, nothing)  # what has begun ends, or the tick is abandoned
        if not self.is_over:
            fence = current_fence.get()
            if fence is not None and fence.closed:
                with self._lock:
                    self._given_up = True
                fence.refuse()
            raise TimeoutError(f"{call} has not ended within {timeout:g} s")
        return self._unwrap()

    def _abort(self, _: trio.lowlevel.RaiseCancelT) -> trio.lowlevel.Abort:
        if not self._give_up():
            return trio.lowlevel.Abort.FAILED
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED

    def _give_up(self) -> bool:
        with self._lock:
            if self._result is None and not (self._holds and self._has_begun):
                self._given_up = True
            return self._given_up

    def _answer(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            trio.lowlevel.reschedule(task)

    def _unwrap(self) -> T:
        if self._result is None:
            raise trio.ClosedResourceError("nothing has come")
        return self._result.unwrap()


class ThreadCall(Pending[T]):
    """A function call in a `CallThread`.

    Arguments:
        function: What is called there, in the context of this moment.
        on_late: Called there with what the function has brought, if it was given up meanwhile.
        always: Whether it is called also if it was given up before.
    """

    __slots__ = ("_always", "_context", "_function", "_on_late")

    def __init__(
        self,
        function: Callable[[], T],
        *,
        on_late: Callable[[outcome.Outcome[T]], object] | None = None,
        always: bool = False,
    ) -> None:
        super().__init__()
        self._function = function
        self._on_late = on_late
        self._always = always
        self._context = contextvars.copy_context()

    def work(self) -> None:
        """In the thread."""
        if not self.begin() and not self._always:
            return
        result = outcome.capture(self._context.run, self._function)
        if not self.end(result) and self._on_late is not None:
            self._on_late(result)


class CallThread:
    """A thread that runs one call after the other. It is started by the first one.

    Made on the loop.

    Arguments:
        name: Of the thread.
    """

    __slots__ = ("_at_work", "_calls", "_lock", "_name", "_runs")

    def __init__(self, name: str) -> None:
        self._name = name
        self._at_work = current_at_work()
        self._lock = threading.Lock()
        self._runs = False
        self._calls: queue.SimpleQueue[ThreadCall[Any] | None] = queue.SimpleQueue()

    def submit(self, call: ThreadCall[Any]) -> None:
        """Have a call run after those submitted before; any thread.

        Raises:
            RuntimeError: No thread could be started.
        """
        if not self._runs:
            with self._lock:
                if not self._runs:
                    trio.lowlevel.start_thread_soon(self._work, nothing, self._name)
                    self._runs = True
        self._at_work.begin(call)
        self._calls.put(call)

    def finish(self) -> None:
        """No more calls: the thread ends after those that have been submitted."""
        with self._lock:
            if self._runs:
                self._calls.put(None)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            call.work()
            self._at_work.end(call)
            del call  # keep nothing alive while idle


def _worth_it(_: Waiter) -> bool:
    return True
