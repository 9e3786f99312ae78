"""HORUS's `SchedulerConfig`: what a scheduler is told, as one value."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .messages.kinds import f64, flag, sequence, text, u64

__all__ = ["SchedulerConfig"]


def _optional(keep: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else keep(value)


def _rate(value: Any) -> float:
    hz = f64(value)
    if not 0.0 < hz < math.inf:
        raise ValueError(f"tick_rate must be a positive finite number, got {value!r}")
    return hz


_KEEP: dict[str, Callable[[Any], Any]] = {
    "tick_rate": _rate,
    "watchdog_timeout_ms": u64,
    "max_deadline_misses": u64,
    "memory_locking": flag,
    "rt_scheduling_class": flag,
    "cpu_cores": _optional(lambda cores: [u64(core) for core in sequence(cores)]),
    "black_box_size_mb": u64,
    "telemetry_endpoint": _optional(text),
    "recording_enabled": flag,
    "_preset": text,
}


@dataclass(init=False, eq=False, repr=False, slots=True)
class SchedulerConfig:
    """A scheduler's options. The methods change it, and give a copy.

    Attributes:
        tick_rate: Rate of the scheduler (Hz).
        watchdog_timeout_ms: When a node counts as hung (ms); 0: never.
        max_deadline_misses: After how many missed deadlines to stop.
        memory_locking, rt_scheduling_class, cpu_cores: Kept; nothing here is real-time.
        black_box_size_mb, telemetry_endpoint, recording_enabled: Kept; nothing here records.
    """

    tick_rate: float
    watchdog_timeout_ms: int
    max_deadline_misses: int
    memory_locking: bool
    rt_scheduling_class: bool
    cpu_cores: list[int] | None
    black_box_size_mb: int
    telemetry_endpoint: str | None
    recording_enabled: bool
    _preset: str

    def __init__(self) -> None:
        self.tick_rate = 100.0
        self.watchdog_timeout_ms = 0
        self.max_deadline_misses = 100
        self.memory_locking = False
        self.rt_scheduling_class = False
        self.cpu_cores = None
        self.black_box_size_mb = 0
        self.telemetry_endpoint = None
        self.recording_enabled = False
        self._preset = "Minimal"

    if not TYPE_CHECKING:  # with it, a type checker would take any name

        def __setattr__(self, name: str, value: Any) -> None:
            keep = _KEEP.get(name)
            object.__setattr__(self, name, value if keep is None else keep(value))

    def __repr__(self) -> str:
        return (
            f"SchedulerConfig(config={self._preset}, tick_rate={self.tick_rate:.1f}Hz, "
            f"watchdog_timeout_ms={self.watchdog_timeout_ms}, "
            f"max_deadline_misses={self.max_deadline_misses}, "
            f"memory_locking={str(self.memory_locking).lower()}, "
            f"recording={str(self.recording_enabled).lower()})"
        )

    @staticmethod
    def minimal() -> SchedulerConfig:
        """The defaults."""
        return SchedulerConfig()

    @staticmethod
    def with_watchdog() -> SchedulerConfig:
        """The defaults, with a watchdog of 500 ms."""
        config = SchedulerConfig()
        config.watchdog_timeout_ms = 500
        config._preset = "Watchdog"
        return config

    def rate(self, hz: float) -> SchedulerConfig:
        """Have that rate (Hz)."""
        return self._with("tick_rate", hz)

    def watchdog_ms(self, ms: int) -> SchedulerConfig:
        """Have a watchdog that waits that long (ms)."""
        return self._with("watchdog_timeout_ms", ms)

    def no_watchdog(self) -> SchedulerConfig:
        """Have no watchdog."""
        return self._with("watchdog_timeout_ms", 0)

    def blackbox_mb(self, mb: int) -> SchedulerConfig:
        """Have a flight recorder of that size (MB)."""
        return self._with("black_box_size_mb", mb)

    def cpu_affinity(self, cores: Sequence[int]) -> SchedulerConfig:
        """Run on these cores."""
        return self._with("cpu_cores", sequence(cores))

    def telemetry(self, endpoint: str) -> SchedulerConfig:
        """Tell `endpoint`."""
        return self._with("telemetry_endpoint", endpoint)

    def _with(self, name: str, value: Any) -> SchedulerConfig:
        setattr(self, name, value)
        return copy.copy(self)
