"""A serial line, made up from a pseudo-terminal: a path to open, and the device's end of it."""

from __future__ import annotations

import contextlib
import os
import pty
import tty
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import trio


@contextlib.asynccontextmanager
async def serial_line(port: Path) -> AsyncIterator[trio.lowlevel.FdStream]:
    """Plugged in while inside: the path is there, and what is yielded is the device's end."""
    plug, socket = pty.openpty()
    tty.setraw(socket)
    async with trio.lowlevel.FdStream(plug) as line:
        with named(port, socket):
            yield line


@contextlib.contextmanager
def named(port: Path, socket: int) -> Iterator[None]:
    """Have a path for a terminal, and close it at the end."""
    try:
        port.symlink_to(os.ttyname(socket))
        yield
    finally:
        port.unlink(missing_ok=True)
        os.close(socket)
