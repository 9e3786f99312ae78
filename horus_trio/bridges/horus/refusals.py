"""`Refused`: a call that makes no sense here or now; and what is no number."""

from __future__ import annotations

import numbers

from ...errors import HorusError

__all__ = ["Refused", "is_number"]


class Refused(HorusError, RuntimeError):
    """A call that makes no sense here or now; HORUS raises `RuntimeError`, too."""


def is_number(value: object) -> bool:
    """Whether it is a real number, of Python or of an array library."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)
