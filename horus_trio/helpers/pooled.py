"""A connection of a pool, and what is told about all of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import trio

from ..errors import HorusError
from ..topics.waiting import Waiter
from .pending import CallThread, ThreadCall

__all__ = ["ConnectionPoolStatistics", "PoolUnavailable", "Pooled"]

ConnT = TypeVar("ConnT")


class PoolUnavailable(HorusError, ConnectionError):
    """There is no connection, and none can be opened; the ``__cause__`` is why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionPoolStatistics:
    """A pool at one instant, counted since it was made.

    ``attempts == opening + failed + opened``, and
    ``opened == idle + checking + in_use + leaving + left_behind + closed``, and
    ``acquired == in_use + released``.

    Attributes:
        name: Its name.
        size: Connections it may have.
        waiting: Tasks and threads that wait for one.
        attempts: How often `connect` was called.
        opening: Calls that have not ended.
        failed: Calls that raised, took too long or were cancelled.
        opened: Calls that brought a connection.
        idle: Connections that are free.
        checking: Connections that are being checked.
        in_use: Connections that somebody has.
        leaving: Connections that are being closed.
        left_behind: Connections that somebody else has still to let go of, so that they can be
            closed: their calls did not come to an end.
        closed: Connections that are gone.
        acquired: How often one was given to somebody.
        released: How often one came back, or was taken away.
        discarded: Connections that were thrown away because they were bad, or not known to be good.
        last_error: What `connect`, `check` or `close` raised last, as text, or None.
    """

    name: str
    size: int
    waiting: int
    attempts: int
    opening: int
    failed: int
    opened: int
    idle: int
    checking: int
    in_use: int
    leaving: int
    left_behind: int
    closed: int
    acquired: int
    released: int
    discarded: int
    last_error: str | None


class Pooled(Generic[ConnT]):
    """One connection, and what is known about it.

    Attributes:
        connection: The user's.
        thread: Where ``def`` functions that are given the connection run.
        call: The latest one there.
        scope: Of what runs with the connection on the loop.
        opened_at: On Trio's clock.
        idle_since: On Trio's clock.
        is_spoiled: Something was cancelled in the middle.
        is_taken: It was taken away from whoever had it.
        is_returned: Who had it has finished all the same.
        is_left_behind: Nobody waits any more for that.
        is_closed: It is gone.
        on_return: Whom to wake when it is returned.
    """

    __slots__ = (
        "call",
        "connection",
        "idle_since",
        "is_closed",
        "is_left_behind",
        "is_returned",
        "is_spoiled",
        "is_taken",
        "on_return",
        "opened_at",
        "scope",
        "thread",
    )

    connection: ConnT

    def __init__(self, name: str) -> None:
        self.thread: CallThread = CallThread(name)
        self.call: ThreadCall[Any] | None = None
        self.scope: trio.CancelScope | None = None
        self.opened_at: float = math.nan
        self.idle_since: float = math.nan
        self.is_spoiled: bool = False
        self.is_taken: bool = False
        self.is_returned: bool = False
        self.is_left_behind: bool = False
        self.is_closed: bool = False
        self.on_return: Waiter | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a call in its thread has not ended."""
        return self.call is not None and not self.call.is_over
