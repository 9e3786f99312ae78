"""A lossless channel from one producer to one consumer, usable from tasks and threads.

Bounded, with back-pressure: a full link makes its producer wait. Waiting is "look, sleep, look
again": whoever is woken takes nothing before it looks itself, so neither a cancelled task nor an
abandoned thread can carry a message away.
"""

from __future__ import annotations

import collections
import threading
from dataclasses import dataclass
from typing import Generic, TypeVar

import trio

from ..arguments import is_whole
from ..errors import ConfigurationError
from ..messages import Fence, current_fence
from .waiting import TaskWaiter, ThreadWaiter, Waiter, refuse_on_loop

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
        if not is_whole(capacity, 1):
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
        self._producer: Waiter | None = None
        self._consumer: Waiter | None = None

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
                await TaskWaiter().wait(self._as_producer, self._leave_producer)
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
                await TaskWaiter().wait(self._as_consumer, self._leave_consumer)
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
        refuse_on_loop("Link.send_blocking()", "await link.send(…)")
        while True:
            try:
                return self.send_nowait(data)
            except trio.WouldBlock:
                ThreadWaiter().wait(self._as_producer, self._leave_producer)

    def receive_blocking(self) -> T:
        """`receive` for threads: blocks this thread until there is a message.

        Raises:
            TickAbandoned: The calling tick was abandoned, perhaps while waiting.
            AsyncCallInThread: Called on the loop, which it would block; await `receive` there.
            trio.BusyResourceError, trio.EndOfChannel: As `receive`.
        """
        refuse_on_loop("Link.receive_blocking()", "await link.receive()")
        while True:
            try:
                return self.receive_nowait()
            except trio.WouldBlock:
                ThreadWaiter().wait(self._as_consumer, self._leave_consumer)

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

    def _as_producer(self, waiter: Waiter) -> bool:
        with self._lock:
            if self._producer is not None:
                raise trio.BusyResourceError(f"link {self._name!r} has one producer, got two")
            self._producer = waiter
            return len(self._buffer) >= self._capacity and not self._closed

    def _leave_producer(self) -> None:
        self._producer = None

    def _as_consumer(self, waiter: Waiter) -> bool:
        with self._lock:
            if self._consumer is not None:
                raise trio.BusyResourceError(f"link {self._name!r} has one consumer, got two")
            self._consumer = waiter
            return not self._buffer and not self._closed

    def _leave_consumer(self) -> None:
        self._consumer = None

    def _closed_error(self) -> trio.ClosedResourceError:
        return trio.ClosedResourceError(f"link {self._name!r} was closed")
