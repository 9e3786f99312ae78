"""`postgres_pool`, with a real server: used by both kinds of ticks, cancelled, killed."""

from __future__ import annotations

import contextlib
import importlib.util
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Self

import pytest
import trio
from helpers.postgres_server import PostgresServer, binaries, running_server
from helpers.servers import balanced

import horus_trio as horus
from horus_trio import AsyncNode, ConfigurationError, Node
from horus_trio.helpers import PoolUnavailable, PostgresPool, postgres_pool

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[tuple[Any, ...]]

pytestmark = pytest.mark.slow

INSTALL = "apt install postgresql"


@pytest.fixture(scope="module")
def server(require: Callable[[str, bool, str], None]) -> Iterator[PostgresServer]:
    """One that runs through all the tests."""
    require("psycopg", importlib.util.find_spec("psycopg") is not None, "pip install psycopg")
    require("PostgreSQL", binaries() is not None, INSTALL)
    with running_server() as server:
        yield server


@contextlib.contextmanager
def a_server(require: Callable[[str, bool, str], None]) -> Iterator[PostgresServer]:
    """One for the test alone."""
    require("psycopg", importlib.util.find_spec("psycopg") is not None, "pip install psycopg")
    require("PostgreSQL", binaries() is not None, INSTALL)
    with running_server() as server:
        yield server


async def wait_until_it_answers(pool: PostgresPool) -> None:
    with trio.fail_after(30):
        while True:
            try:
                await pool.run(one)
            except PoolUnavailable:
                await trio.sleep(0.02)
            else:
                return


def one(connection: Connection) -> int:
    row = connection.execute("SELECT 1").fetchone()
    assert row is not None
    return int(row[0])


def sleep(connection: Connection, seconds: float) -> None:
    connection.execute("SELECT pg_sleep(%s)", (seconds,))


def sleepers(connection: Connection) -> int:
    row = connection.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query ~ '^SELECT pg_sl'"
    ).fetchone()
    assert row is not None
    return int(row[0])


async def sleeping(pool: PostgresPool, count: int) -> None:
    """Wait until so many sleep in the server."""
    with trio.fail_after(10):
        while await pool.run(sleepers) != count:  # noqa: ASYNC110 - the server's doing
            await trio.sleep(0.01)


def insert(connection: Connection, table: str, key: int) -> None:
    connection.execute(f"INSERT INTO {table} VALUES (%s)", (key,))


def fetch(connection: Connection, table: str) -> list[int]:
    rows = connection.execute(f"SELECT key FROM {table} ORDER BY key")
    return [int(row[0]) for row in rows]


def make_table(connection: Connection, table: str) -> None:
    connection.execute(f"DROP TABLE IF EXISTS {table}; CREATE TABLE {table} (key bigint)")


async def test_tasks_and_threads_use_it(server: PostgresServer) -> None:
    def tick() -> None:
        pool.run_blocking(insert, "used", 2)
        with pool.acquire_blocking() as connection, connection.transaction():
            insert(connection, "used", 3)

    async with postgres_pool(server.conninfo) as pool:
        await wait_until_it_answers(pool)
        await pool.run(make_table, "used")
        await pool.run(insert, "used", 1)
        await trio.to_thread.run_sync(tick)
        assert await pool.run(fetch, "used") == [1, 2, 3]
        assert repr(pool) == "<PostgresPool 'postgres', 0 of 4 in use>"
    assert balanced(pool.statistics()).closed == pool.statistics().opened


async def test_a_function_is_one_transaction(server: PostgresServer) -> None:
    def insert_and_fail(connection: Connection) -> None:
        insert(connection, "one", 1)
        raise ValueError("after all not")

    def break_rules(connection: Connection) -> None:
        connection.execute("SELECT 1 / 0")

    async with postgres_pool(server.conninfo, size=1) as pool:
        await wait_until_it_answers(pool)
        await pool.run(make_table, "one")
        with pytest.raises(ValueError, match="after all not"):
            await pool.run(insert_and_fail)
        with pytest.raises(Exception, match="division by zero"):
            await pool.run(break_rules)
        assert await pool.run(fetch, "one") == []
        assert balanced(pool.statistics()).opened == 1  # such errors are not the connection's


