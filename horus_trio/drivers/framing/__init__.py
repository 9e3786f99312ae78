"""Framings: where messages begin and end in a stream of bytes. No I/O in here."""

from .checked import Checked
from .cobs import Cobs
from .crc import Crc
from .delimited import Delimited
from .fixed_length import FixedLength
from .framing import Framing
from .headed import Headed
from .length_prefixed import LengthPrefixed
from .lines import Lines
from .nmea import Nmea
from .slip import Slip

__all__ = [
    "Checked",
    "Cobs",
    "Crc",
    "Delimited",
    "FixedLength",
    "Framing",
    "Headed",
    "LengthPrefixed",
    "Lines",
    "Nmea",
    "Slip",
]
