"""slcan: what serial CAN adapters speak, in lines of text. It does no I/O.

The commands are those of Lawicel's adapters; the lines that tell states and errors those which
Linux's own slcan driver knows; the frames of CAN FD those of CANable's adapters.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from ..errors import FrameError
from .frame import FD_LENGTHS, CanFrame
from .state import CanBusState

__all__ = [
    "BITRATES",
    "DATA_BITRATES",
    "Flags",
    "Item",
    "Reply",
    "SlcanDecoder",
    "encode",
    "listed",
]

BITRATES = {
    10_000: b"S0",
    20_000: b"S1",
    50_000: b"S2",
    100_000: b"S3",
    125_000: b"S4",
    250_000: b"S5",
    500_000: b"S6",
    750_000: b"S7",
    800_000: b"S7",
    1_000_000: b"S8",
    83_300: b"S9",
}
"""The command for each bit rate. Lawicel's S7 is 800 kbit/s, that of others 750."""

DATA_BITRATES = {2_000_000: b"Y2", 5_000_000: b"Y5"}
"""The command for each bit rate of the data of CAN FD."""

LONGEST = 160
"""Bytes of a line at most: a frame of CAN FD has 138."""


class Reply(enum.Enum):
    """What an adapter answers to a command."""

    DONE = "done"
    REFUSED = "refused"
    VERSION = "version"


@dataclass(frozen=True, slots=True)
class Flags:
    """The flags of its status, which ``F`` asks for.

    Attributes:
        bits: As they came.
    """

    bits: int

    @property
    def overrun(self) -> bool:
        """Whether frames that came were lost."""
        return bool(self.bits & 0x09)

    @property
    def bus_error(self) -> bool:
        """Whether there were errors on the bus."""
        return bool(self.bits & 0x80)

    @property
    def state(self) -> CanBusState:
        """How the controller is; nothing in them says that it is off the bus."""
        if self.bits & 0x20:
            return CanBusState.PASSIVE
        return CanBusState.WARNING if self.bits & 0x84 else CanBusState.ACTIVE


Item: TypeAlias = CanFrame | Reply | Flags | CanBusState
"""What a line may be."""

HEX = rb"[0-9A-Fa-f]"
FRAME = re.compile(
    rb"([trdb])([0-7]%(hex)s{2})(%(hex)s)(%(hex)s*)|([TRDBx])([01]%(hex)s{7})(%(hex)s)(%(hex)s*)"
    % {b"hex": HEX}
)
FLAGS = re.compile(rb"F(%s{2})" % HEX)
STATE = re.compile(rb"s([awpb])\d{6}")
ERROR = re.compile(rb"e(%s)([abBcfsoO]*)" % HEX)
VERSION = re.compile(rb"[vV][ -~]{2,}")
SERIAL_NUMBER = re.compile(rb"N[ -~]{4}")

STATES = {
    b"a": CanBusState.ACTIVE,
    b"w": CanBusState.WARNING,
    b"p": CanBusState.PASSIVE,
    b"b": CanBusState.BUS_OFF,
}

ERRORS = {
    "a": (0xA0, 0, 0),  # no acknowledgement
    "b": (0x88, 2, 0x08),  # a dominant bit could not be sent
    "B": (0x88, 2, 0x10),  # a recessive bit could not be sent
    "c": (0x88, 3, 0x08),  # checksum
    "f": (0x88, 2, 0x02),  # form
    "s": (0x88, 2, 0x04),  # bit stuffing
    "o": (0x04, 1, 0x01),  # frames that came were lost
    "O": (0x04, 1, 0x02),  # frames to be sent were lost
}
"""The classes, and a byte of the data and a bit in it, as in Linux's error frames."""


