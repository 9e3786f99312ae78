"""`RedisStream`: over a real server."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from drivers.redis_peers import DURABLE, RealRedis, WithoutIds, open_redis
from drivers.steps import closes_in_every_state, leaks_nothing, raises_soon, until

import horus_trio as horus
from horus_trio.drivers import (
    ConnectFailed,
    DeviceGone,
    DriverNode,
    DriverState,
    FrameError,
    RedisStream,
    SendFailed,
    SendInterrupted,
    StreamEntry,
)
from horus_trio.errors import ConfigurationError
from horus_trio.testing import cancel_everywhere

Require = Callable[[str, bool, str], None]


@pytest.fixture
def redis(require: Require, tmp_path: Path) -> Iterator[RealRedis]:
    with open_redis(require, tmp_path) as server:
        yield server


def numbered(first: int, last: int) -> list[StreamEntry]:
    return [StreamEntry({"n": number}) for number in range(first, last)]


async def numbers(stream: RedisStream, count: int) -> list[int]:
    with trio.fail_after(20):
        return [int((await stream.receive())["n"]) for _ in range(count)]


async def send_all(stream: RedisStream, first: int, last: int) -> None:
    for entry in numbered(first, last):
        await stream.send(entry)


# Entries


async def test_an_entry_goes_and_comes(redis: RealRedis) -> None:
    async with RedisStream(redis.url, "s") as stream:
        sent = {
            "text": "grün",
            "whole": -7,
            "part": 1.5,
            "bytes": b"\0\xff\r\n",
            b"\xff": b"",
            "": 0,
        }
        await stream.send(StreamEntry(sent))
        entry = await stream.receive()
        assert entry.fields == {
            "text": "grün".encode(),
            "whole": b"-7",
            "part": b"1.5",
            "bytes": b"\0\xff\r\n",
            b"\xff": b"",
            "": b"0",
        }
        assert list(entry.fields) == list(sent)
        assert entry["part"] == b"1.5"
        milliseconds, _, number = entry.id.partition("-")
        assert int(milliseconds) > 1_600_000_000_000
        assert number == "0"
        counted = stream.statistics()
    assert (counted.sent, counted.received, counted.lost) == (1, 1, 0)
    assert counted.bytes_sent > 100
    assert counted.bytes_received > 100


async def test_a_dict_is_taken_too(redis: RealRedis) -> None:
    async with RedisStream(redis.url, "s") as stream:
        await stream.send({"n": 1})  # type: ignore[arg-type]
        assert await numbers(stream, 1) == [1]


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (StreamEntry({}), "expected an entry with fields"),
        (b"bytes", "expected an entry with fields"),
        (StreamEntry([("a", 1)]), "expected an entry with fields"),  # type: ignore[arg-type]
        (StreamEntry({1: "x"}), "expected a name of text or bytes for a field, got 1"),
        (StreamEntry({"x": None}), "field 'x': expected bytes, text, an int or a float, got None"),
        (StreamEntry({"x": True}), "got bool True; encode it first"),
        (StreamEntry({"x": [1]}), "got list"),
        (StreamEntry({"x": bytes(1000)}), "1001 bytes is longer than max_message=1000"),
    ],
)
async def test_what_is_no_entry_is_not_sent(redis: RealRedis, message: Any, said: str) -> None:
    async with RedisStream(redis.url, "s", max_message=1000) as stream:
        error = await raises_soon(FrameError, lambda: stream.send(message))
        assert said in str(error)
        assert stream.state is DriverState.OPEN
        await send_all(stream, 0, 1)
        assert await numbers(stream, 1) == [0]


async def test_one_that_is_too_long_is_rejected_when_it_comes(redis: RealRedis) -> None:
    async with (
        RedisStream(redis.url, "s", max_message=1000) as short,
        RedisStream(redis.url, "s") as long,
    ):
        await send_all(long, 0, 1)
        await long.send(StreamEntry({"n": 1, "much": bytes(900_000)}))
        await long.send(StreamEntry({"n": 2, "many": bytes(400), "more": bytes(700)}))
        await send_all(long, 3, 4)
        await long.send(StreamEntry({"n": 4, "x": bytes(1001)}))
        with trio.move_on_after(0.1):
            assert await numbers(short, 2) == [0, 3]
            await short.receive()
        await send_all(long, 5, 6)
        assert await numbers(short, 1) == [5]
        counted = short.statistics()
    assert (counted.received, counted.rejected, counted.lost) == (3, 3, 0)
    assert counted.discarded > 900_000


async def test_entries_go_to_another_stream(redis: RealRedis) -> None:
    async with (
        RedisStream(redis.url, "up", send_to="down") as here,
        RedisStream(redis.url, "down", send_to="up") as there,
    ):
        await send_all(here, 1, 2)
        assert await numbers(there, 1) == [1]
        await send_all(there, 2, 3)
        assert await numbers(here, 1) == [2]


# Where it begins, and goes on


async def test_it_begins_where_it_is_told(redis: RealRedis) -> None:
    async with RedisStream(redis.url, "s", start="0") as first:
        await send_all(first, 0, 5)
        ids = [(await first.receive()).id for _ in range(5)]
        async with (
            RedisStream(redis.url, "s") as new,
            RedisStream(redis.url, "s", start=ids[2]) as middle,
        ):
            assert await numbers(middle, 2) == [3, 4]
            await send_all(first, 5, 6)
            assert await numbers(new, 1) == [5]
            assert await numbers(middle, 1) == [5]
            assert await numbers(first, 1) == [5]
    async with RedisStream(redis.url, "s", start="0", batch=2) as old:
        assert await numbers(old, 6) == list(range(6))
        assert old.statistics().lost == 0


async def test_opened_again_it_goes_on_after_what_it_gave_out(redis: RealRedis) -> None:
    stream = RedisStream(redis.url, "s", batch=10)
    async with RedisStream(redis.url, "s") as other:
        async with stream:
            await send_all(other, 0, 25)
            assert await numbers(stream, 3) == [0, 1, 2]
        await send_all(other, 25, 30)
        async with stream:
            assert await numbers(stream, 12) == list(range(3, 15))
        async with stream:
            assert await numbers(stream, 15) == list(range(15, 30))
            with trio.move_on_after(0.02):
                await stream.receive()
            await send_all(other, 30, 31)  # the answer to that one is not waited for
        async with stream:
            assert await numbers(stream, 1) == [30]
    assert stream.statistics().lost == 0
    assert stream.statistics().connects == 4


async def test_a_stream_that_is_deleted_and_begun_anew_is_read(redis: RealRedis) -> None:
    stream = RedisStream(redis.url, "s")
    async with RedisStream(redis.url, "s") as other:
        redis.ask("XADD", "s", "9999999999999-0", "n", "0")
        async with stream:
            redis.ask("XADD", "s", "9999999999999-1", "n", "1")
            assert await numbers(stream, 1) == [1]
        redis.ask("DEL", "s")
        async with stream:
            await send_all(other, 2, 4)  # with smaller ids
            assert await numbers(stream, 2) == [2, 3]
        assert stream.statistics().lost == 0


# Cancellation


async def test_a_cancelled_receive_takes_nothing(redis: RealRedis) -> None:
    async with RedisStream(redis.url, "s", batch=3) as stream:
        for number in range(200):
            if number % 2:
                await send_all(stream, number, number + 1)
            with trio.move_on_after((number % 5) / 1000):
                assert await numbers(stream, 1) == [number]
                continue
            if not number % 2:
                await send_all(stream, number, number + 1)
            assert await numbers(stream, 1) == [number]


async def test_a_send_that_is_cancelled_in_doubt_breaks_it(redis: RealRedis) -> None:
    async with RedisStream(redis.url, "s", start="0") as stream:
        redis.pause()
        with trio.move_on_after(0.05) as scope:
            await stream.send(StreamEntry({"n": 0}))
        assert scope.cancelled_caught
        assert stream.state is DriverState.BROKEN
        await raises_soon(SendInterrupted, stream.receive)
        redis.go_on()
        await stream.aclose()
        await stream.open()
        assert await numbers(stream, 1) == [0]  # it was stored after all


async def test_a_send_that_is_cancelled_in_its_turn_sends_nothing(redis: RealRedis) -> None:
    async with RedisStream(redis.url, "s", start="0") as stream:
        redis.pause()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.send, StreamEntry({"n": 0}))
            await trio.testing.wait_all_tasks_blocked(0.01)
            with trio.move_on_after(0.02) as scope:
                await stream.send(StreamEntry({"n": 1}))
            assert scope.cancelled_caught
            assert stream.state is DriverState.OPEN
            redis.go_on()
        await stream.send(StreamEntry({"n": 2}))
        assert await numbers(stream, 2) == [0, 2]


async def test_a_large_send_that_is_cancelled_half_way_breaks_it(redis: RealRedis) -> None:
    async with RedisStream(redis.url, "s", max_message=50_000_000) as stream:
        redis.pause()
        with trio.move_on_after(0.05):
            await stream.send(StreamEntry({"n": bytes(40_000_000)}))
        assert stream.state is DriverState.BROKEN
        redis.go_on()
    async with stream:
        await send_all(stream, 1, 2)
        assert await numbers(stream, 1) == [1]


@pytest.mark.slow
async def test_every_call_can_be_cancelled_anywhere(redis: RealRedis) -> None:
    @contextlib.asynccontextmanager
    async def new() -> AsyncIterator[RedisStream]:
        stream = WithoutIds(redis.url, redis.fresh("s"), start="0")
        try:
            yield stream
        finally:
            with trio.CancelScope(shield=True):
                await stream.aclose()

    @contextlib.asynccontextmanager
    async def new_and_open() -> AsyncIterator[RedisStream]:
        async with new() as stream:
            await stream.open()
            await send_all(stream, 0, 2)
            yield stream

    async def works(stream: RedisStream) -> bool:
        await send_all(stream, 0, 1)
        return await numbers(stream, 1) == [0]

    async def rest(stream: RedisStream) -> list[int]:
        return await numbers(stream, 1)

    async def state(stream: RedisStream) -> DriverState:
        return stream.state

    await cancel_everywhere(new, RedisStream.open, observe=works)
    await cancel_everywhere(new_and_open, RedisStream.receive, observe=rest)
    await cancel_everywhere(new_and_open, RedisStream.aclose, observe=state)


async def test_it_closes_in_every_state(redis: RealRedis) -> None:
    await closes_in_every_state(lambda: RedisStream(redis.url, "s"))


async def test_opened_and_closed_it_leaves_nothing(redis: RealRedis) -> None:
    await leaks_nothing(lambda: RedisStream(redis.url, "s"), 50)


# What is trimmed away


async def test_older_entries_are_trimmed_away(redis: RealRedis) -> None:
    async with RedisStream(redis.url, "s", max_length=100, start="0") as stream:
        await send_all(stream, 0, 1000)
        length = int(redis.ask("XLEN", "s")[1:])
        assert 100 <= length <= 300
        first = int((await stream.receive())["n"])
        assert first == 1000 - length
        assert stream.statistics().lost == 0  # they were gone before it began


@pytest.mark.parametrize("batch", [1, 7, 64])
async def test_what_is_trimmed_away_while_it_is_closed_is_counted(
    redis: RealRedis, batch: int
) -> None:
    stream = RedisStream(redis.url, "s", batch=batch)
    async with RedisStream(redis.url, "s") as other:
        async with stream:
            await send_all(other, 0, 20)
            assert await numbers(stream, 12) == list(range(12))
        await send_all(other, 20, 50)
        redis.ask("XTRIM", "s", "MAXLEN", "10")
        async with stream:
            assert await numbers(stream, 10) == list(range(40, 50))
            assert stream.statistics().lost == 28


@pytest.mark.parametrize("batch", [1, 7, 8])
async def test_what_is_trimmed_away_while_it_lags_is_counted(redis: RealRedis, batch: int) -> None:
    async with (
        RedisStream(redis.url, "s") as other,
        RedisStream(redis.url, "s", batch=batch) as stream,
    ):
        came: list[int] = []
        sent = 0
        for take in (1, 30, 2, 90, 45):
            await send_all(other, sent, sent + 100)
            sent += 100
            redis.ask("XTRIM", "s", "MAXLEN", "60")
            came += await numbers(stream, min(take, 60))
        with trio.move_on_after(0.3):
            while True:
                came += await numbers(stream, 1)
        counted = stream.statistics()
    assert came == sorted(set(came))
    assert came[-1] == 499
    assert counted.received == len(came)
    assert counted.lost == 500 - len(came) > 100


# Errors


async def test_a_key_that_is_no_stream(redis: RealRedis) -> None:
    redis.ask("SET", "text", "x")
    for stream in (
        RedisStream(redis.url, "text"),
        RedisStream(redis.url, "s", send_to="text"),
    ):
        error = await raises_soon(ConnectFailed, stream.open)
        assert "in use for" in str(error)
        assert "take another name" in str(error)
    async with RedisStream(redis.url, "s") as stream:
        redis.ask("SET", "s", "x")
        sending = await raises_soon(SendFailed, lambda: stream.send(StreamEntry({"n": 1})))
        assert "WRONGTYPE" in str(sending)
        assert stream.state is DriverState.OPEN
        redis.ask("DEL", "s")
        await send_all(stream, 1, 2)
        assert await numbers(stream, 1) == [1]


async def test_a_server_whose_memory_is_full(redis: RealRedis) -> None:
    async with RedisStream(redis.url, "s") as stream:
        redis.ask("CONFIG", "SET", "maxmemory", "1")
        error = await raises_soon(SendFailed, lambda: stream.send(StreamEntry({"n": 1})))
        assert "OOM" in str(error)
        assert "max_length" in str(error)
        assert stream.state is DriverState.OPEN
        redis.ask("CONFIG", "SET", "maxmemory", "0")
        await send_all(stream, 1, 2)
        assert await numbers(stream, 1) == [1]
        assert stream.statistics().failures == 1


async def test_a_server_that_is_a_replica(redis: RealRedis) -> None:
    async with RedisStream(redis.url, "s") as stream:
        redis.ask("REPLICAOF", "127.0.0.1", "1")
        error = await raises_soon(SendFailed, lambda: stream.send(StreamEntry({"n": 1})))
        assert "connect to its primary" in str(error)


async def test_the_server_is_killed_while_it_waits(redis: RealRedis) -> None:
    stream = RedisStream(redis.url, "s")
    await stream.open()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(raises_soon, DeviceGone, stream.receive)
        await trio.testing.wait_all_tasks_blocked(0.01)
        redis.kill()
    assert stream.state is DriverState.BROKEN
    assert "closed the connection" in stream.statistics().last_error
    await raises_soon(DeviceGone, lambda: stream.send(StreamEntry({"n": 1})))
    await stream.aclose()
    error = await raises_soon(ConnectFailed, stream.open)
    assert "nothing listens there" in str(error)


async def test_idle_connections_that_the_server_closes_are_noticed(redis: RealRedis) -> None:
    async with RedisStream(redis.url, "s") as stream:
        redis.ask("CLIENT", "KILL", "TYPE", "normal")
        await raises_soon(DeviceGone, lambda: stream.send(StreamEntry({"n": 1})))
        assert stream.state is DriverState.BROKEN


@pytest.mark.slow
async def test_behind_a_node_no_entry_is_lost_though_the_server_is_killed(
    require: Require, tmp_path: Path
) -> None:
    """A writer repeats what the server has not confirmed; each entry comes, and in order."""
    came: list[int] = []
    with open_redis(require, tmp_path, *DURABLE) as redis:
        scheduler = horus.Scheduler(signals=False)
        reader = RedisStream(redis.url, "s", start="0", batch=5)
        scheduler.add(DriverNode("reader", reader, publish="in"))

        async def listen() -> None:
            async for entry in scheduler.topic("in").subscribe(overflow=horus.Overflow.BLOCK):
                came.append(int(entry["n"]))

        async def start_again() -> None:
            await trio.sleep(0.05)
            redis.start()

        async def write() -> None:
            writer = RedisStream(redis.url, "s")
            for number in range(300):
                if number in (60, 120, 200):
                    await until(lambda number=number: len(came) > number - 10)  # type: ignore[misc]
                    redis.kill()
                    nursery.start_soon(start_again)
                while True:
                    try:
                        if writer.state is not DriverState.OPEN:
                            await writer.aclose()
                            await writer.open()
                        await writer.send(StreamEntry({"n": number}))
                        break
                    except (ConnectFailed, DeviceGone):
                        await trio.sleep(0.01)
            await writer.aclose()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            with trio.fail_after(30):
                await nursery.start(scheduler.run)
                await write()
                await until(lambda: came and came[-1] == 299)
            scheduler.stop()
            nursery.cancel_scope.deadline = trio.current_time() + 5
    # What was stored, and not confirmed when the server was killed, was written again.
    assert sorted(set(came)) == list(range(300))
    assert came == sorted(came)
    assert len(came) <= 303
    assert reader.statistics().connects == 4
    assert reader.statistics().lost == 0


# What makes no sense


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"server": 6379}, "expected a URL such as"),
        ({"stream": ""}, "expected the key of a stream"),
        ({"stream": b"s"}, "expected the key of a stream"),
        ({"send_to": ""}, r"send_to=''\): expected the key of a stream"),
        ({"start": "now"}, r'start=\'now\'\): expected "\$" for what is new'),
        ({"start": 0}, "start=0"),
        ({"group": "readers"}, r"expected a ConsumerGroup\(name=…, consumer=…\)"),
        ({"max_length": 0}, "max_length=0"),
        ({"batch": None}, "batch=None"),
        ({"batch": True}, "batch=True"),
        ({"max_message": 0}, "expected bytes, from 1 to 512 MiB"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        RedisStream(**{"server": "redis://127.0.0.1", "stream": "s"} | arguments)


def test_its_name_says_where_it_is() -> None:
    stream = RedisStream("redis://robot:secret@192.168.0.7:6380/1", "telemetry")
    assert repr(stream) == "<RedisStream 'telemetry' at 192.168.0.7:6380, new>"
