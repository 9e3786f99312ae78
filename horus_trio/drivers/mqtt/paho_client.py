"""paho's client on a socket of ours, and with a few things done otherwise.

Imports paho: to be imported when a connection is opened, and not before.

What is overridden has a name with an underscore, since paho has no other way:

- where its socket comes from: ours is connected by Trio, and so can be cancelled;
- what follows the release (PUBREL) of a message of QoS 2 that it does not know, or no more: with
  acknowledgements by hand it says nothing, and the broker would wait for ever;
- the number of a message, which begins again after 65535: it is none that is in use;
- what is sent again: not a message whose sending was cancelled, and not more at once than the
  broker takes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MessageState, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from .line import Line
from .message import MqttMessage, MqttSubscription
from .options import MqttOptions

__all__ = ["PahoClient", "connect_properties", "message_of", "packet_size", "properties_of"]


class PahoClient(Client):
    """One for each driver, over all its connections: it keeps what is not acknowledged.

    Attributes:
        line: The connection's.
        release: Called with the number of a message of QoS 2 that the broker releases and that has
            not just been given to ``on_message``: whether somebody has it still, and is going to
            acknowledge it.
        given: How many messages were given to ``on_message``; counted by who has set that.
    """

    def __init__(
        self, options: MqttOptions, client_id: str, *, clean: bool, release: Callable[[int], bool]
    ) -> None:
        five = options.is_version_5
        super().__init__(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            clean_session=None if five else clean,
            protocol=MQTTProtocolVersion.MQTTv5 if five else MQTTProtocolVersion.MQTTv311,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        self._largest = largest_packet(options) if five else None
        self.line: Line | None = None
        self.release = release
        self.given = 0

    @property
    def is_flooded(self) -> bool:
        """Whether what is coming is larger than what the broker was told to be the most."""
        coming: int = self._in_packet["remaining_length"]
        return self._largest is not None and coming > self._largest

    def withdraw(self, number: int) -> None:
        """Forget a message that did not go out whole."""
        with self._out_message_mutex:
            self._out_messages.pop(number, None)

    def hold_back(self, most: int) -> None:
        """Send again so many at once; before paho does it."""
        with self._out_message_mutex:
            self._max_inflight_messages = most
            for number, message in enumerate(self._out_messages.values()):
                if number >= most and message.state == MessageState.MQTT_MS_PUBLISH:
                    message.state = MessageState.MQTT_MS_QUEUED

    def _mid_generate(self) -> int:
        while True:
            number: int = super()._mid_generate()
            if number not in self._out_messages:
                return number

    def _create_socket(self) -> Any:
        if self.line is None:
            raise ConnectionError("there is no line")
        return self.line

    def _handle_pubrel(self) -> MQTTErrorCode:
        number = int.from_bytes(self._in_packet["packet"][:2], "big")
        given = self.given
        result = super()._handle_pubrel()
        if self.given == given and not self.release(number):
            self.ack(number, 2)
        return result


new_properties: Callable[[int], Any] = cast("Callable[[int], Any]", Properties)
"""paho's class, whose attributes are what has been set, and which has no types."""


def largest_packet(options: MqttOptions) -> int:
    """Bytes that a packet of the broker's may have: a message, its topic and its properties."""
    return min(options.max_message + 2 * 65536, 2**32 - 1)


def connect_properties(options: MqttOptions) -> Any:
    """What is asked of the broker when connecting."""
    if not options.is_version_5:
        return None
    asked = new_properties(PacketTypes.CONNECT)
    asked.SessionExpiryInterval = options.session_expiry
    asked.ReceiveMaximum = options.window
    asked.MaximumPacketSize = largest_packet(options)
    return asked


def subscription_of(subscription: MqttSubscription, *, five: bool) -> Any:
    """As paho wants one."""
    if not five:
        return subscription.filter, subscription.qos
    return subscription.filter, SubscribeOptions(
        qos=subscription.qos,
        noLocal=subscription.no_local,
        retainHandling=(
            SubscribeOptions.RETAIN_SEND_ON_SUBSCRIBE
            if subscription.retained
            else SubscribeOptions.RETAIN_DO_NOT_SEND
        ),
    )


def properties_of(message: MqttMessage, *, will: bool = False) -> Any:
    """What MQTT 5 says of a message besides topic and payload; None: nothing."""
    if not message.needs_version_5:
        return None
    said = new_properties(PacketTypes.WILLMESSAGE if will else PacketTypes.PUBLISH)
    for name, value in (
        ("MessageExpiryInterval", message.expiry),
        ("ContentType", message.content_type),
        ("ResponseTopic", message.response_topic),
        ("CorrelationData", message.correlation),
    ):
        if value is not None:
            setattr(said, name, value)
    for pair in message.user_properties:
        said.UserProperty = pair  # which adds it
    return said


def message_of(came: Any) -> MqttMessage:
    """What paho has received.

    Raises:
        UnicodeDecodeError: Its topic is no text.
    """
    said = came.properties
    return MqttMessage(
        came.topic,
        bytes(came.payload),
        qos=came.qos,
        retain=bool(came.retain),
        expiry=getattr(said, "MessageExpiryInterval", None),
        content_type=getattr(said, "ContentType", None),
        response_topic=getattr(said, "ResponseTopic", None),
        correlation=getattr(said, "CorrelationData", None),
        user_properties=tuple(map(tuple, getattr(said, "UserProperty", ()))),
        duplicate=bool(came.dup),
    )


def packet_size(message: MqttMessage, properties: Any, *, five: bool) -> int:
    """Bytes of the packet that publishes it."""
    size = 2 + len(message.topic.encode()) + len(message.payload) + (2 if message.qos else 0)
    if five:
        size += 1 if properties is None else len(properties.pack())
    length, rest = 1, size
    while rest >= 128:
        length, rest = length + 1, rest // 128
    return 1 + length + size
