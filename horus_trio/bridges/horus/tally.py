"""What a node's ticks have come to: counted in the thread that runs them."""

from __future__ import annotations

__all__ = ["Tally"]


class Tally:
    """Counters of one node over all runs; durations in seconds. Written by one thread at a time."""

    __slots__ = (
        "failed",
        "last",
        "logged_errors",
        "longest",
        "overruns",
        "shortest",
        "spent",
        "total",
    )

    def __init__(self) -> None:
        self.total: int = 0
        self.failed: int = 0
        self.spent: float = 0.0
        self.shortest: float = 0.0
        self.longest: float = 0.0
        self.last: float = 0.0
        self.overruns: int = 0
        """Ticks that took longer than their budget."""
        self.logged_errors: int = 0

    def count(self, took: float) -> None:
        """A tick has ended."""
        self.total += 1
        self.spent += took
        self.last = took
        if took > self.longest:
            self.longest = took
        if took < self.shortest or self.total == 1:
            self.shortest = took

    @property
    def succeeded(self) -> int:
        """Ticks that raised nothing."""
        return self.total - self.failed

    def in_milliseconds(self) -> dict[str, float]:
        """The durations under HORUS's names."""
        average = self.spent / self.total if self.total else 0.0
        return {
            "avg_tick_duration_ms": average * 1e3,
            "min_tick_duration_ms": self.shortest * 1e3,
            "max_tick_duration_ms": self.longest * 1e3,
            "last_tick_duration_ms": self.last * 1e3,
        }
