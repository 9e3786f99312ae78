"""Compares programs fairly: in one run, turn by turn, medians of many repetitions.

A machine's speed drifts, so figures of different runs say little. Each repetition runs every
program once; what is printed is each one's median and spread, and the median of the ratios that
were taken within a repetition.

A measuring program calls `print_machine` once and then any of `compare` (a figure for each
program), `curve` (a figure for each program and each of several sizes) and `counts` (how many of
how many). A program that cannot be measured here raises `NotMeasured` and says why.

With `BENCH_RECORD` in the environment, which names a file, all tables are written there as well,
each as soon as it is complete.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from _surroundings import Surroundings, look_around
from _tables import Row, Table, Target

__all__ = [
    "Count",
    "NotMeasured",
    "Target",
    "compare",
    "counts",
    "course",
    "curve",
    "distribution",
    "measure",
    "percentile",
    "print_machine",
    "show_progress",
]

RECORD = "BENCH_RECORD"
"""The variable that names the file for the tables."""

_BEGAN = time.monotonic()
_surroundings: Surroundings | None = None
_tables: list[Table] = []


class NotMeasured(Exception):
    """A program cannot be measured here; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """One row of `counts`: `figure`, out of `whole` if there is such a thing."""

    name: str
    figure: float | None
    """None if it is not measured."""
    whole: float | None = None
    target: Target | None = None
    """Of the figure, or of figure / whole if there is a whole."""
    not_measured: str = ""
    """Why there is no figure."""


def compare(
    title: str,
    unit: str,
    programs: Mapping[str, Callable[[], float]],
    *,
    base: str,
    repetitions: int = 9,
    targets: Mapping[str, Target] | None = None,
) -> dict[str, float]:
    """Run the programs in turn and print a table.

    Returns each program's median ratio to `base`, of those that could be measured.
    """
    rows = measure(title, programs, base=base, repetitions=repetitions, targets=targets or {})
    print(f"\n{title} ({unit}; median, minimum, maximum; ratio to '{base}')")
    for row in rows:
        print(f"  {row.name:34} {_figures_of(row)}")
    _record(
        Table(
            kind="compare",
            title=title,
            unit=unit,
            rows=tuple(rows),
            base=base,
            repetitions=repetitions,
        )
    )
    return {row.name: row.ratio for row in rows if row.ratio is not None}


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
    rows: list[Row] = []
    print(f"\n{title} ({unit}; median, minimum, maximum; ratio to '{base}')")
    for size in sizes:
        here = measure(
            f"{title}, {size} {of}",
            {name: _at(program, size) for name, program in programs.items()},
            base=base,
            repetitions=repetitions,
            targets=targets or {},
            size=size,
        )
        for row in here:
            print(f"  {size:7} {of:12} {row.name:26} {_figures_of(row)}", flush=True)
            if row.ratio is not None:
                ratios[row.name][size] = row.ratio
        rows += here
    _record(
        Table(
            kind="curve",
            title=title,
            unit=unit,
            rows=tuple(rows),
            base=base,
            of=of,
            repetitions=repetitions,
        )
    )
    return ratios


def counts(title: str, unit: str, rows: Sequence[Count]) -> None:
    """Print how many of how many."""
    print(f"\n{title} ({unit})")
    made: list[Row] = []
    for count in rows:
        figure, whole = count.figure, count.whole
        row = Row(
            name=count.name,
            figures=() if figure is None else (figure,),
            ratio=None if figure is None or whole is None else figure / whole,
            whole=whole,
            target=count.target,
            not_measured=count.not_measured if figure is None else "",
        )
        of = "" if whole is None else f"of {whole:g}"
        text = "-" if figure is None else f"{figure:g}"
        print(f"  {row.name:44} {text:>9} {of:10} {row.verdict}")
        made.append(row)
    _record(Table(kind="counts", title=title, unit=unit, rows=tuple(made)))


