"""`plot`: a table as a picture, bars of ratios, curves over sizes, or what a run was like.

Counts have none.

A mark on a bar shows where its target is, a red cross that it is missed; the thin line is the
spread. Axes are logarithmic where the figures are of different magnitudes, and bars begin at the
ratio 1, the base's, then. What is to be seen is also in the picture's description, for those who
listen to the page.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from _tables import Row, Table, in_digits

sys.path.append(str(Path(__file__).parents[2] / "docs" / "guide" / "pictures"))
from sheet import WIDTH, Look, Sheet

__all__ = ["describe", "plot"]

LEFT, RIGHT = 226.0, 590.0
"""Where the axis of ratios begins and ends."""

TOP, LANE, FOOT = 66.0, 26.0, 30.0
"""Where the first bar's lane begins, the height of each, the height of the axis."""

CURVE_LEFT, CURVE_RIGHT, CURVE_TOP, CURVE_BOTTOM = 62.0, 508.0, 66.0, 300.0
"""The field of the curves; their names are right of it."""

KEY = 548.0
"""Where the names are beside a distribution or a course."""

TINY = 0.001
"""What is nearer to zero is drawn there, on a logarithmic axis."""

LEAST = 5
"""The percentile at which such an axis begins: one tick that was very early says nothing."""

SERIES = ("hook", "wait", "safe", "ok", "error", "late")
"""The colours of programs other than the base, in their order."""

MAGNITUDES = 12.0
"""Figures that are this many times apart are on a logarithmic axis."""

SHAPES = """
text{font:12px system-ui,'Segoe UI',Helvetica,Arial,sans-serif}
.title{font-size:13px;font-weight:600}
.small{font-size:11px}
.grid,.one,.spread,.goal,.missed,.curve{fill:none}
.one{stroke-width:1.4}
.spread{stroke-width:1.2}
.goal{stroke-width:2.2}
.missed{stroke-width:1.8;stroke-linecap:round}
.curve{stroke-width:2;stroke-linejoin:round}
.soft.curve{stroke-dasharray:5 3}
"""

LOOK = Look(
    style=SHAPES,
    fills={
        "card": "card",
        "ink": "title,name,value",
        "soft": "text,soft.dot,soft.bar",
        **{colour: f"{colour}.dot,{colour}.bar" for colour in SERIES},
    },
    strokes={
        "grid": "grid",
        "line": "rim",
        "ink": "spread,goal",
        "error": "error.curve,missed",
        "soft": "one,soft.curve",
        **{colour: f"{colour}.curve" for colour in SERIES if colour != "error"},
    },
)


def plot(table: Table) -> str | None:
    """The picture of a table, as the text of an SVG file, if it has one."""
    is_progress = table.kind in PROGRESS
    shown = [row for row in table.rows if row.figures and (is_progress or row.ratio is not None)]
    if table.kind == "counts" or not shown:
        return None
    sheet = Sheet(LOOK)
    sheet.text("title", 18, 27, table.title)
    draw = {"compare": _draw_bars, "curve": _draw_curves, **PROGRESS}[table.kind]
    height = draw(sheet, table)
    return sheet.svg(height, table.title, describe(table))


def describe(table: Table) -> str:
    """What the table says, in words, in order."""
    said = []
    if table.kind in PROGRESS:
        said = [f"{row.name}: {_in_short(table, row)}." for row in table.rows]
        return f"{table.unit}. {' '.join(said)}"
    for row in table.rows:
        name = row.name if row.size is None else f"{row.name}, {row.size} {table.of}"
        if row.figures:
            ratio = "" if row.ratio is None else f", {row.ratio:.2f} times {table.base}"
            said.append(f"{name}: {row.median:.4g}{ratio}{_spoken(row)}.")
        else:
            said.append(f"{name}: {row.verdict}.")
    return f"{table.unit}. {' '.join(said)}"


def _spoken(row: Row) -> str:
    if row.target is None or row.reached is None:
        return ""
    return f", target {row.target.bounds} {'reached' if row.reached else 'missed'}"


# Bars of ratios


