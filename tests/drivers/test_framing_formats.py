"""Each format as its specification has it, by literal examples and by the algorithms printed there.

Where a specification comes with a program, that is written down here word by word, and compared.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from horus_trio.drivers import (
    Checked,
    Cobs,
    Crc,
    Delimited,
    FixedLength,
    FrameError,
    Framing,
    LengthPrefixed,
    Lines,
    Nmea,
    Slip,
)


def fed(framing: Framing, *pieces: bytes) -> list[bytes]:
    return [message for piece in pieces for message in framing.feed(piece)]


# Delimiters


def test_lines_end_either_way() -> None:
    framing = Lines()
    assert fed(framing, b"one\r\ntw", b"o\n\r", b"\n\nthr\ree\r\r\n") == [
        b"one",
        b"two",
        b"",
        b"",
        b"thr\ree\r",
    ]
    assert (framing.rejected, framing.discarded) == (0, 0)


@pytest.mark.parametrize("ending", [b"\n", b"\r\n"])
def test_lines_are_sent_one_way(ending: bytes) -> None:
    assert Lines(ending).encode(b"*IDN?") == b"*IDN?" + ending
    assert Lines(ending).encode(b"") == ending


def test_a_delimiter_is_found_from_the_front() -> None:
    """From the back, ``aaa`` would be another message than in pieces."""
    for pieces in ([b"xaaay", b"aa"], [b"xaa", b"aya", b"a"], [b"xa", b"aa", b"yaa"]):
        assert fed(Delimited(b"aa"), *pieces) == [b"x", b"ay"]


def test_a_delimiter_is_found_across_pieces() -> None:
    pieces = (b"one<e", b"nd", b">two<en", b"t><end>")
    assert fed(Delimited(b"<end>"), *pieces) == [b"one", b"two<ent>"]


def test_too_long_a_line_is_skipped_to_its_end() -> None:
    framing = Lines(max_frame=6)
    assert fed(framing, b"12345\n123456\n1\n") == [b"12345", b"1"]
    assert (framing.rejected, framing.discarded) == (1, 7)
    assert fed(framing, b"123", b"456", b"789", b"\n2\n") == [b"2"]
    assert (framing.rejected, framing.discarded, framing.pending) == (2, 17, 0)


# Lengths


@pytest.mark.parametrize(
    ("framing", "data"),
    [
        (LengthPrefixed(1), b"\x03abc"),
        (LengthPrefixed(2), b"\x00\x03abc"),
        (LengthPrefixed(4), b"\x00\x00\x00\x03abc"),
        (LengthPrefixed(2, byteorder="little"), b"\x03\x00abc"),
        (LengthPrefixed(4, byteorder="little"), b"\x03\x00\x00\x00abc"),
        (LengthPrefixed(2, includes_itself=True), b"\x00\x05abc"),
        (LengthPrefixed(1, start=b"\xff\xfe"), b"\xff\xfe\x03abc"),
        (LengthPrefixed(1, start=b"\xff", includes_itself=True), b"\xff\x04abc"),
        (FixedLength(3), b"abc"),
        (FixedLength(3, start=b"YY"), b"YYabc"),
    ],
    ids=repr,
)
def test_lengths_as_written(framing: Framing, data: bytes) -> None:
    assert framing.encode(b"abc") == data
    assert framing.feed(data) == [b"abc"]


def test_a_length_that_cannot_be_is_searched_past() -> None:
    framing = LengthPrefixed(2, start=b"\xd3", max_frame=16)
    data = framing.encode(b"one") + b"\xd3\xff\xff" + framing.encode(b"two")
    assert framing.feed(data) == [b"one", b"two"]
    assert (framing.rejected, framing.discarded) == (1, 3)
    itself = LengthPrefixed(1, includes_itself=True, start=b"\xd3")
    assert itself.feed(b"\xd3\x00\xd3\x02a") == [b"a"]
    assert (itself.rejected, itself.discarded) == (1, 2)


def test_a_length_that_is_too_long_is_not_waited_for() -> None:
    framing = LengthPrefixed(4, max_frame=1024)
    assert framing.feed(b"\xff\xff\xff\xff") == []
    assert (framing.rejected, framing.discarded, framing.pending) == (1, 1, 3)
    # Nor are ff ff ff 00, ff ff 00 00 and ff 00 00 00 lengths.
    assert framing.feed(b"\x00\x00\x00\x01a") == [b"a"]
    assert (framing.rejected, framing.discarded, framing.pending) == (1, 4, 0)


def test_what_a_wrong_length_has_swallowed_is_found_if_it_is_checked() -> None:
    checked = Checked(LengthPrefixed(2, max_frame=40), crc=Crc.CRC16_MODBUS)
    frames = [checked.encode(text) for text in (b"one", b"two", b"three")]
    damaged = b"\x00\x20" + frames[0][2:]
    assert checked.feed(damaged + frames[1] + frames[2]) == []  # it may be one of 32 bytes
    assert checked.feed(checked.encode(bytes(16))) == [b"two", b"three", bytes(16)]
    assert (checked.rejected, checked.discarded) == (1, len(damaged))


def test_a_fixed_length_is_in_step_again_if_it_is_checked() -> None:
    checked = Checked(FixedLength(6), crc=Crc.CRC16_CCITT_FALSE)
    stream = b"".join(map(checked.encode, (b"wink", b"bell", b"drum")))
    assert checked.feed(stream[3:]) == [b"bell", b"drum"]
    assert (checked.rejected, checked.discarded) == (1, 3)


def test_each_message_with_a_wrong_checksum_counts_once() -> None:
    checked = Checked(FixedLength(6), crc=Crc.CRC32)
    wrong = bytes(range(6))
    assert checked.feed(wrong * 3) == []
    checked.reset()
    assert (checked.rejected, checked.discarded) == (3, 18)


# COBS

COBS_EXAMPLES = [
    ("00", "01 01"),
    ("00 00", "01 01 01"),
    ("00 11 00", "01 02 11 01"),
    ("11 22 00 33", "03 11 22 02 33"),
    ("11 22 33 44", "05 11 22 33 44"),
    ("11 00 00 00", "02 11 01 01 01"),
    ("", "01"),
    # Around a block's 254 bytes
    (bytes(range(1, 0xFE)).hex(), "fe" + bytes(range(1, 0xFE)).hex()),
    (bytes(range(1, 0xFF)).hex(), "ff" + bytes(range(1, 0xFF)).hex()),
    ("00" + bytes(range(1, 0xFF)).hex(), "01 ff" + bytes(range(1, 0xFF)).hex()),
    (bytes(range(1, 0x100)).hex(), "ff" + bytes(range(1, 0xFF)).hex() + "02 ff"),
    (bytes(range(2, 0x100)).hex() + "00", "ff" + bytes(range(2, 0x100)).hex() + "01 01"),
    (bytes(range(3, 0x100)).hex() + "00 01", "fe" + bytes(range(3, 0x100)).hex() + "02 01"),
]


@pytest.mark.parametrize(("message", "code"), COBS_EXAMPLES)
def test_cobs_as_written(message: str, code: str) -> None:
    framing = Cobs()
    data = bytes.fromhex(code) + b"\0"
    assert framing.encode(bytes.fromhex(message)) == data
    assert framing.feed(data) == [bytes.fromhex(message)]


def unstuff_data(code: bytes) -> bytes:
    """UnStuffData, as the paper prints it; the zero at the end stands for the packet's end."""
    out = bytearray()
    at = value = 0
    while at < len(code):
        value = code[at]
        at += 1
        for _ in range(1, value):
            out.append(code[at])
            at += 1
        if value < 0xFF:
            out.append(0)
    return bytes(out if value == 0xFF else out[:-1])


