"""Entries of a stream, and what Redis makes of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from ...arguments import is_number
from ..errors import FrameError

__all__ = [
    "BEFORE_ALL",
    "Position",
    "StreamEntry",
    "StreamState",
    "entry_of",
    "position_of",
    "words_of",
]

Position: TypeAlias = tuple[int, int]
"""The id of an entry, as numbers: milliseconds, and which one in that millisecond."""

BEFORE_ALL: Position = (0, 0)


@dataclass(frozen=True, slots=True)
class StreamEntry:
    """An entry of a Redis stream.

    ::

        StreamEntry({"x": 1.5, "state": "moving", "scan": bytes(360)})

    Attributes:
        fields: What it says, by name. What is received has values of bytes, and names of text, or
            of bytes where they are no UTF-8; of a name that occurs twice, the last counts. To be
            sent, values may be bytes, text, ints and floats.
        id: Its place in the stream, such as ``1718000000000-0``. `RedisStream.send` pays no
            attention to it: the server gives out ids.
    """

    fields: Mapping[Any, Any]
    id: str = ""

    def __getitem__(self, name: str | bytes) -> Any:
        """The value of a field.

        Raises:
            KeyError: It has none of that name.
        """
        return self.fields[name]


def words_of(message: object) -> list[bytes]:
    """Names and values, as they are sent.

    Raises:
        FrameError: They cannot be.
    """
    fields = message.fields if isinstance(message, StreamEntry) else message
    if not isinstance(fields, Mapping) or not fields:
        raise FrameError(
            'expected an entry with fields, such as StreamEntry({"x": 1.5}), or a dict, got '
            f"{message!r:.80}"
        )
    words: list[bytes] = []
    for name, value in fields.items():
        if not isinstance(name, (str, bytes)):
            raise FrameError(f"expected a name of text or bytes for a field, got {name!r:.80}")
        word = name.encode("utf-8", "surrogateescape") if isinstance(name, str) else name
        words += [word, _value(name, value)]
    return words


def _value(name: str | bytes, value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, (bytearray, memoryview)):
        return bytes(value)
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    if is_number(value):
        return repr(value).encode("ascii")
    raise FrameError(
        f"field {name!r:.80}: expected bytes, text, an int or a float, got "
        f"{type(value).__name__} {value!r:.80}; encode it first"
    )


def entry_of(entry_id: bytes, words: Sequence[bytes]) -> StreamEntry:
    """The entry of an id, and of names and values.

    Raises:
        TypeError: They are other than bytes.
        ValueError: A name is without a value.
    """
    if not {bytes}.issuperset(map(type, words)):
        raise TypeError(f"{words!r:.80} are no names and values")
    fields: dict[str | bytes, bytes] = {}
    for name, value in zip(words[::2], words[1::2], strict=True):
        try:
            fields[name.decode("utf-8")] = value
        except UnicodeDecodeError:
            fields[name] = value
    return StreamEntry(fields, entry_id.decode("ascii"))


def position_of(entry_id: str | bytes) -> Position:
    """An id as numbers, which can be compared.

    Raises:
        ValueError: It is none.
    """
    text = entry_id.decode("ascii") if isinstance(entry_id, bytes) else entry_id
    form = re.fullmatch(r"(\d{1,20})(?:-(\d{1,20}))?", text, re.ASCII)
    if form is None:
        raise ValueError(f"{text!r:.80} is no id of an entry")
    return int(form[1]), int(form[2] or 0)


@dataclass(frozen=True, slots=True)
class StreamState:
    """What a server says of a stream.

    Attributes:
        last: Of the entry that was added last, though it may be gone.
        first: Of the oldest entry that is there; None: there is none.
        length: Entries that are there.
        added: Entries that were ever added; None: servers before Redis 7 do not say.
    """

    last: Position = BEFORE_ALL
    first: Position | None = None
    length: int = 0
    added: int | None = 0

    @classmethod
    def of_reply(cls, reply: list[Any]) -> StreamState:
        """Of the reply to ``XINFO STREAM``."""
        said = dict(zip(reply[::2], reply[1::2], strict=True))
        first = said.get(b"first-entry")
        return cls(
            last=position_of(said[b"last-generated-id"]),
            first=None if first is None else position_of(first[0]),
            length=said[b"length"],
            added=said.get(b"entries-added"),
        )