def _draw_bars(sheet: Sheet, table: Table) -> float:
    base = next(row for row in table.rows if row.name == table.base)
    spreads = {row.name: _ratios(row, base) for row in table.rows}
    shown = [1.0, *(ratio for spread in spreads.values() for ratio in spread)]
    for row in table.rows:
        if row.target is not None and row.figures:
            shown += [b for b in (row.target.at_most, row.target.at_least) if b is not None]
    axis = _axis(shown, LEFT, RIGHT, from_zero=True)
    scale = " (logarithmic)" if axis.logarithmic else ""
    caption = f"ratio to {table.base}{scale}; median in {table.unit} at the right"
    sheet.text("small", 18, 46, caption)
    bottom = TOP + LANE * len(table.rows)
    for value in axis.marks:
        sheet.line("grid", axis(value), TOP - 4, axis(value), bottom)
        sheet.text("small", axis(value), bottom + 16, f"{value:g}", "middle")
    for number, row in enumerate(table.rows):
        y = TOP + LANE * number
        sheet.text("name", LEFT - 12, y + 17, _short(row.name, 34), "end")
        if row.ratio is None:
            sheet.text("small", LEFT + 6, y + 17, "not measured")
            continue
        _draw_bar(sheet, axis, row, spreads[row.name], y)
    sheet.line("one", axis(1.0), TOP - 4, axis(1.0), bottom)
    return bottom + FOOT


def _draw_bar(sheet: Sheet, axis: Axis, row: Row, spread: Sequence[float], y: float) -> None:
    ratio = row.ratio or 0.0
    left, right = sorted((axis(axis.origin), axis(ratio)))
    kind = "hook" if row.name.startswith("horus_trio") else "soft"
    sheet.box(f"{kind} bar", left, y + 6, max(right - left, 1), LANE - 12)
    sheet.line("spread", axis(min(spread)), y + LANE / 2, axis(max(spread)), y + LANE / 2)
    if row.target is not None:
        for bound in (row.target.at_most, row.target.at_least):
            if bound is not None:
                sheet.line("goal", axis(bound), y + 3, axis(bound), y + LANE - 3)
        if not row.reached:
            sheet.cross(WIDTH - 12, y + LANE / 2, "missed", 4)
    figure = f"{ratio:.2f}   ({in_digits(row.median)})"
    sheet.text("value", WIDTH - 24, y + 17, figure, "end")


def _ratios(row: Row, base: Row) -> list[float]:
    return [mine / its for mine, its in zip(row.figures, base.figures, strict=False)]


# Curves


def _draw_curves(sheet: Sheet, table: Table) -> float:
    measured = [row for row in table.rows if row.figures]
    x = _axis([row.size or 0 for row in measured], CURVE_LEFT + 14, CURVE_RIGHT - 14)
    y = _axis(
        [figure for row in measured for figure in (min(row.figures), max(row.figures))],
        CURVE_BOTTOM,
        CURVE_TOP,
        from_zero=True,
    )
    scale = " (logarithmic)" if y.logarithmic else ""
    sheet.text("small", 18, 46, f"{table.unit}{scale}, by number of {table.of}")
    for value in y.marks:
        sheet.line("grid", CURVE_LEFT, y(value), CURVE_RIGHT, y(value))
        sheet.text("small", CURVE_LEFT - 8, y(value) + 4, f"{value:g}", "end")
    for size in sorted({row.size or 0 for row in measured}):
        sheet.line("grid", x(size), CURVE_TOP, x(size), CURVE_BOTTOM)
        sheet.text("small", x(size), CURVE_BOTTOM + 17, f"{size:g}", "middle")
    kinds = _kinds(table)
    ends: list[tuple[float, str, str]] = []
    for name, kind in kinds.items():
        rows = [row for row in measured if row.name == name]
        if not rows:
            ends.append((CURVE_BOTTOM, "", f"{name}: not measured"))
            continue
        _draw_curve(sheet, x, y, rows, kind)
        ends.append((y(rows[-1].median), kind, name))
    _draw_names(sheet, ends)
    return CURVE_BOTTOM + FOOT


def _draw_curve(sheet: Sheet, x: Axis, y: Axis, rows: Sequence[Row], kind: str) -> None:
    for row in rows:
        at = x(row.size or 0)
        sheet.line("spread", at, y(min(row.figures)), at, y(max(row.figures)))
    sheet.path(f"{kind} curve", [(x(row.size or 0), y(row.median)) for row in rows])
    for row in rows:
        sheet.dot(f"{kind} dot", x(row.size or 0), y(row.median), 3.5)
        if row.reached is False:
            sheet.cross(x(row.size or 0), y(row.median), "missed", 6)


