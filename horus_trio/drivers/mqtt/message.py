"""What is said over MQTT: messages, and the topics that one wants to hear of."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field

from ...arguments import is_whole
from ...errors import ConfigurationError
from ..errors import FrameError

__all__ = ["LONGEST", "MqttMessage", "MqttSubscription", "check_message", "fault_of_text"]

LONGEST = 65535
"""Bytes that a text may have."""


@dataclass(frozen=True, slots=True)
class MqttMessage:
    """A message under a topic.

    Attributes:
        topic: Such as ``"home/kitchen/temperature"``.
        payload: Its bytes. Empty ones with `retain` make the broker forget the value it has kept.
        qos: How often it arrives: 0, once at most; 1, once at least; 2, once.
        retain: Whether the broker keeps it as the topic's value, for those that subscribe later.
            In one that was received: whether it is such a value, from before the subscription.
        expiry: Seconds after which nobody is to get it any more; None: never. MQTT 5.
        content_type: What the payload is, such as ``"application/json"``. MQTT 5.
        response_topic: Where an answer is expected. MQTT 5.
        correlation: What the answer is to have with it. MQTT 5.
        user_properties: Pairs of texts. MQTT 5.
        duplicate: Whether a message that was received may have been received before. Messages are
            equal without regard to it.
    """

    topic: str
    payload: bytes = b""
    _: KW_ONLY
    qos: int = 1
    retain: bool = False
    expiry: int | None = None
    content_type: str | None = None
    response_topic: str | None = None
    correlation: bytes | None = None
    user_properties: tuple[tuple[str, str], ...] = ()
    duplicate: bool = field(default=False, compare=False)

    @property
    def needs_version_5(self) -> bool:
        """Whether it has what MQTT 3.1.1 cannot say."""
        return bool(
            self.expiry is not None
            or self.content_type is not None
            or self.response_topic is not None
            or self.correlation is not None
            or self.user_properties
        )


@dataclass(frozen=True, slots=True)
class MqttSubscription:
    """Topics that are to be received.

    Attributes:
        filter: A topic, in which ``+`` stands for one level and ``#``, at the end, for all others:
            ``"home/+/temperature"``, ``"home/#"``.
        qos: How often each message arrives, at most as its sender has asked; see `MqttMessage`.
        retained: Whether the values that the broker has kept come first. MQTT 5, where it is False.
        no_local: Whether not to receive what this client has sent itself. MQTT 5.
    """

    filter: str
    qos: int = 1
    _: KW_ONLY
    retained: bool = True
    no_local: bool = False

    def __post_init__(self) -> None:
        fault = fault_of_text(self.filter, "filter") or _fault_of_filter(self.filter)
        if fault:
            raise ConfigurationError(
                f"MqttSubscription({self.filter!r:.80}): {fault}; expected topics such as "
                '"home/kitchen/temperature", "home/+/temperature" or "home/#"'
            )
        if isinstance(self.qos, bool) or self.qos not in (0, 1, 2):
            raise ConfigurationError(
                f"MqttSubscription({self.filter!r:.80}, qos={self.qos!r:.80}): expected 0, 1 or 2"
            )

    @property
    def needs_version_5(self) -> bool:
        """Whether it has what MQTT 3.1.1 cannot say."""
        return self.no_local or not self.retained


def check_message(message: object, *, version: int) -> MqttMessage:
    """That message, if it can be sent.

    Raises:
        FrameError: It cannot.
    """
    if not isinstance(message, MqttMessage):
        raise FrameError(
            f"expected an MqttMessage, got {type(message).__name__}: {message!r:.80}; such as "
            'MqttMessage("home/kitchen/temperature", b"20.5")'
        )
    fault = (
        _fault_of_topic(message.topic, "topic")
        or _fault_of_payload(message.payload)
        or _fault_of_rest(message)
    )
    if not fault and version < 5 and message.needs_version_5:
        fault = (
            "expiry, content_type, response_topic, correlation and user_properties need MQTT 5, "
            "and this client speaks 3.1.1"
        )
    if fault:
        raise FrameError(f"a message for topic {message.topic!r:.80} cannot be sent: {fault}")
    return message


def _fault_of_topic(topic: object, what: str) -> str:
    fault = fault_of_text(topic, what)
    if not fault and isinstance(topic, str) and ("+" in topic or "#" in topic):
        return f"a {what} to send to has no wildcards, + or #: those are for subscriptions"
    return fault


def fault_of_text(text: object, what: str, *, empty: bool = False) -> str:
    """Why that cannot be said, or an empty text."""
    if not isinstance(text, str):
        return f"expected a {what} that is text, got {type(text).__name__}"
    if not text and not empty:
        return f"the {what} is empty"
    if "\0" in text:
        return f"the {what} has a NUL in it"
    try:
        length = len(text.encode())
    except UnicodeEncodeError:
        return f"the {what} has a lone surrogate in it, which is no character"
    if length > LONGEST:
        return f"the {what} has {length} bytes, and {LONGEST} at most can be said"
    return ""


def _fault_of_filter(text: str) -> str:
    levels = text.split("/")
    if text.startswith("$share/"):
        group = levels[1]
        if len(levels) < 3 or not group or "+" in group or "#" in group or not "".join(levels[2:]):
            return "a shared one is $share/GROUP/TOPICS"
    for number, level in enumerate(levels):
        if "#" in level and (level != "#" or number + 1 < len(levels)):
            return "# is a level of its own, and the last one"
        if "+" in level and level != "+":
            return "+ is a level of its own"
    return ""


def _fault_of_payload(payload: object) -> str:
    if isinstance(payload, bytes):
        return ""
    hint = "; encode text first, as in text.encode()" if isinstance(payload, str) else ""
    return f"expected a payload of bytes, got {type(payload).__name__}{hint}"


def _fault_of_rest(message: MqttMessage) -> str:
    if isinstance(message.qos, bool) or message.qos not in (0, 1, 2):
        return f"qos={message.qos!r:.80}, expected 0, 1 or 2"
    if not isinstance(message.retain, bool):
        return f"retain={message.retain!r:.80}, expected True or False"
    seconds = message.expiry
    if seconds is not None and not is_whole(seconds, 0, 2**32 - 1):
        return f"expiry={seconds!r:.80}, expected whole seconds from 0 to {2**32 - 1}, or None"
    if message.content_type is not None and (
        fault := fault_of_text(message.content_type, "content_type", empty=True)
    ):
        return fault
    if message.response_topic is not None and (
        fault := _fault_of_topic(message.response_topic, "response_topic")
    ):
        return fault
    data = message.correlation
    if data is not None and (not isinstance(data, bytes) or len(data) > LONGEST):
        return f"correlation={data!r:.80}, expected bytes, {LONGEST} at most, or None"
    return _fault_of_pairs(message.user_properties)


def _fault_of_pairs(pairs: object) -> str:
    wanted = 'expected a tuple of pairs of texts, such as (("unit", "°C"),)'
    if not isinstance(pairs, tuple):
        return f"user_properties={pairs!r:.80}, {wanted}"
    for pair in pairs:
        if not isinstance(pair, tuple) or len(pair) != 2:
            return f"user_properties has {pair!r:.80}, {wanted}"
        for text in pair:
            if fault := fault_of_text(text, "text in user_properties", empty=True):
                return fault
    return ""
