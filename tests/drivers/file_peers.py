"""The other ends of files: what writes to a log, puts files into a folder, and makes edges."""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import trio

from horus_trio.drivers import DirectoryWatch, Driver, EdgeInput, FileChange, FileTail

__all__ = [
    "EdgeBytes",
    "FilePeer",
    "FolderPeer",
    "NamesWritten",
    "PipePeer",
    "make_tail",
    "most_threads",
    "open_file_peer",
    "open_folder_peer",
    "open_pipe_peer",
]


class FilePeer:
    """Appends lines to a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    async def send(self, message: bytes, /) -> None:
        """Append a line."""
        await self.write(message + b"\n")

    async def write(self, data: bytes, /) -> None:
        """Append bytes."""
        await trio.lowlevel.checkpoint()
        with self.path.open("ab") as file:
            file.write(data)


def make_tail(peer: FilePeer, **arguments: Any) -> FileTail:
    return FileTail(peer.path, **arguments)


@contextlib.asynccontextmanager
async def open_file_peer() -> AsyncIterator[FilePeer]:
    """For a `FileTail(peer.path)`. The file is there, and empty."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log"
        path.touch()
        yield FilePeer(path)
        await trio.lowlevel.checkpoint()


class FolderPeer:
    """Writes files in a folder; messages are their names."""

    def __init__(self, path: Path) -> None:
        self.path = path

    async def send(self, message: bytes, /) -> None:
        """Write a file."""
        await trio.lowlevel.checkpoint()
        (self.path / os.fsdecode(message)).write_bytes(b"")

    async def vanish(self) -> None:
        """Take the folder away, with what is in it."""
        await trio.lowlevel.checkpoint()
        for file in self.path.iterdir():
            file.unlink()
        self.path.rmdir()


class NamesWritten(DirectoryWatch):
    """Receives names of files that were written."""

    def __init__(self, peer: FolderPeer) -> None:
        super().__init__(peer.path, events=[FileChange.WRITTEN])

    async def _receive(self) -> Any:
        event = await super()._receive()
        return os.fsencode(event.path.name)


@contextlib.asynccontextmanager
async def open_folder_peer() -> AsyncIterator[FolderPeer]:
    """For a `NamesWritten(peer)`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "watched"
        path.mkdir()
        yield FolderPeer(path)
        await trio.lowlevel.checkpoint()


class PipePeer:
    """Writes levels into a pipe."""

    def __init__(self) -> None:
        self.read, self.into = os.pipe()

    async def send(self, message: bytes, /) -> None:
        """Make edges."""
        await self.write(message)

    async def write(self, data: bytes, /) -> None:
        """Make edges."""
        await trio.lowlevel.wait_writable(self.into)
        os.write(self.into, data)

    async def vanish(self) -> None:
        """Close the pipe."""
        await trio.lowlevel.checkpoint()
        self.close([self.into])
        self.into = -1

    def close(self, ends: Iterable[int]) -> None:
        for end in ends:
            if end >= 0:
                os.close(end)


class EdgeBytes(EdgeInput):
    """Receives edges as the bytes that were sent."""

    async def _receive(self) -> Any:
        edge = await super()._receive()
        return b"%d" % edge.level


@contextlib.asynccontextmanager
async def open_pipe_peer() -> AsyncIterator[PipePeer]:
    """For an `EdgeInput(peer.read)`."""
    peer = PipePeer()
    try:
        yield peer
    finally:
        peer.close([peer.read, peer.into])
    await trio.lowlevel.checkpoint()


async def most_threads(driver: Driver[Any], name: str) -> int:
    """How many threads of a name there are when a receive is given up, again and again."""
    counts = list[int]()
    with trio.fail_after(10):
        while len(counts) < 20 or not any(counts[:-10]):
            with trio.move_on_after(0.001):
                await driver.receive()
            counts.append(sum(thread.name == name for thread in threading.enumerate()))
    return max(counts)
