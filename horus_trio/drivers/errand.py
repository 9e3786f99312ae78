"""A blocking call that goes on alone in its thread when nobody waits for it any more.

Opening a device may block in the kernel, where no cancellation reaches it. Who waits for the call
may be cancelled all the same; what it brings after that is put away in the thread.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

import outcome
import trio

__all__ = ["Errand"]

T = TypeVar("T")


class Errand(Generic[T]):
    """A call that runs in a thread of its own from now on. Made in a Trio run, or for one.

    Arguments:
        function: What is called.
        put_away: Is called with what it has returned if nobody wants that any more: on the loop or
            in the thread, so it must not block.
        name: Of the thread.
        token: Of the run in which it is waited for; None: the present one.
    """

    def __init__(
        self,
        function: Callable[[], T],
        *,
        put_away: Callable[[T], object] | None = None,
        name: str = "",
        token: trio.lowlevel.TrioToken | None = None,
    ) -> None:
        self._put_away = put_away
        self._lock = threading.Lock()
        self._wanted = True
        self._came: outcome.Outcome[T] | None = None
        self._ended = trio.Event()
        self._token = token or trio.lowlevel.current_trio_token()
        trio.lowlevel.start_thread_soon(function, self._deliver, name or None)

    async def result(self) -> T:
        """Wait for what it returns or raises; once. A checkpoint.

        Cancelled, the call goes on, and its result will be put away.
        """
        try:
            await self._ended.wait()
        except BaseException:
            with self._lock:
                self._wanted = False
                came = self._came
            self._drop(came)
            raise
        return self._outcome().unwrap()

    @property
    def is_over(self) -> bool:
        """Whether the thread is through with it."""
        return self._came is not None

    async def ended(self) -> None:
        """Wait until the thread is through, whatever came of it. A checkpoint."""
        if self._token is trio.lowlevel.current_trio_token():
            await self._ended.wait()
        else:  # the run in which it was made is over, and waits for it no more
            await trio.lowlevel.checkpoint()

    def _outcome(self) -> outcome.Outcome[T]:
        if self._came is None:
            raise trio.ClosedResourceError("the errand has not ended")
        return self._came

    def _deliver(self, came: outcome.Outcome[T]) -> None:
        """In the thread, after the call."""
        with self._lock:
            self._came = came
            wanted = self._wanted
        if not wanted:
            self._drop(came)
        with contextlib.suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._ended.set)

    def _drop(self, came: outcome.Outcome[T] | None) -> None:
        if self._put_away is not None and isinstance(came, outcome.Value):
            self._put_away(came.value)