@given(
    st.lists(st.sampled_from([b"\0", b"\1", b"x" * 253, b"x" * 254, b"x" * 255, b"ab"])).map(
        b"".join
    )
)
def test_cobs_is_decoded_as_in_the_paper(message: bytes) -> None:
    data = Cobs().encode(message)
    assert unstuff_data(data[:-1]) == message
    assert data.count(0) == 1
    assert len(data) <= len(message) + len(message) // 254 + 2


def test_cobs_takes_a_code_that_ends_with_an_empty_block() -> None:
    """The paper's encoder adds one after a full block."""
    full = b"x" * 254
    assert Cobs().feed(b"\xff" + full + b"\x01\0") == [full]


@pytest.mark.parametrize("code", [b"\x02", b"\x03a", b"\x02a\x05bc", b"\xffabc"])
def test_cobs_rejects_what_does_not_add_up(code: bytes) -> None:
    framing = Cobs()
    assert framing.feed(code + b"\0" + framing.encode(b"next")) == [b"next"]
    assert (framing.rejected, framing.discarded) == (1, len(code) + 1)


def test_zeros_fill_the_line() -> None:
    framing = Cobs()
    assert fed(framing, b"\0\0\x02a\0", b"\0", b"\0\x02b\0\0") == [b"a", b"b"]
    assert (framing.rejected, framing.discarded) == (0, 0)


