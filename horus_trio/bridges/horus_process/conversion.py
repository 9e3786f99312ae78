"""Messages between the engine and HORUS: generic data, and the classes HORUS has for messages.

Each field is carried as it is named. What HORUS would cut off or crash on is refused instead.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ...errors import ConfigurationError
from .topic import HorusTopic

__all__ = ["Conversion", "conversion"]


@dataclass(frozen=True, slots=True)
class Conversion:
    """How the messages of a topic are converted.

    Attributes:
        opens: HORUS's class of the messages, or None if they are generic.
        decode: What the engine gets for a message of HORUS's.
        encode: What HORUS gets for a message of the engine's. It raises `TypeError`, `ValueError`
            or `OverflowError` if HORUS has no such message.
    """

    opens: type[Any] | None
    decode: Callable[[Any], Any]
    encode: Callable[[Any], Any]


def conversion(horus: Any, topic: HorusTopic) -> Conversion:
    """How the messages of `topic` are converted.

    Raises:
        ConfigurationError: HORUS has no such class of messages.
    """
    cls = topic.type
    if cls is None:
        return Conversion(None, _same, _generic)
    native = getattr(horus, cls.__name__, None)
    if not isinstance(native, type):
        raise ConfigurationError(
            f"HorusTopic({topic.name!r}): type is {cls!r}, and HORUS has no messages of that name"
        )
    if native is cls:
        return Conversion(native, _same, _Native(native))
    if not dataclasses.is_dataclass(cls):
        raise ConfigurationError(
            f"HorusTopic({topic.name!r}): type is {cls!r}, expected HORUS's own class of that "
            "name, or a dataclass with its fields"
        )
    fields = tuple(field.name for field in dataclasses.fields(cls))
    for name in fields:
        if not hasattr(native, name):
            raise ConfigurationError(
                f"HorusTopic({topic.name!r}): {cls.__name__} has a field {name!r}, which HORUS's "
                "has not"
            )
    return Conversion(native, _Reader(cls, fields), _Writer(cls, fields, native))


def _same(message: Any) -> Any:
    return message


def _generic(data: Any) -> Any:
    """Generic data, or a dataclass as a dict, as HORUS's nodes send messages to generic topics."""
    if data is None:
        raise ValueError("None, which HORUS cannot tell from no message")
    if dataclasses.is_dataclass(data) and not isinstance(data, type):
        data = dataclasses.asdict(data)
    try:
        json.dumps(data, default=_listed)  # HORUS overflows the stack on what contains itself
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return data


def _listed(data: Any) -> list[Any]:
    if isinstance(data, (set, frozenset)):
        return list(data)
    raise TypeError(f"{type(data).__qualname__} is no data for a generic topic of HORUS's")


class _Native:
    """Passes messages of HORUS's own class on, and makes them of dicts."""

    def __init__(self, native: type[Any]) -> None:
        self._native = native

    def __call__(self, data: Any) -> Any:
        if isinstance(data, Mapping):
            return self._native(**data)
        if not isinstance(data, self._native):
            raise TypeError(f"expected a {self._native.__name__}, got {data!r:.80}")
        return data


class _Reader:
    """Makes a dataclass of a message of HORUS's."""

    def __init__(self, cls: type[Any], fields: tuple[str, ...]) -> None:
        self._cls = cls
        parameters = inspect.signature(cls).parameters
        self._given = tuple(name for name in fields if name in parameters)
        self._set = tuple(name for name in fields if name not in parameters)

    def __call__(self, message: Any) -> Any:
        made = self._cls(**{name: getattr(message, name) for name in self._given})
        for name in self._set:
            setattr(made, name, getattr(message, name))
        return made


class _Writer:
    """Makes a message of HORUS's of a dataclass, or of a dict of its fields."""

    def __init__(self, cls: type[Any], fields: tuple[str, ...], native: type[Any]) -> None:
        self._cls = cls
        self._native = native
        parameters = inspect.signature(native).parameters
        self._given = tuple(name for name in fields if name in parameters)
        self._set = tuple(name for name in fields if name not in parameters)

    def __call__(self, data: Any) -> Any:
        if isinstance(data, Mapping):
            data = self._cls(**data)
        elif isinstance(data, self._native):
            return data
        elif not isinstance(data, self._cls):
            raise TypeError(f"expected a {self._cls.__name__}, got {data!r:.80}")
        given = {name: getattr(data, name) for name in self._given}
        made = self._native(**given)
        for name in self._set:
            setattr(made, name, getattr(data, name))
        for name, value in given.items():
            if isinstance(value, list):
                self._check_room(name, value, getattr(made, name))
        return made

    def _check_room(self, name: str, value: list[Any], kept: list[Any]) -> None:
        """HORUS's messages have a fixed size, and it cuts off what has no room."""
        if len(kept) < len(value):
            raise ValueError(
                f"{self._cls.__name__}.{name} has room for {len(kept)} here, got {len(value)}"
            )
        if not value or not isinstance(value[0], str):
            return
        for before, after in zip(value, kept, strict=False):
            if before != after:
                raise ValueError(f"{self._cls.__name__}.{name}: HORUS would cut {before!r:.80} off")
