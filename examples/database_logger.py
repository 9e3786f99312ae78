"""Three sensors log into an SQLite database; Ctrl-C ends it, and nothing is lost.

Run it with `python examples/database_logger.py`; a number after that is how many seconds it logs.
Each reading is acknowledged when it is on the disk. What waits at the same time shares a
transaction, so that the disk is not asked for each of them.
"""

from __future__ import annotations

import math
import sqlite3
import sys
from pathlib import Path

import trio

import horus_trio as horus
from horus_trio.helpers import SqlitePool, sqlite_pool

MAKE = "CREATE TABLE IF NOT EXISTS readings (sensor TEXT, time REAL, value REAL)"
INSERT = "INSERT INTO readings VALUES (?, ?, ?)"


class Imu(horus.AsyncNode):
    """Reads in `async` ticks, and logs each reading at once."""

    rate = 100

    def __init__(self, database: SqlitePool) -> None:
        super().__init__("imu", helpers=[database])
        self.database = database
        self.logged: int = 0

    async def init(self) -> None:
        await self.database.write(MAKE)

    async def tick_async(self) -> None:
        await self.database.write(INSERT, ("imu", self.now, math.sin(self.now)))
        self.logged += 1


class Thermometer(horus.Node):
    """Reads in `def` ticks, in a thread."""

    rate = 20

    def __init__(self, database: SqlitePool) -> None:
        super().__init__("thermometer", helpers=[database])
        self.database = database
        self.logged: int = 0

    def init(self) -> None:
        self.database.write_blocking(MAKE)

    def tick(self) -> None:
        self.database.write_blocking(INSERT, ("thermometer", self.now, 21.5))
        self.logged += 1


class Lidar(horus.Node):
    """Reads much, and logs a revolution at a time; the last one in `shutdown`, as far as it is."""

    rate = 200
    revolution = 90

    def __init__(self, database: SqlitePool) -> None:
        super().__init__("lidar", helpers=[database])
        self.database = database
        self.readings: list[tuple[str, float, float]] = []
        self.logged: int = 0

    def init(self) -> None:
        self.database.write_blocking(MAKE)

    def tick(self) -> None:
        self.readings.append(("lidar", self.now, 2 + math.cos(self.now)))
        if len(self.readings) == self.revolution:
            self.write_down()

    def shutdown(self) -> None:
        self.write_down()

    def write_down(self) -> None:
        self.database.write_many_blocking(INSERT, self.readings)
        self.logged += len(self.readings)
        self.readings = []


class Monitor(horus.AsyncNode):
    """Reads beside them, once a second: readers wait for nobody."""

    rate = 1

    def __init__(self, database: SqlitePool) -> None:
        super().__init__("monitor", helpers=[database], phase=0.5)
        self.database = database

    async def tick_async(self) -> None:
        count = await self.database.run(count_readings)
        print(f"{count} readings so far", flush=True)


def count_readings(connection: sqlite3.Connection) -> int:
    try:
        (count,) = connection.execute("SELECT count(*) FROM readings").fetchone()
    except sqlite3.OperationalError:  # there is no table yet
        return 0
    return int(count)


async def main(path: Path, seconds: float | None) -> dict[str, int]:
    """Log for so long, or until Ctrl-C; what each sensor has been told to be on the disk."""
    database = sqlite_pool(path, name="readings")
    sensors = (Imu(database), Thermometer(database), Lidar(database))
    scheduler = horus.Scheduler(name="database logger")
    for node in (*sensors, Monitor(database)):
        scheduler.add(node)
    print(await scheduler.run(seconds))
    counts = database.write_statistics()
    print(f"{counts.written} writes in {counts.transactions} transactions, {counts.failed} failed")
    for sensor in sensors:
        print(f"{sensor.name}: {sensor.logged} readings logged")
    return {sensor.name: sensor.logged for sensor in sensors}


if __name__ == "__main__":
    trio.run(main, Path("readings.sqlite3"), float(sys.argv[1]) if sys.argv[1:] else 3.0)
