"""Real Redis servers on the loopback address, and what drivers of them talk to."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import trio
from drivers.peers import HOST, free_port

from horus_trio.drivers import (
    ChannelMessage,
    RedisPubSub,
    RedisServer,
    RedisStream,
    StreamEntry,
)

__all__ = [
    "DURABLE",
    "Mirrored",
    "RealRedis",
    "WithoutIds",
    "answering",
    "command",
    "encoded",
    "entry",
    "message",
    "open_redis",
    "pubsub_lines",
    "stream_lines",
]

READY_WITHIN = 20.0

DURABLE = ("--appendonly", "yes", "--appendfsync", "always")


class RealRedis:
    """A server, which can be killed and started again at the same port.

    Arguments:
        folder: Where it keeps its files.
        options: Of its command line.
    """

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.options = options
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self._count = itertools.count()

    @property
    def url(self) -> str:
        return f"redis://{HOST}:{self.port}"

    def server(self, **options: Any) -> RedisServer:
        return RedisServer(host=HOST, port=self.port, **options)

    def fresh(self, name: str) -> str:
        """A key that nobody has had."""
        return f"{name} {next(self._count)}"

    def start(self, *, wait: bool = True) -> None:
        """Start it, if it does not run, and wait until it answers."""
        if self.process is not None:
            return
        self.process = subprocess.Popen(
            [
                *("redis-server", "--port", str(self.port), "--bind", HOST, "--save", ""),
                *("--dir", str(self.folder), "--loglevel", "warning", *self.options),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        end = time.monotonic() + READY_WITHIN
        while wait:
            with contextlib.suppress(OSError):
                if self.ask("PING").startswith((b"+PONG", b"-NOAUTH")):
                    break
            if time.monotonic() > end or self.process.poll() is not None:
                self.kill()
                raise RuntimeError("redis-server does not start")
            time.sleep(0.005)

    def kill(self) -> None:
        """As by kill -9."""
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            process.wait()

    def pause(self) -> None:
        """It is there, and says nothing."""
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """If it is there."""
        if self.process is not None:
            os.kill(self.process.pid, signal.SIGCONT)

    def ask(self, *words: str) -> bytes:
        """The first bytes of a reply, by a connection of its own."""
        with socket.create_connection((HOST, self.port), timeout=10) as line:
            line.sendall(command(*words))
            return line.recv(65536)


def command(*words: str | bytes) -> bytes:
    """As it is sent, written independently of the driver."""
    parts = [word.encode() if isinstance(word, str) else word for word in words]
    return f"*{len(parts)}\r\n".encode() + b"".join(
        b"$" + str(len(part)).encode() + b"\r\n" + part + b"\r\n" for part in parts
    )


def encoded(*reply: Any) -> bytes:
    """A list, as a server sends it."""
    parts = [b"*%d\r\n" % len(reply)]
    for one in reply:
        if one is None:
            parts.append(b"$-1\r\n")
        elif isinstance(one, bytes):
            parts.append(b"$%d\r\n%b\r\n" % (len(one), one))
        elif isinstance(one, int):
            parts.append(b":%d\r\n" % one)
        else:
            parts.append(encoded(*one))
    return b"".join(parts)


@contextlib.contextmanager
def open_redis(
    require: Callable[[str, bool, str], None], folder: Path, *options: str
) -> Iterator[RealRedis]:
    """One that runs, if it is installed."""
    present = shutil.which("redis-server") is not None
    require("redis-server", present, "apt install redis-server")
    redis = RealRedis(folder, *options)
    redis.start()
    try:
        yield redis
    finally:
        redis.kill()


@contextlib.asynccontextmanager
async def answering(*replies: bytes, hang_up: bool = False) -> AsyncIterator[int]:
    """The port of one who answers each time with the next of these, then says nothing more."""

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            left = list(replies)
            async for _ in stream:
                if left:
                    await stream.send_all(left.pop(0))
                elif hang_up:
                    return

    async with trio.open_nursery() as nursery:
        listen = functools.partial(trio.serve_tcp, serve, 0, host=HOST)
        [listener] = await nursery.start(listen)
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


# The other ends, for `check_driver`


class Mirrored(RedisPubSub):
    """What is published on one channel is heard on another: its echo would be a message, too."""

    def __init__(self, *arguments: Any, heard: str, said: str, **options: Any) -> None:
        super().__init__(*arguments, channels=[heard], **options)
        self._said = said

    async def _receive(self) -> ChannelMessage:
        message = await super()._receive()
        return ChannelMessage(channel="line", data=message.data)

    async def _send(self, message: ChannelMessage) -> None:
        await super()._send(ChannelMessage(channel=self._said, data=message.data))


class WithoutIds(RedisStream):
    """What is received is equal to what was sent: there the server had given no id yet."""

    async def _receive(self) -> StreamEntry:
        return StreamEntry((await super()._receive()).fields)


class Peer:
    """The other end of a line that leads through a server."""

    def __init__(self, redis: RealRedis, end: RedisStream | Mirrored, make: Callable[[], Any]):
        self.redis = redis
        self.end = end
        self.make = make

    async def receive(self) -> Any:
        return await self.end.receive()

    async def send(self, message: Any, /) -> None:
        await self.end.send(message)

    def pause_reading(self) -> None:
        """Stop the server, so that it reads nothing, and answers nothing."""
        self.redis.pause()

    def resume_reading(self) -> None:
        self.redis.go_on()

    async def vanish(self) -> None:
        """Kill the server. The next peer starts it again."""
        self.redis.kill()
        await trio.lowlevel.checkpoint()


@contextlib.asynccontextmanager
async def stream_lines(redis: RealRedis, **options: Any) -> AsyncIterator[Peer]:
    redis.start()
    up, down = redis.fresh("up"), redis.fresh("down")
    async with WithoutIds(redis.url, up, start="0", send_to=down) as end:
        try:
            yield Peer(
                redis, end, lambda: WithoutIds(redis.url, down, start="0", send_to=up, **options)
            )
        finally:
            redis.go_on()


@contextlib.asynccontextmanager
async def pubsub_lines(redis: RealRedis) -> AsyncIterator[Peer]:
    redis.start()
    up, down = redis.fresh("up"), redis.fresh("down")
    async with Mirrored(redis.url, heard=up, said=down) as end:
        try:
            yield Peer(redis, end, lambda: Mirrored(redis.url, heard=down, said=up))
        finally:
            redis.go_on()


def entry(number: int) -> StreamEntry:
    return StreamEntry({"number": b"%d" % number, "filling": b"x" * (number * 37 % 900)})


def message(number: int) -> ChannelMessage:
    return ChannelMessage(channel="line", data=b"%d " % number + b"x" * (number * 37 % 900))
