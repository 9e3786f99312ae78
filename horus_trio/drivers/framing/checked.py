"""A checksum at the end of every message, whatever the framing."""

from __future__ import annotations

import copy
from typing import Literal

from ...errors import ConfigurationError
from ..errors import FrameError
from .byteorder import check_byteorder
from .crc import Crc, checksum_function
from .framing import Framing, Verify

__all__ = ["Checked"]


class Checked(Framing):
    """Messages of another framing, each followed by a checksum, which is not given out.

    A message whose checksum is wrong is rejected. A framing that searches for its messages, such as
    `LengthPrefixed`, goes on in the middle of it, and so finds those that it has swallowed. The
    checksum is over the message alone, not over what the framing adds. Such a search costs a
    checksum over up to `max_frame` bytes for each byte of garbage, on the loop: give the framing a
    `max_frame` no larger than the longest message of the device.

    Garbage passes by chance, one in 256 with 8 bits, one in 65 536 with 16. Zeros always pass with
    a checksum whose `Crc.init` is 0.

    Arguments:
        framing: One that any bytes may be sent with, since they may be in a checksum. It is copied.
        crc: Which checksum.
        byteorder: In which it is sent.
    """

    def __init__(
        self, framing: Framing, *, crc: Crc, byteorder: Literal["big", "little"] = "big"
    ) -> None:
        if not isinstance(framing, Framing):
            raise ConfigurationError(
                f"Checked({framing!r:.80}): expected a framing, such as Cobs()"
            )
        if not framing._transparent:
            raise ConfigurationError(
                f"Checked({framing!r}): expected a framing for any bytes, since they may be in a "
                "checksum; use Cobs(), Slip(), LengthPrefixed(…) or FixedLength(…)"
            )
        if not isinstance(crc, Crc):
            raise ConfigurationError(
                f"Checked(crc={crc!r:.80}): expected a Crc, such as Crc.CRC16_MODBUS"
            )
        check_byteorder(self, byteorder)
        super().__init__(max_frame=framing.max_frame)
        self.crc: Crc = crc
        self.byteorder: Literal["big", "little"] = byteorder
        self._framing = copy.deepcopy(framing)
        self._framing.reset()
        self._framing.frames = self._framing.rejected = self._framing.discarded = 0
        self._verify_with(None)

    @property
    def pending(self) -> int:
        return self._framing.pending

    def reset(self) -> None:
        self._framing.reset()
        self._throw_away(self._framing.discarded - self.discarded)

    def _arguments(self) -> list[str]:
        return [
            repr(self._framing),
            f"crc={self.crc!r}",
            *(['byteorder="little"'] if self.byteorder == "little" else []),
        ]

    def _wrap(self, message: bytes) -> bytes:
        checksum = self.crc(message).to_bytes(self.crc.size, self.byteorder)
        try:
            return self._framing._wrap(message + checksum)
        except FrameError as error:
            raise FrameError(f"with its checksum of {self.crc.size} bytes: {error}") from error

    def _cut(self) -> list[bytes]:
        framing = self._framing
        messages = framing.feed(bytes(self._buffer))
        self._buffer.clear()
        self._throw_away(framing.discarded - self.discarded, framing.rejected - self.rejected)
        return messages

    def _verify_with(self, verify: Verify | None) -> None:
        self._framing._verify_with(opener(self.crc, self.byteorder, verify))


def opener(crc: Crc, byteorder: Literal["big", "little"], verify: Verify | None) -> Verify:
    """What gives a message without its checksum, or None if that is wrong."""
    size, checksum = crc.size, checksum_function(crc)

    def opened(data: bytes) -> bytes | None:
        end = len(data) - size
        message = data[:end]
        if end < 0 or checksum(message) != int.from_bytes(data[end:], byteorder):
            return None
        return message if verify is None else verify(message)

    return opened
