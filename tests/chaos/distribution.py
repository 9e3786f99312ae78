"""How the robots of a campaign were distributed, and whether that is chaos enough. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

from .plan import KINDS, POLICIES
from .robot import Outcome

__all__ = ["LEAST_SECONDS", "LEAST_SHARES", "enough", "table"]

LEAST_SECONDS = 20.0
"""What the median of the seconds that a robot lived, on its own clock, has to be."""

LEAST_SHARES: dict[str, float] = {
    "restart": 0.30,
    "abandoned": 0.20,
    "signal": 0.10,
    "two signals": 0.01,
    "time-out": 0.20,
    "emergency": 0.10,
    "failed for good": 0.10,
    "fatal": 0.03,
    "event-driven": 0.20,
    "late node": 0.20,
    "live changes": 0.30,
    **{f"kind {kind}": 0.20 for kind in KINDS},
    **{f"policy {policy}": 0.20 for policy in POLICIES},
    "policy fatal": 0.02,
    "deterministic": 0.02,
    "virtual": 0.80,
    "real": 0.02,
}
"""The share of robots that each thing has to have happened in, at least."""

COUNTED = ("nodes", "ticks", "messages")
"""Features that are numbers."""


def shares(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """In which share of the robots each thing has happened."""
    found: dict[str, float] = {}
    for name in LEAST_SHARES:
        if name == "real":
            times = sum(not outcome.features.get("virtual", 1.0) for outcome in outcomes)
        else:
            times = sum(bool(outcome.features.get(name)) for outcome in outcomes)
        found[name] = times / len(outcomes)
    return found


def table(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """The distribution, line by line."""
    rows = {"seconds": sorted(outcome.seconds for outcome in outcomes)}
    for name in COUNTED:
        rows[name] = sorted(outcome.features.get(name, 0.0) for outcome in outcomes)
    yield f"{'':<24} {'least':>9} {'median':>9} {'most':>9} {'sum':>11}"
    for name, values in rows.items():
        middle = statistics.median(values)
        yield f"{name:<24} {values[0]:9.1f} {middle:9.1f} {values[-1]:9.1f} {sum(values):11.0f}"
    yield f"{'':<24} {'share':>9} {'needed':>9}"
    for name, share in shares(outcomes).items():
        yield f"{name:<24} {share:9.1%} {LEAST_SHARES[name]:9.0%}"


def enough(outcomes: Sequence[Outcome]) -> list[str]:
    """What there was too little of."""
    missing = [
        f"{name}: {share:.1%} of the robots, expected {LEAST_SHARES[name]:.0%}"
        for name, share in shares(outcomes).items()
        if share < LEAST_SHARES[name]
    ]
    middle = statistics.median(outcome.seconds for outcome in outcomes)
    if middle < LEAST_SECONDS:
        missing.append(f"the median robot lived {middle:.1f} s, expected {LEAST_SECONDS:g} s")
    return missing
