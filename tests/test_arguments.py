"""What counts as a number among the arguments that users give."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

import pytest

from horus_trio.arguments import is_number, is_positive, is_whole

NO_NUMBERS = [True, False, None, "1", b"1", 1j, [1], Decimal(1), Fraction(1, 2)]


@pytest.mark.parametrize("value", NO_NUMBERS, ids=repr)
def test_what_is_no_number_is_none_of_them(value: object) -> None:
    assert not is_number(value)
    assert not is_whole(value)
    assert not is_positive(value)
    assert not is_positive(value, or_zero=True)


@pytest.mark.parametrize("value", [0, -1, 1.5, math.inf, -math.inf, math.nan, 10**400])
def test_a_number_may_be_anything_that_counts(value: float) -> None:
    assert is_number(value)


def test_a_whole_number_lies_within_its_bounds() -> None:
    assert [n for n in range(-2, 8) if is_whole(n, 1, 5)] == [1, 2, 3, 4, 5]
    assert is_whole(10**400, 1)
    assert is_whole(-(10**400))
    assert not is_whole(1.0)


@pytest.mark.parametrize("value", [1, 0.5, 5e-324, 1.7e308])
def test_what_is_above_zero_and_finite_is_positive(value: float) -> None:
    assert is_positive(value)
    assert is_positive(value, or_zero=True)


@pytest.mark.parametrize("value", [-1, -0.5, math.inf, -math.inf, math.nan, 10**400])
def test_what_is_infinite_or_below_zero_or_no_float_is_not_positive(value: float) -> None:
    assert not is_positive(value)
    assert not is_positive(value, or_zero=True)


@pytest.mark.parametrize("zero", [0, 0.0, -0.0])
def test_zero_is_positive_only_where_it_is_allowed(zero: float) -> None:
    assert not is_positive(zero)
    assert is_positive(zero, or_zero=True)
