"""Every framing keeps the same laws, whatever comes and in whatever pieces.

A stream is made of valid messages, damaged ones and noise that is full of what the format takes for
beginnings and ends. What a framing makes of it depends on the bytes alone; every byte is accounted
for; no more is kept than was said.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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

Sizes = Callable[[Framing, bytes], tuple[int, int]]


class Ubx(Headed):
    """A framing as users write them: sync, class, identifier, length, body, Fletcher's sum."""

    def __init__(self) -> None:
        super().__init__(b"\xb5\x62", max_frame=48)

    def _wrap(self, message: bytes) -> bytes:
        if len(message) < 2:
            raise FrameError("expected class and identifier")
        body = message[:2] + (len(message) - 2).to_bytes(2, "little") + message[2:]
        return self.start + body + self._sum(body)

    def _read(self, data: bytes, at: int) -> tuple[int, bytes | None]:
        if at + 6 > len(data):
            return at + 6, None
        end = at + 6 + int.from_bytes(data[at + 4 : at + 6], "little") + 2
        body = data[at + 2 : end - 2]
        valid = self._sum(body) == data[end - 2 : end]
        return end, body[:2] + body[4:] if valid else None

    def _sum(self, body: bytes) -> bytes:
        first = second = 0
        for byte in body:
            first += byte
            second += first
        return bytes((first & 0xFF, second & 0xFF))


def as_encoded(framing: Framing, message: bytes) -> tuple[int, int]:
    return encoded_size(framing, message, 0)


def encoded_size(framing: Framing, message: bytes, less: int) -> tuple[int, int]:
    """As this end would send it; `less` bytes of it may be missing."""
    size = len(framing._wrap(message))  # also a byte longer than `encode` allows
    return size - less, size


def plus(least: int, most: int) -> Sizes:
    """The message's size and so many bytes."""
    return lambda framing, message: (len(message) + least, len(message) + most)


class Case(NamedTuple):
    make: Callable[[], Framing]
    messages: st.SearchStrategy[bytes]
    tokens: tuple[bytes, ...]
    """What noise is full of."""
    lost: int | None = 0
    """Messages that garbage in front of them may cost; None: any number."""
    end: int = 0
    """Bytes at a message's end of which damage costs the next message, too."""
    sizes: Sizes = as_encoded
    """Bytes that the message had in the stream: at least, at most."""
    idle: bytes = b""
    """What means nothing between messages."""
    safe: bool = False
    """Whether a wrong message is as good as impossible."""


ANY = st.binary(max_size=30)
TEXT = st.text(st.characters(codec="ascii", categories=["L", "N"]), max_size=20).map(str.encode)
FIELDS = st.text(st.sampled_from("GPLA0123,. ~"), min_size=1, max_size=20).map(str.encode)
DAMAGE = st.tuples(st.sampled_from(["none", "none", "noise", "cut", "bit"]), st.integers(0, 300))
MARK = b"\xaa\x55"
STRONG = Crc(32, 0x04C11DB7, init=0x12345678, reflected=True, xor_out=0xFFFFFFFF)
"""As CRC-32, whose checksum of nothing is 0, and noise is full of zeros."""

