"""One reader's place at a `Hub`: a bounded buffer with an overflow rule and exact loss counters.

The law, at any instant and in any thread: ``received + dropped + depth`` is how many messages were
published since it joined, and what is received is a subsequence of the publish order. All state is
guarded by the hub's lock, but for one thing: a reader takes a message without it. Looking, counting
and taking is a run of operations with no call in between, so nobody comes between them (decisions
10 and 11), and who holds the lock has to expect that a buffer becomes shorter. Where the
interpreter traces (under a debugger, or while coverage is measured) somebody can come between after
all: who then finds nothing left to take takes its count back.
"""

from __future__ import annotations

import collections
import contextlib
import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

import outcome
import trio

from .bell import Bell, Ringer, current_bell, ring

if TYPE_CHECKING:
    from .hub import Hub

__all__ = ["Overflow", "Subscription", "SubscriptionStatistics"]

T = TypeVar("T")


class Overflow(enum.Enum):
    """What a full subscription does with one more message."""

    DROP_OLDEST = "drop oldest"
    DROP_NEWEST = "drop newest"
    LATEST = "latest"
    """Keep the newest message only; the capacity is 1."""
    BLOCK = "block"
    """`Hub.send_async` waits for room; a plain `Hub.send` drops the new message here."""

    def __repr__(self) -> str:
        return f"Overflow.{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionStatistics:
    """A subscription at one instant; ``received + dropped + depth == published``.

    Attributes:
        published: Messages published since it joined.
        received: Messages taken out.
        dropped: Messages lost to the overflow rule.
        depth: Messages waiting.
        capacity: How many may wait.
        overflow: What happens to one more.
        tasks_waiting: Tasks waiting for a message.
    """

    published: int
    received: int
    dropped: int
    depth: int
    capacity: int
    overflow: Overflow
    tasks_waiting: int


