"""A battery on a CAN bus: its cells get too warm, and the charger is told to stop.

Run it with `python examples/can_battery_monitor.py /dev/ttyACM0`. Without a port it makes up a
battery behind an slcan adapter. On the way the adapter's controller leaves the bus, as controllers
do when too many of their frames are faulty; the node opens it anew.
"""

from __future__ import annotations

import contextlib
import struct
import sys

import trio

import horus_trio as horus
from horus_trio.drivers import CanBus, CanFilter, CanFrame, DriverNode
from simulated.can_battery import CELLS, CHARGER, PACK, can_battery

LIMIT = 45
"""°C of a cell, above which nothing is charged."""


class Battery(DriverNode):
    """Publishes what the battery tells; what is sent to the charger is True or False."""

    def __init__(self, bus: CanBus) -> None:
        super().__init__("battery", bus, publish="battery", listen="charge")
        self.bus = bus

    def decode(self, frame: CanFrame) -> dict[str, float]:
        if frame.id == CELLS:
            return {"hottest": max(frame.data) - 40}
        volts, amperes = struct.unpack(">Hh", frame.data)
        return {"volts": volts / 100, "amperes": amperes / 10}

    def encode(self, charge: bool) -> CanFrame:
        return CanFrame(id=CHARGER, data=bytes([charge]))

    def on_stale(self, silence: float) -> None:
        print(f"no battery for {silence:.2f} s: the controller is {self.bus.bus_state.value}")


class Monitor(horus.AsyncNode):
    """Says five times a second whether to charge, warns once, and shows how it is."""

    rate = 5
    subs = "battery"
    pubs = "charge"
    warned = False

    async def init(self) -> None:
        self.known: dict[str, float] = {"hottest": 0}

    async def tick_async(self) -> None:
        for message in self.recv_all("battery"):
            self.known |= message
        if self.known["hottest"] > LIMIT and not self.warned:
            print(f"WARNING: a cell has {self.known['hottest']} °C, charging is stopped")
            self.warned = True
        elif "volts" in self.known:
            print("{volts:.2f} V, {amperes:5.1f} A, {hottest} °C".format(**self.known))
        self.send("charge", not self.warned)


async def main(port: str = "") -> CanBus:
    """Watch for three seconds."""
    async with contextlib.nullcontext(port) if port else can_battery() as path:
        bus = CanBus(path, bitrate=250_000, filters=[CanFilter(id=PACK, mask=0x7F0)])
        scheduler = horus.Scheduler(name="battery monitor")
        scheduler.add(Battery(bus)).add(Monitor("monitor"))
        print(await scheduler.run(3))
    counts = bus.statistics()
    print(f"{counts.received} frames, {counts.bus_offs} time off the bus, {counts.refused} refused")
    return bus


if __name__ == "__main__":
    trio.run(main, sys.argv[1] if sys.argv[1:] else "")
