"""Telemetry into PostgreSQL, a transaction for many rows; and a query beside it.

Which server it is, the variables PGHOST, PGUSER and PGDATABASE say.
"""

import uuid
from typing import Any

import psycopg

import horus_trio as horus
from horus_trio.helpers import BatchProcessor, PostgresPool, postgres_pool

MAKE = """
CREATE TABLE IF NOT EXISTS readings
(run uuid, number bigint, value float8, PRIMARY KEY (run, number))
"""
INSERT = "INSERT INTO readings VALUES (%s, %s, %s) ON CONFLICT DO NOTHING"

Connection = psycopg.Connection[tuple[Any, ...]]
Row = tuple[uuid.UUID, int, float]


def make_table(connection: Connection) -> None:
    connection.execute(MAKE)


def insert(connection: Connection, rows: list[Row]) -> None:  # in a thread; one transaction
    with connection.cursor() as cursor:
        cursor.executemany(INSERT, rows)


def mean(connection: Connection) -> float | None:
    found = connection.execute("SELECT avg(value) FROM readings").fetchone()
    return found[0] if found else None


class Logger(horus.AsyncNode):
    rate = 100

    def __init__(self, database: PostgresPool) -> None:
        self.database = database
        self.run = uuid.uuid4()
        self.batches = BatchProcessor[Row](self.write, batch_size=50, interval=0.2)
        super().__init__("logger", helpers=[database, self.batches])

    async def init(self) -> None:
        await self.database.run(make_table)

    async def write(self, rows: list[Row]) -> None:
        await self.database.run(insert, rows)

    async def tick_async(self) -> None:
        self.batches.add((self.run, self.batches.statistics().added, 12.5))


class Monitor(horus.Node):
    """A `def` tick has the same calls in a form that blocks."""

    rate = 1

    def __init__(self, database: PostgresPool) -> None:
        super().__init__("monitor", helpers=[database], phase=0.9)
        self.database = database

    def tick(self) -> None:
        print("mean so far:", self.database.run_blocking(mean), "V")


if __name__ == "__main__":
    database = postgres_pool(operation_timeout=2.0)
    logger = Logger(database)
    horus.run(logger, Monitor(database), duration=1.3)
    counts = logger.batches.statistics()
    print("everything is committed:", counts.processed == counts.added)
