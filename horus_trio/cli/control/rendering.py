"""Messages as JSON-able values of bounded size, whatever they are.

A message may be an image, a list of a million numbers, or refer to itself. Looking at it must cost
the robot little, so it is walked with a budget; what is beyond it is named by its number.
"""

from __future__ import annotations

import dataclasses
import enum
import math
from collections.abc import Collection, Iterable
from typing import Any

__all__ = ["rendered"]

ITEMS = 1000
"""Values shown of one message."""

DEPTH = 20
"""Levels shown of one message."""

TEXT = 2000
"""Characters shown of one string, and of the `repr` of what is no JSON."""

ROOM = 20_000
"""Characters shown of one message's strings together."""


def rendered(message: object) -> Any:
    """The message as JSON-able values.

    Numbers, strings, lists, tuples, mappings, dataclasses and enumerations are shown as what they
    are, everything else as its `repr`.
    """
    try:
        return _Walk().value(message, DEPTH)
    except RuntimeError:  # its publisher changes it meanwhile
        return f"<{type(message).__name__}, which is being changed>"
    except Exception as error:  # noqa: BLE001 - a user's class may raise anything
        return f"<{type(message).__name__}, which raises {type(error).__name__} when looked at>"


class _Walk:
    def __init__(self) -> None:
        self._left = ITEMS
        self._room = ROOM

    def value(self, value: Any, depth: int) -> Any:
        self._left -= 1
        match value:
            case None | bool():
                return value
            case enum.Enum():
                return value.name
            case int():
                bits = value.bit_length()
                return int(value) if bits <= 64 else f"<int of {bits} bits>"
            case float():
                return float(value) if math.isfinite(value) else repr(float(value))
            case str():
                return self._cut(value)
            case bytes() | bytearray():
                shown = repr(bytes(value[: TEXT // 4]))
                more = len(value) - TEXT // 4
                return self._cut(shown if more <= 0 else f"{shown}… {more} more bytes")
            case _:
                pass
        if depth == 0:
            return "…"
        if isinstance(value, tuple) and (names := getattr(value, "_fields", None)):
            return self._pairs(zip(names, value, strict=False), len(value), depth)
        if isinstance(value, (list, tuple, set, frozenset)):
            return self._items(value, depth)
        if isinstance(value, dict):
            return self._pairs(value.items(), len(value), depth)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = dataclasses.fields(value)
            pairs = ((field.name, getattr(value, field.name, None)) for field in fields)
            return self._pairs(pairs, len(fields), depth)
        return self._shown(value)

    def _items(self, values: Collection[Any], depth: int) -> list[Any]:
        shown: list[Any] = []
        for item in values:
            if self._left <= 0:
                shown.append(f"… {len(values) - len(shown)} more")
                break
            shown.append(self.value(item, depth - 1))
        return shown

    def _pairs(self, pairs: Iterable[tuple[Any, Any]], number: int, depth: int) -> dict[str, Any]:
        shown: dict[str, Any] = {}
        for taken, (key, item) in enumerate(pairs):
            if self._left <= 0:
                shown["…"] = f"{number - taken} more"
                break
            name = self._cut(key) if isinstance(key, str) else self._shown(key)
            shown[name] = self.value(item, depth - 1)
        return shown

    def _shown(self, value: object) -> str:
        try:
            text = repr(value)
        except Exception as error:  # noqa: BLE001 - it is a user's, and may raise anything
            text = f"<{type(value).__name__}, whose repr raises {type(error).__name__}>"
        return self._cut(text)

    def _cut(self, text: str) -> str:
        room = max(0, min(TEXT, self._room))
        self._room -= len(text)
        return str(text) if len(text) <= room else f"{text[:room]}… {len(text) - room} more"
