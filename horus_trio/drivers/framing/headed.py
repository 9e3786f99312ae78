"""Messages that are known by their beginning: a mark, a length, a fixed size."""

from __future__ import annotations

import abc

from ...errors import ConfigurationError
from .framing import MAX_FRAME, Framing

__all__ = ["Headed"]


class Headed(Framing):
    """A message's beginning says where it ends. For authors: define `_wrap` and `_read`.

    The next message begins where the last has ended. If there is none, because the start mark is
    missing or `_read` finds what is there not valid, the search goes on at the next byte. So a
    message inside of what only looked like one is found, and is found late at most, when the bytes
    have come that the wrong one seemed to need.

    Arguments:
        start: What every message begins with; bytes in front of it are discarded. Empty: any byte
            may be the first of a message.
        max_frame: Bytes a message may have, with its start mark and all.
    """

    def __init__(self, start: bytes = b"", *, max_frame: int = MAX_FRAME) -> None:
        super().__init__(max_frame=max_frame)
        if not isinstance(start, bytes):
            raise ConfigurationError(
                f"{type(self).__name__}(start={start!r}): expected bytes that every message begins "
                r'with, such as b"\xaa\x55", or none'
            )
        if len(start) >= max_frame:
            raise ConfigurationError(
                f"{type(self).__name__}(max_frame={max_frame}): expected more than the "
                f"{len(start)} bytes of the start mark"
            )
        self.start: bytes = start
        self._needed = 0  # bytes without which nothing can be told
        self._suspect = 0  # where the message would end that was rejected last

    def reset(self) -> None:
        super().reset()
        self._needed = self._suspect = 0

    @abc.abstractmethod
    def _read(self, data: bytes, at: int) -> tuple[int, bytes | None]:
        """Where the message that begins at `at` ends, and the message; None: it is not valid.

        The start mark is there. An end that lies behind `data` means that more is needed: it is
        called again with as much as that, and what the message is does not matter yet. If the end
        cannot be known so far, it is what is needed to know more.
        """

    def _seek(self, data: bytes, at: int) -> int:
        """The first place from `at` on where a start mark is, or may be when more has come."""
        found = data.find(self.start, at)
        return found if found >= 0 else max(at, len(data) - len(self.start) + 1)

    def _cut(self) -> list[bytes]:
        if len(self._buffer) < self._needed:
            return []
        data = bytes(self._buffer)
        mark, longest, verify = len(self.start), self.max_frame, self._verify
        messages: list[bytes] = []
        at = 0
        while True:
            if mark:
                found = self._seek(data, at)
                self._throw_away(found - at)
                at = found
                if at + mark > len(data):
                    self._needed = mark
                    break
            end, message = self._read(data, at)
            if end - at > longest:
                end, message = at + longest, None
            elif end > len(data):
                self._needed = end - at
                break
            elif verify is not None and message is not None:
                message = verify(message)
            if message is None:
                if at >= self._suspect:  # not inside of one that has been counted
                    self._throw_away(0, 1)
                    self._suspect = end
                self._throw_away(1)
                at += 1
            elif end <= at:
                raise ConfigurationError(
                    f"{type(self).__name__}._read(data, {at}) says that the message ends at {end}; "
                    "expected an end behind its beginning"
                )
            else:
                self._suspect = 0
                messages.append(message)
                at = end
        del self._buffer[:at]
        self._suspect = max(0, self._suspect - at)
        return messages
