"""The numbers that a client is given: sizes and times."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ...arguments import is_positive, is_whole
from ...errors import ConfigurationError

__all__ = ["Limits", "limits_of"]

LONGEST = 32767
"""Seconds that the operating system can count for a connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """As in `WebSocketClient`; a `keepalive` of infinity is none."""

    max_message: int
    connect_within: float
    keepalive: float

    @property
    def tcp_keepalive(self) -> float | None:
        """For the connection itself: whole seconds, or None."""
        return None if self.keepalive == math.inf else max(1.0, self.keepalive)


def limits_of(
    what: str, *, max_message: object, connect_within: object, keepalive: object
) -> Limits:
    """Those limits, if they are such.

    Raises:
        ConfigurationError: They are not.
    """
    if not is_whole(max_message, 1):
        raise ConfigurationError(
            f"{what}(max_message={max_message!r:.80}): expected bytes, a whole number of 1 or more"
        )
    within = _seconds(connect_within)
    if within is None:
        raise ConfigurationError(
            f"{what}(connect_within={connect_within!r:.80}): expected a finite number of seconds "
            "above 0"
        )
    silence = math.inf if keepalive is None else _seconds(keepalive)
    if silence is None or LONGEST < silence < math.inf:
        raise ConfigurationError(
            f"{what}(keepalive={keepalive!r:.80}): expected seconds above 0, at most {LONGEST}, or "
            "None"
        )
    return Limits(max_message=max_message, connect_within=within, keepalive=silence)


def _seconds(value: object) -> float | None:
    """A finite time above 0; None: it is none."""
    if not is_positive(value):
        return None
    return float(value)