CASES = {
    "delimited": Case(
        lambda: Delimited(b"\r\n", max_frame=24), ANY, (b"\r", b"\n", b"\r\n"), 1, 2, plus(2, 2)
    ),
    "delimiter that overlaps itself": Case(
        lambda: Delimited(b"aa", max_frame=9),
        st.text("ab", max_size=9).map(str.encode),
        (b"a", b"b"),
        None,
        sizes=plus(2, 2),
    ),
    "delimiter that overlaps itself in part": Case(
        lambda: Delimited(b"aba", max_frame=9),
        st.text("ab", max_size=9).map(str.encode),
        (b"a", b"b", b"ab", b"ba"),
        None,
        sizes=plus(3, 3),
    ),
    "lines": Case(lambda: Lines(max_frame=80), TEXT, (b"\r", b"\n", b"\r\n"), 1, 1, plus(1, 2)),
    "short lines": Case(
        lambda: Lines(b"\r\n", max_frame=12), TEXT, (b"\r", b"\n", b"x" * 11), 1, 1, plus(1, 2)
    ),
    "fixed length": Case(lambda: FixedLength(3), st.binary(min_size=2, max_size=3), (b"",), None),
    "fixed length with a start": Case(
        lambda: FixedLength(3, start=MARK),
        st.binary(min_size=3, max_size=3),
        (MARK, MARK[:1]),
        None,
    ),
    "length prefixed": Case(lambda: LengthPrefixed(1, max_frame=24), ANY, (b"\0", b"\x17"), None),
    "length prefixed with a start": Case(
        lambda: LengthPrefixed(2, byteorder="little", start=MARK, max_frame=24),
        ANY,
        (MARK, MARK[:1], b"\0\0", b"\1\0", MARK + b"\3\0"),
        None,
    ),
    "length of itself, too": Case(
        lambda: LengthPrefixed(4, includes_itself=True, max_frame=32),
        ANY,
        (b"\0\0\0", b"\4", b"\3", b"\x20"),
        None,
    ),
    "cobs": Case(lambda: Cobs(max_frame=24), ANY, (b"\0", b"\1", b"\2", b"\xff"), 1, 1, idle=b"\0"),
    "long cobs": Case(
        lambda: Cobs(max_frame=300),
        st.integers(250, 260).map((b"x").__mul__),
        (b"\0", b"\1" * 9),
        1,
        1,
        idle=b"\0",
    ),
    "slip": Case(
        lambda: Slip(max_frame=24),
        ANY,
        (b"\xc0", b"\xdb", b"\xdc", b"\xdd", b"\xdb\xdc"),
        0,
        1,
        lambda framing, message: (len(framing._wrap(message)) - 1,) * 2,
        b"\xc0",
    ),
    "nmea": Case(
        Nmea,
        FIELDS | FIELDS.map(lambda fields: b"!" + fields),
        (b"$", b"!", b"*", b"\r\n", b"\n", b"*00\r\n", b"$A*41\n"),
        sizes=lambda framing, message: encoded_size(framing, message, 1),
    ),
    "nmea without checksums": Case(
        lambda: Nmea(require_checksum=False, max_frame=20),
        FIELDS,
        (b"$", b"!", b"*", b"\r\n", b"\n", b"*00\r\n", b"$A*41\n", b"$A\r\n"),
        sizes=lambda framing, message: (
            len(message) + (1 if message[:1] == b"!" else 2),
            len(message) + 6,
        ),
    ),
    "checked cobs": Case(
        lambda: Checked(Cobs(max_frame=24), crc=STRONG),
        ANY,
        (b"\0", b"\1", b"\2"),
        1,
        1,
        idle=b"\0",
        safe=True,
    ),
    "checked slip": Case(
        lambda: Checked(Slip(max_frame=24), crc=STRONG, byteorder="little"),
        ANY,
        (b"\xc0", b"\xdb", b"\xdc", b"\xdd"),
        0,
        1,
        lambda framing, message: (len(framing._wrap(message)) - 1,) * 2,
        b"\xc0",
        safe=True,
    ),
    "checked fixed length": Case(
        lambda: Checked(FixedLength(9), crc=STRONG),
        st.binary(min_size=5, max_size=5),
        (b"\1",),
        safe=True,
    ),
    "checked fixed length with a start": Case(
        lambda: Checked(FixedLength(9, start=MARK), crc=STRONG),
        st.binary(min_size=5, max_size=5),
        (MARK, MARK[:1]),
        safe=True,
    ),
    "checked length prefixed": Case(
        lambda: Checked(LengthPrefixed(2, max_frame=40), crc=STRONG),
        ANY,
        (b"\0", b"\0\x20", b"\0\3"),
        safe=True,
    ),
    "checked length prefixed with a start": Case(
        lambda: Checked(
            LengthPrefixed(1, start=MARK, includes_itself=True, max_frame=32), crc=STRONG
        ),
        ANY,
        (MARK, MARK[:1], MARK + b"\0", MARK + b"\x1d", MARK + b"\x1e"),
        safe=True,
    ),
    "checked weakly": Case(
        lambda: Checked(LengthPrefixed(1, start=b"\1", max_frame=16), crc=Crc.CRC8),
        st.binary(max_size=16),
        (b"\0", b"\1", b"\2", b"\1\1"),
        None,
    ),
    "checked twice": Case(
        lambda: Checked(Checked(Cobs(max_frame=32), crc=Crc.CRC16_MODBUS), crc=STRONG),
        ANY,
        (b"\0", b"\1"),
        1,
        1,
        idle=b"\0",
        safe=True,
    ),
    "of one's own": Case(Ubx, st.binary(min_size=2, max_size=30), (b"\xb5", b"\xb5\x62", b"\0")),
}


