"""A sensor that tells its values as JSON."""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, TypedDict, TypeVar, Unpack, overload

from ...errors import ConfigurationError
from ...helpers import RateLimiter
from ..errors import ReceiveFailed
from .options import HttpOptions
from .picking import NEEDED, JsonField, JsonPath, NotThere
from .polled import Polled
from .reading import HttpReading, decoded

__all__ = ["JsonSensor"]

T = TypeVar("T")


class PollingKeywords(TypedDict, total=False):
    """Arguments of every poller."""

    every: float
    limiter: RateLimiter | None
    answer_within: float
    gone_after: int
    max_bytes: int
    unchanged: bool
    options: HttpOptions | None


class JsonSensor(Polled[T]):
    """An `HttpPoller` whose messages are values out of the JSON that comes. Needs ``http``.

    ::

        fields = {"temperature": "main.temp", "humidity": JsonField("main.humidity", int)}
        async with JsonSensor("http://192.168.0.9/weather", fields=fields, every=10) as weather:
            print(await weather.receive())  # {'temperature': 21.5, 'humidity': 40}

    What is no JSON, and what lacks a value or has another one than expected, is `ReceiveFailed`,
    which names the place and what is there; go on. The server is not told that it need not give it
    again. It need not call its answers JSON; they are read in the character set that it names, or
    else as JSON has it, UTF-8 mostly.

    Arguments:
        url: As with `HttpPoller`.
        fields: What to take, by the names it shall have: a path, such as ``"sensors.0.value"``, or
            a `JsonField`, which says what it has to be. None: the whole document, in which there
            must be no NaN and nothing infinite; or with `into`, what is called like its fields.
        into: A dataclass that is made of the values; they have to be of the types it says (``float,
            int, str, bool, list, dict, object``, or one of these ``| None``), and what it has
            defaults for may be missing.
        polling: ``every``, ``limiter``, ``answer_within``, ``gone_after``, ``max_bytes``,
            ``unchanged`` and ``options``, as with `HttpPoller`.

    Raises:
        ConfigurationError: An argument makes no sense.
        MissingExtra: httpx2 is not installed.
    """

    @overload
    def __init__(
        self,
        url: str,
        *,
        fields: Mapping[str, JsonPath | JsonField] | None = None,
        into: type[T],
        **polling: Unpack[PollingKeywords],
    ) -> None: ...

    @overload
    def __init__(
        self: JsonSensor[dict[str, Any]],
        url: str,
        *,
        fields: Mapping[str, JsonPath | JsonField],
        into: None = None,
        **polling: Unpack[PollingKeywords],
    ) -> None: ...

    @overload
    def __init__(
        self: JsonSensor[Any],
        url: str,
        *,
        fields: None = None,
        into: None = None,
        **polling: Unpack[PollingKeywords],
    ) -> None: ...

    def __init__(
        self,
        url: str,
        *,
        fields: Mapping[str, JsonPath | JsonField] | None = None,
        into: type[Any] | None = None,
        **polling: Unpack[PollingKeywords],
    ) -> None:
        super().__init__(url, **polling)
        owner = type(self).__qualname__
        given: dict[str, JsonField] = {}
        if fields is not None:
            if not isinstance(fields, Mapping) or not fields:
                raise ConfigurationError(
                    f"{owner}(fields={fields!r:.80}): expected a dict, such as "
                    "{'temperature': 'main.temp'}"
                )
            for name, where in fields.items():
                if not isinstance(name, str):
                    raise ConfigurationError(f"{owner}(fields=…): expected names, got {name!r:.80}")
                given[name] = where if isinstance(where, JsonField) else JsonField(where)
        self._make: Callable[..., Any] = dict
        self._fields: dict[str, JsonField] | None = given or None
        if into is not None:
            self._make = into
            self._fields = _fields_of(owner, into, given)

    def _parse(self, reading: HttpReading) -> T:
        document = self._document(reading)
        if self._fields is None:
            return document  # type: ignore[no-any-return]
        values: dict[str, Any] = {}
        for name, field in self._fields.items():
            try:
                value = field.of(document)
            except NotThere as error:
                raise ReceiveFailed(
                    f"{self.name} answers with other JSON than expected: {error}"
                ) from error
            if value is not OF_CLASS:
                values[name] = value
        try:
            return self._make(**values)  # type: ignore[no-any-return]
        except (ValueError, TypeError, ArithmeticError, LookupError) as error:
            raise ReceiveFailed(
                f"{self.name} answers with values that make no {self._make.__name__}: {error}"
            ) from error

    def _document(self, reading: HttpReading) -> Any:
        body, whole = reading.body, self._fields is None
        try:
            text = decoded(body, reading.charset) if reading.charset else body
        except (LookupError, ValueError):
            text = body  # there is no such character set, or it is another one
        try:
            if whole:
                return json.loads(text, parse_constant=_refuse, parse_float=_finite)
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            what = f"{body[:60]!r}{'…' if len(body) > 60 else ''}" if body else "nothing at all"
            raise ReceiveFailed(
                f"{self.name} answers with what is no JSON ({_text(error)}): {what}; check the "
                "path of the address"
            ) from error


class _OfClass:
    """What stands for the default that a dataclass has."""


OF_CLASS = _OfClass()


def _fields_of(owner: str, into: type[Any], given: dict[str, JsonField]) -> dict[str, JsonField]:
    """What to look for to make one of those."""
    if not isinstance(into, type) or not dataclasses.is_dataclass(into):
        raise ConfigurationError(f"{owner}(into={into!r:.80}): expected a dataclass")
    try:
        hints = typing.get_type_hints(into)
    except (NameError, TypeError) as error:
        raise ConfigurationError(
            f"{owner}(into={into.__name__}): its types cannot be understood here ({error}): define "
            "it in a module, and import what it names"
        ) from error
    wanted: dict[str, JsonField] = {}
    for one in dataclasses.fields(into):
        if not one.init:
            continue
        kind, may_be_null = _kind_of(owner, into, one.name, hints[one.name])
        field = given.pop(one.name, None) or JsonField((one.name,))
        changes: dict[str, Any] = {"kind": kind} if field.kind is object else {}
        if field.default is NEEDED:
            if one.default is not dataclasses.MISSING or (
                one.default_factory is not dataclasses.MISSING
            ):
                changes["default"] = OF_CLASS
            elif may_be_null:
                changes["default"] = None
        wanted[one.name] = dataclasses.replace(field, **changes)
    if given:
        raise ConfigurationError(
            f"{owner}(fields=…): {into.__name__} has no field {', '.join(map(repr, given))}; it "
            f"has {', '.join(wanted)}"
        )
    return wanted


def _kind_of(owner: str, into: type[Any], name: str, hint: Any) -> tuple[type, bool]:
    """The kind of value for a type, and whether it may be null."""
    may_be_null = False
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        kinds = [one for one in typing.get_args(hint) if one is not types.NoneType]
        may_be_null = len(kinds) < len(typing.get_args(hint))
        hint = kinds[0] if len(kinds) == 1 else None
    kind = typing.get_origin(hint) or hint
    if kind is Any:
        kind = object
    if kind not in (float, int, str, bool, list, dict, object):
        raise ConfigurationError(
            f"{owner}(into={into.__name__}): its field {name!r} is a {hint!r:.80}; expected float, "
            "int, str, bool, list, dict, object, or one of these | None"
        )
    return kind, may_be_null


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]} is too large")
    return value


def _text(error: Exception) -> str:
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)[:120]