def _draw_names(sheet: Sheet, ends: Sequence[tuple[float, str, str]]) -> None:
    """The names of the curves beside their ends, none on another."""
    gap, last = 17.0, CURVE_TOP - 17.0
    places: list[float] = []
    for y, _, _ in sorted(ends):
        last = max(y, last + gap)
        places.append(last)
    over = max(0.0, places[-1] - CURVE_BOTTOM)
    for place, (y, kind, name) in zip(places, sorted(ends), strict=True):
        at = place - over
        if kind:
            sheet.path(f"{kind} curve", [(CURVE_RIGHT - 6, y), (CURVE_RIGHT + 8, at)])
            sheet.dot(f"{kind} dot", CURVE_RIGHT + 12, at, 3.5)
        sheet.text("name", CURVE_RIGHT + 20, at + 4, _short(name, 30))


def _kinds(table: Table) -> dict[str, str]:
    """The colour of each program: grey for the base."""
    others = [name for name in dict.fromkeys(row.name for row in table.rows) if name != table.base]
    colours = {name: SERIES[number % len(SERIES)] for number, name in enumerate(others)}
    return {table.base: "soft", **colours}


# Distributions and courses


def _draw_distribution(sheet: Sheet, table: Table) -> float:
    """How many of all figures are below what."""
    measured = [row for row in table.rows if row.figures]
    least = max(min(row.figures[LEAST] for row in measured), TINY)
    x = _axis([least, max(max(row.figures[-1] for row in measured), least * MAGNITUDES)],
              CURVE_LEFT, KEY - 22, from_zero=True)  # fmt: skip
    y = Axis(0, 100, CURVE_BOTTOM, CURVE_TOP, logarithmic=False, marks=(0, 25, 50, 75, 100))
    scale = " (logarithmic)" if x.logarithmic else ""
    sheet.text("small", 18, 46, f"% of all ticks that are within so many {table.unit}{scale}")
    _draw_field(sheet, x, y)
    kinds = _kinds(table)
    for row in _ours_last(measured):
        points = [(x(max(figure, TINY)), y(part)) for part, figure in enumerate(row.figures)]
        sheet.path(f"{kinds[row.name]} curve", points)
    _draw_key(sheet, table, kinds)
    return CURVE_BOTTOM + FOOT


def _draw_course(sheet: Sheet, table: Table) -> float:
    """One figure after the other, beside what was asked for."""
    measured = [row for row in table.rows if row.figures]
    figures = [figure for row in measured for figure in (*row.figures, row.whole or 0.0)]
    step = _step(max(max(figures) - min(figures), 1.0))
    low = math.floor((min(figures) - 0.01) / step) * step
    marks = [low + step * n for n in range(math.ceil((max(figures) - low) / step + 0.01) + 1)]
    y = Axis(low, marks[-1], CURVE_BOTTOM, CURVE_TOP, logarithmic=False, marks=marks)
    seconds = table.step * max(len(row.figures) for row in measured)
    apart = _step(seconds)
    whole = [apart * n for n in range(int(seconds / apart + 0.01) + 1)]
    x = Axis(0, seconds, CURVE_LEFT, KEY - 22, logarithmic=False, marks=whole)
    sheet.text("small", 18, 46, f"{table.unit} in each {table.step:g} s, by seconds of the run")
    _draw_field(sheet, x, y)
    kinds = _kinds(table)
    for asked in sorted({row.whole for row in measured if row.whole is not None}):
        sheet.line("one", CURVE_LEFT, y(asked), KEY - 22, y(asked))
    for row in _ours_last(measured):
        middles = [x(table.step * (n + 0.5)) for n in range(len(row.figures))]
        points = [(middle, y(figure)) for middle, figure in zip(middles, row.figures, strict=True)]
        sheet.path(f"{kinds[row.name]} curve", points)
        for at, place in points:
            sheet.dot(f"{kinds[row.name]} dot", at, place, 2.2)
    _draw_key(sheet, table, kinds)
    return CURVE_BOTTOM + FOOT


