"""A motor controller that writes a log, made up, and rotates it after every eight lines."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import trio


@contextlib.asynccontextmanager
async def motor_log() -> AsyncIterator[Path]:
    """The path of the log."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "motors.log"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(write, path)
            yield path
            nursery.cancel_scope.cancel()


async def write(path: Path) -> None:
    """Twenty lines a second, in two pieces each."""
    for number in range(1000):
        if number and number % 8 == 0:
            rotate(path)
        level = "WARNING" if number % 6 == 5 else "INFO"
        with path.open("a") as file:
            file.write(f"{level} motor {number % 4}")
            file.flush()
            await trio.sleep(0.05)
            file.write(f" draws {10 + number} A\n")


def rotate(path: Path) -> None:
    """Call it otherwise; who writes next makes a new one."""
    path.rename(f"{path}.1")
