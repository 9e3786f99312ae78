"""What comes in to a node: its declared topics, the ticks that arrivals ask for, stale inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..health import InputStatistics
from ..logs import Notice, Throttle, span
from ..node import NodeOptions, Seat
from ..topics import Sub
from .freshness import Freshness
from .mailbox import Mailbox
from .waits import describe_silence

if TYPE_CHECKING:
    from .executor import AsyncIOExecutor

__all__ = ["Inputs"]


class Inputs:
    """The inputs of one node; its declared topics are joined at once.

    Arguments:
        executor: Its timer rings when an input becomes stale, and its log is told.
        name: The node's name.
        options: Declare the inputs.
        seat: Joins topics.
        mailbox: Is asked for a tick when a message comes in on an ``on`` topic.
        failed: Called with what an ``on_stale`` raised.
    """

    __slots__ = (
        "_executor",
        "_failed",
        "_mailbox",
        "_name",
        "_seat",
        "_serving",
        "_throttle",
        "_triggers",
        "_watches",
    )

    def __init__(
        self,
        executor: AsyncIOExecutor,
        name: str,
        options: NodeOptions,
        seat: Seat,
        mailbox: Mailbox,
        failed: Callable[[BaseException], None],
    ) -> None:
        self._executor = executor
        self._name = name
        self._mailbox = mailbox
        self._seat = seat
        self._failed = failed
        self._throttle: Throttle | None = None
        self._serving = False
        for pub in options.pubs:
            seat.topics.declare(pub)
        for sub in options.subs:
            seat.join(sub)
        self._triggers = dict.fromkeys(options.on)
        for topic in self._triggers:
            seat.subscription(topic)
        self._watches: dict[str, Freshness] = {
            sub.topic: Freshness(
                executor.timer, seat.clock, sub, seat.hub(sub.topic), self._stale, self._recovered
            )
            for sub in options.subs
            if sub.max_age is not None
        }

    def start(self) -> None:
        """The node begins to tick: arrivals count, also those that came while nobody listened."""
        self._serving = True
        for watch in self._watches.values():
            watch.start()
        for topic in self._triggers:
            subscription = self._seat.subscription(topic)
            self._listen(topic)
            if subscription.depth:
                self._mailbox.post(self._seat.clock(), 1)

    def stop(self) -> None:
        """The node does not tick any more."""
        self._serving = False
        for watch in self._watches.values():
            watch.stop()
        for topic in (*self._triggers, *self._watches):
            self._listen(topic)

    def snapshot(self) -> tuple[InputStatistics, ...]:
        """The inputs whose age is watched; any thread."""
        return tuple(watch.snapshot() for watch in self._watches.values())

    def _listen(self, topic: str) -> None:
        """Hear of arrivals as far as somebody wants to; hearing costs the sender a wake-up."""
        watch = self._watches.get(topic)
        wanted = topic in self._triggers or (watch is not None and watch.is_stale)
        subscription = self._seat.subscription(topic)
        if not (wanted and self._serving):
            subscription.notify(None)
            return

        def arrived(count: int) -> None:
            if watch is not None:
                watch.arrived()
            if topic in self._triggers:
                self._mailbox.post(self._seat.clock(), count)

        subscription.notify(arrived)

    def _stale(self, sub: Sub) -> None:
        self._listen(sub.topic)
        notice = self._admit("stale", sub)
        if notice is not None:
            self._executor.log.warning(
                "node %r: its input %r is stale, without a message for %g s: %s%s",
                self._name,
                sub.topic,
                sub.max_age,
                describe_silence(sub.topic, self._executor.runners),
                "" if notice.first else f" ({span(notice.count, notice.seconds)})",
            )
        if sub.on_stale is not None:
            self._tell_stale(sub, sub.on_stale)

    def _admit(self, what: str, sub: Sub) -> Notice | None:
        if self._throttle is None:
            self._throttle = Throttle()
        return self._throttle.admit(self._seat.clock(), what, sub.topic)

    def _tell_stale(self, sub: Sub, on_stale: Callable[[str], object]) -> None:
        try:
            on_stale(sub.topic)
        except Exception as error:  # noqa: BLE001 - handed on
            self._failed(error)

    def _recovered(self, sub: Sub, seconds: float) -> None:
        self._listen(sub.topic)
        if self._admit("recovered", sub) is not None:
            self._executor.log.info(
                "node %r: its input %r has recovered, after %.3g s", self._name, sub.topic, seconds
            )
