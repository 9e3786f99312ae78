"""The laws of accounting, and whether a robot keeps them in every sample."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["Laws", "broken_laws"]

KEPT = 20
"""Breaches that are kept; all are counted."""


class Laws:
    """Checks sample after sample.

    Attributes:
        checked: Sets of counters that were looked at.
        broken: The first breaches, in words.
        breaches: How many there were.
    """

    def __init__(self) -> None:
        self.checked: int = 0
        self.broken: list[str] = []
        self.breaches: int = 0
        self._before: Mapping[str, Any] | None = None

    def check(self, sample: Mapping[str, Any]) -> None:
        """The next sample."""
        for breach in broken_laws(sample, self._before):
            self.breaches += 1
            if len(self.broken) < KEPT:
                self.broken.append(breach)
        self._before = sample
        self.checked += len(sample["nodes"]) + sum(
            len(subs) for _, subs in sample["topics"].values()
        )


def broken_laws(
    sample: Mapping[str, Any], before: Mapping[str, Any] | None = None
) -> Iterator[str]:
    """The laws that a sample breaks, by itself and after the one before."""
    at = f"at {sample['at']:.1f} s"
    for name, (released, *ends, _restarts) in sample["nodes"].items():
        if released != sum(ends):
            yield f"{at}: {name}: {released} releases, but {sum(ends)} have become something"
        if not 0 <= ends[-1] <= 2:  # one runs, one waits
            yield f"{at}: {name}: {ends[-1]} ticks in flight"
        if before is not None and name in before["nodes"]:
            earlier = before["nodes"][name]
            counts = (released, *ends[:-1])
            if any(now < then for now, then in zip(counts, earlier, strict=False)):
                yield f"{at}: {name}: a counter has gone back"
    for name, (sent, subscriptions) in sample["topics"].items():
        for published, received, dropped, depth in subscriptions:
            if published != received + dropped + depth:
                yield (
                    f"{at}: topic {name}: {published} published, but {received} received, "
                    f"{dropped} dropped, {depth} waiting"
                )
            if published > sent:
                yield f"{at}: topic {name}: {published} of {sent} messages published"
        if before is not None and sent < before["topics"].get(name, [0])[0]:
            yield f"{at}: topic {name}: its counter has gone back"
