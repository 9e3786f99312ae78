"""A GPS receiver on a serial port: its positions go into an SQLite database.

Run it with `python examples/gps_logger.py /dev/ttyUSB0`. Without a port it makes up a receiver on a
pseudo-terminal, which drives round in a circle, and is unplugged for half a second on the way. The
node connects again by itself.
"""

from __future__ import annotations

import contextlib
import math
import os
import pty
import sqlite3
import sys
import tempfile
import tty
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import NamedTuple

import trio

import horus_trio as horus
from horus_trio.drivers import DriverNode, Nmea, SerialPort


class Fix(NamedTuple):
    time: str  # UTC, hhmmss
    latitude: float  # degrees, north
    longitude: float  # degrees, east
    altitude: float  # m
    satellites: int


class Gps(DriverNode):
    """Publishes a `Fix` for each GGA sentence; a receiver that sees no sky counts as stale."""

    def decode(self, message: bytes) -> Fix | None:
        kind, *fields = message.decode("ascii").split(",")
        if not kind.endswith("GGA"):
            return None
        time, latitude, north, longitude, east, quality, satellites, _, altitude = fields[:9]
        if quality == "0":
            return None
        return Fix(
            time,
            degrees(latitude, negative=north == "S"),
            degrees(longitude, negative=east == "W"),
            float(altitude),
            int(satellites),
        )

    def on_stale(self, silence: float) -> None:
        print(f"no position, the last one is {silence:.1f} s old")


def degrees(text: str, *, negative: bool) -> float:
    """Of ``dddmm.mmmm``: degrees, and minutes with their fraction."""
    point = text.index(".") - 2
    value = int(text[:point]) + float(text[point:]) / 60
    return -value if negative else value


class Log(horus.Node):
    """Writes what came since its last tick, in one transaction. What comes last is not lost."""

    rate = 4
    order = -1  # it begins first and ends last
    thread = "own"  # an SQLite connection belongs to one thread
    subs = horus.Sub("fix", capacity=1000)

    def __init__(self, path: Path) -> None:
        super().__init__("log")
        self.path = path
        self.written: int = 0

    def init(self) -> None:
        self.database: sqlite3.Connection = sqlite3.connect(self.path)
        self.database.execute(
            "CREATE TABLE IF NOT EXISTS fixes "
            "(time TEXT, latitude REAL, longitude REAL, altitude REAL, satellites INTEGER)"
        )

    def tick(self) -> None:
        fixes = self.recv_all("fix")
        with self.database:
            self.database.executemany("INSERT INTO fixes VALUES (?, ?, ?, ?, ?)", fixes)
        self.written += len(fixes)

    def shutdown(self) -> None:
        self.tick()
        self.database.close()


async def main(port: str | None, path: Path) -> None:
    """Log for three seconds."""
    async with contextlib.AsyncExitStack() as stack:
        if port is None:
            port = await stack.enter_async_context(simulated_receiver())
        driver = SerialPort(port, framing=Nmea(), baudrate=9600)
        gps = Gps("gps", driver, publish="fix", stale_after=1.5)
        log = Log(path)
        scheduler = horus.Scheduler(name="gps logger")
        scheduler.add(gps)
        scheduler.add(log)
        print(await scheduler.run(3))
        counts = driver.statistics()
    print(f"{log.written} positions written to {path.name}, {counts.connects} connections")
    print(f"{counts.rejected} sentences were damaged, {gps.rejected} not understood")


# A receiver, simulated


@contextlib.asynccontextmanager
async def simulated_receiver() -> AsyncIterator[str]:
    """The path of its port."""
    with tempfile.TemporaryDirectory() as folder:
        port = Path(folder) / "gps"
        async with trio.open_nursery() as nursery:
            await nursery.start(drive_round, port)
            yield str(port)
            nursery.cancel_scope.cancel()


@contextlib.contextmanager
def plugged_in(port: Path) -> Iterator[int]:
    """Has the port be there; the descriptor of its other end."""
    plug, socket = pty.openpty()
    tty.setraw(socket)
    port.symlink_to(os.ttyname(socket))
    try:
        yield plug
    finally:
        port.unlink()
        os.close(plug)
        os.close(socket)


async def drive_round(port: Path, *, task_status: trio.TaskStatus[None]) -> None:
    """Ten sentences a second, a damaged one among them; unplugged once, after twelve of them."""
    for first, last in ((0, 12), (12, 1000)):
        with plugged_in(port) as plug:
            if first == 0:
                task_status.started()
            for number in range(first, last):
                line = Nmea().encode(sentence(number))
                os.write(plug, line if number % 12 != 5 else b"\xff" + line[:20])
                await trio.sleep(0.1)
        await trio.sleep(0.5)


def sentence(number: int) -> bytes:
    """A position on a circle, at ten a second; every sixth sentence tells something else."""
    if number % 6 == 2:
        return b"GPGSV,1,1,02,07,42,180,40,21,17,044,35"
    angle = number / 10
    north = 4915.0 + 0.05 * math.sin(angle)
    east = 12310.0 + 0.05 * math.cos(angle)
    time = 120000 + number / 10
    return b"GPGGA,%09.2f,%09.4f,N,%010.4f,W,1,09,0.9,%.1f,M,,M,," % (time, north, east, 70.0)


if __name__ == "__main__":
    trio.run(main, sys.argv[1] if sys.argv[1:] else None, Path("gps.sqlite3"))
