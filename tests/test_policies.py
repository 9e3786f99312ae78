"""The failure policies are pure: tables for each rule, and a model that Hypothesis compares."""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from horus_trio import (
    CircuitBreaker,
    ConfigurationError,
    FailurePolicy,
    Fatal,
    Ignore,
    Miss,
    Restart,
    Skip,
)
from horus_trio.policies import (
    BREATHER,
    Continue,
    Decision,
    EndRun,
    FailureState,
    GiveUp,
    Rebuild,
    Suspend,
)

MIDDLE = 0.5
"""The roll that adds no jitter."""


def play(policy: FailurePolicy, *failures: float, roll: float = MIDDLE) -> list[Decision]:
    """What a policy decides about failures at these instants."""
    state = policy.start()
    decisions = []
    for now in failures:
        state, decision = policy.failed(state, now, roll)
        decisions.append(decision)
    return decisions


# One rule each


def test_fatal_ends_the_run_at_the_first_failure() -> None:
    assert play(Fatal(), 0.0) == [EndRun()]


def test_ignore_goes_on_for_ever() -> None:
    assert play(Ignore(), *range(1000)) == [Continue()] * 1000


def test_skip_is_the_circuit_breaker() -> None:
    assert Skip is CircuitBreaker


@pytest.mark.parametrize("policy", [Fatal(), Ignore(), CircuitBreaker(3), Restart()])
def test_policies_are_values(policy: FailurePolicy) -> None:
    same = eval(repr(policy), globals())  # noqa: S307 - its repr is how it is written
    assert policy == same
    assert hash(policy) == hash(same)
    with pytest.raises((FrozenInstanceError, TypeError, AttributeError)):
        policy.max_restarts = 1  # type: ignore[attr-defined]
    assert policy.start() == FailureState(failures=(), total=0, streak=0, open=False)


@pytest.mark.parametrize(
    ("policy", "text"),
    [
        (Fatal(), "failure 2"),
        (Ignore(), "failure 2"),
        (Restart(within=None), "failure 2"),
        (Restart(), "failure 2 of 5 in 60 s"),
        (Restart(1, within=0.5), "failure 2 of 1 in 0.5 s"),
        (CircuitBreaker(), "failure 2 of 5 in a row"),
    ],
)
def test_a_policy_says_where_its_count_stands(policy: FailurePolicy, text: str) -> None:
    state, _ = policy.failed(policy.start(), 0.0, MIDDLE)
    state, _ = policy.failed(state, 0.1, MIDDLE)
    assert policy.describe(state) == text


def test_miss_is_shown_as_it_is_written() -> None:
    assert [repr(miss) for miss in Miss] == [
        "Miss.SKIP",
        "Miss.WARN",
        "Miss.CATCH_UP",
        "Miss.SAFE_MODE",
        "Miss.STOP",
    ]


# Restart: intensity


@pytest.mark.parametrize("allowed", [0, 1, 2, 5])
def test_one_failure_more_than_allowed_exhausts_the_window(allowed: int) -> None:
    decisions = play(Restart(allowed, within=10.0), *range(allowed + 1))
    assert [type(d) for d in decisions] == [Rebuild] * allowed + [GiveUp]


def test_the_window_slides_and_its_far_end_is_open() -> None:
    policy = Restart(2, within=10.0)
    # At 10.0 the failure of 0.0 is exactly `within` old and no longer counts; that of 1.0 does.
    assert isinstance(play(policy, 0.0, 1.0, 10.0)[-1], Rebuild)
    assert isinstance(play(policy, 0.0, 1.0, 9.999)[-1], GiveUp)
    assert isinstance(play(policy, 0.0, 1.0, 10.0, 10.5)[-1], GiveUp)


def test_failures_slower_than_the_intensity_are_borne_for_ever() -> None:
    decisions = play(Restart(5, within=60.0), *(12.0 * n for n in range(1000)))
    assert all(isinstance(d, Rebuild) for d in decisions)


def test_without_a_window_nothing_is_counted_out() -> None:
    decisions = play(Restart(0, within=None), *(0.01 * n for n in range(1000)))
    assert all(isinstance(d, Rebuild) for d in decisions)


def test_the_state_keeps_no_more_failures_than_the_window_holds() -> None:
    policy = Restart(3, within=1.0)
    state = policy.start()
    for n in range(1000):
        state, _ = policy.failed(state, n * 0.5, MIDDLE)
        assert len(state.failures) <= 2
    assert state.total == 1000


# Restart: backoff


def delays(policy: Restart, *failures: float, roll: float = MIDDLE) -> list[float]:
    decisions = play(policy, *failures, roll=roll)
    return [d.delay for d in decisions if isinstance(d, Rebuild)]


