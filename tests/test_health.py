"""The bookkeeping: percentiles against exact ones, and a ledger that always balances."""

from __future__ import annotations

import math
import statistics
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from horus_trio import Distribution, Health, NodeState, NodeStatistics
from horus_trio.health import Histogram, InputStatistics, Ledger

durations = st.floats(1e-9, 1e5)


def histogram_of(seconds: list[float]) -> Histogram:
    histogram = Histogram()
    for value in seconds:
        histogram.record(value)
    return histogram


def exact(seconds: list[float], fraction: float) -> float:
    """The nearest-rank percentile."""
    return sorted(seconds)[math.ceil(fraction * len(seconds)) - 1]


# Histogram


def test_no_sample_gives_zeros() -> None:
    assert Histogram().summary() == Distribution(count=0, p50=0.0, p95=0.0, p99=0.0, max=0.0)


def test_one_sample_is_all_there_is() -> None:
    summary = histogram_of([0.001]).summary()
    assert summary.count == 1
    assert summary.max == 0.001
    assert summary.p50 == summary.p99 <= 0.001


@given(st.lists(durations, min_size=1, max_size=300))
def test_percentiles_are_exact_to_a_bucket(seconds: list[float]) -> None:
    summary = histogram_of(seconds).summary()
    assert summary.count == len(seconds)
    assert summary.max == max(seconds)
    for fraction, got in ((0.5, summary.p50), (0.95, summary.p95), (0.99, summary.p99)):
        # Eight buckets to a factor of two: the middle is at most 1/16 of the value away.
        assert got == pytest.approx(exact(seconds, fraction), rel=1 / 16 + 1e-12)


@given(st.lists(durations | st.just(0.0), min_size=1))
def test_percentiles_are_in_order_and_never_above_the_longest(seconds: list[float]) -> None:
    summary = histogram_of(seconds).summary()
    assert 0 <= summary.p50 <= summary.p95 <= summary.p99 <= summary.max == max(seconds)


def test_what_is_negative_counts_as_nothing() -> None:
    summary = histogram_of([-1.0, -0.0, 0.0]).summary()
    assert summary == Distribution(count=3, p50=0.0, p95=0.0, p99=0.0, max=0.0)


def test_zeros_come_before_the_smallest_duration() -> None:
    summary = histogram_of([0.0] * 60 + [1e-9] * 40).summary()
    assert summary.p50 == 0.0
    assert summary.p95 == pytest.approx(1e-9, rel=1 / 16)


def test_no_sample_is_kept() -> None:
    histogram = Histogram()
    for n in range(20_000):
        histogram.record(1e-4 + n * 1e-6)
    assert len(histogram._counts) < 100
    assert histogram.summary().count == 20_000


def test_a_summary_taken_while_recording_is_whole() -> None:
    histogram = Histogram()
    stop = threading.Event()

    def record() -> None:
        n = 0
        while not stop.is_set():
            n += 1
            histogram.record(1.0 + n % 1000)

    thread = threading.Thread(target=record)
    thread.start()
    try:
        counts = []
        for _ in range(300):
            summary = histogram.summary()
            assert summary.p50 <= summary.p95 <= summary.p99 <= 1001 * (1 + 1 / 16)
            counts.append(summary.count)
    finally:
        stop.set()
        thread.join()
    assert counts == sorted(counts)
    assert counts[-1] > 0


# Ledger


def snapshot(ledger: Ledger, state: NodeState = NodeState.RUNNING) -> NodeStatistics:
    return ledger.snapshot(name="n", state=state, rate=10.0, critical=True)


ENDINGS = ("succeed", "fail", "time_out", "abandon")


@given(st.lists(st.sampled_from([*ENDINGS, "cancel", "miss", "miss five", "release"])))
def test_the_ledger_balances_after_every_step(steps: list[str]) -> None:
    ledger = Ledger()
    expected = dict.fromkeys(("succeed", "fail", "time_out", "abandon", "cancel", "missed"), 0)
    in_flight = 0
    for n, step in enumerate(steps):
        if step == "miss":
            ledger.miss()
            expected["missed"] += 1
        elif step == "miss five":
            ledger.miss(5)
            expected["missed"] += 5
        elif not in_flight:
            ledger.release()
            in_flight = 1
        elif step in ENDINGS:
            getattr(ledger, step)(n, n + 0.25, n + 0.5)
            expected[step] += 1
            in_flight = 0
        elif step == "cancel":
            ledger.cancel()
            expected["cancel"] += 1
            in_flight = 0
        s = snapshot(ledger)
        ended = (s.ok, s.errors, s.timed_out, s.abandoned, s.cancelled, s.missed)
        assert ended == tuple(expected.values())
        assert s.in_flight == in_flight
        assert s.ticks_released == sum(ended) + in_flight
    ran = sum(expected[step] for step in ENDINGS)
    assert snapshot(ledger).duration.count == snapshot(ledger).lateness.count == ran


def test_a_ledger_is_consistent_in_any_thread() -> None:
    ledger = Ledger()
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            ledger.release()
            ledger.succeed(0.0, 0.0, 0.0)
            ledger.release()
            ledger.fail(0.0, 0.0, 0.0)
            ledger.miss(3)
            ledger.release()
            ledger.abandon(0.0, 0.0, 0.0)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        torn = 0
        last = 0
        for _ in range(20_000):
            released, *rest = ledger.counts()
            torn += released != sum(rest)
            last = released
    finally:
        stop.set()
        thread.join()
    assert torn == 0
    assert last > 0


