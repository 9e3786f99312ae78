"""G8 supervision: whatever befalls a node, with whatever policy, its story is that of the model.

Hypothesis writes scripts: how long each hook takes, which ones fail or hang, when the stop comes.
The instants at which ``init``, ticks and ``shutdown`` began are compared with ``==``.
"""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from guarantees.supervision_bench import play
from guarantees.supervision_model import (
    BRIEF,
    TICK,
    Act,
    Breaker,
    Kind,
    Policy,
    Restarts,
    Script,
    Unmodelled,
    course_of,
)
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from horus_trio import CircuitBreaker, FailurePolicy, Fatal, Ignore, Restart


@pytest.fixture(autouse=True, scope="module")
def quiet() -> Iterator[None]:
    logger = logging.getLogger("horus_trio")
    logger.setLevel(logging.CRITICAL + 1)
    yield
    logger.setLevel(logging.NOTSET)


def seconds(most: float, least: float = 0.0) -> st.SearchStrategy[float]:
    """Multiples of 1/64 s, which keep sums exact and off the grid."""
    return st.integers(round(least * 64), round(most * 64)).map(lambda n: n / 64)


HANGS = Act(math.inf)
TOO_LONG = Act(1.5 + 1 / 256)


def acts(usual: Act, *unusual: Act) -> st.SearchStrategy[tuple[Act, ...]]:
    """What some calls of a hook do; a hang, after which nothing more happens, is rare."""
    well = st.just(usual)
    call = st.one_of(well, well, *map(st.just, unusual), st.sampled_from([usual] * 9 + [HANGS]))
    return st.lists(call, max_size=12).map(tuple)


def fails(seconds: float) -> Act:
    return Act(seconds, raises=True)


soon_or_late = st.one_of(seconds(4), seconds(16, least=4), seconds(16, least=8))
scripts = st.builds(
    Script,
    inits=acts(Act(BRIEF), fails(1 / 64), Act(0.5), TOO_LONG),
    ticks=acts(
        Act(TICK),
        fails(1 / 64 + 1 / 256),
        fails(3 / 64 + 1 / 256),
        fails(0.75 + 1 / 256),
        fails(1.25 + 1 / 256),
        Act(0.5 + 1 / 256),
        TOO_LONG,
    ),
    shutdowns=acts(Act(BRIEF), fails(1 / 64), Act(0.5), TOO_LONG),
    stop=soon_or_late.map(lambda s: s + 1 / 1024),
    cancels=st.booleans(),
    task_fails=st.one_of(st.none(), st.none(), seconds(4).map(lambda s: s + 1 / 2048)),
)


@st.composite
def restarts(draw: st.DrawFn) -> tuple[FailurePolicy, Policy]:
    most = draw(st.integers(0, 3))
    within = draw(st.sampled_from([None, 0.5, 1.0, 2.0, 4.0, 60.0]))
    backoff = draw(seconds(1))
    longest = draw(seconds(2))
    jitter = draw(st.sampled_from([0.0, 0.0, 0.25, 1.0]))
    policy = Restart(most, within=within, backoff=backoff, max_backoff=longest, jitter=jitter)
    return policy, Restarts(
        most=most, within=within, backoff=backoff, longest=longest, jitter=jitter
    )


@st.composite
def breakers(draw: st.DrawFn) -> tuple[FailurePolicy, Policy]:
    failures, cooldown = draw(st.integers(1, 3)), draw(seconds(3, least=1 / 64))
    return CircuitBreaker(failures, cooldown), Breaker(failures=failures, cooldown=cooldown)


others: st.SearchStrategy[tuple[FailurePolicy, Policy]] = st.sampled_from(
    [(Fatal(), "fatal"), (Ignore(), "ignore")]
)
policies = st.one_of(restarts(), restarts(), breakers(), others)
kinds: st.SearchStrategy[Kind] = st.sampled_from(["async", "def", "own"])


# The restart intensity and the backoff, one rule each

