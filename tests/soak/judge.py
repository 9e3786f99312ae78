"""Judges what a robot has told: pure functions of the samples, each with a verdict and a reason.

What a robot does in its first seconds is no measure: caches fill, threads start. So samples of the
warm-up are not judged, except for the laws, which hold in every one. What is too short to be judged
is said to be; it fails all the same if it is far beyond what the shortest time would allow.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .laws import Laws
from .told import Kept, Told, rates_of
from .trend import trend

__all__ = [
    "GROWTHS",
    "Growth",
    "Judgement",
    "Verdict",
    "judge",
    "judge_devices",
    "judge_end",
    "judge_growth",
    "judge_laws",
    "judge_losses",
    "judge_rates",
    "warmed_up",
]

TOLERANCE = 0.01
"""Share by which a rate may be off."""

MEGABYTE = 1e6

MOST = 500
"""Samples that a line is drawn through: it looks at each pair of them."""


class Verdict(enum.Enum):
    """What became of one subject."""

    HOLDS = "holds"
    FAILS = "FAILS"
    TOO_SHORT = "too short to judge"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A verdict with its reason.

    Attributes:
        subject: What is judged.
        verdict: How.
        found: What was found.
        limit: What it may be.
    """

    subject: str
    verdict: Verdict
    found: str
    limit: str

    def __str__(self) -> str:
        return f"{self.verdict.value:18}  {self.subject:26}  {self.found}  ({self.limit})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """How much something may grow.

    Attributes:
        what: In the samples.
        unit: What it is told in; so many of the samples' make one.
        per_minute: The slope it may have, in units.
        rise: How many units may be added over the whole time; None: as many as the slope makes.
        shortest: Seconds it takes to judge.
    """

    what: str
    unit: str
    per_minute: float
    rise: float | None = None
    scale: float = 1.0
    shortest: float = 120.0

    @property
    def clearly(self) -> float:
        """Units added in a shorter time that are too many in any case."""
        return 2 * self.per_minute * self.shortest / 60 + (self.rise or 0.0)


GROWTHS = (
    Growth(what="resident", unit="MB", per_minute=1.0, scale=MEGABYTE),
    Growth(what="descriptors", unit="descriptors", per_minute=0.5, rise=2),
    Growth(what="threads", unit="threads", per_minute=0.5, rise=2),
    Growth(what="children", unit="processes", per_minute=0.5, rise=1),
    Growth(what="tasks", unit="tasks", per_minute=0.5, rise=3),
)


def judge(told: Told, warm_up: float) -> list[Judgement]:
    """Everything there is to judge.

    Arguments:
        told: What the robot and the world have told.
        warm_up: Seconds that do not count.
    """
    warm = warmed_up(told.samples, warm_up)
    return [
        judge_rates(told.held, warm),
        *(judge_growth(growth, warm) for growth in GROWTHS),
        judge_laws(told.laws),
        judge_losses(told.samples),
        judge_end(told.end),
        judge_devices(told.done),
    ]


def warmed_up(samples: Sequence[Kept], warm_up: float) -> list[Kept]:
    """The samples that count."""
    return [sample for sample in samples if sample["at"] >= warm_up]


def judge_rates(
    held: Mapping[str, float], samples: Sequence[Kept], shortest: float = 60.0
) -> Judgement:
    """Whether each of these nodes has ticked as often as it should, and well."""
    limit = f"within {TOLERANCE:.0%} of their rates"
    subject = f"rates of {len(held)} nodes"
    if len(samples) < 2:
        return _too_short(subject, "fewer than two samples", limit)
    seconds = samples[-1]["at"] - samples[0]["at"]
    achieved = rates_of(held, samples)
    # At the borders of the time one tick more or less is seen.
    off = {name: abs(part - 1) - 1 / (held[name] * seconds) for name, part in achieved.items()}
    worst = sorted(off, key=lambda name: -off[name])
    late = [name for name in worst if off[name] > TOLERANCE]
    found = f"{len(held) - len(late)} hold them over {seconds:.0f} s"
    shown = late[:3] or worst[:1]
    found += "; " + ", ".join(f"{name} {achieved[name]:.1%}" for name in shown)
    if seconds < shortest and off[worst[0]] <= 10 * TOLERANCE:
        return _too_short(subject, found, limit)
    verdict = Verdict.FAILS if late else Verdict.HOLDS
    return Judgement(subject=subject, verdict=verdict, found=found, limit=limit)


def judge_growth(growth: Growth, samples: Sequence[Kept]) -> Judgement:
    """Whether something has grown."""
    subject, unit = growth.what, growth.unit
    limit = f"below {growth.per_minute:g} {unit} a minute"
    if growth.rise is not None:
        limit += f", {growth.rise:g} more at the end than at the beginning"
    if len(samples) < 3:
        return _too_short(subject, "fewer than three samples", limit)
    samples = samples[:: math.ceil(len(samples) / MOST)]
    times = [sample["at"] for sample in samples]
    found = trend(times, [sample[growth.what] / growth.scale for sample in samples])
    text = (
        f"{found.slope:+.3g} a minute ({found.low:+.3g} to {found.high:+.3g}), {found.rise:+.3g} "
        f"in {found.seconds:.0f} s, now {samples[-1][growth.what] / growth.scale:.4g} {unit}"
    )
    if found.seconds < growth.shortest:
        added = min(found.low * found.seconds / 60, found.rise)
        if added <= growth.clearly:
            return _too_short(subject, text, limit)
        return Judgement(subject=subject, verdict=Verdict.FAILS, found=text, limit=limit)
    grows = found.slope >= growth.per_minute
    if growth.rise is not None:
        grows = grows or found.rise > growth.rise
    verdict = Verdict.FAILS if grows else Verdict.HOLDS
    return Judgement(subject=subject, verdict=verdict, found=text, limit=limit)


def judge_laws(laws: Laws) -> Judgement:
    """Whether the laws of accounting hold in every sample."""
    subject, limit = "laws of nodes and topics", "in every sample"
    if not laws.checked:
        return _too_short(subject, "no sample", limit)
    found = f"{laws.checked} sets of counters add up"
    if laws.breaches:
        found = f"{laws.breaches} breaches: {'; '.join(laws.broken[:3])}"
    verdict = Verdict.FAILS if laws.breaches else Verdict.HOLDS
    return Judgement(subject=subject, verdict=verdict, found=found, limit=limit)


def judge_losses(samples: Sequence[Kept]) -> Judgement:
    """Whether every message has come of the devices that lose none."""
    subject, limit = "numbered messages", "none missing on lines that are never cut"
    if not samples:
        return _too_short(subject, "no sample", limit)
    missing = samples[-1]["missing"]
    verdict = Verdict.FAILS if missing else Verdict.HOLDS
    return Judgement(subject=subject, verdict=verdict, found=f"{missing} missing", limit=limit)


def judge_end(end: Mapping[str, Any]) -> Judgement:
    """Whether it has ended well, and left nothing behind."""
    wrong = [
        f"{what}: {end[key]}"
        for key, what in (
            ("failure", "the run failed"),
            ("failed", "nodes failed for good"),
            ("hook_errors", "hooks raised"),
            ("stragglers", "threads had not returned"),
            ("left", "left behind"),
        )
        if end.get(key)
    ]
    if not end:
        wrong = ["it has not told how it ended"]
    found = "; ".join(wrong) or f"{end['reason']}; nothing left behind"
    verdict = Verdict.FAILS if wrong else Verdict.HOLDS
    return Judgement(
        subject="end", verdict=verdict, found=found, limit="well, and with nothing left"
    )


def judge_devices(done: Mapping[str, int]) -> Judgement:
    """Whether the devices were there until the end."""
    found = f"{sum(done.values())} things done" if done else "they have not told what they did"
    verdict = Verdict.HOLDS if done else Verdict.FAILS
    return Judgement(subject="devices", verdict=verdict, found=found, limit="there until the end")


def _too_short(subject: str, found: str, limit: str) -> Judgement:
    return Judgement(subject=subject, verdict=Verdict.TOO_SHORT, found=found, limit=limit)
