"""What a pool's connections lead to, in tests: it counts them, and does what a test wants it to."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import TypeVar

import trio

from horus_trio.helpers import ConnectionPoolStatistics

ConnectionT = TypeVar("ConnectionT", bound="Connection")


class Connection:
    """One end of a line; closed by ``aclose`` on the loop."""

    def __init__(self, server: Server, number: int) -> None:
        self.server = server
        self.number = number
        self.good = True
        self.closed_at: float | None = None

    def __repr__(self) -> str:
        return f"<Connection {self.number}>"

    def hang_up(self) -> None:
        with self.server.lock:
            assert self in self.server.open, "closed twice"
            self.server.open.remove(self)
            self.server.changed.notify_all()

    async def aclose(self) -> None:
        self.closed_at = trio.current_time()
        self.hang_up()
        if self.server.closing_takes:
            await trio.sleep(self.server.closing_takes)


class BlockingConnection(Connection):
    """One that is closed in a thread, and on which a call can hang until it is interrupted."""

    def __init__(self, server: Server, number: int) -> None:
        super().__init__(server, number)
        self.let_go = threading.Event()
        self.interrupted = 0
        self.thread: int | None = None

    aclose = None  # type: ignore[assignment]

    def close(self) -> None:
        self.hang_up()

    def hang(self) -> None:
        if not self.let_go.wait(20):
            raise AssertionError("nobody has ended it")
        self.let_go.clear()
        if self.interrupted:
            raise InterruptedError(f"interrupted {self.number}")

    def interrupt(self) -> None:
        self.interrupted += 1
        self.let_go.set()


class Server:
    """Attributes say what it does; `open` are the connections that are open now."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.open: list[Connection] = []
        self.attempts: list[float] = []
        self.most = 0
        self.made = 0
        self.down = False
        self.takes = 0.0
        self.closing_takes = 0.0
        self.gate = threading.Event()  # where blocking openings wait
        self.gate.set()

    async def connect(self) -> Connection:
        self.attempts.append(trio.current_time())
        await trio.sleep(self.takes)
        return self._accept(Connection)

    def connect_blocking(self) -> BlockingConnection:
        self.gate.wait(20)
        connection = self._accept(BlockingConnection)
        connection.thread = threading.get_ident()
        return connection

    def _accept(self, kind: type[ConnectionT]) -> ConnectionT:
        with self.lock:
            if self.down:
                raise ConnectionRefusedError("nobody listens")
            self.made += 1
            connection = kind(self, self.made)
            self.open.append(connection)
            self.most = max(self.most, len(self.open))
            return connection

    @contextlib.contextmanager
    def leaves_nothing(self) -> Iterator[None]:
        yield
        with self.changed:
            assert self.changed.wait_for(lambda: not self.open, 20), self.open


async def check(connection: Connection) -> bool:
    await trio.lowlevel.checkpoint()
    return connection.good


def balanced(found: ConnectionPoolStatistics) -> ConnectionPoolStatistics:
    """They keep the laws."""
    assert found.attempts == found.opening + found.failed + found.opened, found
    places = found.idle + found.checking + found.in_use + found.leaving + found.left_behind
    assert found.opened == places + found.closed, found
    assert found.acquired == found.in_use + found.released, found
    assert found.opening + found.idle + found.checking + found.in_use <= found.size, found
    return found