FAILS = Act(3 / 64 + 1 / 256, raises=True)
GOOD = (Act(TICK),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Arguments of `Restart`, what the ticks do, and the pauses that follow; then how it ends."""

    arguments: dict[str, Any]
    ticks: tuple[Act, ...]
    pauses: list[float]
    state: str = "STOPPED"
    seed: int = 0


RULES = {
    "one failure more than allowed is final": Rule(
        arguments={"max_restarts": 2, "within": 60.0, "backoff": 0.25, "max_backoff": 8.0},
        ticks=(FAILS,) * 9,
        pauses=[0.25, 0.5],
        state="FAILED",
    ),
    "the window slides": Rule(
        arguments={"max_restarts": 2, "within": 2.0, "backoff": 1.25, "max_backoff": 1.25},
        ticks=(FAILS,) * 6,
        pauses=[1.25] * 6,
    ),
    "a failure as old as the window counts no more": Rule(  # they are 1.5 s apart
        arguments={"max_restarts": 2, "within": 3.0, "backoff": 1.25, "max_backoff": 1.25},
        ticks=(FAILS,) * 6,
        pauses=[1.25] * 6,
    ),
    "a failure not so old counts": Rule(
        arguments={"max_restarts": 2, "within": 3.0625, "backoff": 1.25, "max_backoff": 1.25},
        ticks=(FAILS,) * 6,
        pauses=[1.25] * 2,
        state="FAILED",
    ),
    "the backoff doubles up to its bound": Rule(
        arguments={"max_restarts": 9, "within": 60.0, "backoff": 0.25, "max_backoff": 1.5},
        ticks=(FAILS,) * 6,
        pauses=[0.25, 0.5, 1.0, 1.5, 1.5, 1.5],
    ),
    "good ticks do not reset the backoff": Rule(
        arguments={"max_restarts": 9, "within": 4.0, "backoff": 0.25, "max_backoff": 8.0},
        ticks=(FAILS, *GOOD * 4, FAILS, *GOOD * 4, FAILS),
        pauses=[0.25, 0.5, 1.0],
    ),
    "stable time resets the backoff": Rule(
        arguments={"max_restarts": 9, "within": 1.0, "backoff": 0.25, "max_backoff": 8.0},
        ticks=(FAILS, FAILS, *GOOD * 8, FAILS, FAILS, *GOOD * 8, FAILS),
        pauses=[0.25, 0.5, 0.25, 0.5, 0.25],
    ),
    "without a window it restarts for ever": Rule(
        arguments={"max_restarts": 0, "within": None, "backoff": 0.25, "max_backoff": 0.5},
        ticks=(FAILS,) * 12,
        pauses=[0.25, *[0.5] * 11],
    ),
    "jitter spreads it to both sides": Rule(
        arguments={
            "max_restarts": 9,
            "within": 60.0,
            "backoff": 1.0,
            "max_backoff": 1.0,
            "jitter": 0.5,
        },
        ticks=(FAILS,) * 4,
        pauses=[0.5 + random.Random(7).random()],
        seed=7,
    ),
}


@pytest.mark.parametrize("kind", ["def", "async"])
@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_the_intensity_of_restarts(rule: Rule, kind: Kind) -> None:
    arguments = {"jitter": 0.0, **rule.arguments}
    script = Script(ticks=rule.ticks, stop=20 + 1 / 1024)
    observed = play(Restart(**arguments), script, kind=kind, seed=rule.seed)
    restated = Restarts(
        most=arguments["max_restarts"],
        within=arguments["within"],
        backoff=arguments["backoff"],
        longest=arguments["max_backoff"],
        jitter=arguments["jitter"],
    )
    dice = random.Random(rule.seed).random
    assert observed == course_of(restated, script, kind=kind, dice=dice)
    ends = [instant + BRIEF for instant in observed.instants("shutdown")]
    begins = observed.instants("init")[1:]
    pauses = [begin - end for end, begin in zip(ends, begins, strict=False)]
    if arguments["jitter"]:
        assert pauses[0] == pytest.approx(rule.pauses[0])
        assert all(0.5 <= pause <= 1.5 for pause in pauses)
        assert min(pauses) < 1.0 < max(pauses)
    else:
        assert pauses == rule.pauses
    assert observed.state == rule.state


# Any history


@pytest.mark.slow
@given(policy=policies, script=scripts, kind=kinds, critical=st.booleans(), seed=st.integers(0, 99))
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_history_is_that_of_the_model(
    policy: tuple[FailurePolicy, Policy], script: Script, kind: Kind, critical: bool, seed: int
) -> None:
    policy_under_test, restated = policy
    dice = random.Random(seed).random
    try:
        expected = course_of(restated, script, kind=kind, critical=critical, dice=dice)
    except Unmodelled:
        reject()
    observed = play(policy_under_test, script, kind=kind, critical=critical, seed=seed)
    assert observed == expected
