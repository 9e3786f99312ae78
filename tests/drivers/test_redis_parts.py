"""What drivers of Redis are made of, and needs no server: replies, ids, what was trimmed."""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import AsyncIterator
from typing import Any, cast

import coredis.parser
import pytest
import trio
import trio.testing
from drivers.redis_peers import command, encoded
from hypothesis import given
from hypothesis import strategies as st

from horus_trio.drivers import Wire
from horus_trio.drivers.redis.connection import Connection
from horus_trio.drivers.redis.entries import StreamState, position_of
from horus_trio.drivers.redis.replies import LONGEST_LINE, NotRedis, Refused, Replies, packed
from horus_trio.drivers.redis.trimmed import Trimmed

LONGEST = 50


def shortened(reply: Any) -> Any:
    """What comes of a reply that is received byte by byte."""
    if isinstance(reply, list):
        return [shortened(one) for one in reply]
    return None if isinstance(reply, bytes) and len(reply) > LONGEST else reply


replies = st.recursive(
    st.none() | st.integers(-(2**63), 2**63 - 1) | st.binary(max_size=3 * LONGEST),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=12,
)


def stream_of(sent: list[Any]) -> bytes:
    """These replies, one after the other."""
    data = encoded(*sent)
    return data[data.index(b"\n") + 1 :]


def fed(data: bytes, sizes: list[int], longest: int = LONGEST) -> tuple[list[Any], Replies]:
    reader = Replies(coredis.parser, longest)
    came: list[Any] = []
    position = 0
    while position < len(data):
        size = sizes[position % len(sizes)]
        came += reader.feed(data[position : position + size])
        position += size
    return came, reader


@given(st.lists(replies, max_size=6), st.lists(st.integers(1, 40), min_size=1))
def test_replies_come_whole_however_their_bytes_come(sent: list[Any], sizes: list[int]) -> None:
    came, _ = fed(stream_of(sent), sizes, longest=10_000)
    assert came == sent


@given(st.lists(replies, max_size=6))
def test_long_texts_are_passed_over_byte_by_byte(sent: list[Any]) -> None:
    came, reader = fed(stream_of(sent), [1])
    assert came == [shortened(reply) for reply in sent]
    assert reader.discarded == sum(len(text) for text in texts(sent) if len(text) > LONGEST)


@given(st.lists(replies, max_size=6), st.lists(st.integers(1, 200), min_size=1))
def test_long_texts_are_passed_over_or_whole(sent: list[Any], sizes: list[int]) -> None:
    def is_so(came: Any, sent: Any) -> bool:
        if isinstance(sent, list):
            return isinstance(came, list) and len(came) == len(sent) and all(map(is_so, came, sent))
        return bool(came == sent or came == shortened(sent))

    came, _ = fed(stream_of(sent), sizes)
    assert is_so(came, sent)


def texts(reply: Any) -> list[bytes]:
    if isinstance(reply, list):
        return [text for one in reply for text in texts(one)]
    return [reply] if isinstance(reply, bytes) else []


def test_a_text_that_is_too_long_is_never_held() -> None:
    reader = Replies(coredis.parser, 100_000)
    reader.feed(b"*2\r\n$100000000\r\n")
    for _ in range(1000):
        assert reader.feed(bytes(100_000)) == []
        assert reader._parser.bytes_written < 200_000
    assert reader.feed(b"\r\n:1\r\n") == [[None, 1]]
    assert reader.discarded == 100_000_000


def test_a_flood_does_not_pile_up() -> None:
    """Its pieces never end where a reply ends."""
    reader = Replies(coredis.parser, 100_000)
    reply = encoded(b"message", b"channel", bytes(997))
    stream, came, longest = b"", 0, 0
    for number in range(2000):
        stream += reply * 10
        size = len(stream) - 1 - number % 500
        came += len(reader.feed(stream[:size]))
        stream = stream[size:]
        longest = max(longest, reader._parser.localbuffer.getbuffer().nbytes)
    came += len(reader.feed(stream))
    assert came == 20_000
    assert longest < 600_000


