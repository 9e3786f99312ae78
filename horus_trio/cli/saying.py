"""What commands say: every line goes through here, or through a `Console`, to a terminal.

Names, errors and messages in it may come from devices, from peers, or from a robot that is none. So
all of it is made printable first, and what the stream's encoding lacks is escaped.
"""

from __future__ import annotations

import sys
from typing import TextIO

from ..printable import entry

__all__ = ["complain", "encodable", "say"]


def say(text: str) -> None:
    """Write a line, or several, to standard output."""
    _write(sys.stdout, entry(text, indent=""))


def complain(text: str) -> None:
    """Write an entry to standard error: its further lines are indented."""
    _write(sys.stderr, entry(text))


def encodable(stream: TextIO, text: str) -> str:
    """The text, with what the stream's encoding lacks escaped."""
    encoding = stream.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _write(stream: TextIO, text: str) -> None:
    stream.write(f"{encodable(stream, text)}\n")
