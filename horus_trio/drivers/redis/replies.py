"""Replies of a Redis server, out of the bytes that it sends; and commands as bytes.

coredis parses. Its client is not used: that runs tasks in a nursery of its own, which a driver has
not, and keeps what comes in buffers without a bound. Its parser does no I/O. What is added to it
keeps it bounded. A text that is longer than allowed is never kept: it is passed over while it
comes, and None stands in its place. A buffer that never runs empty, in a flood, does not grow. And
since the parser believes what it reads, it is watched: a length below zero has it go backwards, a
line feed alone has it wait for ever, an array has no limit, and one of many levels, which it walks
through in C, is the end of the process.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import ModuleType
from typing import Any, Protocol, TypeAlias

from ..extra import Extra

__all__ = ["EXTRA", "MOST", "NotRedis", "Refused", "Replies", "Word", "packed"]

EXTRA = Extra("redis", "coredis", "coredis.parser")

Word: TypeAlias = bytes | str | int
"""A part of a command."""

COMPACT_AT = 256 * 1024
"""Bytes that were parsed and are kept at most."""

LONGEST_LINE = 64 * 1024
"""Bytes of a line, which is a number, a state or an error."""

LEVELS = 32
"""Of lists in lists in a reply; Redis sends five at most."""

STEP = 256
"""Bytes that are parsed at once where there could be too many levels in more."""

BEGINNINGS = (b"\n*", b"\n%", b"\n~", b"\n>")
"""Of what has something in it; a line ends before."""

MOST = 64 * 1024 * 1024
"""Bytes of a reply at most, if nothing else is said."""


class NotRedis(Exception):
    """What came is no reply of a Redis server."""


class Refused(Exception):
    """An error that the server has replied.

    Attributes:
        code: Its first word, such as ``WRONGTYPE``.
        text: The rest.
    """

    def __init__(self, code: str, text: str) -> None:
        super().__init__(f"{code} {text}")
        self.code: str = code
        self.text: str = text


class _Parser(Protocol):
    """What is used of coredis' parser."""

    localbuffer: Any
    nodes: list[Any]
    bytes_read: int
    bytes_written: int

    def feed(self, data: bytes) -> None: ...

    def parse(self) -> Any: ...


class Replies:
    """Makes replies of bytes. It does no I/O.

    A reply is bytes, an int, None, a list of replies, or a `Refused`, which is not raised.

    Arguments:
        library: The module ``coredis.parser``.
        longest: Bytes that a text may have; None comes in the place of a longer one, unless that
            has come in one piece.
        most: Bytes that a reply may have, without the texts that were passed over.

    Attributes:
        discarded: Bytes of texts that were too long.
    """

    def __init__(self, library: ModuleType, longest: int, most: int = MOST) -> None:
        self._parser: _Parser = library.Parser()
        self._not_enough: type[object] = library.NotEnoughData
        self._codes = _codes(library.Parser.EXCEPTION_CLASSES)
        self._longest = longest
        self._most = most
        self._size = 0  # of the reply that has begun
        self._skip = 0
        self.discarded: int = 0

    def feed(self, data: bytes) -> list[Any]:
        """The replies that are complete now.

        Raises:
            NotRedis: It is none.
        """
        if self._skip:
            skipped = min(self._skip, len(data))
            self._skip -= skipped
            data = data[skipped:]
        if not data:
            return []
        # A text may be full of them, too: then this only takes longer.
        step = STEP if sum(map(data.count, BEGINNINGS)) > LEVELS * LEVELS else len(data)
        found: list[Any] = []
        try:
            for start in range(0, len(data), step):
                found += self._parse(data[start : start + step])
        except NotRedis:
            raise
        except Exception as error:
            # It raises whatever the bytes provoke: ValueError, KeyError, an error of its own.
            raise NotRedis(f"{data[:60]!r}") from error
        if self._parser.bytes_read > COMPACT_AT:
            self._compact()
        return found

    def _parse(self, data: bytes) -> list[Any]:
        """The replies that are complete with this."""
        if self._skip:
            skipped = min(self._skip, len(data))
            self._skip -= skipped
            data = data[skipped:]
        parser, found = self._parser, []
        self._size += len(data)
        parser.feed(data)
        while True:
            reply = parser.parse()
            if not isinstance(reply, self._not_enough):
                value = reply[1]
                found.append(self._refused(value) if isinstance(value, Exception) else value)
                self._size = parser.bytes_written - parser.bytes_read
            elif parser.bytes_read == parser.bytes_written or not self._pass_over():
                break
        if len(parser.nodes) > LEVELS:
            raise ValueError(f"lists in lists, more than {LEVELS}")
        if self._size > self._most:
            raise NotRedis(f"it has more than {self._most} bytes, as far as they came")
        return found

    def _pass_over(self) -> bool:
        """Put None in the place of a text that has begun, if it will be too long.

        Raises:
            ValueError: What the parser has stopped at is no beginning.
        """
        parser = self._parser
        buffer = parser.localbuffer
        buffer.seek(parser.bytes_read)
        line = buffer.readline(LONGEST_LINE)
        if not line.endswith(b"\r\n"):
            if len(line) == LONGEST_LINE or line.endswith(b"\n"):
                raise ValueError("a line without an end")
            return False
        if line[:1] not in (b"$", b"=") or not line[1:-2].isdigit():
            raise ValueError(f"{line[:40]!r} is no length")
        length = int(line[1:])
        held = parser.bytes_written - parser.bytes_read - len(line)
        if held >= length + 2:
            raise ValueError("the parser does not go on")
        if length <= self._longest:
            return False
        self.discarded += length
        self._skip = length + 2 - held
        self._size -= held + len(line)
        buffer.seek(parser.bytes_read)
        buffer.truncate()
        parser.bytes_written = parser.bytes_read
        parser.feed(b"$-1\r\n")
        return True

    def _compact(self) -> None:
        """Forget what was parsed."""
        parser = self._parser
        buffer = parser.localbuffer
        buffer.seek(parser.bytes_read)
        rest = buffer.read()
        buffer.seek(0)
        buffer.truncate()
        buffer.write(rest)
        parser.bytes_read, parser.bytes_written = 0, len(rest)

    def _refused(self, error: Exception) -> Refused:
        """coredis takes the first word away where it has an error of its own for it."""
        text = str(error)
        code = self._codes.get(type(error).__name__)
        if code is None:
            code, _, text = text.partition(" ")
            if not re.fullmatch(r"[A-Z]+", code):
                code, text = "ERR", str(error)
        return Refused(code, text)


def packed(*words: Word) -> bytes:
    """A command as bytes."""
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        if isinstance(word, str):
            word = word.encode("utf-8", "surrogateescape")
        elif isinstance(word, int):
            word = b"%d" % word
        parts.append(b"$%d\r\n%b\r\n" % (len(word), word))
    return b"".join(parts)


def _codes(classes: Mapping[str, Any]) -> dict[str, str]:
    """The first word of an error, by the name of coredis' class for it."""
    return {kind.__name__: code for code, kind in classes.items() if isinstance(kind, type)} | {
        kind.__name__: code
        for code, kinds in classes.items()
        if not isinstance(kinds, type)
        for kind in kinds.values()
    }
