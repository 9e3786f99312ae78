"""`sqlite_pool`: one writer whose commits are shared, readers beside each other."""

from __future__ import annotations

import functools
import math
import sqlite3
import threading
from pathlib import Path
from typing import Any, Self, TypeAlias

import pytest
import trio
from helpers.patience import eventually
from helpers.servers import balanced
from hypothesis import given, settings
from hypothesis import strategies as st

import horus_trio as horus
from horus_trio import AsyncCallInThread, AsyncNode, ConfigurationError, Node, TickAbandoned
from horus_trio.helpers import SqlitePool, sqlite_pool
from horus_trio.messages import Fence, current_fence
from horus_trio.testing import cancel_everywhere

MAKE = "CREATE TABLE numbers (number INTEGER PRIMARY KEY, text TEXT NOT NULL DEFAULT '')"
INSERT = "INSERT INTO numbers (number) VALUES (?)"

# A query without an end, if nobody interrupts it.
ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT max(x) FROM n"


def numbers(connection: sqlite3.Connection) -> list[int]:
    return [row[0] for row in connection.execute("SELECT number FROM numbers ORDER BY number")]


def endless(connection: sqlite3.Connection) -> None:
    connection.execute(ENDLESS).fetchall()


def laws(pool: SqlitePool) -> Any:
    balanced(pool.statistics())
    found = pool.write_statistics()
    assert found.writes == found.written + found.failed + found.withdrawn + found.waiting, found
    return found


class Locked:
    """Another program that writes and does not end."""

    def __init__(self, path: Path) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None)

    def __enter__(self) -> None:
        self.connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, *exc_info: object) -> None:
        self.connection.execute("ROLLBACK")
        self.connection.close()


# Writing and reading


async def test_what_was_written_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite3"
    async with sqlite_pool(path) as pool:
        assert repr(pool) == "<SqlitePool 'sqlite', 0 of 4 in use>"
        assert pool.path == str(path)
        await pool.write(MAKE)
        assert (await pool.write(INSERT, (1,))).row_count == 1
        assert (await pool.write(INSERT, [7])).last_row_id == 7
        await pool.write("INSERT INTO numbers VALUES (:n, :text)", {"n": 3, "text": "three"})
        found = await pool.write("DELETE FROM numbers WHERE number > 2 RETURNING number, text")
        assert sorted(found.rows) == [(3, "three"), (7, "")]
        assert (await pool.write_many(INSERT, ((n,) for n in range(10, 15)))).row_count == 5
        assert await pool.run(numbers) == [1, *range(10, 15)]
        assert (laws(pool).written, laws(pool).transactions) == (6, 6)
    async with sqlite_pool(path) as pool:
        assert await pool.run(numbers) == [1, *range(10, 15)]
    left = [file.name for file in tmp_path.iterdir()]  # noqa: ASYNC240 - a listing
    assert left == ["log.sqlite3"]


async def test_threads_use_it_too(tmp_path: Path) -> None:
    def tick() -> None:
        pool.write_blocking(INSERT, (1,))
        pool.write_many_blocking(INSERT, [(2,), (3,)])
        assert pool.run_blocking(numbers) == [1, 2, 3]
        with pool.acquire_blocking() as connection:
            assert numbers(connection) == [1, 2, 3]

    async with sqlite_pool(tmp_path / "x") as pool:
        await pool.write(MAKE)
        await trio.to_thread.run_sync(tick)
        with pytest.raises(AsyncCallInThread, match=r"use await pool.write\(…\)"):
            pool.write_blocking(INSERT, (4,))
        with pytest.raises(AsyncCallInThread, match=r"use await pool.write_many\(…\)"):
            pool.write_many_blocking(INSERT, [(4,)])


