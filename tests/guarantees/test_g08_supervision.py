"""G8 supervision: every policy, whatever becomes of a tick, and whenever.

A matrix in the shape of the tests of OTP's supervisors. Each cell is a script for one node; what
the model predicts of it, to the instant, has to be what the robot does.
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
import logging
import math
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import trio
from guarantees.supervision_bench import play
from guarantees.supervision_model import (
    HELD_UP,
    PERIOD,
    PHASE,
    Act,
    Breaker,
    Course,
    Kind,
    Policy,
    Restarts,
    Script,
    course_of,
)

from horus_trio import CircuitBreaker, FailurePolicy, Fatal, Ignore, Node, Restart, Scheduler
from horus_trio.testing import FakeDevice, open_harness


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
FINISHES = Act(5 / 64 + 1 / 256)
"""Ends soon after a stop that comes 1/64 s after its begin: the node is not held up."""
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
    ticks_on = policy in ("Ignore", "CircuitBreaker")  # after a failed tick
    match moment, outcome:
        case "first tick" | "later", "returns":
            return Script(ticks=before)
        case "first tick" | "later", "raises":
            return Script(ticks=(*before, FAILS))
        case "first tick", "raises in init":
            return Script(inits=(FAILS_FAST,))
        case "later", "raises in init" if ticks_on:
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
            return Script(ticks=(FINISHES,), stop=soon)
        case "during shutdown", "raises":
            return Script(ticks=(Act(FINISHES.seconds, raises=True),), stop=soon)
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
    inits = (FAILS_FAST if ticks_on else Act(1 / 32),)
    ticks = () if ticks_on else (FAILS,)
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
            return Script(inits=inits, ticks=ticks, stop=0.25 + STOP, cancels=True)
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


def test_no_cell_has_disappeared() -> None:
    assert len(ALL) == 5 * 7 * 4 * 2 * 2 == len(set(ALL))
    excluded = collections.Counter(filter(None, map(exclusion, ALL)))
    assert excluded == {
        "async hooks run in no thread": 5 * 4 * 2,
        "whose first failure is final never backs off": 2 * (7 * 2 - 1) * 2,
        "whose first failure is final is never initialised again": 2 * 2 * 2,
    }
    assert len(CELLS) == 560 - 40 - 52 - 8 == 460


def has_come_about(cell: Cell, course: Course) -> bool:
    """Whether a course shows what its cell is about."""
    count = course.counts.get
    ends = count("cancelled", 0) if cell.kind == "async" else count("abandoned", 0)
    backs_off = cell.moment == "during backoff"
    if backs_off and cell.outcome == "is cancelled":
        return course.ended == "cancelled" and len(course.instants("init")) == 1
    if backs_off and count("restarts", 0) < 1:
        return False
    match cell.outcome:
        case "returns":
            return count("failures", 0) == int(backs_off) and count("ok", 0) >= 1
        case "raises":
            return count("errors", 0) >= 1 and count("failures", 0) == 1 + int(backs_off)
        case "raises in init":
            return count("failures", 0) > len(course.instants("tick")) - count("ok", 0)
        case "raises in shutdown":
            return course.hook_errors == ["shutdown"]
        case "times out" if cell.moment == "during shutdown":
            return course.hook_errors == ["shutdown"]
        case "times out" if backs_off:
            return count("failures", 0) == 2
        case "times out":
            return count("timed_out" if cell.kind == "async" else "abandoned", 0) == 1
        case "hangs in a thread":
            return course.stragglers == ["init" if backs_off else "tick"]
        case "is cancelled":
            return ends == 1 and count("restarts", 0) == 0
    return False


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_every_cell_is_about_what_it_says(cell: Cell) -> None:
    script = script_of(cell.policy, cell.outcome, cell.moment)
    restated = POLICIES[cell.policy][1]
    course = course_of(restated, script, kind=cell.kind, critical=cell.critical)
    assert has_come_about(cell, course)


# The model itself, by hand


def test_the_model_says_what_a_restart_is() -> None:
    script = Script(ticks=(FAILS,), stop=1.0)
    course = course_of(POLICIES["Restart"][1], script, kind="async")
    failed = 1 / 32 + 1 / 128 + 3 / 64 + 1 / 256
    restarted = failed + 1 / 64 + 1 / 32 + BACKOFF
    assert course == Course(
        calls=[
            ("init", 0.0),
            ("tick 1", 1 / 32 + 1 / 128),
            ("on_error", failed),
            ("shutdown", failed + 1 / 64),
            ("init", restarted),
            ("tick 3", 1 / 32 + 1 / 128 + 0.5),
            ("tick 4", 1 / 32 + 1 / 128 + 0.75),
            ("shutdown", 1.0),
        ],
        counts={
            "errors": 1,
            "failures": 1,
            "restarts": 1,
            "ok": 2,
            "ticks_released": 4,
            "missed": 1,
        },
        left=1.0 + 1 / 32,
        duration=1.0 - 1 / 32,
        sibling=(4, 1.0),
    )


def test_the_model_says_what_a_final_failure_is() -> None:
    script = Script(ticks=(FAILS,), stop=1.0)
    failed = 1 / 32 + 1 / 128 + 3 / 64 + 1 / 256
    end = failed + 1 / 64 + 1 / 64 + 1 / 32
    fatal = Course(
        calls=[
            ("init", 0.0),
            ("tick 1", 1 / 32 + 1 / 128),
            ("on_error", failed),
            ("enter_safe_state", failed + 1 / 64),
            ("shutdown", failed + 1 / 32),
        ],
        state="FAILED",
        counts={"errors": 1, "failures": 1, "ticks_released": 1},
        failed="fatal",
        ended="failed",
        left=end,
        duration=end - 1 / 32,
        emergencies=["node 'node' failed for good"],
        sibling=(1, end),
    )
    never = POLICIES["Restart never"][1]
    assert course_of("fatal", script, kind="def") == fatal
    assert course_of(never, script, kind="def", critical=True) == fatal
    alone = dataclasses.replace(
        fatal,
        failed="alone",
        ended="stopped",
        duration=1.0 - 1 / 32,
        emergencies=[],
        sibling=(4, 1.0),
    )
    assert course_of(never, script, kind="def") == alone


# Cut short by `stop_timeout`, which is less than what the hooks may take


@pytest.mark.parametrize("critical", [False, True])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_node_that_hangs_everywhere_is_cut_short_by_the_stop_timeout(
    kind: Kind, critical: bool
) -> None:
    """A tick and a shutdown that hang: half a second is all they have together."""
    calls: list[tuple[str, float]] = []
    device = FakeDevice()

    def in_thread(hook: str) -> Callable[[Node], None]:
        def call(node: Node) -> None:
            calls.append((hook, node.now))
            if hook != "enter_safe_state":
                device.read()

        return call

    def on_loop(hook: str) -> Callable[[Node], Awaitable[None]]:
        async def call(node: Node) -> None:
            calls.append((hook, node.now))
            if hook != "enter_safe_state":
                await trio.sleep_forever()

        return call

    scripted: Callable[[str], Any] = in_thread if kind == "def" else on_loop
    hooks = {hook: scripted(hook) for hook in ("tick", "shutdown", "enter_safe_state")}
    scheduler = Scheduler(8.0, signals=False, stop_timeout=0.5)
    scheduler.add(Node("node", **hooks), phase=0.0, critical=critical, shutdown_timeout=5.0)
    async with open_harness(scheduler) as h:
        await h.advance(1.0)
        report = await h.stop()
        assert h.now == 1.5
    safe, shutdown = ("enter_safe_state", 1.0 + HELD_UP), ("shutdown", 1.25)
    if critical and kind == "async":
        shutdown = "shutdown", 1.0 + HELD_UP  # its tick was cancelled to make it safe
    assert calls == [("tick", 0.0), *([safe] if critical else []), shutdown]
    assert [text.split()[0] for text in report.hook_errors] == ["shutdown"]
    assert report.statistics.nodes["node"].in_flight == 0
    assert [s.call for s in report.stragglers] == (["tick", "shutdown"] if kind == "def" else [])
