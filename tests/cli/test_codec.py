"""Whatever the line does to the bytes, the parser gives out what was sent, and nothing else."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from horus_trio.cli.demo.codec import FRAME_SIZE, SYNC, FrameParser, Sample, encode

single = st.floats(width=32, allow_nan=False, allow_infinity=False)
vector = st.tuples(single, single, single)
samples = st.builds(
    Sample,
    sequence=st.integers(0, 2**32 - 1),
    time=st.integers(0, 2**32 - 1).map(lambda microseconds: microseconds / 1e6),
    gyro=vector,
    accel=vector,
)
# Noise without the first sync byte can not look like the beginning of a frame.
noise = st.binary(max_size=100).map(lambda data: data.replace(SYNC[:1], b""))

IDLE = bytes(2 * FRAME_SIZE)
"""Bytes that push everything out of a parser that waits for the rest of a frame."""


def sample(sequence: int) -> Sample:
    return Sample(sequence, sequence / 100, (0.0, 0.5, -0.5), (0.0, 0.0, 9.75))


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


def test_a_frame_is_what_the_module_says() -> None:
    frame = encode(Sample(1, 0.01, (0.0, 0.5, -0.5), (0.0, 0.0, 9.75)))
    assert frame.hex(" ", -4) == (
        "aa552001 00000010 27000000 00000000 00003f00 0000bf00 00000000 00000000 001c410c e9"
    )
    assert len(frame) == FRAME_SIZE


@given(sent=st.lists(samples), cuts=st.lists(st.integers(0, 10_000)))
def test_samples_come_through_in_any_pieces(sent: list[Sample], cuts: list[int]) -> None:
    parser = FrameParser()
    received: list[Sample] = []
    for piece in pieces(b"".join(map(encode, sent)), cuts):
        received += parser.feed(piece)
    assert received == sent
    assert (parser.accepted, parser.rejected) == (len(sent), 0)


@given(sent=st.lists(st.tuples(noise, samples)), cuts=st.lists(st.integers(0, 10_000)))
def test_noise_between_frames_is_stepped_over(
    sent: list[tuple[bytes, Sample]], cuts: list[int]
) -> None:
    parser = FrameParser()
    received: list[Sample] = []
    for piece in pieces(b"".join(junk + encode(sample) for junk, sample in sent), cuts):
        received += parser.feed(piece)
    assert received == [sample for _, sample in sent]
    assert parser.rejected == sum(max(1, round(len(junk) / FRAME_SIZE)) for junk, _ in sent if junk)


@given(
    number=st.integers(2, 8),
    where=st.integers(0, 10_000),
    change=st.integers(1, 255),
)
@example(number=2, where=FRAME_SIZE - 1, change=0xAA)
@example(number=3, where=2, change=0xFF)
def test_a_changed_byte_costs_its_own_frame_only(number: int, where: int, change: int) -> None:
    sent = [sample(n) for n in range(number)]
    line = bytearray(b"".join(map(encode, sent)))
    where %= len(line) - FRAME_SIZE  # the last frame stays good and so ends the stretch
    line[where] ^= change
    parser = FrameParser()
    received = parser.feed(bytes(line) + IDLE)
    lost = where // FRAME_SIZE
    assert received == sent[:lost] + sent[lost + 1 :]
    assert (parser.accepted, parser.rejected) == (number - 1, 1)


@given(st.lists(st.binary()))
def test_garbage_gives_nothing_and_is_not_hoarded(garbage: list[bytes]) -> None:
    parser = FrameParser()
    for piece in garbage:
        assume(not parser.feed(piece))  # 1 in 65 536 would pass the checksum
        assert len(parser._buffer) < FRAME_SIZE
    parser.feed(IDLE)
    assert parser.feed(encode(sample(7))) == [sample(7)]


def test_frames_lost_in_one_stretch_are_all_counted() -> None:
    parser = FrameParser()
    bad = bytearray(encode(sample(0)))
    bad[10] ^= 1
    assert parser.feed(bytes(bad) * 3 + encode(sample(1))) == [sample(1)]
    assert (parser.accepted, parser.rejected) == (1, 3)


def test_reset_forgets_half_a_frame() -> None:
    parser = FrameParser()
    assert parser.feed(encode(sample(0))[:20]) == []
    parser.reset()
    assert parser.feed(encode(sample(1))) == [sample(1)]
    assert parser.rejected == 0


@pytest.mark.parametrize(("count", "wrapped"), [(2**32, 0), (2**32 + 5, 5)])
def test_numbers_and_times_wrap(count: int, wrapped: int) -> None:
    [received] = FrameParser().feed(encode(sample(0)._replace(sequence=count, time=count / 1e6)))
    assert received.sequence == wrapped
    assert received.time == wrapped / 1e6
