"""A battery on a CAN bus: its cells get too warm, and the charger is told to stop.

Run it with `python examples/can_battery_monitor.py /dev/ttyACM0`. Without a port it makes up a
battery behind an slcan adapter on a pseudo-terminal. On the way the adapter's controller leaves the
bus, as controllers do when too many of their frames are faulty. The node opens it anew.
"""

from __future__ import annotations

import contextlib
import os
import pty
import struct
import sys
import tty
from collections.abc import AsyncIterator
from dataclasses import dataclass

import trio

import horus_trio as horus
from horus_trio.drivers import CanBus, CanFilter, CanFrame, DriverNode

PACK, CELLS, CHARGER = 0x100, 0x101, 0x200

LIMIT = 45
"""°C of a cell, above which nothing is charged."""


@dataclass(frozen=True)
class Pack:
    volts: float
    amperes: float


@dataclass(frozen=True)
class Cells:
    temperatures: tuple[int, ...]  # °C


class Battery(DriverNode):
    """Publishes what the battery tells; what is sent to the charger is True or False."""

    def __init__(self, bus: CanBus) -> None:
        super().__init__("battery", bus, publish="battery", listen="charge")
        self.bus = bus

    def decode(self, frame: CanFrame) -> Pack | Cells | None:
        if frame.id == PACK:
            volts, amperes = struct.unpack(">Hh", frame.data)
            return Pack(volts / 100, amperes / 10)
        return Cells(tuple(byte - 40 for byte in frame.data))

    def encode(self, charge: bool) -> CanFrame:
        return CanFrame(id=CHARGER, data=bytes([charge]))

    def on_stale(self, silence: float) -> None:
        print(f"no battery for {silence:.2f} s: the controller is {self.bus.bus_state.value}")


class Monitor(horus.AsyncNode):
    """Says five times a second whether to charge, warns once, and shows how it is."""

    rate = 5
    subs = ("battery",)
    pubs = ("charge",)

    def __init__(self) -> None:
        super().__init__("monitor")
        self.pack: Pack | None = None
        self.hottest = 0
        self.warned = False
        self.ticks = 0

    async def tick_async(self) -> None:
        self.ticks += 1
        for message in self.recv_all("battery"):
            if isinstance(message, Pack):
                self.pack = message
            else:
                self.hottest = max(message.temperatures)
        if self.hottest > LIMIT and not self.warned:
            print(f"WARNING: a cell has {self.hottest} °C, charging is stopped")
            self.warned = True
        elif self.pack is not None and self.ticks % 3 == 0:
            print(f"{self.pack.volts:.2f} V, {self.pack.amperes:5.1f} A, {self.hottest} °C")
        self.send("charge", not self.warned)


async def main(port: str | None) -> CanBus:
    """Watch for three seconds."""
    async with contextlib.AsyncExitStack() as stack:
        if port is None:
            port = await stack.enter_async_context(simulated_battery())
        bus = CanBus(port, bitrate=250_000, filters=[CanFilter(id=PACK, mask=0x7F0)])
        scheduler = horus.Scheduler(name="battery monitor")
        scheduler.add(Battery(bus))
        scheduler.add(Monitor())
        print(await scheduler.run(3))
    counts = bus.statistics()
    print(f"{counts.received} frames, {counts.bus_offs} time off the bus, {counts.refused} refused")
    return bus


# A battery behind an adapter, simulated


@contextlib.asynccontextmanager
async def simulated_battery() -> AsyncIterator[str]:
    """The path of the adapter's port."""
    plug, socket = pty.openpty()
    tty.setraw(socket)
    async with trio.lowlevel.FdStream(plug) as line, trio.open_nursery() as nursery:
        adapter = Adapter(line)
        nursery.start_soon(adapter.obey)
        nursery.start_soon(adapter.tell)
        yield os.ttyname(socket)
        nursery.cancel_scope.cancel()
    os.close(socket)


class Adapter:
    """Speaks slcan. It is off the bus once, after thirty frames, until it is opened anew."""

    def __init__(self, line: trio.lowlevel.FdStream) -> None:
        self.line = line
        self.turn = trio.Lock()
        self.is_open = self.is_off = False
        self.charges = True
        self.warmth = 30.0  # °C

    async def say(self, text: str) -> None:
        async with self.turn:
            await self.line.send_all(text.encode())

    async def tell(self) -> None:
        """Two frames twenty times a second."""
        for number in range(1, 1000):
            self.warmth += 0.6 if self.charges else -0.3
            self.is_off = self.is_off or number == 30
            if self.is_open and not self.is_off:
                pack = struct.pack(">Hh", 4810 + number, 120 if self.charges else -15)
                cells = bytes(int(self.warmth) + 40 - cell for cell in range(8))
                await self.say(f"t{PACK:03X}4{pack.hex()}\rt{CELLS:03X}8{cells.hex()}\r")
            await trio.sleep(0.05)

    async def obey(self) -> None:
        """Answer commands: a bell refuses."""
        rest = b""
        while True:
            *lines, rest = (rest + await self.line.receive_some()).split(b"\r")
            for line in lines:
                await self.say(self.answer(line.decode()))

    def answer(self, line: str) -> str:
        if line == "F":
            return "FA4\r" if self.is_off else "F00\r"  # of errors on the bus, or of none
        if line.startswith("t"):
            if self.is_off or not self.is_open:
                return "\a"
            self.charges = line == f"t{CHARGER:03X}101"
            return "z\r"
        self.is_open = line == "O"
        self.is_off = self.is_off and line != "O"
        return "\r"


if __name__ == "__main__":
    trio.run(main, sys.argv[1] if sys.argv[1:] else None)
