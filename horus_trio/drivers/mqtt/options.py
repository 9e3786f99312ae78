"""How a connection to an MQTT broker is to be, besides where it leads."""

from __future__ import annotations

from dataclasses import dataclass

from ...arguments import is_positive, is_whole
from ...errors import ConfigurationError

__all__ = ["MqttOptions"]

LARGEST_MESSAGE = 256 * 1024 * 1024 - 1 - 2 * 65536


@dataclass(frozen=True, slots=True, kw_only=True)
class MqttOptions:
    """How a connection to an MQTT broker is to be.

    Attributes:
        version: Of MQTT: 5, or ``"3.1.1"`` for brokers that know no other.
        keepalive: Whole seconds of silence after which the broker is asked whether it is there; if
            it says nothing for as long again, it is gone. If the broker hears nothing for one and a
            half times as long, this client is gone, and its will is sent.
        session_expiry: Whole seconds for which the broker keeps this client's subscriptions and
            the messages that come for it, once the connection has ended; 0: not at all. MQTT 3.1.1
            has no such time: the broker keeps them as long as it likes, and only if there is a
            `client_id`.
        window: Messages of QoS 1 and 2 that may be under way to the broker and not yet
            acknowledged; and as many the other way.
        held: Messages of QoS 0 that are held until they are received. Then the oldest are dropped.
            As many of the others are held when the broker has forgotten them.
        max_message: Bytes a payload may have, either way. With MQTT 5 the broker is told, and
            drops those far above for this client; others are rejected when they come.
        connect_within: Seconds in which connecting must come about, the broker's answers included.
    """

    version: int | str = 5
    keepalive: int = 30
    session_expiry: int = 600
    window: int = 20
    held: int = 1000
    max_message: int = 1024 * 1024
    connect_within: float = 10.0

    def __post_init__(self) -> None:
        if isinstance(self.version, bool) or self.version not in (5, "3.1.1"):
            raise ConfigurationError(
                f'MqttOptions(version={self.version!r:.80}): expected 5 or "3.1.1"'
            )
        for name, lowest, highest in (
            ("keepalive", 1, 65535),
            ("session_expiry", 0, 2**32 - 1),
            ("window", 1, 65535),
            ("held", 1, 2**31),
            ("max_message", 1, LARGEST_MESSAGE),
        ):
            value = getattr(self, name)
            if not is_whole(value, lowest, highest):
                raise ConfigurationError(
                    f"MqttOptions({name}={value!r:.80}): expected a whole number from {lowest} to "
                    f"{highest}"
                )
        seconds = self.connect_within
        if not is_positive(seconds):
            raise ConfigurationError(
                f"MqttOptions(connect_within={seconds!r:.80}): expected a finite number of seconds "
                "above 0"
            )

    @property
    def is_version_5(self) -> bool:
        """Whether it is MQTT 5."""
        return self.version == 5
