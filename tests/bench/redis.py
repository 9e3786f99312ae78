"""What drivers of Redis cost beside coredis' own client, over the same real server.

A round trip is an entry that is added to a stream, or a message that is published, and is read by
somebody who waits for it. The server is a process of its own, so most of it is switches.
"""

from __future__ import annotations

import contextlib
import gc
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import trio
from _compare import NotMeasured, Target, compare, print_machine
from _quick import either

from horus_trio.drivers import ChannelMessage, RedisPubSub, RedisStream, StreamEntry

ROUNDS = either(1_000, 30)
ENTRIES = either(20_000, 300)
BATCH = 64
REPETITIONS = either(11, 1)

HOST = "127.0.0.1"
DATA = b"x: 1.25, y: -0.5, heading: 1.57"


@contextlib.contextmanager
def server() -> Iterator[int]:
    """The port of a server that keeps nothing."""
    program = shutil.which("redis-server")
    if program is None:
        raise NotMeasured("needs redis-server: apt install redis-server")
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        options = "--port", str(port), "--bind", HOST, "--save", "", "--dir", folder
        process = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL)
        try:
            _wait_for(port)
            yield port
        finally:
            process.kill()
            process.wait()


def _wait_for(port: int) -> None:
    end = time.monotonic() + 20
    while True:
        try:
            socket.create_connection((HOST, port)).close()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.01)
        else:
            return


def with_server(program: Callable[[int], Awaitable[float]]) -> Callable[[], float]:
    """That program, each time with a server that is new."""

    def measured() -> float:
        with server() as port:
            return trio.run(program, port)

    return measured


async def round_trips(
    send: Callable[[], Awaitable[object]], receive: Callable[[], Awaitable[object]]
) -> float:
    """Microseconds of one, with a few before that do not count."""
    for _ in range(max(1, ROUNDS // 10)):
        await send()
        await receive()
    gc.collect()
    began = time.perf_counter()
    for _ in range(ROUNDS):
        await send()
        await receive()
    return (time.perf_counter() - began) / ROUNDS * 1e6


def _check(data: object) -> None:
    if data != DATA:
        raise SystemExit("something else came back")


def _coredis() -> Any:
    """The package, whose commands have more types than are of use here."""
    import coredis

    return coredis


# An entry added, and read


async def our_entry(port: int) -> float:
    async with RedisStream(f"redis://{HOST}:{port}", "s") as stream:

        async def send() -> None:
            await stream.send(StreamEntry({"d": DATA}))

        async def receive() -> None:
            _check((await stream.receive())["d"])

        return await round_trips(send, receive)


async def their_entry(port: int) -> float:
    redis = _coredis()
    async with redis.Redis(host=HOST, port=port) as client:
        last = "0"

        async def send() -> None:
            await client.xadd("s", field_values={"d": DATA})

        async def receive() -> None:
            nonlocal last
            came = await client.xread({"s": last}, count=BATCH, block=0)
            [entry] = next(iter(came.values()))
            last = entry.identifier
            _check(next(iter(entry.field_values.values())))

        return await round_trips(send, receive)


# A message published, and heard


async def our_message(port: int) -> float:
    async with RedisPubSub(f"redis://{HOST}:{port}", channels=["c"]) as device:

        async def send() -> None:
            await device.send(ChannelMessage(channel="c", data=DATA))

        async def receive() -> None:
            _check((await device.receive()).data)

        return await round_trips(send, receive)


async def their_message(port: int) -> float:
    redis = _coredis()
    async with (
        redis.Redis(host=HOST, port=port) as client,
        client.pubsub(channels=["c"], ignore_subscribe_messages=True) as heard,
    ):

        async def send() -> None:
            await client.publish("c", DATA)

        async def receive() -> None:
            message = None
            while message is None:
                message = await heard.get_message(timeout=None)
            _check(message["data"])

        return await round_trips(send, receive)


# Many entries that are there


async def _fill(port: int) -> None:
    redis = _coredis()
    async with redis.Redis(host=HOST, port=port) as client:
        for _ in range(0, ENTRIES, 100):
            async with client.pipeline(transaction=False) as pipeline:
                for _ in range(100):
                    pipeline.xadd("s", field_values={"d": DATA})


async def our_log(port: int) -> float:
    await _fill(port)
    async with RedisStream(f"redis://{HOST}:{port}", "s", start="0", batch=BATCH) as stream:
        began = time.perf_counter()
        for _ in range(ENTRIES):
            _check((await stream.receive())["d"])
        return ENTRIES / (time.perf_counter() - began) / 1e3


async def their_log(port: int) -> float:
    redis = _coredis()
    await _fill(port)
    async with redis.Redis(host=HOST, port=port) as client:
        last, came = "0", 0
        began = time.perf_counter()
        while came < ENTRIES:
            read = await client.xread({"s": last}, count=BATCH, block=0)
            entries = next(iter(read.values()))
            for entry in entries:
                _check(next(iter(entry.field_values.values())))
            came += len(entries)
            last = entries[-1].identifier
        return came / (time.perf_counter() - began) / 1e3


def main() -> None:
    print_machine()
    compare(
        "an entry added to a stream, and read",
        "us",
        {"coredis": with_server(their_entry), "RedisStream": with_server(our_entry)},
        base="coredis",
        repetitions=REPETITIONS,
        targets={"RedisStream": Target(at_most=1.0)},
    )
    compare(
        "a message published, and heard",
        "us",
        {"coredis": with_server(their_message), "RedisPubSub": with_server(our_message)},
        base="coredis",
        repetitions=REPETITIONS,
        targets={"RedisPubSub": Target(at_most=1.0)},
    )
    compare(
        "entries read that are there already",
        "thousand entries a second",
        {"coredis": with_server(their_log), "RedisStream": with_server(our_log)},
        base="coredis",
        repetitions=REPETITIONS,
        targets={"RedisStream": Target(at_least=0.8)},
    )


if __name__ == "__main__":
    main()
