"""Connections that are opened when needed, shared by all ticks, and thrown away when bad."""

from __future__ import annotations

import functools
import math
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from types import TracebackType
from typing import Any, Generic, TypeVar, TypeVarTuple, overload

import trio

from ..messages import Fence, current_fence
from ..topics.waiting import refuse_on_loop
from .functions import is_async, name_of
from .helper import check_seconds
from .pending import ThreadCall
from .pool_options import PoolOptions
from .pooled import ConnectionPoolStatistics, Pooled, PoolUnavailable
from .stock import Stock

__all__ = ["ConnectionPool", "ConnectionPoolStatistics", "PoolUnavailable"]

ConnT = TypeVar("ConnT")
Ts = TypeVarTuple("Ts")
R = TypeVar("R")


class ConnectionPool(Stock[ConnT]):
    """At most `size` connections, opened on demand and shared.

    ::

        pool = ConnectionPool(connect, size=4, close=Connection.close)

        async with pool, pool.acquire() as connection:  # in async code
            ...
        with pool.acquire_blocking() as connection:  # in def ticks and other threads
            ...
        rows = await pool.run(query, "SELECT 1")  # query(connection, "SELECT 1")

    The functions it is given may be ``def``, and then run in a thread of the connection's own, or
    ``async def``, and then run on the loop.

    Arguments:
        connect: Opens a connection. Cancelled, or late, it leaves nothing open: what a thread
            brings nevertheless is closed at once.
        size: Connections there may be.
        close: Closes one; None: its method ``aclose`` or ``close``, if it has one.
        check: Says whether a connection is good, before it is given to somebody. One for which it
            returns False or raises is closed, and another one takes its place.
        check_after: One that was given back less than these seconds ago is not checked.
        is_broken: Called with an exception that was raised by who had a connection: whether that
            is of no more use. None: `check` says it, and without `check` it is.
        interrupt: Ends what a connection is doing, from another thread; a ``def`` function. Without
            it, a thread that is given up is left behind until it returns.
        max_age: Seconds from its opening after which a connection is closed, as soon as it is free.
        idle_timeout: Seconds after which a connection that nobody has used is closed.
        open_timeout: Seconds for one call of `connect`, and of `check`.
        operation_timeout: Seconds for one function given to `run` or `run_blocking`. What takes
            longer is interrupted, its connection closed, and `TimeoutError` is raised.
        close_grace: Seconds for which closing waits for connections in use. It is also the limit
            for closing one of them, if it is not below 0.5.
        backoff: Seconds until the next attempt after `connect` has failed; doubled each time.
        max_backoff: Its upper limit.
        name: Printable, for messages.

    Raises:
        ConfigurationError: An argument makes no sense.
    """

    def __init__(
        self,
        connect: Callable[[], ConnT] | Callable[[], Awaitable[ConnT]],
        *,
        size: int = 4,
        close: Callable[[ConnT], object] | None = None,
        check: Callable[[ConnT], object] | None = None,
        check_after: float = 0.0,
        is_broken: Callable[[Exception], object] | None = None,
        interrupt: Callable[[ConnT], object] | None = None,
        max_age: float | None = None,
        idle_timeout: float | None = None,
        open_timeout: float = 10.0,
        operation_timeout: float | None = None,
        close_grace: float = 2.0,
        backoff: float = 0.1,
        max_backoff: float = 2.0,
        name: str = "connections",
    ) -> None:
        options = PoolOptions(
            connect=connect,
            size=size,
            close=close,
            check=check,
            check_after=check_after,
            is_broken=is_broken,
            interrupt=interrupt,
            max_age=max_age,
            idle_timeout=idle_timeout,
            open_timeout=open_timeout,
            operation_timeout=operation_timeout,
            close_grace=close_grace,
            backoff=backoff,
            max_backoff=max_backoff,
        )
        super().__init__(name, options)

    # For those who need a connection

    def acquire(self) -> AbstractAsyncContextManager[ConnT, None]:
        """A connection, for an ``async with`` block. Entering is a checkpoint.

        Cancelled, none has been taken. If the block raises, the connection is kept, checked or
        closed, as `is_broken` and `check` say; if it is cancelled, the connection is closed, since
        nobody knows what was under way on it.

        Raises:
            PoolUnavailable: There is none and none can be opened.
            trio.ClosedResourceError: The pool is not open, or was closed meanwhile.
            TickAbandoned: The calling tick was abandoned.
        """
        return _Acquired(self)

    def acquire_blocking(
        self, *, timeout: float | None = None
    ) -> AbstractContextManager[ConnT, None]:
        """`acquire` for threads: for a ``with`` block, which blocks this thread.

        When the tick that has the connection is abandoned, the connection is taken away from it,
        interrupted, and replaced.

        Arguments:
            timeout: Seconds of real time to wait for one.

        Raises:
            TimeoutError: No connection within `timeout`.
            AsyncCallInThread: Called on the loop, which it would block.
            PoolUnavailable, trio.ClosedResourceError, TickAbandoned: As `acquire`.
        """
        return _AcquiredBlocking(self, _checked(self, timeout))

    @overload
    async def run(
        self,
        function: Callable[[ConnT, *Ts], Coroutine[Any, Any, R]],
        *args: *Ts,
    ) -> R: ...

    @overload
    async def run(self, function: Callable[[ConnT, *Ts], R], *args: *Ts) -> R: ...

    async def run(self, function: Callable[[ConnT, *Ts], Any], *args: *Ts) -> Any:
        """Call ``function(connection, *args)`` with a connection of the pool. A checkpoint.

        A ``def`` function runs in the connection's thread, an ``async def`` one here. Cancelled,
        or later than `operation_timeout`, the function is cancelled or interrupted, and the
        connection closed; a ``def`` function may still go on until it notices.

        Raises:
            TimeoutError: The function took longer than `operation_timeout`.
            PoolUnavailable, trio.ClosedResourceError, TickAbandoned: As `acquire`.
            BaseException: What the function raises.
        """
        self._check_open()
        pooled = await self._line.take(None, others_run=is_async(function))
        try:
            result = await self._perform(pooled, function, args)
        except BaseException as error:
            self._give_back(pooled, error)
            raise
        self._give_back(pooled, None)
        return result

    @overload
    def run_blocking(
        self,
        function: Callable[[ConnT, *Ts], Coroutine[Any, Any, R]],
        *args: *Ts,
        timeout: float | None = None,
    ) -> R: ...

    @overload
    def run_blocking(
        self,
        function: Callable[[ConnT, *Ts], R],
        *args: *Ts,
        timeout: float | None = None,
    ) -> R: ...

    def run_blocking(
        self,
        function: Callable[[ConnT, *Ts], Any],
        *args: *Ts,
        timeout: float | None = None,
    ) -> Any:
        """`run` for threads: blocks this one.

        Arguments:
            function: Called in this thread; if it is ``async``, on the loop; and if there is an
                `operation_timeout`, in the connection's thread.
            args: Its arguments, after the connection.
            timeout: Seconds of real time to wait for a connection.

        Raises:
            TimeoutError: No connection within `timeout`, or the function took too long.
            AsyncCallInThread: Called on the loop, which it would block.
            BaseException: As `run`.
        """
        refuse_on_loop(f"{type(self).__name__}.run_blocking()", "await pool.run(…)")
        acquired = _AcquiredBlocking(self, _checked(self, timeout))
        with acquired as connection:
            if is_async(function):
                return trio.from_thread.run(
                    self._perform, acquired.pooled, function, args, trio_token=self._token
                )
            limit = self._options.operation_timeout
            if limit is None:
                return self._no_coroutine(
                    name_of(function), self._apply(connection, function, args)
                )
            pooled = acquired.pooled
            pooled.call = call = ThreadCall(
                functools.partial(self._apply, connection, function, args)
            )
            try:
                return call.wait_blocking(
                    functools.partial(pooled.thread.submit, call), name_of(function), limit
                )
            finally:
                pooled.is_spoiled = not call.is_over

    async def _perform(
        self, pooled: Pooled[ConnT], function: Callable[..., Any], args: tuple[Any, ...]
    ) -> Any:
        """Call the function, for as long as it may take."""
        limit = self._options.operation_timeout
        deadline = math.inf if limit is None else self._clock() + limit
        pooled.scope = scope = trio.CancelScope(deadline=deadline)
        with scope:
            if is_async(function):
                return await function(pooled.connection, *args)
            apply = functools.partial(self._apply, pooled.connection, function, args)
            return self._no_coroutine(name_of(function), await self._in_thread(pooled, apply))
        pooled.is_spoiled = True
        if pooled.is_taken:
            raise trio.ClosedResourceError(
                f"{type(self).__name__} {self._name!r} was closed while {name_of(function)} ran"
            )
        raise TimeoutError(f"{name_of(function)} has not ended within {limit:g} s")

    # For subclasses

    def _apply(self, connection: ConnT, function: Callable[..., R], args: tuple[Any, ...]) -> R:
        """Call a ``def`` function that was given to `run`; in the thread."""
        return function(connection, *args)


