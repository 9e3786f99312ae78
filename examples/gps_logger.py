"""A GPS receiver on a serial port: its positions go into an SQLite database.

Run it with `python examples/gps_logger.py /dev/ttyUSB0`. Without a port it makes up a receiver,
which is unplugged for half a second on the way; the node connects again by itself.
"""

from __future__ import annotations

import contextlib
import sqlite3
import sys
from typing import NamedTuple

import trio

import horus_trio as horus
from horus_trio.drivers import DriverNode, Nmea, SerialPort
from simulated.gps import gps_receiver


class Fix(NamedTuple):
    time: str  # UTC, hhmmss
    latitude: float  # degrees, north
    longitude: float  # degrees, east
    altitude: float  # m


class Gps(DriverNode):
    """Publishes a `Fix` for each GGA sentence; a receiver that sees no sky counts as stale."""

    def decode(self, message: bytes) -> Fix | None:
        kind, time, *fields = message.decode("ascii").split(",")
        if not kind.endswith("GGA") or fields[4] == "0":
            return None
        return Fix(time, degrees(*fields[0:2]), degrees(*fields[2:4]), float(fields[7]))

    def on_stale(self, silence: float) -> None:
        print(f"no position, the last one is {silence:.1f} s old")


def degrees(text: str, side: str) -> float:
    """Of ``dddmm.mmmm``: degrees, and minutes with their fraction."""
    value = int(text[:-7]) + float(text[-7:]) / 60
    return -value if side in "SW" else value


class Log(horus.Node):
    """Writes what came since its last tick, in one transaction. What comes last is not lost."""

    rate = 4
    order = -1  # it begins first and ends last
    thread = "own"  # an SQLite connection belongs to one thread
    subs = horus.Sub("fix", capacity=1000)

    def init(self) -> None:
        self.database = sqlite3.connect("gps.sqlite3")
        self.database.execute("CREATE TABLE IF NOT EXISTS fixes (time, north, east, altitude)")

    def tick(self) -> None:
        with self.database:
            fixes = self.recv_all("fix")
            self.database.executemany("INSERT INTO fixes VALUES (?, ?, ?, ?)", fixes)

    def shutdown(self) -> None:
        self.tick()
        self.database.close()


async def main(port: str = "") -> None:
    """Log for three seconds."""
    async with contextlib.nullcontext(port) if port else gps_receiver() as path:
        driver = SerialPort(path, framing=Nmea(), baudrate=9600)
        gps = Gps("gps", driver, publish="fix", stale_after=1.5)
        print(await horus.Scheduler(name="gps logger").add(gps).add(Log("log")).run(3))
    counts = driver.statistics()
    print(f"{counts.received} sentences, {counts.rejected} damaged, {counts.connects} connections")


if __name__ == "__main__":
    trio.run(main, sys.argv[1] if sys.argv[1:] else "")
