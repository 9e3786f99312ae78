"""Holds the ratios that matter to their baselines: ``python tests/bench/_guard.py``.

A ratio is too high if it is above its baseline times its tolerance in each of three attempts, for
noise passes and a regression does not. ``--record`` takes what is measured for new baselines.
``--planted`` plants slowdowns afterwards, and expects each to be noticed by the ratio that shows it
and by no other; what has just been measured is the baseline then, for the engine may have become
faster since the last one was recorded.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from _compare import NotMeasured, print_machine
from _guarded import GUARDED
from _planted import PLANTS, SLOWDOWN

BASELINES = Path(__file__).with_name("baselines.toml")

ATTEMPTS = 3
"""How often a ratio is measured before it is too high."""

PLANTINGS = 2
"""How often the guard is asked to notice a slowdown."""

HEAD = """\
# Ratios of our costs to rivals', as `nox -s guard -- --record` has found them. The guard lets each
# be as high as its baseline times its tolerance, which is written by hand.
"""

Outcome: TypeAlias = Literal["holds", "TOO HIGH", "not measured"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """What a ratio was, and how much higher it may be.

    Attributes:
        ratio: When it was recorded.
        tolerance: The factor that is left to noise.
    """

    ratio: float
    tolerance: float = 1.25

    @property
    def limit(self) -> float:
        """The highest ratio that holds."""
        return self.ratio * self.tolerance


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What became of one ratio.

    Attributes:
        name: Of the ratio.
        baseline: What it is held to.
        attempts: What was measured, until it held.
        reason: Why it was not measured.
    """

    name: str
    baseline: Baseline
    attempts: tuple[float, ...]
    reason: str = ""

    @property
    def outcome(self) -> Outcome:
        """Whether it holds: in the last attempt, since there is no other after one that holds."""
        if self.reason:
            return "not measured"
        return "holds" if self.attempts[-1] <= self.baseline.limit else "TOO HIGH"

    @property
    def is_stale(self) -> bool:
        """Whether it is so much better than its baseline that this should be recorded anew."""
        return bool(self.attempts) and self.attempts[-1] * self.baseline.tolerance < (
            self.baseline.ratio
        )

    def as_baseline(self) -> Baseline:
        """What was measured last, with the same tolerance."""
        return Baseline(ratio=self.attempts[-1], tolerance=self.baseline.tolerance)

    def __str__(self) -> str:
        measured = " ".join(f"{ratio:.3f}" for ratio in self.attempts)
        return (
            f"{self.outcome:13} {self.name:46} {self.baseline.ratio:8.3f} "
            f"{self.baseline.limit:8.3f}   {measured or self.reason}"
            f"{'  (far better: record it)' if self.is_stale else ''}"
        )


def judge(
    name: str, measure: Callable[[], float], baseline: Baseline, attempts: int = ATTEMPTS
) -> Judgement:
    """Measure a ratio until it holds, or the attempts are used up."""
    ratios: list[float] = []
    while len(ratios) < attempts and (not ratios or ratios[-1] > baseline.limit):
        try:
            ratios.append(measure())
        except NotMeasured as reason:
            return Judgement(name=name, baseline=baseline, attempts=(), reason=str(reason))
    return Judgement(name=name, baseline=baseline, attempts=tuple(ratios))


def is_well(judgements: Iterable[Judgement], *, all_measured: bool) -> bool:
    """Whether no ratio is too high, and none is missing if all are to be measured."""
    bad = {"TOO HIGH", "not measured"} if all_measured else {"TOO HIGH"}
    return not any(judgement.outcome in bad for judgement in judgements)


def noticed(judgements: Iterable[Judgement], shows: str) -> bool:
    """Whether the one ratio that is too high is the one that shows a plant."""
    return [one.name for one in judgements if one.outcome == "TOO HIGH"] == [shows]


def read(text: str) -> dict[str, Baseline]:
    """The baselines of a file."""
    return {name: Baseline(**found) for name, found in tomllib.loads(text).items()}


def written(baselines: Mapping[str, Baseline]) -> str:
    """The text of the file that has these baselines."""
    quoted = {name: json.dumps(name) for name in baselines}
    width = max(map(len, quoted.values()))
    lines = [
        f"{quoted[name]:{width}} = {{ ratio = {one.ratio:.3f}, tolerance = {one.tolerance} }}\n"
        for name, one in baselines.items()
    ]
    return HEAD + "".join(lines)


def guard(baselines: Mapping[str, Baseline], names: Iterable[str]) -> list[Judgement]:
    """Measure and judge; prints a line for each."""
    print(f"{'':13} {'ratio of costs':46} {'baseline':>8} {'limit':>8}   measured")
    judgements: list[Judgement] = []
    for name in names:
        judgements.append(judge(name, GUARDED[name].ratio, baselines[name]))
        print(judgements[-1], flush=True)
    return judgements


def plant(judgements: Iterable[Judgement]) -> int:
    """Plant one slowdown after the other; how many were not noticed."""
    names = [planted.shows for planted in PLANTS]
    now = {one.name: one.as_baseline() for one in judgements if one.name in names}
    missed = 0
    for planted in PLANTS:
        print(f"\n{planted} is slowed, so that {planted.shows!r} is {SLOWDOWN:g} times as high")
        with planted.slowed():
            # Noise hides it sometimes: each of three attempts must be too high.
            seen = any(noticed(guard(now, names), planted.shows) for _ in range(PLANTINGS))
        missed += not seen
        print("noticed" if seen else "NOT NOTICED, or not by that ratio alone", flush=True)
    return missed


def record(baselines: Mapping[str, Baseline]) -> dict[str, Baseline]:
    """The baselines with what is measured now: the median of the attempts."""
    found: dict[str, Baseline] = {}
    for name, pair in GUARDED.items():
        old = baselines.get(name, Baseline(ratio=1.0))
        try:
            ratio = statistics.median(pair.ratio() for _ in range(ATTEMPTS))
        except NotMeasured as reason:
            print(f"{name}: not measured, stays at {old.ratio:g}: {reason}", flush=True)
            ratio = old.ratio
        found[name] = Baseline(ratio=ratio, tolerance=old.tolerance)
        print(f"{name}: {old.ratio:.3f} -> {ratio:.3f}", flush=True)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """The program; its exit code is 0 if all is well."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--record", action="store_true", help="write new baselines")
    what.add_argument("--planted", action="store_true", help="then plant slowdowns, too")
    options = parser.parse_args(arguments)
    began = time.monotonic()
    print_machine()
    baselines = read(BASELINES.read_text("utf-8")) if BASELINES.exists() else {}
    if options.record:
        BASELINES.write_text(written(record(baselines)), "utf-8")
        return 0
    judgements = guard(baselines, GUARDED)
    well = is_well(judgements, all_measured=os.environ.get("CI") == "true")
    missed = plant(judgements) if options.planted and well else 0
    print(f"\n{'all is well' if well and not missed else 'NOT WELL'}", end="")
    print(f", after {time.monotonic() - began:.0f} s")
    return 0 if well and not missed else 1


if __name__ == "__main__":
    sys.exit(main())
