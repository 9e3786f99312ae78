"""What a measuring program finds, as data: tables of rows, with a target where there is one.

A table goes into a JSON file and comes back equal, up to the sixth digit of its figures. What is
written for people, on a terminal or on a page, is made of these alone.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

Kind: TypeAlias = Literal["compare", "curve", "counts", "distribution", "course"]
Json: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a ratio, or a figure, is to be.

    Attributes:
        at_most: It is not above this, if given.
        at_least: It is not below this, if given.
        why_missed: What is known about a miss; said when it is one.
    """

    at_most: float | None = None
    at_least: float | None = None
    why_missed: str = ""

    @property
    def bounds(self) -> str:
        """Its bounds, as text."""
        above = [] if self.at_least is None else [f">= {self.at_least:g}"]
        below = [] if self.at_most is None else [f"<= {self.at_most:g}"]
        return ", ".join(above + below)

    def holds(self, figure: float) -> bool:
        """Whether `figure` is within it."""
        too_high = self.at_most is not None and figure > self.at_most
        return not too_high and (self.at_least is None or figure >= self.at_least)

    def verdict(self, figure: float) -> str:
        """The target, and whether `figure` is within it, as text."""
        if self.holds(figure):
            return f"target {self.bounds}: reached"
        reason = f" ({self.why_missed})" if self.why_missed else ""
        return f"target {self.bounds}: MISSED{reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What one program has given, at one size if there are several.

    Attributes:
        name: Of the program, or of what was counted.
        size: What the program was called with, in a curve.
        figures: One for each repetition, in the order they were taken; none if not measured. Of a
            distribution, the percentiles 0 to 100; of a course, one figure after the other.
        ratio: The median of its ratios to the base within a repetition; of counts, the part of the
            whole.
        whole: How many there might have been, of counts; what was asked for, of a course.
        target: For the ratio if there is one, else for the figure.
        not_measured: Why there is no figure.
    """

    name: str
    size: int | None = None
    figures: tuple[float, ...] = ()
    ratio: float | None = None
    whole: float | None = None
    target: Target | None = None
    not_measured: str = ""

    @property
    def median(self) -> float:
        """The median of the figures."""
        return statistics.median(self.figures)

    @property
    def judged(self) -> float | None:
        """What the target is for."""
        return self.ratio if self.ratio is not None or not self.figures else self.median

    @property
    def reached(self) -> bool | None:
        """Whether the target is reached, if there is one and something to judge."""
        if self.target is None or self.judged is None:
            return None
        return self.target.holds(self.judged)

    @property
    def verdict(self) -> str:
        """The target and what became of it, or why there is no figure."""
        if self.not_measured:
            return f"not measured: {self.not_measured}"
        if self.target is None or self.judged is None:
            return ""
        return self.target.verdict(self.judged)


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows that belong together.

    Attributes:
        kind: The function that has made it.
        title: What was measured.
        unit: Of the figures.
        rows: In the order they were measured.
        base: Name of the row the others are compared with, if they are.
        of: What a size counts, in a curve.
        repetitions: How often each program ran.
        step: Seconds from one figure to the next, of a course.
    """

    kind: Kind
    title: str
    unit: str
    rows: tuple[Row, ...]
    base: str = ""
    of: str = ""
    repetitions: int = 1
    step: float = 1.0

    def to_json(self) -> Json:
        """The table as what JSON knows; what is not set is left out."""
        made = _without_defaults(self)
        made["rows"] = [_without_defaults(row) for row in self.rows]
        for row in made["rows"]:
            if "target" in row:
                row["target"] = _without_defaults(row["target"])
            for name in ("ratio", "whole"):
                if name in row:
                    row[name] = _rounded(row[name])
            row["figures"] = [_rounded(figure) for figure in row.get("figures", ())]
        return made

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Table:
        """The table that `to_json` was called on."""
        rows = []
        for row in found["rows"]:
            target = Target(**row["target"]) if "target" in row else None
            rows.append(Row(**{**row, "figures": tuple(row["figures"]), "target": target}))
        return cls(**{**found, "rows": tuple(rows)})


def in_digits(figure: float) -> str:
    """A figure with three digits, or all those before the point."""
    return f"{figure:,.0f}" if abs(figure) >= 100 else f"{figure:.3g}"


def _without_defaults(value: Any) -> Json:
    return {
        field.name: getattr(value, field.name)
        for field in dataclasses.fields(value)
        if getattr(value, field.name) != field.default
    }


def _rounded(figure: float) -> float:
    return float(f"{figure:.6g}")
