"""Frames, filters, and the text of slcan: nothing here does any I/O."""

from __future__ import annotations

import enum
import random
from typing import Any

import can
import pytest
from can.interfaces.slcan import slcanBus
from hypothesis import given
from hypothesis import strategies as st

from horus_trio.drivers import CanBusState, CanFilter, CanFrame, FrameError
from horus_trio.drivers.can.frame import FD_LENGTHS
from horus_trio.drivers.can.inbox import Inbox
from horus_trio.drivers.can.slcan import BITRATES, Flags, Item, Reply, SlcanDecoder, encode
from horus_trio.drivers.can.state import state_told_by
from horus_trio.errors import ConfigurationError

# Frames


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"id": 0x800}, "has more than 11 bits, which only an extended one may have"),
        ({"id": 0x20000000, "is_extended": True}, "expected 0 to 0x7FF, or to 0x1FFFFFFF"),
        ({"id": -1}, "expected 0 to 0x7FF"),
        ({"id": True}, "expected a whole number"),
        ({"id": 1.0}, "expected a whole number"),
        ({"id": 1, "data": bytes(9)}, "9 bytes of data, expected at most 8; send several"),
        ({"id": 1, "data": bytes(9), "is_fd": True}, "fill them up to 12"),
        ({"id": 1, "data": bytes(65), "is_fd": True}, "65 bytes of data.*; send several"),
        ({"id": 1, "data": 5}, "expected bytes, such as bytes"),
        ({"id": 1, "data": [1, 2]}, "expected bytes, such as bytes"),
        ({"id": 1, "data": "12"}, "expected bytes, such as bytes"),
        ({"id": 1, "is_remote": True, "data": b"1"}, "a remote frame has no data"),
        ({"id": 1, "is_remote": True, "is_fd": True}, "CAN FD has none"),
        ({"id": 1, "is_remote": True, "remote_length": 9}, "expected 0 to 8"),
        ({"id": 1, "remote_length": 3}, "expected is_remote=True with it"),
        ({"id": 1, "bitrate_switch": True}, "only a frame of CAN FD has that"),
    ],
)
def test_a_frame_that_no_bus_could_carry_is_refused(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(FrameError, match=said):
        CanFrame(**arguments)


def test_frames_are_equal_if_they_lie_on_the_bus_in_the_same_way() -> None:
    data: Any = bytearray(b"\x01\xff")
    frame = CanFrame(id=0x12, data=data, timestamp=3.0, channel="can0")
    assert frame == CanFrame(id=0x12, data=b"\x01\xff")
    assert hash(frame) == hash(CanFrame(id=0x12, data=b"\x01\xff"))
    assert type(frame.data) is bytes
    assert frame != CanFrame(id=0x12, data=b"\x01\xff", is_extended=True)
    assert frame != CanFrame(id=0x12, data=b"\x01\xff", is_fd=True)


def test_an_identifier_may_be_any_whole_number() -> None:
    class Ids(enum.IntEnum):
        LAMP = 0x12

    class Whole:
        def __index__(self) -> int:
            return 0x12

    whole: Any = Whole()
    assert CanFrame(id=Ids.LAMP) == CanFrame(id=whole) == CanFrame(id=0x12)
    assert repr(CanFrame(id=Ids.LAMP)) == "CanFrame(id=0x012)"


FRAMES = st.one_of(
    st.builds(
        CanFrame,
        id=st.integers(0, 0x7FF),
        data=st.binary(max_size=8),
        is_extended=st.booleans(),
    ),
    st.builds(
        CanFrame,
        id=st.integers(0, 0x1FFFFFFF),
        data=st.sampled_from(FD_LENGTHS).flatmap(lambda n: st.binary(min_size=n, max_size=n)),
        is_extended=st.just(True),
        is_fd=st.just(True),
        bitrate_switch=st.booleans(),
    ),
    st.builds(
        CanFrame,
        id=st.integers(0, 0x7FF),
        is_remote=st.just(True),
        remote_length=st.integers(0, 8),
        is_extended=st.booleans(),
    ),
)


@given(FRAMES)
def test_the_repr_of_a_frame_makes_it_again(frame: CanFrame) -> None:
    assert eval(repr(frame)) == frame  # noqa: S307 - it is our own text


def test_the_repr_says_what_is_not_as_usual() -> None:
    assert repr(CanFrame(id=5)) == "CanFrame(id=0x005)"
    frame = CanFrame(id=0x18FF50E5, data=b"\x01\xff", is_extended=True)
    assert repr(frame) == "CanFrame(id=0x18ff50e5, data=bytes.fromhex('01 ff'), is_extended=True)"


# Filters


def test_a_filter_wants_what_equals_it_in_the_bits_of_its_mask() -> None:
    exact, group = CanFilter(id=0x123), CanFilter(id=0x100, mask=0x700)
    assert [exact.matches(CanFrame(id=number)) for number in (0x122, 0x123)] == [False, True]
    assert [group.matches(CanFrame(id=number)) for number in (0xFF, 0x100, 0x1FF, 0x200)] == [
        False,
        True,
        True,
        False,
    ]
    extended = CanFrame(id=0x123, is_extended=True)
    assert exact.matches(extended)
    assert CanFilter(id=0x123, extended=True).matches(extended)
    assert not CanFilter(id=0x123, extended=False).matches(extended)
    assert not CanFilter(id=0x123, extended=True).matches(CanFrame(id=0x123))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"id": -1}, "expected 0 to 0x1FFFFFFF"),
        ({"id": "0x1"}, "expected a whole number"),
        ({"id": 1, "mask": 2**29}, "expected 0 to 0x1FFFFFFF"),
        ({"id": 1, "mask": None}, "expected a whole number"),
        ({"id": 0x800, "extended": False}, "no standard frame has a higher one"),
        ({"id": 1, "extended": 2}, "expected True, False, or None"),
    ],
)
def test_a_filter_that_makes_no_sense_is_refused(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        CanFilter(**arguments)


# The text of slcan


def decoded(data: bytes) -> list[Item]:
    return SlcanDecoder("here").feed(data, 1.5)


@pytest.mark.parametrize(
    ("line", "frame"),
    [
        (b"t1230", CanFrame(id=0x123)),
        (b"t12321122", CanFrame(id=0x123, data=b"\x11\x22")),
        (b"t7FF80011223344556677", CanFrame(id=0x7FF, data=bytes.fromhex("0011223344556677"))),
        (b"t12321122ABCD", CanFrame(id=0x123, data=b"\x11\x22")),  # with the adapter's own time
        (b"T1FFFFFFF1ab", CanFrame(id=0x1FFFFFFF, data=b"\xab", is_extended=True)),
        (b"x000001231AB", CanFrame(id=0x123, data=b"\xab", is_extended=True)),
        (b"r1233", CanFrame(id=0x123, is_remote=True, remote_length=3)),
        (b"R000001238", CanFrame(id=0x123, is_extended=True, is_remote=True, remote_length=8)),
        (b"d1239" + b"00" * 12, CanFrame(id=0x123, data=bytes(12), is_fd=True)),
        (
            b"B00000123F" + b"AA" * 64,
            CanFrame(
                id=0x123, data=b"\xaa" * 64, is_extended=True, is_fd=True, bitrate_switch=True
            ),
        ),
        (b"\nt1230", CanFrame(id=0x123)),  # after a line that ends as others have it
    ],
)
def test_lines_that_are_frames(line: bytes, frame: CanFrame) -> None:
    [came] = decoded(line + b"\r")
    assert came == frame
    assert isinstance(came, CanFrame)
    assert (came.timestamp, came.channel) == (1.5, "here")


@pytest.mark.parametrize(
    ("line", "item"),
    [
        (b"\r", Reply.DONE),
        (b"z\r", Reply.DONE),
        (b"Z\r", Reply.DONE),
        (b"\a", Reply.REFUSED),
        (b"F84\r", Flags(0x84)),
        (b"sa000000\r", CanBusState.ACTIVE),
        (b"sw100096\r", CanBusState.WARNING),
        (b"sp000130\r", CanBusState.PASSIVE),
        (b"sb000256\r", CanBusState.BUS_OFF),
    ],
)
def test_lines_that_are_answers_and_states(line: bytes, item: Item) -> None:
    assert decoded(line) == [item]


def test_lines_that_tell_errors_are_error_frames_as_linux_has_them() -> None:
    [lost, bus] = decoded(b"e1o\re2af\r")
    assert isinstance(lost, CanFrame)
    assert isinstance(bus, CanFrame)
    assert lost == CanFrame(id=0x04, data=bytes((0, 1, 0, 0, 0, 0, 0, 0)), is_error=True)
    assert bus == CanFrame(id=0xA8, data=bytes((0, 0, 2, 0, 0, 0, 0, 0)), is_error=True)


@pytest.mark.parametrize(
    "line",
    [
        b"t123",  # no length
        b"t12",
        b"t12311",  # half a byte
        b"t1231",  # less than it says
        b"t12311122",  # more, and no time
        b"t12390011223344556677",  # nine
        b"t8001AA",  # twelve bits
        b"T200000001AA",  # thirty bits
        b"t+121AA",  # what Python's int() would take
        b"t1_21AA",
        b"t 121AA",
        b"t1231 A",
        b"r123111",
        b"r1239",
        b"hello",
        b"F8",
        b"e3a",
        b"sx000000",
        b"\xff\xfe",
    ],
)
def test_lines_that_are_none_are_rejected(line: bytes) -> None:
    decoder = SlcanDecoder()
    assert decoder.feed(line + b"\rt1230\r", 0.0) == [CanFrame(id=0x123)]
    assert (decoder.rejected, decoder.discarded) == (1, len(line))


def test_versions_and_numbers_that_nobody_asked_for_are_passed_over() -> None:
    decoder = SlcanDecoder()
    assert decoder.feed(b"V1013\rN1234\r", 0.0) == [Reply.VERSION]
    assert decoder.rejected == 0


def test_a_refusal_ends_what_was_begun() -> None:
    decoder = SlcanDecoder()
    assert decoder.feed(b"t12\at1230\r", 0.0) == [Reply.REFUSED, CanFrame(id=0x123)]
    assert (decoder.rejected, decoder.discarded) == (1, 3)


@pytest.mark.parametrize("end", [b"\r", b"\a"])
def test_a_line_without_an_end_is_dropped_however_long_it_is(end: bytes) -> None:
    decoder = SlcanDecoder()
    for _ in range(100):
        assert decoder.feed(b"x" * 1000, 0.0) == []
    came = decoder.feed(b"xyz" + end + b"t1230\r", 0.0)
    assert came == [Reply.REFUSED, CanFrame(id=0x123)] if end == b"\a" else [CanFrame(id=0x123)]
    assert decoder.rejected == 1
    assert 100_000 <= decoder.discarded <= 100_004


@given(st.lists(FRAMES, max_size=20), st.integers())
def test_a_stream_may_be_cut_anywhere(frames: list[CanFrame], seed: int) -> None:
    chance = random.Random(seed)
    stream = b"".join(encode(frame) for frame in frames)
    decoder, came = SlcanDecoder(), []
    while stream:
        size = chance.randint(1, 40)
        came += decoder.feed(stream[:size], 0.0)
        stream = stream[size:]
    assert came == frames
    assert decoder.rejected == 0


@given(st.lists(st.binary(max_size=200), max_size=20))
def test_whatever_comes_it_goes_on(pieces: list[bytes]) -> None:
    decoder = SlcanDecoder()
    for piece in pieces:
        decoder.feed(piece, 0.0)
    decoder.feed(b"\r", 0.0)
    assert decoder.feed(b"t1231AA\r", 0.0) == [CanFrame(id=0x123, data=b"\xaa")]


@given(FRAMES)
def test_a_line_is_what_python_can_would_write(frame: CanFrame) -> None:
    written: list[str] = []
    bus: Any = object.__new__(slcanBus)
    bus._write = written.append
    bus.serialPortOrig = type("Port", (), {"write_timeout": None})
    bus.send(
        can.Message(
            arbitration_id=frame.id,
            data=frame.data,
            dlc=frame.remote_length if frame.is_remote else None,
            is_extended_id=frame.is_extended,
            is_remote_frame=frame.is_remote,
            is_fd=frame.is_fd,
            bitrate_switch=frame.bitrate_switch,
        )
    )
    assert encode(frame) == written[0].encode() + b"\r"


def test_its_bit_rates_are_those_of_python_can() -> None:
    known = {rate: command.decode() for rate, command in BITRATES.items()}
    assert slcanBus._BITRATES.items() <= known.items()


# What is kept of it


def test_a_full_inbox_drops_the_oldest_and_counts_it() -> None:
    inbox = Inbox((), error_frames=False, most=3)
    for number in range(5):
        inbox.put(CanFrame(id=number))
    assert [frame.id for frame in inbox.frames] == [2, 3, 4]
    assert inbox.lost == 2


@pytest.mark.parametrize(
    ("frame", "state"),
    [
        (CanFrame(id=0x40, data=bytes(8), is_error=True), CanBusState.BUS_OFF),
        (CanFrame(id=0x100, data=bytes(8), is_error=True), CanBusState.ACTIVE),
        (CanFrame(id=0x04, data=b"\0\x08", is_error=True), CanBusState.WARNING),
        (CanFrame(id=0x04, data=b"\0\x30", is_error=True), CanBusState.PASSIVE),
        (CanFrame(id=0x04, data=b"\0\x40", is_error=True), CanBusState.ACTIVE),
        (CanFrame(id=0x04, data=b"\0\x01", is_error=True), None),
        (CanFrame(id=0x88, data=bytes(8), is_error=True), None),
    ],
)
def test_states_that_error_frames_tell(frame: CanFrame, state: CanBusState | None) -> None:
    assert state_told_by(frame) is state


def test_error_frames_that_mean_something_else_tell_no_state() -> None:
    inbox = Inbox((), error_frames=True, as_linux=False)
    inbox.put(CanFrame(id=0x40, is_error=True))
    assert (inbox.state, inbox.error_frames) == (CanBusState.UNKNOWN, 1)


def test_error_frames_are_counted_and_given_out_if_wanted() -> None:
    overrun = CanFrame(id=0x04, data=b"\0\x01", is_error=True)
    for gives in (False, True):
        inbox = Inbox((CanFilter(id=0x7FF),), error_frames=gives)
        inbox.put(overrun)
        assert (inbox.error_frames, inbox.overruns) == (1, 1)
        assert list(inbox.frames) == [overrun] * gives
