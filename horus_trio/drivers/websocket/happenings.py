"""What may come of the bytes that a server has sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

__all__ = ["NOTHING", "Closed", "Happening", "Nothing", "Oversized", "Ping", "Refused", "Skipped"]


class Refused(Exception):
    """The server does not talk to us: why, and what to do, as text."""


@dataclass(frozen=True, slots=True)
class Ping:
    """It asks whether we are there; `payload` is to be in the answer."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Closed:
    """It ends the conversation; or it has broken the rules, so that we do."""

    code: int
    reason: str
    by_us: bool


@dataclass(frozen=True, slots=True)
class Oversized:
    """A message is too long; so many bytes of it have come, and the rest is thrown away, too."""

    size: int


@dataclass(frozen=True, slots=True)
class Skipped:
    """So many more bytes of a message that is too long."""

    size: int


@dataclass(frozen=True, slots=True)
class Nothing:
    """A part of a message, or something that asks for nothing."""


Happening: TypeAlias = str | bytes | Ping | Closed | Oversized | Skipped | Nothing

NOTHING = Nothing()
