"""Logging that never blocks the loop: records are made where they arise and handled in a thread.

A handler may block (a terminal that is not read, a full disk), and the loop must not wait for it.
While a `LogThread` is open, what is logged through an `OffLoopLogger` is put into a bounded queue
and handled by one thread; what does not fit is dropped and counted. Outside a run records are
handled at once, as with any logger.

A thread that is stuck in a handler cannot be ended, and the handler's lock is gone with it. So the
thread waits, before each record, until the handlers' streams have room; only a handler of another
kind, or a record larger than that room, can hold it. Such handlers are left alone at exit.
"""

from __future__ import annotations

import atexit
import collections
import contextlib
import logging
import select
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import trio

from ..printable import entry

__all__ = ["LogThread", "OffLoopLogger", "PrintableFormatter", "engine_logger"]

CAPACITY = 4096
"""Records that may wait to be handled; later ones are dropped and counted."""

JOIN = 0.01
"""Seconds for which the loop may be held up while the log thread ends."""

LOOK = 0.02
"""Seconds after which a thread that waits for a stream to have room looks up."""

LET_GO = 0.1
"""Seconds for which the interpreter's exit waits for a handler that is stuck."""

TELL_DROPPED = 10.0
"""Seconds between two records that say how many were dropped."""


class LogThread:
    """One thread that hands log records to the handlers of their loggers.

    A context manager; leaving it handles what is queued for at most `grace` seconds. What is left
    then is dropped and counted.

    Attributes:
        dropped: Records that nobody handled.
    """

    def __init__(self, grace: float = 1.0) -> None:
        self.dropped: int = 0
        self._grace = grace
        self._queue: collections.deque[logging.LogRecord] = collections.deque()
        self._wake = threading.Semaphore(0)
        self._closing = False
        self._given_up = False
        self._ended = False  # nobody takes from the queue any more
        self._busy: Sequence[logging.Handler] = ()
        self._told = 0
        self._tell_next = 0.0
        self._thread: threading.Thread | None = None
        self._start_lock = threading.Lock()

    def put(self, record: logging.LogRecord) -> None:
        """Queue one record; never waits. Any thread."""
        if self._given_up or len(self._queue) >= CAPACITY:
            self.dropped += 1
            return
        self._queue.append(record)
        if self._thread is None and not self._closing:
            self._start()
        self._wake.release()
        if self._ended:
            self._handle_queued()

    def _start(self) -> None:
        with self._start_lock:  # started by the first record: a silent run has no such thread
            if self._thread is None:
                thread = threading.Thread(
                    target=self._handle_all, name="horus_trio log", daemon=True
                )
                try:
                    thread.start()
                except RuntimeError:  # no thread can be had; the next record tries again
                    return
                self._thread = thread

    def _handle_all(self) -> None:
        while True:
            self._wake.acquire()
            if not self._queue:
                break  # the extra release of `_close`
            if not self._wait_for_room(self._queue[0]):
                self.dropped += len(self._queue)
                self._queue.clear()
                break
            record = self._queue.popleft()
            self._busy = tuple(_handlers(record))
            self._handle(record)
            self._tell_dropped()
        self._ended = True
        self._handle_queued()  # what came in between

    def _wait_for_room(self, record: logging.LogRecord) -> bool:
        """Wait until the streams that the record goes to would take it; False: given up."""
        for descriptor in _descriptors(record):
            poll = select.poll()
            poll.register(descriptor, select.POLLOUT)
            while not poll.poll(LOOK * 1000):
                if self._given_up:
                    return False
        return True

    def _handle_queued(self) -> None:
        while not self._given_up:
            try:
                record = self._queue.popleft()
            except IndexError:
                return
            self._handle(record)

    def _handle(self, record: logging.LogRecord) -> None:
        try:
            logging.getLogger(record.name).handle(record)
        except Exception:  # noqa: BLE001 - one broken handler must not silence the others
            with contextlib.suppress(OSError, ValueError):  # stderr may be broken, too
                traceback.print_exc()

    def _tell_dropped(self) -> None:
        """Say it once the queue is empty, or now and then."""
        dropped, now = self.dropped, time.monotonic()
        if dropped == self._told or (self._queue and now < self._tell_next):
            return
        self._tell_next = now + TELL_DROPPED
        more, self._told = dropped - self._told, dropped
        self._handle(
            engine_logger.makeRecord(
                engine_logger.name,
                logging.WARNING,
                __file__,
                0,
                "%d log records were dropped: handlers are slow, or nobody reads what they write",
                (more,),
                None,
            )
        )

    async def finish(self) -> None:
        """Handle what is queued, for at most `grace` seconds, without holding the loop up.

        A checkpoint.
        """
        self._close()
        # Short joins rather than a sleep: right under a virtual clock, too.
        while self._thread is not None and self._thread.is_alive() and self._grace > 0:
            self._thread.join(JOIN)
            self._grace -= JOIN
            await trio.lowlevel.checkpoint()
        self._grace = 0.0

    def _close(self) -> None:
        with self._start_lock:
            first, self._closing = not self._closing, True
        if not first:
            return
        if self._thread is None:
            self._ended = True
            self._handle_queued()  # if there was no thread to be had
        else:
            self._wake.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._close()
        thread = self._thread
        if thread is None:
            return
        thread.join(self._grace)
        if not thread.is_alive():
            self._tell_dropped()
            return
        self._given_up = True
        thread.join(2 * LOOK)
        if thread.is_alive():  # in a handler, whose lock it holds
            self.dropped += len(self._queue)
            self._queue.clear()
            atexit.register(_let_go, self._busy)