async def test_a_transaction_that_is_left_open_goes_to_nobody(server: PostgresServer) -> None:
    def begin(connection: Connection) -> None:
        connection.execute("BEGIN")

    async with postgres_pool(server.conninfo, size=1) as pool:
        await wait_until_it_answers(pool)
        async with pool.acquire() as connection:
            await trio.to_thread.run_sync(begin, connection)
        assert await pool.run(one) == 1
        assert balanced(pool.statistics()).discarded == 1


async def test_a_query_that_is_cancelled_ends_in_the_server(server: PostgresServer) -> None:
    async with postgres_pool(server.conninfo, size=2) as pool:
        await wait_until_it_answers(pool)
        with trio.move_on_after(0.2):
            await pool.run(sleep, 30)
        await sleeping(pool, 0)
        assert balanced(pool.statistics()).left_behind == 0


@pytest.mark.parametrize("how", ["task", "thread"])
async def test_a_query_that_takes_too_long_ends_in_the_server(
    server: PostgresServer, how: str
) -> None:
    async with postgres_pool(server.conninfo, size=2, operation_timeout=0.3) as pool:
        await wait_until_it_answers(pool)
        calls = {
            "task": lambda: pool.run(sleep, 30),
            "thread": lambda: trio.to_thread.run_sync(pool.run_blocking, sleep, 30),
        }
        with pytest.raises(TimeoutError, match=r"sleep has not ended within 0.3 s"):
            await calls[how]()
        await sleeping(pool, 0)


async def test_closing_ends_what_runs_in_the_server(server: PostgresServer) -> None:
    async def run() -> None:
        with pytest.raises(trio.ClosedResourceError, match="was closed while sleep ran"):
            await pool.run(sleep, 30)

    async with postgres_pool(server.conninfo) as other:
        await wait_until_it_answers(other)
        pool = postgres_pool(server.conninfo, close_grace=0.1)
        async with trio.open_nursery() as nursery, pool:
            nursery.start_soon(run)
            await sleeping(other, 1)
        await sleeping(other, 0)


async def test_connections_that_the_server_has_ended_are_replaced_unnoticed(
    server: PostgresServer,
) -> None:
    def end_the_others(connection: Connection) -> None:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'ended' AND pid <> pg_backend_pid()"
        )

    conninfo = f"{server.conninfo} application_name=ended"
    async with postgres_pool(conninfo, size=3, check_after=0) as pool:
        await wait_until_it_answers(pool)
        async with pool.acquire() as first, pool.acquire(), pool.acquire():
            await trio.to_thread.run_sync(end_the_others, first)
        await trio.sleep(0.3)
        async with pool.acquire() as a, pool.acquire() as b, pool.acquire() as c:
            for connection in (a, b, c):
                assert await trio.to_thread.run_sync(one, connection) == 1
        assert balanced(pool.statistics()).opened == 5


async def test_a_server_that_is_not_there_is_said(tmp_path: Any, server: PostgresServer) -> None:
    async with postgres_pool(f"host={tmp_path} user=robot", name="far") as pool:
        with pytest.raises(PoolUnavailable, match="PostgresPool 'far' has no connection; the last"):
            await pool.run(one)


