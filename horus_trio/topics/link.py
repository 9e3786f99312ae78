"""A lossless channel from one producer to one consumer, usable from tasks and threads.

Bounded, with back-pressure: a full link makes its producer wait. Waiting is "look, sleep, look
again": whoever is woken takes nothing before it looks itself, so neither a cancelled task nor an
abandoned thread can carry a message away.
"""

from __future__ import annotations

import collections
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import trio

from ..errors import AsyncCallInThread, ConfigurationError
from ..messages import Fence, current_fence
from .bell import Bell, current_bell

__all__ = ["Link", "LinkStatistics"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkStatistics:
    """A link at one instant; ``received + depth == sent``."""

    name: str
    sent: int
    received: int
    depth: int
    capacity: int


class Link(Generic[T]):
    """One producer, one consumer, nothing lost.

    ``send`` and ``receive`` are for tasks, the ``_nowait`` forms for anyone, the ``_blocking``
    forms for ``def`` ticks and other threads.

    Arguments:
        name: Printable, not empty.
        capacity: Messages that may wait, 1 or more.
    """

    def __init__(self, name: str, capacity: int = 64) -> None:
        if not isinstance(name, str) or not name or not name.isprintable():
            raise ConfigurationError(f"link name {name!r}: expected a printable, non-empty str")
        if isinstance(capacity, bool) or not isinstance(capacity, int) or capacity < 1:
            raise ConfigurationError(
                f"link {name!r}: capacity is {capacity!r}, expected a whole number above 0"
            )
        self._name = name
        self._capacity = capacity
        self._lock = threading.Lock()
        self._buffer: collections.deque[T] = collections.deque()
        self._sent = 0
        self._received = 0
        self._closed = False
        self._met: set[Fence] = set()
        self._last_sender: Fence | None = None
        self._last_receiver: Fence | None = None
        self._producer: _Waiter | None = None
        self._consumer: _Waiter | None = None

    def __repr__(self) -> str:
        state = ", closed" if self._closed else ""
        return f"<Link {self._name!r}, {len(self._buffer)}/{self._capacity}{state}>"

    @property
    def name(self) -> str:
        """The link's name."""
        return self._name

    @property
    def last_sender(self) -> str | None:
        """Name of the node that sent last, in a hook of its own; None: none did. Any thread."""
        return None if self._last_sender is None else self._last_sender.owner

    @property
    def last_receiver(self) -> str | None:
        """Name of the node that received last, in a hook of its own; None: none did. Any thread."""
        return None if self._last_receiver is None else self._last_receiver.owner

    def send_nowait(self, data: T) -> None:
        """Put one message in; any thread, not a checkpoint.

        Raises:
            trio.WouldBlock: The link is full.
            trio.ClosedResourceError: The link was closed.
            TickAbandoned: The calling tick was abandoned, or its run is over.
        """
        fence = current_fence.get()
        with self._lock:
            if fence is not None:
                self._look(fence)
            if self._closed:
                raise self._closed_error()
            if len(self._buffer) >= self._capacity:
                raise trio.WouldBlock
            self._buffer.append(data)
            self._sent += 1
            self._last_sender = fence or self._last_sender
            consumer = self._consumer
        if consumer is not None:
            consumer.wake()

    def receive_nowait(self) -> T:
        """Take the oldest message; any thread, not a checkpoint.

        Raises:
            trio.WouldBlock: The link is empty.
            trio.EndOfChannel: The link was closed and is empty.
            TickAbandoned: The calling tick was abandoned: it must not take messages away.
        """
        fence = current_fence.get()
        with self._lock:
            if fence is not None:
                self._look(fence)
            if not self._buffer:
                if self._closed:
                    raise trio.EndOfChannel
                raise trio.WouldBlock
            self._received += 1
            value = self._buffer.popleft()
            self._last_receiver = fence or self._last_receiver
            producer = self._producer
        if producer is not None:
            producer.wake()
        return value

    async def send(self, data: T) -> None:
        """Wait for room and put one message in. A checkpoint; cancelled, nothing was sent.

        Raises:
            trio.BusyResourceError: Somebody else is waiting to send.
            trio.ClosedResourceError, TickAbandoned: As `send_nowait`.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        while True:
            try:
                self.send_nowait(data)
            except trio.WouldBlock:
                await _TaskWaiter().wait(self._as_producer, self._leave_producer)
            else:
                await trio.lowlevel.cancel_shielded_checkpoint()
                return

    async def receive(self) -> T:
        """Wait for a message and take it. A checkpoint; cancelled, nothing was taken.

        Raises:
            trio.BusyResourceError: Somebody else is waiting to receive.
            trio.EndOfChannel, TickAbandoned: As `receive_nowait`.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        while True:
            try:
                value = self.receive_nowait()
            except trio.WouldBlock:
                await _TaskWaiter().wait(self._as_consumer, self._leave_consumer)
            else:
                await trio.lowlevel.cancel_shielded_checkpoint()
                return value

    def send_blocking(self, data: T) -> None:
        """`send` for threads: blocks this thread until there is room.

        Raises:
            TickAbandoned: The calling tick was abandoned, perhaps while waiting.
            AsyncCallInThread: Called on the loop, which it would block; await `send` there.
            trio.BusyResourceError, trio.ClosedResourceError: As `send`.
        """
        _refuse_on_loop("send_blocking", "await link.send(…)")
        while True:
            try:
                return self.send_nowait(data)
            except trio.WouldBlock:
                _ThreadWaiter().wait(self._as_producer, self._leave_producer)

    def receive_blocking(self) -> T:
        """`receive` for threads: blocks this thread until there is a message.

        Raises:
            TickAbandoned: The calling tick was abandoned, perhaps while waiting.
            AsyncCallInThread: Called on the loop, which it would block; await `receive` there.
            trio.BusyResourceError, trio.EndOfChannel: As `receive`.
        """
        _refuse_on_loop("receive_blocking", "await link.receive()")
        while True:
            try:
                return self.receive_nowait()
            except trio.WouldBlock:
                _ThreadWaiter().wait(self._as_consumer, self._leave_consumer)

    def close(self) -> None:
        """No more messages; any thread, idempotent. What is inside can still be received."""
        with self._lock:
            self._closed = True
            waiters = (self._producer, self._consumer)
        for waiter in waiters:
            if waiter is not None:
                waiter.wake()

    def statistics(self) -> LinkStatistics:
        """A consistent snapshot; any thread."""
        with self._lock:
            return LinkStatistics(
                name=self._name,
                sent=self._sent,
                received=self._received,
                depth=len(self._buffer),
                capacity=self._capacity,
            )

    def _look(self, fence: Fence) -> None:
        """Refuse what an abandoned tick wants; the lock is held."""
        if fence not in self._met:
            fence.meet(self._lock, self._met)
        if fence.closed:
            fence.refuse()

    # A waiter takes its place, and is told whether there is still something to wait for.

    def _as_producer(self, waiter: _Waiter) -> bool:
        with self._lock:
            if self._producer is not None:
                raise trio.BusyResourceError(f"link {self._name!r} has one producer, got two")
            self._producer = waiter
            return len(self._buffer) >= self._capacity and not self._closed

    def _leave_producer(self) -> None:
        with self._lock:
            self._producer = None

    def _as_consumer(self, waiter: _Waiter) -> bool:
        with self._lock:
            if self._consumer is not None:
                raise trio.BusyResourceError(f"link {self._name!r} has one consumer, got two")
            self._consumer = waiter
            return not self._buffer and not self._closed

    def _leave_consumer(self) -> None:
        with self._lock:
            self._consumer = None

    def _closed_error(self) -> trio.ClosedResourceError:
        return trio.ClosedResourceError(f"link {self._name!r} was closed")


class _TaskWaiter:
    """A task asleep at a link's end."""

    def __init__(self) -> None:
        self._bell: Bell = current_bell()
        self._task: trio.lowlevel.Task | None = None
        self._woken = False

    def wake(self) -> None:
        if not self._woken:  # once is enough: who is woken looks itself
            self._woken = True
            self._bell.ring(self)

    def _answer(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            trio.lowlevel.reschedule(task)

    async def wait(self, enter: Callable[[_Waiter], bool], leave: Callable[[], None]) -> None:
        if not enter(self):
            leave()
            return
        fence = current_fence.get()
        if fence is not None and fence.closed:
            leave()
            fence.refuse()
        self._task = trio.lowlevel.current_task()

        def abort(_: trio.lowlevel.RaiseCancelT) -> trio.lowlevel.Abort:
            self._task = None
            return trio.lowlevel.Abort.SUCCEEDED

        try:
            with _WokenBy(fence, self.wake):
                await trio.lowlevel.wait_task_rescheduled(abort)
        finally:
            leave()


class _ThreadWaiter:
    """A thread asleep at a link's end."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def wake(self) -> None:
        self._event.set()

    def wait(self, enter: Callable[[_Waiter], bool], leave: Callable[[], None]) -> None:
        worth_waiting = enter(self)
        try:
            if worth_waiting:
                with _WokenBy(current_fence.get(), self.wake):
                    self._event.wait()
        finally:
            leave()


_Waiter = _TaskWaiter | _ThreadWaiter


class _WokenBy:
    """While inside, the closing of the fence wakes the waiter."""

    __slots__ = ("_fence", "_wake")

    def __init__(self, fence: Fence | None, wake: Callable[[], None]) -> None:
        self._fence = fence
        self._wake = wake

    def __enter__(self) -> None:
        if self._fence is not None:
            self._fence.on_close(self._wake)

    def __exit__(self, *exc_info: object) -> None:
        if self._fence is not None:
            self._fence.forget(self._wake)


def _refuse_on_loop(name: str, instead: str) -> None:
    if trio.lowlevel.in_trio_run():
        raise AsyncCallInThread(
            f"Link.{name}() would block the Trio loop; in async code use {instead}"
        )
