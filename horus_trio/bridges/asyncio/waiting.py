"""Sleeping in an asyncio task until somebody, in any thread, says that it may go on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Self

from ...messages import current_fence
from ...topics.bell import Ringer
from ...topics.waiting import WokenBy

__all__ = ["LoopWaiter"]


class LoopWaiter:
    """An asyncio task that sleeps, once; also what a topic rings to wake it."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._sleep: asyncio.Future[None] = self._loop.create_future()
        self._woken = False

    @property
    def _bell(self) -> Self:
        return self

    def ring(self, ringer: Ringer) -> None:
        """`wake`."""
        self.wake()

    def wake(self) -> None:
        """End the sleep, also one that has not begun; any thread."""
        if not self._woken:  # once is enough: who is woken looks itself
            self._woken = True
            with contextlib.suppress(RuntimeError):  # closed: nobody waits in it any more
                self._loop.call_soon_threadsafe(self._answer)

    def _answer(self) -> None:
        if not self._sleep.done():  # it may have been cancelled
            self._sleep.set_result(None)

    async def wait(self, enter: Callable[[LoopWaiter], bool], leave: Callable[[], object]) -> None:
        """Sleep until `wake`; yields only if there is something to wait for.

        Arguments:
            enter: Given the waiter, it sees to being woken, and says whether it is worth waiting.
            leave: Undoes `enter`; called however the sleep ends.

        Raises:
            TickAbandoned: The task belongs to a tick that had been abandoned before.
        """
        if not enter(self):
            leave()
            return
        try:
            fence = current_fence.get()
            if fence is not None and fence.closed:
                fence.refuse()
            with WokenBy(fence, self.wake):
                await self._sleep
        finally:
            leave()
