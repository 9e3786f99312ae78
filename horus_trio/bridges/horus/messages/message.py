"""A message is a dataclass whose fields are as wide as HORUS's; the class body is its table.

`message` makes one of a class body whose annotations are `.kinds`: a constructor as users of HORUS
know it, checked assignments, `repr` by a pattern, and a fast copy: topics carry copies, so that a
program may go on changing what it has sent.
"""

from __future__ import annotations

import dataclasses
import math
import operator
import string
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast, dataclass_transform, get_type_hints

from .kinds import Kind

__all__ = ["MESSAGES", "Message", "copied", "expect", "message", "not_an_instance"]

T = TypeVar("T")
M = TypeVar("M", bound="Message")


class _Shown(string.Formatter):
    """Formats as Rust does."""

    def format_field(self, value: Any, format_spec: str) -> str:
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, float) and math.isnan(value):
            return "NaN"
        return format(value, format_spec)


_SHOWN = _Shown()


class Message:
    """What every message can do."""

    _keep: ClassVar[dict[str, Callable[[Any], Any]]] = {}
    _fixed: ClassVar[tuple[str, ...]] = ()
    _pattern: ClassVar[str] = ""

    if not TYPE_CHECKING:  # with it, a type checker would take any name

        def __setattr__(self, name: str, value: Any) -> None:
            keep = self._keep.get(name)
            if keep is None:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            if name in self._fixed and name in self.__dict__:
                raise AttributeError(
                    f"attribute {name!r} of {type(self).__name__!r} objects is not writable"
                )
            self.__dict__[name] = keep(value)

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a field of {type(self).__name__} cannot be deleted: {name!r}")

    def __repr__(self) -> str:
        return _SHOWN.format(self._pattern, m=self)


def copied(original: T) -> T:
    """A message with the same content."""
    copy: T = object.__new__(type(original))
    copy.__dict__.update(original.__dict__)  # what is kept is never changed
    return copy


def expect(expected: type[Message], value: object) -> None:
    """Raise `TypeError` if `value` is no such message."""
    if not isinstance(value, expected):
        raise TypeError(not_an_instance(value, expected))


def not_an_instance(value: object, expected: type[Message]) -> str:
    """What is wrong with `value`, in HORUS's words."""
    name = "'None'" if value is None else f"{type(value).__name__!r} object"
    return f"{name} is not an instance of {expected.__name__!r}"


MESSAGES: dict[str, type[Message]] = {}
"""The messages by name."""


@dataclass_transform(eq_default=False, field_specifiers=(dataclasses.field,))
def message(
    pattern: str,
    *,
    topic: str | None = None,
    same: tuple[str, ...] = (),
    fixed: tuple[str, ...] = (),
) -> Callable[[type[M]], type[M]]:
    """Make a message of a class body.

    A field that is no argument has a ``default_factory``: a plain default would not be kept.

    Arguments:
        pattern: Its `repr`, with ``{m.x:.3f}`` for a field.
        topic: Name of the topic that is meant by the class.
        fixed: Fields that cannot be changed.
        same: Fields that are compared by ``==``; none: messages are equal only to themselves.
    """

    def make(body: type[M]) -> type[M]:
        hints = get_type_hints(body, include_extras=True)
        init = "__init__" not in body.__dict__
        cls = dataclasses.dataclass(eq=False, repr=False, init=init)(body)
        cls._keep = {}
        for name, hint in hints.items():
            for kind in getattr(hint, "__metadata__", ()):
                if isinstance(kind, Kind):
                    cls._keep[name] = kind.keep
                    if kind.hand_out is not None:
                        setattr(cls, name, _handed_out(name, kind.hand_out))
        # Whoever looks at the class or its constructor sees ``float``, not how it is kept.
        cls.__annotations__ = {name: hints[name].__origin__ for name in cls._keep}
        if init:
            shown = vars(cls)["__init__"].__annotations__
            shown.update({n: t for n, t in cls.__annotations__.items() if n in shown})
        cls._fixed = fixed
        cls._pattern = f"{cls.__name__}({pattern})"
        if topic is not None:
            cls.__topic_name__ = topic  # type: ignore[attr-defined]
        if same:
            _compare(cls, same)
        MESSAGES[cls.__name__] = cls
        return cls

    return make


def _compare(cls: type[Message], fields: tuple[str, ...]) -> None:
    def equal(self: Message, other: object) -> bool:
        if type(other) is not cls:
            return cast(bool, NotImplemented)
        return all(map(operator.eq, key(self), key(other)))  # not tuples: NaN is not equal to NaN

    key = operator.attrgetter(*fields)
    cls.__eq__ = equal  # type: ignore[method-assign, assignment]
    cls.__hash__ = None  # type: ignore[assignment]


def _handed_out(name: str, hand_out: Callable[[Any], Any]) -> property:
    """A field of which readers get something made for them."""
    return property(
        lambda message: hand_out(message.__dict__[name]),
        lambda message, value: Message.__setattr__(message, name, value),
    )
