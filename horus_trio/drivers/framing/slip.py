"""SLIP: any bytes, and an END around each message."""

from __future__ import annotations

from ..errors import FrameError
from .delimited import Delimited
from .framing import MAX_FRAME

__all__ = ["Slip"]

END = b"\xc0"
ESC = b"\xdb"
ESC_CODE = ESC[0]
ESCAPED_END = b"\xdb\xdc"
ESCAPED_ESC = b"\xdb\xdd"


class Slip(Delimited):
    """The Serial Line Internet Protocol: END ends a message, and is escaped inside.

    An END is sent in front of a message, too, as the RFC advises: so garbage before it costs no
    message. ENDs with nothing between them mean nothing; therefore no message is empty. An ESC
    before any other byte than the two of the RFC is not valid; the message is rejected.

    From J. Romkey, "A Nonstandard for Transmission of IP Datagrams over Serial Lines: SLIP",
    RFC 1055 (1988).

    Arguments:
        max_frame: Bytes a message may have, escaped, with both its ENDs.
    """

    _transparent = True
    _idle = True

    def __init__(self, *, max_frame: int = MAX_FRAME) -> None:
        super().__init__(END, max_frame=max_frame)

    def _arguments(self) -> list[str]:
        return super()._arguments()[1:]

    def _wrap(self, message: bytes) -> bytes:
        if not message:
            raise FrameError("an empty message does not arrive over SLIP; send at least one byte")
        return END + message.replace(ESC, ESCAPED_ESC).replace(END, ESCAPED_END) + END

    def _open(self, pieces: list[bytes]) -> list[bytes | None]:
        return [unescaped(piece) if ESC_CODE in piece else piece for piece in pieces]


def unescaped(piece: bytes) -> bytes | None:
    """The message, or None if something else is escaped."""
    if piece.count(ESC) != piece.count(ESCAPED_END) + piece.count(ESCAPED_ESC):
        return None
    return piece.replace(ESCAPED_END, END).replace(ESCAPED_ESC, ESC)
