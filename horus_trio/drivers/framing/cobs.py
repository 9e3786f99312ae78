"""COBS: any bytes, and a zero after each message."""

from __future__ import annotations

from .delimited import Delimited
from .framing import MAX_FRAME

__all__ = ["Cobs"]

LONGEST = 254
"""Bytes of a block without a zero; its code, 255, means that no zero follows."""


class Cobs(Delimited):
    """Consistent Overhead Byte Stuffing: a zero ends a message and is nowhere else.

    Any bytes may be sent, for one more in 254. After garbage it is in step at the next zero. Zeros
    with nothing between them fill the line and mean nothing. A message whose code does not add up
    is rejected; damage within its blocks is not seen, for which there is `Checked`.

    From S. Cheshire and M. Baker, "Consistent Overhead Byte Stuffing", IEEE/ACM Transactions on
    Networking 7 (1999).

    Arguments:
        max_frame: Bytes a message may have, encoded, with its zero.
    """

    _transparent = True
    _idle = True

    def __init__(self, *, max_frame: int = MAX_FRAME) -> None:
        super().__init__(b"\0", max_frame=max_frame)

    def _arguments(self) -> list[str]:
        return super()._arguments()[1:]

    def _wrap(self, message: bytes) -> bytes:
        encoded = b"".join(map(stuffed, message.split(b"\0")))
        last = len(message) - message.rfind(b"\0") - 1
        if last and last % LONGEST == 0:
            encoded = encoded[:-1]  # that a full block ends there means that no zero follows
        return encoded + b"\0"

    def _open(self, pieces: list[bytes]) -> list[bytes | None]:
        return [
            piece[1:] if piece[0] == len(piece) else unstuffed(piece)  # most have no zero in them
            for piece in pieces
        ]


def stuffed(run: bytes) -> bytes:
    """The blocks of bytes without a zero that a zero follows."""
    if len(run) < LONGEST:
        return bytes((len(run) + 1,)) + run
    full = len(run) // LONGEST * LONGEST
    blocks = [b"\xff" + run[at : at + LONGEST] for at in range(0, full, LONGEST)]
    return b"".join((*blocks, bytes((len(run) - full + 1,)), run[full:]))


def unstuffed(piece: bytes) -> bytes | None:
    """The message, or None if the codes do not lead to the end of the piece."""
    blocks: list[bytes] = []
    at = 0
    while at < len(piece):
        code = piece[at]
        blocks.append(piece[at + 1 : at + code])
        at += code
        if code <= LONGEST and at < len(piece):
            blocks.append(b"\0")
    return b"".join(blocks) if at == len(piece) else None
