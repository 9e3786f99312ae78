"""One call of a user's function, ``def`` or ``async def``, that ends in time.

An ``async`` one is cancelled at its limit. A ``def`` one has a thread that is left behind then: it
goes on, beside whatever comes next, and may still succeed. Only so many may be out; beyond that no
call is begun. It is counted by the function's own return, not by the token of a limiter: that one
would be gone for ever if the Trio run ended first.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, TypeVar, cast

import trio

from ..errors import ConfigurationError, HorusError
from .at_work import AtWork, current_at_work
from .functions import is_async

__all__ = ["FAILURES", "Attempt", "Caller", "Threads", "TimedOut"]

FAILURES = (Exception, SystemExit)
"""What a user's function may raise: it has failed, and nothing else has."""

T = TypeVar("T")


class TimedOut(HorusError, TimeoutError):
    """A function did not return in time."""


class Attempt:
    """What has become of one call; for one that was left behind, it may become true later.

    Attributes:
        in_thread: Whether a thread was sent out for it.
        done: Whether it has returned or raised.
        error: What it has raised, if it is done.
    """

    __slots__ = ("_left_in", "done", "error", "in_thread")

    def __init__(self) -> None:
        self.in_thread: bool = False
        self.done: bool = False
        self.error: BaseException | None = None
        self._left_in: AtWork | None = None

    @property
    def succeeded(self) -> bool:
        """Whether it has returned."""
        return self.done and self.error is None

    def end(self, error: BaseException | None = None) -> None:
        """It has returned, or raised this; any thread."""
        self.error = error
        self.done = True  # in this order
        if self._left_in is not None:
            self._left_in.end(self)

    def leave_in(self, at_work: AtWork) -> None:
        """Nobody waits for its thread any more, which still has to do. On the loop."""
        self._left_in = at_work
        if self.done:
            at_work.end(self)


class Threads:
    """The threads that were left behind.

    Arguments:
        limit: How many may be.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._out: tuple[Attempt, ...] = ()
        self.limiter: trio.CapacityLimiter = trio.CapacityLimiter(math.inf)

    def __len__(self) -> int:
        """How many have not returned; any thread."""
        return sum(not attempt.done for attempt in self._out)

    @property
    def exhausted(self) -> bool:
        """Whether no more may be sent out."""
        return len(self) >= self._limit

    def leave_behind(self, attempt: Attempt) -> None:
        """Nobody waits for this one any more. On the loop."""
        self._out = (*(other for other in self._out if not other.done), attempt)


class Caller(Generic[T]):
    """Calls a function, with a limit of time.

    Arguments:
        what: The function's name, for messages.
        function: The user's.
        timeout: Seconds, or None.
        threads: Counts those of ``def`` functions.
    """

    def __init__(
        self,
        what: str,
        function: Callable[..., object],
        timeout: float | None,
        threads: Threads,
    ) -> None:
        self._what = what
        self._function = function
        self._timeout = math.inf if timeout is None else timeout
        self._threads = threads
        self._is_async = is_async(function)

    async def call(
        self, attempt: Attempt, items: Sequence[T], *args: object
    ) -> BaseException | None:
        """Call it with a list of its own; returns what went wrong.

        A checkpoint, unless an ``async`` function has none.
        """
        call = self._on_loop if self._is_async else self._in_thread
        try:
            with trio.move_on_after(self._timeout):
                await call(attempt, list(items), args)
        except FAILURES as error:
            return error
        if attempt.done:
            return attempt.error
        return TimedOut(f"{self._what} has not returned within {self._timeout:g} s")

    async def _on_loop(self, attempt: Attempt, items: list[T], args: Sequence[Any]) -> None:
        await cast("Callable[..., Awaitable[object]]", self._function)(items, *args)
        attempt.end()

    async def _in_thread(self, attempt: Attempt, items: list[T], args: Sequence[Any]) -> None:
        threads = self._threads
        if threads.exhausted:
            await trio.lowlevel.checkpoint()
            raise TimedOut(
                f"{self._what} was not called: {len(threads)} threads hang in it, which were left "
                "behind when their time was over"
            )
        work = functools.partial(_work, attempt, self._what, self._function, items, args)
        await trio.lowlevel.checkpoint_if_cancelled()  # from here on a thread is sent out
        attempt.in_thread = True
        at_work = current_at_work()
        at_work.begin(attempt)
        try:
            await trio.to_thread.run_sync(work, abandon_on_cancel=True, limiter=threads.limiter)
        except RuntimeError:  # no thread could be had
            attempt.in_thread = False
            raise
        finally:
            if attempt.in_thread and not attempt.done:
                threads.leave_behind(attempt)
                attempt.leave_in(at_work)
            else:
                at_work.end(attempt)


def _work(
    attempt: Attempt,
    what: str,
    function: Callable[..., object],
    items: list[Any],
    args: Sequence[Any],
) -> None:
    """In the thread."""
    try:
        result = function(items, *args)
        if inspect.isawaitable(result):
            if inspect.iscoroutine(result):
                result.close()
            raise ConfigurationError(
                f"{what} has returned an awaitable, which nobody awaits: write it as `async def`"
            )
    except FAILURES as error:
        attempt.end(error)
    except BaseException as error:
        attempt.end(error)
        raise
    else:
        attempt.end()