@pytest.mark.parametrize(
    ("conninfo", "options", "message"),
    [
        (3, {}, "expected a str for libpq"),
        ("host=a nonsense", {}, "libpq does not understand the conninfo"),
        ("", {"size": 0}, "size=0, expected a whole number, 1 or more"),
        ("", {"open_timeout": -1}, "open_timeout=-1, expected a finite number of seconds"),
    ],
)
def test_bad_input(
    conninfo: Any, options: dict[str, Any], message: str, server: PostgresServer
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        postgres_pool(conninfo, **options)


def test_without_the_extra_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'horus-trio\[postgres\]'"):
        postgres_pool("host=127.0.0.1")


# Killed


INSERTS = 20_000
KILLS = 5
BACK_WITHIN = 5.0


class Robot:
    """What its nodes have done."""

    def __init__(self, pool: PostgresPool) -> None:
        self.pool = pool
        self.lock = threading.Lock()
        self.tried = 0
        self.acknowledged: list[int] = []
        self.over = trio.Event()

    @property
    def is_over(self) -> bool:
        return len(self.acknowledged) >= INSERTS

    def next_key(self) -> int:
        with self.lock:
            self.tried += 1
            return self.tried


class OnLoop(AsyncNode):
    """Inserts without a pause; a key that fails is not tried again: nobody knows about it."""

    def __init__(self, name: str, robot: Robot) -> None:
        super().__init__(name, rate=50, helpers=[robot.pool], tick_timeout=60)
        self.robot = robot

    async def tick_async(self) -> None:
        robot = self.robot
        for _ in range(100):
            if robot.is_over:
                return
            key = robot.next_key()
            try:
                await robot.pool.run(insert, "keys", key)
            except Exception:  # noqa: BLE001 - whatever it is, it was not acknowledged
                await trio.sleep(0.02)
            else:
                robot.acknowledged.append(key)


class InThread(Node):
    """The same in a thread."""

    def __init__(self, name: str, robot: Robot) -> None:
        super().__init__(name, rate=50, helpers=[robot.pool], thread="own", tick_timeout=60)
        self.robot = robot

    def tick(self) -> None:
        robot = self.robot
        for _ in range(100):
            if robot.is_over:
                return
            key = robot.next_key()
            try:
                robot.pool.run_blocking(insert, "keys", key)
            except Exception:  # noqa: BLE001 - whatever it is, it was not acknowledged
                time.sleep(0.02)
            else:
                robot.acknowledged.append(key)


class Sibling(AsyncNode):
    """Has nothing to do with it."""

    rate = 100
    ticks = 0

    async def tick_async(self) -> None:
        self.ticks += 1


class Beside:
    """A process that only sleeps, 100 times a second: what it misses, the machine has missed."""

    PROGRAM = """
import sys, threading, time
ended, missed, due = threading.Event(), 0, time.monotonic()
threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
while not ended.is_set():
    due += 0.01
    time.sleep(max(due - time.monotonic(), 0))
    late = int((time.monotonic() - due) / 0.01)
    missed, due = missed + late, due + late * 0.01
print(missed)
"""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", self.PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def missed(self) -> int:
        """It ends, and says what it has missed."""
        said, _ = self._process.communicate(timeout=20)
        return int(said)

    def __exit__(self, *exc_info: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()


@pytest.mark.alone
@pytest.mark.usefixtures("untraced")
async def test_a_server_that_is_killed_loses_nothing_acknowledged(
    require: Callable[[str, bool, str], None],
) -> None:
    with a_server(require) as server, Beside() as beside:
        pool = postgres_pool(server.conninfo, size=4)
        robot = Robot(pool)
        sibling = Sibling("sibling")
        scheduler = horus.Scheduler(signals=False)
        for node in (
            OnLoop("a", robot), OnLoop("b", robot), InThread("c", robot), InThread("d", robot),
        ):  # fmt: skip
            scheduler.add(node)
        scheduler.add(sibling)
        async with postgres_pool(server.conninfo, size=1, name="observer") as observer:
            await wait_until_it_answers(observer)
            await observer.run(make_table, "keys")
            backs: list[float] = []
            async with trio.open_nursery() as nursery:
                await nursery.start(scheduler.run)
                for kill in range(1, KILLS + 1):
                    await reached(robot, kill * INSERTS // (KILLS + 1))
                    await trio.to_thread.run_sync(server.kill)
                    await trio.sleep(0.2)
                    server.start()
                    await wait_until_it_answers(observer)
                    began, there = trio.current_time(), len(robot.acknowledged)
                    await reached(robot, there + 4)
                    backs.append(trio.current_time() - began)
                await reached(robot, INSERTS)
                scheduler.stop()
            missed_beside = await trio.to_thread.run_sync(beside.missed)
            stored = await observer.run(fetch, "keys")
        found = balanced(pool.statistics())
        report = scheduler.report
    assert len(set(stored)) == len(stored), "stored twice"
    assert set(robot.acknowledged) <= set(stored)
    assert len(robot.acknowledged) >= INSERTS
    assert len(set(robot.acknowledged)) == len(robot.acknowledged)
    assert robot.tried > len(robot.acknowledged), "no kill was noticed"
    assert max(backs) < BACK_WITHIN
    assert report is not None
    of_sibling = scheduler.statistics().nodes["sibling"]
    print(backs, robot.tried - len(robot.acknowledged), found)
    print(of_sibling.ok, of_sibling.missed, missed_beside)
    assert of_sibling.ok >= 0.99 * of_sibling.ticks_released - missed_beside


async def reached(robot: Robot, count: int) -> None:
    with trio.fail_after(60):
        while len(robot.acknowledged) < count:  # noqa: ASYNC110 - threads count too
            await trio.sleep(0.005)
