"""What the robot and the world have told: `Told` checks each sample, and keeps the little it needs.

A sample has the counters of all nodes and topics. They are checked when it comes, and of all but
the latest one only what is judged at the end is kept, so that a soak of a day has room.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from .laws import Laws

__all__ = ["Kept", "Sample", "Told", "load_of", "rates_of"]

Sample: TypeAlias = Mapping[str, Any]
"""A line of the robot."""

Kept: TypeAlias = Mapping[str, Any]
"""A sample without its counters, but for ``ok``: good ticks of the held nodes, in their order."""


@dataclass(slots=True, kw_only=True)
class Told:
    """What was told so far.

    Attributes:
        held: The nodes that are to hold their rates, in Hz.
        samples: How it was, in order.
        last: The latest sample as it came.
        laws: Whether the counters add up.
        end: How it ended; empty if it has not told.
        done: What the world has done, how often; empty if it has not told.
        interrupted: Whether somebody wanted it to end before its time.
    """

    held: dict[str, float] = field(default_factory=dict)
    samples: list[Kept] = field(default_factory=list)
    last: Sample = field(default_factory=dict)
    laws: Laws = field(default_factory=Laws)
    end: Mapping[str, Any] = field(default_factory=dict)
    done: Mapping[str, int] = field(default_factory=dict)
    interrupted: bool = False

    def add(self, sample: Sample) -> None:
        """Take a sample in."""
        self.laws.check(sample)
        self.last = sample
        kept = {name: value for name, value in sample.items() if name not in ("nodes", "topics")}
        kept["nodes"] = len(sample["nodes"])
        kept["ok"] = [sample["nodes"][name][1] for name in self.held]
        self.samples.append(kept)


def load_of(samples: Sequence[Kept]) -> tuple[float, float]:
    """Processors of the machine that were busy from the first sample to the last, and by the robot.

    The machine's are those of all programs, the robot included.
    """
    first, last = samples[0], samples[-1]
    busy, all_ticks = (
        now - then for now, then in zip(last["machine"], first["machine"], strict=True)
    )
    robot = (last["processor"] - first["processor"]) / (last["at"] - first["at"])
    return last["processors"] * busy / max(1, all_ticks), robot


def rates_of(held: Mapping[str, float], samples: Sequence[Kept]) -> dict[str, float]:
    """What each node has achieved from the first sample to the last, as a part of its rate."""
    first, last = samples[0], samples[-1]
    seconds = last["at"] - first["at"]
    return {
        name: (after - before) / (rate * seconds)
        for (name, rate), before, after in zip(held.items(), first["ok"], last["ok"], strict=True)
    }
