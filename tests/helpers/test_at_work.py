"""Virtual time stands still while a thread of a helper works, whichever helper it is."""

from __future__ import annotations

import sqlite3
import threading
import time
from pathlib import Path

import pytest
import trio
from helpers.patience import eventually

from horus_trio import AsyncNode, Node
from horus_trio.helpers import AsyncHelper, BatchProcessor, ConnectionPool, sqlite_pool
from horus_trio.helpers.at_work import AtWork, current_at_work
from horus_trio.helpers.attempt import Attempt, Caller, Threads
from horus_trio.testing import HarnessError, open_harness
from horus_trio.topics.bell import current_bell

REAL = 0.02
"""Seconds a thread really works, in which virtual time would pass by far, if it moved."""

TIMEOUT = 0.5
"""Virtual seconds."""

LONG = (
    "INSERT INTO numbers WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT "
    "50000) SELECT max(x) FROM n"
)


async def test_what_is_begun_counts_until_it_has_ended() -> None:
    at_work = current_at_work()
    assert current_at_work() is at_work
    assert at_work.count() == 0
    one, two = object(), object()
    at_work.begin(one)
    at_work.begin(two)
    assert at_work.count() == 2
    at_work.end(one)
    at_work.end(one)
    assert at_work.count() == 1
    at_work.end(two)
    at_work.end(object())
    assert at_work.count() == 0


class Wakings:
    """Stands in for the loop's token."""

    def __init__(self) -> None:
        self.count = 0

    def run_sync_soon(self, function: object, *args: object, idempotent: bool) -> None:
        self.count += 1


async def test_who_has_asked_is_woken_once_when_it_becomes_less() -> None:
    at_work = current_at_work()
    at_work._token = wakings = Wakings()  # type: ignore[assignment]
    works = [object() for _ in range(3)]
    for work in works:
        at_work.begin(work)
    at_work.end(works[0])
    assert wakings.count == 0  # nobody has asked
    assert at_work.count() == 2
    at_work.end(works[1])
    assert wakings.count == 1
    at_work.end(works[2])
    assert wakings.count == 1


async def test_a_thread_that_is_about_to_wake_the_loop_does_not_seem_to_rest() -> None:
    """Others rely on whoever has armed the bell; until that one has rung, time has to stand."""
    bell = current_bell()
    at_work = current_at_work()
    armed: list[bool] = []

    class Looks(Wakings):
        def run_sync_soon(self, function: object, *args: object, idempotent: bool) -> None:
            armed.append(bell._armed)

    at_work._token = Looks()  # type: ignore[assignment]
    at_work.begin(1)
    at_work.count()
    await trio.to_thread.run_sync(at_work.end, 1)
    assert armed == [False]


async def test_work_may_end_after_its_run() -> None:
    async def other_run() -> AtWork:
        at_work = current_at_work()
        at_work.begin(1)
        assert at_work.count() == 1
        return at_work

    def run() -> None:
        trio.run(other_run).end(1)

    await trio.to_thread.run_sync(run)


async def test_a_batch_that_takes_real_time_is_not_timed_out() -> None:
    done: list[int] = []

    def process(batch: list[int]) -> None:
        time.sleep(REAL)
        done.extend(batch)

    batches = BatchProcessor(process, batch_size=2, process_timeout=TIMEOUT)

    class Adds(AsyncNode):
        async def tick_async(self) -> None:
            batches.add(len(done))

    async with open_harness(Adds("adds", rate=10, helpers=[batches])) as h:
        await h.advance(2)
        assert len(done) >= 18
        assert batches.statistics().failures == 0


async def test_a_batch_that_is_left_behind_counts_until_it_has_returned() -> None:
    """Or else what it says at last would come at any time."""
    go_on = threading.Event()
    at_work = current_at_work()

    def process(batch: list[int]) -> None:
        go_on.wait(20)

    async with BatchProcessor(process, batch_size=1, process_timeout=0.01, retries=0) as batches:
        batches.add(1)
        await eventually(lambda: batches.statistics().failures)
        assert at_work.count() == 1
        go_on.set()
        await eventually(lambda: not at_work.count())


async def test_a_call_that_is_cancelled_before_it_has_a_thread_leaves_none_behind() -> None:
    calls: list[object] = []
    threads, attempt = Threads(1), Attempt()
    with trio.CancelScope() as scope:
        scope.cancel()
        await Caller[int]("process", calls.append, None, threads).call(attempt, [1])
    assert scope.cancelled_caught
    assert not attempt.in_thread
    assert (len(threads), current_at_work().count(), calls) == (0, 0, [])


