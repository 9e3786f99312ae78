"""What a node declares about its topics: `Sub` and `Pub`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import Any

from ..arguments import is_positive, is_whole
from ..errors import ConfigurationError
from .subscription import Overflow

__all__ = ["Pub", "Sub"]


@dataclass(frozen=True, slots=True)
class Sub:
    """A topic a node reads.

    Arguments:
        topic: Name of the topic.
        type: Class of its messages; None takes any.
        capacity: Messages that may wait.
        overflow: What happens to one more.
        max_age: Seconds after which the latest message counts as stale; None: never.
        on_stale: Called with the topic's name when it has become stale.
    """

    topic: str
    _: KW_ONLY
    type: type[Any] | None = None
    capacity: int = 64
    overflow: Overflow = Overflow.DROP_OLDEST
    max_age: float | None = None
    on_stale: Callable[[str], object] | None = None

    def __post_init__(self) -> None:
        check_topic(self.topic)
        _check_type(self)
        if not is_whole(self.capacity):
            raise ConfigurationError(
                f"Sub({self.topic!r}): capacity is {self.capacity!r}, expected a whole number"
            )
        if self.capacity < 1:
            raise ConfigurationError(
                f"Sub({self.topic!r}): capacity is {self.capacity}, expected 1 or more"
            )
        if not isinstance(self.overflow, Overflow):
            raise ConfigurationError(
                f"Sub({self.topic!r}): overflow is {self.overflow!r}, expected a "
                "horus_trio.Overflow, such as Overflow.LATEST"
            )
        max_age = self.max_age
        if max_age is not None and not is_positive(max_age):
            raise ConfigurationError(
                f"Sub({self.topic!r}): max_age is {self.max_age!r}, "
                "expected a finite number of seconds above 0, or None"
            )
        if self.on_stale is not None and not callable(self.on_stale):
            raise ConfigurationError(
                f"Sub({self.topic!r}): on_stale is {self.on_stale!r}, expected a function"
            )


@dataclass(frozen=True, slots=True)
class Pub:
    """A topic a node writes.

    Arguments:
        topic: Name of the topic.
        type: Class of its messages; anything else is refused when sent. None takes any.
        latch: Whether a new subscription begins with the latest message.
    """

    topic: str
    _: KW_ONLY
    type: type[Any] | None = None
    latch: bool = False

    def __post_init__(self) -> None:
        check_topic(self.topic)
        _check_type(self)


def _check_type(declared: Sub | Pub) -> None:
    if declared.type is not None and not isinstance(declared.type, type):
        raise ConfigurationError(
            f"{type(declared).__name__}({declared.topic!r}): type is {declared.type!r}, "
            "expected a class or None"
        )


def check_topic(name: object) -> None:
    """Raise `ConfigurationError` unless `name` is a printable, non-empty str."""
    if not isinstance(name, str) or not name or not name.isprintable():
        raise ConfigurationError(f"topic name {name!r}: expected a printable, non-empty str")
