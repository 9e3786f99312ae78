"""The same programs of HORUS's on its own package and on this engine's facade of it.

What its users notice: whether a node that waits takes ticks from others, how even ticks come, what
waiting nodes hold, and what becomes of a SIGTERM. The programs import ``horus`` and know nothing of
where they run. HORUS gives itself real-time threads where it may, as root for example; the engine
does not.

HORUS's Python package needs an environment of its own: `HORUS_PYTHON` names an interpreter that has
``horus-robotics`` 0.4.1.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from _child import run_child
from _compare import Count, NotMeasured, Target, compare, counts, print_machine
from _quick import either

BASE = "HORUS 0.4.1"
FACADE = "the facade"

REPETITIONS = either(3, 1)
SECONDS = either(2.0, 0.3)
RATE = 100.0
NODES = either(600, 60)
AWAITS = 30.0

REAL_TIME = "HORUS has a real-time thread for it, which the kernel wakes before all others"


class Interpreter(NamedTuple):
    """Runs ``_rival_horus.py``."""

    python: str
    program: str


Said: TypeAlias = dict[str, Any]


def interpreter(side: str) -> Interpreter:
    """Of one of the sides."""
    if side == FACADE:
        return Interpreter(sys.executable, "_as_horus")
    python = os.environ.get("HORUS_PYTHON")
    if not python:
        raise NotMeasured("HORUS_PYTHON names no interpreter that has it")
    return Interpreter(python, "_rival_horus")


def ask(side: str, *arguments: object) -> Said:
    """Run one case on one side."""
    python, program = interpreter(side)
    return run_child(program, *map(str, arguments), python=python)


def both(
    title: str,
    unit: str,
    figure: Callable[[str], float],
    *,
    target: Target | None = None,
    repetitions: int = REPETITIONS,
) -> None:
    """One figure of both sides, in turn; prints a table. The target is for the ratio."""
    has_base = bool(os.environ.get("HORUS_PYTHON"))
    compare(
        title,
        unit,
        {side: functools.partial(figure, side) for side in (BASE, FACADE)},
        base=BASE,
        repetitions=repetitions,
        targets={FACADE: target} if has_base and target is not None else {},
    )


def median_of(said: Sequence[Said], what: str) -> float | None:
    """What the side did in the middle; None if it did nothing."""
    return statistics.median(ended[what] for ended in said) if said else None


def isolation() -> None:
    """A node that awaits takes nothing from its sibling, or nearly everything."""
    seconds = either(3.0, 0.6)
    both(
        "An async node at 100 Hz beside one that awaits 0.5 s",
        f"ticks in {seconds:g} s",
        lambda side: float(ask(side, "beside a slow node", seconds)["ticks"]),
        target=Target(at_least=5.0),
    )


def rate_accuracy(kind: str, target: Target) -> None:
    """Ticks, and how even they are, of a lone node."""
    said: dict[str, list[Said]] = {BASE: [], FACADE: []}

    def run(side: str) -> float:
        said[side].append(ask(side, f"{kind} on time", RATE, SECONDS))
        return float(said[side][-1]["p50"])

    title = f"One {kind} node at {RATE:g} Hz"
    both(f"{title}, intervals that are off, p50", "ms", run, target=target)
    counts(
        f"{title}, ticks in {SECONDS:g} s",
        "median",
        [
            Count(
                name=side,
                figure=median_of(ended, "ticks"),
                whole=RATE * SECONDS,
                target=Target(at_least=0.98) if side == FACADE else None,
                not_measured="as above",
            )
            for side, ended in said.items()
        ],
    )
    counts(
        f"{title}, intervals that are off, p99",
        "ms, median",
        [
            Count(name=side, figure=_rounded(median_of(ended, "p99")), not_measured="as above")
            for side, ended in said.items()
        ],
    )


def waiting() -> None:
    """What the process holds while its nodes wait."""
    held: dict[str, Said] = {}

    def threads(side: str) -> float:
        held[side] = ask(side, "waiting", NODES)
        return float(held[side]["threads"])

    def descriptors(side: str) -> float:
        if side not in held:
            raise NotMeasured("as above")
        return float(held[side]["descriptors"])

    both(
        f"Threads of {NODES} waiting async nodes",
        "whole process",
        threads,
        target=Target(at_most=0.05),
        repetitions=1,
    )
    both(
        f"Descriptors of {NODES} waiting async nodes",
        "whole process",
        descriptors,
        target=Target(at_most=0.05),
        repetitions=1,
    )


def told_to_stop(side: str) -> Said:
    """A SIGTERM while a node awaits: seconds to the end, exit code, and how many were shut down."""
    python, name = interpreter(side)
    program = str(Path(__file__).with_name(f"{name}.py"))
    with subprocess.Popen(
        [python, program, "until told", str(AWAITS)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            stdout = process.stdout
            if stdout is None or not any(line.strip() == "running" for line in stdout):
                raise RuntimeError(f"the program did not run on {side}")
            time.sleep(0.2)
            told = time.monotonic()
            process.send_signal(signal.SIGTERM)
            printed, _ = process.communicate(timeout=AWAITS)
            seconds = time.monotonic() - told
        finally:
            process.kill()
    lines = printed.strip().splitlines()
    shut = json.loads(lines[-1])["shut"] if lines else []
    return {"seconds": seconds, "code": process.returncode, "shut": len(shut)}


def stopping() -> None:
    """From SIGTERM to the end."""
    ended: dict[str, list[Said]] = {BASE: [], FACADE: []}

    def run(side: str) -> float:
        ended[side].append(told_to_stop(side))
        return float(ended[side][-1]["seconds"])

    title = f"SIGTERM while an async node awaits {AWAITS:g} s"
    both(f"{title}, to the end", "seconds", run, target=Target(at_most=0.5))
    counts(
        f"{title}, nodes that were shut down",
        "the fewest",
        [
            Count(
                name=side,
                figure=min((each["shut"] for each in several), default=None),
                whole=2,
                target=Target(at_least=1.0) if side == FACADE else None,
                not_measured="as above",
            )
            for side, several in ended.items()
        ],
    )
    counts(
        f"{title}, exit code",
        "the last one",
        [
            Count(
                name=side,
                figure=several[-1]["code"] if several else None,
                not_measured="as above",
            )
            for side, several in ended.items()
        ],
    )


def _rounded(figure: float | None) -> float | None:
    return None if figure is None else round(figure, 2)


def main() -> None:
    print_machine()
    isolation()
    rate_accuracy("async", Target(at_most=0.5))
    rate_accuracy("sync", Target(at_most=2.0, why_missed=REAL_TIME))
    waiting()
    stopping()


if __name__ == "__main__":
    main()
