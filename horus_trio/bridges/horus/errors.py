"""The errors of HORUS's Python API, by its names."""

from __future__ import annotations

from typing import NoReturn

from ...errors import HorusError

__all__ = [
    "HorusNotFoundError",
    "HorusTimeoutError",
    "HorusTransformError",
    "OutOfScope",
    "TopicRefused",
    "out_of_scope",
]


class HorusNotFoundError(HorusError):
    """A topic, frame, or node is not found."""


class HorusTransformError(HorusError):
    """A coordinate transform fails."""


class HorusTimeoutError(HorusError):
    """A blocking operation times out."""


class TopicRefused(HorusError, RuntimeError):
    """A topic cannot be opened: its name, its capacity, or its name is in use with another type."""


class OutOfScope(HorusError, NotImplementedError):
    """A part of HORUS that does not exist here."""


def out_of_scope(name: str, instead: str) -> NoReturn:
    """Say that `name` does not exist here, and what to do."""
    raise OutOfScope(f"horus.{name} is not part of horus_trio: {instead}")