def test_the_backoff_doubles_up_to_its_bound() -> None:
    policy = Restart(100, backoff=0.1, max_backoff=1.0)
    assert delays(policy, *range(6)) == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


def test_a_backoff_above_its_bound_is_the_bound() -> None:
    assert delays(Restart(backoff=5.0, max_backoff=2.0), 0.0) == [2.0]


def test_a_thousand_failures_in_a_row_do_not_overflow() -> None:
    policy = Restart(within=None, backoff=1e-300, max_backoff=3.0)
    waits = delays(policy, *(0.001 * n for n in range(2000)))
    assert len(waits) == 2000
    assert max(waits) <= 3.0


@pytest.mark.parametrize(
    ("within", "pause", "delay"),
    [(10.0, 9.999, 0.2), (10.0, 10.0, 0.1), (None, BREATHER - 0.001, 0.2), (None, BREATHER, 0.1)],
)
def test_stable_time_sets_the_backoff_back(
    within: float | None, pause: float, delay: float
) -> None:
    policy = Restart(within=within)
    assert delays(policy, 0.0, pause)[-1] == delay


def test_one_good_tick_does_not_set_the_backoff_back() -> None:
    policy = Restart()
    state, _ = policy.failed(policy.start(), 0.0, MIDDLE)
    state, decision = policy.failed(policy.succeeded(state, 0.5), 1.0, MIDDLE)
    assert decision == Rebuild(0.2)


def test_jitter_spreads_the_delay_to_both_sides() -> None:
    policy = Restart(backoff=1.0, jitter=0.2)
    assert delays(policy, 0.0, roll=0.0) == [pytest.approx(0.8)]
    assert delays(policy, 0.0, roll=MIDDLE) == [1.0]
    assert delays(policy, 0.0, roll=math.nextafter(1.0, 0.0)) == [pytest.approx(1.2)]


def test_without_jitter_chance_changes_nothing() -> None:
    policy = Restart(backoff=1.0, jitter=0.0)
    assert delays(policy, 0.0, roll=0.0) == delays(policy, 0.0, roll=0.99) == [1.0]


@given(
    jitter=st.floats(0, 1),
    roll=st.floats(0, 1, exclude_max=True),
    streak=st.integers(1, 200),
    backoff=st.just(0.0) | st.floats(1e-6, 100),
    bound=st.floats(0, 1000),
)
def test_the_delay_is_within_the_jitter_of_the_formula(
    jitter: float, roll: float, streak: int, backoff: float, bound: float
) -> None:
    policy = Restart(within=None, backoff=backoff, max_backoff=bound, jitter=jitter)
    state = FailureState(failures=(0.0,), total=streak - 1, streak=streak - 1)
    _, decision = policy.failed(state, 0.0, roll)
    assert isinstance(decision, Rebuild)
    middle = min(bound, backoff * 2.0 ** (streak - 1))
    slack = 1e-12 * middle
    assert middle * (1 - jitter) - slack <= decision.delay <= middle * (1 + jitter) + slack
    assert decision.delay >= 0


# CircuitBreaker


def test_the_breaker_opens_after_failures_in_a_row() -> None:
    assert play(CircuitBreaker(3, cooldown=7.0), 0, 1, 2) == [Continue(), Continue(), Suspend(7.0)]


def test_a_success_between_failures_keeps_the_breaker_closed() -> None:
    policy = CircuitBreaker(2)
    state = policy.start()
    for n in range(10):
        state, decision = policy.failed(state, n, MIDDLE)
        assert decision == Continue()
        state = policy.succeeded(state, n + 0.5)


def test_a_failed_probe_opens_the_breaker_again_at_once() -> None:
    policy = CircuitBreaker(3, cooldown=7.0)
    assert play(policy, *range(6))[2:] == [Suspend(7.0)] * 4


def test_a_good_probe_closes_the_breaker() -> None:
    policy = CircuitBreaker(2)
    state = policy.start()
    for n in range(2):
        state, _ = policy.failed(state, n, MIDDLE)
    assert state.open
    state = policy.succeeded(state, 40.0)
    assert not state.open
    state, decision = policy.failed(state, 41.0, MIDDLE)
    assert decision == Continue()


# All of it against models


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[str, float, float]]:
    """Events ``(failed | succeeded, instant, roll)`` in order of time."""
    events = draw(
        st.lists(
            st.tuples(
                st.sampled_from(["failed", "succeeded"]),
                st.sampled_from([0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 5.0, 64.0]),
                st.floats(0, 1, exclude_max=True),
            ),
            max_size=60,
        )
    )
    now, history = 0.0, []
    for kind, pause, roll in events:
        now += pause  # all multiples of 1/4, so sums are exact
        history.append((kind, now, roll))
    return history


