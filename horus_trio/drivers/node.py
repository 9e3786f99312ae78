"""A driver as a node: what comes in is published, what a topic brings is sent; reconnects for ever.

The engine's own supervision does the reconnecting: a lost device is the node's failure, and its
failure policy waits, closes, and opens again. So it shows as any failure does: in the node's state
and health, in its restarts, in the log.
"""

from __future__ import annotations

import inspect
import math
import struct
from typing import Any, ClassVar, Unpack

import trio

from ..arguments import is_positive
from ..errors import ConfigurationError
from ..logs import WarningLog
from ..node import AsyncNode, Seat
from ..node.options import ConstructorKeywords
from ..policies import FailurePolicy, Restart
from ..topics import Pub, Sub
from .driver import Driver, DriverState
from .errors import DeviceGone, DriverError, FrameError, ReceiveFailed, SendFailed
from .query import QueryDriver

__all__ = ["DriverNode"]

NOT_VALID = (ArithmeticError, LookupError, ValueError, struct.error)
"""What garbage makes a parser raise. Other errors are mistakes in the parser."""


class DriverNode(AsyncNode):
    """Connects a driver with topics.

    ::

        scheduler.add(DriverNode("gps", SerialPort("/dev/ttyUSB0", framing=Nmea()), publish="fix"))

    Its ticks only look after the device: they find out that its data are stale. Messages go
    through background tasks as they come, at whatever rate that is. `decode` and `encode` are for
    subclasses that publish something better than the driver's messages.

    What is to be sent while there is no connection, or while an emergency holds the node (if it is
    `critical`), is dropped: it was meant for that moment. What `enter_safe_state` sends is sent.

    Arguments:
        name: Of the node.
        driver: Not open yet. The node opens and closes it.
        publish: Topic, or `Pub`, for what is received; None: nothing is received.
        listen: Topic, or `Sub`, whose messages are sent; None: nothing is sent.
        stale_after: Seconds without a good message after which the data are stale; None: only
            while there is no connection.
        reconnect_after: Seconds without any message after which the device counts as gone; None:
            silence is no reason.
        options: Those of every node. Its `failure_policy` is by default a `Restart` for ever, with
            about 2 s between attempts at most, and its `rate` 10 Hz.

    Attributes:
        driver: The driver.
        rejected: Messages that came and were not valid, or that could not be received.
        unsent: Messages of the topic that were not sent: they were not valid, sending failed,
            there was no connection, or an emergency.

    Raises:
        ConfigurationError: An argument makes no sense.
    """

    rate: ClassVar[float] = 10.0
    failure_policy: ClassVar[FailurePolicy] = Restart(within=None, backoff=0.1, max_backoff=2.0)

    _has_failed: bool

    def __init__(
        self,
        name: str,
        driver: Driver[Any],
        *,
        publish: str | Pub | None = None,
        listen: str | Sub | None = None,
        stale_after: float | None = None,
        reconnect_after: float | None = None,
        **options: Unpack[ConstructorKeywords],
    ) -> None:
        if not isinstance(driver, Driver):
            hint = (
                "; a query driver has no messages of its own accord: ask it in a node's tick"
                if isinstance(driver, QueryDriver)
                else ", such as SerialPort(…)"
            )
            raise ConfigurationError(
                f"DriverNode({name!r}): expected a Driver, got {driver!r:.80}{hint}"
            )
        if listen is not None and not driver.sends:
            raise ConfigurationError(
                f"DriverNode({name!r}): listen={listen!r:.80}, but {driver.name} takes no "
                "messages: leave listen out"
            )
        if publish is None and listen is None:
            raise ConfigurationError(
                f"DriverNode({name!r}): expected publish='a topic', listen='a topic', or both"
            )
        for option, seconds in (("stale_after", stale_after), ("reconnect_after", reconnect_after)):
            if seconds is None:
                continue
            if not is_positive(seconds):
                raise ConfigurationError(
                    f"DriverNode({name!r}): {option}={seconds!r}, expected a finite number of "
                    "seconds above 0, or None"
                )
            if publish is None:
                raise ConfigurationError(
                    f"DriverNode({name!r}): {option}={seconds:g} needs publish='a topic': nothing "
                    "is received without"
                )
        self._publish = _topic(name, "publish", publish, Pub)
        self._listen = _topic(name, "listen", listen, Sub)
        if listen is not None:
            options["subs"] = (*self._declared("subs", options), listen)
        if publish is not None:
            options["pubs"] = (*self._declared("pubs", options), publish)
        super().__init__(name, **options)
        self.driver: Driver[Any] = driver
        self.rejected: int = 0
        self.unsent: int = 0
        self._stale_after = stale_after
        self._reconnect_after = reconnect_after
        self._warnings = WarningLog()
        self._begin()

    # For subclasses

    def decode(self, message: Any) -> Any:
        """What to publish for a message that was received; None: nothing.

        It raises `ValueError`, `LookupError`, `ArithmeticError` or `struct.error` for a message
        that is not valid. That is counted in `rejected`, and logged.
        """
        return message

    def encode(self, data: Any) -> Any:
        """What to send for a message of the topic; None: nothing.

        It raises what `decode` may raise if it cannot be sent. That is counted in `unsent`, and
        logged.
        """
        return data

    def on_stale(self, silence: float) -> Any:
        """Be told, once, that the data have become stale; plain and not blocking, or ``async``.

        Arguments:
            silence: Seconds since the latest good message; infinity if none came.
        """
        return None

    # How it is

    @property
    def connected(self) -> bool:
        """Whether there is a connection."""
        return self.driver.state is DriverState.OPEN

    @property
    def silence(self) -> float:
        """Seconds since the latest good message was received; infinity if none has been."""
        return math.inf if self._published == -math.inf else self.now - self._published

    @property
    def is_stale(self) -> bool:
        """Whether there is no connection, or no good message has come for `stale_after` seconds.

        Data that have become stale are so until the next good message, also on a new connection.
        """
        if not self.connected:
            return True
        return self._stale_after is not None and self.now - self._fresh > self._stale_after

    # Hooks

    async def init(self) -> None:
        """Connect."""
        if self._seat is not self._run:
            self._begin()
        await self.driver.open()
        self._heard = self.now
        if not self._has_failed:
            self._fresh = self.now
        elif self._listen is not None:
            self._drop_old(self._listen)
        if self._publish is not None:
            self.start_soon(self._receive_on, self._publish)
        else:
            self.start_soon(self.driver.attend)
        if self._listen is not None:
            self.start_soon(self._send_on, self._listen)

    async def tick_async(self) -> None:
        """Look after the device."""
        await self._look()
        limit = self._reconnect_after
        if limit is not None and (waited := self.now - self._heard) > limit:
            raise DeviceGone(f"{self.driver.name} has been silent for {waited:.1f} s")

    async def on_error(self, error: BaseException) -> None:
        """The device is lost, or cannot be had: that makes the data stale."""
        self._has_failed = True
        self._fresh = -math.inf
        await self._look()

    async def shutdown(self) -> None:
        """Disconnect."""
        self._warnings.close(self.log, self.now)
        await self.driver.aclose()

    def _begin(self) -> None:
        """A new run, with a clock of its own."""
        self._run: Seat | None = self._seat
        self._heard = -math.inf  # the latest message, or the connection
        self._published = -math.inf  # the latest good message
        self._fresh = -math.inf  # since when the data are not stale
        self._was_stale = False
        self._has_failed = False

    # Messages

    async def _receive_on(self, topic: str) -> None:
        driver = self.driver
        while True:
            try:
                message = await driver.receive()
            except ReceiveFailed as error:
                self.rejected += 1
                self._note("receiving failed", error)
                await trio.lowlevel.checkpoint()  # one that always fails must not hold others up
                continue
            self._heard = self.now
            try:
                data = self.decode(message)
            except NOT_VALID as error:
                self.rejected += 1
                self._note("a message that came was not valid", error)
                continue
            if data is not None:
                self._published = self._fresh = self._heard
                self.send(topic, data)

    async def _send_on(self, topic: str) -> None:
        async for data in self.messages(topic):
            sent = False
            if self._is_held():
                self.unsent += 1
                continue
            try:
                message = self.encode(data)
                if message is not None:
                    await self.driver.send(message)
                sent = True
            except (SendFailed, FrameError) as error:
                self._note("sending failed", error)
            except DriverError:
                raise
            except NOT_VALID as error:
                self._note("a message to be sent was not valid", error)
            finally:
                self.unsent += not sent

    def _is_held(self) -> bool:
        """Whether an emergency holds it: nothing is sent on, and `enter_safe_state` has its say."""
        seat = self._seat
        return seat is not None and seat.engine is not None and seat.engine.is_held

    def _drop_old(self, topic: str) -> None:
        """What was to be sent while there was no connection."""
        old = len(self.recv_all(topic))
        if old:
            self.unsent += old
            self.log.warning(
                "%d messages of topic %r came while there was no connection, and are not sent",
                old,
                topic,
            )

    async def _look(self) -> None:
        await trio.lowlevel.checkpoint()
        stale = self.is_stale
        told, self._was_stale = self._was_stale, stale
        if stale and not told:
            answer = self.on_stale(self.silence)
            if inspect.isawaitable(answer):
                await answer

    def _note(self, what: str, error: Exception) -> None:
        self._warnings.tell(self.log, self.now, what, error)

    def _declared(self, option: str, options: Any) -> tuple[Any, ...]:
        """Topics declared in another way, in the constructor or else in the class."""
        declared = options.get(option, getattr(type(self), option, ()))
        return (declared,) if isinstance(declared, (str, Sub, Pub)) else tuple(declared)


def _topic(node: str, option: str, given: Any, kind: type[Pub | Sub]) -> str | None:
    topic = given.topic if isinstance(given, kind) else given
    if topic is not None and (not isinstance(topic, str) or not topic):
        raise ConfigurationError(
            f"DriverNode({node!r}): {option}={given!r:.80}, expected the name of a topic, or "
            f"a horus_trio.{kind.__name__}(…)"
        )
    return topic