def _descriptors(record: logging.LogRecord) -> Iterator[int]:
    """The descriptors of the streams that will get a record."""
    for handler in _handlers(record):
        try:
            descriptor = handler.stream.fileno()  # type: ignore[attr-defined]
        except Exception:  # noqa: BLE001 - a stream of whatever kind, or none: not waited for
            continue
        if isinstance(descriptor, int) and descriptor >= 0:
            yield descriptor


def _handlers(record: logging.LogRecord) -> Iterator[logging.Handler]:
    """The handlers that will get a record, as `logging.Logger.callHandlers` finds them."""
    found = False
    logger: logging.Logger | None = logging.getLogger(record.name)
    while logger is not None:
        for handler in logger.handlers:
            found = True
            if record.levelno >= handler.level:
                yield handler
        logger = logger.parent if logger.propagate else None
    if not found and logging.lastResort is not None and record.levelno >= logging.lastResort.level:
        yield logging.lastResort


def _let_go(handlers: Sequence[logging.Handler]) -> None:
    """At exit, before `logging.shutdown`, which would wait for stuck handlers for ever."""
    for handler in handlers:
        lock = handler.lock
        if lock is None:
            continue
        if lock.acquire(timeout=LET_GO):
            lock.release()
            continue
        handler.createLock()
        handler.flush = handler.close = _nothing  # type: ignore[method-assign]


def _nothing() -> None:
    pass


class OffLoopLogger(logging.Logger):
    """A logger whose records are handled by a `LogThread` while one is open.

    It stands in front of the ordinary logger of the same name, so levels, handlers and
    propagation are configured as usual. The text of a record is an `entry`: what a terminal would
    obey is escaped in it, and its further lines are indented.

    Arguments:
        target: The logger that handles the records in the end.
        fields: Called for each record; what it returns is added to the record.
    """

    def __init__(
        self, target: logging.Logger, fields: Callable[[], Mapping[str, Any]] | None = None
    ) -> None:
        super().__init__(target.name)
        self.parent: logging.Logger | None = target
        self._target = target
        self.thread: LogThread | None = None
        self._fields = fields

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - the base class's name
        """Whether the target logs at that level now."""
        return self._target.isEnabledFor(level)

    def handle(self, record: logging.LogRecord) -> None:
        """Add the fields, then queue the record, or handle it here outside a run."""
        if self._fields is not None:
            record.__dict__.update(self._fields())
        # Text now: arguments may have changed by the time the record is handled, and live
        # frames must not be kept. What it quotes may come from anywhere.
        record.msg, record.args = entry(_said(record)), None
        if record.exc_info:
            record.exc_text = entry(_formatter.formatException(record.exc_info))
        if record.stack_info:
            record.stack_info = entry(record.stack_info)
        thread = self.thread
        if thread is None:
            self._target.handle(record)
            return
        record.exc_info = None
        thread.put(record)


def _said(record: logging.LogRecord) -> str:
    """Its text. One that cannot be had must not fail who logs it: logging never does."""
    try:
        return record.getMessage()
    except Exception as error:  # noqa: BLE001 - it is the caller's, and told in the record
        return f"{record.msg!r} with {record.args!r} cannot be formatted: {error!r}"


class PrintableFormatter(logging.Formatter):
    """Formats records of any logger for a terminal, each as one `entry`."""

    def format(self, record: logging.LogRecord) -> str:
        return entry(super().format(record))


_formatter = logging.Formatter()

engine_logger: logging.Logger = logging.getLogger("horus_trio")
"""The engine's own logger; the nodes' loggers are its children ``horus_trio.node.NAME``."""
