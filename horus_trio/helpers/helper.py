"""The one life of all helpers: open for as long as an ``async with`` block, and then closed.

::

    async with ConnectionPool(connect) as pool:
        ...

Given to a node, ``Node(…, helpers=[pool])``, a helper is opened before the node's ``init`` and
closed after its ``shutdown``. Nodes of one run that are given the same helper share it: the first
opens it, the last one closes it.

A subclass says what there is to do, in `_opened` and `_closing`.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Self

import trio

from ..arguments import is_positive, is_whole
from ..errors import AlreadyRunning, ConfigurationError

__all__ = ["Helper", "check_count", "check_name", "check_seconds"]


class Helper:
    """Something with tasks of its own that serves ticks; an async context manager.

    It may be opened again after it was closed. In between, what needs it to be open raises
    `trio.ClosedResourceError`.

    Arguments:
        name: Printable, for messages.
    """

    def __init__(self, name: str) -> None:
        self._name = check_name(type(self).__name__, name)
        self._life: contextlib.AbstractAsyncContextManager[None] | None = None
        self._is_open = False
        self._clock: Callable[[], float] = _no_clock

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._name!r}, {'open' if self._is_open else 'closed'}>"

    @property
    def name(self) -> str:
        """Its name, for messages."""
        return self._name

    @property
    def is_open(self) -> bool:
        """Whether it takes work; any thread."""
        return self._is_open

    async def __aenter__(self) -> Self:
        """Open it. A checkpoint.

        Raises:
            AlreadyRunning: It is open already.
        """
        if self._life is not None:
            raise AlreadyRunning(
                f"{type(self).__name__} {self._name!r} is open already; give the same one to "
                "several nodes, or open it once around all that use it"
            )
        life = self._life = self._live()
        try:
            await life.__aenter__()
        except BaseException:
            self._life = None
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it. A checkpoint. Cancelled, it closes all the same, and as fast as it can."""
        life = self._life
        if life is None:
            return
        try:
            await life.__aexit__(None, None, None)
        finally:
            self._life = None

    @contextlib.asynccontextmanager
    async def _live(self) -> AsyncIterator[None]:
        self._clock = trio.lowlevel.current_clock().current_time
        async with trio.open_nursery() as nursery:
            try:
                await self._opened(nursery)
                await trio.lowlevel.checkpoint()
                self._is_open = True
                yield
            finally:
                self._is_open = False
                try:
                    await self._closing()
                finally:
                    nursery.cancel_scope.cancel()

    # For subclasses

    async def _opened(self, nursery: trio.Nursery) -> None:
        """Get ready, and start the tasks that there are while it is open, in `nursery`.

        They end by being cancelled, after `_closing`. What one of them raises cancels whoever has
        opened the helper, so what can go wrong in a user's function is not for them to raise.
        """

    async def _closing(self) -> None:
        """Bring what is under way to an end; nothing new comes.

        It may be in a cancelled scope already, and has to see to its own limit of time otherwise.
        """

    def _check_open(self) -> None:
        """Raise `trio.ClosedResourceError` unless it is open."""
        if not self._is_open:
            raise trio.ClosedResourceError(
                f"{type(self).__name__} {self._name!r} is not open: use `async with`, or give it "
                "to a node as Node(…, helpers=[…])"
            )


def _no_clock() -> float:
    return math.nan


def check_name(owner: str, name: object) -> str:
    """The name, if it is one."""
    if not isinstance(name, str) or not name or not name.isprintable():
        raise ConfigurationError(f"{owner}: name={name!r}, expected a printable, non-empty str")
    return name


def check_count(owner: str, what: str, value: object, *, least: int = 1) -> int:
    """The whole number, if it is one and not below `least`."""
    if not is_whole(value, least):
        raise ConfigurationError(
            f"{owner}: {what}={value!r}, expected a whole number, {least} or more"
        )
    return value


def check_seconds(owner: str, what: str, value: object, *, zero: bool = False) -> float:
    """The finite number of seconds, above 0, or 0 where that is allowed."""
    if not is_positive(value, or_zero=zero):
        expected = "a finite number of seconds" + (", 0 or more" if zero else " above 0")
        raise ConfigurationError(f"{owner}: {what}={value!r}, expected {expected}")
    return float(value)