class SlcanDecoder:
    """Makes frames, replies and states of bytes, however they are cut.

    Arguments:
        channel: Of its frames.

    Attributes:
        rejected: Lines that were none of slcan's.
        discarded: Their bytes.
    """

    def __init__(self, channel: str = "") -> None:
        self.rejected: int = 0
        self.discarded: int = 0
        self._channel = channel
        self.reset()

    def reset(self) -> None:
        """Forget a line that has begun."""
        self._rest = b""
        self._is_skipping = False

    def feed(self, data: bytes, timestamp: float) -> list[Item]:
        """What is complete with these bytes.

        Arguments:
            data: They have come.
            timestamp: When.
        """
        # A refusal ends what it stands in, too, but there is no other end after it.
        *lines, rest = (self._rest + data).replace(b"\a", b"\a\r").split(b"\r")
        items: list[Item] = []
        for line in lines:
            # Too long a line is none, whether it has come in one piece or in many.
            if self._is_skipping or len(line) - line.endswith(b"\a") > LONGEST:
                line = self._skip(line)
                if not line:
                    continue
            items += self._items(line, timestamp)
        if self._is_skipping or len(rest) > LONGEST:
            self.rejected += not self._is_skipping
            self.discarded += len(rest)
            self._is_skipping = True
            rest = b""
        self._rest = rest
        return items

    def _skip(self, line: bytes) -> bytes:
        """Throw the end of too long a line away, up to a refusal, if one ends it."""
        self.rejected += not self._is_skipping
        self._is_skipping = False
        self.discarded += len(line.removesuffix(b"\a"))
        return line[-1:] if line.endswith(b"\a") else b""

    def _items(self, line: bytes, timestamp: float) -> list[Item]:
        """What a line is: nothing, one thing, or a refusal after something cut off."""
        match = FRAME.fullmatch(line)
        if match is not None:
            frame = self._frame(match, timestamp)
            return self._reject(line) if frame is None else [frame]
        if not line or line in (b"z", b"Z"):
            return [Reply.DONE]
        if line.endswith(b"\a"):
            if len(line) > 1:
                self._reject(line[:-1])
            return [Reply.REFUSED]
        if line.startswith(b"\n"):  # the end of a line as others have it
            rest = line.lstrip(b"\n")
            return self._items(rest, timestamp) if rest else []
        if match := FLAGS.fullmatch(line):
            return [Flags(int(match[1], 16))]
        if match := STATE.fullmatch(line):
            return [STATES[match[1]]]
        if match := ERROR.fullmatch(line):
            if int(match[1], 16) == len(match[2]):
                return [self._error(match[2].decode(), timestamp)]
        elif VERSION.fullmatch(line):
            return [Reply.VERSION]
        elif SERIAL_NUMBER.fullmatch(line):  # nobody here has asked for it
            return []
        return self._reject(line)

    def _reject(self, line: bytes) -> list[Item]:
        self.rejected += 1
        self.discarded += len(line)
        return []

    def _frame(self, match: re.Match[bytes], timestamp: float) -> CanFrame | None:
        """A frame, or None if its length is wrong."""
        is_extended = match[1] is None
        kind, number, code, digits = (
            match.group(5, 6, 7, 8) if is_extended else match.group(1, 2, 3, 4)
        )
        is_fd = kind in b"dDbB"
        length = FD_LENGTHS[int(code, 16)]
        is_remote = kind in b"rR"
        if length > 8 and not is_fd:
            return None
        size = 0 if is_remote else 2 * length
        if len(digits) != size and len(digits) != size + 4:  # with the adapter's own clock, in ms
            return None
        return CanFrame(
            id=int(number, 16),
            data=bytes.fromhex(digits[:size].decode()),
            is_extended=is_extended,
            is_remote=is_remote,
            remote_length=length if is_remote else 0,
            is_fd=is_fd,
            bitrate_switch=kind in b"bB",
            timestamp=timestamp,
            channel=self._channel,
        )

    def _error(self, letters: str, timestamp: float) -> CanFrame:
        classes, data = 0, bytearray(8)
        for letter in letters:
            kind, place, bit = ERRORS[letter]
            classes |= kind
            data[place] |= bit
        return CanFrame(
            id=classes, data=bytes(data), is_error=True, timestamp=timestamp, channel=self._channel
        )


def encode(frame: CanFrame) -> bytes:
    """A frame as a line.

    Raises:
        FrameError: It tells of an error.
    """
    if frame.is_error:
        raise FrameError(f"{frame!r} cannot be sent: error frames only come")
    if frame.is_remote:
        kind, length, data = "r", frame.remote_length, ""
    else:
        kind = "b" if frame.bitrate_switch else "d" if frame.is_fd else "t"
        length, data = FD_LENGTHS.index(len(frame.data)), frame.data.hex().upper()
    number = f"{frame.id:08X}" if frame.is_extended else f"{frame.id:03X}"
    return f"{kind.upper() if frame.is_extended else kind}{number}{length:X}{data}\r".encode()


def listed(rates: Iterable[int]) -> str:
    """Rates as text, in order."""
    return ", ".join(str(rate) for rate in sorted(rates))