# SLIP


@pytest.mark.parametrize(
    ("message", "data"),
    [
        (b"abc", b"\xc0abc\xc0"),
        (b"\xc0", b"\xc0\xdb\xdc\xc0"),
        (b"\xdb", b"\xc0\xdb\xdd\xc0"),
        (b"\xdb\xdc", b"\xc0\xdb\xdd\xdc\xc0"),
        (b"\xdb\xdd", b"\xc0\xdb\xdd\xdd\xc0"),
        (b"\xc0\xdb\xc0", b"\xc0\xdb\xdc\xdb\xdd\xdb\xdc\xc0"),
    ],
)
def test_slip_as_written(message: bytes, data: bytes) -> None:
    framing = Slip()
    assert framing.encode(message) == data
    assert framing.feed(data) == [message]
    assert framing.feed(data[1:]) == [message]  # not everybody sends the first END
    assert framing.discarded == 0


def receive_packet(data: bytes) -> list[bytes]:
    """recv_packet of the RFC's appendix, until there is no more, without its lenience."""
    packets: list[bytes] = []
    packet = bytearray()
    characters = iter(data)
    for character in characters:
        match character:
            case 0o300:
                if packet:
                    packets.append(bytes(packet))
                packet.clear()
            case 0o333:
                packet.append({0o334: 0o300, 0o335: 0o333}[next(characters)])
            case _:
                packet.append(character)
    return packets


@given(st.lists(st.lists(st.sampled_from(b"\xc0\xdb\xdc\xddab"), min_size=1).map(bytes)))
def test_slip_is_decoded_as_in_the_rfc(messages: list[bytes]) -> None:
    assert receive_packet(b"".join(map(Slip().encode, messages))) == messages


@pytest.mark.parametrize("code", [b"\xdb", b"a\xdbb", b"\xdb\xdb\xdc", b"\xdb\xdc\xdb"])
def test_slip_rejects_what_is_no_escape(code: bytes) -> None:
    framing = Slip()
    assert framing.feed(b"\xc0" + code + b"\xc0" + framing.encode(b"next")) == [b"next"]
    assert (framing.rejected, framing.discarded) == (1, len(code) + 1)


# NMEA 0183

SENTENCES = [
    b"$GPGGA,092750.000,5321.6802,N,00630.3372,W,1,8,1.03,61.7,M,55.2,M,,*76",
    b"$GPGSA,A,3,10,07,05,02,29,04,08,13,,,,,1.72,1.03,1.38*0A",
    b"$GPRMC,092750.000,A,5321.6802,N,00630.3372,W,0.02,31.66,280511,,,A*43",
    b"$GPGLL,4916.45,N,12311.12,W,225444,A*31",
    b"!AIVDM,1,1,,B,177KQJ5000G?tO`K>RA1wUbN0TKH,0*5C",
]


@pytest.mark.parametrize("sentence", SENTENCES)
def test_nmea_as_received(sentence: bytes) -> None:
    framing = Nmea()
    message = sentence.removeprefix(b"$")[:-3]
    assert framing.encode(message) == sentence + b"\r\n"
    assert fed(framing, sentence + b"\r\n", sentence + b"\n") == [message, message]
    start, digits = sentence[:-2], sentence[-2:]
    assert framing.feed(start + digits.lower() + b"\r\n") == [message]
    assert (framing.rejected, framing.discarded) == (0, 0)


