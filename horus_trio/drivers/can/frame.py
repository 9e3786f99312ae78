"""What lies on a CAN bus: frames, and filters that choose among them."""

from __future__ import annotations

import operator
from dataclasses import dataclass, field

from ...arguments import is_whole
from ...errors import ConfigurationError
from ..errors import FrameError

__all__ = ["EXTENDED_IDS", "FD_LENGTHS", "STANDARD_IDS", "CanFilter", "CanFrame"]

STANDARD_IDS = 0x7FF
"""The highest identifier of 11 bits."""

EXTENDED_IDS = 0x1FFFFFFF
"""The highest identifier of 29 bits."""

CLASSICAL_LENGTH = 8
"""Bytes that a classical frame may have."""

FD_LENGTHS = (0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 20, 24, 32, 48, 64)
"""Bytes that a frame of CAN FD may have, by its length code."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class CanFrame:
    """A frame of a CAN bus. There is none that a bus could not carry.

    ::

        CanFrame(id=0x123, data=b"\\x01\\xff")
        CanFrame(id=0x18FF50E5, data=struct.pack("<HHxxxx", 512, 30), is_extended=True)

    Two are equal if they lie on the bus in the same way, whenever and wherever they came.

    Attributes:
        id: Its identifier: up to 0x7FF, or up to 0x1FFFFFFF if it is extended. Of an error frame,
            its classes of errors, as in Linux's ``can/error.h``.
        data: Up to 8 bytes; with CAN FD, 12, 16, 20, 24, 32, 48 or 64, too.
        is_extended: Whether the identifier has 29 bits rather than 11.
        is_remote: Whether it asks another device for a frame, and has no data itself.
        remote_length: Bytes that a remote frame asks for.
        is_error: Whether it tells of an error on the bus. It cannot be sent.
        is_fd: Whether it is a frame of CAN FD.
        bitrate_switch: Whether its data go at the faster rate of CAN FD.
        timestamp: When it was taken from the operating system or its library, in seconds on Trio's
            clock, that of `trio.current_time`; 0 if it has not come from a bus.
        channel: Where it came from; empty if it has not come from a bus.

    Raises:
        FrameError: No bus could carry it.
    """

    id: int
    data: bytes = b""
    is_extended: bool = False
    is_remote: bool = False
    remote_length: int = 0
    is_error: bool = False
    is_fd: bool = False
    bitrate_switch: bool = False
    timestamp: float = field(default=0.0, compare=False)
    channel: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        data = self.data
        if type(data) is not bytes:
            if not isinstance(data, (bytes, bytearray, memoryview)):
                raise FrameError(
                    f"CanFrame(data={data!r:.80}): expected bytes, such as bytes([1, 2]) or what "
                    "struct.pack returns"
                )
            data = bytes(data)
            object.__setattr__(self, "data", data)
        self._check_id()
        if len(data) > CLASSICAL_LENGTH:
            self._check_length(len(data))
        if self.is_remote or self.remote_length:
            self._check_remote()
        if self.bitrate_switch and not self.is_fd:
            raise FrameError(
                "CanFrame(bitrate_switch=True): only a frame of CAN FD has that: is_fd=True"
            )

    def _check_id(self) -> None:
        number = self.id
        if type(number) is not int:
            try:
                number = -1 if isinstance(number, bool) else operator.index(number)
            except TypeError:
                number = -1
            if number < 0:
                raise FrameError(
                    f"CanFrame(id={self.id!r:.80}): expected a whole number, such as 0x123"
                )
            object.__setattr__(self, "id", number)  # one of NumPy's, or of an enumeration
        if 0 <= number <= STANDARD_IDS:
            return
        if not 0 <= number <= EXTENDED_IDS:
            raise FrameError(
                f"CanFrame(id={_hex(number)}): expected 0 to 0x7FF, or to 0x1FFFFFFF if it is "
                "extended"
            )
        if not (self.is_extended or self.is_error):
            raise FrameError(
                f"CanFrame(id={_hex(number)}): that has more than 11 bits, which only an extended "
                "one may have: is_extended=True"
            )

    def _check_length(self, length: int) -> None:
        if not self.is_fd:
            raise FrameError(
                f"CanFrame(id={_hex(self.id)}) has {length} bytes of data, expected at most 8; "
                "send several, or use CAN FD: is_fd=True"
            )
        if length not in FD_LENGTHS:
            higher = next((fits for fits in FD_LENGTHS if fits > length), None)
            remedy = "send several" if higher is None else f"fill them up to {higher}"
            raise FrameError(
                f"CanFrame(id={_hex(self.id)}) has {length} bytes of data, expected up to 8, or "
                f"12, 16, 20, 24, 32, 48 or 64; {remedy}"
            )

    def _check_remote(self) -> None:
        length = self.remote_length
        if not self.is_remote:
            raise FrameError(f"CanFrame(remote_length={length!r}): expected is_remote=True with it")
        if self.data or self.is_fd:
            raise FrameError(
                "CanFrame(is_remote=True): a remote frame has no data, and CAN FD has none; say "
                "with remote_length how many bytes are asked for"
            )
        if not is_whole(length, 0, 8):
            raise FrameError(f"CanFrame(remote_length={length!r}): expected 0 to 8")

    def __repr__(self) -> str:
        parts = [f"id={_hex(self.id)}"]
        if self.data:
            parts.append(f"data=bytes.fromhex({self.data.hex(' ')!r})")
        parts += [
            f"{flag}=True"
            for flag in ("is_extended", "is_remote", "is_error", "is_fd", "bitrate_switch")
            if getattr(self, flag)
        ]
        if self.remote_length:
            parts.append(f"remote_length={self.remote_length}")
        return f"CanFrame({', '.join(parts)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class CanFilter:
    """Which frames are wanted: those whose identifier equals `id` in all bits of `mask`.

    ::

        CanFilter(id=0x123)                 # this one
        CanFilter(id=0x100, mask=0x700)     # 0x100 to 0x1FF

    Attributes:
        id: An identifier.
        mask: Its bits that matter; all of them by default.
        extended: Whether only extended frames are wanted, or only standard ones; None: both.

    Raises:
        ConfigurationError: No frame could match.
    """

    id: int
    mask: int = EXTENDED_IDS
    extended: bool | None = None

    def __post_init__(self) -> None:
        for name, value in (("id", self.id), ("mask", self.mask)):
            if not is_whole(value):
                raise ConfigurationError(
                    f"CanFilter({name}={value!r:.80}): expected a whole number, such as 0x7FF"
                )
            if not 0 <= value <= EXTENDED_IDS:
                raise ConfigurationError(
                    f"CanFilter({name}={_hex(value)}): expected 0 to 0x1FFFFFFF"
                )
        if self.extended not in (None, True, False):
            raise ConfigurationError(
                f"CanFilter(extended={self.extended!r:.80}): expected True, False, or None for both"
            )
        if self.extended is False and self.id & self.mask > STANDARD_IDS:
            raise ConfigurationError(
                f"CanFilter(id={_hex(self.id)}, extended=False): expected an id up to 0x7FF, "
                "since no standard frame has a higher one"
            )

    def matches(self, frame: CanFrame) -> bool:
        """Whether a frame is wanted."""
        if self.extended is not None and self.extended != frame.is_extended:
            return False
        return (frame.id ^ self.id) & self.mask == 0


def _hex(number: int) -> str:
    return f"{number:#05x}" if number <= STANDARD_IDS else f"{number:#010x}"