async def test_writes_that_wait_share_a_transaction(tmp_path: Path) -> None:
    async with sqlite_pool(tmp_path / "x") as pool:
        await pool.write(MAKE)
        async with trio.open_nursery() as nursery:
            with Locked(tmp_path / "x"):
                for number in range(100):
                    nursery.start_soon(pool.write, INSERT, (number,))
                await eventually(lambda: laws(pool).waiting == 100)
        assert await pool.run(numbers) == list(range(100))
        assert laws(pool).transactions <= 4


async def test_one_that_fails_fails_alone(tmp_path: Path) -> None:
    outcomes: dict[int, str] = {}

    async def write(number: int, sql: str, parameters: Any) -> None:
        try:
            await pool.write(sql, parameters)
        except Exception as error:  # noqa: BLE001 - told apart below
            outcomes[number] = type(error).__name__
        else:
            outcomes[number] = "written"

    async with sqlite_pool(tmp_path / "x") as pool:
        await pool.write(MAKE)
        await pool.write(
            "CREATE TABLE parts (number INTEGER REFERENCES numbers DEFERRABLE INITIALLY DEFERRED)"
        )
        async with trio.open_nursery() as nursery:
            with Locked(tmp_path / "x"):
                for number in range(10):
                    nursery.start_soon(write, number, INSERT, (number,))
                nursery.start_soon(write, 10, INSERT, ("x",))
                nursery.start_soon(
                    write, 11, "INSERT OR ROLLBACK INTO numbers VALUES (1, NULL)", ()
                )
                nursery.start_soon(
                    write, 12, "INSERT OR FAIL INTO numbers VALUES (50, ''), (1, NULL)", ()
                )
                nursery.start_soon(write, 13, "nonsense", ())
                nursery.start_soon(write, 14, INSERT, (1, 2, 3))
                nursery.start_soon(write, 15, INSERT, (object(),))
                nursery.start_soon(write, 16, "VACUUM", ())
                nursery.start_soon(write, 17, INSERT, (2**70,))
                await eventually(lambda: laws(pool).waiting == 18)
        assert await pool.run(numbers) == list(range(10))
        assert laws(pool).failed == 8
    assert {number for number, what in outcomes.items() if what == "written"} == set(range(10))
    assert outcomes[11] == outcomes[12] == "IntegrityError"
    assert outcomes[13] == outcomes[16] == "OperationalError"
    assert outcomes[14] == outcomes[15] == "ProgrammingError"
    assert outcomes[17] == "OverflowError"


