"""What travels between scheduler and node: `Tick`, `Shutdown`, `AsyncResult`; and the `Fence`.

The values are frozen. The one thing with a state is the `Fence`: the token a tick runs under. It
is carried by a context variable, so worker threads and the tasks a thread starts inherit it; once
it is closed, nothing in that context can publish any more. Closing and publishing exclude each
other, so a send either happened before the tick was abandoned or does not happen at all.
"""

from __future__ import annotations

import contextvars
import enum
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

import outcome

from .errors import TickAbandoned, TickCancelled

__all__ = ["AsyncResult", "Fence", "Shutdown", "Tick", "TickStatus", "current_fence"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """One request to tick.

    Attributes:
        seq: Number of the release; rises strictly, a missed release takes a number too.
        scheduled: The instant the tick was due, in seconds on Trio's clock.
    """

    seq: int
    scheduled: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Shutdown:
    """A node's last message: finish, then leave.

    Attributes:
        reason: Why, for the log.
    """

    reason: str = ""


class TickStatus(enum.Enum):
    """How a tick ended."""

    OK = "ok"
    ERROR = "error"
    TIMED_OUT = "timed out"
    """An ``async`` tick was cancelled at its await: it overran its ``tick_timeout``."""
    ABANDONED = "abandoned"
    """A ``def`` tick overran its ``tick_timeout``: its thread was left behind."""
    CANCELLED = "cancelled"
    """Cancelled by a stop or a removal, perhaps before it began."""

    def __repr__(self) -> str:
        return f"TickStatus.{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AsyncResult:
    """What became of one tick.

    Attributes:
        node: Name of the node.
        seq: Number of the release, see `Tick`.
        status: How it ended.
        scheduled: The instant it was due, in seconds on Trio's clock.
        started: The instant its own code started; for a tick that never started, when it ended.
        duration: Seconds from `started` to its end (or to its abandonment).
        value: What the tick returned; None unless the status is OK.
        error: The exception itself, or None for an OK tick.
    """

    node: str
    seq: int
    status: TickStatus
    scheduled: float
    started: float
    duration: float
    value: Any = None
    error: BaseException | None = None

    @property
    def success(self) -> bool:
        """Whether the tick returned."""
        return self.status is TickStatus.OK

    @property
    def lateness(self) -> float:
        """Seconds from the scheduled instant to the start."""
        return self.started - self.scheduled

    @property
    def outcome(self) -> outcome.Outcome[Any]:
        """A fresh one-shot `outcome.Outcome`: ``.unwrap()`` returns the value or raises."""
        if self.status is TickStatus.OK:
            return outcome.Value(self.value)
        error = self.error
        if error is None:
            error = TickCancelled(f"tick {self.seq} of node {self.node!r} was cancelled")
        return outcome.Error(error)


class Fence:
    """The token a node's ticks run under; closed when a tick is abandoned.

    One fence serves tick after tick: a node has one tick at a time, so the fence is exchanged
    only when it has been closed.

    Who publishes looks at `closed` while it holds the lock of its topic, having told the fence of
    that lock once (`meet`). Closing waits for the holder of each such lock, so a publish that
    looked before is over when `close` returns.

    Attributes:
        owner: Name of the node, for messages.
        closed: Whether sends are refused.
        expired: Whether the code should return soon: closed, or the node was told to stop.
    """

    __slots__ = ("_guards", "_lock", "_wakers", "closed", "expired", "owner")

    def __init__(self, owner: str) -> None:
        self.owner: str = owner
        self.closed: bool = False
        self.expired: bool = False
        self._lock = threading.Lock()
        # Made when they are needed: most nodes do without, and there may be very many.
        self._guards: weakref.WeakSet[threading.Lock | threading.RLock] | None = None
        self._wakers: set[Callable[[], None]] | None = None

    def __repr__(self) -> str:
        return f"<Fence of {self.owner!r}, {'closed' if self.closed else 'open'}>"

    def close(self) -> None:
        """Refuse every later send in this context, and wake those who wait in it."""
        with self._lock:
            self.expired = self.closed = True
            wakers, self._wakers = self._wakers, None
            guards = list(self._guards or ())
        for guard in guards:
            with guard:
                pass  # who looked before is through
        for wake in wakers or ():
            wake()

    def shut(self) -> None:
        """Refuse every later send without waiting for one that is under way.

        Takes no lock, so a signal handler may call it. Those who wait are woken by `close`.
        """
        self.expired = self.closed = True

    def expire(self) -> None:
        """Ask the code to return soon; it may still publish."""
        self.expired = True

    def refuse(self) -> NoReturn:
        """Raise `TickAbandoned`, saying whose."""
        raise TickAbandoned(
            f"a tick of node {self.owner!r} was abandoned or its run is over, so what it sends is "
            "refused; return from the tick, or poll check_cancelled() to notice earlier"
        )

    def meet(self, lock: threading.Lock | threading.RLock, met: set[Fence]) -> None:
        """Have `close` wait for whoever holds `lock` at that moment; the caller holds it.

        It keeps in `met` the fences that know of its lock, and is rid of the closed ones here.
        """
        with self._lock:
            if self._guards is None:
                self._guards = weakref.WeakSet()
            self._guards.add(lock)
        met.difference_update([fence for fence in met if fence.closed])
        met.add(self)

    def on_close(self, wake: Callable[[], None]) -> None:
        """Have `wake` called at closing, or at once if that has happened; any thread."""
        with self._lock:
            if not self.closed:
                if self._wakers is None:
                    self._wakers = set()
                self._wakers.add(wake)
                return
        wake()

    def forget(self, wake: Callable[[], None]) -> None:
        """Undo `on_close`."""
        with self._lock:
            if self._wakers is not None:
                self._wakers.discard(wake)


current_fence: contextvars.ContextVar[Fence | None] = contextvars.ContextVar(
    "horus_trio_fence", default=None
)
"""The fence of the tick this code belongs to; None outside ticks."""