async def test_a_pools_call_that_takes_real_time_is_not_timed_out() -> None:
    def connect() -> list[int]:
        time.sleep(REAL)
        return []

    def use(connection: list[int]) -> int:
        time.sleep(REAL)
        connection.append(1)
        return len(connection)

    pool = ConnectionPool(
        connect, size=2, open_timeout=TIMEOUT, operation_timeout=TIMEOUT, close_grace=TIMEOUT
    )
    took: list[float] = []

    class Uses(AsyncNode):
        async def tick_async(self) -> None:
            start = self.now
            await pool.run(use)
            took.append(self.now - start)

    async with open_harness(Uses("uses", rate=10, helpers=[pool])) as h:
        await h.advance(1)
    assert took == [0.0] * len(took)
    assert len(took) >= 9


async def test_an_interrupt_that_takes_real_time_is_waited_for() -> None:
    interrupted: list[list[int]] = []

    def interrupt(connection: list[int]) -> None:
        time.sleep(REAL)
        interrupted.append(connection)

    seen: list[int] = []

    class Holds(AsyncNode):
        async def init(self) -> None:
            async with ConnectionPool(
                list[int], size=1, interrupt=interrupt, close_grace=TIMEOUT
            ) as pool:
                held = trio.Event()
                self.start_soon(self.hold, pool, held)
                await held.wait()
            seen.append(len(interrupted))

        async def hold(self, pool: ConnectionPool[list[int]], held: trio.Event) -> None:
            async with pool.acquire():
                held.set()
                await trio.sleep(10 * TIMEOUT)

        async def tick_async(self) -> None:
            pass

    async with open_harness(Holds("holds", rate=10)):
        assert seen == [1]


async def test_opening_and_writing_of_sqlite_take_no_virtual_time(tmp_path: Path) -> None:
    def prepare(connection: sqlite3.Connection) -> None:
        time.sleep(REAL)

    with sqlite3.connect(tmp_path / "numbers.db") as connection:
        connection.execute("CREATE TABLE numbers (number INTEGER)")
    connection.close()
    pool = sqlite_pool(
        tmp_path / "numbers.db",
        configure=prepare,
        close_grace=TIMEOUT,
        open_timeout=TIMEOUT,
    )
    took: list[float] = []

    class Writes(AsyncNode):
        async def tick_async(self) -> None:
            start = self.now
            await pool.write(LONG)
            took.append(self.now - start)

    async with open_harness(Writes("writes", rate=10, helpers=[pool])) as h:
        await h.advance(1)
    assert took == [0.0] * len(took)
    assert len(took) >= 9
    with sqlite3.connect(tmp_path / "numbers.db") as connection:
        (rows,) = connection.execute("SELECT count(*) FROM numbers").fetchone()
    connection.close()
    assert rows == len(took)


async def test_a_database_whose_opening_is_cancelled_at_once_leaves_nothing(tmp_path: Path) -> None:
    """It has no thread, so closing does not wait for one."""
    with trio.CancelScope() as scope:
        scope.cancel()
        async with sqlite_pool(tmp_path / "numbers.db", close_grace=1000):
            raise AssertionError("it was not cancelled")
    assert scope.cancelled_caught
    await eventually(lambda: not current_at_work().count())


async def test_a_thread_that_hangs_is_reported_by_the_harness() -> None:
    go_on = threading.Event()

    def hang(batch: list[int]) -> None:
        go_on.wait(20)

    batches = BatchProcessor(hang, batch_size=1)

    async def tick(node: Node) -> None:
        batches.add(1)

    async with open_harness(
        Node("node", tick=tick, rate=10, helpers=[batches]), real_limit=0.2
    ) as h:
        try:
            with pytest.raises(HarnessError, match="of a helper, has really worked for more than"):
                await h.advance(1)
        finally:
            go_on.set()


async def test_every_helper_is_at_rest_in_the_end(tmp_path: Path) -> None:
    """Nothing that has been begun is forgotten: time would stand still for ever."""
    at_work = current_at_work()
    for _ in range(3):
        async with (
            sqlite_pool(tmp_path / "numbers.db") as pool,
            AsyncHelper() as helper,
            BatchProcessor[int](len, batch_size=1) as batches,
            ConnectionPool(list[int], size=2) as connections,
        ):
            await pool.write("CREATE TABLE IF NOT EXISTS numbers (number INTEGER)")
            with pytest.raises(sqlite3.Error):
                await pool.write("INSERT INTO nothing VALUES (1)")
            with trio.move_on_after(0):
                await pool.write("INSERT INTO numbers VALUES (1)")
            await helper.submit_wait(len, ())
            helper.cancel(helper.submit(len, ()))
            batches.add(1)
            await connections.run(len)
            with trio.move_on_after(0):
                await connections.run(len)
        await eventually(lambda: not at_work.count())
