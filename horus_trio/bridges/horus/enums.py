"""HORUS's named values."""

from __future__ import annotations

import enum
import operator
from typing import NoReturn

__all__ = ["Miss", "NodeState", "Priority"]


class _Names(type):
    """Of classes that are only names for values."""

    def __call__(cls, *args: object, **kwargs: object) -> NoReturn:
        raise TypeError(f"cannot create {cls.__name__!r} instances; use {cls.__name__}.NAME")


class Miss(metaclass=_Names):
    """What to do about a missed deadline."""

    WARN = "warn"
    SKIP = "skip"
    SAFE_MODE = "safe_mode"
    STOP = "stop"


class NodeState(str, enum.Enum):  # noqa: UP042 - as HORUS's, whose `str` is not the value
    """Where a node is in its life."""

    UNINITIALIZED = "uninitialized"
    INITIALIZING = "initializing"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    ERROR = "error"
    CRASHED = "crashed"


class Priority(metaclass=_Names):
    """Ranks of nodes; less is more urgent."""

    CRITICAL = 0
    HIGH = 10
    NORMAL = 50
    LOW = 80
    BACKGROUND = 100

    @staticmethod
    def from_string(priority: str) -> int:
        """The rank of that name, or of digits."""
        if priority.lower() in _RANKS:
            return _RANKS[priority.lower()]
        if priority.isdecimal():
            return int(priority)
        raise ValueError(
            f"Invalid priority {priority!r}. Use 'critical', 'high', 'normal', 'low', "
            "'background', or a numeric value (0-255)"
        )

    @staticmethod
    def to_string(priority: int) -> str:
        """The name of a rank."""
        rank = operator.index(priority)
        if rank < 0:
            raise OverflowError("out of range: a priority is 0 or more")
        return next((name for name, r in _RANKS.items() if r == rank), f"custom({rank})")


_RANKS = {
    "critical": Priority.CRITICAL,
    "high": Priority.HIGH,
    "normal": Priority.NORMAL,
    "low": Priority.LOW,
    "background": Priority.BACKGROUND,
}
