"""What the fields of messages hold: Python's numbers as wide as HORUS's, lists and texts.

A kind is an annotation: a type checker sees ``float``, `message` finds the function that turns what
is assigned into what is kept. Floats of 32 bits are rounded, whole numbers must fit, lists are
kept as something that cannot be changed and handed out as fresh lists.
"""

from __future__ import annotations

import array
import ctypes
import operator
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

__all__ = [
    "F32",
    "F64",
    "I64",
    "U8",
    "U16",
    "U32",
    "U64",
    "Flag",
    "Floats",
    "Kind",
    "Names",
    "Text",
]


@dataclass(frozen=True, slots=True)
class Kind:
    """How a field is kept.

    Attributes:
        keep: Turns an assigned value into the kept one; raises `TypeError`, `ValueError` or
            `OverflowError`.
        hand_out: Turns the kept value into what a reader gets; None: it is that itself.
    """

    keep: Callable[[Any], Any]
    hand_out: Callable[[Any], Any] | None = None


def f64(value: Any) -> float:
    """A number as a float."""
    return value if type(value) is float else ctypes.c_double(value).value


def f32(value: Any) -> float:
    """The nearest number of 32 bits; infinite if it is too large."""
    return ctypes.c_float(value).value


def _whole(size: int, signed: bool = False) -> Callable[[Any], int]:
    high = 1 << (8 * size - signed)
    low = -high if signed else 0

    def keep(value: Any) -> int:
        number = operator.index(value)
        if not low <= number < high:
            number.to_bytes(size, "little", signed=signed)  # says what is wrong
        return int(number)

    return keep


u64: Callable[[Any], int] = _whole(8)


def flag(value: Any) -> bool:
    """`value` if it is a bool."""
    if not isinstance(value, bool):
        raise TypeError(f"{type(value).__name__!r} object is not an instance of 'bool'")
    return value


def text(value: Any) -> str:
    """`value` if it is a str."""
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__!r} object is not an instance of 'str'")
    return str(value)


def sequence(value: Any) -> Sequence[Any]:
    """`value` if it is a sequence, and not of characters."""
    if isinstance(value, str):
        raise TypeError("expected a sequence of values, got a str")
    if not isinstance(value, Sequence | array.array):
        raise TypeError(f"{type(value).__name__!r} object is not an instance of 'Sequence'")
    return value if isinstance(value, list | tuple) else list(value)


def _names(value: Any) -> tuple[str, ...]:
    return tuple(map(text, sequence(value)))


def f64s(values: Iterable[Any]) -> array.array[float]:
    """Floats, one after the other in memory."""
    return array.array("d", values)


def f32s(values: Iterable[Any]) -> array.array[float]:
    """Floats of 32 bits, one after the other in memory."""
    return array.array("f", values)


def floats_of(name: str, length: int) -> Kind:
    """A list of exactly `length` floats; `name` is for the error."""

    def keep(value: Any) -> array.array[float]:
        values = sequence(value)
        if len(values) != length:
            raise ValueError(f"{name} must have exactly {length} elements, got {len(values)}")
        return f64s(values)

    return Kind(keep, array.array.tolist)


F32: TypeAlias = Annotated[float, Kind(f32)]
F64: TypeAlias = Annotated[float, Kind(f64)]
U8: TypeAlias = Annotated[int, Kind(_whole(1))]
U16: TypeAlias = Annotated[int, Kind(_whole(2))]
U32: TypeAlias = Annotated[int, Kind(_whole(4))]
U64: TypeAlias = Annotated[int, Kind(u64)]
I64: TypeAlias = Annotated[int, Kind(_whole(8, signed=True))]
Flag: TypeAlias = Annotated[bool, Kind(flag)]
Text: TypeAlias = Annotated[str, Kind(text)]
Names: TypeAlias = Annotated[list[str], Kind(_names, list)]
Floats: TypeAlias = Annotated[
    list[float], Kind(lambda values: f64s(sequence(values)), array.array.tolist)
]
