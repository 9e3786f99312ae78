"""`RedisStream` with a `ConsumerGroup`: over a real server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from drivers.redis_peers import DURABLE, RealRedis, open_redis
from drivers.steps import raises_soon, until

from horus_trio.drivers import (
    ConnectFailed,
    ConsumerGroup,
    DeviceGone,
    DriverState,
    RedisStream,
    SendFailed,
    StreamEntry,
)
from horus_trio.errors import ConfigurationError

Require = Callable[[str, bool, str], None]


@pytest.fixture
def redis(require: Require, tmp_path: Path) -> Iterator[RealRedis]:
    with open_redis(require, tmp_path, *DURABLE) as server:
        yield server


def reader(redis: RealRedis, consumer: str = "one", batch: int = 10, **options: Any) -> RedisStream:
    group = ConsumerGroup(name="readers", consumer=consumer, **options)
    return RedisStream(redis.url, "s", start="0", group=group, batch=batch)


async def numbers(stream: RedisStream, count: int) -> list[int]:
    with trio.fail_after(20):
        return [int((await stream.receive())["n"]) for _ in range(count)]


async def write(redis: RealRedis, first: int, last: int) -> None:
    async with RedisStream(redis.url, "s") as stream:
        for number in range(first, last):
            await stream.send(StreamEntry({"n": number}))


def pending(redis: RealRedis) -> int:
    """Entries that were read and not acknowledged."""
    reply = redis.ask("XPENDING", "s", "readers")
    return int(reply.split(b"\r\n")[1][1:])


async def test_each_entry_goes_to_one_of_its_readers(redis: RealRedis) -> None:
    came: dict[str, list[int]] = {"one": [], "two": []}

    async def read(consumer: str) -> None:
        async with reader(redis, consumer, batch=2) as stream:
            while True:
                came[consumer] += await numbers(stream, 1)
                await trio.sleep(0.001)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read, "one")
        nursery.start_soon(read, "two")
        await write(redis, 0, 100)
        await until(lambda: sum(map(len, came.values())) >= 100)
        nursery.cancel_scope.cancel()
    assert sorted(came["one"] + came["two"]) == list(range(100))
    assert min(map(len, came.values())) > 10


async def test_what_was_given_out_is_acknowledged_by_the_next_read_and_at_the_end(
    redis: RealRedis,
) -> None:
    await write(redis, 0, 25)
    async with reader(redis) as stream:
        assert await numbers(stream, 10) == list(range(10))
        assert pending(redis) == 10
        assert await numbers(stream, 1) == [10]
        assert pending(redis) == 10
        assert await numbers(stream, 3) == [11, 12, 13]
    await until(lambda: pending(redis) == 6)  # those that were read ahead
    async with reader(redis) as stream:  # after a restart
        assert await numbers(stream, 11) == list(range(14, 25))
        with trio.move_on_after(0.1):
            await stream.receive()
        assert pending(redis) == 0
        before = stream.statistics().bytes_sent
        await write(redis, 25, 26)
        assert await numbers(stream, 1) == [25]
        with trio.move_on_after(0.1):
            await stream.receive()
        # One entry is acknowledged, and not all of them again.
        assert stream.statistics().bytes_sent - before < 250


async def test_what_a_program_that_died_had_not_acknowledged_comes_again(
    redis: RealRedis,
) -> None:
    await write(redis, 0, 15)
    dies = reader(redis)
    await dies.open()
    assert await numbers(dies, 12) == list(range(12))
    redis.kill()  # so it cannot say what it was given
    await raises_soon(DeviceGone, lambda: dies.send(StreamEntry({"n": 0})))
    await dies.aclose()
    redis.start()
    async with reader(redis) as stream:
        assert await numbers(stream, 5) == [10, 11, 12, 13, 14]


async def test_the_program_itself_gets_nothing_twice_though_the_server_is_killed(
    redis: RealRedis,
) -> None:
    await write(redis, 0, 15)
    stream = reader(redis)
    await stream.open()
    assert await numbers(stream, 12) == list(range(12))
    redis.kill()
    await raises_soon(DeviceGone, lambda: stream.send(StreamEntry({"n": 0})))
    await stream.aclose()
    redis.start()
    async with stream:
        await write(redis, 15, 17)
        assert await numbers(stream, 5) == [12, 13, 14, 15, 16]
        with trio.move_on_after(0.1):
            await stream.receive()
        assert pending(redis) == 0


async def test_a_cancelled_receive_takes_nothing(redis: RealRedis) -> None:
    async with reader(redis, batch=3) as stream, RedisStream(redis.url, "s") as other:
        for number in range(100):
            if number % 2:
                await other.send(StreamEntry({"n": number}))
            with trio.move_on_after((number % 5) / 1000):
                assert await numbers(stream, 1) == [number]
                continue
            if not number % 2:
                await other.send(StreamEntry({"n": number}))
            assert await numbers(stream, 1) == [number]


# Acknowledged by the program


async def test_what_is_not_acknowledged_comes_again(redis: RealRedis) -> None:
    await write(redis, 0, 5)
    async with reader(redis, explicit=True) as stream:
        entries = [await stream.receive() for _ in range(5)]
        await stream.acknowledge(entries[0], entries[2].id)
        await stream.acknowledge(entries[0])
        await stream.acknowledge()
        assert pending(redis) == 3
    async with reader(redis, explicit=True, batch=2) as stream:
        await write(redis, 5, 6)
        assert await numbers(stream, 4) == [1, 3, 4, 5]
    async with reader(redis, explicit=True) as stream:
        assert await numbers(stream, 4) == [1, 3, 4, 5]


async def test_while_a_receive_waits(redis: RealRedis) -> None:
    await write(redis, 0, 1)
    async with reader(redis, explicit=True) as stream:
        entry = await stream.receive()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(numbers, stream, 1)
            await trio.testing.wait_all_tasks_blocked(0.01)
            await stream.acknowledge(entry)
            assert pending(redis) == 0
            await write(redis, 1, 2)


async def test_acknowledging_that_is_cancelled_disturbs_nothing(redis: RealRedis) -> None:
    await write(redis, 0, 2)
    async with reader(redis, explicit=True) as stream:
        entries = [await stream.receive() for _ in range(2)]
        redis.pause()
        for entry in entries:
            with trio.move_on_after(0.02) as scope:
                await stream.acknowledge(entry)
            assert scope.cancelled_caught
        assert stream.state is DriverState.OPEN
        redis.go_on()
        redis.ask("CONFIG", "SET", "maxmemory", "1")
        # Its answer is not taken for that of the others, which were good.
        await raises_soon(SendFailed, lambda: stream.send(StreamEntry({"n": 2})))
        redis.ask("CONFIG", "SET", "maxmemory", "0")
        await stream.send(StreamEntry({"n": 3}))
        assert await numbers(stream, 1) == [3]
        assert pending(redis) == 1


async def test_where_there_is_nothing_to_acknowledge(redis: RealRedis) -> None:
    for stream in (RedisStream(redis.url, "s"), reader(redis)):
        async with stream:
            error = await raises_soon(ConfigurationError, lambda s=stream: s.acknowledge("1-0"))  # type: ignore[misc]
            assert "explicit=True" in str(error)
    stream = reader(redis, explicit=True)
    for wrong in (StreamEntry({"n": 1}), "soon", 1):
        bad = await raises_soon(ConfigurationError, lambda w=wrong: stream.acknowledge(w))  # type: ignore[misc]
        assert "expected entries that were received" in str(bad)
    closed = await raises_soon(trio.ClosedResourceError, lambda: stream.acknowledge("1-0"))
    assert "is not open" in str(closed)
    async with stream:
        redis.kill()
        await raises_soon(DeviceGone, lambda: stream.acknowledge("1-0"))
        assert stream.state is DriverState.BROKEN


async def test_a_key_that_has_become_something_else(redis: RealRedis) -> None:
    async with reader(redis, explicit=True) as stream:
        redis.ask("SET", "s", "x")
        error = await raises_soon(SendFailed, lambda: stream.acknowledge("1-0"))
        assert "WRONGTYPE" in str(error)


# Other consumers


async def test_entries_of_a_dead_consumer_are_claimed(redis: RealRedis) -> None:
    await write(redis, 0, 30)
    async with reader(redis, "dead", explicit=True) as dead:
        await numbers(dead, 15)  # and it has read five more
    async with reader(redis, "alive", claim_after=0.05, batch=7) as alive:
        assert sorted(await numbers(alive, 30)) == list(range(30))
        await write(redis, 30, 31)
        assert await numbers(alive, 1) == [30]
        with trio.move_on_after(0.2):
            await alive.receive()
        assert pending(redis) == 0


async def test_entries_of_a_consumer_that_dies_later_are_claimed(redis: RealRedis) -> None:
    async with reader(redis, "alive", claim_after=0.05) as alive:
        with trio.move_on_after(0.1):
            await alive.receive()
        await write(redis, 0, 3)
        assert await numbers(alive, 3) == [0, 1, 2]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(numbers, alive, 0)
            async with reader(redis, "dead", explicit=True) as dead:
                await write(redis, 3, 6)
                assert await numbers(dead, 3) == [3, 4, 5]
        assert await numbers(alive, 3) == [3, 4, 5]


async def test_an_entry_that_was_deleted_before_it_was_done_is_lost(redis: RealRedis) -> None:
    await write(redis, 0, 4)
    async with reader(redis, explicit=True) as stream:
        entries = [await stream.receive() for _ in range(4)]
    redis.ask("XDEL", "s", entries[1].id)
    redis.ask("XDEL", "s", entries[3].id)
    async with reader(redis, explicit=True) as stream:
        assert await numbers(stream, 2) == [0, 2]
        with trio.move_on_after(0.1):
            await stream.receive()
        assert stream.statistics().lost == 2
        assert pending(redis) == 2
    redis.ask("XDEL", "s", entries[0].id)
    async with reader(redis, "other", claim_after=0.001) as other:
        assert await numbers(other, 1) == [2]
        assert other.statistics().lost == 1


async def test_one_that_is_too_long_is_rejected_once(redis: RealRedis) -> None:
    async with RedisStream(redis.url, "s") as other:
        await other.send(StreamEntry({"n": 0, "much": bytes(200_000)}))
        await other.send(StreamEntry({"n": 1}))
    for expected in (1, 0):
        group = ConsumerGroup(name="readers", consumer="one", explicit=True)
        async with RedisStream(redis.url, "s", group=group, start="0", max_message=1000) as stream:
            assert await numbers(stream, 1) == [1]
            with trio.move_on_after(0.1):
                await stream.receive()
            assert stream.statistics().rejected == expected


# Groups that are not there


async def test_a_group_that_is_missing(redis: RealRedis) -> None:
    stream = reader(redis, create=False)
    error = await raises_soon(ConnectFailed, stream.open)
    assert "NOGROUP" in str(error)
    assert "ConsumerGroup(create=True)" in str(error)
    redis.ask("XGROUP", "CREATE", "s", "readers", "0", "MKSTREAM")
    async with stream:
        await write(redis, 0, 1)
        assert await numbers(stream, 1) == [0]


async def test_a_new_group_begins_at_what_is_new(redis: RealRedis) -> None:
    await write(redis, 0, 3)
    group = ConsumerGroup(name="readers", consumer="one")
    async with RedisStream(redis.url, "s", group=group) as stream:
        await write(redis, 3, 4)
        assert await numbers(stream, 1) == [3]


async def test_a_group_that_is_destroyed_while_it_waits_is_made_again(redis: RealRedis) -> None:
    await write(redis, 0, 3)
    stream = reader(redis)
    await stream.open()
    assert await numbers(stream, 3) == [0, 1, 2]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(raises_soon, DeviceGone, stream.receive)
        await trio.testing.wait_all_tasks_blocked(0.01)
        redis.ask("XGROUP", "DESTROY", "s", "readers")
        await write(redis, 3, 4)
    assert "NOGROUP" in stream.statistics().last_error
    await stream.aclose()
    async with stream:
        await write(redis, 4, 5)
        assert await numbers(stream, 2) == [3, 4]


# What makes no sense


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"name": ""}, r"ConsumerGroup\(name=''\): expected a name"),
        ({"consumer": 1}, r"ConsumerGroup\(consumer=1\): expected a name"),
        ({"explicit": "yes"}, "expected True or False"),
        ({"create": None}, "expected True or False"),
        ({"claim_after": 0}, "claim_after=0"),
        ({"claim_after": float("inf")}, "claim_after=inf"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        ConsumerGroup(**{"name": "readers", "consumer": "one"} | arguments)


def test_its_name_says_the_group() -> None:
    group = ConsumerGroup(name="readers", consumer="one")
    assert (
        repr(RedisStream("redis://h", "s", group=group))
        == "<RedisStream 's', group 'readers' at h:6379, new>"
    )
