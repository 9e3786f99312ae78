"""What a pool is told when it is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ..errors import ConfigurationError
from .functions import is_async
from .helper import check_count, check_seconds

__all__ = ["PoolOptions", "text_of_failure"]

ConnT = TypeVar("ConnT")


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolOptions(Generic[ConnT]):
    """The arguments of `ConnectionPool`, which describes them, once they have been checked."""

    connect: Callable[[], Any]
    size: int
    close: Callable[[ConnT], object] | None
    check: Callable[[ConnT], object] | None
    check_after: float
    is_broken: Callable[[Exception], object] | None
    interrupt: Callable[[ConnT], object] | None
    max_age: float | None
    idle_timeout: float | None
    open_timeout: float
    operation_timeout: float | None
    close_grace: float
    backoff: float
    max_backoff: float

    def check_for(self, owner: str) -> None:
        """Raise `ConfigurationError` if one makes no sense.

        Arguments:
            owner: Whose they are, for the message.
        """
        for what in ("connect", "close", "check", "is_broken", "interrupt"):
            function = getattr(self, what)
            if not callable(function) and (function is not None or what == "connect"):
                raise ConfigurationError(f"{owner}: {what}={function!r:.80}, expected a function")
            if what in ("is_broken", "interrupt") and is_async(function):
                raise ConfigurationError(f"{owner}: {what} is async, expected a def function")
        check_count(owner, "size", self.size)
        for what in ("open_timeout", "backoff", "max_backoff"):
            check_seconds(owner, what, getattr(self, what))
        for what in ("max_age", "idle_timeout", "operation_timeout"):
            if getattr(self, what) is not None:
                check_seconds(owner, what, getattr(self, what))
        for what in ("close_grace", "check_after"):
            check_seconds(owner, what, getattr(self, what), zero=True)
        if self.max_backoff < self.backoff:
            raise ConfigurationError(
                f"{owner}: max_backoff={self.max_backoff!r}, expected at least "
                f"backoff={self.backoff:g}"
            )


def text_of_failure(what: str, error: BaseException) -> str:
    """What went wrong in what, as a short text."""
    return f"{what}: {type(error).__name__}: {error}"[:400]
