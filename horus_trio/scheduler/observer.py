"""Result callbacks: called on the loop, counted when they raise, dropped when they keep raising."""

from __future__ import annotations

from collections.abc import Callable

from ..executor import AsyncIOExecutor
from ..logs import ErrorLog, text_of
from ..messages import AsyncResult

__all__ = ["PATIENCE", "Observer"]

PATIENCE = 10
"""Errors in a row after which a callback is dropped."""


class Observer:
    """A result callback and its record."""

    def __init__(self, callback: Callable[[AsyncResult], object]) -> None:
        self.callback = callback
        self.errors = 0
        self.streak = 0
        self._log: ErrorLog | None = None

    def join(self, executor: AsyncIOExecutor) -> None:
        """Observe the results of one executor, until `leave`."""
        log = self._log = ErrorLog(executor.log, executor.clock)
        failed = f"result callback {self.callback!r} failed"

        def deliver(result: AsyncResult) -> None:
            try:
                self.callback(result)
            except Exception as error:  # noqa: BLE001 - told, counted, and in the end dropped
                self.errors += 1
                self.streak += 1
                log.tell(failed, error, text_of(error))
                if self.streak >= PATIENCE:
                    executor.log.error(
                        "result callback %r failed %d times in a row and is dropped",
                        self.callback,
                        PATIENCE,
                    )
                    executor.observers.remove(deliver)
            else:
                self.streak = 0

        if self.streak < PATIENCE:
            executor.observers.append(deliver)

    def leave(self) -> None:
        """The run is over: log what was held back."""
        if self._log is not None:
            self._log.close()
