"""What is done with one connection of a pool: it is opened, checked, interrupted, closed.

The functions that do it are the user's. They may raise, hang, and come back when nobody expects
them any more; in the end every connection that was opened is closed, once, and counted.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import inspect
import math
import threading
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import outcome
import trio

from ..errors import ConfigurationError
from ..topics.waiting import TaskWaiter, Waiter
from .at_work import current_at_work
from .functions import is_async, nothing
from .helper import Helper
from .line import Line
from .pending import ThreadCall
from .pool_options import PoolOptions, text_of_failure
from .pooled import ConnectionPoolStatistics, Pooled

__all__ = ["FAILURES", "FORCED", "Upkeep"]

ConnT = TypeVar("ConnT")
R = TypeVar("R")

FAILURES = (Exception, SystemExit)
"""What a user's function may raise; all else, such as `trio.Cancelled`, is not its own."""

FORCED = 0.5
"""Seconds for which the closing waits for what it has interrupted."""


class Upkeep(Helper, Generic[ConnT]):
    """The connections of a pool, where they are, and what is done with each of them.

    Arguments:
        name: Printable, for messages.
        options: Checked here.
    """

    def __init__(self, name: str, options: PoolOptions[ConnT]) -> None:
        super().__init__(name)
        options.check_for(f"{type(self).__name__} {name!r}")
        self._options = options
        self._lock = threading.Lock()
        self._serves = False  # whether connections are given to anybody
        self._line: Line[None, Pooled[ConnT]] = Line(self._lock, self._give, self._unused)
        self._ready: list[Pooled[ConnT]] = []  # for the line, at this instant
        self._idle: collections.deque[Pooled[ConnT]] = collections.deque()
        self._suspects: list[Pooled[ConnT]] = []
        self._outgoing: list[Pooled[ConnT]] = []
        self._in_use: dict[Pooled[ConnT], None] = {}
        self._opening = self._checking = self._leaving = self._left_behind = 0
        self._attempts = self._failed = self._opened_count = self._closed_count = 0
        self._acquired = self._released = self._discarded = 0
        self._failures = 0
        self._retry_at = -math.inf
        self._last_failure: BaseException | None = None
        self._last_error: str | None = None
        # On the loop
        self._nursery: trio.Nursery | None = None
        self._token: trio.lowlevel.TrioToken | None = None
        self._openings: set[trio.CancelScope] = set()

    def statistics(self) -> ConnectionPoolStatistics:
        """A consistent snapshot; any thread."""
        with self._lock:
            return ConnectionPoolStatistics(
                name=self._name,
                size=self._options.size,
                waiting=len(self._line),
                attempts=self._attempts,
                opening=self._opening,
                failed=self._failed,
                opened=self._opened_count,
                idle=len(self._idle) + len(self._ready),
                checking=self._checking + len(self._suspects),
                in_use=len(self._in_use),
                leaving=self._leaving + len(self._outgoing),
                left_behind=self._left_behind,
                closed=self._closed_count,
                acquired=self._acquired,
                released=self._released,
                discarded=self._discarded,
                last_error=self._last_error,
            )

    # Where they go from here

    @abstractmethod
    def _give(self, _: None) -> list[Pooled[ConnT]]:
        """What there is for the first in line. The lock is held."""

    @abstractmethod
    def _unused(self, pooled: Pooled[ConnT]) -> None:
        """It had been given to somebody who is gone."""

    @abstractmethod
    def _put(self, pooled: Pooled[ConnT], *, ready: bool = False) -> list[Waiter]:
        """It is free; whom to wake is returned. The lock is held."""

    @abstractmethod
    def _nudge(self) -> None:
        """Have `_look` called on the loop; with the lock held, so it does nothing here."""

    @abstractmethod
    def _look(self) -> None:
        """See what there is to be done, and do it."""

    # Tasks

    async def _open(self) -> None:
        pooled: Pooled[ConnT] = Pooled(f"{self._name} connection")
        began = self._clock()
        came = False
        error: BaseException | None = None
        try:
            with trio.move_on_after(self._options.open_timeout) as limit:
                self._openings.add(limit)
                try:
                    pooled.connection = await self._call(
                        pooled, "connect", self._options.connect, on_late=self._came_late
                    )
                    came = True
                except FAILURES as failure:
                    error = failure
                finally:
                    self._openings.discard(limit)
        finally:
            if not came and error is None:
                error = TimeoutError(
                    f"connect has not returned within {self._options.open_timeout:g} s"
                )
            self._ended(pooled, error, began)

    def _ended(self, pooled: Pooled[ConnT], error: BaseException | None, began: float) -> None:
        """An opening has come to an end."""
        wake: list[Waiter] = []
        now = pooled.opened_at = self._clock()
        with self._lock:
            self._opening -= 1
            if error is None:
                self._opened_count += 1
                self._failures = 0
                self._retry_at = -math.inf
                self._last_failure = None
                if self._serves:
                    wake = self._put(pooled, ready=True)
                else:
                    self._leaving += 1
            else:
                self._failed += 1
                self._last_failure = error
                self._last_error = text_of_failure("connect", error)
                if began >= self._retry_at:  # and not one of several that fail together
                    self._failures += 1
                    self._retry_at = now + min(
                        self._options.max_backoff,
                        self._options.backoff * 2.0 ** min(self._failures - 1, 60),
                    )
        for waiter in wake:
            waiter.wake()
        if error is not None:
            pooled.thread.finish()
        elif not self._serves and self._nursery is not None:
            self._nursery.start_soon(self._retire, pooled)
        self._look()

    def _came_late(self, result: outcome.Outcome[ConnT]) -> None:
        """What nobody waits for any more has been opened; in its thread."""
        if isinstance(result, outcome.Value):
            self._close_anywhere(result.value)

    async def _examine(self, pooled: Pooled[ConnT]) -> None:
        """Check a connection, and let it be used or have it closed."""
        good = False
        check = self._options.check
        try:
            with trio.move_on_after(self._options.open_timeout):
                try:
                    if check is not None:
                        good = bool(await self._call(pooled, "check", check, pooled.connection))
                except FAILURES as error:
                    self._note("check", error)
        finally:
            wake: list[Waiter] = []
            leaves = False
            with self._lock:
                self._checking -= 1
                leaves = not good or not self._serves
                if leaves:
                    self._leaving += 1
                    self._discarded += not good
                else:
                    wake = self._put(pooled, ready=True)
            for waiter in wake:
                waiter.wake()
            if leaves and self._nursery is not None:
                self._nursery.start_soon(self._retire, pooled)
            self._look()

    async def _retire(self, pooled: Pooled[ConnT]) -> None:
        """End what still runs on a connection, and close it; or leave it behind."""
        forced = pooled.is_taken and not self._serves
        seconds = FORCED if forced else max(FORCED, self._options.close_grace)
        close = self._closer_of(pooled.connection)
        close_it = functools.partial(self._close_in_thread, pooled)
        begun = False  # whether somebody sees to its closing
        if pooled.scope is not None:
            pooled.scope.cancel()
        with trio.CancelScope(shield=True, deadline=self._clock() + seconds):
            if self._options.interrupt is not None and (pooled.is_taken or pooled.is_busy):
                await self._interrupt_it(pooled, self._options.interrupt)
            if is_async(close):
                begun = True
                if pooled.is_busy:
                    came_back = functools.partial(self._came_back, pooled)
                    await self._in_thread(pooled, came_back, always=True)
                try:
                    await close(pooled.connection)
                except FAILURES as error:
                    self._note("close", error)
                finally:
                    self._gone(pooled)
            else:
                await self._returned(pooled)
                begun = True
                await self._in_thread(pooled, close_it, always=True)
        with self._lock:
            if not pooled.is_closed:
                self._leaving -= 1
                self._left_behind += 1
                pooled.is_left_behind = True
            orphaned = not begun and (pooled.is_returned or not pooled.is_taken)
        if orphaned and is_async(close):
            self._close_late(pooled)
        elif orphaned:
            pooled.thread.submit(ThreadCall(close_it, always=True))
        pooled.thread.finish()
        self._look()

    async def _interrupt_it(
        self, pooled: Pooled[ConnT], interrupt: Callable[[ConnT], object]
    ) -> None:
        try:
            with current_at_work().waited_for():
                await trio.to_thread.run_sync(
                    interrupt,
                    pooled.connection,
                    abandon_on_cancel=True,
                    limiter=trio.CapacityLimiter(1),
                )
        except FAILURES as error:
            self._note("interrupt", error)

    async def _returned(self, pooled: Pooled[ConnT]) -> None:
        """Wait until nobody else has it."""

        def enter(waiter: Waiter) -> bool:
            with self._lock:
                pooled.on_return = waiter
                return pooled.is_taken and not pooled.is_returned

        await TaskWaiter().wait(enter, nothing)

    # Calling what the user has given

    async def _call(
        self,
        pooled: Pooled[ConnT],
        what: str,
        function: Callable[..., Any],
        *args: Any,
        on_late: Callable[[outcome.Outcome[Any]], object] | None = None,
    ) -> Any:
        """Call a function here, or in the connection's thread if it is ``def``. A checkpoint."""
        if is_async(function):
            return await function(*args)
        call = functools.partial(function, *args)
        result = await self._in_thread(pooled, call, on_late=on_late)
        return self._no_coroutine(what, result)

    def _no_coroutine(self, what: str, result: R) -> R:
        """Refuse what a ``def`` function should have awaited."""
        if inspect.iscoroutine(result):
            result.close()
            raise ConfigurationError(
                f"{type(self).__name__} {self._name!r}: {what} returned a coroutine; make it an "
                "`async def` function"
            )
        return result

    async def _in_thread(
        self,
        pooled: Pooled[ConnT],
        function: Callable[[], R],
        *,
        on_late: Callable[[outcome.Outcome[R]], object] | None = None,
        always: bool = False,
    ) -> R:
        call = ThreadCall(function, on_late=on_late, always=always)
        pooled.call = call
        return await call.wait(functools.partial(pooled.thread.submit, call))

    def _closer_of(self, connection: ConnT) -> Callable[[ConnT], Any]:
        if self._options.close is not None:
            return self._options.close
        for name in ("aclose", "close"):
            method: Callable[[ConnT], Any] | None = getattr(type(connection), name, None)
            if callable(method):
                return method
        return nothing

    def _close_in_thread(self, pooled: Pooled[ConnT]) -> None:
        try:
            close = self._closer_of(pooled.connection)
            self._no_coroutine("close", close(pooled.connection))
        except FAILURES as error:
            self._note("close", error)
        finally:
            self._gone(pooled)

    def _came_back(self, pooled: Pooled[ConnT]) -> None:
        """What had been left behind in the connection's thread has ended; in that thread."""
        with self._lock:
            close_it = pooled.is_left_behind
        if close_it:
            self._close_late(pooled)

    def _close_late(self, pooled: Pooled[ConnT]) -> None:
        """Close what had been left behind; any thread."""
        self._close_anywhere(pooled.connection, pooled)

    def _close_anywhere(self, connection: ConnT, pooled: Pooled[ConnT] | None = None) -> None:
        """Close a connection without waiting for that; any thread, also after the pool's end."""
        close = self._closer_of(connection)

        def close_it() -> None:
            try:
                self._no_coroutine("close", close(connection))
            except FAILURES as error:
                self._note("close", error)
            if pooled is not None:
                self._gone(pooled)

        async def close_it_async() -> None:
            with trio.move_on_after(self._options.close_grace, shield=True):
                try:
                    await close(connection)
                except FAILURES as error:
                    self._note("close", error)
            if pooled is not None:
                self._gone(pooled)

        if not is_async(close):
            trio.lowlevel.start_thread_soon(close_it, nothing, f"{self._name} closing")
        elif self._token is not None:
            with contextlib.suppress(trio.RunFinishedError):
                self._token.run_sync_soon(trio.lowlevel.spawn_system_task, close_it_async)

    def _gone(self, pooled: Pooled[ConnT]) -> None:
        """A connection has been closed."""
        with self._lock:
            if pooled.is_closed:
                return
            pooled.is_closed = True
            if pooled.is_left_behind:
                self._left_behind -= 1
            else:
                self._leaving -= 1
            self._closed_count += 1
            self._nudge()

    def _note(self, what: str, error: BaseException) -> None:
        with self._lock:
            self._last_error = text_of_failure(what, error)
