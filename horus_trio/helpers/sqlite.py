"""SQLite for ticks: readers beside each other, and one writer whose commits are shared.

SQLite lets one connection write at a time. So there is one, in a thread of its own (see
`SqliteWriter`), and nobody ever finds the database locked by a neighbour. Those who read have
connections of a pool, which cannot write; in WAL mode they wait for nobody.
"""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import trio

from ..errors import ConfigurationError
from ..topics.waiting import refuse_on_loop
from .connection_pool import ConnectionPool
from .helper import check_seconds
from .sqlite_writer import SqliteWriter, SqliteWriteStatistics, Write, Written
from .upkeep import FORCED

__all__ = ["SqlitePool", "sqlite_pool"]

Parameters: TypeAlias = Sequence[Any] | Mapping[str, Any]

SYNCHRONOUS = ("full", "normal", "off")

TRANSACTION = re.compile(
    r"(?:\s|;|--[^\n]*(?:\n|\Z)|/\*.*?\*/)*(BEGIN|COMMIT|END|ROLLBACK|SAVEPOINT|RELEASE)\b",
    re.IGNORECASE | re.DOTALL,
)
"""A statement that would end or begin what the writer ends and begins."""


class SqlitePool(ConnectionPool[sqlite3.Connection]):
    """An SQLite database: `run` and `acquire` to read, `write` to write. Made by `sqlite_pool`.

    The connections given to `run` and `acquire` are read-only. A read that is cancelled is
    interrupted.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        readers: int = 4,
        synchronous: str = "full",
        busy_timeout: float = 5.0,
        configure: Callable[[sqlite3.Connection], object] | None = None,
        max_age: float | None = None,
        idle_timeout: float | None = 60.0,
        open_timeout: float = 10.0,
        operation_timeout: float | None = None,
        close_grace: float = 2.0,
        name: str = "sqlite",
    ) -> None:
        owner = "sqlite_pool"
        if not isinstance(path, (str, os.PathLike)) or not isinstance(os.fspath(path), str):
            raise ConfigurationError(f"{owner}(path={path!r}): expected the path of a file")
        self._path = os.fspath(path)
        if self._path in ("", ":memory:"):
            raise ConfigurationError(
                f"{owner}(path={path!r}): each connection would have a database of its own; use a "
                "file, for example one in /dev/shm, which is in memory"
            )
        if synchronous not in SYNCHRONOUS:
            expected = ", ".join(map(repr, SYNCHRONOUS))
            raise ConfigurationError(
                f"{owner}: synchronous={synchronous!r}, expected one of {expected}"
            )
        if configure is not None and not callable(configure):
            raise ConfigurationError(f"{owner}: configure={configure!r}, expected a function")
        self._synchronous = synchronous
        self._busy_timeout = check_seconds(owner, "busy_timeout", busy_timeout, zero=True)
        self._configure = configure
        super().__init__(
            self._open_reader,
            size=readers,
            close=sqlite3.Connection.close,
            interrupt=sqlite3.Connection.interrupt,
            max_age=max_age,
            idle_timeout=idle_timeout,
            open_timeout=open_timeout,
            operation_timeout=operation_timeout,
            close_grace=close_grace,
            name=name,
        )
        self._writer = SqliteWriter(self._open_writer, f"SqlitePool {name!r}")

    @property
    def path(self) -> str:
        """Of the file."""
        return self._path

    def write_statistics(self) -> SqliteWriteStatistics:
        """What has become of the writes: a consistent snapshot; any thread."""
        return self._writer.statistics()

    async def write(self, sql: str, parameters: Parameters = ()) -> Written:
        """Carry out one statement, and wait until it is committed. A checkpoint.

        Writes that wait at the same time share a transaction; one that fails is undone alone.
        Cancelled before it has begun, nothing is written; after that its end is waited for.

        Arguments:
            sql: One statement. Transactions are not its business.
            parameters: For its ``?``, or its ``:names``.

        Raises:
            sqlite3.Error: The statement failed, or the commit.
            trio.ClosedResourceError: It is not open, or was closed before the statement's turn.
        """
        return await self._write(Write(_statement(sql), parameters, many=False))

    async def write_many(self, sql: str, rows: Iterable[Parameters]) -> Written:
        """`write` for many rows: all of them, or none. A checkpoint."""
        return await self._write(Write(_statement(sql), tuple(rows), many=True))

    def write_blocking(
        self, sql: str, parameters: Parameters = (), *, timeout: float | None = None
    ) -> Written:
        """`write` for threads: blocks this one.

        Arguments:
            sql: One statement.
            parameters: For its ``?``, or its ``:names``.
            timeout: Seconds of real time until it must have begun.

        Raises:
            TimeoutError: It has not begun within `timeout`, and is not written.
            TickAbandoned: The calling tick was abandoned; what had begun is written all the same.
            AsyncCallInThread: Called on the loop, which it would block.
            sqlite3.Error, trio.ClosedResourceError: As `write`.
        """
        write = Write(_statement(sql), parameters, many=False)
        return self._write_blocking("write", write, timeout)

    def write_many_blocking(
        self, sql: str, rows: Iterable[Parameters], *, timeout: float | None = None
    ) -> Written:
        """`write_blocking` for many rows: all of them, or none."""
        write = Write(_statement(sql), tuple(rows), many=True)
        return self._write_blocking("write_many", write, timeout)

    async def _write(self, write: Write) -> Written:
        self._check_open()
        return await write.wait(lambda: self._writer.submit(write))

    def _write_blocking(self, call: str, write: Write, timeout: float | None) -> Written:
        refuse_on_loop(f"SqlitePool.{call}_blocking()", f"await pool.{call}(…)")
        self._check_open()
        if timeout is not None:
            check_seconds(f"SqlitePool {self._name!r}", "timeout", timeout, zero=True)
        return write.wait_blocking(
            lambda: self._writer.submit(write), f"{call}_blocking()", timeout
        )

    # Its life

    async def _opened(self, nursery: trio.Nursery) -> None:
        with trio.fail_after(self._options.open_timeout):
            await self._writer.open()
        try:
            await super()._opened(nursery)
        except BaseException:
            await self._writer.close(self._options.close_grace, FORCED)
            raise

    async def _closing(self) -> None:
        try:
            await self._writer.close(max(self._options.close_grace, FORCED), FORCED)
        finally:
            await super()._closing()

    def _open_writer(self) -> sqlite3.Connection:
        connection = self._open_any()
        try:
            connection.execute("PRAGMA journal_mode = WAL").fetchall()
            connection.execute(f"PRAGMA synchronous = {self._synchronous}")
            if self._configure is not None:
                self._configure(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _open_reader(self) -> sqlite3.Connection:
        connection = self._open_any()
        try:
            if self._configure is not None:
                self._configure(connection)
            connection.execute("PRAGMA query_only = ON")
        except BaseException:
            connection.close()
            raise
        return connection

    def _open_any(self) -> sqlite3.Connection:
        try:
            return sqlite3.connect(
                self._path,
                timeout=self._busy_timeout,
                isolation_level=None,
                check_same_thread=False,
            )
        except sqlite3.Error as error:
            error.add_note(f"the database is {self._path!r}")
            raise

    def _is_fit(self, connection: sqlite3.Connection, error: Exception | None) -> bool:
        """An error of a query leaves the connection as it was; an open transaction would stay."""
        with contextlib.suppress(sqlite3.ProgrammingError):  # it was closed
            return not connection.in_transaction and not isinstance(error, sqlite3.InternalError)
        return False


def sqlite_pool(
    path: str | os.PathLike[str],
    *,
    readers: int = 4,
    synchronous: str = "full",
    busy_timeout: float = 5.0,
    configure: Callable[[sqlite3.Connection], object] | None = None,
    max_age: float | None = None,
    idle_timeout: float | None = 60.0,
    open_timeout: float = 10.0,
    operation_timeout: float | None = None,
    close_grace: float = 2.0,
    name: str = "sqlite",
) -> SqlitePool:
    """A pool for an SQLite database in a file, which is made if it is not there.

    ::

        database = sqlite_pool("robot.sqlite3")

        async with database:
            await database.write("INSERT INTO log VALUES (?, ?)", (now, "started"))
            rows = await database.run(lambda c: c.execute("SELECT * FROM log").fetchall())

    Arguments:
        path: Of the file. The database is in WAL mode, so two more files lie beside it meanwhile.
        readers: Connections for reading, see `ConnectionPool`.
        synchronous: What a commit waits for. ``"full"``: what is acknowledged is on the disk;
            ``"normal"``: a power cut may lose the last commits, a crash of the program does not;
            ``"off"``: a power cut may destroy the database.
        busy_timeout: Seconds to wait while another program writes.
        configure: Called with each connection when it is opened, in a thread: for a row factory,
            functions, pragmas.
        max_age: As for `ConnectionPool`.
        idle_timeout: As for `ConnectionPool`.
        open_timeout: As for `ConnectionPool`.
        operation_timeout: As for `ConnectionPool`: for reading.
        close_grace: Seconds for which closing waits for readers, and before for what is still to be
            written.
        name: Printable, for messages.

    Raises:
        ConfigurationError: An argument makes no sense.
    """
    return SqlitePool(
        path,
        readers=readers,
        synchronous=synchronous,
        busy_timeout=busy_timeout,
        configure=configure,
        max_age=max_age,
        idle_timeout=idle_timeout,
        open_timeout=open_timeout,
        operation_timeout=operation_timeout,
        close_grace=close_grace,
        name=name,
    )


def _statement(sql: object) -> str:
    if not isinstance(sql, str):
        raise ConfigurationError(f"SqlitePool.write({sql!r:.80}): expected a statement, as a str")
    if match := TRANSACTION.match(sql):
        raise ConfigurationError(
            f"SqlitePool.write({sql!r:.80}): {match[1].upper()} is the pool's own business; what "
            "has to be done as a whole is one statement, or write_many"
        )
    return sql
