"""What `MqttClient` is given: what it may be, and what is said of the rest."""

from __future__ import annotations

from collections.abc import Iterable

from ...errors import ConfigurationError
from ..errors import FrameError
from .message import LONGEST, MqttMessage, MqttSubscription, check_message, fault_of_text
from .options import MqttOptions

__all__ = ["checked_subscriptions", "checked_text", "checked_will"]


def checked_text(name: str, value: object, *, empty: bool = False) -> str | None:
    """A text, or None.

    Raises:
        ConfigurationError: It is something else, or cannot be said.
    """
    if value is None:
        return None
    fault = fault_of_text(value, name, empty=empty)
    if fault:
        raise ConfigurationError(f"MqttClient({name}=…): {fault}; or None")
    return str(value)


def checked_subscriptions(given: object, options: MqttOptions) -> tuple[MqttSubscription, ...]:
    """What to subscribe to, out of a filter, a subscription, or several.

    Raises:
        ConfigurationError: It is something else, or needs another version of MQTT.
    """
    if isinstance(given, (str, MqttSubscription)):
        given = (given,)
    if not isinstance(given, Iterable):
        raise ConfigurationError(
            f"MqttClient(subscribe={given!r:.80}): expected a filter such as "
            '"home/+/temperature", an MqttSubscription, or several of them'
        )
    found = []
    for one in given:
        subscription = MqttSubscription(one) if isinstance(one, str) else one
        if not isinstance(subscription, MqttSubscription):
            raise ConfigurationError(
                f"MqttClient(subscribe=…): expected filters or MqttSubscription(…), got {one!r:.80}"
            )
        if subscription.needs_version_5 and not options.is_version_5:
            raise ConfigurationError(
                f"MqttClient(subscribe={subscription!r:.200}): retained=False and no_local need "
                "MQTT 5, and the options say 3.1.1"
            )
        found.append(subscription)
    return tuple(found)


def checked_will(will: object, options: MqttOptions) -> MqttMessage | None:
    """A message for the broker to keep until the client is gone, or None.

    Raises:
        ConfigurationError: It is something else, or cannot be sent.
    """
    if will is None:
        return None
    try:
        checked_will = check_message(will, version=5 if options.is_version_5 else 3)
    except FrameError as error:
        raise ConfigurationError(f"MqttClient(will=…): {error}") from error
    if len(checked_will.payload) > LONGEST:
        raise ConfigurationError(
            f"MqttClient(will=…): its payload has {len(checked_will.payload)} bytes, and that of a "
            f"will may have {LONGEST} at most"
        )
    return checked_will
