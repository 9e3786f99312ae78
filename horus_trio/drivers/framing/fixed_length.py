"""Messages of one size."""

from __future__ import annotations

import struct

from ..errors import FrameError
from .framing import check_number
from .headed import Headed

__all__ = ["FixedLength"]


class FixedLength(Headed):
    """Every message has the same size.

    Alone, it tells no garbage from messages: a byte lost or added shifts all that follow until
    `reset`. With a start mark it finds the next one, and inside of `Checked` the next message whose
    checksum is right.

    Arguments:
        size: Bytes of a message, without the start mark, and with the checksum if it is `Checked`.
        start: What every message begins with; not part of it.
    """

    def __init__(self, size: int, *, start: bytes = b"") -> None:
        check_number(self, "size", size, least=1, what="bytes")
        mark = len(start) if isinstance(start, bytes) else 0
        super().__init__(start, max_frame=mark + size)
        self.size: int = size

    def _arguments(self) -> list[str]:
        return [repr(self.size), *([f"start={self.start!r}"] if self.start else [])]

    def _wrap(self, message: bytes) -> bytes:
        if len(message) != self.size:
            raise FrameError(
                f"a message of {len(message)} bytes, expected {self.size}: {message!r:.80}; "
                "fill it up or shorten it"
            )
        return self.start + message

    def _read(self, data: bytes, at: int) -> tuple[int, bytes | None]:
        end = at + self.max_frame
        return end, data[end - self.size : end]

    def _cut(self) -> list[bytes]:
        if self.start or self._verify is not None:
            return super()._cut()
        size = self.size
        whole = len(self._buffer) // size * size
        data = bytes(self._buffer[:whole])
        del self._buffer[:whole]
        return [message for (message,) in struct.iter_unpack(f"{size}s", data)]