def test_the_achieved_rate_is_measured_between_starts() -> None:
    ledger = Ledger()
    for n in range(11):
        ledger.release()
        ledger.succeed(n * 0.1, n * 0.1, n * 0.1 + 0.05)
    assert snapshot(ledger).achieved_rate == pytest.approx(10.0)


@pytest.mark.parametrize("starts", [[], [1.0], [1.0, 1.0]])
def test_without_a_span_there_is_no_rate(starts: list[float]) -> None:
    ledger = Ledger()
    for start in starts:
        ledger.release()
        ledger.succeed(start, start, start)
    assert snapshot(ledger).achieved_rate == 0.0


def test_distributions_of_a_ledger() -> None:
    ledger = Ledger()
    for n in range(100):
        ledger.release()
        ledger.succeed(n, n + 0.125, n + 0.125 + 0.5)
        ledger.waits.record(0.25)
    s = snapshot(ledger)
    assert s.lateness.max == 0.125
    assert s.duration.max == 0.5
    assert s.waiting_for_thread.max == 0.25
    assert statistics.mean([s.duration.count, s.lateness.count, s.waiting_for_thread.count]) == 100


def test_a_new_ledger_is_empty() -> None:
    nothing = Distribution(count=0, p50=0.0, p95=0.0, p99=0.0, max=0.0)
    assert snapshot(Ledger()) == NodeStatistics(
        name="n",
        state=NodeState.RUNNING,
        health=Health.HEALTHY,
        critical=True,
        rate=10.0,
        achieved_rate=0.0,
        ticks_released=0,
        ok=0,
        errors=0,
        timed_out=0,
        abandoned=0,
        cancelled=0,
        missed=0,
        in_flight=0,
        coalesced=0,
        deadline_missed=0,
        restarts=0,
        failures=0,
        observer_errors=0,
        duration=nothing,
        lateness=nothing,
        waiting_for_thread=nothing,
        inputs=(),
        last_error=None,
    )


def test_a_snapshot_has_each_counter_in_its_place() -> None:
    ledger = Ledger()
    laws = ("ok", "errors", "timed_out", "abandoned", "cancelled", "missed", "in_flight")
    others = ("coalesced", "deadline_missed", "restarts", "failures", "observer_errors")
    for number, name in enumerate(("released", *laws, *others), 1):
        setattr(ledger, name, number)
    ledger.last_error = "why"
    found = snapshot(ledger)
    seen = [getattr(found, name) for name in ("ticks_released", *laws, *others)]
    assert seen == list(range(1, 14))
    assert found.last_error == "why"


# The health model


@pytest.mark.parametrize(
    ("state", "failing", "health"),
    [
        (NodeState.RUNNING, False, Health.HEALTHY),
        (NodeState.RUNNING, True, Health.WARNING),
        (NodeState.PAUSED, False, Health.HEALTHY),
        (NodeState.BACKING_OFF, False, Health.WARNING),
        (NodeState.SUSPENDED, False, Health.WARNING),
        (NodeState.STUCK, False, Health.CRITICAL),
        (NodeState.FAILED, False, Health.CRITICAL),
        (NodeState.SAFE, False, Health.CRITICAL),
        (NodeState.STUCK, True, Health.CRITICAL),
        (NodeState.STOPPED, False, Health.HEALTHY),
    ],
)
def test_health_follows_from_state_and_streak(
    state: NodeState, failing: bool, health: Health
) -> None:
    ledger = Ledger()
    if failing:
        ledger.release()
        ledger.fail(0.0, 0.0, 0.0)
    assert snapshot(ledger, state).health is health


@pytest.mark.parametrize("end", ["fail", "time_out", "abandon"])
def test_a_success_ends_a_streak_of_failures(end: str) -> None:
    ledger = Ledger()
    for streak in (1, 2):
        ledger.release()
        getattr(ledger, end)(0.0, 0.0, 0.0)
        assert snapshot(ledger).health is Health.WARNING
        assert ledger.streak == streak
    ledger.release()
    ledger.cancel()  # neither well nor badly
    assert snapshot(ledger).health is Health.WARNING
    ledger.release()
    ledger.succeed(0.0, 0.0, 0.0)
    assert snapshot(ledger).health is Health.HEALTHY


@pytest.mark.parametrize(
    ("stale", "health"), [((False, True), Health.WARNING), ((False, False), Health.HEALTHY)]
)
def test_a_stale_input_is_a_warning(stale: tuple[bool, ...], health: Health) -> None:
    inputs = tuple(
        InputStatistics(topic=f"t{n}", max_age=1.0, is_stale=is_stale, stale=1, recovered=1)
        for n, is_stale in enumerate(stale)
    )
    found = Ledger().snapshot(
        name="n", state=NodeState.RUNNING, rate=None, critical=False, inputs=inputs
    )
    assert (found.health, found.inputs) == (health, inputs)


def test_the_worst_health_is_the_maximum() -> None:
    assert max(Health) is Health.CRITICAL
    assert min(Health) is Health.HEALTHY


def test_states_are_shown_as_they_are_written() -> None:
    assert repr(NodeState.WAITING_FOR_INPUT) == "NodeState.WAITING_FOR_INPUT"
    assert repr(Health.WARNING) == "Health.WARNING"
