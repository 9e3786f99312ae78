"""Result callbacks: called on the loop, counted when they raise, dropped when they keep raising."""

from __future__ import annotations

from collections.abc import Callable

from ..executor import AsyncIOExecutor
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

    def join(self, executor: AsyncIOExecutor) -> None:
        """Observe the results of one executor."""

        def deliver(result: AsyncResult) -> None:
            try:
                self.callback(result)
            except Exception:
                self.errors += 1
                self.streak += 1
                executor.log.exception("result callback %r failed", self.callback)
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
