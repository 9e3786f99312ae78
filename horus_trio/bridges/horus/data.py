"""The plain data an untyped topic carries: what JSON can say, as a copy of what was sent.

Lists, tuples, sets and other sequences arrive as lists, mappings with keys of text and dataclasses
as dicts. So a program may go on changing what it has sent, and what it has received is its own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, TypeAlias

from ...errors import MessageTypeError
from . import messages

__all__ = ["Data", "copied", "plain"]

Data: TypeAlias = bool | int | float | str | list["Data"] | dict[str, "Data"] | None

_SCALARS = frozenset({type(None), bool, int, float, str})
_KEYS = frozenset({str})

LEVELS = 100
"""How deep lists and dicts may be in one another."""


def plain(value: Any) -> Any:
    """A copy of `value` as plain data.

    Raises:
        MessageTypeError: Something in it is not plain data, or it is nested too deep.
    """
    try:
        return _plain(value, LEVELS)
    except RecursionError:
        raise _refusal(
            f"something that contains itself, or is nested more than {LEVELS} deep"
        ) from None  # it would show every level


def _plain(value: Any, levels: int) -> Any:
    cls = type(value)
    if cls in _SCALARS:
        return value
    if not levels:
        raise RecursionError
    if cls is dict:
        # As a whole, in C: almost every message is flat.
        if _KEYS.issuperset(map(type, value)):
            if _SCALARS.issuperset(map(type, value.values())):
                return value.copy()
            return {key: _plain(inner, levels - 1) for key, inner in value.items()}
    elif cls is list:
        if _SCALARS.issuperset(map(type, value)):
            return value.copy()
        return [_plain(inner, levels - 1) for inner in value]
    return _converted(value, levels - 1)


def copied(data: Any) -> Any:
    """A copy of plain data, or of a message; anything else, from a native node, is itself."""
    cls = type(data)
    if cls is dict:
        if _SCALARS.issuperset(map(type, data.values())):
            return data.copy()
        return {key: copied(inner) for key, inner in data.items()}
    if cls is list:
        if _SCALARS.issuperset(map(type, data)):
            return data.copy()
        return [copied(inner) for inner in data]
    return messages.copied(data) if isinstance(data, messages.Message) else data


def _converted(value: Any, levels: int) -> Any:
    """What is not made of the five plain types and lists and dicts of them."""
    if isinstance(value, str):
        return str.__str__(value)  # of a subclass, which may show itself otherwise
    for number in (bool, int, float):
        if isinstance(value, number):
            return number(value)
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise _refusal(f"a key of type {type(key).__name__}; keys are str")
        return {str(key): _plain(inner, levels) for key, inner in value.items()}
    if isinstance(value, bytes | bytearray):
        raise _refusal(f"{type(value).__name__}; send list(data), or data.hex()")
    if isinstance(value, Sequence | AbstractSet | memoryview):
        return [_plain(inner, levels) for inner in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name), levels) for f in dataclasses.fields(value)}
    raise _refusal(f"{type(value).__name__}; send a dict of what it holds")


def _refusal(found: str) -> MessageTypeError:
    return MessageTypeError(
        "Failed to convert Python object: expected what JSON can say (None, bool, int, float, str, "
        f"and lists and dicts of them), got {found}"
    )
