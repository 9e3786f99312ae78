"""Checksums against the catalogue's check values, and against the model computed bit by bit."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from horus_trio.drivers import Crc
from horus_trio.errors import ConfigurationError

CATALOGUE = [
    (Crc.CRC8, 0xF4),
    (Crc.CRC8_MAXIM, 0xA1),
    (Crc.CRC16_MODBUS, 0x4B37),
    (Crc.CRC16_CCITT_FALSE, 0x29B1),
    (Crc.CRC16_XMODEM, 0x31C3),
    (Crc.CRC32, 0xCBF43926),
    # Those of the catalogue that show the parameters one by one
    (Crc(8, 0x1D, init=0xFF, xor_out=0xFF), 0x4B),  # SAE-J1850
    (Crc(16, 0x8005, reflected=True), 0xBB3D),  # ARC
    (Crc(16, 0x1021, reflected=True), 0x2189),  # KERMIT
    (Crc(16, 0x1021, init=0xFFFF, reflected=True, xor_out=0xFFFF), 0x906E),  # IBM-SDLC
    (Crc(16, 0x1021, init=0xB2AA, reflected=True), 0x63D0),  # RIELLO
    (Crc(16, 0x1021, init=0xFFFF, xor_out=0xFFFF), 0xD64E),  # GENIBUS
    (Crc(16, 0x8005, xor_out=0x0000), 0xFEE8),  # UMTS
    (Crc(24, 0x864CFB, init=0xB704CE), 0x21CF02),  # OPENPGP
    (Crc(32, 0x04C11DB7, init=0xFFFFFFFF, xor_out=0xFFFFFFFF), 0xFC891918),  # BZIP2
    (Crc(32, 0x04C11DB7, init=0xFFFFFFFF, reflected=True), 0x340BC6D9),  # JAMCRC
    (
        Crc(32, 0x1EDC6F41, init=0xFFFFFFFF, reflected=True, xor_out=0xFFFFFFFF),  # ISCSI
        0xE3069283,
    ),
    (
        Crc(64, 0x42F0E1EBA9EA3693, init=(1 << 64) - 1, reflected=True, xor_out=(1 << 64) - 1),
        0x995DC9BBDF1939FA,  # XZ
    ),
    (Crc(64, 0x42F0E1EBA9EA3693), 0x6C40DF5F0B497347),  # ECMA-182
]


@pytest.mark.parametrize(("crc", "check"), CATALOGUE, ids=lambda value: repr(value))
def test_the_catalogues_check_value(crc: Crc, check: int) -> None:
    assert crc(b"123456789") == check


def mirrored(value: int, width: int) -> int:
    return sum((value >> bit & 1) << (width - 1 - bit) for bit in range(width))


def by_bits(crc: Crc, data: bytes) -> int:
    """Williams' model: a register, one bit at a time."""
    register = crc.init
    for byte in data:
        for bit in range(8):
            taken = byte >> (bit if crc.reflected else 7 - bit) & 1
            top = register >> (crc.width - 1) & 1
            register = register << 1 & (1 << crc.width) - 1
            if taken ^ top:
                register ^= crc.polynomial
    if crc.reflected:
        register = mirrored(register, crc.width)
    return register ^ crc.xor_out


@st.composite
def crcs(draw: st.DrawFn) -> Crc:
    width = draw(st.sampled_from([8, 16, 24, 32, 40, 64]))
    known = st.sampled_from([0x1021, 0x04C11DB7]).filter(lambda value: value < 1 << width)
    numbers = st.integers(0, (1 << width) - 1)
    return Crc(
        width,
        draw((known if width > 8 else st.nothing()) | numbers.map(lambda value: value | 1)),
        init=draw(numbers),
        reflected=draw(st.booleans()),
        xor_out=draw(numbers),
    )


@given(crcs() | st.sampled_from([crc for crc, _ in CATALOGUE]), st.binary(max_size=40))
def test_it_is_the_model_computed_bit_by_bit(crc: Crc, data: bytes) -> None:
    assert crc(data) == by_bits(crc, data)


def test_it_is_a_value() -> None:
    same = Crc(16, 0x8005, init=0xFFFF, reflected=True)
    assert same == Crc.CRC16_MODBUS
    assert hash(same) == hash(Crc.CRC16_MODBUS)
    assert copy.deepcopy(same) == pickle.loads(pickle.dumps(same)) == same
    assert same.size == 2


@pytest.mark.parametrize("crc", [crc for crc, _ in CATALOGUE])
def test_its_repr_is_how_it_is_written(crc: Crc) -> None:
    assert eval(repr(crc)) == crc  # noqa: S307


def test_what_it_looks_like() -> None:
    assert repr(Crc.CRC16_MODBUS) == "Crc.CRC16_MODBUS"
    assert repr(Crc(8, 0x1D, init=0xFF)) == (
        "Crc(8, 0x1d, init=0xff, reflected=False, xor_out=0x0)"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"width": 0}, r"Crc\(width=0\): expected bits, 8 to 64"),
        ({"width": 12}, r"Crc\(width=12\): expected whole bytes: 8, 16, … 64"),
        ({"width": 72}, r"Crc\(width=72\): expected bits, 8 to 64"),
        ({"width": "16"}, r"Crc\(width='16'\): expected bits"),
        ({"polynomial": 0}, r"Crc\(polynomial=0\): expected a number of 16 bits, 1 to 65535"),
        ({"polynomial": 0x11021}, r"Crc\(polynomial=69665\): expected a number of 16 bits"),
        ({"init": -1}, r"Crc\(init=-1\): expected a number of 16 bits, 0 to 65535"),
        ({"xor_out": 1 << 16}, r"Crc\(xor_out=65536\): expected a number of 16 bits"),
        ({"xor_out": True}, r"Crc\(xor_out=True\): expected a number"),
    ],
)
def test_wrong_parameters_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Crc(**{"width": 16, "polynomial": 0x1021, **arguments})
