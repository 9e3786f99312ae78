"""HORUS's `Topic`: a named place to send to and receive from, without an engine and in any thread.

Each object receives every message of its name that was sent since it was made, and those before
that nobody had received; but one that has only sent gives that up as soon as another one receives.
What it sends and what it receives are copies.
"""

from __future__ import annotations

import math
import operator
import re
import time
import weakref
from functools import partial
from typing import Any, Generic, TypeVar, overload

import trio

from ...errors import MessageTypeError
from ...messages import current_fence
from ...topics import Subscription
from ...topics.waiting import ThreadWaiter, Waiter, refuse_on_loop
from . import data
from .errors import HorusTimeoutError, TopicRefused
from .messages import MESSAGES, Message, copied, not_an_instance
from .messages.kinds import f64
from .outside import OUTSIDE, Outside, refuse
from .registry import meeting

__all__ = ["Topic"]

T = TypeVar("T")
M = TypeVar("M", bound=Message)

CAPACITY = 1024
"""Messages that may wait for a topic's reader, if it is not said."""


class Topic(Generic[T]):
    """A topic.

    A full one loses its oldest message, and counts that.

    Arguments:
        msg_type: A message class, for a topic that carries only these, or the topic's name.
        capacity: Messages that may wait for this object to receive them, 1 or more.
        endpoint: The topic's name, instead of that of the class.

    Raises:
        TypeError: `msg_type` is neither.
        OutOfScope: It is a type of HORUS's that is not here.
        TopicRefused: The name or the capacity makes no sense, or the name carries another type.
    """

    __slots__ = (
        "__weakref__",
        "_capacity",
        "_endpoint",
        "_hub",
        "_lost",
        "_meeting",
        "_name",
        "_reads",
        "_received",
        "_refused",
        "_sent",
        "_type",
        "subscription",
    )

    @overload
    def __init__(
        self: Topic[M],
        msg_type: type[M],
        capacity: int | None = None,
        endpoint: str | None = None,
    ) -> None: ...
    @overload
    def __init__(
        self: Topic[Any],
        msg_type: str | type[Any],
        capacity: int | None = None,
        endpoint: str | None = None,
    ) -> None: ...
    def __init__(
        self,
        msg_type: str | type[Any],
        capacity: int | None = None,
        endpoint: str | None = None,
    ) -> None:
        named, self._type = _name_and_type(msg_type)
        self._name: str = _checked(named if endpoint is None else endpoint)
        self._endpoint = endpoint
        self._capacity = CAPACITY if capacity is None else operator.index(capacity)
        if self._capacity < 0:
            raise OverflowError("can't convert negative int to unsigned")
        if self._capacity == 0:
            raise TopicRefused(_REFUSED.format(self._name, "Topic capacity must be >= 1"))
        self._sent = 0
        self._received = 0
        self._refused = 0
        self._lost = 0
        self._reads = False
        self._meeting = meeting(self._name)
        self._hub = self._meeting.hub
        self.subscription: Subscription[T] | None = None
        with self._meeting.lock:
            self._meeting.enter(self, self._type)
            self._join()

    def __repr__(self) -> str:
        return f"Topic(name={self._name!r}, backend={self.backend_type!r})"

    @property
    def name(self) -> str:
        """The topic's name."""
        return self._name

    @property
    def endpoint(self) -> str | None:
        """The name that was given beside the message class, or None."""
        return self._endpoint

    @property
    def backend_type(self) -> str:
        """How messages travel."""
        return "InProcess"

    @property
    def is_network_topic(self) -> bool:
        """Whether messages leave the machine."""
        return False

    def is_generic(self) -> bool:
        """Whether it carries plain data rather than one type of message."""
        return self._type is None

    def send(self, message: T, node: object = None) -> bool:
        """Publish a copy of `message`; any thread, never waits.

        Arguments:
            message: Of the topic's type; if it has none, what JSON can say.
            node: Not looked at; nodes of HORUS pass themselves.

        Raises:
            MessageTypeError: `message` is something else; it is a `TypeError`.
            TickAbandoned: The calling tick was abandoned, or its run is over.
        """
        # What `_parcel` does, which would be a tenth of it.
        parcel = copied(message) if type(message) is self._type else self._parcel(message)
        self._hub.publish(parcel, current_fence.get())
        self._sent += 1
        if self._meeting.received and not self._reads:
            self._give_up_if_read_by_others()
        return True

    def try_send(self, message: T, node: object = None) -> bool:
        """`send`, if no reader of this process would lose a message by it.

        Returns:
            Whether it was sent.
        """
        parcel = self._parcel(message)
        if not self._meeting.has_room():
            self._refused += 1
            return False
        self._hub.publish(parcel, current_fence.get())
        self._sent += 1
        return True

    def send_blocking(self, message: T, timeout_s: float, node: object = None) -> None:
        """`try_send` as soon as there is room; blocks this thread.

        Arguments:
            message: As for `send`.
            timeout_s: How long to wait (s), 0 or more.
            node: Not looked at.

        Raises:
            HorusTimeoutError: There was no room in time.
            AsyncCallInThread: Called on the Trio loop, which it would block.
            MessageTypeError, TickAbandoned: As `send`.
        """
        timeout = f64(timeout_s)
        if not 0.0 <= timeout < math.inf:
            raise ValueError(
                f"timeout_s must be a finite, non-negative number of seconds (got {timeout:g})"
            )
        refuse_on_loop("Topic.send_blocking()", "topic.try_send(…) and await trio.sleep(…)")
        until, waiters = time.monotonic() + timeout, self._meeting.waiters
        while not self.try_send(message):
            left = until - time.monotonic()
            if left <= 0.0:
                raise HorusTimeoutError(
                    f"Timeout waiting for 'send_blocking on topic {self._name}' after "
                    f"{timeout:g} s: no reader has made room"
                )
            waiter = ThreadWaiter()
            waiter.wait(self._wait_for_room, partial(waiters.discard, waiter), left)
            fence = current_fence.get()
            if fence is not None and fence.closed:
                fence.refuse()

    def recv(self, node: object = None) -> T | None:
        """Take the oldest message that this object has not received; any thread, never waits.

        Arguments:
            node: Not looked at; nodes of HORUS pass themselves.

        Returns:
            The caller's own copy; None: there is none (or it is None).
        """
        subscription = self.subscription
        if subscription is None or not self._reads:
            subscription = self.join()
        if not subscription.depth:
            return None
        try:
            message = subscription.receive_nowait()
        except (trio.WouldBlock, trio.ClosedResourceError):
            return None  # another thread was faster
        if not self._received:
            self._meeting.received = True
            self._others_give_up()
        self._received += 1
        if self._meeting.waiters:
            self._meeting.make_way()
        copy: T = copied(message) if type(message) is self._type else data.copied(message)
        return copy

    def try_recv(self) -> T | None:
        """The same as `recv`."""
        return self.recv()

    def read_latest(self) -> T | None:
        """A copy of the newest message that this object has not received, without taking it."""
        _, waiting = self.join().peek()
        return data.copied(waiting[-1]) if waiting else None

    def missed_count(self) -> int:
        """Messages this object lost because it was full."""
        subscription = self.subscription
        return self._lost + (0 if subscription is None else subscription.statistics().dropped)

    def dropped_count(self) -> int:
        """Messages of this topic that were lost; the most that any one reader lost."""
        lost = [s.dropped for s in self._hub.statistics().subscriptions]
        return max(self._lost, *lost) if lost else self._lost

    def pending_count(self) -> int:
        """Messages that wait to be received: here, or if this object only sends, by the slowest."""
        if self.subscription is not None:
            return self.subscription.depth
        return max((s.depth for s in self._hub.statistics().subscriptions), default=0)

    def pub_count(self) -> int:
        """How many `Topic` objects have sent to it."""
        return sum(t._sent > 0 for t in self._meeting.members())

    def sub_count(self) -> int:
        """How many `Topic` objects have received from it."""
        return sum(t._received > 0 for t in self._meeting.members())

    def stats(self) -> dict[str, Any]:
        """What happened here, as a dict."""
        return {
            "messages_sent": self._sent,
            "messages_received": self._received,
            "send_failures": self._refused,
            "recv_failures": 0,
            "missed_count": self.missed_count(),
            "dropped_count": self.dropped_count(),
            "is_network": self.is_network_topic,
            "backend": self.backend_type,
        }

    # For nodes and the other objects of the name, not for users

    def join(self) -> Subscription[T]:
        """Say that it is there for receiving, also if it sends."""
        self._reads = True
        with self._meeting.lock:
            return self._join()

    def has_room(self) -> bool:
        """Whether it would lose no message by one more."""
        subscription = self.subscription
        return subscription is None or subscription.depth < self._capacity

    def give_up(self) -> None:
        """Receive nothing any more, until it is asked for something."""
        with self._meeting.lock:
            if self._sent and not self._reads and self.subscription is not None:
                self._lost += self.subscription.statistics().dropped
                self.subscription.close()
                self.subscription = None

    def _join(self) -> Subscription[T]:
        if self.subscription is None:
            self.subscription = self._meeting.subscribe(self._capacity)
            weakref.finalize(self, self.subscription.close).atexit = False
        return self.subscription

    def _give_up_if_read_by_others(self) -> None:
        if self.subscription is not None and any(t._received for t in self._meeting.members()):
            self.give_up()

    def _others_give_up(self) -> None:
        for topic in self._meeting.members():
            topic.give_up()

    def _parcel(self, message: Any) -> Any:
        """The copy to send."""
        if self._type is None:
            return data.plain(message)
        if not isinstance(message, self._type):
            raise MessageTypeError(not_an_instance(message, self._type))
        return copied(message)

    def _wait_for_room(self, waiter: Waiter) -> bool:
        self._meeting.waiters.add(waiter)
        return not self._meeting.has_room()


