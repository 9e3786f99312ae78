"""Where the topics of a process meet: by name, as in HORUS, whoever opens them.

Facade schedulers publish on `topics`, too, so nodes and `Topic` objects outside of any scheduler
hear each other.
"""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, Any

from ...topics import Hub, Subscription, Topics
from .errors import TopicRefused

if TYPE_CHECKING:
    from ...topics.waiting import Waiter
    from .messages import Message
    from .topic import Topic

__all__ = ["Meeting", "meeting", "topics"]

topics: Topics = Topics()
"""The topics of this process."""


class Meeting:
    """The `Topic` objects of one name.

    Each has a subscription of its own, from when it is made, so what is sent waits for it. One that
    turns out to be there for sending gives its subscription up.

    Attributes:
        hub: Where they publish.
        lock: Guards who is here, and who gives up what.
        received: Whether anybody has received something.
        waiters: Threads that wait until there is room.
    """

    def __init__(self, hub: Hub[Any]) -> None:
        self.hub = hub
        self.lock: threading.RLock = threading.RLock()
        self.received = False
        self.waiters: set[Waiter] = set()
        self._members: weakref.WeakSet[Topic[Any]] = weakref.WeakSet()
        self._type: type[Message] | None = None

    def members(self) -> list[Topic[Any]]:
        """Those who are here."""
        with self.lock:
            return list(self._members)

    def enter(self, topic: Topic[Any], message_type: type[Message] | None) -> None:
        """One more.

        Raises:
            TopicRefused: The others carry messages of another type.
        """
        with self.lock:
            if self._type is not message_type and self._members:
                raise TopicRefused(
                    f"Failed to create Topic {self.hub.name!r}: type mismatch. It carries "
                    f"{_called(self._type)} messages, {_called(message_type)} ones were asked for. "
                    "Fix: use distinct topic names for different message types"
                )
            self._type = message_type
            self._members.add(topic)

    def subscribe(self, capacity: int) -> Subscription[Any]:
        """A subscription that begins with what nobody has received yet."""
        with self.lock:
            present = [s for s in (t.subscription for t in self.members()) if s is not None]
            foremost = min(present, key=lambda s: s.depth, default=None)
            return self.hub.subscribe(capacity, like=foremost)

    def has_room(self) -> bool:
        """Whether nobody here would lose a message by one more."""
        return all(t.has_room() for t in self.members())

    def make_way(self) -> None:
        """Somebody has received: wake who waits for room."""
        for waiter in list(self.waiters):
            waiter.wake()


def _called(message_type: type[Message] | None) -> str:
    return "untyped" if message_type is None else message_type.__name__


_meetings: dict[str, Meeting] = {}


def meeting(name: str) -> Meeting:
    """Where the topics of that name meet."""
    found = _meetings.get(name)
    if found is None:
        found = _meetings.setdefault(name, Meeting(topics.hub(name)))
    return found