@pytest.mark.parametrize(
    "wrong",
    [
        b"$GPGLL,4916.45,N,12311.12,W,225444,A*32\r\n",  # checksum
        b"$GPGLL,4916.45,N,12311.13,W,225444,A*31\r\n",  # digit
        b"$GPGLL,4916.45,N,12311.12,W,225444,A\r\n",  # no checksum
        b"$GPGLL,4916.45,N,12311.12,W,225444,A*\r\n",
        b"$GPGLL,4916.45,N,12311.12,W,225444,A*3\r\n",
        b"$GPGLL,4916.45,N,12311.12,W,225444,A*3G\r\n",
        b"$GPGLL,4916.45,N,12311.12,W,225444,A*31 \r\n",
        b"$GPGLL,4916.45,N,\x0012311.12,W*31\r\n",
        b"$*00\r\n",
        b"$\r\n",
        b"$GPGLL,4916.45,N,1",  # cut off
        b"$" + b"A" * 90 + b"\r\n",
    ],
)
def test_nmea_rejects_what_is_wrong(wrong: bytes) -> None:
    framing = Nmea()
    right = framing.encode(b"GPTXT,ok")
    assert framing.feed(right + wrong + right) == [b"GPTXT,ok"] * 2
    assert (framing.rejected, framing.discarded) == (1, len(wrong))


def test_nmea_takes_82_characters_by_default() -> None:
    longest = b"G" * 76
    framing = Nmea()
    assert len(framing.encode(longest)) == 82
    assert framing.feed(framing.encode(longest)) == [longest]
    with pytest.raises(FrameError, match="83 bytes, framed, is longer than max_frame=82"):
        framing.encode(longest + b"G")
    other = Nmea(max_frame=100)
    assert framing.feed(other.encode(longest + b"G")) == []
    assert framing.rejected == 1
    assert other.feed(other.encode(longest + b"G")) == [longest + b"G"]


def test_nmea_does_without_checksums_if_it_is_told() -> None:
    framing = Nmea(require_checksum=False)
    assert fed(framing, b"$PXYZ,1\r\n$PXYZ,2*41\r\n$PXYZ,3*14\r\n$PXYZ,*\r\n") == [
        b"PXYZ,1",
        b"PXYZ,3",
    ]
    assert framing.rejected == 2


def test_binary_between_sentences_is_discarded() -> None:
    """As a u-blox receiver mixes its own messages with sentences."""
    framing = Nmea()
    right = framing.encode(b"GPTXT,ok")
    ubx = b"\xb5\x62\x01\x03\x10\x00$\x00\x01\x02*\xff\n\r!\x80\x7f"
    assert fed(framing, ubx + right, ubx[:5], ubx[5:] + right) == [b"GPTXT,ok"] * 2
    assert framing.discarded == 2 * len(ubx)


# Checksums


def test_a_wrong_checksum_is_never_given_out() -> None:
    framing = Checked(Cobs(), crc=Crc.CRC16_CCITT_FALSE)
    assert framing.encode(b"123456789") == b"\x0c123456789\x29\xb1\0"
    assert framing.feed(b"\x0c123456789\x29\xb1\0\x0c123456789\x29\xb2\0") == [b"123456789"]
    assert (framing.frames, framing.rejected, framing.discarded) == (1, 1, 13)


def test_modbus_sends_the_low_byte_first() -> None:
    """From the Modbus guide: read exception status of device 2."""
    framing = Checked(FixedLength(4), crc=Crc.CRC16_MODBUS, byteorder="little")
    assert framing.encode(b"\x02\x07") == b"\x02\x07\x41\x12"
    assert framing.feed(b"\x02\x07\x41\x12") == [b"\x02\x07"]


def test_a_message_too_short_for_its_checksum_is_rejected() -> None:
    framing = Checked(Cobs(), crc=Crc.CRC32)
    assert framing.feed(b"\x01\0\x04abc\0") == []
    assert (framing.rejected, framing.discarded) == (2, 7)


def test_a_message_may_be_nothing_but_its_checksum() -> None:
    framing = Checked(LengthPrefixed(1), crc=Crc.CRC32)
    assert framing.encode(b"") == b"\x04\0\0\0\0"
    assert framing.feed(b"\x04\0\0\0\0") == [b""]


def test_the_framing_that_is_checked_is_copied() -> None:
    inner = Cobs()
    inner.feed(b"\x05ab")
    checked = Checked(inner, crc=Crc.CRC8)
    assert checked.pending == 0
    assert checked.feed(checked.encode(b"x")) == [b"x"]
    assert (inner.pending, checked.discarded) == (3, 0)
    assert inner.feed(b"cd\0") == [b"abcd"]
