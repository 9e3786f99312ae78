"""Connections in stock: who gets which one, and when one more is opened or one is closed.

Who wants a connection takes one that is idle, or gets in line: tasks and threads in one line, first
come, first served. What there is to do then (open one more, check one, close one) is decided under
the lock by one function, `_decide`, and done on the loop outside of it. Nobody opens a connection
himself: so a tick that has no time to wait for it finds it open the next time.

A connection is in one place at a time: idle, being checked, in use, or leaving. What leaves is
interrupted if something still runs on it, and closed. What does not come to an end is left behind,
and is closed by whoever returns from it at last.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

from ..topics.waiting import TaskWaiter, Waiter
from .functions import nothing
from .line import Line
from .pool_options import PoolOptions, text_of_failure
from .pooled import Pooled, PoolUnavailable
from .upkeep import FAILURES, Upkeep

__all__ = ["Stock"]

ConnT = TypeVar("ConnT")

LEFT_BEHIND = 16
"""Connections that may be left behind without taking the place of others."""


class Stock(Upkeep[ConnT]):
    """Gives out connections in turn, and has as many of them as are needed.

    Arguments:
        name: Printable, for messages.
        options: See `ConnectionPool`.
    """

    def __init__(self, name: str, options: PoolOptions[ConnT]) -> None:
        super().__init__(name, options)
        self._looks_at_time = not (
            options.max_age is options.idle_timeout is None and options.check_after == 0
        )
        self._looks = False  # whether `_look` starts tasks
        self._nudged = False
        self._look_at = math.inf
        self._nap = trio.CancelScope()
        self._empty: Waiter | None = None

    def __repr__(self) -> str:
        if not self._serves:
            return super().__repr__()
        used = f"{len(self._in_use)} of {self._options.size} in use"
        return f"<{type(self).__name__} {self._name!r}, {used}>"

    def _is_fit(self, connection: ConnT, error: Exception | None) -> bool | None:
        """Whether a connection may be used again, after this; None: it has to be checked.

        In any thread, without the lock; it must not block.
        """
        if error is None:
            return True
        if self._options.is_broken is not None:
            return not self._options.is_broken(error)
        return None if self._options.check is not None else False

    # Giving and taking; any thread

    def _give(self, _: None) -> list[Pooled[ConnT]]:
        """Called by the line, with the lock held."""
        if not self._serves:
            raise self._closed_error()
        if self._ready:
            pooled = self._ready.pop()
        elif self._idle and self._may_be_given(self._idle[-1]):
            pooled = self._idle.pop()
        else:
            if len(self._in_use) < self._options.size:  # or else there is nothing to be done
                self._nudge()
            return []
        self._in_use[pooled] = None
        self._acquired += 1
        return [pooled]

    def _may_be_given(self, pooled: Pooled[ConnT]) -> bool:
        """Whether an idle connection is neither too old, nor to be checked before."""
        if not self._looks_at_time:
            return self._options.check is None
        now = self._clock()
        if self._expires(pooled) <= now:
            return False
        return self._options.check is None or now - pooled.idle_since < self._options.check_after

    def _expires(self, pooled: Pooled[ConnT]) -> float:
        """When an idle connection is to be closed."""
        at = math.inf
        if self._options.max_age is not None:
            at = pooled.opened_at + self._options.max_age
        if self._options.idle_timeout is not None:
            at = min(at, pooled.idle_since + self._options.idle_timeout)
        return at

    def _unused(self, pooled: Pooled[ConnT]) -> None:
        """It had been given to somebody who is gone."""
        self._give_back(pooled, None)

    def _give_back(self, pooled: Pooled[ConnT], error: BaseException | None) -> None:
        """Who had it has finished, with this error."""
        fit: bool | None = False
        if not pooled.is_taken and not pooled.is_spoiled:
            if error is None or isinstance(error, Exception):
                try:
                    fit = self._is_fit(pooled.connection, error)
                except FAILURES as trouble:
                    self._note("is_broken", trouble)
            elif isinstance(error, SystemExit):
                fit = None if self._options.check is not None else False
        wake: list[Waiter] = []
        close_it = False
        with self._lock:
            if pooled.is_taken:
                pooled.is_returned = True
                close_it = pooled.is_left_behind
                if pooled.on_return is not None:
                    wake.append(pooled.on_return)
            else:
                pooled.scope = None
                del self._in_use[pooled]
                self._released += 1
                if fit and self._serves:
                    wake += self._put(pooled)
                elif fit is None and self._serves:
                    self._suspects.append(pooled)
                    self._nudge()
                else:
                    self._discarded += not fit
                    self._outgoing.append(pooled)
                    self._nudge()
                if self._empty is not None and not self._in_use:
                    wake.append(self._empty)
        for waiter in wake:
            waiter.wake()
        if close_it:
            self._close_late(pooled)

    def _take_away(self, pooled: Pooled[ConnT]) -> None:
        """Who has it is not expected to give it back."""
        with self._lock:
            if pooled not in self._in_use:
                return
            self._forget_user(pooled)
            self._outgoing.append(pooled)
            self._nudge()

    def _forget_user(self, pooled: Pooled[ConnT]) -> None:
        """The lock is held."""
        del self._in_use[pooled]
        pooled.is_taken = True
        self._released += 1
        self._discarded += 1

    def _put(self, pooled: Pooled[ConnT], *, ready: bool = False) -> list[Waiter]:
        """It is free; whom to wake is returned. The lock is held."""
        if self._looks_at_time:
            pooled.idle_since = self._clock()
        if ready and len(self._line):
            self._ready.append(pooled)
        else:
            self._idle.append(pooled)
        wake = self._line.serve()
        self._idle.extend(self._ready)
        self._ready.clear()
        if self._looks_at_time and self._expires(pooled) < self._look_at:
            self._nudge()
        return wake

    def _nudge(self) -> None:
        """Have `_look` called on the loop; with the lock held, so it does nothing here."""
        if not self._nudged and self._token is not None:
            self._nudged = True
            with contextlib.suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self._look)

    # Deciding, and starting what has been decided; on the loop

    def _look(self) -> None:
        with self._lock:
            self._nudged = False
            if not self._looks or self._nursery is None:
                return
            tasks, wake = self._decide(self._clock())
            self._nap.deadline = self._look_at
        for waiter in wake:
            waiter.wake()
        for task in tasks:
            self._nursery.start_soon(task)

    def _decide(self, now: float) -> tuple[list[Callable[[], Awaitable[None]]], list[Waiter]]:
        """What is to be done now, and when to look again. The lock is held.

        Returns:
            The tasks to start, and whom to wake.
        """
        tasks: list[Callable[[], Awaitable[None]]] = []
        for pooled in [pooled for pooled in self._idle if self._expires(pooled) <= now]:
            self._idle.remove(pooled)
            self._outgoing.append(pooled)
        for pooled in self._outgoing:
            self._leaving += 1
            tasks.append(functools.partial(self._retire, pooled))
        self._outgoing.clear()
        for pooled in self._suspects:
            self._checking += 1
            tasks.append(functools.partial(self._examine, pooled))
        self._suspects.clear()

        wanted = len(self._line) - self._opening - self._checking
        while wanted > 0 and self._idle:
            pooled = self._idle.pop()
            self._checking += 1
            tasks.append(functools.partial(self._examine, pooled))
            wanted -= 1
        there = self._opening + self._checking + len(self._in_use) + self._leaving
        room = (
            self._options.size - there - len(self._idle) - max(0, self._left_behind - LEFT_BEHIND)
        )
        if now < self._retry_at:
            room = 0
        elif self._failures:  # one attempt at a time, until one succeeds
            room = min(room, 1 - self._opening)
        for _ in range(min(wanted, room)):
            there += 1
            self._attempts += 1
            self._opening += 1
            tasks.append(self._open)
        wake: list[Waiter] = []
        if len(self._line) and not there and not self._idle:  # nobody will come
            wake = self._line.dismiss(self._unavailable)

        self._look_at = min(map(self._expires, self._idle), default=math.inf)
        if len(self._line) and now < self._retry_at:
            self._look_at = min(self._look_at, self._retry_at)
        return tasks, wake

    async def _keep(self) -> None:
        """Look when the time has come, without looking in between."""
        while True:
            with trio.CancelScope(deadline=self._look_at) as self._nap:
                await trio.sleep_forever()
            self._look()

    # Its life

    async def _opened(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._token = trio.lowlevel.current_trio_token()
        with self._lock:
            self._line = Line(self._lock, self._give, self._unused)
            self._failures = 0
            self._retry_at = -math.inf
            self._look_at = math.inf
            self._nudged = False
            self._empty = None
            self._serves = self._looks = True
        nursery.start_soon(self._keep)

    async def _closing(self) -> None:
        with self._lock:
            self._serves = False
            wake = self._line.dismiss(self._closed_error)
            self._outgoing += [*self._idle, *self._suspects]
            self._idle.clear()
            self._suspects.clear()
        for waiter in wake:
            waiter.wake()
        for scope in tuple(self._openings):
            scope.cancel()
        self._look()
        try:
            with trio.move_on_after(self._options.close_grace):
                await TaskWaiter().wait(self._until_empty, nothing)
        finally:
            with self._lock:
                for pooled in tuple(self._in_use):
                    self._forget_user(pooled)
                    self._outgoing.append(pooled)
            self._look()
            with self._lock:
                self._looks = False

    def _until_empty(self, waiter: Waiter) -> bool:
        with self._lock:
            self._empty = waiter
            return bool(self._in_use)

    def _closed_error(self) -> trio.ClosedResourceError:
        return trio.ClosedResourceError(f"{type(self).__name__} {self._name!r} was closed")

    def _unavailable(self) -> PoolUnavailable:
        cause = self._last_failure
        if cause is None:
            why = f"{self._left_behind} calls that were given up have not returned"
        else:
            why = f"the last attempt failed: {text_of_failure('connect', cause)}"
        error = PoolUnavailable(f"{type(self).__name__} {self._name!r} has no connection; {why}")
        error.__cause__ = cause
        return error
