"""What a sweep of `cancel_everywhere` reports: its findings, or that all is well."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ...errors import HorusError
from ..places import Place
from .attempt import BEFORE, UNCUT, WAITING, WOKEN, Cut

__all__ = ["CancellationBroken", "Finding", "Findings", "Sweep"]

LISTED = 10
"""Findings that the message of an error lists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One promise that an operation does not keep.

    Attributes:
        checkpoint: Which yield it was cancelled at, from 1; 0: before it began, or not at all.
        moment: ``"before it began"``, ``"while it waited"``, ``"as it was woken"`` or
            ``"not cancelled"``.
        file: Source file of the line where the operation stood.
        line: Its number.
        function: Its function.
        problem: In two or three words, such as ``"lock held"``.
        text: What was expected, what came, and what to do.
    """

    checkpoint: int
    moment: str
    file: str
    line: int
    function: str
    problem: str
    text: str

    def __str__(self) -> str:
        return f"{self.problem}: {self.text}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """What an operation that keeps its promises was put through.

    Attributes:
        checkpoints: How often it yields when it is not cancelled.
        attempts: How often it was cancelled.
        lines: Where it stands at each of its checkpoints.
    """

    checkpoints: int
    attempts: int
    lines: tuple[str, ...]

    def __str__(self) -> str:
        stands = [f"  {number}. {line}" for number, line in enumerate(self.lines, 1)]
        head = f"{self.checkpoints} checkpoint(s), cancelled {self.attempts} times, all well"
        return "\n".join([head, *stands])


class CancellationBroken(HorusError, AssertionError):
    """An operation does not keep its promises when it is cancelled; or it fails by itself.

    Attributes:
        findings: What was found, in the order of the attempts.
    """

    def __init__(self, message: str, findings: Iterable[Finding] = ()) -> None:
        super().__init__(message)
        self.findings: tuple[Finding, ...] = tuple(findings)


class Findings:
    """Collects what is found at one operation.

    Arguments:
        use: The operation; what stood nowhere yet is reported at its first line.
    """

    def __init__(self, use: Callable[..., object]) -> None:
        self.found: list[Finding] = []
        self.place_of_use: Place = _place_of(use)

    def add(self, cut: Cut, problem: str, what: str, *, at: Place | None = None) -> None:
        """Note a problem.

        Arguments:
            cut: The attempt.
            problem: In two or three words.
            what: What came, what was expected, what to do.
            at: Where, if not where the operation was cancelled.
        """
        stood = cut.place or self.place_of_use
        when = {
            BEFORE: "cancelled before it began",
            UNCUT: "without being cancelled",
            WAITING: f"cancelled at checkpoint {cut.checkpoint} while it waited",
            WOKEN: f"cancelled at checkpoint {cut.checkpoint} as it was woken",
        }[cut.moment if cut.fired else UNCUT]
        where = f", at {stood}" if cut.fired else ""
        if cut.came not in (None, stood):
            where += f", which raised at {cut.came}"
        place = at or stood
        self.found.append(
            Finding(
                checkpoint=cut.checkpoint,
                moment=cut.moment if cut.fired else UNCUT,
                file=place.file,
                line=place.line,
                function=place.function,
                problem=problem,
                text=f"{when}{where}: {what}",
            )
        )

    def as_error(self, attempts: int) -> CancellationBroken:
        """All that was found; the message lists the same problem at the same line only once."""
        distinct: dict[tuple[str, str, int], Finding] = {}
        for finding in self.found:
            distinct.setdefault((finding.problem, finding.file, finding.line), finding)
        lines = [f"  {number}. {finding}" for number, finding in enumerate(distinct.values(), 1)]
        if len(lines) > LISTED:
            lines[LISTED:] = [f"  … and {len(lines) - LISTED} more"]
        head = f"{len(distinct)} problem(s) found, {attempts} time(s) cancelled:"
        return CancellationBroken("\n".join([head, *lines]), self.found)


def _place_of(function: Any) -> Place:
    while hasattr(function, "func"):  # of a partial
        function = function.func
    code = getattr(inspect.unwrap(function), "__code__", None)
    if code is None:
        return Place(file="<unknown>", line=0, function=repr(function))
    return Place(file=code.co_filename, line=code.co_firstlineno, function=code.co_name)