_REFUSED = "Failed to create Topic {!r}: {}"


def _name_and_type(asked: object) -> tuple[str, type[Message] | None]:
    if isinstance(asked, str):
        if asked in OUTSIDE and asked[0].isupper():
            refuse(asked)
        return asked.lower(), MESSAGES.get(asked)
    if isinstance(asked, Outside):
        refuse(asked.__name__)
    if isinstance(asked, type):
        name = getattr(asked, "__topic_name__", asked.__name__.lower())
        return name, asked if issubclass(asked, Message) else None
    raise TypeError(
        f"Topic() requires a message type or topic string, got {asked!r:.80}. Usage: "
        'Topic(CmdVel) or Topic(CmdVel, capacity=2048) or Topic("my_topic")'
    )


def _checked(name: str) -> str:
    wrong = None
    if not name:
        wrong = "Topic name cannot be empty"
    elif not re.fullmatch(r"[A-Za-z0-9_./-]+", name):
        wrong = "Topic name contains invalid characters (allowed: alphanumeric, _, /, -, .)"
    elif name.startswith("/") or name.endswith("/"):
        wrong = 'Topic name must not begin or end with a "/"'
    elif {".", ".."} & set(name.split("/")):
        wrong = 'Topic name must not contain a "." or ".." path component'
    elif len(name) > 255:
        wrong = f"Topic name too long ({len(name)} chars, max 255)"
    if wrong is not None:
        raise TopicRefused(_REFUSED.format(name, wrong))
    return name
