"""Compares programs fairly: in one run, turn by turn, medians of many repetitions.

A machine's speed drifts, so figures of different runs say little. Each repetition runs every
program once; what is printed is each one's median and spread, and the median of the ratios that
were taken within a repetition.

A measuring program calls `print_machine` once and then any of `compare` (a figure for each
program), `curve` (a figure for each program and each of several sizes) and `counts` (how many of
how many).
"""

from __future__ import annotations

import platform
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import trio

import horus_trio


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a ratio, or a figure, is to be.

    Attributes:
        at_most: It is not above this, if given.
        at_least: It is not below this, if given.
        why_missed: What is known about a miss; printed when it is one.
    """

    at_most: float | None = None
    at_least: float | None = None
    why_missed: str = ""

    def holds(self, figure: float) -> bool:
        """Whether `figure` is within it."""
        too_high = self.at_most is not None and figure > self.at_most
        return not too_high and (self.at_least is None or figure >= self.at_least)

    def verdict(self, figure: float) -> str:
        """The target, and whether `figure` is within it, as text."""
        bound = f"<= {self.at_most:g}" if self.at_most is not None else f">= {self.at_least:g}"
        if self.holds(figure):
            return f"target {bound}: reached"
        return f"target {bound}: MISSED" + (f" ({self.why_missed})" if self.why_missed else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """One row of `counts`: `figure`, out of `whole` if there is such a thing."""

    name: str
    figure: float
    whole: float | None = None
    target: Target | None = None
    """Of the figure, or of figure / whole if there is a whole."""


def compare(
    title: str,
    unit: str,
    programs: Mapping[str, Callable[[], float]],
    *,
    base: str,
    repetitions: int = 9,
    targets: Mapping[str, Target] | None = None,
) -> dict[str, float]:
    """Run the programs in turn and print a table; returns each program's median ratio to `base`."""
    figures = _measure(title, programs, repetitions)
    print(f"\n{title} ({unit}; median, minimum, maximum; ratio to '{base}')")
    ratios: dict[str, float] = {}
    for name, values in figures.items():
        ratio = ratios[name] = _ratio(values, figures[base])
        target = (targets or {}).get(name)
        print(
            f"  {name:34} {statistics.median(values):9.2f} {min(values):9.2f} {max(values):9.2f}"
            f"   {ratio:5.2f}  {'' if target is None else target.verdict(ratio)}"
        )
    return ratios


def curve(
    title: str,
    unit: str,
    sizes: Sequence[int],
    of: str,
    programs: Mapping[str, Callable[[int], float]],
    *,
    base: str,
    repetitions: int = 5,
    targets: Mapping[str, Target] | None = None,
) -> dict[str, dict[int, float]]:
    """Run the programs at each size in turn; returns their median ratios to `base` by size.

    Arguments:
        title: Of the table.
        unit: Of the figures.
        sizes: What each program is called with.
        of: What a size counts, "nodes" for example.
        programs: Give one figure each.
        base: Name of the one the others are compared with.
        repetitions: At each size.
        targets: For the ratios of a program, at every size.
    """
    ratios: dict[str, dict[int, float]] = {name: {} for name in programs}
    print(f"\n{title} ({unit}; median, minimum, maximum; ratio to '{base}')")
    for size in sizes:
        figures = _measure(
            f"{title}, {size} {of}",
            {name: _at(program, size) for name, program in programs.items()},
            repetitions,
        )
        for name, values in figures.items():
            ratio = ratios[name][size] = _ratio(values, figures[base])
            target = (targets or {}).get(name)
            print(
                f"  {size:7} {of:12} {name:26} {statistics.median(values):9.2f} "
                f"{min(values):9.2f} {max(values):9.2f}   {ratio:5.2f}  "
                f"{'' if target is None else target.verdict(ratio)}"
            )
    return ratios


def counts(title: str, unit: str, rows: Sequence[Count]) -> None:
    """Print how many of how many."""
    print(f"\n{title} ({unit})")
    for row in rows:
        of = "" if row.whole is None else f"of {row.whole:g}"
        figure = row.figure if row.whole is None else row.figure / row.whole
        verdict = "" if row.target is None else row.target.verdict(figure)
        print(f"  {row.name:44} {row.figure:9g} {of:10} {verdict}")


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


def _measure(
    title: str, programs: Mapping[str, Callable[[], float]], repetitions: int
) -> dict[str, list[float]]:
    figures: dict[str, list[float]] = {name: [] for name in programs}
    for repetition in range(repetitions):
        for name, program in programs.items():
            line = f"{title}: {repetition + 1}/{repetitions} {name}"
            print(f"\r{line:78.78}", end="", file=sys.stderr)
            figures[name].append(program())
    print("\r" + " " * 78 + "\r", end="", file=sys.stderr)
    return figures


def _ratio(values: Sequence[float], base: Sequence[float]) -> float:
    return statistics.median(mine / its for mine, its in zip(values, base, strict=True))


def _at(program: Callable[[int], float], size: int) -> Callable[[], float]:
    return lambda: program(size)
