"""A node's place in a run: its topics, its clock, its current tick. The node sees nothing else."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from ..errors import TickAbandoned
from ..logs import LogThread
from ..messages import Tick
from ..topics import Hub, Overflow, Sub, Subscription, Topics

__all__ = ["Engine", "Seat"]


class Engine(Protocol):
    """What a node may ask of the engine that runs it; any thread."""

    @property
    def is_held(self) -> bool:
        """Whether an emergency holds the node."""
        ...

    def request_stop(self, reason: str) -> None:
        """Stop the run."""

    def emergency_stop(self, reason: str) -> None:
        """Bring every critical node into its safe state."""

    def start_soon(self, function: Callable[..., Awaitable[object]], args: tuple[Any, ...]) -> None:
        """Start a background task of the node."""

    def fail(self, error: BaseException) -> None:
        """Something that the node had begun itself has failed: so has the node."""


class Seat:
    """Connects one node to a set of topics.

    Attributes:
        topics: The topics of the robot.
        clock: Seconds on the run's clock.
        engine: Runs the node; None on a bench.
        period: Seconds between ticks, 0.0 for a node without a rate.
        tick: The current or latest tick.
        previous: The instant the tick before that was scheduled, or None.
        waiting_for: The topic the node awaits, or None.
        max_ages: Seconds after which messages are stale, by topic.
        over: Whether the run has ended; every later send is refused.
        hubs: The hubs the node has used, by topic.
        subscriptions: The topics it has joined.
        companion: What nodes of its kind have open beside their helpers, or None.
    """

    __slots__ = (
        "_lock",
        "clock",
        "companion",
        "engine",
        "hubs",
        "log_thread",
        "max_ages",
        "over",
        "period",
        "previous",
        "subscriptions",
        "tick",
        "topics",
        "waiting_for",
    )

    def __init__(
        self,
        topics: Topics,
        clock: Callable[[], float],
        engine: Engine | None = None,
        log_thread: LogThread | None = None,
    ) -> None:
        self.topics: Topics = topics
        self.clock: Callable[[], float] = clock
        self.engine: Engine | None = engine
        self.log_thread: LogThread | None = log_thread
        self.companion: AbstractAsyncContextManager[Any] | None = None
        self.period: float = 0.0
        self.tick: Tick | None = None
        self.previous: float | None = None
        self.waiting_for: str | None = None
        self.over: bool = False
        self.max_ages: dict[str, float] = {}
        self.hubs: dict[str, Hub[Any]] = {}
        self.subscriptions: dict[str, Subscription[Any]] = {}
        self._lock = threading.Lock()

    def turn_page(self, tick: Tick) -> None:
        """A tick begins."""
        latest = self.tick
        if latest is not None:
            self.previous = latest.scheduled
        self.tick = tick

    def hub(self, topic: str) -> Hub[Any]:
        """The hub of a topic."""
        try:
            return self.hubs[topic]
        except KeyError:
            hub = self.hubs[topic] = self.topics.hub(topic)
            return hub

    def subscription(self, topic: str) -> Subscription[Any]:
        """The node's subscription to a topic, joined now if it was not declared."""
        try:
            return self.subscriptions[topic]
        except KeyError:
            return self.join(Sub(topic))

    def join(self, sub: Sub) -> Subscription[Any]:
        """Join a topic as declared, once."""
        with self._lock:
            found = self.subscriptions.get(sub.topic)
            if found is None:
                if self.over:
                    raise TickAbandoned(f"topic {sub.topic!r} cannot be read: the run is over")
                hub = self.hub(sub.topic)
                found = hub.subscribe(sub.capacity, sub.overflow)
                self.subscriptions[sub.topic] = found
                if sub.max_age is not None:
                    self.max_ages[sub.topic] = sub.max_age
            return found

    def holds_up(self, topic: str) -> bool:
        """Whether senders wait for this node to make room in its BLOCK subscription; any thread."""
        subscription = self.subscriptions.get(topic)
        return (
            subscription is not None
            and subscription.overflow is Overflow.BLOCK
            and subscription._holds_up()
        )

    def set_lenient(self, lenient: bool) -> None:
        """Whether BLOCK topics stop waiting for this node."""
        for subscription in tuple(self.subscriptions.values()):
            subscription.set_lenient(lenient)

    def leave(self) -> None:
        """Leave all topics."""
        for subscription in tuple(self.subscriptions.values()):
            subscription.close()
        self.subscriptions.clear()
