"""`Rate` of the HORUS facade."""

from __future__ import annotations

import math
import time
from typing import Any

import pytest

from horus_trio import AsyncCallInThread
from horus_trio.bridges.horus import rate as module
from horus_trio.bridges.horus.rate import Rate


class Time:
    """The module's clock: sleeping takes as long as it should, and as much longer as is wanted."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.late = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0.0
        self.now += seconds + self.late

    @property
    def passed(self) -> float:
        return round(self.now - 1000.0, 9)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Time:
    clock = Time()
    monkeypatch.setattr(module, "time", clock)
    return clock


def slept(rate: Rate, clock: Time, times: int) -> list[float]:
    """When each of the next sleeps ended."""
    ends = []
    for _ in range(times):
        rate.sleep()
        ends.append(clock.passed)
    return ends


def test_it_keeps_a_grid(clock: Time) -> None:
    rate = Rate(4)
    assert slept(rate, clock, 3) == [0.25, 0.5, 0.75]
    clock.now += 0.2
    assert slept(rate, clock, 2) == [1.0, 1.25]


def test_it_does_not_drift(clock: Time) -> None:
    rate = Rate(10)
    clock.late = 0.003  # each sleep is as late; the next is shorter by it
    slept(rate, clock, 999)
    rate.sleep()
    assert clock.passed == 100.003


def test_who_is_late_by_less_than_a_period_catches_up(clock: Time) -> None:
    rate = Rate(10)
    clock.now += 0.15
    assert rate.is_late()
    assert slept(rate, clock, 3) == [0.15, 0.2, 0.3]
    assert not rate.is_late()


def test_who_is_later_begins_a_new_grid(clock: Time) -> None:
    rate = Rate(10)
    clock.now += 5.05
    assert rate.is_late()
    assert slept(rate, clock, 3) == [5.05, 5.15, 5.25]


def test_it_begins_anew_when_it_is_told(clock: Time) -> None:
    rate = Rate(10)
    clock.now += 0.35
    rate.reset()
    assert not rate.is_late()
    assert slept(rate, clock, 2) == [0.45, 0.55]


def test_it_measures_the_rate(clock: Time) -> None:
    rate = Rate(10)
    assert rate.actual_hz() == 10.0
    rate.sleep()
    assert rate.actual_hz() == 10.0  # there has been no period yet
    clock.now += 0.4
    rate.sleep()
    assert rate.actual_hz() == pytest.approx(2.5)
    slept(rate, clock, 100)
    assert rate.actual_hz() == pytest.approx(10.0)  # that is long ago
    rate.reset()
    assert rate.actual_hz() == 10.0


def test_what_it_tells_about_itself() -> None:
    rate = Rate(30)
    assert (rate.target_hz(), rate.period()) == (30.0, 1 / 30)
    assert repr(rate) == str(rate) == "Rate(target=30.0Hz, actual=30.0Hz)"


@pytest.mark.parametrize("hz", [0, -1, math.nan, math.inf])
def test_a_rate_makes_sense(hz: float) -> None:
    with pytest.raises(ValueError, match="must be positive and finite"):
        Rate(hz)


@pytest.mark.parametrize("hz", ["10", None])
def test_a_rate_is_a_number(hz: Any) -> None:
    with pytest.raises(TypeError, match="must be real number"):
        Rate(hz)


def test_it_sleeps_in_real_time() -> None:
    rate, begin = Rate(100), time.monotonic()
    for _ in range(10):
        rate.sleep()
    assert 0.095 < time.monotonic() - begin < 5.0
    assert 1.0 < rate.actual_hz() < 150.0


async def test_it_does_not_block_the_loop() -> None:
    with pytest.raises(AsyncCallInThread, match="await trio"):
        Rate(10).sleep()
