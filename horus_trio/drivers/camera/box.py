"""Between the thread that reads frames and the task that takes them: a box with room for one.

A frame that finds another in the box takes its place; or, if every frame is wanted, it waits until
there is room. The loop is woken only if a task waits, and then once, however many frames have come:
who finds nothing says, under the same lock, that it waits. What wakes it is a descriptor, which
costs half of what a call from a thread into Trio does.
"""

from __future__ import annotations

import collections
import contextlib
import os
import threading
from typing import TYPE_CHECKING

import trio

from .frame import CameraFormat, Frame

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

__all__ = ["Box"]


class Box:
    """What the reader has to tell.

    Arguments:
        room: Frames that may lie in it.
        every_frame: Whether frames wait for room, rather than take the place of older ones.

    Raises:
        OSError: There are no more descriptors.
    """

    def __init__(self, *, room: int, every_frame: bool) -> None:
        self._room = room
        self._every_frame = every_frame
        # Its lock can be taken twice by one thread: a collector may call `shut` at any place.
        self._changed = threading.Condition(threading.RLock())
        self._frames: collections.deque[tuple[NDArray[numpy.uint8], int, float]] = (
            collections.deque()
        )
        self._actual: CameraFormat | None = None
        self._failure: Exception | None = None
        self._given = -1
        self._is_waited_for = False
        self._closed = False
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    @property
    def is_closed(self) -> bool:
        """Whether nobody wants anything of it any more; any thread."""
        return self._closed

    # On the loop

    def actual(self) -> CameraFormat | None:
        """What the opened capture gives; None: it is not open yet, and `news` tells when it may be.

        Raises:
            Exception: It could not be opened.
        """
        with self._changed:
            if self._actual is None:
                self._wait_or_fail()
            return self._actual

    def take(self) -> Frame | None:
        """A frame; None: there is none, and `news` tells when there may be.

        Raises:
            Exception: There will be none any more.
        """
        with self._changed:
            if not self._frames:
                self._wait_or_fail()
                return None
            image, number, taken_at = self._frames.popleft()
            if self._every_frame:
                self._changed.notify()
        lost = number - self._given - 1
        self._given = number
        return Frame(image=image, number=number, taken_at=taken_at, lost=lost)

    async def news(self) -> None:
        """Wait until there may be something to take. A checkpoint.

        Raises:
            trio.ClosedResourceError: It was closed.
        """
        if not self._closed:
            await trio.lowlevel.wait_readable(self._bell)
        with self._changed:
            if self._closed:
                raise trio.ClosedResourceError("the box was closed")
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(self._bell)

    def close(self) -> None:
        """Nobody wants anything of it any more; idempotent."""
        if not self._closed:
            trio.lowlevel.notify_closing(self._bell)
            self.shut()

    def _wait_or_fail(self) -> None:
        if self._failure is not None:
            raise self._failure
        self._is_waited_for = True

    # In any thread

    def shut(self) -> None:
        """Have the reader end; while nobody waits on the loop. Idempotent."""
        with self._changed:
            if not self._closed:
                self._closed = True
                self._frames.clear()
                self._changed.notify_all()
                os.close(self._bell)

    # In the thread that reads

    def opened(self, actual: CameraFormat) -> None:
        """The capture is open."""
        with self._changed:
            self._actual = actual
            self._ring()

    def put(self, image: NDArray[numpy.uint8], number: int, taken_at: float) -> None:
        """A frame has come; if every one is wanted, wait for room."""
        frames = self._frames
        with self._changed:
            while self._every_frame and len(frames) >= self._room and not self._closed:
                self._changed.wait()
            if self._closed:
                return
            if len(frames) >= self._room:
                frames.popleft()
            frames.append((image, number, taken_at))
            self._ring()

    def fail(self, failure: Exception) -> None:
        """There will be no more frames."""
        with self._changed:
            self._failure = failure
            self._ring()

    def sleep(self, seconds: float) -> None:
        """Wait, or until it is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed, seconds)

    def _ring(self) -> None:
        if self._is_waited_for and not self._closed:
            self._is_waited_for = False
            os.eventfd_write(self._bell, 1)
