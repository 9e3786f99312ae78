"""Values out of JSON: where they are, and what they have to be."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from ...arguments import is_number
from ...errors import ConfigurationError

__all__ = ["JsonField", "JsonPath", "NotThere", "pick"]

JsonPath: TypeAlias = str | tuple[str | int, ...]
"""Where something is: ``"sensors.0.value"``, or ``("sensors", 0, "value")`` for keys with dots."""

KINDS: Final[Mapping[type, str]] = {
    float: "a number",
    int: "a whole number",
    str: "a text",
    bool: "true or false",
    list: "a list",
    dict: "an object",
    object: "anything",
}


class NotThere(ValueError):
    """What was looked for is not there, or is something else; says what is."""


class _Needed:
    def __repr__(self) -> str:
        return "needed"


NEEDED: Final[Any] = _Needed()


@dataclass(frozen=True, slots=True)
class JsonField:
    """A value in a JSON document.

    Attributes:
        path: Where it is: names and numbers with dots between them, such as ``"sensors.0.value"``;
            -1 is the last of a list. Or a tuple of them, for names that have dots.
        kind: What it has to be: `float` (any number), `int`, `str`, `bool`, `list`, `dict`, or
            `object`, which is anything but null.
        unit: What must be written at `unit_path`; None: nothing.
        unit_path: Where the unit is.
        low: The least it may be, of a number.
        high: The most.
        allow_nan: Whether a number may be NaN or infinite, which some servers write.
        default: What it is if it is not there, or null. Without one, it must be there.

    Raises:
        ConfigurationError: One of them makes no sense.
    """

    path: JsonPath
    kind: type = object
    unit: str | None = None
    unit_path: JsonPath | None = None
    low: float = -math.inf
    high: float = math.inf
    allow_nan: bool = False
    default: Any = NEEDED

    def __post_init__(self) -> None:
        _check_path("path", self.path)
        if self.kind not in KINDS:
            raise ConfigurationError(
                f"JsonField(kind={self.kind!r:.80}): expected one of "
                f"{', '.join(kind.__name__ for kind in KINDS)}"
            )
        if (self.unit is None) != (self.unit_path is None):
            raise ConfigurationError(
                f"JsonField(unit={self.unit!r}, unit_path={self.unit_path!r}): expected both, the "
                "unit and where it is written, or none"
            )
        if self.unit_path is not None:
            _check_path("unit_path", self.unit_path)
        for bound in (self.low, self.high):
            if not is_number(bound) or bound != bound:
                raise ConfigurationError(
                    f"JsonField: expected low and high as numbers, got {bound!r}"
                )
        if self.low > self.high:
            raise ConfigurationError(
                f"JsonField(low={self.low:g}, high={self.high:g}): expected low to be the lesser"
            )
        if self._is_bounded and self.kind not in (int, float, object):
            raise ConfigurationError("JsonField: low and high are for kind=float and kind=int")

    @property
    def _is_bounded(self) -> bool:
        return self.low > -math.inf or self.high < math.inf

    def of(self, document: Any) -> Any:
        """The value in a document.

        Raises:
            NotThere: It is not there, or is not what it has to be.
        """
        try:
            value = pick(document, self.path)
        except NotThere:
            if self.default is NEEDED:
                raise
            return self.default
        if value is None and self.default is not NEEDED:
            return self.default
        if self.unit_path is not None and (unit := pick(document, self.unit_path)) != self.unit:
            raise NotThere(f"{shown(self.path)} is in {_brief(unit)}, expected {self.unit!r}")
        return self._checked(value)

    def _checked(self, value: Any) -> Any:
        kind, number = self.kind, self.kind in (int, float) or self._is_bounded
        if kind is object and not number:
            good = value is not None
        elif number:
            good = is_number(value)
        else:
            good = isinstance(value, kind)
        if good and isinstance(value, float) and kind in (int, float, object):
            if not math.isfinite(value) and not (self.allow_nan and kind is not int):
                good = False
            elif kind is int:
                good = value.is_integer()
        if not good:
            expected = KINDS[float if number and kind is object else kind]
            raise NotThere(f"{shown(self.path)} is {_brief(value)}, expected {expected}")
        if kind is int:
            value = int(value)
        elif kind is float:
            try:
                value = float(value)
            except OverflowError:
                raise NotThere(
                    f"{shown(self.path)} is {_brief(value)}, which is too large"
                ) from None
        if number and not (self.low <= value <= self.high or value != value):
            raise NotThere(
                f"{shown(self.path)} is {_brief(value)}, expected {self.low:g} to {self.high:g}"
            )
        return value


def pick(document: Any, path: JsonPath) -> Any:
    """What is at that place.

    Raises:
        NotThere: There is nothing; says how far it came, and what there is.
    """
    steps = tuple(path.split(".")) if isinstance(path, str) else path
    here = document
    for number, step in enumerate(steps):
        if isinstance(here, dict):
            if str(step) not in here:
                raise NotThere(
                    f"{shown(path)} is not there: {_where(steps[:number])} {_keys(here)}"
                )
            here = here[str(step)]
        elif isinstance(here, list):
            index = _index(step)
            if index is None or not -len(here) <= index < len(here):
                raise NotThere(
                    f"{shown(path)} is not there: {_where(steps[:number])} is a list of {len(here)}"
                )
            here = here[index]
        else:
            raise NotThere(
                f"{shown(path)} is not there: {_where(steps[:number])} is {_brief(here)}"
            )
    return here


def shown(path: JsonPath) -> str:
    """A path, as it is written."""
    return repr(path) if isinstance(path, str) else repr(".".join(map(str, path)))


def _check_path(option: str, path: object) -> None:
    if isinstance(path, str) and path and all(path.split(".")):
        return
    if (
        isinstance(path, tuple)
        and path
        and all(isinstance(step, (str, int)) and not isinstance(step, bool) for step in path)
    ):
        return
    raise ConfigurationError(
        f"JsonField({option}={path!r:.80}): expected where it is, such as 'main.temp' or "
        "'sensors.0.value', or a tuple of names and numbers"
    )


def _index(step: str | int) -> int | None:
    if isinstance(step, int):
        return step
    digits = step.removeprefix("-")
    return int(step) if digits.isascii() and digits.isdigit() and len(digits) < 10 else None


def _where(steps: tuple[str | int, ...]) -> str:
    return shown(steps) if steps else "the document"


def _keys(there: dict[str, Any]) -> str:
    if not there:
        return "is empty"
    # What a device writes may not break a line of the log.
    names = ", ".join(name if name.isprintable() else repr(name) for name in sorted(there)[:8])
    more = f" and {len(there) - 8} more" if len(there) > 8 else ""
    return f"has {names[:160]}{more}"


def _brief(value: Any) -> str:
    """What a value is, in a few words."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"the text {value[:40]!r}"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, dict):
        return f"an object of {len(value)}"
    return f"{value:g}" if isinstance(value, float) else f"{value:d}"[:40]
