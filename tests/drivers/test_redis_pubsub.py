"""`RedisPubSub`: over a real server."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from drivers.redis_peers import RealRedis, answering, encoded, open_redis
from drivers.steps import closes_in_every_state, leaks_nothing, raises_soon, until

import horus_trio as horus
from horus_trio.drivers import (
    ChannelMessage,
    DeviceGone,
    DriverNode,
    DriverState,
    FrameError,
    RedisPubSub,
    SendInterrupted,
)
from horus_trio.errors import ConfigurationError
from horus_trio.testing import cancel_everywhere

Require = Callable[[str, bool, str], None]


@pytest.fixture
def redis(require: Require, tmp_path: Path) -> Iterator[RealRedis]:
    with open_redis(require, tmp_path) as server:
        yield server


def said(channel: str, data: bytes, pattern: str | None = None) -> ChannelMessage:
    return ChannelMessage(channel=channel, data=data, pattern=pattern)


async def receive(device: RedisPubSub, count: int) -> list[ChannelMessage]:
    with trio.fail_after(20):
        return [await device.receive() for _ in range(count)]


async def test_messages_come_by_channels_and_by_patterns(redis: RealRedis) -> None:
    async with (
        RedisPubSub(redis.url) as speaks,
        RedisPubSub(redis.url, channels=["a", "grün"], patterns=["sensor.*", "a*"]) as hears,
    ):
        for channel in ("nobody", "grün", "sensor.imu", "a"):
            await speaks.send(said(channel, b"\0\xff" + channel.encode()))
        await speaks.send(ChannelMessage(channel="sensor.", data="text"))  # type: ignore[arg-type]
        assert await receive(hears, 5) == [
            said("grün", b"\0\xffgr\xc3\xbcn"),
            said("sensor.imu", b"\0\xffsensor.imu", "sensor.*"),
            said("a", b"\0\xffa"),
            said("a", b"\0\xffa", "a*"),
            said("sensor.", b"text", "sensor.*"),
        ]
        assert speaks.statistics().sent == 5
        assert hears.statistics().received == 5


async def test_it_hears_itself(redis: RealRedis) -> None:
    async with RedisPubSub(redis.url, channels=["a"]) as device:
        await device.send(said("a", b""))
        assert await receive(device, 1) == [said("a", b"")]


async def test_names_that_are_no_utf8_go_round(redis: RealRedis) -> None:
    name = b"\xff\xfe".decode("utf-8", "surrogateescape")
    async with RedisPubSub(redis.url, patterns=["*"]) as device:
        await device.send(said(name, b"x"))
        assert await receive(device, 1) == [said(name, b"x", "*")]


async def test_without_channels_it_only_speaks(redis: RealRedis) -> None:
    async with RedisPubSub(redis.url) as device:
        error = await raises_soon(ConfigurationError, device.receive)
        assert "listens to nothing; give it channels=[…] or patterns=[…]" in str(error)


async def test_a_flood_arrives_in_order(redis: RealRedis) -> None:
    async with (
        RedisPubSub(redis.url) as speaks,
        RedisPubSub(redis.url, channels=["a"]) as hears,
        trio.open_nursery() as nursery,
    ):

        async def speak() -> None:
            for number in range(2000):
                await speaks.send(said("a", b"%d " % number + bytes(number % 997)))

        nursery.start_soon(speak)
        came = await receive(hears, 2000)
    assert [int(message.data.split()[0].rstrip(b"\0")) for message in came] == list(range(2000))


async def test_one_that_is_too_long(redis: RealRedis) -> None:
    async with (
        RedisPubSub(redis.url) as speaks,
        RedisPubSub(redis.url, channels=["a"], max_message=1000) as hears,
    ):
        for length in (1001, 1000, 900_000, 3):
            await speaks.send(said("a", bytes(length)))
        assert [len(message.data) for message in await receive(hears, 2)] == [1000, 3]
        error = await raises_soon(FrameError, lambda: hears.send(said("a", bytes(1001))))
        assert "longer than max_message=1000" in str(error)
        counted = hears.statistics()
        assert (counted.rejected, counted.discarded) == (2, 901_001)


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (b"bytes", "expected a ChannelMessage"),
        (ChannelMessage(channel="a", data=1), "data of bytes or text, got 1"),  # type: ignore[arg-type]
        (ChannelMessage(channel="", data=b"1"), "expected the name of a channel"),
    ],
)
async def test_what_is_no_message_is_not_sent(redis: RealRedis, message: Any, text: str) -> None:
    async with RedisPubSub(redis.url) as device:
        error = await raises_soon(FrameError, lambda: device.send(message))
        assert text in str(error)
        assert device.state is DriverState.OPEN


async def test_what_comes_while_it_subscribes_is_given_out() -> None:
    pushes = [
        encoded(b"subscribe", b"a", 1),
        encoded(b"message", b"a", b"early"),
        encoded(b"subscribe", b"b", 2),
        encoded(b"message", b"b", b"late"),
    ]
    async with (
        answering(b"+PONG\r\n", b"".join(pushes)) as port,
        RedisPubSub(f"redis://127.0.0.1:{port}", channels=["a", "b"]) as device,
    ):
        assert await receive(device, 2) == [said("a", b"early"), said("b", b"late")]


# Cancellation


async def test_a_cancelled_receive_takes_nothing(redis: RealRedis) -> None:
    async with RedisPubSub(redis.url, channels=["a"]) as device:
        for number in range(200):
            message = said("a", b"%d" % number)
            if number % 2:
                await device.send(message)
            with trio.move_on_after((number % 5) / 1000):
                assert await device.receive() == message
                continue
            if not number % 2:
                await device.send(message)
            assert await receive(device, 1) == [message]


async def test_a_send_that_is_cancelled_in_doubt_breaks_it(redis: RealRedis) -> None:
    async with RedisPubSub(redis.url, channels=["a"]) as device:
        redis.pause()
        with trio.move_on_after(0.05):
            await device.send(said("a", b"1"))
        redis.go_on()
        await raises_soon(SendInterrupted, device.receive)


@pytest.mark.slow
async def test_every_call_can_be_cancelled_anywhere(redis: RealRedis) -> None:
    @contextlib.asynccontextmanager
    async def new() -> AsyncIterator[RedisPubSub]:
        device = RedisPubSub(redis.url, channels=["a"])
        try:
            yield device
        finally:
            with trio.CancelScope(shield=True):
                await device.aclose()

    @contextlib.asynccontextmanager
    async def new_and_open() -> AsyncIterator[RedisPubSub]:
        async with new() as device:
            await device.open()
            await device.send(said("a", b"1"))
            yield device

    async def works(device: RedisPubSub) -> list[ChannelMessage]:
        await device.send(said("a", b"2"))
        return await receive(device, 1)

    async def state(device: RedisPubSub) -> DriverState:
        return device.state

    await cancel_everywhere(new, RedisPubSub.open, observe=works)
    await cancel_everywhere(new_and_open, RedisPubSub.receive, observe=works)
    await cancel_everywhere(new_and_open, RedisPubSub.aclose, observe=state)


async def test_it_closes_in_every_state(redis: RealRedis) -> None:
    await closes_in_every_state(lambda: RedisPubSub(redis.url, channels=["a"]))


async def test_opened_and_closed_it_leaves_nothing(redis: RealRedis) -> None:
    await leaks_nothing(lambda: RedisPubSub(redis.url, channels=["a"]), 50)


# Servers that close the connection


async def test_one_who_reads_too_slowly_is_told_why_he_lost_the_line(redis: RealRedis) -> None:
    redis.ask("CONFIG", "SET", "client-output-buffer-limit", "pubsub 100000 100000 1")
    async with RedisPubSub(redis.url, channels=["a"]) as slow, RedisPubSub(redis.url) as speaks:
        for number in range(200):
            await speaks.send(said("a", b"%d " % number + bytes(100_000)))
        came = 0
        with trio.fail_after(10), contextlib.suppress(DeviceGone):
            while True:
                message = await slow.receive()
                assert message.data.startswith(b"%d " % came)
                came += 1
        assert slow.state is DriverState.BROKEN
        assert 0 < came < 200
        assert "client-output-buffer-limit" in slow.statistics().last_error
        await slow.aclose()
        await slow.open()
        await speaks.send(said("a", b"again"))
        assert await receive(slow, 1) == [said("a", b"again")]


@pytest.mark.slow
async def test_behind_a_node_it_subscribes_again(redis: RealRedis) -> None:
    scheduler = horus.Scheduler(signals=False)
    device = RedisPubSub(redis.url, channels=["commands"], patterns=["c*"])
    node = DriverNode("robot", device, publish="in", listen="out")
    scheduler.add(node)
    async with trio.open_nursery() as nursery:
        came = scheduler.topic("in").subscribe()
        with trio.fail_after(30):
            await nursery.start(scheduler.run)
            for connection in range(1, 4):
                await until(lambda: node.connected)
                assert device.statistics().connects == connection
                scheduler.topic("out").send(said("commands", b"%d" % connection))
                messages = [await came.receive() for _ in range(2)]
                assert messages == [
                    said("commands", b"%d" % connection),
                    said("commands", b"%d" % connection, "c*"),
                ]
                redis.kill()
                await until(lambda: not node.connected)
                redis.start()
        scheduler.stop()
    assert device.state is DriverState.CLOSED


# What makes no sense


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"channels": "a"}, "expected a list of names"),
        ({"channels": b"a"}, "expected a list of names"),
        ({"channels": {"a"}}, "expected a list of names"),
        ({"patterns": ["a", ""]}, "expected names, got ''"),
        ({"patterns": [1]}, "expected names, got 1"),
        ({"max_message": True}, "expected bytes, from 1"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        RedisPubSub("redis://127.0.0.1", **arguments)


def test_its_name_says_where_it_is() -> None:
    device = RedisPubSub("redis://h", channels=["a", "a"], patterns=["b.*"])
    assert repr(device) == "<RedisPubSub 'a, b.*' at h:6379, new>"
