"""`FakeDevice`: a blocking device for ``def`` ticks, scripted by the test, on virtual time."""

from __future__ import annotations

import collections
import threading
from typing import Any

from .blocking import Sleeper, ThreadWatch, blocking_delay, current_watch, refuse_on_loop

__all__ = ["FakeDevice"]


class FakeDevice:
    """Stands in for a camera, a serial port, a socket: what a ``def`` tick blocks on.

    `read` gives out what the test has fed, in order, and blocks while there is nothing: under a
    harness without holding virtual time up. An exception that was fed is raised instead.

    Arguments:
        items: Fed at the beginning.
        latency: Seconds each `read` and `write` takes.
    """

    def __init__(self, *items: Any, latency: float = 0.0) -> None:
        self._items: collections.deque[Any] = collections.deque(items)
        self._latency = latency
        self._lock = threading.Lock()
        self._readers: collections.deque[tuple[Sleeper, ThreadWatch | None]] = collections.deque()
        self._written: list[Any] = []
        self._closed = False

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"{len(self._items)} to read"
        return f"<FakeDevice, {state}, {len(self._written)} written>"

    # For the node

    def read(self) -> Any:
        """The next item; blocks until there is one.

        Raises:
            OSError: The device was closed, perhaps while it was being read.
            Exception: What was fed as an exception.
        """
        self._take_time("read")
        while True:
            with self._lock:
                if self._closed:
                    raise OSError("the device is closed")
                if self._items:
                    return _given(self._items.popleft())
                sleeper, watch = Sleeper(), current_watch.get()
                self._readers.append((sleeper, watch))
            if watch is not None:
                watch.lie_down(sleeper)
            sleeper.wait()

    def write(self, data: Any) -> None:
        """Take `data`; see `written`.

        Raises:
            OSError: The device was closed.
        """
        self._take_time("write")
        with self._lock:
            if self._closed:
                raise OSError("the device is closed")
            self._written.append(data)

    def close(self) -> None:
        """Close it; who is reading gets an `OSError`. Idempotent."""
        with self._lock:
            self._closed = True
            self._wake_readers()

    # For the test

    def feed(self, *items: Any) -> None:
        """Make items available to `read`; any thread."""
        with self._lock:
            self._items.extend(items)
            self._wake_readers()

    @property
    def written(self) -> list[Any]:
        """What was written so far."""
        with self._lock:
            return list(self._written)

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._closed

    def _take_time(self, call: str) -> None:
        refuse_on_loop(f"FakeDevice.{call}()", "an object with async methods")
        if self._latency:
            blocking_delay(self._latency)

    def _wake_readers(self) -> None:
        while self._readers:
            sleeper, watch = self._readers.popleft()
            if watch is None:
                sleeper.wake()
            else:
                watch.get_up(sleeper)


def _given(item: Any) -> Any:
    if isinstance(item, BaseException):
        raise item
    return item
