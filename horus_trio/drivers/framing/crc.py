"""Cyclic redundancy checks, in the parameters of Ross Williams' model."""

from __future__ import annotations

import binascii
import functools
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

from ...errors import ConfigurationError
from .framing import check_number

__all__ = ["Crc", "checksum_function"]


@dataclass(frozen=True, slots=True, repr=False)
class Crc:
    """A cyclic redundancy check: called with bytes, it gives their checksum.

    The parameters are those of R. Williams, "A Painless Guide to CRC Error Detection Algorithms"
    (1993), in which catalogues list the checks that are in use.

    Arguments:
        width: Bits: 8, 16, 24, … 64.
        polynomial: Without its highest bit, the highest of the others first.
        init: What the register begins with.
        reflected: Whether the lowest bit of each byte, and of the checksum, comes first.
        xor_out: What the register is combined with at the end.
        name: For its repr.

    Attributes:
        CRC8: CRC-8/SMBUS, also just called CRC-8.
        CRC8_MAXIM: CRC-8/MAXIM-DOW, of the 1-Wire bus.
        CRC16_MODBUS: CRC-16/MODBUS. Modbus sends it with ``byteorder="little"``.
        CRC16_CCITT_FALSE: CRC-16/IBM-3740, often called CCITT-FALSE.
        CRC16_XMODEM: CRC-16/XMODEM, sometimes called CCITT.
        CRC32: CRC-32/ISO-HDLC, of Ethernet, zip and `zlib.crc32`.
    """

    width: int
    polynomial: int
    init: int = field(default=0, kw_only=True)
    reflected: bool = field(default=False, kw_only=True)
    xor_out: int = field(default=0, kw_only=True)
    name: str = field(default="", kw_only=True, compare=False)

    CRC8: ClassVar[Crc]
    CRC8_MAXIM: ClassVar[Crc]
    CRC16_MODBUS: ClassVar[Crc]
    CRC16_CCITT_FALSE: ClassVar[Crc]
    CRC16_XMODEM: ClassVar[Crc]
    CRC32: ClassVar[Crc]

    def __post_init__(self) -> None:
        check_number(self, "width", self.width, least=8, most=64, what="bits")
        if self.width % 8:
            raise ConfigurationError(f"Crc(width={self.width}): expected whole bytes: 8, 16, … 64")
        most = (1 << self.width) - 1
        what = f"a number of {self.width} bits"
        check_number(self, "polynomial", self.polynomial, least=1, most=most, what=what)
        check_number(self, "init", self.init, least=0, most=most, what=what)
        check_number(self, "xor_out", self.xor_out, least=0, most=most, what=what)

    def __repr__(self) -> str:
        if self.name:
            return f"Crc.{self.name}"
        return (
            f"Crc({self.width}, {self.polynomial:#x}, init={self.init:#x}, "
            f"reflected={self.reflected}, xor_out={self.xor_out:#x})"
        )

    def __call__(self, data: bytes) -> int:
        """The checksum of these bytes."""
        return checksum_function(self)(data)

    @property
    def size(self) -> int:
        """Bytes of a checksum."""
        return self.width // 8


@functools.cache
def checksum_function(crc: Crc) -> Callable[[bytes], int]:
    """The function that computes it, of the standard library where that has it."""
    ones = (1 << crc.width) - 1
    mark = (crc.width, crc.polynomial, crc.reflected)
    init = mirrored(crc.init, crc.width) if crc.reflected else crc.init
    xor_out = crc.xor_out
    if mark == (32, 0x04C11DB7, True):
        if (init, xor_out) == (ones, ones):
            return zlib.crc32
        return lambda data: zlib.crc32(data, init ^ ones) ^ ones ^ xor_out
    if mark == (16, 0x1021, False):
        return lambda data: binascii.crc_hqx(data, init) ^ xor_out
    function = low_first if crc.reflected else high_first
    return function(crc.width, crc.polynomial, init, xor_out)


def mirrored(value: int, width: int) -> int:
    """The bits in the other order."""
    return int(f"{value:0{width}b}"[::-1], 2)


def low_first(width: int, polynomial: int, init: int, xor_out: int) -> Callable[[bytes], int]:
    """By a table of what a byte makes of the register, whose lowest bit goes first."""
    low = mirrored(polynomial, width)

    def after(register: int) -> int:
        for _bit in range(8):
            register = register >> 1 ^ (low if register & 1 else 0)
        return register

    table = tuple(map(after, range(256)))

    def checksum(data: bytes) -> int:
        register = init
        for byte in data:
            register = register >> 8 ^ table[register & 0xFF ^ byte]
        return register ^ xor_out

    return checksum


def high_first(width: int, polynomial: int, init: int, xor_out: int) -> Callable[[bytes], int]:
    """By a table of what a byte makes of the register, whose highest bit goes first."""
    ones, shift = (1 << width) - 1, width - 8

    def after(byte: int) -> int:
        register = byte << shift
        for _bit in range(8):
            register = (register << 1 ^ (polynomial if register >> width - 1 else 0)) & ones
        return register

    table = tuple(map(after, range(256)))

    def checksum(data: bytes) -> int:
        register = init
        for byte in data:
            register = register << 8 & ones ^ table[register >> shift ^ byte]
        return register ^ xor_out

    return checksum


Crc.CRC8 = Crc(8, 0x07, name="CRC8")
Crc.CRC8_MAXIM = Crc(8, 0x31, reflected=True, name="CRC8_MAXIM")
Crc.CRC16_MODBUS = Crc(16, 0x8005, init=0xFFFF, reflected=True, name="CRC16_MODBUS")
Crc.CRC16_CCITT_FALSE = Crc(16, 0x1021, init=0xFFFF, name="CRC16_CCITT_FALSE")
Crc.CRC16_XMODEM = Crc(16, 0x1021, name="CRC16_XMODEM")
Crc.CRC32 = Crc(32, 0x04C11DB7, init=0xFFFFFFFF, reflected=True, xor_out=0xFFFFFFFF, name="CRC32")
