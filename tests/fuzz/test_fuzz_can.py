"""What CAN adapters say: lines of slcan, and messages of python-can's."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from fuzzing import CUTS, counted, cut, fuzzed, peak, streams
from hypothesis import example
from hypothesis import strategies as st

from horus_trio.drivers import CanFrame, FrameError
from horus_trio.drivers.can.inbox import Inbox
from horus_trio.drivers.can.library import to_frame
from horus_trio.drivers.can.slcan import LONGEST, SlcanDecoder, encode

LENGTHS = (*range(9), 12, 16, 20, 24, 32, 48, 64)


@st.composite
def frames(draw: st.DrawFn) -> CanFrame:
    """Any frame that can be sent."""
    extended = draw(st.booleans())
    number = draw(st.integers(0, 0x1FFFFFFF if extended else 0x7FF))
    if draw(st.booleans()):
        length = draw(st.integers(0, 8))
        return CanFrame(id=number, is_extended=extended, is_remote=True, remote_length=length)
    fd = draw(st.booleans())
    length = draw(st.sampled_from(LENGTHS if fd else LENGTHS[:9]))
    data = draw(st.binary(min_size=length, max_size=length))
    fast = fd and draw(st.booleans())
    return CanFrame(id=number, is_extended=extended, data=data, is_fd=fd, bitrate_switch=fast)


TOKENS = (
    b"\r",
    b"\a",
    b"\n",
    b"z\r",
    b"Z\r",
    b"t1230\r",
    b"T000001238",
    b"F04\r",
    b"sa000000\r",
    b"e1a\r",
    b"e9a\r",
    b"V1013\r",
    b"v" + b"1" * LONGEST,
    b"N1234\r",
    b"d123F",
    b"\n" * 80,
    b"0" * 80,
)
STREAM = streams(frames().map(encode), *TOKENS)


def fed(pieces: list[bytes]) -> tuple[SlcanDecoder, list[Any]]:
    decoder = SlcanDecoder()
    items: list[Any] = []
    for piece in pieces:
        items += decoder.feed(piece, 0.0)
        assert len(decoder._rest) <= LONGEST
    return decoder, items


@fuzzed(60, stream=STREAM, cuts=CUTS)
@example(stream=b"\n" * 5000 + b"\r", cuts=[])  # each was a call in a call
@example(stream=b"v" + b"1" * 200 + b"\r", cuts=[])  # was a version in one piece alone
@example(stream=b"v" + b"1" * LONGEST + b"\a", cuts=[150])
def test_lines_are_the_same_in_pieces(stream: bytes, cuts: list[int]) -> None:
    decoder, items = fed(cut(stream, cuts))
    whole, expected = fed([stream])
    assert items == expected
    assert (decoder.rejected, decoder.discarded) == (whole.rejected, whole.discarded)
    assert decoder.discarded <= len(stream)
    # Each line is an item or is rejected, but for those that say nothing.
    assert len(items) + decoder.rejected <= stream.count(b"\r") + 2 * stream.count(b"\a") + 1


@fuzzed(40, stream=STREAM, frame=frames())
def test_a_frame_after_garbage_is_received(stream: bytes, frame: CanFrame) -> None:
    decoder = SlcanDecoder()
    decoder.feed(stream, 0.0)
    decoder.feed(b"\r", 0.0)
    assert decoder.feed(encode(frame), 0.0) == [frame]


def test_work_and_memory_grow_with_the_bytes() -> None:
    for token in (*TOKENS, b"x"):
        costs = []
        for size in (4_000, 16_000):
            with counted() as work:
                fed(cut((token * size)[:size], list(range(0, size, 500))))
            costs.append(work.calls)
        assert costs[1] <= 5 * costs[0] + 500, token
    decoder = SlcanDecoder()
    assert peak(lambda: [decoder.feed(b"x" * 1000, 0.0) for _ in range(500)]) < 50_000
    assert (decoder.rejected, decoder.discarded) == (1, 500_000)


ANYTHING = (
    st.none()
    | st.booleans()
    | st.integers(-(2**33), 2**33)
    | st.binary(max_size=70)
    | st.text(max_size=5)
)


@fuzzed(
    50,
    message=st.fixed_dictionaries(
        {
            "arbitration_id": st.integers(-5, 2**33),
            "data": st.binary(max_size=70),
            "dlc": st.integers(-1, 70),
            "channel": ANYTHING,
        }
        | {
            flag: st.booleans()
            for flag in (
                "is_extended_id",
                "is_remote_frame",
                "is_error_frame",
                "is_fd",
                "bitrate_switch",
            )
        }
    ),
)
def test_messages_of_the_library_are_frames_or_refused(message: dict[str, Any]) -> None:
    """`ThreadLink` counts each refusal."""
    try:
        frame = to_frame(SimpleNamespace(**message), 0.0, "can0")
    except FrameError:
        return
    assert frame.id == message["arbitration_id"]
    assert frame.data == message["data"]


@fuzzed(40, given=st.lists(frames(), max_size=40), most=st.integers(1, 10))
def test_an_inbox_is_bounded_and_counts(given: list[CanFrame], most: int) -> None:
    inbox = Inbox((), error_frames=True, most=most)
    for frame in given:
        inbox.put(frame)
        assert len(inbox.frames) <= most
    assert len(inbox.frames) + inbox.lost == len(given)
