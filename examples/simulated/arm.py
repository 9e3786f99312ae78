"""A robot arm on a serial line, made up; it obeys `MOVE` and `STOP`, and moves in silence."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import trio

from simulated.serial_line import serial_line

SPEED = 60.0
"""Degrees a second."""


class SimulatedArm:
    """Says where it is when it has arrived. Once it was stopped, it moves no more."""

    def __init__(self) -> None:
        self.angle: float = 0.0
        self.target: float = 0.0
        self.stopped: float | None = None  # when
        self.commands: list[bytes] = []

    @contextlib.asynccontextmanager
    async def plugged_in(self) -> AsyncIterator[str]:
        """The path of its port."""
        with tempfile.TemporaryDirectory() as folder:
            port = Path(folder) / "arm"
            async with serial_line(port) as line, trio.open_nursery() as nursery:
                nursery.start_soon(self.listen, line)
                nursery.start_soon(self.move, line)
                yield str(port)
                nursery.cancel_scope.cancel()

    async def listen(self, line: trio.lowlevel.FdStream) -> None:
        """Obey what comes."""
        pending = b""
        async for data in line:
            *commands, pending = (pending + data).split(b"\n")
            for command in commands:
                self.commands.append(command)
                if command == b"STOP":
                    self.stopped = trio.current_time()
                elif self.stopped is None:
                    self.target = float(command.removeprefix(b"MOVE "))

    async def move(self, line: trio.lowlevel.FdStream) -> None:
        """A hundred steps a second."""
        step = SPEED / 100
        while self.stopped is None:
            if abs(self.target - self.angle) > step:
                self.angle += step if self.target > self.angle else -step
                if abs(self.target - self.angle) <= step:
                    await line.send_all(b"AT %.1f\n" % self.angle)
            await trio.sleep(0.01)