@pytest.mark.parametrize(
    ("line", "code", "text"),
    [
        (b"-ERR no such key", "ERR", "no such key"),
        (b"-OOM command not allowed", "OOM", "command not allowed"),
        (b"-WRONGTYPE Operation", "WRONGTYPE", "Operation"),
        (b"-NOAUTH Authentication required.", "NOAUTH", "Authentication required."),
        (b"-DENIED Redis is", "DENIED", "Redis is"),
        (b"-ERR max number of clients reached", "ERR", "max number of clients reached"),
        (b"-ERR unknown command 'X', with", "ERR", "unknown command 'X', with"),
        (b"-no code at all", "ERR", "no code at all"),
        (b"-", "ERR", ""),
    ],
)
def test_what_a_server_refuses(line: bytes, code: str, text: str) -> None:
    [refused] = Replies(coredis.parser, LONGEST).feed(line + b"\r\n")
    assert isinstance(refused, Refused)
    assert (refused.code, refused.text) == (code, text)


@pytest.mark.parametrize(
    "data", [b"\r\n", b"HTTP/1.1\r\n", b"$x\r\n", b":\r\n", b"-\xff\r\n", b"$" * LONGEST_LINE]
)
def test_what_is_no_reply(data: bytes) -> None:
    with pytest.raises(NotRedis):
        Replies(coredis.parser, LONGEST).feed(data)


@given(st.lists(st.binary() | st.text() | st.integers(), min_size=1))
def test_commands_are_packed(words: list[bytes | str | int]) -> None:
    plain = [str(word) if isinstance(word, int) else word for word in words]
    assert packed(*words) == command(*plain)


# Connections


@contextlib.asynccontextmanager
async def connected() -> AsyncIterator[tuple[Connection, trio.SocketStream]]:
    """A connection that holds little, and its other end."""
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    wire = Wire(ours.detach())
    try:
        async with trio.SocketStream(trio.socket.from_stdlib_socket(theirs)) as other:
            yield Connection(wire, Replies(coredis.parser, LONGEST)), other
    finally:
        wire.close()


async def read_exactly(stream: trio.SocketStream, size: int) -> bytes:
    data = b""
    with trio.fail_after(10):
        while len(data) < size:
            data += await stream.receive_some(size - len(data))
    return data


async def test_a_command_that_is_cancelled_goes_out_whole_or_not_at_all() -> None:
    """The first was half out, so it is finished. The second was not, so it never was."""
    big = bytes(1_000_000)
    doubts: dict[str, list[bool]] = {"one": [], "two": [], "three": []}
    async with connected() as (line, other):
        for name, value in (("one", big), ("two", b"2")):
            with trio.move_on_after(0.02) as scope:
                await line.call(name, value, doubt=doubts[name].append)
            assert scope.cancelled_caught
        answers: list[Any] = []

        async def third() -> None:
            answers.append(await line.call("three", doubt=doubts["three"].append))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(third)
            expected = command("one", big) + command("three")
            assert await read_exactly(other, len(expected)) == expected
            await other.send_all(b":1\r\n:3\r\n")
        assert answers == [3]
        assert line.is_idle
    assert doubts == {"one": [True], "two": [True, False], "three": [True, False]}


async def test_whoever_waits_for_its_turn_is_asked_again_whether_it_may() -> None:
    class TooLate(Exception):
        pass

    def refuse() -> None:
        raise TooLate

    async with connected() as (line, other):

        async def late() -> None:
            with pytest.raises(TooLate):
                await line.call("two", check=refuse)

        async def answer() -> None:
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert await read_exactly(other, len(command("one"))) == command("one")
            await other.send_all(b":1\r\n")
            assert await read_exactly(other, len(command("three"))) == command("three")
            await other.send_all(b":3\r\n")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer)
            nursery.start_soon(line.call, "one")
            await trio.testing.wait_all_tasks_blocked()
            await late()
            with trio.fail_after(10):
                assert await line.call("three") == 3