class _Acquired(Generic[ConnT]):
    """What `ConnectionPool.acquire` returns: a connection for one ``async with`` block."""

    __slots__ = ("_pool", "_pooled")

    _pooled: Pooled[ConnT]

    def __init__(self, pool: ConnectionPool[ConnT]) -> None:
        self._pool = pool

    async def __aenter__(self) -> ConnT:
        self._pool._check_open()
        self._pooled = await self._pool._line.take(None)
        return self._pooled.connection

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._pool._give_back(self._pooled, error)


class _AcquiredBlocking(Generic[ConnT]):
    """What `ConnectionPool.acquire_blocking` returns: a connection for one ``with`` block."""

    __slots__ = ("_fence", "_pool", "_timeout", "_waker", "pooled")

    pooled: Pooled[ConnT]

    def __init__(self, pool: ConnectionPool[ConnT], timeout: float | None) -> None:
        self._pool = pool
        self._timeout = timeout
        self._fence: Fence | None = None

    def __enter__(self) -> ConnT:
        pool = self._pool
        pool._check_open()
        self.pooled = pooled = pool._line.take_blocking(
            None, "acquire_blocking()", "async with pool.acquire()", self._timeout
        )
        self._fence = current_fence.get()
        if self._fence is not None:
            self._waker = functools.partial(pool._take_away, pooled)
            self._fence.on_close(self._waker)
        return pooled.connection

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._fence is not None:
            self._fence.forget(self._waker)
        self._pool._give_back(self.pooled, error)


def _checked(pool: ConnectionPool[Any], timeout: float | None) -> float | None:
    if timeout is None:
        return None
    return check_seconds(f"{type(pool).__name__} {pool.name!r}", "timeout", timeout, zero=True)
