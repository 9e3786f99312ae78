"""A topic with any number of publishers and subscriptions, in any threads.

A publish is one instant: under the hub's lock it gets its number and enters every subscription, or
none. Whom to wake is decided under the lock; waking happens after it.

Publishing takes and releases the lock by two calls: a ``with`` costs twice as much, and that is a
tenth of a `send`. Who is interrupted in between, even by a signal, lets go all the same.
"""

from __future__ import annotations

import abc
import collections
import contextlib
import pickle
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Self, TypeVar, cast

import outcome
import trio

from ..arguments import is_whole
from ..errors import ConfigurationError, MessageChanged, MessageTypeError
from ..messages import Fence, current_fence
from .bell import Bell, Ringer, Rung, current_bell, ring
from .instants import Instants
from .subscription import Overflow, Subscription, SubscriptionStatistics

__all__ = ["Hub", "HubStatistics", "Sender"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class HubStatistics:
    """A topic at one instant.

    Attributes:
        name: The topic.
        sent: Messages published.
        received: Messages taken out, over all present subscriptions.
        dropped: Messages lost to overflow rules, over all present subscriptions.
        depth: Messages waiting, over all present subscriptions.
        senders_waiting: Tasks waiting in `Hub.send_async`.
        subscriptions: Each subscription's own counters.
    """

    name: str
    sent: int
    received: int
    dropped: int
    depth: int
    senders_waiting: int
    subscriptions: tuple[SubscriptionStatistics, ...]


class Hub(Generic[T]):
    """A topic: whatever is sent reaches every subscription.

    Messages travel by reference, so neither side may change one after it was sent. Python's
    development mode (``python -X dev``) checks that: the next `send` raises `MessageChanged`.

    Arguments:
        name: Printable, not empty.
        message_type: If given, `send` refuses what is not an instance of it.
        latch: Whether a new subscription begins with the latest message.
    """

    def __init__(self, name: str, message_type: type[T] | None = None, latch: bool = False) -> None:
        if not isinstance(name, str) or not name or not name.isprintable():
            raise ConfigurationError(f"topic name {name!r}: expected a printable, non-empty str")
        if message_type is not None and not isinstance(message_type, type):
            raise ConfigurationError(
                f"topic {name!r}: message_type is {message_type!r}, expected a class or None"
            )
        self._name = name
        self.message_type = message_type
        self.latch = latch
        self._lock = threading.RLock()  # a signal handler may interrupt a publish and publish
        self._published = 0
        self._subscriptions: tuple[Subscription[T], ...] = ()
        self._blocking: tuple[Subscription[T], ...] = ()
        self._listening: dict[Ringer, None] = {}  # that wait to be rung for
        self._senders: collections.OrderedDict[Sender[T], None] = collections.OrderedDict()
        self._closed = False
        self._instants = Instants(None)
        self._stamp = self._instants.stamp
        self._latest: T | None = None
        self._latest_at: float | None = None  # its stamp; None: there is none
        self._latest_from: Fence | None = None
        self._met: set[Fence] = set()  # that of `_latest_from` is one of them
        # Called under the lock with each message before it is published.
        self._inspect: Callable[[T], None] | None = None
        if sys.flags.dev_mode:
            self._inspect = self._check_unchanged
        self._fingerprint = b""  # of the latest message, while checking

    def __repr__(self) -> str:
        return (
            f"<Hub {self._name!r}, {self._published} sent, "
            f"{len(self._subscriptions)} subscription(s){', closed' if self._closed else ''}>"
        )

    @property
    def name(self) -> str:
        """The topic's name."""
        return self._name

    def send(self, data: T) -> int:
        """Publish; any thread, never waits, not a checkpoint.

        Returns:
            How many subscriptions took the message; a full one may have dropped it.

        Raises:
            MessageTypeError: `data` is not of the topic's type.
            TickAbandoned: The calling tick was abandoned, or its run is over.
            trio.ClosedResourceError: The hub was closed.
        """
        if self.message_type is not None:
            self._check_type(data)
        return self.publish(data, current_fence.get())

    def publish(self, data: T, fence: Fence | None = None) -> int:
        """`send` without asking for the type: under `fence`, or the engine's own messages."""
        lock = self._lock
        try:
            lock.acquire()
            if fence is not None:
                if fence is not self._latest_from and fence not in self._met:
                    fence.meet(lock, self._met)
                if fence.closed:
                    fence.refuse()
                self._latest_from = fence
            # From here on it is `_publish`, once more: calling that would be a sixth of a send.
            if self._closed:
                raise self._closed_error()
            if self._inspect is not None:
                self._inspect(data)
            self._published += 1
            self._latest = data
            self._latest_at = self._stamp()
            taken = len(self._subscriptions)
            for subscription in self._subscriptions:
                buffer = subscription._buffer
                if len(buffer) < subscription._capacity or subscription._makes_room():
                    buffer.append(data)
                else:
                    taken -= 1
            ringers = self._listening
            if ringers:
                self._listening = {}  # each is rung for once, until it has answered
        except BaseException:
            with contextlib.suppress(RuntimeError):  # if interrupted while waiting for the lock
                lock.release()
            raise
        lock.release()
        if ringers:
            ring(ringers)
        return taken

    @property
    def has_subscriptions(self) -> bool:
        """Whether anybody listens; may have changed before the caller looks at it."""
        return bool(self._subscriptions)

    async def send_async(self, data: T) -> int:
        """Publish as soon as every `Overflow.BLOCK` subscription has room, in turn.

        A checkpoint. Cancelled, the message has not been published.

        Returns:
            How many subscriptions took the message.

        Raises:
            MessageTypeError, TickAbandoned, trio.ClosedResourceError: As `send`.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if not self._blocking:
            taken = self.send(data)
            await trio.lowlevel.cancel_shielded_checkpoint()
            return taken
        if self.message_type is not None:
            self._check_type(data)
        with _TaskSender(self, data) as sender:
            admitted = sender.line_up()
            if admitted is None:
                taken = await trio.lowlevel.wait_task_rescheduled(sender.abort)
            else:
                await trio.lowlevel.cancel_shielded_checkpoint()
                taken = admitted.unwrap()
        return taken

    def subscribe(
        self,
        capacity: int = 1024,
        overflow: Overflow = Overflow.DROP_OLDEST,
        *,
        like: Subscription[T] | None = None,
    ) -> Subscription[T]:
        """Join: receive what is published from now on (and the latest message of a latched topic).

        Arguments:
            capacity: Messages that may wait, 1 or more.
            overflow: What happens to one more.
            like: A subscription to this hub: begin with what is waiting in it.
        """
        if not is_whole(capacity, 1):
            raise ConfigurationError(
                f"topic {self._name!r}: capacity is {capacity!r}, expected a whole number above 0"
            )
        if not isinstance(overflow, Overflow):
            raise ConfigurationError(
                f"topic {self._name!r}: overflow is {overflow!r}, expected a horus_trio.Overflow"
            )
        with self._lock:
            self._refuse_if_closed()
            waiting: list[T] = []
            if like is not None:
                waiting = list(like._buffer)
            elif self.latch and self._latest_at is not None:
                waiting = [cast(T, self._latest)]
            subscription = Subscription(self, capacity, overflow, self._published - len(waiting))
            for data in waiting:
                subscription._offer(data)
            self._subscriptions = (*self._subscriptions, subscription)
            if overflow is Overflow.BLOCK:
                self._blocking = (*self._blocking, subscription)
        return subscription

    def close(self) -> None:
        """End the topic; any thread, idempotent.

        Sending raises `trio.ClosedResourceError` from now on, also for those who wait in
        `send_async`; subscriptions give out what they hold, then `trio.EndOfChannel`.
        """
        with self._lock:
            self._closed = True
            ringers: list[Ringer] = []
            for sender in self._senders:
                sender.result = outcome.Error(self._closed_error())
                ringers.append(sender)
            self._senders.clear()
            ringers.extend(self._subscriptions)
            for subscription in self._subscriptions:
                ringers.extend(subscription._sleepers)
        ring(ringers)

    @property
    def latest(self) -> tuple[T, float] | None:
        """The latest message and its instant (seconds, NaN outside a run), or None; any thread."""
        with self._lock:
            if self._latest_at is None:
                return None
            return cast(T, self._latest), self._instants.instant(self._latest_at)

    @property
    def last_sender(self) -> str | None:
        """Name of the node that published last, from a hook; None: none did. Any thread."""
        fence = self._latest_from
        return None if fence is None else fence.owner

    def statistics(self) -> HubStatistics:
        """A snapshot; each subscription's part is consistent. Any thread."""
        subscriptions = tuple(s.statistics() for s in self._subscriptions)
        return HubStatistics(
            name=self._name,
            sent=self._published,
            received=sum(s.received for s in subscriptions),
            dropped=sum(s.dropped for s in subscriptions),
            depth=sum(s.depth for s in subscriptions),
            senders_waiting=len(self._senders),
            subscriptions=subscriptions,
        )

    def _let_in(self) -> None:
        """There may be room: the senders whose turn has come publish; any thread."""
        with self._lock:
            ringers = self._admit()
        ring(ringers)

    def _keep_time(self, instants: Instants) -> None:
        """A run begins or ends: the latest message is forgotten; a latched one is sent now."""
        with self._lock:
            self._instants = instants
            self._stamp = instants.stamp
            if not self.latch:
                self._latest = self._latest_at = None
            elif self._latest_at is not None:
                self._latest_at = self._stamp()

    # Under the lock

    def _publish(self, data: T) -> int:
        if self._inspect is not None:
            self._inspect(data)
        self._published += 1
        self._latest = data
        self._latest_at = self._stamp()
        return sum([subscription._offer(data) for subscription in self._subscriptions])

    def _admit(self) -> list[Ringer]:
        """Publish for the senders whose turn has come; returns whom to ring for."""
        ringers: list[Ringer] = []
        while self._senders and not any(s._holds_up() for s in self._blocking):
            sender, _ = self._senders.popitem(last=False)
            if sender.fence is not None and sender.fence.closed:
                sender.result = outcome.capture(sender.fence.refuse)
            else:
                sender.result = outcome.Value(self._publish(sender.data))
                self._latest_from = sender.fence
                ringers.extend(self._listening)
                self._listening = {}
            ringers.append(sender)
        return ringers

    def _leave(self, subscription: Subscription[T]) -> list[Ringer]:
        self._subscriptions = tuple(s for s in self._subscriptions if s is not subscription)
        self._blocking = tuple(s for s in self._blocking if s is not subscription)
        self._listening.pop(subscription, None)
        return self._admit()

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise self._closed_error()

    def _closed_error(self) -> trio.ClosedResourceError:
        return trio.ClosedResourceError(f"topic {self._name!r} was closed")

    def _check_unchanged(self, data: T) -> None:
        before, self._fingerprint = self._fingerprint, _fingerprint(data)
        if self._latest_at is not None and before:
            latest = self._latest
            now = self._fingerprint if latest is data else _fingerprint(latest)
            if now != before:
                raise MessageChanged(
                    f"topic {self._name!r}: message {self._published} was changed after it was "
                    f"sent: {latest!r:.80}; subscribers share it, so send a new object each time"
                )

    def _check_type(self, data: T) -> None:
        expected = self.message_type
        if expected is not None and not isinstance(data, expected):
            raise MessageTypeError(
                f"topic {self._name!r} carries {expected.__qualname__}, "
                f"got {type(data).__qualname__}: {data!r:.80}; "
                f"send a {expected.__qualname__}, or declare the topic with another type"
            )


def _fingerprint(data: object) -> bytes:
    try:
        return pickle.dumps(data)
    except Exception:  # noqa: BLE001 - whatever a type's own reduction raises: it is not checked
        return b""


class Sender(abc.ABC, Generic[T]):
    """Somebody who waits for his turn to publish; inside ``with``.

    Attributes:
        result: What has become of it; None: it waits.
    """

    __slots__ = ("data", "fence", "hub", "result")

    def __init__(self, hub: Hub[T], data: T) -> None:
        self.hub: Hub[T] = hub
        self.data: T = data
        self.fence: Fence | None = current_fence.get()
        self.result: outcome.Outcome[int] | None = None

    def __enter__(self) -> Self:
        if self.fence is not None:
            self.fence.on_close(self._withdraw)
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self.fence is not None:
            self.fence.forget(self._withdraw)

    @property
    @abc.abstractmethod
    def _bell(self) -> Rung:
        """What is rung when there is a result."""

    @abc.abstractmethod
    def _answer(self) -> None:
        """There is a result; called where the sender waits."""

    def line_up(self) -> outcome.Outcome[int] | None:
        """Publish if it is its turn, or wait for that; returns the result, None if it waits."""
        hub, fence = self.hub, self.fence
        with hub._lock:
            hub._refuse_if_closed()
            if fence is not None:
                if fence not in hub._met:
                    fence.meet(hub._lock, hub._met)
                if fence.closed:
                    fence.refuse()  # `_withdraw` has been called and will not be again
            hub._senders[self] = None
            ringers = hub._admit()
            admitted = self.result
        # There is no need to wake itself.
        ring(ringers if admitted is None else [r for r in ringers if r is not self])
        return admitted

    def leave(self) -> bool:
        """Leave the line; False: the result was there before."""
        with self.hub._lock:
            if self.result is not None:
                return False
            del self.hub._senders[self]
        return True

    def _withdraw(self) -> None:
        """The fence was closed: leave the line; any thread."""
        fence = self.fence
        with self.hub._lock:
            if fence is None or self not in self.hub._senders:
                return
            del self.hub._senders[self]
            self.result = outcome.capture(fence.refuse)
        self._bell.ring(self)


class _TaskSender(Sender[T]):
    """A task that waits in `Hub.send_async`."""

    __slots__ = ("_own_bell", "_task")

    def __init__(self, hub: Hub[T], data: T) -> None:
        super().__init__(hub, data)
        self._own_bell = current_bell()
        self._task: trio.lowlevel.Task | None = trio.lowlevel.current_task()

    @property
    def _bell(self) -> Bell:
        return self._own_bell

    def abort(self, _: trio.lowlevel.RaiseCancelT) -> trio.lowlevel.Abort:
        if not self.leave():
            return trio.lowlevel.Abort.FAILED  # published already: the answer is on its way
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED

    def _answer(self) -> None:
        task, self._task = self._task, None
        if task is not None and self.result is not None:
            trio.lowlevel.reschedule(task, self.result)
