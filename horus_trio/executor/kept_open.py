"""What nodes are given to work with: open from before their ``init`` until after ``shutdown``.

It is opened and closed in a task of its own, which any of several nodes may outlive: the first one
that needs a thing has it opened, the last one has it closed.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, TypeAlias

import trio

from ..errors import HookTimedOut
from .worker import FAILURES

if TYPE_CHECKING:
    from .executor import AsyncIOExecutor

__all__ = ["Belongings", "KeptOpen"]

Thing: TypeAlias = AbstractAsyncContextManager[Any]


class KeptOpen:
    """One thing, open for those who need it.

    Arguments:
        thing: An async context manager.
        forget: Called when it is closed, or has failed.

    Attributes:
        users: Called with what makes it fail while it is open, one for each node.
        ready: Set when it is open, or has failed.
        done: Set when it is closed, or has failed.
        error: What opening it, or the thing itself, has raised.
    """

    __slots__ = ("_closing", "_forget", "_scope", "_thing", "done", "error", "ready", "users")

    def __init__(self, thing: Thing, forget: Callable[[], object]) -> None:
        self._thing = thing
        self._forget = forget
        self._scope = trio.CancelScope(shield=True)
        self._closing = trio.Event()
        self.users: dict[object, Callable[[BaseException], None]] = {}
        self.ready: trio.Event = trio.Event()
        self.done: trio.Event = trio.Event()
        self.error: BaseException | None = None

    @property
    def is_closing(self) -> bool:
        """Whether nobody needs it any more."""
        return self._closing.is_set()

    async def run(self) -> None:
        """Open it, wait, close it; in a task of its own."""
        try:
            with self._scope:
                async with self._thing:
                    self.ready.set()
                    await self._closing.wait()
        except FAILURES as error:
            self.error = error
        except BaseExceptionGroup as group:
            self.error = group
        if self._scope.cancelled_caught and self.ready.is_set():
            self.error = HookTimedOut(f"{self._thing!r} did not close in time")
        self._forget()
        failed = self.error if self.ready.is_set() and not self.is_closing else None
        self.ready.set()
        self.done.set()
        if failed is not None:
            for user in tuple(self.users.values()):
                user(failed)

    def close(self) -> None:
        """Nobody needs it any more: it has until `hurry` to close."""
        self._closing.set()
        if not self.ready.is_set():
            self._scope.cancel()

    def hurry(self, deadline: float) -> None:
        """Cancel it at that instant of Trio's clock, if it is not closed then."""
        self._scope.deadline = min(self._scope.deadline, deadline)


class Belongings:
    """What one node has been given.

    Arguments:
        things: Async context managers that may be entered again.
        executor: Runs their tasks, and knows what other nodes have open.
        limit: Seconds they have for closing.
        failed: Called with what makes one of them fail while it is open.
    """

    __slots__ = ("_executor", "_failed", "_limit", "_opened", "_things", "_until")

    def __init__(
        self,
        things: tuple[Thing, ...],
        executor: AsyncIOExecutor,
        limit: float,
        failed: Callable[[BaseException], None],
    ) -> None:
        self._things = things
        self._executor = executor
        self._limit = limit
        self._failed = failed
        self._opened: list[KeptOpen] = []
        self._until = math.inf

    async def open(self) -> None:
        """Have all of them open, one after the other. A checkpoint.

        Raises:
            BaseException: What opening one of them has raised; `close` closes the others.
        """
        everywhere = self._executor.kept_open
        for thing in self._things:
            while (kept := everywhere.get(id(thing))) is not None and kept.is_closing:
                await kept.done.wait()
            if kept is None:
                forget = functools.partial(everywhere.pop, id(thing))
                kept = everywhere[id(thing)] = KeptOpen(thing, forget)
                self._executor.start_soon(kept.run)
            kept.users[self] = self._failed
            self._opened.append(kept)
            await kept.ready.wait()
            if kept.error is not None:
                raise kept.error

    async def close(self) -> list[BaseException]:
        """Leave them, the latest first; those that nobody else needs are closed.

        A checkpoint if there is one. What does not close within the limit is cancelled.

        Returns:
            What closing has raised.
        """
        errors: list[BaseException] = []
        clock = self._executor.clock
        while self._opened:
            kept = self._opened[-1]
            del kept.users[self]
            if not kept.users and not kept.done.is_set():
                kept.close()
                kept.hurry(min(clock() + self._limit, self._until))
                await kept.done.wait()
                if kept.error is not None:
                    errors.append(kept.error)
            self._opened.pop()
        return errors

    def force(self, until: float) -> None:
        """Let closing take no longer than until that instant of Trio's clock."""
        self._until = until
        for kept in self._opened:
            if kept.is_closing:
                kept.hurry(until)
