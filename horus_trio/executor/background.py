"""The background tasks of one node: they run between its ticks and die with it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import trio

from ..messages import Fence, current_fence
from .worker import FAILURES

__all__ = ["BackgroundTasks"]


class BackgroundTasks:
    """Starts and ends the background tasks of one node.

    Arguments:
        name: The node's name.
        start: Starts a task; each is shielded, and cancelled by `end`.
        failed: Called with what one of them raised.
    """

    def __init__(
        self,
        name: str,
        start: Callable[..., None],
        failed: Callable[[BaseException], None],
    ) -> None:
        self._name = name
        self._start = start
        self._failed = failed
        self._fence = Fence(name)
        self._scopes: dict[trio.CancelScope, None] = {}
        self._idle = trio.Event()

    def start(self, function: Callable[..., Awaitable[object]], args: tuple[Any, ...]) -> None:
        """Start one; on the loop."""
        scope = trio.CancelScope(shield=True)
        self._scopes[scope] = None
        self._start(self._run, scope, function, args)

    def cancel(self) -> None:
        """Cancel all of them."""
        for scope in tuple(self._scopes):
            scope.cancel()

    async def end(self) -> None:
        """Cancel all of them, wait for them, and fence off whatever they left behind."""
        if self._scopes:
            self._idle = trio.Event()
            self.cancel()
            await self._idle.wait()
        self._fence.close()
        self._fence = Fence(self._name)

    async def _run(
        self,
        scope: trio.CancelScope,
        function: Callable[..., Awaitable[object]],
        args: tuple[Any, ...],
    ) -> None:
        current_fence.set(self._fence)
        try:
            with scope:
                await function(*args)
        except FAILURES as error:
            self._failed(error)
        except BaseExceptionGroup as group:
            self._failed(group)
        finally:
            del self._scopes[scope]
            if not self._scopes:
                self._idle.set()
