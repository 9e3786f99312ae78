"""G8 supervision: every policy, whatever becomes of a tick, whenever, in the shape of OTP's tests."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from guarantees.supervision_bench import play
from guarantees.supervision_model import (
    PERIOD,
    PHASE,
    Act,
    Breaker,
    Kind,
    Policy,
    Restarts,
    Script,
    course_of,
)

from horus_trio import CircuitBreaker, FailurePolicy, Fatal, Ignore, Restart


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    logger = logging.getLogger("horus_trio")
    logger.setLevel(logging.CRITICAL + 1)
    yield
    logger.setLevel(logging.NOTSET)


BACKOFF = 19 / 64
COOLDOWN = 1 + 3 / 64

POLICIES: dict[str, tuple[FailurePolicy, Policy]] = {
    "Fatal": (Fatal(), "fatal"),
    "Ignore": (Ignore(), "ignore"),
    "Restart": (
        Restart(2, within=60.0, backoff=BACKOFF, max_backoff=2.0, jitter=0.0),
        Restarts(most=2, within=60.0, backoff=BACKOFF, longest=2.0),
    ),
    "Restart never": (Restart(0), Restarts(most=0, within=60.0, backoff=0.1, longest=10.0)),
    "CircuitBreaker": (
        CircuitBreaker(1, cooldown=COOLDOWN),
        Breaker(failures=1, cooldown=COOLDOWN),
    ),
}
OUTCOMES = (
    "returns",
    "raises",
    "raises in init",
    "raises in shutdown",
    "times out",
    "hangs in a thread",
    "is cancelled",
)
MOMENTS = ("first tick", "later", "during backoff", "during shutdown")
KINDS: tuple[Kind, ...] = ("def", "async")

FAILS = Act(3 / 64 + 1 / 256, raises=True)
FAILS_FAST = Act(1 / 64, raises=True)
TOO_LONG = Act(1.5 + 1 / 256)
"""Longer than a tick, an ``init`` or a ``shutdown`` may take."""
HANGS = Act(math.inf)
LONG = Act(0.875 + 1 / 256)
"""As long as a tick may take, and longer than a stop waits."""
STOP = 1 / 1024


def tick_at(index: int) -> float:
    """When the tick at a grid point begins, if all before went well."""
    return 1 / 32 + PHASE + index * PERIOD


def script_of(policy: str, outcome: str, moment: str) -> Script:
    """How one cell comes about."""
    ordinary = Act(1 / 16 + 1 / 256)
    before = (ordinary, ordinary) if moment == "later" else ()
    soon = tick_at(len(before)) + 1 / 64 + STOP
    ends_ticks = policy in ("Ignore", "CircuitBreaker")  # a failed tick leads to no other init
    match moment, outcome:
        case "first tick" | "later", "returns":
            return Script(ticks=before)
        case "first tick" | "later", "raises":
            return Script(ticks=(*before, FAILS))
        case "first tick", "raises in init":
            return Script(inits=(FAILS_FAST,))
        case "later", "raises in init" if ends_ticks:
            return Script(inits=(Act(1 / 32), FAILS_FAST), task_fails=tick_at(2) + 0.125)
        case "later", "raises in init":
            return Script(inits=(Act(1 / 32), FAILS_FAST), ticks=(*before, FAILS))
        case "first tick" | "later", "raises in shutdown":
            return Script(ticks=(*before, FAILS), shutdowns=(FAILS_FAST,))
        case "first tick" | "later", "times out":
            return Script(ticks=(*before, TOO_LONG))
        case "first tick" | "later", "hangs in a thread":
            return Script(ticks=(*before, HANGS))
        case "first tick" | "later", "is cancelled":
            return Script(ticks=(*before, LONG), stop=soon, cancels=True)
        case "during shutdown", "returns":
            return Script(ticks=(Act(0.25 + 1 / 256),), stop=soon)
        case "during shutdown", "raises":
            return Script(ticks=(Act(0.25 + 1 / 256, raises=True),), stop=soon)
        case "during shutdown", "raises in init":
            return Script(inits=(Act(0.25, raises=True),), stop=1 / 64 + STOP)
        case "during shutdown", "raises in shutdown":
            return Script(shutdowns=(FAILS_FAST,))
        case "during shutdown", "times out":
            return Script(shutdowns=(TOO_LONG,))
        case "during shutdown", "hangs in a thread":
            return Script(ticks=(HANGS,), stop=soon)
        case "during shutdown", "is cancelled":
            return Script(ticks=(LONG,), stop=soon)
    # During the backoff after a first failure: of a tick, or of `init` where no other leads to one.
    if ends_ticks:
        inits, ticks = (FAILS_FAST,), ()
        backing_off = 0.25
    else:
        inits, ticks = (Act(1 / 32),), (FAILS,)
        backing_off = 0.25
    match outcome:
        case "returns":
            return Script(inits=inits, ticks=ticks)
        case "raises":
            return Script(inits=inits, ticks=(*ticks, FAILS))
        case "raises in init":
            return Script(inits=(*inits, FAILS_FAST), ticks=ticks)
        case "raises in shutdown":
            return Script(inits=inits, ticks=ticks, shutdowns=(FAILS_FAST,))
        case "times out":
            return Script(inits=(*inits, TOO_LONG), ticks=ticks)
        case "hangs in a thread":
            return Script(inits=(*inits, HANGS), ticks=ticks)
        case "is cancelled":
            return Script(inits=inits, ticks=ticks, stop=backing_off + STOP, cancels=True)
    raise LookupError((policy, outcome, moment))


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of the matrix."""

    policy: str
    outcome: str
    moment: str
    critical: bool
    kind: Kind

    def __str__(self) -> str:
        critical = "critical" if self.critical else "not critical"
        return f"{self.policy}, {self.outcome}, {self.moment}, {critical}, {self.kind}"


def exclusion(cell: Cell) -> str | None:
    """Why a cell cannot occur, or None."""
    if cell.outcome == "hangs in a thread" and cell.kind == "async":
        return "async hooks run in no thread"
    if cell.policy in ("Fatal", "Restart never"):
        if cell.moment == "during backoff":
            return "whose first failure is final never backs off"
        if cell.moment == "later" and cell.outcome == "raises in init":
            return "whose first failure is final is never initialised again"
    return None


ALL = [
    Cell(*parameters)
    for parameters in itertools.product(POLICIES, OUTCOMES, MOMENTS, (False, True), KINDS)
]
CELLS = [cell for cell in ALL if exclusion(cell) is None]


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_every_cell_of_the_matrix(cell: Cell) -> None:
    policy, restated = POLICIES[cell.policy]
    script = script_of(cell.policy, cell.outcome, cell.moment)
    expected = course_of(restated, script, kind=cell.kind, critical=cell.critical)
    assert play(policy, script, kind=cell.kind, critical=cell.critical) == expected
