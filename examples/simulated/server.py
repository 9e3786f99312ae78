"""A server of our own on this machine, as a process that ends with the block."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator

import trio


def program(name: str) -> str:
    """Where a program is; some servers are not in everybody's path."""
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"))
    found = shutil.which(name, path=path)
    if found is None:
        raise SystemExit(f"there is no {name}: apt install {name}, or name a server that runs")
    return found


def free_port() -> int:
    """A port at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.asynccontextmanager
async def serving(port: int, *command: str) -> AsyncIterator[None]:
    """Have the command serve, from when it answers at the port. Ctrl-C does not reach it."""
    run = functools.partial(
        trio.run_process,
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        process_group=0,
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(run)
        with trio.fail_after(10):
            while not await answers(port):  # noqa: ASYNC110 - it is another process that starts
                await trio.sleep(0.02)
        yield
        nursery.cancel_scope.cancel()


async def answers(port: int) -> bool:
    """Whether somebody listens there."""
    try:
        await (await trio.open_tcp_stream("127.0.0.1", port)).aclose()
    except OSError:
        return False
    return True