def _draw_field(sheet: Sheet, x: Axis, y: Axis) -> None:
    for value in y.marks:
        sheet.line("grid", CURVE_LEFT, y(value), KEY - 22, y(value))
        sheet.text("small", CURVE_LEFT - 8, y(value) + 4, f"{value:g}", "end")
    for value in x.marks:
        sheet.line("grid", x(value), CURVE_TOP, x(value), CURVE_BOTTOM)
        sheet.text("small", x(value), CURVE_BOTTOM + 17, f"{value:g}", "middle")


def _ours_last(rows: Sequence[Row]) -> list[Row]:
    """So that the engine's curve is not hidden below one that is the same."""
    return sorted(rows, key=lambda row: row.name == "horus_trio")


def _draw_key(sheet: Sheet, table: Table, kinds: Mapping[str, str]) -> None:
    """The names of the programs, and their figures in short, right of the field."""
    for number, row in enumerate(table.rows):
        at = CURVE_TOP + 12 + 40 * number
        if row.figures:
            sheet.line(f"{kinds[row.name]} curve", KEY - 8, at - 4, KEY + 8, at - 4)
        sheet.text("name", KEY + 14, at, _short(row.name, 22))
        sheet.text("small", KEY + 14, at + 15, _short(_in_short(table, row), 26))


def _in_short(table: Table, row: Row) -> str:
    """A distribution, or a course, in a few words."""
    if not row.figures:
        return "not measured"
    if table.kind == "distribution":
        return f"p50 {in_digits(row.figures[50])}, p99 {in_digits(row.figures[99])}"
    return f"{sum(row.figures) / len(row.figures):.4g} in the mean"


PROGRESS = {"distribution": _draw_distribution, "course": _draw_course}
"""What draws a picture of what changes."""


# Axes


class Axis:
    """Where a value is.

    Arguments:
        low: The value at `start`.
        high: The value at `end`.
        start: In pixels.
        end: In pixels; it may be less.
        logarithmic: Whether equal lengths are equal factors.
        marks: Values to mark.
    """

    def __init__(
        self,
        low: float,
        high: float,
        start: float,
        end: float,
        *,
        logarithmic: bool,
        marks: Sequence[float],
    ) -> None:
        self.logarithmic = logarithmic
        self.marks = marks
        self.origin = 1.0 if logarithmic else 0.0
        """Where bars begin."""
        self._of: Callable[[float], float] = math.log if logarithmic else float
        self._low, self._high = self._of(low), self._of(high)
        self._start, self._end = start, end

    def __call__(self, value: float) -> float:
        part = (self._of(value) - self._low) / (self._high - self._low)
        return self._start + (self._end - self._start) * min(max(part, 0.0), 1.0)


def _axis(values: Sequence[float], start: float, end: float, *, from_zero: bool = False) -> Axis:
    """An axis on which all values have room."""
    low, high = min(values), max(values)
    if low > 0 and high / low >= MAGNITUDES:
        if not from_zero:
            return Axis(low, high, start, end, logarithmic=True, marks=())
        ends = _rounded(low, down=True), _rounded(high, down=False)
        marks = [mark for power in range(-12, 13) for mark in _marks(power, *ends)]
        return Axis(*ends, start, end, logarithmic=True, marks=marks)
    if from_zero:
        step = _step(high)
        marks = [step * n for n in range(math.ceil(high / step * 1.02) + 1)]
        return Axis(0.0, marks[-1], start, end, logarithmic=False, marks=marks)
    return Axis(low, max(high, low + 1), start, end, logarithmic=False, marks=())


def _rounded(value: float, *, down: bool) -> float:
    """The next 1, 2 or 5 of a magnitude below or above a value."""
    power = 10.0 ** math.floor(math.log10(value))
    steps = [power * step for step in (0.5, 1, 2, 5, 10, 20)]
    if down:
        return max(step for step in steps if step <= value * 0.98)
    return min(step for step in steps if step >= value * 1.02)


def _marks(power: int, low: float, high: float) -> list[float]:
    """The 1, 2 and 5 of a magnitude, within bounds; only the 1 where there are many."""
    steps = (1, 2, 5) if high / low < 300 else (1,)
    found = [float(f"{step}e{power}") for step in steps]
    return [mark for mark in found if low * 0.999 <= mark <= high * 1.001]


def _step(high: float) -> float:
    """A round step of which about four reach `high`."""
    power = 10.0 ** math.floor(math.log10(high / 4)) if high > 0 else 1.0
    return power * min((step for step in (1, 2, 5, 10) if power * step * 5 >= high), default=10)


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