async def test_a_commit_that_fails_is_the_fault_of_one(tmp_path: Path) -> None:
    def configure(connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA foreign_keys = ON")

    async with sqlite_pool(tmp_path / "x", configure=configure) as pool:
        await pool.write(MAKE)
        await pool.write(
            "CREATE TABLE parts (number INTEGER REFERENCES numbers DEFERRABLE INITIALLY DEFERRED)"
        )
        async with trio.open_nursery() as nursery:
            with Locked(tmp_path / "x"):
                for number in range(10):
                    nursery.start_soon(pool.write, INSERT, (number,))

                async def orphan() -> None:
                    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
                        await pool.write("INSERT INTO parts VALUES (99)")

                nursery.start_soon(orphan)
                await eventually(lambda: laws(pool).waiting == 11)
        assert await pool.run(numbers) == list(range(10))
        assert (laws(pool).written, laws(pool).failed) == (12, 1)


async def test_many_are_written_completely_or_not_at_all(tmp_path: Path) -> None:
    async with sqlite_pool(tmp_path / "x") as pool:
        await pool.write(MAKE)
        with pytest.raises(sqlite3.IntegrityError):
            await pool.write_many(INSERT, [(1,), (2,), (1,)])
        assert await pool.run(numbers) == []
        assert (await pool.write_many(INSERT, [])).rows == ()


async def test_readers_read_beside_each_other_and_beside_the_writer(tmp_path: Path) -> None:
    meeting = threading.Barrier(3, timeout=20)

    def read(connection: sqlite3.Connection) -> int:
        connection.execute("BEGIN")
        before = numbers(connection)
        meeting.wait()  # all of them are reading
        meeting.wait()  # and something was written
        after = numbers(connection)
        connection.execute("COMMIT")
        return len(after) - len(before)

    async with sqlite_pool(tmp_path / "x") as pool:
        await pool.write(MAKE)
        seen: list[int] = []

        async def reader() -> None:
            seen.append(await pool.run(read))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(reader)
            nursery.start_soon(reader)
            await trio.to_thread.run_sync(meeting.wait)
            await pool.write(INSERT, (1,))
            await trio.to_thread.run_sync(meeting.wait)
        assert seen == [0, 0]
        assert await pool.run(numbers) == [1]


async def test_readers_cannot_write(tmp_path: Path) -> None:
    def write(connection: sqlite3.Connection) -> None:
        connection.execute(INSERT, (1,))

    async with sqlite_pool(tmp_path / "x", readers=1) as pool:
        await pool.write(MAKE)
        with pytest.raises(sqlite3.OperationalError, match="readonly database"):
            await pool.run(write)
        assert await pool.run(numbers) == []
        assert pool.statistics().opened == 1  # the connection is as good as before


async def test_a_transaction_that_a_reader_leaves_open_is_closed(tmp_path: Path) -> None:
    def begin(connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN")

    async with sqlite_pool(tmp_path / "x", readers=1) as pool:
        await pool.run(begin)
        await pool.run(begin)
        assert balanced(pool.statistics()).discarded == 2


async def test_connections_are_configured(tmp_path: Path) -> None:
    def configure(connection: sqlite3.Connection) -> None:
        connection.create_function("twice", 1, lambda x: 2 * x)

    async with sqlite_pool(tmp_path / "x", configure=configure, synchronous="normal") as pool:
        await pool.write(MAKE)
        await pool.write("INSERT INTO numbers (number) VALUES (twice(21))")
        assert await pool.run(lambda c: c.execute("SELECT twice(4)").fetchone()) == (8,)


# Cancelling


async def test_a_query_that_is_cancelled_is_interrupted(tmp_path: Path) -> None:
    async with sqlite_pool(tmp_path / "x", readers=1, operation_timeout=0.5) as pool:
        with trio.move_on_after(0.25):
            await pool.run(endless)
        with pytest.raises(TimeoutError):
            await pool.run(endless)
        with pytest.raises(TimeoutError):
            await trio.to_thread.run_sync(pool.run_blocking, endless)
        assert await pool.run(lambda c: c.execute("SELECT 1").fetchone()) == (1,)
        await eventually(lambda: balanced(pool.statistics()).closed == 3)


async def test_a_write_that_has_not_begun_can_be_cancelled(tmp_path: Path) -> None:
    def in_thread() -> None:
        with pytest.raises(TimeoutError, match=r"write_blocking\(\) has not ended within 0.02 s"):
            pool.write_blocking(INSERT, (2,), timeout=0.02)

    async with sqlite_pool(tmp_path / "x") as pool:
        await pool.write(MAKE)
        with Locked(tmp_path / "x"):
            with trio.move_on_after(0.02) as scope:
                await pool.write(INSERT, (1,))
            assert scope.cancelled_caught
            await trio.to_thread.run_sync(in_thread)
        await eventually(lambda: laws(pool).withdrawn == 2)
        assert await pool.run(numbers) == []


async def test_a_write_that_has_begun_is_waited_for(tmp_path: Path) -> None:
    begun, let_go = threading.Event(), threading.Event()

    def configure(connection: sqlite3.Connection) -> None:
        def slow(x: int) -> int:
            begun.set()
            let_go.wait(20)
            return x

        connection.create_function("slow", 1, slow)

    def in_thread() -> None:
        current_fence.set(fence)
        with pytest.raises(TickAbandoned):
            pool.write_blocking("INSERT INTO numbers (number) VALUES (slow(2))")

    fence = Fence("node")
    async with sqlite_pool(tmp_path / "x", configure=configure) as pool:
        await pool.write(MAKE)
        async with trio.open_nursery() as nursery:
            with trio.CancelScope() as scope:

                async def cancel() -> None:
                    await eventually(begun.is_set)
                    scope.cancel()
                    await trio.sleep(0.02)
                    let_go.set()

                nursery.start_soon(cancel)
                found = await pool.write("INSERT INTO numbers (number) VALUES (slow(1))")
                assert found.row_count == 1
            assert not scope.cancelled_caught
        begun.clear()
        let_go.clear()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, in_thread)
            await eventually(begun.is_set)
            fence.close()
        let_go.set()
        await eventually(lambda: laws(pool).written == 3)
        assert await pool.run(numbers) == [1, 2]


async def test_write_cancelled_everywhere(tmp_path: Path) -> None:
    count = iter(range(1000))

    class Opened:
        def __init__(self) -> None:
            self.pool = sqlite_pool(tmp_path / f"{next(count)}")

        async def __aenter__(self) -> Self:
            await self.pool.__aenter__()
            await self.pool.write("CREATE TABLE numbers (number)")
            return self

        async def __aexit__(self, *exc_info: object) -> None:
            await self.pool.__aexit__(None, None, None)

        async def write(self) -> None:
            await self.pool.write(INSERT, (1,))
            await self.pool.write_many(INSERT, [(2,), (3,)])

        async def read(self) -> list[int]:
            return sorted(set(await self.pool.run(numbers)))

    async def once(opened: Opened) -> None:
        await opened.pool.write(INSERT, (1,))

    async def what_is_there(opened: Opened) -> list[int]:
        return await opened.pool.run(numbers)

    assert (await cancel_everywhere(Opened, once, observe=what_is_there)).checkpoints >= 1
    assert (await cancel_everywhere(Opened, Opened.write, observe=Opened.read)).checkpoints >= 2


@pytest.mark.slow
async def test_opening_and_closing_cancelled_everywhere(tmp_path: Path) -> None:
    count = iter(range(1000))

    async def live(box: list[SqlitePool]) -> list[int]:
        async with box[0] as pool:
            await pool.write("CREATE TABLE IF NOT EXISTS numbers (number)")
            return await pool.run(numbers)

    await cancel_everywhere(lambda: [sqlite_pool(tmp_path / f"{next(count)}")], live)


# Closing


async def test_closing_writes_what_waits(tmp_path: Path) -> None:
    def tick() -> None:
        pool.write_blocking(INSERT, (100,))

    async with trio.open_nursery() as nursery, sqlite_pool(tmp_path / "x") as pool:
        await pool.write(MAKE)
        with Locked(tmp_path / "x"):
            for number in range(10):
                nursery.start_soon(pool.write, INSERT, (number,))
            nursery.start_soon(trio.to_thread.run_sync, tick)
            await eventually(lambda: laws(pool).waiting == 11)
    assert laws(pool).written == 12
    for _ in range(2):
        with pytest.raises(trio.ClosedResourceError, match="is not open"):
            await pool.write(INSERT, (11,))
        with pytest.raises(trio.ClosedResourceError, match="is not open"):
            await trio.to_thread.run_sync(pool.write_blocking, INSERT, (11,))
        async with pool:
            assert await pool.run(numbers) == [*range(10), 100]


async def test_what_cannot_be_written_any_more_is_said(tmp_path: Path) -> None:
    async def write(number: int) -> None:
        with pytest.raises((trio.ClosedResourceError, sqlite3.OperationalError)):
            await pool.write(INSERT, (number,))

    pool = sqlite_pool(tmp_path / "x", busy_timeout=0.3, close_grace=0.1)
    async with trio.open_nursery() as nursery, pool:
        await pool.write(MAKE)
        with Locked(tmp_path / "x"):
            for number in range(10):
                nursery.start_soon(write, number)
            await eventually(lambda: laws(pool).waiting == 10)
            await pool.__aexit__(None, None, None)
    found = laws(pool)
    assert (found.written, found.failed, found.waiting) == (1, 10, 0)


async def test_a_database_that_stays_locked_is_said(tmp_path: Path) -> None:
    async with sqlite_pool(tmp_path / "x", busy_timeout=0.05) as pool:
        await pool.write(MAKE)
        with Locked(tmp_path / "x"), pytest.raises(sqlite3.OperationalError, match="is locked"):
            await pool.write(INSERT, (1,))
        await pool.write(INSERT, (2,))
        assert await pool.run(numbers) == [2]


async def test_a_database_that_cannot_be_opened_is_said(tmp_path: Path) -> None:
    pool = sqlite_pool(tmp_path / "no" / "folder")
    with pytest.RaisesGroup(pytest.RaisesExc(sqlite3.OperationalError, match="unable to open")):
        async with pool:
            pass
    (tmp_path / "text").write_text("this is no database, and longer than a header")
    with pytest.RaisesGroup(pytest.RaisesExc(sqlite3.DatabaseError, match="not a database")):
        async with sqlite_pool(tmp_path / "text"):
            pass


# Given to nodes


async def test_both_kinds_of_ticks_log_into_it(tmp_path: Path) -> None:
    pool = sqlite_pool(tmp_path / "x")

    class InThread(Node):
        def init(self) -> None:
            pool.write_blocking("CREATE TABLE IF NOT EXISTS ticks (node TEXT, seq INTEGER)")

        def tick(self) -> None:
            assert self.current_tick is not None
            pool.write_blocking("INSERT INTO ticks VALUES ('a', ?)", (self.current_tick.seq,))

    class OnLoop(AsyncNode):
        async def init(self) -> None:
            await pool.write("CREATE TABLE IF NOT EXISTS ticks (node TEXT, seq INTEGER)")

        async def tick_async(self) -> None:
            assert self.current_tick is not None
            await pool.write("INSERT INTO ticks VALUES ('b', ?)", (self.current_tick.seq,))

    scheduler = horus.Scheduler(signals=False)
    scheduler.add(InThread("a", rate=50, helpers=[pool]))
    scheduler.add(OnLoop("b", rate=50, helpers=[pool]))
    report = await scheduler.run(0.5)
    connection = sqlite3.connect(tmp_path / "x")
    rows = connection.execute("SELECT node, count(*) FROM ticks GROUP BY node").fetchall()
    connection.close()
    for node, count in rows:
        assert count >= report.statistics.nodes[node].ok > 5
    assert len(rows) == 2


# Laws

OPERATION = st.one_of(
    st.tuples(st.just("insert"), st.integers(0, 8)),
    st.tuples(st.just("many"), st.lists(st.integers(0, 8), max_size=3)),
    st.tuples(st.just("delete"), st.integers(0, 8)),
    st.tuples(st.just("rollback"), st.integers(0, 8)),
)


Got: TypeAlias = list[tuple[tuple[str, Any], bool]]


async def write(pool: SqlitePool, got: Got, operation: tuple[str, Any]) -> None:
    what, value = operation
    try:
        if what == "insert":
            await pool.write(INSERT, (value,))
        elif what == "rollback":
            await pool.write(f"INSERT OR ROLLBACK {INSERT[7:]}", (value,))
        elif what == "many":
            await pool.write_many(INSERT, [(each,) for each in value])
        else:
            await pool.write("DELETE FROM numbers WHERE number = ?", (value,))
    except sqlite3.IntegrityError:
        got.append((operation, False))
    else:
        got.append((operation, True))


@pytest.mark.slow
@settings(max_examples=60)
@given(batches=st.lists(st.lists(OPERATION, min_size=1, max_size=8), max_size=5))
def test_batches_do_what_their_writes_do_one_by_one(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[tuple[str, Any]]]
) -> None:
    """The model is a set; writes of a batch go in one transaction, failing ones among them."""
    path = tmp_path_factory.mktemp("laws") / "x"
    model: set[int] = set()

    def expected(what: str, value: Any) -> bool:
        if what == "delete":
            model.discard(value)
            return True
        new = value if what == "many" else [value]
        if len(set(new)) < len(new) or model & set(new):
            return False
        model.update(new)
        return True

    async def main() -> None:
        async with sqlite_pool(path, synchronous="off") as pool:
            await pool.write(MAKE)
            for batch in batches:
                got: Got = []
                async with trio.open_nursery() as nursery:
                    with Locked(path):
                        for operation in batch:
                            waiting = laws(pool).waiting
                            nursery.start_soon(write, pool, got, operation)
                            while laws(pool).waiting == waiting:  # in this order
                                await trio.lowlevel.checkpoint()
                outcomes = [expected(*operation) for operation in batch]
                assert sum(done for _, done in got) == sum(outcomes)
                assert sorted(map(repr, got)) == sorted(
                    map(repr, zip(batch, outcomes, strict=True))
                )
                assert await pool.run(numbers) == sorted(model)

    trio.run(main)