@given(
    history=histories(),
    max_restarts=st.integers(0, 4),
    within=st.sampled_from([None, 0.5, 1.0, 5.0]),
)
def test_restart_follows_its_model(
    history: list[tuple[str, float, float]], max_restarts: int, within: float | None
) -> None:
    policy = Restart(max_restarts, within=within, backoff=0.5, max_backoff=3.0, jitter=0.5)
    state = policy.start()
    instants: list[float] = []
    in_a_row = 0
    for kind, now, roll in history:
        if kind == "succeeded":
            state = policy.succeeded(state, now)
            continue
        stable = BREATHER if within is None else within
        in_a_row = 1 if not instants or now - instants[-1] >= stable else in_a_row + 1
        instants.append(now)
        state, decision = policy.failed(state, now, roll)
        counting = [] if within is None else [t for t in instants if t > now - within]
        if len(counting) > max_restarts:
            assert decision == GiveUp()
        else:
            delay = min(3.0, 0.5 * 2 ** (in_a_row - 1))
            assert isinstance(decision, Rebuild)
            assert decision.delay == pytest.approx(delay * (0.5 + roll))
        assert state.total == len(instants)


@given(history=histories(), max_failures=st.integers(1, 4))
def test_the_breaker_follows_its_model(
    history: list[tuple[str, float, float]], max_failures: int
) -> None:
    policy = CircuitBreaker(max_failures, cooldown=9.0)
    state = policy.start()
    in_a_row = 0
    for kind, now, roll in history:
        if kind == "succeeded":
            if state.streak:
                state = policy.succeeded(state, now)
            in_a_row = 0
        else:
            in_a_row += 1
            state, decision = policy.failed(state, now, roll)
            assert decision == (Suspend(9.0) if in_a_row >= max_failures else Continue())
        assert state.open == (in_a_row >= max_failures)


# What makes no sense


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Restart(-1), r"max_restarts=-1\): expected 0 or more; .*within=None"),
        (lambda: Restart(1.5), r"max_restarts=1\.5\): expected a whole number"),  # type: ignore[arg-type]
        (lambda: Restart(True), r"max_restarts=True\): expected a whole number"),
        (lambda: Restart(math.inf), r"max_restarts=inf\).*use within=None"),  # type: ignore[arg-type]
        (lambda: Restart(within=0.0), r"within=0\.0\): expected .* above 0"),
        (lambda: Restart(within=math.nan), r"within=nan\): expected .* above 0"),
        (lambda: Restart(within=math.inf), r"within=inf\): expected a finite"),
        (lambda: Restart(backoff=-0.1), r"backoff=-0\.1\): expected .* 0 or more"),
        (lambda: Restart(backoff=math.nan), r"backoff=nan\): expected .* 0 or more"),
        (lambda: Restart(max_backoff=math.inf), r"max_backoff=inf\): expected a finite"),
        (lambda: Restart(jitter=1.1), r"jitter=1\.1\): expected a fraction from 0 to 1"),
        (lambda: Restart(jitter=-0.1), r"jitter=-0\.1\): expected a fraction"),
        (lambda: Restart(jitter=math.nan), r"jitter=nan\): expected a fraction"),
        (lambda: CircuitBreaker(0), r"max_failures=0\): expected 1 or more"),
        (lambda: CircuitBreaker(2.0), r"max_failures=2\.0\): expected a whole number"),  # type: ignore[arg-type]
        (lambda: CircuitBreaker(cooldown=0), r"cooldown=0\): expected .* above 0"),
        (lambda: CircuitBreaker(cooldown=math.inf), r"cooldown=inf\): expected a finite"),
        (lambda: Rebuild(-0.1), r"Rebuild\(delay=-0\.1\): expected .* 0 or more"),
        (lambda: Rebuild(math.nan), r"Rebuild\(delay=nan\): expected .* 0 or more"),
        (lambda: Suspend(math.inf), r"Suspend\(delay=inf\): expected a finite"),
        (lambda: Suspend(True), r"Suspend\(delay=True\): expected a finite"),
    ],
)
def test_nonsense_is_refused_by_name_and_value(make: object, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        make()  # type: ignore[operator]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Restart(within="60"),  # type: ignore[arg-type]
        lambda: Restart(backoff=None),  # type: ignore[arg-type]
        lambda: Restart(jitter="a little"),  # type: ignore[arg-type]
        lambda: CircuitBreaker(cooldown="long"),  # type: ignore[arg-type]
    ],
)
def test_what_is_no_number_is_refused_as_configuration(make: object) -> None:
    with pytest.raises(ConfigurationError, match="expected"):
        make()  # type: ignore[operator]
