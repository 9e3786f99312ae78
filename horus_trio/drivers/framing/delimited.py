"""Messages that are known by their end: a delimiter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ...errors import ConfigurationError
from ..errors import FrameError
from .framing import MAX_FRAME, Framing

__all__ = ["Delimited"]


class Delimited(Framing):
    """Each message ends with the delimiter, which is not part of it.

    What comes before the first delimiter of a connection is taken for a message, too, though its
    beginning may be missing. A message that gets longer than `max_frame` is discarded up to its
    delimiter.

    For authors: a format that keeps its delimiter out of the messages by a code is a subclass with
    a `_wrap` and an `_open` of its own. `_transparent = True` says that it takes any bytes, so that
    it may be `Checked`; `_idle = True`, that a delimiter right after another means nothing, rather
    than an empty message.

    Arguments:
        delimiter: Bytes, at least one.
        max_frame: Bytes a message may have, with its delimiter.
    """

    _transparent = False

    _idle: ClassVar[bool] = False

    def __init__(self, delimiter: bytes, *, max_frame: int = MAX_FRAME) -> None:
        super().__init__(max_frame=max_frame)
        if not isinstance(delimiter, bytes) or not 0 < len(delimiter) <= max_frame:
            raise ConfigurationError(
                f"{type(self).__name__}(delimiter={delimiter!r}): expected 1 to "
                f'max_frame={max_frame} bytes, such as b"\\r\\n"'
            )
        self.delimiter: bytes = delimiter
        self._skipping = False  # the rest of a message that is too long
        self._searched = 0  # where a delimiter may begin that is not complete

    def _arguments(self) -> list[str]:
        return [repr(self.delimiter), *super()._arguments()]

    def reset(self) -> None:
        super().reset()
        self._skipping = False
        self._searched = 0

    def _wrap(self, message: bytes) -> bytes:
        # Also one that would be made by the message's end and the delimiter's beginning.
        data = message + self.delimiter
        if data.find(self.delimiter) != len(message):
            raise FrameError(
                f"the delimiter {self.delimiter!r} is in the message {message!r:.80}, which would "
                "arrive as two; take it out, or use a framing that escapes it, such as Cobs()"
            )
        return data

    def _open(self, pieces: list[bytes]) -> Sequence[bytes | None]:
        """The message in each piece of the stream between two delimiters; None: it is not valid."""
        return pieces

    def _cut(self) -> list[bytes]:
        buffer, delimiter = self._buffer, self.delimiter
        messages: list[bytes] = []
        if buffer.find(delimiter, self._searched) >= 0:
            # From the front, as the other end has put them: "aa" is in "aaa" twice.
            pieces = bytes(buffer).split(delimiter)
            del buffer[: len(buffer) - len(pieces.pop())]
            if self._skipping:
                self._skipping = False
                self._throw_away(len(pieces.pop(0)) + len(delimiter))
            messages = self._valid(pieces)
        keep = len(delimiter) - 1
        if self._skipping or len(buffer) >= self.max_frame:
            if not self._skipping:
                self._skipping = True
                self._throw_away(0, 1)
            excess = max(0, len(buffer) - keep)
            self._throw_away(excess)
            del buffer[:excess]
        self._searched = max(0, len(buffer) - keep)
        return messages

    def _valid(self, pieces: list[bytes]) -> list[bytes]:
        if self._idle:
            pieces = list(filter(None, pieces))
        longest = self.max_frame - len(self.delimiter)
        if max(map(len, pieces), default=0) > longest:
            self._reject([piece for piece in pieces if len(piece) > longest])
            pieces = [piece for piece in pieces if len(piece) <= longest]
        messages, verify = self._open(pieces), self._verify
        if verify is not None:
            messages = [None if message is None else verify(message) for message in messages]
        valid = [message for message in messages if message is not None]
        if len(valid) < len(pieces):
            both = zip(pieces, messages, strict=True)
            self._reject([piece for piece, message in both if message is None])
        return valid

    def _reject(self, pieces: list[bytes]) -> None:
        size = sum(map(len, pieces)) + len(pieces) * len(self.delimiter)
        self._throw_away(size, len(pieces))
