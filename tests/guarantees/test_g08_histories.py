"""G8 supervision: whatever befalls a node, with whatever policy, its story is that of the model.

Hypothesis writes scripts: how long each hook takes, which ones fail or hang, when the stop comes.
The instants at which ``init``, ticks and ``shutdown`` began are compared with ``==``.
"""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Iterator

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

inits = st.sampled_from(
    [Act(BRIEF), Act(BRIEF), Act(1 / 64, raises=True), Act(0.5), TOO_LONG, HANGS]
)
ticks = st.sampled_from(
    [
        Act(TICK),
        Act(TICK),
        Act(1 / 64 + 1 / 256, raises=True),
        Act(1 / 64 + 1 / 256, raises=True),
        Act(0.5 + 1 / 256),
        Act(0.75 + 1 / 256, raises=True),
        TOO_LONG,
        Act(1.25 + 1 / 256, raises=True),
        HANGS,
    ]
)
shutdowns = st.sampled_from(
    [Act(BRIEF), Act(BRIEF), Act(1 / 64, raises=True), Act(0.5), TOO_LONG, HANGS]
)
scripts = st.builds(
    Script,
    inits=st.lists(inits, max_size=5).map(tuple),
    ticks=st.lists(ticks, max_size=12).map(tuple),
    shutdowns=st.lists(shutdowns, max_size=4).map(tuple),
    stop=seconds(16).map(lambda s: s + 1 / 1024),
    cancels=st.booleans(),
    task_fails=st.none() | seconds(4).map(lambda s: s + 1 / 2048),
)


@st.composite
def restarts(draw: st.DrawFn) -> tuple[FailurePolicy, Policy]:
    most = draw(st.integers(0, 3))
    within = draw(st.sampled_from([None, 0.5, 1.0, 2.0, 4.0, 60.0]))
    backoff = draw(seconds(1))
    longest = draw(seconds(3))
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
policies = st.one_of(restarts(), breakers(), others)
kinds: st.SearchStrategy[Kind] = st.sampled_from(["async", "def"])


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
