"""Blocking work with descriptors, in a thread: what is closed meanwhile stays open for the thread.

A file system may make its callers wait, and no cancellation reaches them. So a *chore* goes on when
nobody waits for it any more, and whoever asks next gets what it has brought. The descriptors that
it works with are closed when it is through, and not under its hands.
"""

from __future__ import annotations

import contextlib
import functools
import os
import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import outcome
import trio

from ..errand import Errand
from ..errors import ConnectFailed

__all__ = ["Chore", "Descriptors", "LeftBehind", "close_aside"]

T = TypeVar("T")

MOST_LEFT = 4
"""Threads of one driver that may hang."""

GRACE = 1.0
"""Seconds in which one of them may end after all."""


class Descriptors:
    """Descriptors that are closed together when their owner and every thread have let go of them.

    All of it may be called by any thread.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: set[int] = set()
        self._users = 1

    def add(self, descriptor: int) -> int:
        """Own one more."""
        with self._lock:
            self._open.add(descriptor)
        return descriptor

    def close(self, descriptor: int) -> None:
        """Close one of them now."""
        with self._lock:
            self._open.discard(descriptor)
        _close(descriptor)

    def borrow(self) -> None:
        """Keep them open until `let_go`."""
        with self._lock:
            self._users += 1

    def let_go(self) -> None:
        """Close them if nobody else has borrowed them."""
        left: set[int] = set()
        with self._lock:
            self._users -= 1
            if not self._users:
                left, self._open = self._open, left
        for descriptor in left:
            _close(descriptor)


class Chore(Generic[T]):
    """A blocking call that runs in a thread from now on, and borrows descriptors for that.

    Arguments:
        function: What is called.
        held: What it works with.
        name: Of the thread.
    """

    def __init__(self, function: Callable[[], T], held: Descriptors, name: str) -> None:
        held.borrow()
        try:
            self._errand = Errand(functools.partial(_do, function, held), name=name)
        except BaseException:  # there are no more threads
            held.let_go()
            raise
        self._scope = trio.CancelScope()

    @property
    def is_over(self) -> bool:
        """Whether the thread is through with it."""
        return self._errand.is_over

    async def result(self) -> outcome.Outcome[T]:
        """What has come of it. A checkpoint; cancelled, it can be asked again.

        Raises:
            trio.ClosedResourceError: It was dropped.
        """
        with trio.CancelScope() as self._scope:
            await self._errand.ended()
            with trio.CancelScope(shield=True):
                return await outcome.acapture(self._errand.result)
        raise trio.ClosedResourceError("nobody wants what the thread brings any more")

    def drop(self) -> None:
        """Who waits for it gets `trio.ClosedResourceError`; the thread goes on to its end."""
        self._scope.cancel()


class LeftBehind:
    """The threads of a driver that nobody waits for any more. A disk that hangs keeps them all."""

    def __init__(self) -> None:
        self._threads: list[Chore[Any] | Errand[Any]] = []

    def add(self, thread: Chore[Any] | Errand[Any]) -> None:
        """Nobody waits for this one."""
        self._threads.append(thread)

    async def make_room(self, name: str) -> None:
        """Wait a little if they are too many. A checkpoint.

        Raises:
            ConnectFailed: They are, still.
        """
        await trio.lowlevel.checkpoint()
        with trio.move_on_after(GRACE):
            while self._count() >= MOST_LEFT:  # noqa: ASYNC110 - any of them may end
                await trio.sleep(GRACE / 100)
        if (count := self._count()) >= MOST_LEFT:
            raise ConnectFailed(
                f"{name} cannot be opened: {count} threads hang in calls of the file system, and "
                "end when it answers again: see to the disk, or to the server that it is on"
            )

    def _count(self) -> int:
        self._threads = [thread for thread in self._threads if not thread.is_over]
        return len(self._threads)


def close_aside(close: Callable[[], None], name: str) -> Errand[None] | None:
    """Close in a thread what may take its time: the kernel ends watches when it has a moment.

    None: it was closed at once, since there are no more threads.
    """
    try:
        return Errand(close, name=name)
    except RuntimeError:
        close()
        return None


def _do(function: Callable[[], T], held: Descriptors) -> T:
    try:
        return function()
    finally:
        held.let_go()


def _close(descriptor: int) -> None:
    with contextlib.suppress(OSError):  # it is closed all the same
        os.close(descriptor)