@pytest.mark.slow
async def test_nothing_acknowledged_is_lost_among_threads_and_tasks(tmp_path: Path) -> None:
    acknowledged: list[int] = []
    count = iter(range(10**6))
    over = threading.Event()

    def in_thread() -> None:
        while not over.is_set():
            number = next(count)
            try:
                pool.write_blocking(INSERT, (number,), timeout=0.001 * (number % 4))
            except TimeoutError:
                continue
            acknowledged.append(number)

    async def in_task() -> None:
        while not over.is_set():
            number = next(count)
            with trio.move_on_after(0.001 * (number % 7)):
                await pool.write(INSERT, (number,))
                acknowledged.append(number)
            if number % 10 == 0:
                with pytest.raises(sqlite3.IntegrityError):
                    await pool.write("INSERT OR ROLLBACK INTO numbers VALUES (?, NULL)", (number,))
            laws(pool)

    async with sqlite_pool(tmp_path / "x", synchronous="off") as pool:
        await pool.write(MAKE)
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(trio.to_thread.run_sync, in_thread)
                nursery.start_soon(in_task)
            await trio.sleep(1.5)
            over.set()
        stored = await pool.run(numbers)
        found = laws(pool)
    assert sorted(acknowledged) == stored
    assert len(stored) > 100
    assert found.transactions < found.written


