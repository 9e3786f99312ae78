"""A client's session with its broker: what is under way both ways, over all connections.

Calls into paho are made from here alone, in Trio's thread, and none of them blocks. What paho calls
back only takes note. Numbers of messages are the packet identifiers of MQTT.

What came and waits to be received is held with the connection it came over. When the next one is
made, the broker says whether it has the session still. If so, it sends again what was not
acknowledged, and what is held of QoS 1 is dropped. If not, nobody sends it again, and what is
held is all there is: it is kept.
"""

from __future__ import annotations

import collections
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import trio
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.reasoncodes import ReasonCode

from ..errors import FrameError
from .line import Line
from .message import MqttMessage, MqttSubscription
from .options import MqttOptions
from .paho_client import (
    PahoClient,
    connect_properties,
    message_of,
    packet_size,
    properties_of,
    subscription_of,
)

__all__ = ["Answer", "Session"]

NOT_MQTT = "says what is no MQTT"

PACKETS = 100
"""How many are read before others may run."""

LAST_READS = 10
"""How often that many are read when the connection is closed."""

LOOKS = 10
"""How often, in the time of `MqttOptions.keepalive`, it is looked whether the broker is there."""

MOST_NUMBERS = 65535
"""Messages that may be under way at once, as MQTT has no more numbers."""

MOST_OWED = 1000
"""Messages that may come and not be acknowledged with MQTT 5, unless its window is larger."""

MOST_WAITING = 16384
"""Packets that wait to be written; each is the answer to one that was read."""

PROTOCOL_ERROR = 0x82
KEEPALIVE = 0x8D
TAKEN_OVER = 0x8E