async def test_whoever_waits_for_room_is_asked_again_whether_it_may() -> None:
    whole = command("one", bytes(1_000_000))
    came = b""

    def refuse() -> None:
        raise TimeoutError

    async with connected() as (line, other):
        with trio.move_on_after(0.02):
            await line.call("one", bytes(1_000_000))
        async with trio.open_nursery() as nursery:

            async def second() -> None:
                with pytest.raises(TimeoutError):
                    await line.call("two", check=refuse)
                nursery.cancel_scope.cancel()

            nursery.start_soon(second)
            while True:
                came += await other.receive_some(1000)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(line.flush)
            came += await read_exactly(other, len(whole) - len(came))
        assert came == whole
        assert line.is_idle


# Ids


@pytest.mark.parametrize(
    ("text", "position"),
    [("0", (0, 0)), ("5-3", (5, 3)), (b"18446744073709551615-1", (2**64 - 1, 1))],
)
def test_an_id_is_a_position(text: str | bytes, position: tuple[int, int]) -> None:
    assert position_of(text) == position


@pytest.mark.parametrize("text", ["", "-", "1-", "$", ">", "1-1-1", "one", "-1", "1 ", "٣", "1-*"])
def test_what_is_no_id(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no id of an entry|ascii"):
        position_of(text)


def test_a_state_is_read_from_what_redis_says() -> None:
    reply = [
        *(b"length", 2, b"last-generated-id", b"9-1", b"entries-added", 7),
        *(b"first-entry", [b"8-0", [b"n", b"1"]], b"last-entry", [b"9-1", [b"n", b"2"]]),
    ]
    assert StreamState.of_reply(reply) == StreamState((9, 1), (8, 0), 2, 7)
    old = [*reply[:4], b"first-entry", None]
    assert StreamState.of_reply(old) == StreamState((9, 1), None, 2, None)


# What was trimmed


class Stream:
    """A stream, simply."""

    def __init__(self) -> None:
        self.added = 0
        self.entries: list[tuple[int, int]] = []

    def add(self, count: int) -> None:
        for _ in range(count):
            self.added += 1
            self.entries.append((self.added, 0))

    def trim(self, length: int) -> None:
        self.entries = self.entries[max(0, len(self.entries) - length) :]

    def state(self) -> StreamState:
        first = self.entries[0] if self.entries else None
        return StreamState((self.added, 0), first, len(self.entries), self.added)


@pytest.mark.parametrize("seed", range(200))
def test_what_is_trimmed_is_counted_exactly_whatever_happens(seed: int) -> None:
    """It looks when it was away, and after each batch that was full; in the end all is read."""
    chance = random.Random(seed)
    stream, counted = Stream(), Trimmed()
    stream.add(chance.randrange(20))
    stream.trim(chance.randrange(20))
    position = (0, 0) if chance.random() < 0.5 else (stream.added, 0)
    began = stream.entries[0][0] - 1 if position == (0, 0) and stream.entries else stream.added
    counted.look(stream.state(), position)
    received, size = 0, chance.choice((1, 3, 10))
    full: list[tuple[int, int]] = []
    for step in range(60):
        last = step > 50
        if not last:
            stream.add(chance.choice((0, 1, 5, 30)))
            if chance.random() < 0.7:
                stream.trim(chance.choice((size, size + 1, 2 * size, 40)))
        if chance.random() < 0.2:  # away
            counted.look(stream.state(), position)
            full = []
        if full:
            counted.look(stream.state(), position, full)
        while True:
            batch = [entry for entry in stream.entries if entry > position][:size]
            for entry in batch:
                position = entry
                received += 1
                counted.took()
            full = batch if len(batch) >= size else []
            if not last or not full:
                break
            counted.look(stream.state(), position, full)
    assert position == (stream.added, 0) or not stream.entries
    counted.look(stream.state(), position)
    assert received + counted.lost == stream.added - began


def test_before_redis_7_nothing_can_be_counted() -> None:
    counted = Trimmed()
    for first in (1, 50):
        counted.look(StreamState((99, 0), (first, 0), 10, None), (5, 0))
    assert counted.lost == 0


def test_another_stream_of_the_same_name_has_lost_nothing() -> None:
    counted = Trimmed()
    counted.look(StreamState((99, 0), (1, 0), 99, 99), (99, 0))
    counted.look(StreamState((3, 0), (1, 0), 3, 3), cast(Any, (0, 0)))
    assert counted.lost == 0
