"""The same fleet of no-op nodes in several hands, each in processes of its own."""

from __future__ import annotations

import functools
import statistics
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from _child import run_child
from _compare import Count, Target, compare, counts
from _quick import either

__all__ = ["SECONDS", "Said", "Side", "by_many", "measure"]

SECONDS = either(3.0, 0.5)
REPETITIONS = either(5, 1)

Said: TypeAlias = dict[str, Any]
"""What a fleet did: `ticks`, and `cpu` in seconds."""

Side: TypeAlias = Callable[[int, float], Said]
"""Runs so many nodes at so many Hz for `SECONDS`."""


def by_many(hand: str) -> Side:
    """A side that is one of the hands in ``_many.py``."""

    def side(nodes: int, rate: float) -> Said:
        return run_child("_many", hand, str(nodes), str(rate), str(SECONDS))

    return side


def measure(
    nodes: int, rate: float, sides: Mapping[str, Side], *, base: str, target: Target | None = None
) -> None:
    """Run the sides in turn; prints a table of the CPU time and one of the ticks."""
    said: dict[str, list[Said]] = {name: [] for name in sides}

    def ticks_of_one_core(name: str) -> float:
        ended = sides[name](nodes, rate)
        said[name].append(ended)
        return float(ended["ticks"] / ended["cpu"])

    fleet = f"{nodes} node{'s' if nodes > 1 else ''} at {rate:g} Hz"
    compare(
        f"{fleet}, ticks of one core",
        "ticks a second of CPU",
        {name: functools.partial(ticks_of_one_core, name) for name in sides},
        base=base,
        repetitions=REPETITIONS,
        targets={} if target is None else {"horus_trio": target},
    )
    counts(
        f"{fleet}, ticks in {SECONDS:g} s",
        "median",
        [
            Count(
                name=name,
                figure=statistics.median(ended["ticks"] for ended in several) if several else None,
                whole=round(nodes * rate * SECONDS),
                not_measured="as above",
            )
            for name, several in said.items()
        ],
    )
