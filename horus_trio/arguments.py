"""What arguments are: numbers, whole numbers, and those above 0.

``True`` is none of them, though Python counts it among the whole numbers. Whoever asks says in its
own words what was expected, and what to do.
"""

from __future__ import annotations

import math
import sys
from typing import TypeGuard

__all__ = ["is_number", "is_positive", "is_whole"]

LARGEST = sys.float_info.max
"""A whole number above it cannot be made a float."""


def is_number(value: object) -> TypeGuard[float]:
    """Whether it is a number, which may be infinite or none (NaN)."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def is_whole(value: object, least: float = -math.inf, most: float = math.inf) -> TypeGuard[int]:
    """Whether it is a whole number within these bounds."""
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def is_positive(value: object, *, or_zero: bool = False) -> TypeGuard[float]:
    """Whether it is a finite number above 0, or 0 if that is allowed: a time, a rate, an amount."""
    return is_number(value) and (0 < value <= LARGEST or (or_zero and value == 0))
