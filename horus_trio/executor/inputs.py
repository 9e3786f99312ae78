"""What comes in to a node: its declared topics, the ticks that arrivals ask for, stale inputs."""

from __future__ import annotations

from collections.abc import Callable

from ..node import NodeOptions, Seat
from ..timer import Timer
from .freshness import Freshness
from .mailbox import Mailbox

__all__ = ["Inputs"]


class Inputs:
    """The inputs of one node; its declared topics are joined at once.

    Arguments:
        options: Declare them.
        seat: Joins topics.
        mailbox: Is asked for a tick when a message comes in on an ``on`` topic.
        timer: Rings when an input becomes stale.
        failed: Called with what an ``on_stale`` raised.
    """

    def __init__(
        self,
        options: NodeOptions,
        seat: Seat,
        mailbox: Mailbox,
        timer: Timer,
        failed: Callable[[BaseException], None],
    ) -> None:
        self._mailbox = mailbox
        self._clock = seat.clock
        for pub in options.pubs:
            seat.topics.declare(pub)
        for sub in options.subs:
            seat.join(sub)
        self._triggers = [seat.subscription(topic) for topic in options.on]
        self._watches = [
            Freshness(timer, seat.clock, sub, seat.hub(sub.topic), failed)
            for sub in options.subs
            if sub.max_age is not None
        ]

    def start(self) -> None:
        """The node begins to tick: arrivals count, also those that came while nobody listened."""
        for subscription in self._triggers:
            subscription.notify(self._arrived)
            if subscription.depth:
                self._arrived(1)
        for watch in self._watches:
            watch.start()

    def stop(self) -> None:
        """The node does not tick any more."""
        for subscription in self._triggers:
            subscription.notify(None)
        for watch in self._watches:
            watch.stop()

    def _arrived(self, count: int) -> None:
        self._mailbox.post(self._clock(), count)
