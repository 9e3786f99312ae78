"""`course`: values over time as a picture, a curve for each, and the warm-up in grey behind them.

What is to be seen is also in the picture's description, for those who listen to the page.
"""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "docs" / "guide" / "pictures"))
from sheet import Look, Sheet

__all__ = ["Curve", "course", "described"]

LEFT, RIGHT, TOP, BOTTOM = 62.0, 566.0, 66.0, 262.0
"""The field of the curves; their names are right of it."""

FOOT = 34.0
"""Height of the axis of time."""

COLOURS = ("hook", "ok", "late", "safe", "error", "wait")

SHAPES = """
text{font:12px system-ui,'Segoe UI',Helvetica,Arial,sans-serif}
.title{font-size:13px;font-weight:600}
.small{font-size:11px}
.grid,.curve{fill:none}
.curve{stroke-width:1.5;stroke-linejoin:round}
.soft.curve{stroke-width:1.2;stroke-dasharray:5 3}
.warm{opacity:.5}
"""

LOOK = Look(
    style=SHAPES,
    fills={
        "card": "card",
        "grid": "warm",
        "ink": "title,name",
        "soft": "text",
        **{colour: f"{colour}.dot" for colour in COLOURS},
    },
    strokes={
        "grid": "grid",
        "line": "rim",
        "soft": "soft.curve",
        **{colour: f"{colour}.curve" for colour in COLOURS},
    },
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One of the curves.

    Attributes:
        name: What it shows.
        times: In seconds.
        values: At these times.
        is_measured: Whether it was measured; else it is dashed, such as a limit.
    """

    name: str
    times: Sequence[float]
    values: Sequence[float]
    is_measured: bool = True


def course(
    title: str,
    unit: str,
    curves: Sequence[Curve],
    *,
    warm_up: float,
    logarithmic: bool = False,
    low: float | None = None,
) -> str:
    """The text of an SVG file.

    Arguments:
        title: Of the picture.
        unit: Of all values.
        curves: At least one, with values.
        warm_up: Seconds at the beginning that are not judged.
        logarithmic: Whether equal heights are equal factors; values of 0 are at the bottom then.
        low: Where the axis begins; None: somewhere below the lowest value.
    """
    sheet = Sheet(LOOK)
    sheet.text("title", 18, 27, title)
    scale = " (logarithmic)" if logarithmic else ""
    sheet.text("small", 18, 46, f"{unit}{scale}; grey: the warm-up, which is not judged")
    end = max(curve.times[-1] for curve in curves)
    values = [value for curve in curves for value in curve.values]
    marks = _decades(values) if logarithmic else _marks(min(values), max(values), low)
    of = math.log if logarithmic else float

    def x(seconds: float) -> float:
        return LEFT + (RIGHT - LEFT) * seconds / end

    def y(value: float) -> float:
        bottom, top = of(marks[0]), of(marks[-1])
        part = (of(max(value, marks[0])) - bottom) / (top - bottom)
        return BOTTOM - (BOTTOM - TOP) * min(part, 1.0)

    if warm_up > 0:
        sheet.box("warm", LEFT, TOP, x(min(warm_up, end)) - LEFT, BOTTOM - TOP)
    for mark in marks:
        sheet.line("grid", LEFT, y(mark), RIGHT, y(mark))
        sheet.text("small", LEFT - 8, y(mark) + 4, f"{mark:g}", "end")
    for mark in _marks(0, end, 0)[:-1]:
        sheet.line("grid", x(mark), TOP, x(mark), BOTTOM)
        sheet.text("small", x(mark), BOTTOM + 17, f"{mark:g} s", "middle")
    colours = iter(COLOURS)
    place = TOP + 8
    for curve in curves:
        kind = next(colours) if curve.is_measured else "soft"
        points = [(x(t), y(v)) for t, v in zip(curve.times, curve.values, strict=True)]
        sheet.path(f"{kind} curve", points)
        sheet.path(f"{kind} curve", [(RIGHT + 10, place), (RIGHT + 26, place)])
        sheet.text("small", RIGHT + 32, place + 4, curve.name)
        place += 19
    return sheet.svg(BOTTOM + FOOT, title, described(unit, curves, warm_up))


def described(unit: str, curves: Sequence[Curve], warm_up: float) -> str:
    """What the curves show, in words."""
    said = [unit]
    for curve in curves:
        if not curve.is_measured:
            continue
        kept = [v for t, v in zip(curve.times, curve.values, strict=True) if t >= warm_up]
        kept = kept or list(curve.values)
        said.append(
            f"{curve.name}: from {min(kept):.4g} to {max(kept):.4g}, median "
            f"{statistics.median(kept):.4g}, at the end {kept[-1]:.4g}"
        )
    return ". ".join(said) + "."


def _marks(low: float, high: float, bottom: float | None) -> list[float]:
    """Round values, the first not above `low` and the last not below `high`."""
    start = low if bottom is None else bottom
    span = max(high - start, abs(high) * 0.02, 1e-9)
    power = 10.0 ** math.floor(math.log10(span / 4))
    step = next(power * s for s in (1, 2, 5, 10) if power * s * 5 >= span)
    first = math.floor(start / step)
    last = max(math.ceil(high / step), first + 1)
    return [float(f"{number * step:.10g}") for number in range(first, last + 1)]


def _decades(values: Sequence[float]) -> list[float]:
    """Powers of ten around all values above 0."""
    seen = [value for value in values if value > 0] or [1.0]
    first = math.floor(math.log10(min(seen)))
    last = max(math.ceil(math.log10(max(seen))), first + 1)
    return [10.0**power for power in range(first, last + 1)]
