"""Rows on their way into a database: what is written twice is there once, and nothing is lost."""

import logging
import sqlite3
import uuid

import horus_trio as horus
from horus_trio.helpers import BatchProcessor, SqlitePool, sqlite_pool

logging.disable()  # it would tell of the batch that is tried again

MAKE = """
CREATE TABLE IF NOT EXISTS readings
(run TEXT, number INTEGER, value REAL, PRIMARY KEY (run, number))
"""
INSERT = "INSERT OR IGNORE INTO readings VALUES (?, ?, ?)"  # the second one of a key is ignored

Row = tuple[str, int, float]


class Logger(horus.AsyncNode):
    """Its ticks put rows in and never wait; batches of 20 are written beside them."""

    rate = 100

    def __init__(self, database: SqlitePool) -> None:
        self.database = database
        self.batches = BatchProcessor[Row](self.write, batch_size=20, interval=0.5, backoff=0.05)
        super().__init__("logger", helpers=[database, self.batches])
        self.run = uuid.uuid4().hex  # numbers begin anew with each run
        self.attempts = 0

    async def init(self) -> None:
        await self.database.write(MAKE)

    async def tick_async(self) -> None:
        number = self.batches.statistics().added
        self.batches.add((self.run, number, 0.5 * number))

    async def write(self, rows: list[Row]) -> None:
        self.attempts += 1
        await self.database.write_many(INSERT, rows)
        if self.attempts == 2:
            raise ConnectionError("committed, but the answer was lost")


if __name__ == "__main__":
    logger = Logger(sqlite_pool("readings.sqlite3"))
    horus.run(logger, duration=1)
    counts = logger.batches.statistics()
    with sqlite3.connect("readings.sqlite3") as database:
        (rows,) = database.execute("SELECT count(*) FROM readings").fetchone()
    database.close()
    print("batches that were written again:", counts.failures)
    print("every row is there, and once:", rows == counts.added)
