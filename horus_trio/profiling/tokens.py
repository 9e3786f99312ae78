"""`MeteredLimiter`: a limiter that knows for how long how many of its tokens were taken.

It stands before the pool's own limiter for one run. Tokens are taken and given back on the loop
only, so each change is an event with an instant, and the figures are exact: nothing is polled.
"""

from __future__ import annotations

import collections
from collections.abc import Callable

import trio

__all__ = ["MeteredLimiter"]


class MeteredLimiter:
    """Like the `trio.CapacityLimiter` before which it stands. Everything on the loop.

    Arguments:
        limiter: The real one; others may take tokens of it, too.
        clock: The run's clock, in seconds.
        keep: Changes that are kept, the latest ones.

    Attributes:
        changes: Instant, tokens taken, calls waiting.
    """

    def __init__(
        self, limiter: trio.CapacityLimiter, clock: Callable[[], float], keep: int
    ) -> None:
        self.limiter: trio.CapacityLimiter = limiter
        self.changes: collections.deque[tuple[float, int, int]] = collections.deque(maxlen=keep)
        self._clock = clock
        self._at = clock()
        self._taken = limiter.borrowed_tokens
        self._waiting = self._waited = 0
        self._taken_seconds = self._waiting_seconds = self._full_seconds = 0.0

    def __repr__(self) -> str:
        return f"<MeteredLimiter before {self.limiter!r}>"

    @property
    def total_tokens(self) -> float:
        """As of the real one."""
        return self.limiter.total_tokens

    @property
    def borrowed_tokens(self) -> int:
        """As of the real one."""
        return self.limiter.borrowed_tokens

    @property
    def available_tokens(self) -> float:
        """As of the real one."""
        return self.limiter.available_tokens

    def statistics(self) -> object:
        """As of the real one."""
        return self.limiter.statistics()

    def acquire_on_behalf_of_nowait(self, borrower: object) -> None:
        """As of the real one."""
        self.limiter.acquire_on_behalf_of_nowait(borrower)
        self._note()

    async def acquire_on_behalf_of(self, borrower: object) -> None:
        """As of the real one. A checkpoint."""
        self._waiting += 1
        self._note()
        try:
            await self.limiter.acquire_on_behalf_of(borrower)
        finally:
            self._waiting -= 1
            self._note()

    def release_on_behalf_of(self, borrower: object) -> None:
        """As of the real one."""
        self.limiter.release_on_behalf_of(borrower)
        self._note()

    def seconds(self, now: float) -> tuple[float, float, float]:
        """Token-seconds taken, call-seconds waited, seconds without a free token; any thread."""
        span = now - self._at
        return (
            self._taken_seconds + span * self._taken,
            self._waiting_seconds + span * self._waited,
            self._full_seconds + (span if self._is_full else 0.0),
        )

    @property
    def _is_full(self) -> bool:
        return self._taken >= self.limiter.total_tokens

    def _note(self) -> None:
        now = self._clock()
        self._taken_seconds, self._waiting_seconds, self._full_seconds = self.seconds(now)
        self._at = now
        self._taken, self._waited = self.limiter.borrowed_tokens, self._waiting
        self.changes.append((now, self._taken, self._waiting))
