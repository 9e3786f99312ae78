"""The one thread that writes into an SQLite database; what waits shares a transaction.

A commit takes as long as the disk does, whatever is in it. So all writes that have come meanwhile
go into the next transaction together, each within a savepoint: one that fails is undone alone.
Should a transaction be lost as a whole, its writes are done again, each in one of its own.
"""

from __future__ import annotations

import contextlib
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import outcome
import trio

from ..topics.waiting import TaskWaiter, Waiter
from .at_work import AtWork, current_at_work
from .functions import nothing
from .pending import Pending

__all__ = ["SqliteWriteStatistics", "SqliteWriter", "Write", "Written"]

BATCH = 1000
"""Writes that share a transaction, at most."""

FAILURES = (Exception, SystemExit)


@dataclass(frozen=True, slots=True)
class Written:
    """What a committed write has done.

    Attributes:
        row_count: Rows that were inserted, changed or deleted; -1 for other statements.
        last_row_id: The ``rowid`` of the row that was inserted last, by this or an earlier write.
        rows: What a ``RETURNING`` clause returns.
    """

    row_count: int
    last_row_id: int | None
    rows: tuple[tuple[Any, ...], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SqliteWriteStatistics:
    """The writes of an `SqlitePool` at one instant, counted since it was made.

    ``writes == written + failed + withdrawn + waiting``.

    Attributes:
        writes: Calls of `write` and `write_many`, blocking ones included.
        written: Those that were committed.
        failed: Those whose error was raised where they were called.
        withdrawn: Those that were cancelled before they began.
        waiting: Those that have not ended.
        transactions: Transactions that were committed.
    """

    writes: int
    written: int
    failed: int
    withdrawn: int
    waiting: int
    transactions: int


class Write(Pending[Written]):
    """One statement that writes, with the parameters of one row, or of many."""

    __slots__ = ("many", "parameters", "sql")

    def __init__(self, sql: str, parameters: Any, *, many: bool) -> None:
        super().__init__(holds=True)
        self.sql: str = sql
        self.parameters: Any = parameters
        self.many: bool = many


Queue: TypeAlias = "queue.SimpleQueue[Write | None]"
End: TypeAlias = "outcome.Value[Written] | outcome.Error"


class SqliteWriter:
    """Writes in a thread of its own.

    Arguments:
        connect: Opens its connection, in the thread.
        name: Of the thread.
    """

    def __init__(self, connect: Callable[[], sqlite3.Connection], name: str) -> None:
        self._connect = connect
        self._name = name
        self._lock = threading.Lock()
        self._accepts = False
        self._queue: Queue = queue.SimpleQueue()
        self._at_work: AtWork | None = None
        self._claimed: list[Write] = []
        self._connection: sqlite3.Connection | None = None
        self._is_over = True
        self._closer: Waiter | None = None
        self._writes = self._written = self._failed = self._withdrawn = self._transactions = 0

    def statistics(self) -> SqliteWriteStatistics:
        """A consistent snapshot; any thread."""
        with self._lock:
            ended = self._written + self._failed + self._withdrawn
            return SqliteWriteStatistics(
                writes=self._writes,
                written=self._written,
                failed=self._failed,
                withdrawn=self._withdrawn,
                waiting=self._writes - ended,
                transactions=self._transactions,
            )

    def submit(self, write: Write) -> None:
        """Have it written; any thread.

        Raises:
            trio.ClosedResourceError: It is not open.
        """
        with self._lock:
            if not self._accepts:
                raise trio.ClosedResourceError(f"{self._name} takes no more writes: it was closed")
            self._writes += 1
            self._begins(write)
            self._queue.put(write)

    async def open(self) -> None:
        """Start it, and wait until it has opened the database. A checkpoint.

        Raises:
            sqlite3.Error: It cannot be opened.
        """
        opened: Pending[None] = Pending()
        mine: Queue = queue.SimpleQueue()
        self._at_work = current_at_work()

        def work() -> None:
            self._work(mine, opened)

        def start() -> None:
            self._begins(opened)
            with self._lock:
                self._queue = mine
                self._is_over = False
            try:
                trio.lowlevel.start_thread_soon(work, _ignore, f"{self._name} writer")
            except RuntimeError:  # no thread can be had
                self._is_over = True
                self._is_done(opened)
                raise

        await opened.wait(start)
        with self._lock:
            self._accepts = True

    async def close(self, grace: float, forced: float) -> None:
        """Write what waits, for at most `grace` seconds, and end. A checkpoint, shielded.

        What has not been written then is interrupted, and raises where it was called.
        """
        with self._lock:
            self._accepts = False
            self._queue.put(None)
            if not self._is_over:
                self._begins(self._queue)
        with trio.move_on_after(grace, shield=True):
            await TaskWaiter().wait(self._until_over, nothing)
        if not self._is_over:
            self._drop_what_waits(self._queue)
            if self._connection is not None:
                self._connection.interrupt()
            with trio.move_on_after(forced, shield=True):
                await TaskWaiter().wait(self._until_over, nothing)
        with self._lock:
            lost, self._claimed = self._claimed, []
            self._failed += len(lost)
        self._refuse(lost, "it is not known whether it has been written")

    def _until_over(self, waiter: Waiter) -> bool:
        with self._lock:
            self._closer = waiter
            return not self._is_over

    def _drop_what_waits(self, mine: Queue) -> None:
        dropped: list[Write] = []
        with contextlib.suppress(queue.Empty):
            while True:
                write = mine.get_nowait()
                if write is not None:
                    dropped.append(write)
        mine.put(None)
        with self._lock:
            self._failed += len(dropped)
        self._refuse(dropped, "it has not been written")

    def _refuse(self, writes: Sequence[Write], what: str) -> None:
        for write in writes:
            write.end(outcome.Error(trio.ClosedResourceError(f"{self._name} had to close: {what}")))
            self._is_done(write)

    def _begins(self, work: object) -> None:
        """The thread has this to do, and virtual time waits for it."""
        if self._at_work is not None:
            self._at_work.begin(work)

    def _is_done(self, work: object) -> None:
        """It is done, and who waits for it has been woken."""
        if self._at_work is not None:
            self._at_work.end(work)

    # In the thread

    def _work(self, mine: Queue, opened: Pending[None]) -> None:
        connection: sqlite3.Connection | None = None
        try:
            connection = self._connect()
            with self._lock:
                if self._queue is mine:  # or else it was given up, and opened again
                    self._connection = connection
            if opened.end(outcome.Value(None)):
                self._is_done(opened)
                while (first := mine.get()) is not None:
                    self._write(connection, mine, first)
        except FAILURES as error:
            opened.end(outcome.Error(error))
        finally:
            closer: Waiter | None = None
            with self._lock:
                if self._queue is mine:
                    self._connection = None
            if connection is not None:
                connection.close()
            with self._lock:
                if self._queue is mine:
                    self._accepts = False
                    self._is_over = True
                    closer = self._closer
            self._drop_what_waits(mine)  # nothing, unless something has gone very wrong
            if closer is not None:
                closer.wake()
            self._is_done(opened)
            self._is_done(mine)

    def _write(self, connection: sqlite3.Connection, mine: Queue, first: Write) -> None:
        """Write this one, and those that wait behind it."""
        came = [first]
        for _ in range(min(mine.qsize(), BATCH - 1)):
            more = mine.get()
            if more is None:
                mine.put(None)  # for later: nothing comes behind it
                break
            came.append(more)
        try:
            connection.execute("BEGIN IMMEDIATE")
            trouble = None
        except FAILURES as error:
            trouble = error
        # Until here they could be withdrawn, however long another program has locked the database.
        writes = [write for write in came if write.begin()]
        with self._lock:
            self._withdrawn += len(came) - len(writes)
            self._claimed = writes
        if trouble is None:
            ends = self._transact(connection, writes)
        else:
            ends = [outcome.Error(_copy(trouble)) for _ in writes]
        self._tell(writes, ends)
        for write in came:
            self._is_done(write)

    def _tell(self, writes: list[Write], ends: Sequence[End]) -> None:
        with self._lock:
            if self._claimed is not writes:
                return  # closing could not wait for them
            self._claimed = []
            good = sum(isinstance(end, outcome.Value) for end in ends)
            self._written += good
            self._failed += len(ends) - good
        for write, end in zip(writes, ends, strict=True):
            write.end(end)

    def _transact(self, connection: sqlite3.Connection, writes: list[Write]) -> list[End]:
        """Write all of them in the transaction that has begun, or each in its own."""
        ends = self._attempt(connection, writes)
        if ends is not None:
            return ends
        ends = []
        for write in writes:
            try:
                connection.execute("BEGIN IMMEDIATE")
                ends += self._attempt(connection, [write]) or ()
            except FAILURES as error:
                ends.append(outcome.Error(error))
        return ends

    def _attempt(self, connection: sqlite3.Connection, writes: list[Write]) -> list[End] | None:
        """Write in the transaction that has begun, and commit; None: it was lost as a whole.

        A single one whose transaction is lost has its error.
        """
        ends: list[End] = []
        for write in writes:
            try:
                ends.append(outcome.Value(_execute(connection, write)))
            except FAILURES as error:
                ends.append(outcome.Error(error))
                if not connection.in_transaction:
                    return ends if len(writes) == 1 else None
        try:
            connection.execute("COMMIT")
        except FAILURES as error:
            if connection.in_transaction:
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
            return [outcome.Error(error)] if len(writes) == 1 else None
        with self._lock:
            self._transactions += 1
        return ends


def _execute(connection: sqlite3.Connection, write: Write) -> Written:
    """Within a savepoint, so that it is done completely or not at all."""
    connection.execute("SAVEPOINT one")
    try:
        execute = connection.executemany if write.many else connection.execute
        cursor = execute(write.sql, write.parameters)
        rows = () if cursor.description is None else tuple(cursor.fetchall())
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK TO one")
            connection.execute("RELEASE one")
        raise
    connection.execute("RELEASE one")
    return Written(cursor.rowcount, cursor.lastrowid, rows)


def _copy(error: BaseException) -> BaseException:
    """One for each of those who get it: who raises an exception writes into it."""
    try:
        copy = type(error)(*error.args)
    except TypeError:
        return error
    copy.__cause__ = error
    return copy


def _ignore(_: object) -> None:
    pass
