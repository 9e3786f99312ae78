"""What is kept of a soak: `record_of` makes one value for JSON, of which the page is made."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Sequence
from typing import Any

from _surroundings import Surroundings

from .judge import Judgement, warmed_up
from .told import Kept, Sample, Told, load_of, rates_of

__all__ = ["record_of"]

WINDOW = 10.0
"""Seconds over which the course of the rates is taken."""

FAST = 10.0
"""Hz of the nodes whose rates are shown in their course: of slower ones, one tick is much of ten
seconds."""

ABOUT = "A robot of sixty nodes among devices that fail, for minutes."


def record_of(
    told: Told,
    judgements: Sequence[Judgement],
    *,
    warm_up: float,
    surroundings: Surroundings,
    command: str,
    note: str,
) -> dict[str, Any]:
    """Everything that is on the page.

    Arguments:
        told: What the robot has told, at least two samples.
        judgements: Of that.
        warm_up: Seconds that were not judged.
        surroundings: What it was run with, when it began.
        command: That does it again.
        note: What else is to be known, such as what ran beside it.
    """
    surroundings = dataclasses.replace(surroundings, about=ABOUT, command=command)
    samples = told.samples
    judged = warmed_up(samples, warm_up)
    judged = judged if len(judged) > 1 else samples
    achieved = rates_of(told.held, judged)
    machine, robot = load_of(judged)
    return {
        **surroundings.to_json(),
        "note": note,
        "seconds": round(samples[-1]["at"], 1),
        "warm_up": round(warm_up, 1),
        "nodes": samples[0]["nodes"],
        "load": {
            "processors": samples[-1]["processors"],
            "machine": round(machine, 2),
            "robot": round(robot, 2),
        },
        "judgements": [
            {**dataclasses.asdict(one), "verdict": one.verdict.value} for one in judgements
        ],
        "held": {
            name: {"rate": rate, "achieved": round(achieved[name], 5)}
            for name, rate in told.held.items()
        },
        "totals": totals(told.last),
        "done": dict(sorted(told.done.items())),
        "end": told.end,
        "course": course_of(told.held, samples),
    }


def totals(last: Sample) -> dict[str, int]:
    """What became of all releases, messages and log records."""
    names = ("released", "ok", "raised", "timed out", "abandoned", "cancelled", "missed")
    nodes = last["nodes"].values()
    counts = {name: sum(node[i] for node in nodes) for i, name in enumerate(names)}
    subscriptions = [subs for _, held in last["topics"].values() for subs in held]
    return counts | {
        "restarts": sum(node[8] for node in nodes),
        "messages sent": sum(sent for sent, _ in last["topics"].values()),
        "messages dropped": sum(dropped for _, _, dropped, _ in subscriptions),
        "log records": last["logged"],
        "stalls of the loop": last["stalls"],
    }


def course_of(held: dict[str, float], samples: Sequence[Kept]) -> dict[str, Any]:
    """What is drawn: a list for each value, and the times of these."""
    course: dict[str, Any] = {
        "at": [round(sample["at"], 2) for sample in samples],
        "resident": [round(sample["resident"] / 1e6, 3) for sample in samples],
        "late p50": [round(1000 * sample["late"][0], 3) for sample in samples],
        "late p99": [round(1000 * sample["late"][1], 3) for sample in samples],
    }
    for what in ("descriptors", "threads", "children", "tasks", "blocks"):
        course[what] = [sample[what] for sample in samples]
    course["load"] = _load(samples)
    course["rates"] = _course_of_rates(held, samples)
    return course


def _load(samples: Sequence[Kept]) -> dict[str, list[float]]:
    """Processors that were busy: all of the machine's, and by the robot."""
    load: dict[str, list[float]] = {"at": [], "machine": [], "robot": []}
    previous: Kept | None = None
    for sample in samples:
        if previous is not None and sample["at"] - previous["at"] < WINDOW / 2:
            continue
        if previous is not None:
            machine, robot = load_of([previous, sample])
            load["at"].append(round(sample["at"], 2))
            load["machine"].append(round(machine, 3))
            load["robot"].append(round(robot, 3))
        previous = sample
    return load


def _course_of_rates(held: dict[str, float], samples: Sequence[Kept]) -> dict[str, list[float]]:
    """What the median and the slowest of the faster nodes have achieved, in per cent."""
    fast = [name for name, rate in held.items() if rate >= FAST]
    rates: dict[str, list[float]] = {"at": [], "median": [], "slowest": []}
    first = samples[0]
    for sample in samples:
        if sample["at"] - first["at"] >= WINDOW:
            achieved = rates_of(held, [first, sample])
            parts = [achieved[name] for name in fast]
            rates["at"].append(round(sample["at"], 2))
            rates["median"].append(round(100 * statistics.median(parts), 2))
            rates["slowest"].append(round(100 * min(parts), 2))
            first = sample
    return rates