def distribution(
    title: str, unit: str, samples: Mapping[str, Sequence[float] | NotMeasured], *, base: str
) -> None:
    """Print how many of each program's figures are below what."""
    print(f"\n{title} ({unit})")
    made: list[Row] = []
    for name, values in samples.items():
        if isinstance(values, NotMeasured):
            made.append(Row(name=name, not_measured=str(values)))
        else:
            parts = tuple(percentile(values, part / 100) for part in range(101))
            made.append(Row(name=name, figures=parts))
            print(f"  {name:34} p50 {parts[50]:9.3f}  p99 {parts[99]:9.3f}  max {parts[100]:9.3f}")
    _record(Table(kind="distribution", title=title, unit=unit, rows=tuple(made), base=base))


def course(
    title: str,
    unit: str,
    figures: Mapping[str, Sequence[float] | NotMeasured],
    *,
    base: str,
    asked: float,
    step: float,
) -> None:
    """Print how each program's figure went on.

    Arguments:
        title: What was measured.
        unit: Of the figures.
        figures: Of each program, one after the other.
        base: The program that the others are beside.
        asked: What the figure should be.
        step: Seconds from one to the next.
    """
    print(f"\n{title} ({unit}; {asked:g} were asked for)")
    made: list[Row] = []
    for name, values in figures.items():
        if isinstance(values, NotMeasured):
            made.append(Row(name=name, not_measured=str(values)))
        else:
            made.append(Row(name=name, figures=tuple(values), whole=asked))
            mean = statistics.fmean(values)
            print(f"  {name:34} {mean:9.2f}, from {min(values):.4g} to {max(values):.4g}")
    _record(Table(kind="course", title=title, unit=unit, rows=tuple(made), base=base, step=step))


def percentile(values: Sequence[float], fraction: float) -> float:
    """The value below which `fraction` of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(fraction * len(ordered)))]


def print_machine() -> None:
    """Say what the figures are taken with."""
    global _surroundings
    _surroundings = look_around()
    versions = ", ".join(f"{name} {version}" for name, version in _surroundings.versions.items())
    print(f"{versions}\n{_surroundings.machine}", flush=True)


def measure(
    title: str,
    programs: Mapping[str, Callable[[], float]],
    *,
    base: str,
    repetitions: int,
    targets: Mapping[str, Target] | None = None,
    size: int | None = None,
) -> list[Row]:
    """Run the programs turn by turn; a row for each, in their order."""
    figures: dict[str, list[float]] = {name: [] for name in programs}
    reasons: dict[str, str] = {}
    for repetition in range(repetitions):
        for name, program in programs.items():
            if name in reasons:
                continue
            show_progress(f"{title}: {repetition + 1}/{repetitions} {name}")
            try:
                figures[name].append(program())
            except NotMeasured as reason:
                reasons[name] = str(reason)
    show_progress("")
    return [
        Row(
            name=name,
            size=size,
            figures=() if name in reasons else tuple(values),
            ratio=None if {name, base} & reasons.keys() else _ratio(values, figures[base]),
            target=(targets or {}).get(name),
            not_measured=reasons.get(name, ""),
        )
        for name, values in figures.items()
    ]


def _figures_of(row: Row) -> str:
    if row.not_measured:
        return row.verdict
    ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
    return (
        f"{row.median:9.2f} {min(row.figures):9.2f} {max(row.figures):9.2f}   {ratio:>5}  "
        f"{row.verdict}"
    ).rstrip()


def show_progress(text: str) -> None:
    """A line that the next one replaces, on a terminal; nothing in a log."""
    if sys.stderr.isatty():
        text = f"{time.monotonic() - _BEGAN:4.0f} s  {text}" if text else ""
        print(f"\r{text:78.78}\r", end="", file=sys.stderr, flush=True)


def _record(table: Table) -> None:
    _tables.append(table)
    name = os.environ.get(RECORD)
    if not name:
        return
    surroundings = _surroundings or look_around()
    found = {**surroundings.to_json(), "tables": [made.to_json() for made in _tables]}
    text = json.dumps(found, indent=1, ensure_ascii=False)
    text = re.sub(r"(?<=[\[\d,])\n\s*(?=[-\d\]])", "", text)  # the figures of a row in one line
    Path(name).write_text(text + "\n", "utf-8")


def _ratio(values: Sequence[float], base: Sequence[float]) -> float:
    return statistics.median(mine / its for mine, its in zip(values, base, strict=True))


def _at(program: Callable[[int], float], size: int) -> Callable[[], float]:
    return lambda: program(size)