some_examples = settings(max_examples=8)
more_examples = settings(max_examples=24)
"""There are many cases, and each run tries others."""


def cases(*, when: Callable[[Case], bool] = lambda case: True) -> pytest.MarkDecorator:
    """The test runs with each of these; what it draws, it draws from `data`."""
    chosen = [name for name, case in CASES.items() if when(case)]
    assert chosen
    return pytest.mark.parametrize("case", [CASES[name] for name in chosen], ids=chosen)


def sendable(framing: Framing, messages: Iterable[bytes]) -> list[bytes]:
    """Those that it takes."""
    taken = []
    for message in messages:
        try:
            framing.encode(message)
        except FrameError:
            continue
        taken.append(message)
    return taken


def messages_of(case: Case, data: st.DataObject, *, least: int = 0) -> list[bytes]:
    drawn = data.draw(st.lists(case.messages, min_size=least, max_size=8), "messages")
    return sendable(case.make(), drawn)


def encoded(case: Case, messages: Iterable[bytes]) -> list[bytes]:
    framing = case.make()
    return [framing.encode(message) for message in messages]


def noise_of(case: Case, data: st.DataObject) -> bytes:
    pieces = st.lists(st.sampled_from(case.tokens) | st.binary(max_size=8), max_size=8)
    return data.draw(pieces.map(b"".join), "noise")


def stream_of(case: Case, data: st.DataObject) -> bytes:
    """Messages, whole and damaged, and noise."""
    parts: list[bytes] = []
    frames = encoded(case, messages_of(case, data))
    damages = data.draw(st.lists(DAMAGE, min_size=len(frames), max_size=len(frames)), "damages")
    for frame, (damage, number) in zip(frames, damages, strict=True):
        where = number % len(frame)
        match damage:
            case "noise":
                parts += [noise_of(case, data), frame]
            case "cut":
                parts.append(frame[:where])
            case "bit":
                parts.append(frame[:where] + bytes((frame[where] ^ 4,)) + frame[where + 1 :])
            case _:
                parts.append(frame)
    return b"".join((*parts, noise_of(case, data)))


def in_pieces(stream: bytes, data: st.DataObject) -> Iterator[bytes]:
    """The stream, cut anywhere."""
    sizes = data.draw(st.lists(st.integers(0, 40), min_size=1, max_size=6), "sizes")
    at = 0
    for size in itertools.cycle(sizes if sum(sizes) else [1]):
        yield stream[at : at + size]
        at += size
        if at >= len(stream):
            return


def fed(framing: Framing, pieces: Iterable[bytes]) -> list[bytes]:
    """What comes of them. Never is more kept than a message may have."""
    messages: list[bytes] = []
    for piece in pieces:
        messages += framing.feed(piece)
        assert framing.pending < framing.max_frame
    assert all(type(message) is bytes for message in messages)
    return messages


def counters(framing: Framing) -> tuple[int, int, int, int]:
    return framing.frames, framing.rejected, framing.discarded, framing.pending


def filler(framing: Framing) -> bytes:
    """What shows a framing that a message which seemed to have begun is none."""
    return b"\0" * framing.max_frame


def is_within(some: Iterable[bytes], of: Iterable[bytes]) -> bool:
    """Whether they are there, in this order."""
    rest = iter(of)
    return all(any(message == one for one in rest) for message in some)


