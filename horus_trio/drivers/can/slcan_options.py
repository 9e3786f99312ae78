"""What only slcan has to be told."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from ...errors import ConfigurationError
from .slcan import DATA_BITRATES, listed

__all__ = ["SlcanOptions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SlcanOptions:
    """How a `CanBus` uses an slcan adapter.

    Attributes:
        tty_baudrate: Of the serial port, bits a second. Adapters on USB mostly take any.
        rtscts: Whether the port has handshake lines.
        exclusive: Whether to keep other programs out of the port, as with `SerialPort`.
        sleep_after_open: Seconds that the adapter takes to begin when its port is opened.
        listen_only: Whether it is to keep still on the bus, and not even to acknowledge.
        data_bitrate: Bits a second of the data of CAN FD.
        replies: Whether the adapter answers commands.
        answer_within: Seconds that it may take to answer one.
        status_every: Seconds after which it is asked for its status, as long as it answers that; if
            it stops answering, it is gone. Infinity: it is never asked.

    Raises:
        ConfigurationError: One makes no sense.
    """

    tty_baudrate: int = 115_200
    rtscts: bool = False
    exclusive: bool = True
    sleep_after_open: float = 0.0
    listen_only: bool = False
    data_bitrate: int = 2_000_000
    replies: bool = True
    answer_within: float = 1.0
    status_every: float = 1.0

    def __post_init__(self) -> None:
        for name in ("rtscts", "exclusive", "listen_only", "replies"):
            self._require(name, bool, "True or False", lambda value: True)
        self._require(
            "tty_baudrate", int, "bits a second, such as 115200", lambda value: value >= 1
        )
        self._require(
            "data_bitrate", int, listed(DATA_BITRATES), lambda value: value in DATA_BITRATES
        )
        self._require(
            "sleep_after_open", float, "seconds, 0 or more", lambda value: 0 <= value < math.inf
        )
        self._require("answer_within", float, "seconds above 0", lambda value: 0 < value < math.inf)
        self._require(
            "status_every", float, "seconds above 0, or infinity", lambda value: value > 0
        )

    def _require(self, name: str, kind: type, expected: str, fits: Callable[[Any], bool]) -> None:
        value: Any = getattr(self, name)
        is_kind = isinstance(value, (int, float) if kind is float else kind)
        if not is_kind or (isinstance(value, bool) and kind is not bool) or not fits(value):
            raise ConfigurationError(f"SlcanOptions({name}={value!r:.80}): expected {expected}")

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> SlcanOptions:
        """Those that were given by name.

        Raises:
            ConfigurationError: There is none of that name, or it makes no sense.
        """
        known = [field.name for field in fields(cls)]
        for name in options:
            if name not in known:
                raise ConfigurationError(
                    f"CanBus(options={{{name!r}: …}}): slcan has no such option; it has "
                    f"{', '.join(known)}"
                )
        return cls(**options)