# Bad input


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"path": ":memory:"}, "each connection would have a database of its own"),
        ({"path": ""}, "each connection would have a database of its own"),
        ({"path": 3}, "expected the path of a file"),
        ({"path": b"x"}, "expected the path of a file"),
        ({"readers": 0}, "size=0, expected a whole number, 1 or more"),
        ({"synchronous": "sometimes"}, "synchronous='sometimes', expected one of 'full', 'normal'"),
        ({"busy_timeout": -1}, "busy_timeout=-1, expected a finite number of seconds"),
        ({"busy_timeout": math.nan}, "busy_timeout=nan, expected a finite number of seconds"),
        ({"configure": 3}, "configure=3, expected a function"),
        ({"max_age": 0}, "max_age=0, expected a finite number of seconds"),
        ({"name": ""}, "expected a printable, non-empty str"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        sqlite_pool(**({"path": "x"} | options))


@pytest.mark.parametrize(
    "sql", ["BEGIN", " commit", "-- well\nROLLBACK", "/* so */ SAVEPOINT x", "release x", ";end"]
)
async def test_transactions_are_its_own_business(tmp_path: Path, sql: str) -> None:
    async with sqlite_pool(tmp_path / "x") as pool:
        with pytest.raises(ConfigurationError, match="is the pool's own business"):
            await pool.write(sql)
        with pytest.raises(ConfigurationError, match="expected a statement, as a str"):
            await pool.write(b"SELECT 1")  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError, match="timeout=-1, expected a finite number"):
            await trio.to_thread.run_sync(
                functools.partial(pool.write_blocking, "SELECT 1", timeout=-1)
            )
