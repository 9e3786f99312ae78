"""The inertial sensor's frames: how a sample becomes bytes, and bytes become samples again.

A frame is little-endian: ``AA 55``, the payload's length, the payload (sequence number, device
time in microseconds, angular rates, accelerations), and a CRC-16/XMODEM of length and payload.
A serial line gives no frame boundaries and no promises, so the parser takes bytes in any pieces,
steps over whatever is not a frame and finds the next one.
"""

from __future__ import annotations

import binascii
import struct
from typing import NamedTuple

__all__ = ["FRAME_SIZE", "FrameParser", "Sample", "encode"]

SYNC = b"\xaa\x55"
_PAYLOAD = struct.Struct("<II6f")
_HEADER = SYNC + bytes([_PAYLOAD.size])
_CHECKSUM = struct.Struct("<H")

FRAME_SIZE = len(_HEADER) + _PAYLOAD.size + _CHECKSUM.size
"""Bytes in a frame."""


class Sample(NamedTuple):
    """One measurement.

    Attributes:
        sequence: Its number, modulo 2**32.
        time: Seconds since the device started, modulo 2**32 microseconds.
        gyro: Angular rates about x, y, z in rad/s.
        accel: Accelerations along x, y, z in m/s^2.
    """

    sequence: int
    time: float
    gyro: tuple[float, float, float]
    accel: tuple[float, float, float]


def encode(sample: Sample) -> bytes:
    """The frame of a sample; rates and accelerations are rounded to single precision."""
    microseconds = round(sample.time * 1e6) % 2**32
    payload = _PAYLOAD.pack(sample.sequence % 2**32, microseconds, *sample.gyro, *sample.accel)
    body = bytes([len(payload)]) + payload
    return SYNC + body + _CHECKSUM.pack(binascii.crc_hqx(body, 0))


class FrameParser:
    """Turns the bytes of a line into samples.

    Attributes:
        accepted: Frames that were good.
        rejected: Frames that were not. Bytes between good frames that make none are counted,
            when the next good frame ends them, as the frames they would fill, at least one.
    """

    def __init__(self) -> None:
        self.accepted: int = 0
        self.rejected: int = 0
        self._buffer = bytearray()
        self._skipped = 0

    def feed(self, data: bytes) -> list[Sample]:
        """Take the next bytes; returns the samples they complete, oldest first."""
        buffer = self._buffer
        buffer += data
        samples: list[Sample] = []
        while True:
            self._skip_to_header()
            if len(buffer) < FRAME_SIZE:
                return samples
            sample = _decode(bytes(buffer[:FRAME_SIZE]))
            if sample is None:
                self._skip(1)
                continue
            del buffer[:FRAME_SIZE]
            samples.append(sample)
            self.accepted += 1
            if self._skipped:
                self.rejected += max(1, round(self._skipped / FRAME_SIZE))
                self._skipped = 0

    def reset(self) -> None:
        """Forget a frame half received: the line was opened anew."""
        self._buffer.clear()
        self._skipped = 0

    def _skip_to_header(self) -> None:
        """Step over all that can not be, or become, the beginning of a frame."""
        buffer = self._buffer
        start = buffer.find(_HEADER)
        if start < 0:
            tail = next(n for n in (2, 1, 0) if buffer.endswith(_HEADER[:n]))
            start = len(buffer) - tail
        if start:
            self._skip(start)

    def _skip(self, count: int) -> None:
        del self._buffer[:count]
        self._skipped += count


def _decode(frame: bytes) -> Sample | None:
    body, checksum = frame[len(SYNC) : -_CHECKSUM.size], frame[-_CHECKSUM.size :]
    if _CHECKSUM.unpack(checksum)[0] != binascii.crc_hqx(body, 0):
        return None
    sequence, microseconds, gx, gy, gz, ax, ay, az = _PAYLOAD.unpack(body[1:])
    return Sample(sequence, microseconds / 1e6, (gx, gy, gz), (ax, ay, az))
