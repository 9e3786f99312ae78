"""What the connection pools cost beside thread versions that are straightforward to write.

Those are: a `queue.Queue` with connections in it, from which threads take one and put it back;
worker threads with a connection each, which take functions from a `queue.Queue` and put what comes
of them into the caller's; and a thread that writes into SQLite what a `queue.Queue` holds, all in
one transaction. Where threads call the one, tasks call the other: that is what nodes are.
"""

from __future__ import annotations

import concurrent.futures
import queue
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import trio
from _compare import Target, compare, print_machine
from _quick import either

from horus_trio.helpers import ConnectionPool, sqlite_pool

SIZE = 4
USERS = 8
USES = either(4_000, 50)
CALLS = either(1_000, 20)
WRITERS = 16
WRITES = either(400, 10)
REPETITIONS = either(9, 1)

MAKE = "CREATE TABLE log (time REAL, value REAL)"
INSERT = "INSERT INTO log VALUES (?, ?)"


class Connection:
    """Is not connected to anything."""

    def close(self) -> None:
        pass


def ask(connection: Connection, number: int) -> int:
    return number


def by_threads(user: Callable[[], object], users: int, each: int) -> float:
    """Microseconds for each use, by so many threads."""
    threads = [threading.Thread(target=user) for _ in range(users)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return (time.perf_counter() - began) / (users * each) * 1e6


async def by_tasks(user: Callable[[], Any], users: int, each: int) -> float:
    """The same by tasks."""
    began = time.perf_counter()
    async with trio.open_nursery() as nursery:
        for _ in range(users):
            nursery.start_soon(user)
    return (time.perf_counter() - began) / (users * each) * 1e6


# Taking a connection and giving it back


def queue_of_connections(users: int) -> float:
    connections: queue.Queue[Connection] = queue.Queue()
    for _ in range(SIZE):
        connections.put(Connection())

    def user() -> None:
        for _ in range(USES):
            connection = connections.get()
            try:
                ask(connection, 1)
            finally:
                connections.put(connection)

    return by_threads(user, users, USES)


def our_acquire(users: int) -> float:
    async def main() -> float:
        async with ConnectionPool(Connection, size=SIZE) as pool:

            async def user() -> None:
                for _ in range(USES):
                    async with pool.acquire() as connection:
                        ask(connection, 1)

            await user()
            return await by_tasks(user, users, USES)

    return trio.run(main)


def our_acquire_blocking(users: int) -> float:
    async def main() -> float:
        async with ConnectionPool(Connection, size=SIZE) as pool:

            def user() -> None:
                for _ in range(USES):
                    with pool.acquire_blocking() as connection:
                        ask(connection, 1)

            return await trio.to_thread.run_sync(by_threads, user, users, USES)

    return trio.run(main)


# Having a function called with a connection


def workers_with_a_queue() -> float:
    jobs: queue.Queue[Any] = queue.Queue()

    def work() -> None:
        connection = Connection()
        while (job := jobs.get()) is not None:
            function, args, replies = job
            try:
                replies.put((function(connection, *args), None))
            except Exception as error:  # noqa: BLE001 - the caller's
                replies.put((None, error))

    def user() -> None:
        replies: queue.Queue[Any] = queue.Queue()
        for number in range(CALLS):
            jobs.put((ask, (number,), replies))
            result, error = replies.get()
            if error is not None or result != number:
                raise SystemExit("another answer")

    workers = [threading.Thread(target=work) for _ in range(SIZE)]
    for worker in workers:
        worker.start()
    try:
        return by_threads(user, USERS, CALLS)
    finally:
        for _ in workers:
            jobs.put(None)
        for worker in workers:
            worker.join()


def bare_hand_overs() -> float:
    """Only to a thread and back, with what Trio has for it: nothing can be cancelled or fail."""

    async def main() -> float:
        token = trio.lowlevel.current_trio_token()
        turn = trio.CapacityLimiter(SIZE)

        def work(jobs: queue.SimpleQueue[Any]) -> None:
            while (task := jobs.get()) is not None:
                token.run_sync_soon(trio.lowlevel.reschedule, task)

        free: list[queue.SimpleQueue[Any]] = [queue.SimpleQueue() for _ in range(SIZE)]
        threads = [threading.Thread(target=work, args=(jobs,)) for jobs in free]
        for thread in threads:
            thread.start()

        async def user() -> None:
            for _ in range(CALLS):
                async with turn:
                    jobs = free.pop()
                    jobs.put(trio.lowlevel.current_task())
                    await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.FAILED)
                    free.append(jobs)

        taken = await by_tasks(user, USERS, CALLS)
        for jobs in free:
            jobs.put(None)
        return taken

    return trio.run(main)


