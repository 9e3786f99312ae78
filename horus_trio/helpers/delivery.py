"""How a batch is got rid of: processed, tried again, and buried where that is of no use.

One batch is delivered at a time. What the user's functions raise is told here, and never comes out
of here, except where they were cancelled.
"""

from __future__ import annotations

import enum
import functools
import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeAlias, TypeVar

import trio

from ..errors import ConfigurationError
from ..logs import ErrorLog, OffLoopLogger, headline, text_of
from .attempt import Attempt, Caller, Threads, TimedOut
from .dead_letters import append_lines
from .helper import check_count, check_seconds

__all__ = ["DeadLetter", "Delivered", "Delivery"]

T = TypeVar("T")

DeadLetter: TypeAlias = Callable[[list[T], BaseException], object] | str | os.PathLike[str]

LEFT_BEHIND = 8
"""How many threads of ``def`` functions may be left behind."""

LOG: OffLoopLogger = OffLoopLogger(logging.getLogger("horus_trio.helpers"))


class Delivered(enum.Enum):
    """What became of a batch."""

    PROCESSED = enum.auto()
    DEAD = enum.auto()
    NOT = enum.auto()


class Delivery(Generic[T]):
    """Has batches processed, as `BatchProcessor` says; its arguments are that one's.

    Attributes:
        failures: Calls that have failed, and those that were too slow.
        timeouts: Calls that were too slow.
        last_error: The latest error in one line, or None.
        threads: Those of calls that were left behind.
    """

    def __init__(
        self,
        owner: str,
        lock: threading.Lock,
        process: Callable[[list[T]], object],
        dead_letter: DeadLetter[T] | None,
        process_timeout: float | None,
        *,
        retries: int,
        backoff: float,
        max_backoff: float,
    ) -> None:
        if not callable(process):
            raise ConfigurationError(f"{owner}: process={process!r:.80}, expected a function")
        if process_timeout is not None:
            process_timeout = check_seconds(owner, "process_timeout", process_timeout)
        self._owner = owner
        self._lock = lock
        self._retries = check_count(owner, "retries", retries, least=0)
        self._backoff = check_seconds(owner, "backoff", backoff, zero=True)
        self._max_backoff = check_seconds(owner, "max_backoff", max_backoff, zero=True)
        self.threads: Threads = Threads(LEFT_BEHIND)
        self._process = Caller[T]("process", process, process_timeout, self.threads)
        self._dead_letter: Caller[T] | None = None
        if dead_letter is not None:
            function = _function_of(owner, dead_letter)
            self._dead_letter = Caller("dead_letter", function, process_timeout, self.threads)
        self._attempts: list[Attempt] = []
        self._hurry = trio.Event()
        self._errors = ErrorLog(LOG, trio.current_time)
        self.failures: int = 0
        self.timeouts: int = 0
        self.last_error: str | None = None

    # Its life

    def open(self, clock: Callable[[], float]) -> None:
        """Begin anew, telling errors by that clock."""
        self._hurry = trio.Event()
        self._errors = ErrorLog(LOG, clock)

    def hurry(self) -> None:
        """Cut short the pause it is in; later ones are waited for. On the loop."""
        self._hurry.set()

    def close(self) -> None:
        """Say how often errors have come that were not told one by one."""
        self._errors.close()

    # A batch

    def begin(self) -> None:
        """There is another batch, at which there was no attempt yet; any thread."""
        self._attempts = []

    @property
    def has_succeeded(self) -> bool:
        """Whether an attempt at this batch that was too slow has come to a good end by now."""
        return any(attempt.succeeded for attempt in self._attempts)

    async def deliver(self, batch: list[T]) -> Delivered:
        """Have it processed, or buried; a checkpoint, unless an ``async`` function has none."""
        delay = self._backoff
        error = await self._call(self._process, batch)
        for _ in range(self._retries):
            if error is None:
                break
            await self._pause(min(delay, self._max_backoff))
            delay = min(2 * delay, self._max_backoff)
            error = None if self.has_succeeded else await self._call(self._process, batch)
        if error is None or self.has_succeeded:
            return Delivered.PROCESSED
        if self._dead_letter is None or await self._call(self._dead_letter, batch, error):
            return Delivered.NOT
        return Delivered.DEAD

    async def _call(
        self, function: Caller[T], batch: list[T], *args: object
    ) -> BaseException | None:
        """Call it; what went wrong."""
        attempt = Attempt()
        if function is self._process:
            self._attempts.append(attempt)
        error = await function.call(attempt, batch, *args)
        if error is not None:
            with self._lock:
                self.failures += 1
                self.timeouts += isinstance(error, TimedOut)
            self.tell(error)
        return error

    async def _pause(self, seconds: float) -> None:
        """Wait before another attempt."""
        if self._hurry.is_set():
            await trio.sleep(seconds)
            return
        with trio.move_on_after(seconds):
            await self._hurry.wait()

    def tell(self, error: BaseException) -> None:
        """Log an error, unless the like was logged a moment ago."""
        self.last_error = headline(error)
        self._errors.tell(f"{self._owner} failed", error, text_of(error))


def _function_of(owner: str, dead_letter: object) -> Callable[..., object]:
    if callable(dead_letter):
        return dead_letter
    if isinstance(dead_letter, (str, os.PathLike)) and os.fspath(dead_letter):
        path = os.fspath(dead_letter)
        if isinstance(path, str):
            return functools.partial(append_lines, str(Path(path).absolute()))
    raise ConfigurationError(
        f"{owner}: dead_letter={dead_letter!r:.80}, expected a function of the items and the "
        "error, or the path of a file"
    )