@dataclass(slots=True)
class Held:
    """A message that waits to be received."""

    message: MqttMessage
    number: int
    connection: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What the broker has answered to a connection."""

    reason: ReasonCode
    is_resumed: bool
    max_qos: int
    may_retain: bool
    max_packet: int | None


class Session:
    """What lasts from one connection to the next.

    Arguments:
        name: Of the driver.
        options: Its options.
        client_id: By which the broker knows the client.
        clean: Whether nothing is to last in the broker.

    Attributes:
        answer: What the broker has said to the present connection.
        granted: What it has said to the subscriptions: for each, a reason.
        lost: Why the connection has ended; empty while it has not. And `cause`, the error, if any.
        rejected: Messages that came and were not valid, and `discarded`, their bytes.
        dropped: Messages that came and were not received.
        refused: Messages that the broker did not take, with the reason.
    """

    def __init__(self, name: str, options: MqttOptions, client_id: str, *, clean: bool) -> None:
        self.name = name
        self.options = options
        self.client_id = client_id
        self.clean = clean
        self.answer: Answer | None = None
        self.granted: Sequence[ReasonCode] | None = None
        self.lost: str = ""
        self.cause: Exception | None = None
        self.rejected: int = 0
        self.discarded: int = 0
        self.dropped: int = 0
        self.refused: list[tuple[MqttMessage, str]] = []
        self._incoming: collections.deque[Held] = collections.deque()
        self._held = 0
        # A good broker keeps to the window, and what it has forgotten is held besides.
        window = max(MOST_OWED, 2 * options.window) if options.is_version_5 else MOST_NUMBERS
        self._most_owed = window + options.held
        self._outgoing: dict[int, MqttMessage] = {}
        self._connection = 0
        self._window = options.window
        self._client = PahoClient(options, client_id, clean=clean, release=self._is_kept)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message
        self._client.on_publish = self._on_publish
        self._client.on_disconnect = self._on_disconnect

    def identify(self, username: str | None, password: str | None) -> None:
        """Who the client is."""
        self._client.username_pw_set(username, password)

    def leave(self, will: MqttMessage) -> None:
        """What the broker is to send when the client is gone without having said so."""
        self._client.will_set(
            will.topic,
            will.payload,
            will.qos,
            will.retain,
            properties_of(will, will=True),
        )

    # A connection

    def connect(self, line: Line, host: str, port: int) -> None:
        """Ask the broker for a connection over this line. `answer` comes later."""
        client = self._client
        self.answer = self.granted = None
        self.lost, self.cause = "", None
        self._connection += 1
        asked: Any = {"properties": connect_properties(self.options)}
        if self.options.is_version_5:
            asked["clean_start"] = self.clean
        client.line = line
        self._note_end(client.connect(host, port, self.options.keepalive, **asked))

    def subscribe(self, subscriptions: Sequence[MqttSubscription]) -> None:
        """Ask for these topics. `granted` comes later."""
        five = self.options.is_version_5
        self._client.subscribe([subscription_of(one, five=five) for one in subscriptions])

    def disconnect(self, line: Line) -> None:
        """Say goodbye, as far as the line takes it.

        Acknowledgements that have come are taken note of first.
        """
        line.blocked = False
        for _ in range(LAST_READS):
            if self.lost or line.blocked or line.closed:
                break
            self.read(line)
        self._client.disconnect()
        self._client.line = None
        for held in self._incoming:
            self.dropped += held.message.qos == 0
        self._incoming = collections.deque(held for held in self._incoming if held.message.qos)
        self._held = 0

    def read(self, line: Line) -> None:
        """Take in some of what has come."""
        line.blocked = False
        for _ in range(PACKETS):
            try:
                self._note_end(self._client.read_packet())
            except Exception as error:  # noqa: BLE001 - paho looks at little before it takes it apart
                self.lost = f"{NOT_MQTT} ({type(error).__name__}: {error})"
                self.cause = error
                line.close()
            self._check_bounds(line)
            if self.lost or line.blocked or line.closed or not line.ahead:
                break

    def _check_bounds(self, line: Line) -> None:
        """Hang up on a broker that fills the memory."""
        client = self._client
        if len(self._incoming) - self._held + client.incoming > self._most_owed:
            fault = f"{self._most_owed} messages, and waits for no acknowledgement"
        elif client.waiting > MOST_WAITING:
            fault = f"what is to be answered, and reads none of {MOST_WAITING} answers"
        else:
            return
        if not self.lost:
            self.lost = f"sends {fault}"
        line.close()

    def write(self) -> None:
        """Write what there is room for."""
        if self._client.want_write():
            self._note_end(self._client.loop_write())

    def look(self, line: Line) -> None:
        """If it is time, see whether the broker is there."""
        now = trio.current_time()
        if now < line.look_at:
            return
        keepalive = self._client.keepalive
        if not keepalive:
            line.look_at = math.inf  # the broker does not want it
            return
        if line.look_at > 0:
            for _ in range(5):
                if line.blocked or self.lost:
                    break
                self.read(line)  # its sign of life may be there
            if not line.blocked and now < line.look_at + keepalive / 2:
                return
        self._client.loop_misc()
        line.look_at = now + keepalive / LOOKS

    @property
    def is_writing(self) -> bool:
        """Whether there is something that the line has not taken yet."""
        return self._client.want_write()

    # Messages that come

    @property
    def has_message(self) -> bool:
        """Whether one waits to be received."""
        return bool(self._incoming)

    def take(self) -> MqttMessage:
        """Receive the oldest; acknowledges it."""
        held = self._incoming.popleft()
        qos = held.message.qos
        if not qos:
            self._held -= 1
        elif held.connection == self._connection:
            self._note_end(self._client.ack(held.number, qos))
        return held.message

    def _on_message(self, client: Any, userdata: Any, came: Any) -> None:
        self._client.given += 1
        try:
            message = message_of(came)
        except UnicodeDecodeError:
            self._reject(came)
            return
        if len(message.payload) > self.options.max_message or self._client.cut_off:
            self._reject(came)
            return
        if not message.qos:
            if self._held >= self.options.held:
                self._drop_oldest()
            self._held += 1
        self._incoming.append(Held(message, came.mid, self._connection))

    def _reject(self, came: Any) -> None:
        self.rejected += 1
        self.discarded += len(came.payload) + self._client.cut_off
        if came.qos:
            self._client.ack(came.mid, came.qos)

    def _drop_oldest(self) -> None:
        for number, held in enumerate(self._incoming):
            if not held.message.qos:
                del self._incoming[number]
                self._held -= 1
                self.dropped += 1
                return

    def _is_kept(self, number: int) -> bool:
        """Whether a message of QoS 2 that came over a connection before is still here."""
        for held in self._incoming:
            if held.message.qos == 2 and held.number == number:
                held.connection = self._connection
                return True
        return False

    # Messages that go

    @property
    def unacknowledged(self) -> dict[int, MqttMessage]:
        """Those of QoS 1 and 2 that the broker has not acknowledged, by their numbers."""
        return self._outgoing

    @property
    def has_room(self) -> bool:
        """Whether one more may be under way."""
        return len(self._outgoing) < self._window

    def check(self, message: MqttMessage) -> int:
        """Bytes that it takes on the line.

        Raises:
            FrameError: It is not for this broker.
        """
        answer = self.answer
        size = packet_size(message, properties_of(message), five=self.options.is_version_5)
        fault = ""
        if len(message.payload) > self.options.max_message:
            fault = (
                f"its payload has {len(message.payload)} bytes, more than max_message="
                f"{self.options.max_message}"
            )
        elif answer is not None:
            if answer.max_packet is not None and size > answer.max_packet:
                fault = f"it takes {size} bytes, and the broker takes {answer.max_packet} at most"
            elif message.qos > answer.max_qos:
                fault = f"the broker takes QoS {answer.max_qos} at most, and it has {message.qos}"
            elif message.retain and not answer.may_retain:
                fault = "the broker keeps no values, and it has retain=True"
        if fault:
            raise FrameError(f"a message for topic {message.topic!r:.80} cannot be sent: {fault}")
        return size

    def publish(self, message: MqttMessage) -> int:
        """Hand it over; its number. Part of it may still have to be written."""
        said = properties_of(message)
        info = self._client.publish(
            message.topic, message.payload, message.qos, message.retain, said
        )
        if message.qos:
            self._outgoing[info.mid] = message
        self._note_end(info.rc)
        return info.mid

    def withdraw(self, number: int) -> None:
        """Take back a message that did not go out whole."""
        self._client.withdraw(number)
        self._outgoing.pop(number, None)

    # What paho calls

    def _on_connect(self, client: Any, userdata: Any, flags: Any, reason: Any, said: Any) -> None:
        self._window = min(self.options.window, getattr(said, "ReceiveMaximum", 0) or 65535)
        self.answer = Answer(
            reason=reason,
            is_resumed=bool(flags.session_present),
            max_qos=getattr(said, "MaximumQoS", 2),
            may_retain=bool(getattr(said, "RetainAvailable", 1)),
            max_packet=getattr(said, "MaximumPacketSize", None),
        )
        if reason.is_failure:
            return
        if client.line is not None:
            client.line.look_at = -math.inf  # the broker may want to hear more often
        client.hold_back(self._window)
        if self.answer.is_resumed:
            kept = [held for held in self._incoming if held.message.qos == 2]
        else:
            client.forget_incoming()
            most = 0 if self.clean else self.options.held
            kept = list(self._incoming)[max(0, len(self._incoming) - most) :]
            self.dropped += len(self._incoming) - len(kept)
            for held in kept:
                held.number = 0
        self._incoming = collections.deque(kept)

    def _on_subscribe(
        self, client: Any, userdata: Any, number: int, reasons: Any, said: Any
    ) -> None:
        self.granted = list(reasons)

    def _on_publish(self, client: Any, userdata: Any, number: int, reason: Any, said: Any) -> None:
        message = self._outgoing.pop(number, None)
        if message is not None and reason.is_failure:
            self.refused.append((message, str(reason)))

    def _on_disconnect(
        self, client: Any, userdata: Any, flags: Any, reason: Any, said: Any
    ) -> None:
        if self.lost:
            return
        line = self._client.line
        if flags.is_disconnect_packet_from_server:
            self.lost = f"has hung up: {reason}"
            if reason.value == TAKEN_OVER:
                self.lost = (
                    f"has hung up, since another client has connected as {self.client_id!r}: give "
                    "each a client_id of its own"
                )
        elif reason.value == KEEPALIVE:
            self.lost = f"has not answered for {self._client.keepalive} s"
        elif reason.value == PROTOCOL_ERROR:
            self.lost = NOT_MQTT
        elif line is not None and line.error is not None:
            self.lost = f"has hung up: {line.error.strerror or line.error}"
        else:
            self.lost = self._hung_up()

    def _note_end(self, result: MQTTErrorCode) -> None:
        if result != MQTTErrorCode.MQTT_ERR_SUCCESS and not self.lost:
            self.lost = NOT_MQTT if result == MQTTErrorCode.MQTT_ERR_PROTOCOL else self._hung_up()

    def _hung_up(self) -> str:
        return (
            "has hung up, without a reason: it has ended, or another client has connected as "
            f"{self.client_id!r}"
        )