def our_run() -> float:
    async def main() -> float:
        async with ConnectionPool(Connection, size=SIZE) as pool:

            async def user() -> None:
                for number in range(CALLS):
                    if await pool.run(ask, number) != number:
                        raise SystemExit("another answer")

            return await by_tasks(user, USERS, CALLS)

    return trio.run(main)


# Writing into SQLite


def writer_with_a_queue() -> float:
    jobs: queue.Queue[Any] = queue.Queue()

    def work(path: Path) -> None:
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = full")
        connection.execute(MAKE)
        job = jobs.get()
        while job is not None:
            batch = [job]
            job = None
            while True:
                try:
                    more = jobs.get_nowait()
                except queue.Empty:
                    break
                batch.append(more)
            connection.execute("BEGIN IMMEDIATE")
            for entry in batch:
                if entry is not None:
                    connection.execute(entry[0], entry[1])
            connection.execute("COMMIT")
            for entry in batch:
                if entry is not None:
                    entry[2].set_result(None)
            if None in batch:
                break
            job = jobs.get()
        connection.close()

    def user() -> None:
        for number in range(WRITES):
            future: concurrent.futures.Future[None] = concurrent.futures.Future()
            jobs.put((INSERT, (number, 1.5), future))
            future.result()

    with tempfile.TemporaryDirectory() as folder:
        writer = threading.Thread(target=work, args=(Path(folder) / "log",))
        writer.start()
        try:
            return by_threads(user, WRITERS, WRITES)
        finally:
            jobs.put(None)
            writer.join()


def our_write() -> float:
    async def main(path: Path) -> float:
        async with sqlite_pool(path) as pool:
            await pool.write(MAKE)

            async def user() -> None:
                for number in range(WRITES):
                    await pool.write(INSERT, (number, 1.5))

            return await by_tasks(user, WRITERS, WRITES)

    with tempfile.TemporaryDirectory() as folder:
        return trio.run(main, Path(folder) / "log")


TASK = "a checkpoint of Trio alone takes about twice as long as the queue does"
IN_LINE = "nobody is overtaken, so each connection that is given back is a switch of threads"
CHECKS = "an abandoned tick, a closed pool and a bad connection are looked for each time"
WAKES = "bare hand-overs between loop and threads miss it; a turn and a cancel scope are added"


def main() -> None:
    print_machine()
    compare(
        f"{USERS} users take {SIZE} connections in turn, and give them back",
        "us",
        {
            "threads, queue.Queue": lambda: queue_of_connections(USERS),
            "tasks, acquire": lambda: our_acquire(USERS),
            "threads, acquire_blocking": lambda: our_acquire_blocking(USERS),
        },
        base="threads, queue.Queue",
        repetitions=REPETITIONS,
        targets={
            "tasks, acquire": Target(at_most=1.5, why_missed=TASK),
            "threads, acquire_blocking": Target(at_most=1.5, why_missed=IN_LINE),
        },
    )
    compare(
        "one user takes a connection, and gives it back",
        "us",
        {
            "thread, queue.Queue": lambda: queue_of_connections(1),
            "task, acquire": lambda: our_acquire(1),
            "thread, acquire_blocking": lambda: our_acquire_blocking(1),
        },
        base="thread, queue.Queue",
        repetitions=REPETITIONS,
        targets={
            "task, acquire": Target(at_most=1.5, why_missed=TASK),
            "thread, acquire_blocking": Target(at_most=1.5, why_missed=CHECKS),
        },
    )
    compare(
        f"{USERS} users have a def function called with one of {SIZE} connections",
        "us",
        {
            "threads, queue.Queue": workers_with_a_queue,
            "tasks, bare hand-overs": bare_hand_overs,
            "tasks, run": our_run,
        },
        base="threads, queue.Queue",
        repetitions=REPETITIONS,
        targets={"tasks, run": Target(at_most=1.5, why_missed=WAKES)},
    )
    compare(
        f"{WRITERS} users write into SQLite, each one waiting for its commit",
        "us",
        {"threads, queue.Queue": writer_with_a_queue, "tasks, write": our_write},
        base="threads, queue.Queue",
        repetitions=REPETITIONS,
        targets={"tasks, write": Target(at_most=1.5)},
    )


if __name__ == "__main__":
    main()
