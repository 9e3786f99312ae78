"""`LossCounter`: what numbers tell of losses, against a model that knows what was sent."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from horus_trio.drivers import LossCounter
from horus_trio.errors import ConfigurationError

WINDOW = 8


@st.composite
def arrivals(draw: st.DrawFn) -> tuple[int, list[int]]:
    """A modulus, and numbers as they arrive: some lost, some late, some doubled."""
    modulus = draw(st.sampled_from([32, 100, 256, 2**16, 2**32]))
    start = draw(st.integers(0, 2**33))
    kept: list[int] = []
    number = start
    for gap in draw(st.lists(st.integers(0, 6), min_size=1, max_size=60)):
        number += 1 + gap
        kept.append(number)
    # A message is late by less than the window: it moves by as many places at most.
    late = draw(st.lists(st.integers(0, WINDOW - 1), min_size=len(kept), max_size=len(kept)))
    order = sorted(range(len(kept)), key=lambda i: (kept[i] + late[i], i))
    came = [kept[i] for i in order]
    doubled = draw(st.sets(st.integers(0, len(came) - 1), max_size=5))
    twice: list[int] = []
    for place, one in enumerate(came):
        twice += [one, one] if place in doubled else [one]
    return modulus, twice


@given(arrivals())
def test_it_counts_what_is_missing(case: tuple[int, list[int]]) -> None:
    modulus, came = case
    counter = LossCounter(modulus, window=WINDOW)
    for number in came:
        counter.count(number % modulus)
    distinct = set(came)
    assert counter.lost == max(distinct) - min(distinct) + 1 - len(distinct)
    assert counter.duplicates == len(came) - len(distinct)
    assert counter.restarts == 0
    highest, late = -1, 0
    for number in dict.fromkeys(came):
        late += number < highest
        highest = max(highest, number)
    assert counter.late == late


@given(st.integers(8, 2**40), st.lists(st.integers(0, 2**41), max_size=200))
def test_it_bears_any_numbers(modulus: int, numbers: list[int]) -> None:
    counter = LossCounter(modulus)
    for number in numbers:
        counter.count(number)
        assert len(counter._missing) <= 2 * counter.window + 1
        assert counter.lost >= 0
    counts = counter.late + counter.duplicates + counter.restarts
    assert counts <= len(numbers)


def test_a_sender_that_begins_anew_has_lost_nothing() -> None:
    counter = LossCounter(2**16)
    for number in [*range(1000), *range(1000)]:
        counter.count(number)
    assert (counter.lost, counter.restarts) == (0, 1)
    assert "0 lost" in repr(counter)


def test_what_is_late_at_the_very_beginning_counts_as_late() -> None:
    counter = LossCounter(256)
    for number in [5, 2, 4, 6]:
        counter.count(number)
    assert (counter.lost, counter.late, counter.duplicates) == (1, 2, 0)


def test_numbers_begin_again_after_the_modulus() -> None:
    counter = LossCounter(256)
    for number in [253, 254, 255, 0, 1, 4]:
        counter.count(number)
    assert counter.lost == 2


def test_a_new_connection_begins_anywhere() -> None:
    counter = LossCounter(256)
    counter.count(3)
    counter.begin()
    counter.count(200)
    assert (counter.lost, counter.restarts) == (0, 0)


@pytest.mark.parametrize("modulus", [7, 0, 2.5, True, "256"])
def test_a_modulus_that_makes_no_sense_is_refused(modulus: int) -> None:
    with pytest.raises(ConfigurationError, match="expected a whole number, 8 or more"):
        LossCounter(modulus)


@pytest.mark.parametrize("window", [0, -1, 1.5, True])
def test_a_window_that_makes_no_sense_is_refused(window: int) -> None:
    with pytest.raises(ConfigurationError, match="expected a whole number, 1 or more"):
        LossCounter(256, window=window)
