"""Bad arguments and messages are errors that name the class, the value and the remedy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from horus_trio.drivers import (
    Checked,
    Cobs,
    Crc,
    Delimited,
    FixedLength,
    FrameError,
    Framing,
    Headed,
    LengthPrefixed,
    Lines,
    Nmea,
    Slip,
)
from horus_trio.errors import ConfigurationError


def call(cls: Callable[..., Framing], *arguments: Any, **options: Any) -> Callable[[], Framing]:
    """That call, later; mypy does not look at the arguments."""
    return lambda: cls(*arguments, **options)


@pytest.mark.parametrize("cls", [Lines, LengthPrefixed, Cobs, Slip, Nmea])
@pytest.mark.parametrize("max_frame", [0, -1, 1.5, "64", None, True])
def test_max_frame_is_a_number_of_bytes(cls: Callable[..., Framing], max_frame: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        cls(max_frame=max_frame)
    assert str(caught.value) == (
        f"{cls.__name__}(max_frame={max_frame!r}): expected bytes, 1 or more"
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            call(Delimited, b""),
            "Delimited(delimiter=b''): expected 1 to max_frame=65536 bytes, such as",
        ),
        (call(Delimited, "\n"), "Delimited(delimiter='\\n'): expected 1 to"),
        (call(Delimited, b"\r\n", max_frame=1), "expected 1 to max_frame=1 bytes"),
        (
            call(Lines, b"\r"),
            'Lines(ending=b\'\\r\'): expected b"\\n" or b"\\r\\n"; Delimited(…) takes others',
        ),
        (call(Lines, "\n"), "Lines(ending='\\n'): expected"),
        (call(FixedLength, 0), "FixedLength(size=0): expected bytes, 1 or more"),
        (call(FixedLength, 2.0), "FixedLength(size=2.0): expected bytes, 1 or more"),
        (call(FixedLength, 2, start="$"), "FixedLength(start='$'): expected bytes that every"),
        (call(LengthPrefixed, 3), "LengthPrefixed(width=3): expected 1, 2 or 4 bytes"),
        (call(LengthPrefixed, True), "LengthPrefixed(width=True): expected 1, 2 or 4"),
        (call(LengthPrefixed, "2"), "LengthPrefixed(width='2'): expected 1, 2 or 4"),
        (
            call(LengthPrefixed, byteorder="native"),
            "LengthPrefixed(byteorder='native'): expected 'big' or 'little'",
        ),
        (
            call(LengthPrefixed, start=None),
            "LengthPrefixed(start=None): expected bytes that every message begins with, such as",
        ),
        (call(Nmea, max_frame=1), "Nmea(max_frame=1): expected more than the 1 bytes of the"),
        (
            call(LengthPrefixed, 4, start=b"ab", max_frame=5),
            "LengthPrefixed(max_frame=5): expected at least the 6 bytes of start mark and length",
        ),
        (
            call(Checked, b"\n", crc=Crc.CRC8),
            "Checked(b'\\n'): expected a framing, such as Cobs()",
        ),
        (
            call(Checked, Cobs, crc=Crc.CRC8),
            "Checked(<class 'horus_trio.drivers.framing.cobs.Cobs'>): expected a framing, such as",
        ),
        (
            call(Checked, Lines(), crc=Crc.CRC8),
            "checksum; use Cobs(), Slip(), LengthPrefixed(…) or FixedLength(…)",
        ),
        (call(Checked, Nmea(), crc=Crc.CRC8), "Checked(Nmea()): expected a framing for any"),
        (call(Checked, Delimited(b"\0"), crc=Crc.CRC8), "expected a framing for any bytes"),
        (
            call(Checked, Cobs(), crc="CRC-32"),
            "Checked(crc='CRC-32'): expected a Crc, such as Crc.CRC16_MODBUS",
        ),
        (
            call(Checked, Cobs(), crc=Crc.CRC32, byteorder="middle"),
            "Checked(byteorder='middle'): expected 'big' or 'little'",
        ),
    ],
)
def test_arguments_that_make_no_sense_are_refused(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make()
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("framing", "message", "error"),
    [
        (Lines(), b"one\ntwo", "a line feed is in the line b'one\\ntwo', which would"),
        (Lines(), b"one\r", "ends with a carriage return, which would be taken for part of"),
        (Delimited(b"--"), b"a--b", "the delimiter b'--' is in the message b'a--b'"),
        (Delimited(b"--"), b"a-", "the delimiter b'--' is in the message b'a-'"),
        (Delimited(b"\n", max_frame=4), b"1234", "5 bytes, framed, is longer than max_frame=4"),
        (FixedLength(4), b"123", "a message of 3 bytes, expected 4: b'123'; fill it up or"),
        (FixedLength(4), b"12345", "a message of 5 bytes, expected 4"),
        (LengthPrefixed(1), bytes(256), "256 bytes, expected at most 255 for a length of width=1"),
        (LengthPrefixed(1, includes_itself=True), bytes(255), "255 bytes, expected at most 254"),
        (LengthPrefixed(2, max_frame=8), bytes(7), "9 bytes, framed, is longer than max_frame=8"),
        (Cobs(max_frame=8), bytes(7), "9 bytes, framed, is longer than max_frame=8; raise"),
        (Slip(), b"", "an empty message does not arrive over SLIP; send at least one byte"),
        (Slip(max_frame=8), b"\xc0" * 4, "10 bytes, framed, is longer than max_frame=8"),
        (Nmea(), b"$GPGLL,A*31\r\n", "leave out the $ and the checksum, which are added"),
        (Nmea(), b"", "expected printable ASCII without $, ! and *, got b''"),
        (Nmea(), b"!", "expected printable ASCII"),
        (Nmea(), "GPTXT,\xe9".encode(), "expected printable ASCII"),
        (Nmea(), b"GPTXT\n", "expected printable ASCII"),
        (
            Checked(FixedLength(4), crc=Crc.CRC16_MODBUS),
            b"123",
            "with its checksum of 2 bytes: a message of 5 bytes, expected 4",
        ),
        (Checked(Cobs(max_frame=8), crc=Crc.CRC32), b"123", "9 bytes, framed, is longer than"),
    ],
)
def test_messages_that_cannot_be_sent_are_refused(
    framing: Framing, message: bytes, error: str
) -> None:
    with pytest.raises(FrameError) as caught:
        framing.encode(message)
    assert error in str(caught.value)
    assert (framing.frames, framing.rejected, framing.discarded) == (0, 0, 0)


@pytest.mark.parametrize(
    "text",
    [
        "Delimited(b'\\r\\n')",
        "Delimited(b';', max_frame=80)",
        "Lines()",
        "Lines(b'\\r\\n')",
        "Lines(max_frame=80)",
        "FixedLength(9)",
        "FixedLength(9, start=b'YY')",
        "LengthPrefixed(2)",
        "LengthPrefixed(4, byteorder=\"little\", includes_itself=True, start=b'YY', max_frame=80)",
        "Cobs()",
        "Cobs(max_frame=80)",
        "Slip()",
        "Nmea()",
        "Nmea(require_checksum=False, max_frame=100)",
        "Checked(Cobs(), crc=Crc.CRC32)",
        'Checked(LengthPrefixed(1), crc=Crc.CRC16_MODBUS, byteorder="little")',
    ],
)
def test_a_repr_is_how_it_is_written(text: str) -> None:
    assert repr(eval(text)) == text  # noqa: S307


def test_a_message_that_ends_where_it_begins_is_no_endless_loop() -> None:
    class Stuck(Headed):
        def _wrap(self, message: bytes) -> bytes:
            return message

        def _read(self, data: bytes, at: int) -> tuple[int, bytes | None]:
            return at, b""

    with pytest.raises(ConfigurationError, match=r"Stuck\._read\(data, 0\) says .* ends at 0;"):
        Stuck().feed(b"a")


def test_a_framing_without_its_methods_cannot_be_made() -> None:
    class Half(Headed):
        def _wrap(self, message: bytes) -> bytes:
            return message

    with pytest.raises(TypeError, match="_read"):
        Half()  # type: ignore[abstract]
