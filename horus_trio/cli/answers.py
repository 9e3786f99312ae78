"""Parts of what a robot answers, as commands show them: checked, since anything may have answered.

A robot of another version answers otherwise, and what listens at a socket may be no robot at all.
What is not as expected ends the command with a sentence.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from ..arguments import is_number
from ..printable import one_line
from .errors import FAILED, CommandFailed

__all__ = ["count", "names", "number", "part", "text"]

T = TypeVar("T")

LARGEST = 1 << 63
"""Counts and numbers from here on are none."""


def part(values: object, key: str, kind: type[T]) -> T:
    """What is called so in an answer.

    Raises:
        CommandFailed: There is nothing, or something of another kind.
    """
    value = values.get(key) if isinstance(values, Mapping) else None
    if not isinstance(value, kind):
        raise _strange(key, value)
    return value


def text(values: object, key: str) -> str:
    """A text in one line."""
    return one_line(part(values, key, str))


def number(values: object, key: str) -> float:
    """A number that can be shown."""
    value: Any = part(values, key, object)
    if not is_number(value) or not -LARGEST < value < LARGEST or not math.isfinite(value):
        raise _strange(key, value)
    return value


def count(values: object, key: str) -> int:
    """A whole number."""
    value = number(values, key)
    if not isinstance(value, int):
        raise _strange(key, value)
    return value


def names(values: object, key: str) -> Sequence[str]:
    """Several names."""
    found = part(values, key, list)
    if not all(isinstance(name, str) for name in found):
        raise _strange(key, found)
    return [one_line(name) for name in found]


def _strange(key: str, value: object) -> CommandFailed:
    return CommandFailed(
        f"what answers says {key}={value!r:.80}, which no robot of this version does; use the "
        "horus-trio the robot was started with",
        FAILED,
    )
