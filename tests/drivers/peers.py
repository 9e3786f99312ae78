"""The other ends of real lines, for `check_driver` and for tests: messages are lines, or datagrams.

Each is opened as an async context manager. A driver may be opened again; its peer then serves the
newest connection, and what was left of the old one's last line is thrown away.
"""

from __future__ import annotations

import collections
import contextlib
import os
import pty
import random
import socket
import sys
import tty
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TypeAlias, TypeVar

import trio

from horus_trio.drivers import StreamDriver, Subprocess

__all__ = [
    "ChildPeer",
    "PtyPeer",
    "StreamPeer",
    "TcpClientPeer",
    "TcpServerPeer",
    "UdpPeer",
    "child_of",
    "descriptors",
    "free_port",
    "noticed",
    "open_child_peer",
    "open_pty_peer",
    "open_tcp_client_peer",
    "open_tcp_server_peer",
    "open_udp_peer",
    "python_child",
]

HOST = "127.0.0.1"

SOON = 0.002
"""Seconds until it is tried again whether the driver is there."""


Stream: TypeAlias = trio.SocketStream | trio.lowlevel.FdStream


def cut(stream: Stream) -> None:
    """Close it at once."""
    if isinstance(stream, trio.SocketStream):
        stream.socket.close()
    else:
        stream.close()


class StreamPeer:
    """The other end of a stream of bytes, in which every message is a line."""

    def __init__(self) -> None:
        self.stream: Stream | None = None
        """Of the newest connection."""
        self.connections = 0
        self._lines: collections.deque[bytes] = collections.deque()
        self._news = trio.lowlevel.ParkingLot()
        self._may_read = trio.Event()
        self._may_read.set()
        self._gone = False
        self._scope = trio.CancelScope()

    async def receive(self) -> bytes:
        """The next line of any connection."""
        while not self._lines:
            self._look()
            await self._news.park()
        return self._lines.popleft()

    async def send(self, message: bytes, /) -> None:
        """Send a line on the newest connection, once there is one."""
        await self.write(message + b"\n")

    async def write(self, data: bytes, /) -> None:
        """Put bytes on the line."""
        await (await self.connected()).send_all(data)

    async def connected(self) -> Stream:
        """Wait for a connection."""
        while self.stream is None:
            self._look()
            await self._news.park()
        return self.stream

    async def noticed(self, connections: int) -> None:
        """Wait until there have been more connections than these."""
        while self.connections <= connections:
            self._look()
            await self._news.park()

    async def vanish(self) -> None:
        """Be gone, for good."""
        self._gone = True
        self._scope.cancel()
        self._news.unpark_all()
        if self.stream is not None:
            cut(self.stream)
        await trio.lowlevel.checkpoint()

    def pause_reading(self) -> None:
        """Take nothing from the line any more."""
        self._may_read = trio.Event()

    def resume_reading(self) -> None:
        """Go on."""
        self._may_read.set()

    def take_up(self, stream: Stream) -> None:
        """A connection takes the place of the one before, in the order in which they came."""
        self.stream, old = stream, self.stream
        if old is not None:
            cut(old)
        self.connections += 1
        self._news.unpark_all()

    async def read_all(self, stream: Stream) -> None:
        """Serve a connection that was taken up, until its end."""
        rest = b""
        try:
            while True:
                await self._may_read.wait()
                data = await stream.receive_some(65536)
                if not data:
                    break
                *lines, rest = (rest + data).split(b"\n")
                self._lines.extend(lines)
                self._news.unpark_all()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            if self.stream is stream:
                self.stream = None
            cut(stream)

    def _look(self) -> None:
        if self._gone:
            raise trio.BrokenResourceError("this peer has vanished")


D = TypeVar("D", bound=StreamDriver)


def noticed(driver: D, peer: StreamPeer) -> D:
    """That driver, but opening it ends when the peer has noticed.

    So what the peer needs for the connection is there when it is looked what a call leaves behind.
    """
    connect = driver._connect

    async def connect_and_wait() -> None:
        before = peer.connections
        await connect()
        await peer.noticed(before)

    driver._connect = connect_and_wait  # type: ignore[method-assign]
    return driver


class PtyPeer(StreamPeer):
    """Holds the master of a pty; a driver opens the slave, whose `path` is that of a port."""

    def __init__(self, master: int, path: str) -> None:
        super().__init__()
        self.master = trio.lowlevel.FdStream(master)
        self.stream = self.master
        self.path = path

    async def run(self) -> None:
        """Read what drivers write, one after the other."""
        rest = b""
        with self._scope:
            while True:
                await self._may_read.wait()
                try:
                    data = await self.master.receive_some(65536)
                except trio.BrokenResourceError:  # EIO: nobody has opened the port
                    rest = b""
                    await trio.sleep(SOON)
                    continue
                except trio.ClosedResourceError:
                    return
                *lines, rest = (rest + data).split(b"\n")
                self._lines.extend(lines)
                self._news.unpark_all()