@cases()
@some_examples
@given(data=st.data())
def test_what_is_encoded_arrives_in_any_pieces(case: Case, data: st.DataObject) -> None:
    messages = messages_of(case, data)
    frames = encoded(case, messages)
    framing = case.make()
    assert fed(framing, in_pieces(b"".join(frames), data)) == messages
    assert counters(framing) == (len(messages), 0, 0, 0)


@cases()
@some_examples
@given(data=st.data())
def test_each_message_is_given_out_as_soon_as_it_is_complete(
    case: Case, data: st.DataObject
) -> None:
    messages = messages_of(case, data)
    framing = case.make()
    for message, frame in zip(messages, encoded(case, messages), strict=True):
        assert fed(framing, (bytes((byte,)) for byte in frame[:-1])) == []
        assert framing.feed(frame[-1:]) == [message]


@cases()
@more_examples
@given(data=st.data())
def test_what_is_found_does_not_depend_on_the_pieces(case: Case, data: st.DataObject) -> None:
    stream = stream_of(case, data)
    whole, bytewise, pieces = case.make(), case.make(), case.make()
    found = whole.feed(stream)
    assert fed(bytewise, (bytes((byte,)) for byte in stream)) == found
    assert fed(pieces, in_pieces(stream, data)) == found
    assert counters(whole) == counters(bytewise) == counters(pieces)


@cases()
@more_examples
@given(data=st.data())
def test_every_byte_is_accounted_for(case: Case, data: st.DataObject) -> None:
    stream = stream_of(case, data)
    framing = case.make()
    messages = fed(framing, in_pieces(stream, data))
    used = len(stream) - framing.discarded - framing.pending
    sizes = [case.sizes(framing, message) for message in messages]
    idle = stream.count(case.idle) if case.idle else 0
    assert sum(least for least, _ in sizes) <= used <= sum(most for _, most in sizes) + idle
    assert framing.frames == len(messages)
    if framing.rejected:
        assert framing.discarded
    framing.reset()
    assert framing.pending == 0
    assert len(stream) - framing.discarded == used


@cases()
@some_examples
@given(data=st.data())
def test_after_a_reset_it_is_as_new(case: Case, data: st.DataObject) -> None:
    used, new = case.make(), case.make()
    fed(used, in_pieces(stream_of(case, data), data))
    used.reset()
    before = counters(used)
    stream = stream_of(case, data)
    pieces = list(in_pieces(stream, data))
    assert fed(used, pieces) == fed(new, pieces)
    since = tuple(now - then for now, then in zip(counters(used), before, strict=True))
    assert since == counters(new)


@cases(when=lambda case: case.lost is not None)
@some_examples
@given(data=st.data())
def test_after_garbage_it_is_in_step_again(case: Case, data: st.DataObject) -> None:
    assert case.lost is not None
    messages = messages_of(case, data, least=2)
    framing = case.make()
    frames = encoded(case, messages)
    found = fed(framing, in_pieces(noise_of(case, data) + b"".join(frames), data))
    if case.end == 0:
        found += framing.feed(filler(framing))
    expected = messages[case.lost :]
    assert found[max(0, len(found) - len(expected)) :] == expected


@cases(when=lambda case: case.lost is not None)
@more_examples
@given(data=st.data())
def test_damage_costs_the_message_it_hits_and_no_other(case: Case, data: st.DataObject) -> None:
    messages = messages_of(case, data, least=2)
    if not messages:
        return
    frames = encoded(case, messages)
    hit = data.draw(st.integers(0, len(messages) - 1), "hit")
    span = len(frames[hit]) - case.end
    begin, end = sorted(data.draw(st.tuples(st.integers(0, span), st.integers(0, span)), "span"))
    frames[hit] = frames[hit][:begin] + noise_of(case, data) + frames[hit][end:]
    framing = case.make()
    found = fed(framing, in_pieces(b"".join(frames), data))
    if case.end == 0:
        found += framing.feed(filler(framing))
    others = messages[:hit] + messages[hit + 1 :]
    # One that has lost its last byte may be made whole by the first of the next, if that is equal.
    healed = messages[: hit + 1] + messages[hit + 2 :]
    assert is_within(others, found) or is_within(healed, found)
    if case.safe:
        assert found in (others, messages, healed)


