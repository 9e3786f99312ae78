"""Coroutines as asyncio's tasks see them: each step is watched by the node's loop.

Trio code that is awaited in asyncio code reaches asyncio as an object it does not know, after it
has registered with Trio whatever task runs the whole asyncio loop. Here it is undone and refused in
the same step, before anything comes of it. A task that fails says so here, too.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, NoReturn

import outcome
import trio

from ...errors import NodeError

__all__ = ["CANCEL_AGAIN", "Job", "Watched"]

CANCEL_AGAIN = 0.5
"""Seconds after which code that goes on although it was cancelled is cancelled again."""

REFUSALS = 8
"""How often a step is refused what is Trio's: a nursery, for one, awaits again as it is left."""

TRIO_CODE = (
    "Trio code was awaited in an AsyncioNode, whose hooks are asyncio code: write asyncio's "
    "spelling (asyncio.sleep, asyncio.timeout, asyncio.TaskGroup), or let Trio run it by `await "
    "self.run_trio(function, *args)`, or derive the node from horus_trio.AsyncNode"
)
TRIO_SCOPE = (
    "A cancel scope or a nursery of Trio's was opened around an await in an AsyncioNode, whose "
    "hooks are asyncio code: write `async with asyncio.timeout(…)` or `asyncio.TaskGroup()`, or "
    "derive the node from horus_trio.AsyncNode"
)


class Watched(Coroutine[Any, Any, Any]):
    """A coroutine that an asyncio task steps through.

    Arguments:
        coroutine: What it is about.
        failed: Called in the step in which it raises, with what it raises.
    """

    __slots__ = ("_coroutine", "_failed", "_owed")

    def __init__(
        self, coroutine: Coroutine[Any, Any, Any], failed: Callable[[BaseException], None]
    ) -> None:
        self._coroutine = coroutine
        self._failed = failed
        self._owed: NodeError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._coroutine, name)  # asyncio shows frames and names

    def __repr__(self) -> str:
        return repr(self._coroutine)

    def __await__(self) -> Any:
        return self._coroutine.__await__()

    def send(self, value: Any, /) -> Any:
        """One step."""
        return self._step(self._coroutine.send, value)

    def throw(self, typ: Any, val: Any = None, tb: TracebackType | None = None, /) -> Any:
        """One step, which begins with an exception."""
        error = typ if val is None else val
        return self._step(self._coroutine.throw, error)

    def close(self) -> None:
        """End it."""
        self._coroutine.close()

    def _step(self, advance: Callable[[Any], Any], value: Any) -> Any:
        task = trio.lowlevel.current_task()
        status = task._cancel_status
        if self._owed is not None:
            if value is None:
                advance, value = self._coroutine.throw, self._owed
            self._owed = None
        try:
            yielded = advance(value)
            if not _is_asyncios(yielded) or task._cancel_status is not status:
                for _ in range(REFUSALS):
                    yielded = self._coroutine.throw(_refusal(yielded))
                    if _is_asyncios(yielded) and task._cancel_status is status:
                        break
                else:
                    self._owed = _refusal(yielded)  # it insists: others have their turn
                    return None
        except (StopIteration, asyncio.CancelledError):
            raise
        except (KeyboardInterrupt, SystemExit) as error:
            # It would end the loop and all that runs on it: who it concerns is told.
            self._failed(error)
            raise asyncio.CancelledError from error
        except BaseException as error:
            self._failed(error)
            raise
        return yielded


class Job(Watched):
    """A coroutine that a Trio task waits for, and that learns of its cancellation.

    Arguments:
        coroutine: What it is about.
        begins: Whether it begins in any case: one that is cancelled before learns of that at its
            first await. asyncio would not run a line of it.
    """

    __slots__ = ("_again", "_holds_cancel_back", "_raise_cancel", "_task", "_waiter")

    def __init__(self, coroutine: Coroutine[Any, Any, Any], *, begins: bool = False) -> None:
        super().__init__(coroutine, lambda error: self._end(outcome.Error(error)))
        self._holds_cancel_back = begins
        self._waiter: trio.lowlevel.Task | None = None
        self._task: asyncio.Task[Any] | None = None
        self._raise_cancel: trio.lowlevel.RaiseCancelT | None = None
        self._again: asyncio.TimerHandle | None = None

    async def wait(
        self,
        loop: asyncio.AbstractEventLoop,
        name: str,
        context: contextvars.Context | None = None,
    ) -> Any:
        """Run it on a loop, and wait for its end; Trio code. A checkpoint.

        Cancelled, it has the asyncio code cancelled, and again as long as that goes on.
        """
        self._waiter = trio.lowlevel.current_task()
        coroutine = self._coroutine  # who asks where the node stands finds it here
        self._task = asyncio.Task(self, loop=loop, name=name, context=context)
        # It is looked after here. Each loop that closes looks at the tasks of all, and of very many
        # nodes that would take seconds.
        asyncio._unregister_task(self._task)
        try:
            return await trio.lowlevel.wait_task_rescheduled(self._abort)
        finally:
            del coroutine

    def lose(self, error: BaseException) -> None:
        """Its loop has ended: nothing will come of it."""
        self._end(outcome.Error(error))

    def _abort(self, raise_cancel: trio.lowlevel.RaiseCancelT) -> trio.lowlevel.Abort:
        self._raise_cancel = raise_cancel
        if not self._holds_cancel_back:
            self._cancel()
        return trio.lowlevel.Abort.FAILED  # it has to unwind

    def _cancel(self) -> None:
        task = self._task
        if task is None or task.done():
            return
        loop = task.get_loop()
        if not loop.is_closed():
            task.cancel()
            self._again = loop.call_later(CANCEL_AGAIN, self._cancel)

    def _step(self, advance: Callable[[Any], Any], value: Any) -> Any:
        try:
            yielded = super()._step(advance, value)
            if self._holds_cancel_back:
                self._holds_cancel_back = False
                if self._raise_cancel is not None:
                    self._cancel()
            return yielded
        except StopIteration as end:
            result: outcome.Outcome[Any] = outcome.Value(end.value)
        except asyncio.CancelledError as error:  # noqa: ASYNC103 - as the next one
            result = self._cancelled(error)
        except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
            result = outcome.Error(error)
        try:
            self._end(result)
        finally:
            del result
        raise StopIteration  # for its asyncio task it has ended well

    def _cancelled(self, error: asyncio.CancelledError) -> outcome.Outcome[Any]:
        if self._raise_cancel is not None:
            return outcome.capture(self._raise_cancel)
        wrong = NodeError(
            "asyncio code ended with CancelledError and nobody had cancelled it: it awaited a "
            "task or a future that was cancelled; catch asyncio.CancelledError around that await"
        )
        wrong.__cause__ = error
        return outcome.Error(wrong)

    def _end(self, result: outcome.Outcome[Any]) -> None:
        waiter, self._waiter = self._waiter, None
        if self._again is not None:
            self._again.cancel()
        if waiter is not None:
            trio.lowlevel.reschedule(waiter, result)


def _is_asyncios(yielded: Any) -> bool:
    return yielded is None or getattr(yielded, "_asyncio_future_blocking", None) is not None


def _refusal(yielded: Any) -> NodeError:
    """What is wrong with what it has yielded; whatever of Trio's it waits for forgets it."""
    abort = getattr(yielded, "abort_func", None)
    if abort is not None:
        abort(_raise_cancel)
    return NodeError(TRIO_SCOPE if _is_asyncios(yielded) else TRIO_CODE)


def _raise_cancel() -> NoReturn:
    raise NodeError(TRIO_CODE)
