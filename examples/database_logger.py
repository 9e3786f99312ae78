"""Two sensors log into an SQLite database; Ctrl-C ends it, and nothing is lost.

Run it with `python examples/database_logger.py`; a number after that is how many seconds it logs.
Each reading is acknowledged when it is on the disk. What waits at the same time shares a
transaction, so that the disk is not asked for each of them.
"""

from __future__ import annotations

import math
import sqlite3
import sys

import trio

import horus_trio as horus
from horus_trio.helpers import SqlitePool, sqlite_pool

MAKE = "CREATE TABLE IF NOT EXISTS readings (sensor TEXT, time REAL, value REAL)"
INSERT = "INSERT INTO readings VALUES (?, ?, ?)"


class Imu(horus.AsyncNode):
    """Reads in `async` ticks, and logs each reading; meanwhile it counts what there is."""

    rate = 100
    order = -1  # it makes the table before others need it
    logged: int = 0

    async def init(self) -> None:
        await database.write(MAKE)
        self.start_soon(self.monitor)

    async def tick_async(self) -> None:
        await database.write(INSERT, ("imu", self.now, math.sin(self.now)))
        self.logged += 1

    async def monitor(self) -> None:
        """Readers wait for nobody."""
        while True:
            await trio.sleep(0.5)
            print(f"{await database.run(count_readings)} readings so far", flush=True)


class Lidar(horus.Node):
    """Reads in `def` ticks, in a thread, and logs a whole revolution at once."""

    rate = 200
    logged: int = 0

    def init(self) -> None:
        self.readings: list[tuple[str, float, float]] = []

    def tick(self) -> None:
        self.readings.append(("lidar", self.now, 2 + math.cos(self.now)))
        if len(self.readings) == 90:
            self.shutdown()

    def shutdown(self) -> None:
        """The last revolution, as far as it is."""
        database.write_many_blocking(INSERT, self.readings)
        self.logged += len(self.readings)
        self.readings = []


def count_readings(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT count(*) FROM readings").fetchone()[0])


database: SqlitePool = sqlite_pool("readings.sqlite3", name="readings")
imu, lidar = Imu("imu", helpers=[database]), Lidar("lidar", helpers=[database])
scheduler = horus.Scheduler(name="database logger").add(imu).add(lidar)

if __name__ == "__main__":
    print(scheduler.run(float(sys.argv[1]) if sys.argv[1:] else 3.0))
    counts = database.write_statistics()
    print(f"{counts.written} writes in {counts.transactions} transactions, {counts.failed} failed")
    for sensor in (imu, lidar):
        print(f"{sensor.name}: {sensor.logged} readings logged")
