"""Logging that never blocks the loop: records are made where they arise and handled in a thread.

A handler may block (a terminal that is not read, a full disk), and the loop must not wait for it.
While a `LogThread` is open, what is logged through an `OffLoopLogger` is put into a bounded queue
and handled by one thread; what does not fit is dropped and counted. Outside a run records are
handled at once, as with any logger.
"""

from __future__ import annotations

import collections
import logging
import math
import threading
import traceback
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

import trio

__all__ = ["LogThread", "OffLoopLogger", "Throttle", "engine_logger"]

CAPACITY = 4096
"""Records that may wait to be handled; later ones are dropped and counted."""

JOIN = 0.01
"""Seconds for which the loop may be held up while the log thread ends."""


class LogThread:
    """One thread that hands log records to the handlers of their loggers.

    A context manager; leaving it handles what is queued for at most `grace` seconds.
    """

    def __init__(self, grace: float = 1.0) -> None:
        self.dropped: int = 0
        self._grace = grace
        self._queue: collections.deque[logging.LogRecord] = collections.deque()
        self._wake = threading.Semaphore(0)
        self._closing = False
        self._thread: threading.Thread | None = None
        self._start_lock = threading.Lock()

    def put(self, record: logging.LogRecord) -> None:
        """Queue one record; never waits. Any thread."""
        if self._closing:
            logging.getLogger(record.name).handle(record)
            return
        if len(self._queue) >= CAPACITY:
            self.dropped += 1
            return
        self._queue.append(record)
        if self._thread is None:
            self._start()
        self._wake.release()

    def _start(self) -> None:
        with self._start_lock:  # started by the first record: a silent run has no such thread
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._handle_all, name="horus_trio log", daemon=True
                )
                self._thread.start()

    def _handle_all(self) -> None:
        while True:
            self._wake.acquire()
            if not self._queue:
                return  # the extra release of __exit__
            record = self._queue.popleft()
            try:
                logging.getLogger(record.name).handle(record)
            except Exception:  # noqa: BLE001 - one broken handler must not silence the others
                traceback.print_exc()

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
        if not self._closing:
            self._closing = True
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
        if self._thread is not None:
            self._thread.join(self._grace)
        if self.dropped:
            engine_logger.warning("%d log records were dropped: handlers are slow", self.dropped)


class OffLoopLogger(logging.Logger):
    """A logger whose records are handled by a `LogThread` while one is open.

    It stands in front of the ordinary logger of the same name, so levels, handlers and
    propagation are configured as usual.

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
        thread = self.thread
        if thread is None:
            self._target.handle(record)
            return
        # Text now: arguments may have changed by the time the record is handled, and live
        # frames must not be kept.
        record.msg, record.args = record.getMessage(), None
        if record.exc_info:
            record.exc_text = _formatter.formatException(record.exc_info)
            record.exc_info = None
        thread.put(record)


_formatter = logging.Formatter()

engine_logger: logging.Logger = logging.getLogger("horus_trio")
"""The engine's own logger; the nodes' loggers are its children ``horus_trio.node.NAME``."""


class Throttle:
    """Lets the first of many like messages through, and one in each `interval` after it.

    Arguments:
        interval: Seconds.
    """

    __slots__ = ("_interval", "_next", "_suppressed")

    def __init__(self, interval: float = 10.0) -> None:
        self._interval = interval
        self._next = -math.inf
        self._suppressed = 0

    def admit(self, now: float) -> int | None:
        """How many messages were held back since the last one let through, or None: hold back."""
        if now < self._next:
            self._suppressed += 1
            return None
        self._next = now + self._interval
        suppressed, self._suppressed = self._suppressed, 0
        return suppressed
