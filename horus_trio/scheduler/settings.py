"""What a scheduler is told once: checked and frozen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import trio

from ..arguments import is_positive, is_whole
from ..errors import ConfigurationError
from ..executor import AsyncIOExecutor
from ..timer import HIGHEST_RATE

__all__ = ["SchedulerSettings", "Staging", "above_zero", "check_rate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerSettings:
    """The arguments of `Scheduler`.

    Raises:
        ConfigurationError: A value makes no sense.
    """

    tick_rate: float
    name: str
    limiter: trio.CapacityLimiter | None
    stop_timeout: float
    signals: bool
    deterministic: bool
    max_abandoned: int
    stall_after: float
    switch_interval: float | None

    def __post_init__(self) -> None:
        check_rate("tick_rate", self.tick_rate)
        above_zero("stop_timeout", self.stop_timeout, "seconds")
        above_zero("stall_after", self.stall_after, "seconds")
        if self.switch_interval is not None:
            above_zero("switch_interval", self.switch_interval, "seconds")
        if not isinstance(self.name, str) or not self.name or not self.name.isprintable():
            raise ConfigurationError(f"name={self.name!r}: expected a printable, non-empty str")
        if self.limiter is not None and not isinstance(self.limiter, trio.CapacityLimiter):
            raise ConfigurationError(
                f"limiter={self.limiter!r}: expected a trio.CapacityLimiter, or None for one of 4"
            )
        bound = self.max_abandoned
        if not is_whole(bound, 0):
            raise ConfigurationError(f"max_abandoned={bound!r}: expected a whole number, 0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Staging:
    """How a test harness runs a scheduler: signals are left alone, and the metronome is held.

    Attributes:
        dice: Random numbers in [0, 1), for jitter.
        prepare: Called with the executor before any node takes its seat.
    """

    dice: Callable[[], float]
    prepare: Callable[[AsyncIOExecutor], None]


def above_zero(option: str, value: Any, unit: str) -> float:
    """Check that a value is a finite number above 0, of the unit named in the message."""
    if not is_positive(value):
        raise ConfigurationError(f"{option}={value!r}: expected a finite number of {unit} above 0")
    return float(value)


def check_rate(option: str, value: Any) -> float:
    """Check that a value is a rate in Hz."""
    if above_zero(option, value, "Hz") > HIGHEST_RATE:
        raise ConfigurationError(f"{option}={value!r}: expected at most {HIGHEST_RATE:g} Hz")
    return float(value)
