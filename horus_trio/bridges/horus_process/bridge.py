"""`HorusBridge`: a node that talks to processes of HORUS's over their topics in shared memory.

HORUS's topics cannot be waited for, they have to be asked. So each tick asks all that are received
and publishes what has come: the node's rate is how often, and half a period is how late a message
is on average. What is sent goes at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias, Unpack

import trio

from ...errors import ConfigurationError, MessageTypeError, UnknownTopic, nearest
from ...logs import WarningLog
from ...node import AsyncNode, Seat
from ...node.options import ConstructorKeywords
from ...policies import FailurePolicy, Restart
from ...topics import Pub, Sub
from .conversion import conversion
from .package import load_horus
from .ring import NOT_VALID, Inlet, Outlet
from .topic import HorusTopic, declared

__all__ = ["HorusBridge", "HorusBridgeStatistics", "HorusReceived", "HorusSent"]

BATCH = 16
"""Messages between two checkpoints: about a millisecond of them, if they are large."""

LOOKS_EVERY = 1.0
"""Seconds between two looks at whether the shared memory is still there."""

Topics: TypeAlias = "str | type[Any] | HorusTopic | Iterable[str | type[Any] | HorusTopic]"


@dataclass(frozen=True, slots=True, kw_only=True)
class HorusReceived:
    """What became of the messages of one topic of HORUS's.

    Attributes:
        topic: The engine's topic.
        passed: Messages published.
        overwritten: Messages that HORUS overwrote before they were received, or gave up because
            their sender had been killed while it wrote them.
        rejected: Messages that could not be converted, or that the engine's topic does not take.
        skipped: Messages that were there before the bridge.
        found_full: How often the ring was found as full as it may be. If nobody else reads the
            topic, HORUS's sender drops what does not fit, and its own ``dropped_count()`` alone
            says how much.
    """

    topic: str
    passed: int
    overwritten: int
    rejected: int
    skipped: int
    found_full: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HorusSent:
    """What became of the messages to one topic of HORUS's.

    Attributes:
        topic: The engine's topic.
        passed: Messages that HORUS took.
        refused: Messages that HORUS dropped: its ring was full.
        rejected: Messages that HORUS does not have.
        held: Messages that came in an emergency, or while the bridge was being restarted.
        dropped: Messages that the bridge's subscription lost before all that.
    """

    topic: str
    passed: int
    refused: int
    rejected: int
    held: int
    dropped: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HorusBridgeStatistics:
    """A bridge at one instant, by the names of HORUS's topics.

    Attributes:
        received: The topics that are received.
        sent: The topics that are sent to.
    """

    received: Mapping[str, HorusReceived]
    sent: Mapping[str, HorusSent]

    @property
    def lost(self) -> int:
        """Messages that did not come through, as far as this side can know."""
        return sum(t.overwritten + t.rejected for t in self.received.values()) + sum(
            t.refused + t.rejected + t.held + t.dropped for t in self.sent.values()
        )


class HorusBridge(AsyncNode):
    """Carries messages between the engine's topics and processes of HORUS's.

    ::

        scheduler.add(HorusBridge("horus", receive=["status", LaserScan], send=[CmdVel]))

    Needs the extra ``horus``. The processes of HORUS's may come, go and be killed as they like:
    the topics are there as long as anybody has them open.

    HORUS's topics have to be asked, so `rate` is how often that is done: at 200 Hz a message is
    2.5 ms late on average. What is sent goes at once; what is to be sent while an emergency holds
    the node (if it is `critical`) is dropped and counted, except by `deliver`.

    A topic of HORUS's goes one way. Both ways, what is sent would come back, since HORUS does not
    say who has sent a message.

    Arguments:
        name: Of the node.
        receive: Topics of HORUS's that are published here: names for generic data, message
            classes, or `HorusTopic`.
        send: Topics of HORUS's that are sent to, likewise.
        options: Those of every node. Its `failure_policy` is by default a `Restart` for ever, with
            about 2 s between attempts at most, and its `rate` 200 Hz.

    Raises:
        ConfigurationError: An argument makes no sense, or HORUS's package is not installed.
    """

    rate: ClassVar[float] = 200.0
    failure_policy: ClassVar[FailurePolicy] = Restart(within=None, backoff=0.1, max_backoff=2.0)

    def __init__(
        self,
        name: str,
        *,
        receive: Topics = (),
        send: Topics = (),
        **options: Unpack[ConstructorKeywords],
    ) -> None:
        owner = f"HorusBridge({name!r})"
        incoming = declared(owner, "receive", receive, Pub)
        outgoing = declared(owner, "send", send, Sub)
        _check(owner, incoming, outgoing)
        horus = load_horus(owner)
        inlets = [Inlet(horus, topic, conversion(horus, topic)) for topic in incoming]
        outlets = [Outlet(horus, topic, conversion(horus, topic)) for topic in outgoing]
        options["pubs"] = (*_listed(self, "pubs", options), *map(_pub, incoming))
        options["subs"] = (*_listed(self, "subs", options), *map(_sub, outgoing))
        super().__init__(name, **options)
        self._inlets = {inlet.topic.name: inlet for inlet in inlets}
        self._outlets = {outlet.topic.name: outlet for outlet in outlets}
        self._held = dict.fromkeys(self._outlets, 0)
        self._dropped = dict.fromkeys(self._outlets, 0)
        self._warnings = WarningLog()
        self._looked: float = 0.0  # at the shared memory
        self._begin()

    def __repr__(self) -> str:
        ways = [
            f"{verb} {', '.join(names)}"
            for verb, names in (("receives", self._inlets), ("sends", self._outlets))
            if names
        ]
        return f"<{type(self).__qualname__} {self.name!r} {' and '.join(ways)}>"

    def statistics(self) -> HorusBridgeStatistics:
        """What has become of all messages; any thread."""
        return HorusBridgeStatistics(
            received={
                name: HorusReceived(
                    topic=inlet.topic.engine_topic,
                    passed=inlet.passed,
                    overwritten=inlet.overwritten,
                    rejected=inlet.rejected,
                    skipped=inlet.skipped,
                    found_full=inlet.found_full,
                )
                for name, inlet in self._inlets.items()
            },
            sent={
                name: HorusSent(
                    topic=outlet.topic.engine_topic,
                    passed=outlet.passed,
                    refused=outlet.refused,
                    rejected=outlet.rejected,
                    held=self._held[name],
                    dropped=self._dropped_of(name),
                )
                for name, outlet in self._outlets.items()
            },
        )

    def deliver(self, name: str, data: Any) -> bool:
        """Send to a topic of HORUS's past the engine's topics, in an emergency too; any thread.

        For `enter_safe_state`, and never waits.

        Arguments:
            name: HORUS's name of a topic in `send`.
            data: The message.

        Returns:
            Whether HORUS took it; it does not if the ring is full.

        Raises:
            UnknownTopic: The bridge does not send to it.
            HorusTopicError: The bridge is not open.
            TickAbandoned: The tick that called was abandoned.
            TypeError, ValueError, ArithmeticError, LookupError: HORUS has no such message.
        """
        outlet = self._outlets.get(name)
        if outlet is None:
            raise UnknownTopic(f"{self!r} does not send to {name!r}{nearest(name, self._outlets)}")
        return outlet.send(data)

    # Hooks

    def init(self) -> None:
        """Open the topics."""
        if self._seat is not self._run:
            self._begin()
        try:
            for inlet in self._inlets.values():
                inlet.join(backlog=inlet.topic.backlog and not self._has_failed)
            for outlet in self._outlets.values():
                outlet.open()
        except BaseException:
            self._close()
            raise
        for name, outlet in self._outlets.items():
            if self._has_failed:  # it was meant for that moment
                self._held[name] += len(self.recv_all(outlet.topic.engine_topic))
            self.start_soon(self._send_on, name, outlet)

    async def tick_async(self) -> None:
        """Receive what has come."""
        now = self.now
        if now - self._looked >= LOOKS_EVERY:
            self._looked = now
            for ring in (*self._inlets.values(), *self._outlets.values()):
                ring.check()
        for name, inlet in self._inlets.items():
            left = inlet.waiting()
            while left > 0:
                for data in inlet.take(min(left, BATCH), self._note_received(name)):
                    self._publish(name, inlet, data)
                left -= BATCH
                await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()

    def on_error(self, error: BaseException) -> None:
        """What came before it is open again will be old."""
        self._has_failed = True

    def shutdown(self) -> None:
        """Close the topics."""
        self._warnings.close(self.log, self.now)
        for name in self._outlets:
            self._dropped[name] = self._dropped_of(name)
        self._close()

    def _close(self) -> None:
        for ring in (*self._inlets.values(), *self._outlets.values()):
            ring.close()

    def _begin(self) -> None:
        """A new run, with subscriptions of its own."""
        self._run: Seat | None = self._seat
        self._dropped_before = dict(self._dropped)
        self._looked = -math.inf
        self._has_failed = False

    # Messages

    def _publish(self, name: str, inlet: Inlet, data: Any) -> None:
        try:
            self.send(inlet.topic.engine_topic, data)
        except MessageTypeError as error:
            inlet.count(passed=False)
            self._note(f"a message of HORUS's topic {name!r} was rejected", error)
            return
        inlet.count(passed=True)

    async def _send_on(self, name: str, outlet: Outlet) -> None:
        family = f"a message to HORUS's topic {name!r} was rejected"
        async for data in self.messages(outlet.topic.engine_topic):
            seat = self._seat
            if seat is not None and seat.engine is not None and seat.engine.is_held:
                self._held[name] += 1
                continue
            try:
                outlet.send(data)
            except NOT_VALID as error:
                self._note(family, error)

    def _note_received(self, name: str) -> Callable[[Exception], None]:
        return lambda error: self._note(f"a message of HORUS's topic {name!r} was rejected", error)

    def _note(self, family: str, error: Exception) -> None:
        self._warnings.tell(self.log, self.now, family, error)

    # Counts

    def _dropped_of(self, name: str) -> int:
        seat = self._seat
        topic = self._outlets[name].topic.engine_topic
        subscription = None if seat is None else seat.subscriptions.get(topic)
        if subscription is None:
            return self._dropped[name]
        return self._dropped_before[name] + subscription.statistics().dropped


def _check(owner: str, incoming: tuple[HorusTopic, ...], outgoing: tuple[HorusTopic, ...]) -> None:
    if not incoming and not outgoing:
        raise ConfigurationError(f"{owner}: expected receive=[…], send=[…], or both")
    both = {topic.name for topic in incoming} & {topic.name for topic in outgoing}
    if both:
        raise ConfigurationError(
            f"{owner}: HORUS's topic {min(both)!r} is in receive= and in send=, and HORUS does not "
            "say who has sent a message: what is sent would come back. Use two topics"
        )
    for topic in outgoing:
        if topic.backlog:
            raise ConfigurationError(
                f"{owner}: send={topic.name!r} has backlog=True, which is for topics in receive="
            )
    from_engine: set[str] = set()
    for topic in outgoing:
        if topic.engine_topic in from_engine:
            raise ConfigurationError(
                f"{owner}: send= has two topics of HORUS's for {topic.engine_topic!r}; "
                "use two bridges"
            )
        from_engine.add(topic.engine_topic)


def _pub(topic: HorusTopic) -> Pub:
    return topic.topic if isinstance(topic.topic, Pub) else Pub(topic.engine_topic, type=topic.type)


def _sub(topic: HorusTopic) -> Sub:
    return topic.topic if isinstance(topic.topic, Sub) else Sub(topic.engine_topic)


def _listed(bridge: HorusBridge, option: str, options: Any) -> tuple[Any, ...]:
    """Topics declared in another way, in the constructor or else in the class."""
    given = options.get(option, getattr(type(bridge), option, ()))
    return (given,) if isinstance(given, (str, Sub, Pub)) else tuple(given)
