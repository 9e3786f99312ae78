"""A driver on the four methods of `Driver`: datagrams through a socket in the file system."""

import contextlib
import socket
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import trio

from horus_trio.drivers import Driver
from horus_trio.testing import check_driver


class UnixDatagrams(Driver[bytes]):
    """Messages to and from a program on this machine, such as a daemon's control socket."""

    def __init__(self, here: Path, there: Path) -> None:
        super().__init__()
        self._here = here
        self._there = there
        self._socket: socket.socket | None = None

    @property
    def name(self) -> str:
        return f"UnixDatagrams {self._there}"

    async def _connect(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind(str(self._here))
        self._socket.connect(str(self._there))
        await trio.lowlevel.checkpoint()

    async def _receive(self) -> bytes:
        line = self._line()
        while True:
            await trio.lowlevel.wait_readable(line)
            with contextlib.suppress(BlockingIOError):
                return line.recv(65536)  # nothing is awaited after it was taken

    async def _send(self, message: bytes) -> None:
        line = self._line()
        await trio.lowlevel.checkpoint()
        while True:
            with contextlib.suppress(BlockingIOError):
                line.send(message)  # all of it or nothing
                return
            await trio.lowlevel.wait_writable(line)
            self._check_fence()

    def _disconnect(self) -> None:
        line, self._socket = self._socket, None
        if line is not None:
            trio.lowlevel.notify_closing(line)  # wakes who waits
            line.close()
            self._here.unlink(missing_ok=True)

    def _line(self) -> socket.socket:
        if self._socket is None:
            raise trio.ClosedResourceError("it is not connected")
        return self._socket


class Daemon:
    """The other end."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "daemon"
        self.client = folder / "client"
        self.socket = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_DGRAM)

    async def receive(self) -> bytes:
        return await self.socket.recv(65536)

    async def send(self, message: bytes) -> None:
        await self.socket.sendto(message, str(self.client))


@contextlib.asynccontextmanager
async def start_daemon() -> AsyncIterator[Daemon]:
    with tempfile.TemporaryDirectory() as folder:
        daemon = Daemon(Path(folder))
        with daemon.socket:
            await daemon.socket.bind(str(daemon.path))
            yield daemon


async def main() -> None:
    await check_driver(lambda daemon: UnixDatagrams(daemon.client, daemon.path), start_daemon)
    print("UnixDatagrams keeps every rule")


trio.run(main)
