"""A battery on a CAN bus, behind an slcan adapter on a serial line; all of it made up.

Its cells get warmer while they are charged. The adapter's controller is off the bus once, after
thirty rounds, until it is opened anew.
"""

from __future__ import annotations

import contextlib
import struct
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import trio

from simulated.serial_line import serial_line

PACK, CELLS, CHARGER = 0x100, 0x101, 0x200
"""The identifiers of frames: the battery's two, and the one that it obeys."""


@contextlib.asynccontextmanager
async def can_battery() -> AsyncIterator[str]:
    """The path of the adapter's port."""
    with tempfile.TemporaryDirectory() as folder:
        port = Path(folder) / "adapter"
        async with serial_line(port) as line, trio.open_nursery() as nursery:
            adapter = Adapter(line)
            nursery.start_soon(adapter.obey)
            nursery.start_soon(adapter.tell)
            yield str(port)
            nursery.cancel_scope.cancel()


class Adapter:
    def __init__(self, line: trio.lowlevel.FdStream) -> None:
        self.line = line
        self.turn = trio.Lock()
        self.is_open = self.is_off = False
        self.charges = True
        self.warmth = 30.0  # °C

    async def tell(self) -> None:
        """Two frames twenty times a second, to whoever has opened the adapter."""
        told = 0
        while True:
            self.warmth += 0.6 if self.charges else -0.3
            if self.is_open and not self.is_off:
                told += 1
                pack = struct.pack(">Hh", 4810 + told, 120 if self.charges else -15)
                cells = bytes(int(self.warmth) + 40 - cell for cell in range(8))
                await self.say(f"t{PACK:03X}4{pack.hex()}\rt{CELLS:03X}8{cells.hex()}\r")
                self.is_off = told == 30
            await trio.sleep(0.05)

    async def obey(self) -> None:
        pending = b""
        async for data in self.line:
            *commands, pending = (pending + data).split(b"\r")
            for command in commands:
                await self.say(self.answer(command.decode()))

    def answer(self, command: str) -> str:
        if command == "F":
            return "FA4\r" if self.is_off else "F00\r"  # of errors on the bus, or of none
        if command.startswith("t"):
            if self.is_off or not self.is_open:
                return "\a"  # a bell refuses
            self.charges = command == f"t{CHARGER:03X}101"
            return "z\r"
        self.is_open = command == "O"
        self.is_off = self.is_off and command != "O"
        return "\r"

    async def say(self, text: str) -> None:
        async with self.turn:
            await self.line.send_all(text.encode())