@cases(when=lambda case: case.safe)
@more_examples
@given(data=st.data())
def test_a_checked_message_is_right_or_rejected(case: Case, data: st.DataObject) -> None:
    messages = messages_of(case, data)
    stream = bytearray(b"".join(encoded(case, messages)))
    for _ in range(data.draw(st.integers(0, 5), "how often")):
        where = data.draw(st.integers(0, len(stream)), "where")
        size = data.draw(st.integers(0, 3), "size")
        stream[where : where + size] = noise_of(case, data)
    framing = case.make()
    assert is_within(fed(framing, in_pieces(bytes(stream), data)), messages)


@cases(when=lambda case: case.safe)
@some_examples
@given(data=st.data())
def test_a_wrong_bit_is_noticed(case: Case, data: st.DataObject) -> None:
    messages = messages_of(case, data, least=1)
    if not messages:
        return
    (frame,) = encoded(case, messages[:1])
    bit = data.draw(st.integers(0, 8 * len(frame) - 1), "bit")
    wrong = bytearray(frame)
    wrong[bit // 8] ^= 1 << bit % 8
    framing = case.make()
    assert framing.feed(bytes(wrong)) == []
    if case.end == 0:
        assert framing.feed(filler(framing)) == []
        assert framing.discarded >= len(frame)


@cases()
@some_examples
@given(data=st.data())
def test_too_long_a_message_is_refused_and_skipped(case: Case, data: st.DataObject) -> None:
    """What the other end may send with a larger `max_frame`."""
    framing = case.make()
    generous = case.make()
    innermost: Framing = generous
    while isinstance(innermost, Checked):
        innermost = innermost._framing
        innermost.max_frame = 1 << 20
    generous.max_frame = innermost.max_frame = 1 << 20
    size = framing.max_frame + data.draw(st.integers(1, 300), "too many")
    message = b"b" * size
    with pytest.raises(FrameError):
        framing.encode(message)
    try:
        long = generous.encode(message)
    except FrameError:  # nor does the format have such long ones
        return
    found = fed(framing, in_pieces(long, data))
    assert message not in found
    assert framing.rejected >= 1


@cases()
def test_an_endless_message_takes_no_memory(case: Case) -> None:
    framing = case.make()
    for piece in (b"b" * 20000, bytes(20000), b"$" * 20000, MARK * 10000):
        for _ in range(2):
            framing.feed(piece)
            assert framing.pending < framing.max_frame
            assert len(framing._buffer) < framing.max_frame


@cases()
@some_examples
@given(data=st.data())
def test_a_copy_is_one_of_its_own(case: Case, data: st.DataObject) -> None:
    framing = case.make()
    stream = stream_of(case, data)
    cut = data.draw(st.integers(0, len(stream)), "cut")
    framing.feed(stream[:cut])
    same = copy.deepcopy(framing)
    assert counters(same) == counters(framing)
    assert same.feed(stream[cut:]) == framing.feed(stream[cut:])
    assert counters(same) == counters(framing)
    before = counters(framing)
    same.feed(stream)
    assert counters(framing) == before


@cases()
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_anything_like_bytes_is_sent_and_fed(case: Case, kind: Callable[[bytes], Any]) -> None:
    framing = case.make()
    message = next(b"b" * size for size in range(1, 40) if sendable(framing, [b"b" * size]))
    assert framing.feed(kind(framing.encode(kind(message)))) == [message]


@cases()
@pytest.mark.parametrize("message", ["text", 5, None, [1, 2], object()])
def test_a_message_is_bytes(case: Case, message: Any) -> None:
    with pytest.raises(FrameError, match=r"expected a message of bytes, got .*encode text first"):
        case.make().encode(message)


@cases()
def test_text_is_not_fed(case: Case) -> None:
    framing = case.make()
    with pytest.raises(TypeError):
        framing.feed("text")  # type: ignore[arg-type]
    assert counters(framing) == (0, 0, 0, 0)


@cases()
def test_nothing_comes_of_nothing(case: Case) -> None:
    framing = case.make()
    assert framing.feed(b"") == []
    framing.reset()
    assert counters(framing) == (0, 0, 0, 0)
