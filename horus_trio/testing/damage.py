"""Damaged values: what a transmission error or a short read makes of a good one. Pure."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

from ..errors import ConfigurationError

__all__ = ["corrupted", "cut"]


def corrupted(value: Any, dice: random.Random) -> Any:
    """A copy of `value` with one bit, digit or element changed, of the same type.

    Raises:
        ConfigurationError: Nothing is known of its type.
    """
    match value:
        case bool():
            return not value
        case int():
            return value ^ (1 << dice.randrange(max(value.bit_length(), 8)))
        case float():
            return -value if value else 1.0
        case bytes() | bytearray() if value:
            damaged = bytearray(value)
            damaged[dice.randrange(len(damaged))] ^= 1 << dice.randrange(8)
            return type(value)(damaged)
        case str() if value:
            at = dice.randrange(len(value))
            return value[:at] + chr(ord(value[at]) ^ 1) + value[at + 1 :]
        case list() | tuple() if value:
            at = dice.randrange(len(value))
            items = [*value[:at], corrupted(value[at], dice), *value[at + 1 :]]
            if hasattr(value, "_fields"):  # a named tuple
                return type(value)(*items)
            return type(value)(items)
        case dict() if value:
            key = dice.choice(list(value))
            return {**value, key: corrupted(value[key], dice)}
        case _:
            pass
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value) if field.init]
        if names:
            name = dice.choice(names)
            return dataclasses.replace(value, **{name: corrupted(getattr(value, name), dice)})
    raise ConfigurationError(
        f"do not know how to corrupt {value!r:.80}; give corrupt(…, change=function)"
    )


def cut(value: Any, keep: float) -> Any:
    """The first part of `value`, the fraction `keep` of its length.

    Raises:
        ConfigurationError: It has no length to cut.
    """
    if isinstance(value, (bytes, bytearray, memoryview, str, list)) or type(value) is tuple:
        return value[: int(len(value) * keep)]
    if isinstance(value, dict):
        return dict(list(value.items())[: int(len(value) * keep)])
    raise ConfigurationError(
        f"cannot cut {value!r:.80} short: it is neither bytes, str, list, tuple nor dict; "
        "use corrupt(…, change=function)"
    )