class Subscription(trio.abc.ReceiveChannel[T], Generic[T]):
    """Receives what a `Hub` publishes. Made by `Hub.subscribe`; iterate it or call `receive`.

    Closing it (`aclose`, ``async with``) leaves the hub; what was not received is gone.
    """

    def __init__(self, hub: Hub[T], capacity: int, overflow: Overflow, joined: int) -> None:
        self._hub = hub
        self._lock = hub._lock
        self._capacity = 1 if overflow is Overflow.LATEST else capacity
        self._overflow = overflow
        self._keeps_oldest = overflow in (Overflow.DROP_NEWEST, Overflow.BLOCK)
        self._buffer: collections.deque[T] = collections.deque()
        self._joined = joined
        self._received = 0
        self._dropped = 0
        self._closed = False
        self._lenient = False
        self._tasks: dict[trio.lowlevel.Task, None] = {}
        self._sleepers: dict[Ringer, None] = {}  # who waits elsewhere than in a Trio run
        self._bell: Bell | None = None  # while somebody wants to hear of arrivals
        self._heard = 0  # arrivals that have been told
        self._on_arrival: Callable[[int], None] | None = None

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"{len(self._buffer)}/{self._capacity}"
        return f"<Subscription to {self._hub.name!r}, {self._overflow.value}, {state}>"

    @property
    def topic(self) -> str:
        """The hub's name."""
        return self._hub.name

    @property
    def overflow(self) -> Overflow:
        """What a full subscription does with one more message."""
        return self._overflow

    @property
    def depth(self) -> int:
        """Messages waiting; may have changed before the caller looks at it."""
        return len(self._buffer)

    def receive_nowait(self) -> T:
        """Take the oldest waiting message; any thread, not a checkpoint.

        Raises:
            trio.WouldBlock: Nothing is waiting.
            trio.ClosedResourceError: This subscription was closed.
            trio.EndOfChannel: The hub was closed and everything has been received.
        """
        buffer = self._buffer
        if not buffer or self._closed:
            raise self._refusal() or trio.WouldBlock()
        self._received += 1  # no call between the look and the take
        try:
            value = buffer.popleft()
        except IndexError:
            self._received -= 1
            raise self._refusal() or trio.WouldBlock() from None
        if self._hub._senders:
            self._hub._let_in()
        return value

    async def receive(self) -> T:
        """Wait for the next message and take it. A checkpoint; cancelled, it has taken nothing.

        Raises:
            trio.ClosedResourceError: This subscription was closed, perhaps while waiting.
            trio.EndOfChannel: The hub was closed and everything has been received.
            trio.BusyResourceError: It is awaited in another Trio run already.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        task = trio.lowlevel.current_task()
        while self._buffer or not self._enter(task):
            try:
                value = self.receive_nowait()
            except trio.WouldBlock:
                continue  # a reader in another thread was faster
            await trio.lowlevel.cancel_shielded_checkpoint()
            return value

        def abort(_: trio.lowlevel.RaiseCancelT) -> trio.lowlevel.Abort:
            with self._lock:
                self._tasks.pop(task, None)
                self._stop_listening()
            return trio.lowlevel.Abort.SUCCEEDED

        result: T = await trio.lowlevel.wait_task_rescheduled(abort)
        return result

    def _enter(self, task: trio.lowlevel.Task) -> bool:
        """Queue `task`, unless something has come since it last looked."""
        with self._lock:
            if self._buffer or self._closed or self._hub._closed:
                return False
            self._listen(current_bell())
            self._tasks[task] = None
            return True

    def close(self) -> None:
        """Leave the hub; any thread, idempotent. Waiting readers get `trio.ClosedResourceError`."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            ringers = [*self._hub._leave(self), *self._sleepers]
            bell = self._bell
        ring(ringers)
        if bell is not None:
            bell.ring(self)

    async def aclose(self) -> None:
        """`close`, and a checkpoint."""
        self.close()
        await trio.lowlevel.checkpoint()

    def statistics(self) -> SubscriptionStatistics:
        """A consistent snapshot; any thread."""
        with self._lock:
            received, dropped, depth = self._received, self._dropped, len(self._buffer)
            return SubscriptionStatistics(
                published=self._hub._published - self._joined
                if not self._closed
                else received + dropped + depth,
                received=received,
                dropped=dropped,
                depth=depth,
                capacity=self._capacity,
                overflow=self._overflow,
                tasks_waiting=len(self._tasks) + len(self._sleepers),
            )

    def drain(self) -> list[T]:
        """Take all that is waiting, oldest first; any thread.

        Raises:
            trio.ClosedResourceError: This subscription was closed.
        """
        with self._lock:
            if self._closed:
                raise self._closed_error()
            buffer = self._buffer
            values: list[T] = []
            with contextlib.suppress(IndexError):  # readers take from it, too
                while True:
                    values.append(buffer.popleft())
            count = len(values)
            self._received += count  # no call inside the addition: readers add too
        if self._hub._senders:
            self._hub._let_in()
        return values

    # For the hub and the engine, not for users

    def notify(self, on_arrival: Callable[[int], None] | None) -> None:
        """Have `on_arrival` called on this loop with the number of arrivals since; None ends it."""
        with self._lock:
            self._heard = self._arrived()
            self._on_arrival = on_arrival
            if on_arrival is None:
                self._stop_listening()
            else:
                self._listen(current_bell())

    def _await_arrival(self, sleeper: Ringer) -> bool:
        """Have `sleeper` rung for, once, as soon as it is worth looking again; any thread.

        Returns:
            False if it is worth looking now; then it is not.
        """
        with self._lock:
            if self._buffer or self._refusal() is not None:
                return False
            self._sleepers[sleeper] = None
            self._hub._listening[sleeper] = None
            return True

    def _forget(self, sleeper: Ringer) -> None:
        """Undo `_await_arrival`; any thread."""
        with self._lock:
            self._sleepers.pop(sleeper, None)
            self._hub._listening.pop(sleeper, None)

    def peek(self) -> tuple[int, list[T]]:
        """All that is waiting, oldest first, and how many have left the buffer before; any thread.

        What has been peeked at may be taken later by `take_until`, exactly.
        """
        with self._lock:
            dropped = 0 if self._keeps_oldest else self._dropped
            return self._received + dropped, list(self._buffer)

    def take_until(self, gone: int) -> None:
        """Take the oldest messages until `gone` have left the buffer in all; any thread.

        Those the overflow rule has dropped meanwhile are gone already, and stay counted as dropped.
        """
        with self._lock:
            buffer = self._buffer
            while buffer and not self._closed:
                if self._received + (0 if self._keeps_oldest else self._dropped) >= gone:
                    break
                self._received += 1
                try:
                    buffer.popleft()
                except IndexError:
                    self._received -= 1
        if self._hub._senders:
            self._hub._let_in()

    def set_lenient(self, lenient: bool) -> None:
        """Whether a full BLOCK subscription drops instead of holding senders up; any thread."""
        if self._overflow is not Overflow.BLOCK or self._lenient == lenient:
            return
        with self._lock:
            self._lenient = lenient
        if self._hub._senders:
            self._hub._let_in()

    def _offer(self, data: T) -> bool:
        """Take or drop one message; the lock is held."""
        if len(self._buffer) < self._capacity or self._makes_room():
            self._buffer.append(data)
            return True
        return False

    def _makes_room(self) -> bool:
        """Drop one message, as the buffer was full just now; the lock is held.

        Returns:
            Whether the new message goes in; it is the one dropped otherwise.
        """
        if self._keeps_oldest:
            self._dropped += 1
            return False
        buffer = self._buffer
        try:
            buffer[self._capacity - 1]  # still full? `len` is a call, and a reader would come in
        except IndexError:
            return True
        self._dropped += 1
        try:
            buffer.popleft()
        except IndexError:
            self._dropped -= 1
        return True

    def _arrived(self) -> int:
        """Messages that have ever entered the buffer; the lock is held."""
        dropped = 0 if self._keeps_oldest else self._dropped
        return self._received + dropped + len(self._buffer)

    def _holds_up(self) -> bool:
        return len(self._buffer) >= self._capacity and not self._lenient

    def _refusal(self) -> trio.ClosedResourceError | trio.EndOfChannel | None:
        """Why nothing more will come, or None."""
        if self._closed:
            return self._closed_error()
        return trio.EndOfChannel() if self._hub._closed else None

    def _closed_error(self) -> trio.ClosedResourceError:
        return trio.ClosedResourceError(f"this subscription to {self.topic!r} was closed")

    def _listen(self, bell: Bell) -> None:
        if self._bell is not None and self._bell is not bell:
            raise trio.BusyResourceError(
                f"subscription to {self.topic!r} is awaited in another Trio run; "
                "subscribe once for each run"
            )
        self._bell = bell
        self._hub._listening[self] = None

    def _stop_listening(self) -> None:
        if not self._tasks and self._on_arrival is None:
            self._bell = None
            self._hub._listening.pop(self, None)

    def _answer(self) -> None:
        """On the loop: hand messages to the tasks that wait, and tell the engine of arrivals."""
        arrived = 0
        self._hand_out()
        tasks, on_arrival = self._tasks, self._on_arrival
        if not tasks and on_arrival is None:
            self._bell = None
        else:
            with self._lock:
                self._hand_out()  # what has come since
                if tasks and (refusal := self._refusal()) is not None:
                    for task in tasks:
                        trio.lowlevel.reschedule(task, outcome.Error(refusal))
                    tasks.clear()
                if on_arrival is not None:
                    heard, self._heard = self._heard, self._arrived()
                    arrived = self._heard - heard
                if (tasks or on_arrival is not None) and not self._closed:
                    self._hub._listening[self] = None  # again
                else:
                    self._bell = None
        if self._hub._senders:
            self._hub._let_in()
        if arrived and on_arrival is not None:
            on_arrival(arrived)

    def _hand_out(self) -> None:
        """On the loop, where tasks come and go: one message each, first come, first served."""
        tasks = self._tasks
        while tasks:
            buffer = self._buffer
            if not buffer or self._closed:
                break
            self._received += 1
            try:
                value = buffer.popleft()
            except IndexError:
                self._received -= 1
                break
            task = next(iter(tasks))
            del tasks[task]
            trio.lowlevel.reschedule(task, outcome.Value(value))
