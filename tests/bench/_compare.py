"""Compares programs fairly: in one run, turn by turn, medians of many repetitions.

A machine's speed drifts, so figures of different runs say little. Each repetition runs every
program once; what is printed is each one's median and spread, and the median of the ratios that
were taken within a repetition.
"""

from __future__ import annotations

import platform
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence

import trio

import horus_trio


def compare(
    title: str,
    unit: str,
    programs: Mapping[str, Callable[[], float]],
    *,
    base: str,
    repetitions: int = 9,
    targets: Mapping[str, float] | None = None,
) -> dict[str, float]:
    """Run the programs in turn and print a table; returns each program's median ratio to `base`."""
    figures: dict[str, list[float]] = {name: [] for name in programs}
    for repetition in range(repetitions):
        for name, program in programs.items():
            print(f"\r{title}: {repetition + 1}/{repetitions} {name:40}", end="", file=sys.stderr)
            figures[name].append(program())
    print("\r" + " " * 78 + "\r", end="", file=sys.stderr)
    print(f"\n{title} ({unit}; median, minimum, maximum; ratio to '{base}')")
    ratios: dict[str, float] = {}
    for name, values in figures.items():
        pairs = zip(values, figures[base], strict=True)
        ratios[name] = statistics.median(mine / its for mine, its in pairs)
        target = "" if targets is None or name not in targets else f"  target {targets[name]:g}"
        print(
            f"  {name:34} {statistics.median(values):9.2f} {min(values):9.2f} {max(values):9.2f}"
            f"   {ratios[name]:5.2f}{target}"
        )
    return ratios


def percentile(values: Sequence[float], fraction: float) -> float:
    """The value below which `fraction` of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(fraction * len(ordered)))]


def print_machine() -> None:
    """One line that says what the figures were taken with."""
    print(
        f"CPython {platform.python_version()}, trio {trio.__version__}, "
        f"horus_trio {horus_trio.__version__}, {platform.system()} {platform.machine()}"
    )
