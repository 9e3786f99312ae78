"""Messages that begin with their length."""

from __future__ import annotations

from typing import Literal

from ...errors import ConfigurationError
from ..errors import FrameError
from .byteorder import check_byteorder
from .framing import MAX_FRAME
from .headed import Headed

__all__ = ["LengthPrefixed"]


class LengthPrefixed(Headed):
    """Each message is preceded by its length.

    A length over `max_frame` cannot be right: the message is rejected, and the search goes on at
    the next byte; at the next start mark, if there is one. A wrong length that is not too long
    swallows what follows, up to its end. Inside of `Checked` it does not: what it has swallowed is
    looked through for messages whose checksum is right. Without both, any bytes are taken for a
    length, so after garbage it may never be in step again; that is for lines that lose nothing,
    such as TCP.

    A search without a start mark tries every byte. Inside of `Checked` that costs a checksum each,
    of up to `max_frame` bytes, so give it a start mark, or a `max_frame` not larger than needed.

    Arguments:
        width: Bytes of the length: 1, 2 or 4.
        byteorder: Of the length: ``"big"``, which is that of networks, or ``"little"``.
        includes_itself: Whether the length counts its own bytes, too.
        start: What every message begins with, in front of the length; not counted by it.
        max_frame: Bytes a message may have, with length and start mark.
    """

    def __init__(
        self,
        width: Literal[1, 2, 4] = 2,
        *,
        byteorder: Literal["big", "little"] = "big",
        includes_itself: bool = False,
        start: bytes = b"",
        max_frame: int = MAX_FRAME,
    ) -> None:
        if isinstance(width, bool) or width not in (1, 2, 4):
            raise ConfigurationError(f"LengthPrefixed(width={width!r}): expected 1, 2 or 4 bytes")
        check_byteorder(self, byteorder)
        super().__init__(start, max_frame=max_frame)
        self.width: int = width
        self.byteorder: Literal["big", "little"] = byteorder
        self.includes_itself: bool = includes_itself
        self._header = len(start) + width
        self._own = width if includes_itself else 0
        if max_frame < self._header:
            raise ConfigurationError(
                f"LengthPrefixed(max_frame={max_frame}): expected at least the {self._header} "
                "bytes of start mark and length"
            )

    def _arguments(self) -> list[str]:
        return [
            repr(self.width),
            *(['byteorder="little"'] if self.byteorder == "little" else []),
            *(["includes_itself=True"] if self.includes_itself else []),
            *([f"start={self.start!r}"] if self.start else []),
            *super()._arguments(),
        ]

    def _wrap(self, message: bytes) -> bytes:
        length, most = len(message) + self._own, (1 << 8 * self.width) - 1
        if length > most:
            raise FrameError(
                f"a message of {len(message)} bytes, expected at most {most - self._own} for a "
                f"length of width={self.width}; use a larger one here and at the other end, or "
                "send less"
            )
        return self.start + length.to_bytes(self.width, self.byteorder) + message

    def _read(self, data: bytes, at: int) -> tuple[int, bytes | None]:
        body = at + self._header
        if body > len(data):
            return body, None
        length = int.from_bytes(data[body - self.width : body], self.byteorder) - self._own
        if length < 0:
            return body, None
        end = body + length
        return end, data[body:end]