@contextlib.asynccontextmanager
async def open_pty_peer() -> AsyncIterator[PtyPeer]:
    """For a `SerialPort(peer.path)`."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    path = os.ttyname(slave)
    os.close(slave)
    peer = PtyPeer(master, path)
    async with peer.master, trio.open_nursery() as nursery:
        nursery.start_soon(peer.run)
        yield peer
        nursery.cancel_scope.cancel()


class TcpServerPeer(StreamPeer):
    """Listens at `port` on the loopback address."""

    def __init__(self, listener: trio.SocketListener) -> None:
        super().__init__()
        self.listener = listener
        self.port: int = listener.socket.getsockname()[1]

    async def run(self) -> None:
        """Serve each connection; the newest takes the place of the one before."""
        with self._scope:
            async with self.listener, trio.open_nursery() as nursery:
                while True:
                    stream = await self.listener.accept()
                    self.take_up(stream)
                    nursery.start_soon(self.read_all, stream)


@contextlib.asynccontextmanager
async def open_tcp_server_peer() -> AsyncIterator[TcpServerPeer]:
    """For a `TcpClient("127.0.0.1", peer.port)`."""
    [listener] = await trio.open_tcp_listeners(0, host=HOST)
    async with trio.open_nursery() as nursery:
        peer = TcpServerPeer(listener)
        nursery.start_soon(peer.run)
        yield peer
        nursery.cancel_scope.cancel()


class TcpClientPeer(StreamPeer):
    """Connects to `port` as soon as somebody listens there, again and again."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self.port = port

    async def run(self) -> None:
        """Connect, and read until the end."""
        with self._scope:
            while True:
                try:
                    stream = await trio.open_tcp_stream(HOST, self.port)
                except OSError:
                    await trio.sleep(SOON)
                else:
                    self.take_up(stream)
                    await self.read_all(stream)


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """A port that nobody has, nor gets by chance: the system gives out higher ones by itself."""
    chance = random.SystemRandom()
    while True:
        port = chance.randrange(10_000, 32_000)
        with socket.socket(socket.AF_INET, kind) as probe, contextlib.suppress(OSError):
            probe.bind((HOST, port))
            return port


@contextlib.asynccontextmanager
async def open_tcp_client_peer() -> AsyncIterator[TcpClientPeer]:
    """For a `noticed(TcpServer("127.0.0.1", peer.port), peer)`."""
    async with trio.open_nursery() as nursery:
        peer = TcpClientPeer(free_port())
        nursery.start_soon(peer.run)
        yield peer
        nursery.cancel_scope.cancel()


class ChildPeer(TcpServerPeer):
    """What a child process connects to: its line leads here, whatever it writes and reads.

    A child that was killed while it began may connect later than the next one. So each says first
    which process it is, and the one that is `wanted` is served.
    """

    def __init__(self, listener: trio.SocketListener) -> None:
        super().__init__(listener)
        self._children: dict[int, trio.SocketStream] = {}

    @property
    def command(self) -> list[str]:
        """A child that is nothing but a line; it ends with either end of that. Needs bash."""
        connect = f"exec 3<>/dev/tcp/{HOST}/{self.port} 4<&0; echo $$ >&3"
        return ["bash", "-c", f"{connect}; cat <&3 & cat <&4 >&3 & exec 4<&-; wait -n"]

    async def run(self) -> None:
        with self._scope:
            async with self.listener, trio.open_nursery() as nursery:
                while True:
                    nursery.start_soon(self._hear, await self.listener.accept())

    async def _hear(self, stream: trio.SocketStream) -> None:
        """Have it say who it is, and serve it if it is wanted."""
        async with stream:
            said = b""
            with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                while not said.endswith(b"\n"):
                    byte = await stream.receive_some(1)
                    if not byte:
                        return
                    said += byte
                child = int(said)
                self._children[child] = stream
                self._news.unpark_all()
                try:
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(self._wait_for_end, stream, nursery.cancel_scope)
                        while self.stream is not stream:
                            await self._news.park()
                        nursery.cancel_scope.cancel()
                finally:
                    del self._children[child]
                if self.stream is stream:
                    await self.read_all(stream)

    async def _wait_for_end(self, stream: trio.SocketStream, scope: trio.CancelScope) -> None:
        """Cancel, when it has ended before it was wanted."""
        if not await stream.socket.recv(1, socket.MSG_PEEK):
            scope.cancel()

    async def wanted(self, child: int) -> None:
        """Serve this process, once it has connected."""
        while child not in self._children:
            self._look()
            await self._news.park()
        self.take_up(self._children[child])


def child_of(driver: Subprocess, peer: ChildPeer) -> Subprocess:
    """That driver, but opening it ends when the peer serves its child."""
    connect = driver._connect

    async def connect_and_wait() -> None:
        await connect()
        assert driver.pid is not None
        await peer.wanted(driver.pid)

    driver._connect = connect_and_wait  # type: ignore[method-assign]
    return driver


@contextlib.asynccontextmanager
async def open_child_peer() -> AsyncIterator[ChildPeer]:
    """For a `child_of(Subprocess(peer.command), peer)`."""
    [listener] = await trio.open_tcp_listeners(0, host=HOST)
    async with trio.open_nursery() as nursery:
        peer = ChildPeer(listener)
        nursery.start_soon(peer.run)
        yield peer
        nursery.cancel_scope.cancel()


class UdpPeer:
    """A socket that a driver sends to; it sends to the port the driver is to have."""

    def __init__(self) -> None:
        self.socket = trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.address: tuple[str, int] = (HOST, 0)
        self.driver: tuple[str, int] = (HOST, free_port(socket.SOCK_DGRAM))
        """The local address of the driver."""

    async def receive(self) -> bytes:
        """The next datagram."""
        return await self.socket.recv(65536)

    async def send(self, message: bytes, /) -> None:
        """Send a datagram."""
        await self.socket.sendto(message, self.driver)


@contextlib.asynccontextmanager
async def open_udp_peer() -> AsyncIterator[UdpPeer]:
    """For a `Udp(peer.driver, peer.address)`."""
    peer = UdpPeer()
    with peer.socket:
        await peer.socket.bind(peer.address)
        peer.address = peer.socket.getsockname()
        yield peer


def python_child(program: str) -> list[str]:
    """The command for a child that runs this program."""
    return [sys.executable, "-u", "-c", program]


def descriptors() -> int:
    """How many this process has."""
    return len(list(Path("/proc/self/fd").iterdir()))
