"""The background tasks of one node: they run between its ticks and die with it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import trio

from ..messages import Fence, current_fence
from .worker import FAILURES

if TYPE_CHECKING:
    from .executor import AsyncIOExecutor

__all__ = ["BackgroundTasks"]


class BackgroundTasks:
    """Starts and ends the background tasks of one node.

    Arguments:
        name: The node's name.
        executor: Starts the tasks; each is shielded, and cancelled by `end`.
        failed: Called with what one of them raised.
    """

    __slots__ = ("_executor", "_failed", "_fence", "_idle", "_name", "_scopes")

    def __init__(
        self,
        name: str,
        executor: AsyncIOExecutor,
        failed: Callable[[BaseException], None],
    ) -> None:
        self._name = name
        self._executor = executor
        self._failed = failed
        self._fence: Fence | None = None
        self._scopes: dict[trio.CancelScope, None] = {}
        self._idle: trio.Event | None = None

    def start(self, function: Callable[..., Awaitable[object]], args: tuple[Any, ...]) -> None:
        """Start one; on the loop."""
        scope = trio.CancelScope(shield=True)
        self._scopes[scope] = None
        if self._fence is None:
            self._fence = Fence(self._name)
        self._executor.start_soon(self._run, scope, self._fence, function, args)

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
        if self._fence is not None:
            self._fence.close()
            self._fence = None

    async def _run(
        self,
        scope: trio.CancelScope,
        fence: Fence,
        function: Callable[..., Awaitable[object]],
        args: tuple[Any, ...],
    ) -> None:
        current_fence.set(fence)
        try:
            with scope:
                await function(*args)
        except FAILURES as error:
            self._failed(error)
        except BaseExceptionGroup as group:
            self._failed(group)
        finally:
            del self._scopes[scope]
            if not self._scopes and self._idle is not None:
                self._idle.set()
