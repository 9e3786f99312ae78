"""PostgreSQL for ticks: psycopg's connections, which block, in threads of a pool.

A query that is cancelled is cancelled in the server. A connection that the server or the network
has ended is noticed, by who used it or before it is given to anybody, and replaced.
"""

from __future__ import annotations

import contextlib
import math
import select
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from ..errors import ConfigurationError
from .connection_pool import ConnectionPool

if TYPE_CHECKING:
    import psycopg

__all__ = ["PostgresPool", "postgres_pool"]

R = TypeVar("R")

Connection: TypeAlias = "psycopg.Connection[tuple[Any, ...]]"


class PostgresPool(ConnectionPool["Connection"]):
    """Connections to a PostgreSQL server. Made by `postgres_pool`.

    A ``def`` function given to `run` or `run_blocking` is one transaction: committed when it
    returns, rolled back when it raises. Connections from `acquire` are in autocommit mode, and have
    ``connection.transaction()``.
    """

    def _apply(
        self, connection: Connection, function: Callable[..., R], args: tuple[Any, ...]
    ) -> R:
        with connection.transaction():
            return function(connection, *args)

    def _is_fit(self, connection: Connection, error: Exception | None) -> bool | None:
        """It is there, and nobody has left a transaction open."""
        if connection.closed or connection.pgconn.transaction_status != _IDLE:
            return False
        if error is not None and self._options.is_broken is not None:
            return not self._options.is_broken(error)
        return True


_IDLE = 0
"""libpq's PQTRANS_IDLE."""


def postgres_pool(
    conninfo: str = "",
    *,
    size: int = 4,
    check_after: float = 0.5,
    is_broken: Callable[[Exception], object] | None = None,
    max_age: float | None = 3600.0,
    idle_timeout: float | None = 300.0,
    open_timeout: float = 10.0,
    operation_timeout: float | None = None,
    close_grace: float = 2.0,
    backoff: float = 0.1,
    max_backoff: float = 2.0,
    name: str = "postgres",
    **parameters: Any,
) -> PostgresPool:
    """A pool of connections to a PostgreSQL server, by psycopg 3. Needs the extra ``postgres``.

    ::

        database = postgres_pool("host=192.168.0.9 dbname=robot")

        def insert(connection, time, value):
            connection.execute("INSERT INTO log VALUES (%s, %s)", (time, value))

        async with database:
            await database.run(insert, now, 12.5)  # committed

    Arguments:
        conninfo: What libpq understands: ``"host=… dbname=…"`` or ``"postgresql://…"``.
        size: As for `ConnectionPool`.
        check_after: Seconds after which an idle connection is checked before it is used. The
            server is asked only if its end of the line has said something.
        is_broken: As for `ConnectionPool`. None: the connection itself knows.
        max_age: As for `ConnectionPool`.
        idle_timeout: As for `ConnectionPool`.
        open_timeout: As for `ConnectionPool`.
        operation_timeout: As for `ConnectionPool`.
        close_grace: As for `ConnectionPool`. Cancelling a query in the server may take as long.
        backoff: As for `ConnectionPool`.
        max_backoff: As for `ConnectionPool`.
        name: Printable, for messages.
        parameters: More for ``psycopg.connect``, such as ``row_factory`` or ``connect_timeout``.

    Raises:
        ConfigurationError: An argument makes no sense, or psycopg is not installed.
    """
    try:
        import psycopg
        from psycopg.conninfo import conninfo_to_dict
    except ImportError as error:
        raise ConfigurationError(
            f"postgres_pool needs psycopg, which cannot be imported ({error}); install it with: "
            "pip install 'horus-trio[postgres]'"
        ) from error
    if not isinstance(conninfo, str):
        raise ConfigurationError(
            f"postgres_pool(conninfo=…): expected a str for libpq, got a {type(conninfo).__name__}"
        )
    try:
        given = conninfo_to_dict(conninfo)
    except psycopg.Error:
        # What libpq says repeats a part of it, which may be of the password.
        raise ConfigurationError(
            "postgres_pool: libpq does not understand the conninfo; expected 'host=… dbname=…' or "
            "'postgresql://…', in which values with spaces are in quotes, and special characters "
            "in a URL written as %40"
        ) from None
    options: dict[str, Any] = {"autocommit": True, **parameters}

    def connect() -> Connection:
        if "connect_timeout" not in given:
            options.setdefault("connect_timeout", max(2, math.ceil(open_timeout)))
        return psycopg.connect(conninfo, **options)

    def interrupt(connection: Connection) -> None:
        with contextlib.suppress(psycopg.Error):
            connection.cancel_safe(timeout=max(0.1, close_grace))

    return PostgresPool(
        connect,
        size=size,
        close=psycopg.Connection.close,
        check=_is_alive,
        check_after=check_after,
        is_broken=is_broken,
        interrupt=interrupt,
        max_age=max_age,
        idle_timeout=idle_timeout,
        open_timeout=open_timeout,
        operation_timeout=operation_timeout,
        close_grace=close_grace,
        backoff=backoff,
        max_backoff=max_backoff,
        name=name,
    )


def _is_alive(connection: Connection) -> bool:
    """Whether the server is still there: an idle one says nothing, unless it goes away."""
    if connection.closed:
        return False
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN | select.POLLRDHUP)
    if poll.poll(0):
        connection.execute("SELECT 1")
    return not connection.closed
