"""Replies of a Redis server: of a good one, of one that lies, and of what is none at all."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import AsyncIterator, Sequence
from typing import Any

import coredis.parser as library
import pytest
import trio
from drivers.redis_peers import encoded
from fuzzing import CUTS, counted, cut, fuzzed, peak, streams
from hypothesis import example
from hypothesis import strategies as st

from horus_trio.drivers import (
    ConnectFailed,
    ConsumerGroup,
    DeviceGone,
    RedisPubSub,
    RedisStream,
)
from horus_trio.drivers.redis.replies import COMPACT_AT, STEP, NotRedis, Refused, Replies

HOST = "127.0.0.1"
LONGEST = 100
MOST = 2_000


def one(value: Any) -> bytes:
    """A reply that is no list, or is one."""
    return encoded(value).removeprefix(b"*1\r\n")


VALUES = st.recursive(
    st.none() | st.integers(-(2**63), 2**63 - 1) | st.binary(max_size=30),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=8,
)
TOKENS = (
    b"*",
    b"*-1\r\n",
    b"*3\r\n",
    b"*9999999999\r\n",
    b"$-1\r\n",
    b"$-7\r\n",
    b"$5\r\n",
    b"$200\r\n",
    b"$99999999999999999999\r\n",
    b":1\r\n",
    b"+OK\r\n",
    b"-ERR no\r\n",
    b"-WRONGTYPE no\r\n",
    b"~1\r\n",
    b"%1\r\n",
    b">2\r\n",
    b"=8\r\ntxt:abcd\r\n",
    b"_\r\n",
    b"#t\r\n",
    b"#\r\n",
    b",1.5\r\n",
    b"(1\r\n",
    b"\n",
    b"\r\n",
    b"\r",
    b"x" * 60,
)
STREAM = streams(VALUES.map(one), *TOKENS)


def kept(replies: Replies) -> int:
    return len(replies._parser.localbuffer.getvalue())


@fuzzed(80, stream=STREAM, cuts=CUTS)
@example(stream=b"$-7\r\n" + b"+OK\r\n" * 1000, cuts=[])  # the parser stood still
@example(stream=b"*9\r\n$-12\r\n" + b"+OK\r\n" * 1000, cuts=[])  # it went back to the beginning
@example(stream=b"$-3\r\n" + b"+OK\r\n" * 1000, cuts=[])
@example(stream=b"+OK\n" + b"220 ready\n" * 1000, cuts=[4])  # a server of mail was heard for ever
@example(stream=b"*1\r\n" * 1000, cuts=[])
def test_bytes_are_replies_or_refused(stream: bytes, cuts: list[int]) -> None:
    replies = Replies(library, LONGEST, MOST)
    try:
        for piece in cut(stream, cuts):
            replies.feed(piece)
            # A text in one piece may be longer than allowed, and no longer than the piece.
            assert kept(replies) <= max(MOST, COMPACT_AT) + len(piece)
            assert len(replies._parser.nodes) <= 32
    except NotRedis:
        pass


@fuzzed(40, given=st.lists(VALUES, max_size=6), cuts=CUTS)
def test_good_replies_come_whole_however_they_are_cut(given: list[Any], cuts: list[int]) -> None:
    replies = Replies(library, LONGEST)
    found: list[Any] = []
    for piece in cut(b"".join(map(one, given)), cuts):
        found += replies.feed(piece)
        assert replies.feed(b"") == []  # as when TLS has something to say for itself
    assert found == given
    assert replies.discarded == 0


@fuzzed(40, sizes=st.lists(st.integers(0, 400), min_size=1, max_size=6), cuts=CUTS)
def test_texts_that_are_too_long_are_counted(sizes: list[int], cuts: list[int]) -> None:
    replies = Replies(library, LONGEST)
    found: list[Any] = []
    for piece in cut(b"".join(one(bytes(size)) for size in sizes), cuts):
        found += replies.feed(piece)
    assert len(found) == len(sizes)
    lost = [size for size, text in zip(sizes, found, strict=True) if text is None]
    assert all(size > LONGEST for size in lost)
    assert replies.discarded == sum(lost)


def test_many_levels_end_the_connection_and_not_the_process() -> None:
    """A set has its members walked through, in C: that has no limit but the stack."""
    for size in (2_000, 16_000, 400_000):
        with pytest.raises(NotRedis):
            Replies(library, LONGEST).feed(b"~1\r\n" + b"*1\r\n" * size + b":1\r\n")


def test_a_text_full_of_beginnings_comes_whole() -> None:
    text = b"\n*1\r\n~%>" * 5 * STEP
    replies = Replies(library, len(text))
    assert replies.feed(one(text) + encoded(text, [b"*"])) == [text, [text, [b"*"]]]
    assert Replies(library, 10).feed(encoded(text, 1)) == [[None, 1]]


def test_a_reply_without_an_end_is_not_kept() -> None:
    replies = Replies(library, LONGEST, 100_000)

    def flood() -> None:
        with pytest.raises(NotRedis, match="more than 100000 bytes"):
            while True:
                replies.feed(b":1\r\n" * 1000)

    replies.feed(b"*1000000000\r\n")
    assert peak(flood) < 3_000_000


def test_work_grows_with_the_bytes() -> None:
    for token in TOKENS:
        costs = []
        for size in (3_000, 12_000):
            replies = Replies(library, LONGEST)
            with counted() as work, contextlib.suppress(NotRedis):
                for piece in cut((token * size)[:size], list(range(0, size, 500))):
                    replies.feed(piece)
            costs.append(work.calls)
        assert costs[1] <= 6 * costs[0] + 500, token


# Whole drivers


@contextlib.asynccontextmanager
async def saying(*replies: bytes) -> AsyncIterator[int]:
    """The port of one who answers as a server does, and from then on says this, and hangs up."""

    async def serve(stream: trio.SocketStream) -> None:
        left = list(replies)
        async with stream:
            with contextlib.suppress(trio.BrokenResourceError):
                async for data in stream:
                    for _ in range(data.count(b"PING")):
                        await stream.send_all(b"+PONG\r\n")
                    if b"PING" not in data:
                        if left:
                            await stream.send_all(left.pop(0))
                        if not left:
                            return

    async with trio.open_nursery() as nursery:
        listen = functools.partial(trio.serve_tcp, serve, 0, host=HOST)
        [listener] = await nursery.start(listen)
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


def entries(*ids: bytes) -> list[Any]:
    return [[b"s", [[entry_id, [b"x", b"1"]] for entry_id in ids]]]


STATE = [b"length", 1, b"last-generated-id", b"5-0", b"entries-added", 1, b"first-entry", None]

SHAPES = VALUES | st.sampled_from(
    [
        entries(b"1-1"),
        entries(b"1-1", b"no id", b"\xff"),
        [[b"s", [[b"1-1", [b"x"]]]]],
        [[b"s", [[b"1-1", [b"x", [b"1"]]]]]],
        [[b"s", [[7, None]]]],
        [[b"s", [[b"1-1", 5]]]],
        [[b"s", [None]]],
        [[b"s", b"text"]],
        [b"1-0", [None, [b"1-1", [b"x", b"1"]]], [b"1-2"]],
        [5, [], []],
        [b"message", b"c", b"text"],
        [b"message", b"c", 5],
        [b"message", b"c", [b"x"]],
        [b"message", 5, b"text"],
        [b"message"],
        [b"pmessage", b"p", b"c", b"\xff"],
        [b"subscribe", b"c", 1],
        [b"message", [b"c"], None],
        STATE,
        STATE[2:],
        [[b"length"], 1],
        [b"length", b"x", b"last-generated-id", b"5-0"],
        [b"length", 1, b"last-generated-id", 5],
    ]
)
SAID = SHAPES.map(one) | st.sampled_from(
    [b"-ERR no such key\r\n", b"-NOGROUP no\r\n", b"+OK\r\n", b":5\r\n", b"$-9\r\n", b"what\n"]
)


async def heard(device: RedisStream | RedisPubSub) -> None:
    """All that it says, until it hangs up: nothing else than these errors."""
    try:
        async with device:
            while True:
                message = await device.receive()
                assert message is not None
    except (ConnectFailed, DeviceGone):
        pass


@fuzzed(25, said=st.lists(SAID, max_size=4), first=st.sampled_from([None, encoded(*STATE)]))
async def test_a_stream_of_one_that_lies(said: Sequence[bytes], first: bytes | None) -> None:
    with trio.fail_after(20):
        async with saying(*([] if first is None else [first]), *said) as port:
            await heard(RedisStream(f"redis://{HOST}:{port}", "s", max_message=50))


@fuzzed(25, said=st.lists(SAID, max_size=5))
async def test_a_group_of_one_that_lies(said: Sequence[bytes]) -> None:
    group = ConsumerGroup(name="g", consumer="c", create=False, claim_after=0.001)
    with trio.fail_after(20):
        async with saying(encoded(*STATE), one(None), encoded(*entries()), *said) as port:
            await heard(RedisStream(f"redis://{HOST}:{port}", "s", group=group))


@fuzzed(25, said=st.lists(SAID, max_size=4))
async def test_channels_of_one_that_lies(said: Sequence[bytes]) -> None:
    first = encoded(b"subscribe", b"c", 1)
    with trio.fail_after(20):
        async with saying(first + b"".join(said)) as port:
            await heard(RedisPubSub(f"redis://{HOST}:{port}", channels=["c"], max_message=50))


async def test_messages_before_the_subscription_are_bounded() -> None:
    early = encoded(b"message", b"a", b"x") * 20_000
    async with saying(early) as port:
        device = RedisPubSub(f"redis://{HOST}:{port}", channels=["a"], patterns=["b*"])
        with pytest.raises(ConnectFailed, match="10000 messages came, and no answer"):
            await device.open()


def test_refusals_are_told_apart() -> None:
    [found] = Replies(library, LONGEST).feed(b"-WRONGTYPE not that\r\n")
    assert isinstance(found, Refused)
