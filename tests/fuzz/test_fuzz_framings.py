"""Framings, whatever a stream has in it: see `tests/drivers/test_framing.py` for what they find.

Here are all of them, those that come later too; and what an attacker would try: to have a framing
keep more than it says, look at a byte again and again, or lose count.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import NamedTuple

import pytest
from fuzzing import CUTS, counted, cut, damaged, fuzzed, noise, peak
from hypothesis import strategies as st

from horus_trio.cli.demo.codec import FRAME_SIZE, FrameParser
from horus_trio.drivers import framing as formats
from horus_trio.drivers.framing import (
    Checked,
    Cobs,
    Crc,
    Delimited,
    FixedLength,
    Framing,
    Headed,
    LengthPrefixed,
    Lines,
    Nmea,
    Slip,
)

MARK = b"\xaa\x55"


class Case(NamedTuple):
    make: Callable[[], Framing]
    messages: st.SearchStrategy[bytes]
    tokens: tuple[bytes, ...]
    flush: bytes | None
    """After this, whatever was before, a message is found; None: there is nothing that does it."""


ANY = st.binary(min_size=1, max_size=30)
TEXT = st.text("abc ,", min_size=1, max_size=20).map(str.encode)

CASES = {
    "Lines": Case(lambda: Lines(max_frame=64), TEXT, (b"\n", b"\r", b"x" * 63), b"\n"),
    "Delimited": Case(lambda: Delimited(b"<>", max_frame=64), TEXT, (b"<", b">", b"<>"), b"<>"),
    "Cobs": Case(lambda: Cobs(max_frame=64), ANY, (b"\0", b"\1", b"\xff", b"\x40"), b"\0"),
    "Slip": Case(
        lambda: Slip(max_frame=96), ANY, (b"\xc0", b"\xdb", b"\xdb\xdc", b"\xdb\xdd"), b"\xc0"
    ),
    "Nmea": Case(Nmea, TEXT, (b"$", b"!", b"*", b"*00\r\n", b"\r\n", b"GP,1"), b"\n"),
    "FixedLength": Case(
        lambda: FixedLength(4, start=MARK), st.binary(min_size=4, max_size=4), (MARK, b"\xaa"), None
    ),
    "LengthPrefixed": Case(
        lambda: LengthPrefixed(2, start=MARK, max_frame=64),
        ANY,
        (MARK, MARK + b"\0\x20", b"\0\3", b"\xff\xff"),
        bytes(64),
    ),
    "Checked": Case(
        lambda: Checked(
            LengthPrefixed(1, start=MARK, max_frame=64),
            crc=Crc(32, 0x04C11DB7, init=0x12345678, reflected=True),
        ),
        ANY,
        (MARK, MARK + b"\x20", b"\3"),
        bytes(64),
    ),
}
ABSTRACT = (Framing, Headed)

cases = pytest.mark.parametrize("name", CASES)


def test_every_format_is_here() -> None:
    there = {
        name
        for name, kind in inspect.getmembers(formats, inspect.isclass)
        if issubclass(kind, Framing) and kind not in ABSTRACT
    }
    assert there == set(CASES)


def encoded(case: Case) -> st.SearchStrategy[bytes]:
    framing = case.make()
    return case.messages.map(framing.encode)


@cases
@fuzzed(25, data=st.data())
def test_every_byte_is_accounted_for(name: str, data: st.DataObject) -> None:
    case = CASES[name]
    part = encoded(case) | damaged(encoded(case)) | noise(*case.tokens)
    stream = data.draw(st.lists(part, max_size=8).map(b"".join), "stream")
    pieces = cut(stream, data.draw(CUTS, "cuts"))
    framing, whole = case.make(), case.make()
    found: list[bytes] = []
    for piece in pieces:
        found += framing.feed(piece)
        assert framing.pending < framing.max_frame
        assert framing.frames == len(found)
    assert found == whole.feed(stream)
    assert (framing.rejected, framing.discarded) == (whole.rejected, whole.discarded)
    given_out = sum(map(len, found))
    assert given_out + framing.discarded + framing.pending <= len(stream)
    framing.reset()
    assert framing.pending == 0
    message = data.draw(case.messages, "message")
    assert framing.feed(framing.encode(message)) == [message]


@cases
@fuzzed(25, data=st.data())
def test_a_message_after_garbage_is_found(name: str, data: st.DataObject) -> None:
    case = CASES[name]
    framing = case.make()
    message = data.draw(case.messages, "message")
    framing.feed(data.draw(noise(*case.tokens), "noise"))
    if case.flush is not None:
        framing.feed(case.flush)
        assert framing.feed(framing.encode(message))[-1:] == [message]
    else:
        # One that swallows a message by chance is in step again after as many as fit into one.
        assert message in framing.feed(framing.encode(message) * 8)


@cases
def test_work_grows_with_the_bytes_and_not_faster(name: str) -> None:
    case = CASES[name]
    for token in (*case.tokens, case.tokens[0] + b"x", b"\0", bytes(range(256))):
        costs = []
        for size in (1_000, 4_000):
            framing, stream = case.make(), (token * size)[:size]
            with counted() as work:
                for at in range(0, size, 100):
                    framing.feed(stream[at : at + 100])
            costs.append(work.calls)
        assert costs[1] <= 5 * costs[0] + 1000, token
        assert costs[1] <= 30 * 4_000, token


@cases
def test_memory_stays_below_its_promise(name: str) -> None:
    case = CASES[name]
    for token in (*case.tokens, b"\0", b"x"):
        framing, piece = case.make(), (token * 1024)[:1024]

        def flood(framing: Framing = framing, piece: bytes = piece) -> None:
            for _ in range(20):
                framing.feed(piece)

        assert peak(flood) < 100 * len(piece), token  # with the messages of a piece


# The decoder of the demo's sensor, which is no driver's.


@fuzzed(25, stream=noise(MARK, MARK + b"\x20", b"\xaa", most=400), cuts=CUTS)
def test_the_demo_counts_what_it_does_not_take(stream: bytes, cuts: list[int]) -> None:
    decoder = FrameParser()
    found = []
    for piece in cut(stream, cuts):
        found += decoder.feed(piece)
        assert len(decoder._buffer) < FRAME_SIZE
    assert decoder.accepted == len(found)
    assert decoder.rejected <= len(stream)
