"""NMEA 0183: sentences of GPS receivers and other instruments of ships."""

from __future__ import annotations

import functools
import operator
import re

from ..errors import FrameError
from .headed import Headed

__all__ = ["Nmea"]

LONGEST = 82
"""Characters of a sentence after the standard, from its start to its line feed."""

STARTS = re.compile(rb"[$!]")
STOPS = re.compile(rb"[$!\n]")
# Printable, without what begins a sentence and what ends its fields.
FIELDS = re.compile(rb'[ "#%-)+-~]+')
SENTENCE = re.compile(rb'([ "#%-)+-~]+)(?:\*([0-9A-Fa-f]{2}))?\r?\n')


class Nmea(Headed):
    """Sentences such as ``$GPGLL,4916.45,N,12311.12,W,225444,A*31``, with a checksum.

    A message is what is between ``$`` and ``*``, such as ``b"GPGLL,4916.45,N,…"``. An encapsulated
    sentence begins with ``!`` instead of ``$``, as those of AIS do, and so does its message.

    A sentence with a wrong checksum, with none, or with other than printable characters is
    rejected. Garbage costs the sentence it hits, also if that was cut off by the next ``$``.

    Arguments:
        require_checksum: False: sentences without a checksum are valid, too; a wrong one never is.
        max_frame: Bytes a sentence may have, from ``$`` to line feed. The standard has 82; some
            devices send longer ones.
    """

    _transparent = False

    def __init__(self, *, require_checksum: bool = True, max_frame: int = LONGEST) -> None:
        super().__init__(b"$", max_frame=max_frame)
        self.require_checksum: bool = require_checksum

    def _arguments(self) -> list[str]:
        return [
            *([] if self.require_checksum else ["require_checksum=False"]),
            *([] if self.max_frame == LONGEST else [f"max_frame={self.max_frame}"]),
        ]

    def _wrap(self, message: bytes) -> bytes:
        start, fields = (b"!", message[1:]) if message[:1] == b"!" else (b"$", message)
        if not FIELDS.fullmatch(fields):
            raise FrameError(
                f"expected printable ASCII without $, ! and *, got {message!r:.80}; leave out the "
                "$ and the checksum, which are added"
            )
        return b"%b%b*%02X\r\n" % (start, fields, checksum(fields))

    def _seek(self, data: bytes, at: int) -> int:
        found = STARTS.search(data, at)
        return len(data) if found is None else found.start()

    def _read(self, data: bytes, at: int) -> tuple[int, bytes | None]:
        limit = at + self.max_frame
        stop = STOPS.search(data, at + 1, limit)
        if stop is None:
            return min(len(data), limit) + 1, None
        sentence = SENTENCE.fullmatch(data, at + 1, stop.end())
        if sentence is None:
            return stop.start(), None
        fields, digits = sentence.groups()
        valid = not self.require_checksum if digits is None else int(digits, 16) == checksum(fields)
        message = fields if data.startswith(self.start, at) else data[at : sentence.end(1)]
        return sentence.end(), message if valid else None


def checksum(fields: bytes) -> int:
    """All bytes, exclusive or."""
    return functools.reduce(operator.xor, fields, 0)
