"""The robot's databases and helpers: eleven nodes that write, read, ask and wait."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import trio

import horus_trio as horus
from horus_trio.helpers import (
    AsyncAggregator,
    AsyncHelper,
    BatchProcessor,
    RateLimiter,
    SqlitePool,
    sqlite_pool,
)

__all__ = ["stores"]

MAKE = "CREATE TABLE IF NOT EXISTS messages (time REAL, topic TEXT, data TEXT)"
INSERT = "INSERT INTO messages VALUES (?, ?, ?)"
KEPT = 2000
"""Rows that are kept, so that the file and its caches have a size of their own."""

RECORDED = ("serial 1", "serial 2", "arm 1", "volts", "sonar", "command 1")


class BlackBox(horus.AsyncNode):
    """Writes every message of several topics, all that came since its last tick at once."""

    rate = 4
    subs: tuple[horus.Sub, ...] = tuple(horus.Sub(topic, capacity=1000) for topic in RECORDED)

    def __init__(self, database: SqlitePool) -> None:
        super().__init__("black box", helpers=[database])
        self.database = database

    async def init(self) -> None:
        await self.database.write(MAKE)

    async def tick_async(self) -> None:
        rows = [
            (self.now, sub.topic, str(data))
            for sub in self.subs
            for data in self.recv_all(sub.topic)
        ]
        await self.database.write_many(INSERT, rows)


class Journal(horus.Node):
    """The same from a `def` tick, in the pool."""

    rate = 4

    def __init__(self, database: SqlitePool) -> None:
        super().__init__("journal", helpers=[database], subs=horus.Sub("arm 2", capacity=1000))
        self.database = database

    def init(self) -> None:
        self.database.write_blocking(MAKE)

    def tick(self) -> None:
        rows = [(self.now, "arm 2", str(data)) for data in self.recv_all("arm 2")]
        self.database.write_many_blocking(INSERT, rows)


class Reader(horus.AsyncNode):
    """Reads beside them."""

    rate = 2

    def __init__(self, database: SqlitePool) -> None:
        super().__init__("reader", helpers=[database])
        self.database = database

    async def init(self) -> None:
        await self.database.write(MAKE)

    async def tick_async(self) -> None:
        self.send("rows", await self.database.run(count_rows))


def count_rows(connection: sqlite3.Connection) -> int:
    (count,) = connection.execute("SELECT count(*) FROM messages").fetchone()
    return int(count)


class Retention(horus.AsyncNode):
    """Throws old rows away."""

    rate = 1

    def __init__(self, database: SqlitePool) -> None:
        super().__init__("retention", helpers=[database])
        self.database = database

    async def init(self) -> None:
        await self.database.write(MAKE)

    async def tick_async(self) -> None:
        await self.database.write(
            f"DELETE FROM messages WHERE rowid <= (SELECT max(rowid) FROM messages) - {KEPT}"
        )


class Archive(horus.Node):
    """A connection of sqlite3 itself, which belongs to one thread; so does this node."""

    rate = 4
    thread = "own"

    def __init__(self, path: Path) -> None:
        super().__init__("archive", subs=horus.Sub("command 2", capacity=1000))
        self.path = path

    def init(self) -> None:
        self.database: sqlite3.Connection = sqlite3.connect(self.path)
        self.database.execute("PRAGMA journal_mode=WAL")
        self.database.execute("PRAGMA synchronous=NORMAL")
        self.database.execute(MAKE)

    def tick(self) -> None:
        rows = [(self.now, "command 2", str(data)) for data in self.recv_all("command 2")]
        with self.database:
            self.database.executemany(INSERT, rows)
            self.database.execute(
                f"DELETE FROM messages WHERE rowid <= (SELECT max(rowid) FROM messages) - {KEPT}"
            )

    def shutdown(self) -> None:
        self.database.close()


class Batches(horus.AsyncNode):
    """Adds a row in each tick; full batches are written in a thread."""

    rate = 50

    def __init__(self, path: Path) -> None:
        self.rows: BatchProcessor[str] = BatchProcessor(self.write, batch_size=40, interval=0.5)
        super().__init__("batches", helpers=[self.rows])
        self.path = path

    def write(self, rows: list[str]) -> None:
        with self.path.open("w") as file:
            file.writelines(rows)

    async def tick_async(self) -> None:
        await self.rows.add_async(f"{self.now}\n")


class FlakyBatches(horus.Node):
    """Batches that fail: two of three attempts, and some batches for good."""

    rate = 20

    def __init__(self) -> None:
        self.attempts = 0
        self.buried = 0
        self.rows: BatchProcessor[float] = BatchProcessor(
            self.write, batch_size=10, interval=0.5, retries=1, backoff=0.05, dead_letter=self.bury
        )
        super().__init__("flaky batches", helpers=[self.rows])

    def write(self, rows: list[float]) -> None:
        self.attempts += 1
        if self.attempts % 3:
            raise OSError("the disk is full")

    def bury(self, rows: list[float], error: BaseException) -> None:
        self.buried += len(rows)

    def tick(self) -> None:
        self.rows.add(self.now)


class Limited(horus.AsyncNode):
    """Asks a limiter that allows less than it wants, and waits for its turn."""

    rate = 40

    def __init__(self) -> None:
        self.limiter = RateLimiter(15)
        super().__init__("limited", helpers=[self.limiter])

    async def tick_async(self) -> None:
        await self.limiter.acquire()


class Fusion(horus.AsyncNode):
    """Asks four sources, of which one never answers in time and one fails; two are enough."""

    rate = 5
    failure_policy: horus.FailurePolicy = horus.Restart(within=None, max_backoff=0.2)

    def __init__(self) -> None:
        self.sources = AsyncAggregator(name="sources")
        super().__init__("fusion", helpers=[self.sources])
        for name, seconds in (("lidar", 0.005), ("radar", 0.01), ("lost", 60.0)):
            self.sources.add(name, self.look, seconds)
        self.sources.add("broken", self.fail)

    async def look(self, seconds: float) -> float:
        await trio.sleep(seconds)
        return seconds

    async def fail(self) -> None:
        raise OSError("the lens is dirty")

    async def tick_async(self) -> None:
        gathered = await self.sources.wait_first(2, within=0.15)
        self.send("fusion", sum(gathered.values.values()))


class Operations(horus.AsyncNode):
    """Has things done in the background, some of which take too long, and collects what came."""

    rate = 10

    def __init__(self) -> None:
        self.helper = AsyncHelper(
            workers=2, capacity=64, operation_timeout=0.2, results=64, drop_oldest=True
        )
        super().__init__("operations", helpers=[self.helper])
        self.count = 0

    async def tick_async(self) -> None:
        self.count += 1
        self.helper.submit(trio.sleep, 0.5 if self.count % 20 == 0 else 0.01)
        self.helper.submit(len, "abc")
        self.helper.check_completed()


class BlockingOperations(horus.Node):
    """The same from a `def` tick; some of its functions are left behind in their threads."""

    rate = 10

    def __init__(self) -> None:
        self.helper = AsyncHelper(
            workers=2, capacity=64, operation_timeout=0.2, results=64, drop_oldest=True
        )
        super().__init__("blocking operations", helpers=[self.helper])
        self.count = 0

    def tick(self) -> None:
        self.count += 1
        self.helper.submit(time.sleep, 1.0 if self.count % 40 == 0 else 0.005)
        self.helper.check_completed()


def stores(folder: Path) -> Iterator[tuple[horus.Node, bool]]:
    """The nodes, and whether each is meant to hold its rate."""
    database = sqlite_pool(folder / "robot.sqlite3", readers=2, synchronous="normal")
    yield BlackBox(database), True
    yield Journal(database), True
    yield Reader(database), True
    yield Retention(database), True
    yield Archive(folder / "archive.sqlite3"), True
    yield Batches(folder / "batch.csv"), True
    yield FlakyBatches(), True
    yield Limited(), False
    yield Fusion(), True
    yield Operations(), True
    yield BlockingOperations(), True
