"""A token bucket: at most so many operations a second, with a burst, in turn.

::

    limiter = RateLimiter(100, burst=20)

    if limiter.allow(): ...          # any tick, any thread; never waits
    await limiter.acquire()          # a task waits for its turn
    limiter.acquire_blocking()       # a thread does

The bucket is no number of tokens that is topped up, which would throw fractions away or gather
rounding errors. It is the instant at which it was last full, and how much was taken since; from
these follows the instant at which there is enough, by one multiplication.

Who waits sleeps until that instant, and then serves the line as far as it can be served. So no task
is needed for it, and a loop that is blocked holds up no thread that waits behind one of its tasks.
"""

from __future__ import annotations

import collections
import math
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import trio

from ..errors import ConfigurationError
from ..messages import current_fence
from ..topics.waiting import TaskWaiter, ThreadWaiter, Waiter, refuse_on_loop
from .functions import nothing, refuse_if_abandoned
from .helper import Helper, check_count, check_seconds

__all__ = ["RateLimiter", "RateLimiterStatistics"]

POLLED = 10.0
"""Hz: by default, a limiter that is polled this often or more gives away its whole rate."""

NAP = 50e-6
"""Seconds of real time that a thread sleeps at least, before it looks again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimiterStatistics:
    """A limiter at one instant; ``asked == admitted + refused + given_up + waiting``.

    Attributes:
        name: Its name.
        rate: Operations a second.
        burst: Operations at once.
        asked: Operations asked for.
        admitted: Those that were let through.
        refused: Those that `RateLimiter.allow` has answered with no.
        given_up: Those whose waiting was cancelled, timed out or abandoned.
        waiting: Those that wait.
        available: Tokens in the bucket, from 0 to `burst`.
    """

    name: str
    rate: float
    burst: int
    asked: int
    admitted: int
    refused: int
    given_up: int
    waiting: int
    available: float


class _Turn:
    """One who waits."""

    __slots__ = ("end", "granted", "n", "until", "waiter")

    def __init__(self, n: int, end: int) -> None:
        self.n = n
        self.end = end  # what has ever been asked for in the line, up to and with this
        self.granted = False
        self.waiter: Waiter | None = None
        self.until = math.inf  # when it looks by itself, on the limiter's clock


class RateLimiter(Helper):
    """Lets `rate` operations a second through, and never more than ``rate * T + burst`` in any T.

    It need not be opened, and has no tasks. Its clock is that of the Trio run in which it is open.
    One that is not open takes the clock of the run on whose loop it is used first, or else
    `time.monotonic`, and looks for another one when it would have to wait or to refuse. A wall
    clock that is set has no effect. With another clock it goes on with the tokens that it has, and
    so it does when it is opened again: a node that restarts gets no second burst.

    All is first come, first served, among tasks and threads: as long as somebody waits, `allow`
    says no.

    Arguments:
        rate: Operations a second, above 0; fractions are welcome.
        burst: How many may come at once after a pause, 1 or more. The bucket is full at first.
            None: one more than come in a tenth of a second, so that a limiter which is polled at
            10 Hz or faster gives away its whole rate. With 1, all lateness is lost: polled every
            9 ms, a limit of 100 a second admits 55.
        name: Printable, for messages.

    Raises:
        ConfigurationError: An argument makes no sense.
    """

    def __init__(self, rate: float, *, burst: int | None = None, name: str = "limiter") -> None:
        super().__init__(name)
        owner = f"RateLimiter {name!r}"
        self._rate = _check_rate(owner, rate)
        if burst is None:
            burst = 1 + math.ceil(self._rate / POLLED)
        self._burst = check_count(owner, "burst", burst)
        self._lock = threading.Lock()
        self._queue: collections.OrderedDict[_Turn, None] = collections.OrderedDict()
        self._lined = self._end = 0
        self._source: trio.abc.Clock | None = None  # None: `time.monotonic`, or none yet
        self._now: Callable[[], float] = _no_clock
        self._full_at = 0.0
        self._used = 0  # since then
        self._asked = self._admitted = self._refused = self._given_up = 0

    def __repr__(self) -> str:
        waiting = f", {len(self._queue)} waiting" if self._queue else ""
        return f"<RateLimiter {self._name!r}, {self._rate:g}/s, bursts of {self._burst}{waiting}>"

    @property
    def rate(self) -> float:
        """Operations a second."""
        return self._rate

    @property
    def burst(self) -> int:
        """How many may come at once after a pause."""
        return self._burst

    def allow(self, n: int = 1) -> bool:
        """Whether `n` operations may be done now; if so, they count as done.

        Any thread, never waits, not a checkpoint.

        Raises:
            ConfigurationError: `n` is no whole number from 1 to `burst`.
            TickAbandoned: The calling tick was abandoned.
        """
        if n.__class__ is not int or not 0 < n <= self._burst:
            self._refuse_amount(n)
        fence = current_fence.get()
        if fence is not None and fence.closed:
            fence.refuse()
        if self._now is _no_clock:
            self._follow()
        with self._lock:
            if not self._queue and self._take(n, self._now()):
                self._asked += n
                return True
            if self._is_open or not self._is_elsewhere():
                self._asked += n
                self._refused += n
                return False
        self._follow()  # its clock may be one that stands still, of a run that is over
        return self.allow(n)

    def wait_time(self, n: int = 1) -> float:
        """Seconds until `n` operations may be done, after all that wait. 0.0: now. Any thread.

        It may have changed before the caller runs on.

        Raises:
            ConfigurationError: `n` is no whole number from 1 to `burst`.
        """
        if n.__class__ is not int or not 0 < n <= self._burst:
            self._refuse_amount(n)
        self._follow()
        with self._lock:
            due, now = self._due(self._lined + n), self._now()
        seconds = max(0.0, due - now)
        while now + seconds < due:  # who sleeps for that long gets there
            seconds += math.ulp(due)
        return seconds

    async def acquire(self, n: int = 1) -> None:
        """Wait until `n` operations may be done. A checkpoint; cancelled, it has taken nothing.

        Raises:
            ConfigurationError: `n` is no whole number from 1 to `burst`.
            TickAbandoned: The calling tick was abandoned, perhaps while waiting.
        """
        if n.__class__ is not int or not 0 < n <= self._burst:
            self._refuse_amount(n)
        await trio.lowlevel.checkpoint_if_cancelled()
        refuse_if_abandoned()
        turn = self._line_up(n)
        if turn is None:
            await trio.lowlevel.cancel_shielded_checkpoint()
            return
        try:
            while not turn.granted:
                await self._sleep(turn)
                refuse_if_abandoned()
                self._serve()
        except BaseException:
            self._leave(turn)
            raise

    def acquire_blocking(self, n: int = 1, timeout: float | None = None) -> None:
        """`acquire` for ``def`` ticks and other threads: blocks this one.

        Arguments:
            n: How many operations.
            timeout: Seconds of real time, or None.

        Raises:
            TimeoutError: The time was over; nothing was taken.
            AsyncCallInThread: Called on the loop, which it would block; await `acquire` there.
            ConfigurationError, TickAbandoned: As `acquire`.
        """
        if n.__class__ is not int or not 0 < n <= self._burst:
            self._refuse_amount(n)
        if timeout is not None:
            timeout = check_seconds(f"RateLimiter {self._name!r}", "timeout", timeout, zero=True)
        refuse_on_loop("RateLimiter.acquire_blocking()", "await limiter.acquire(…)")
        refuse_if_abandoned()
        turn = self._line_up(n)
        if turn is None:
            return
        ends = math.inf if timeout is None else time.monotonic() + timeout
        try:
            while not turn.granted:
                left = ends - time.monotonic()
                if left <= 0:
                    raise TimeoutError(
                        f"RateLimiter {self._name!r} had no {n} tokens within {timeout:g} s"
                    )
                self._sleep_blocking(turn, left)
                refuse_if_abandoned()
                self._serve()
        except BaseException:
            self._leave(turn)
            raise

    def statistics(self) -> RateLimiterStatistics:
        """A consistent snapshot; any thread."""
        with self._lock:
            left = self._burst - self._used + (self._now() - self._full_at) * self._rate
            return RateLimiterStatistics(
                name=self._name,
                rate=self._rate,
                burst=self._burst,
                asked=self._asked,
                admitted=self._admitted,
                refused=self._refused,
                given_up=self._given_up,
                waiting=self._lined,
                available=min(max(0.0, left), float(self._burst)),
            )

    # The bucket; the lock is held

    def _due(self, n: int) -> float:
        """When there are `n` tokens, on its clock."""
        return self._full_at + (self._used + n - self._burst) / self._rate

    def _take(self, n: int, now: float) -> bool:
        used = self._used
        if used and now >= self._full_at + used / self._rate:
            used = 0
        if not used:  # it is full, and gets no fuller
            self._full_at = now
        elif now < self._full_at + (used + n - self._burst) / self._rate:
            return False
        self._used = used + n
        self._admitted += n
        return True

    # The line

    def _line_up(self, n: int) -> _Turn | None:
        """Take at once, or join the line."""
        self._follow()
        with self._lock:
            self._asked += n
            if not self._queue and self._take(n, self._now()):
                return None
            self._lined += n
            self._end += n
            turn = _Turn(n, self._end)
            self._queue[turn] = None
            return turn

    async def _sleep(self, turn: _Turn) -> None:
        """Sleep until there should be something, or until woken."""
        with trio.CancelScope() as scope:

            def enter(waiter: Waiter) -> bool:
                with self._lock:
                    self._lie_down(turn, waiter)
                    if self._source is trio.lowlevel.current_clock():
                        scope.deadline = turn.until
                    else:
                        scope.deadline = trio.current_time() + (turn.until - self._now())
                return True  # also if it has been granted just now: to wait is a checkpoint

            await TaskWaiter().wait(enter, nothing)

    def _sleep_blocking(self, turn: _Turn, left: float) -> None:
        waiter = ThreadWaiter()
        with self._lock:
            self._lie_down(turn, waiter)
            seconds = max(NAP, turn.until - self._now())
        waiter.wait(lambda _: not turn.granted, nothing, min(seconds, left))

    def _lie_down(self, turn: _Turn, waiter: Waiter) -> None:
        """Note when it looks by itself: as if nobody before it went away."""
        turn.waiter = waiter
        if turn.granted:
            turn.until = -math.inf
            return
        first = next(iter(self._queue))
        turn.until = self._due(turn.end - first.end + first.n)

    def _serve(self) -> None:
        """Let those through whose time has come, in turn."""
        wake: list[Waiter] = []
        with self._lock:
            now = self._now()
            while self._queue:
                first = next(iter(self._queue))
                if not self._take(first.n, now):
                    if first.until > self._due(first.n) and first.waiter is not None:
                        wake.append(first.waiter)  # it sleeps longer than it has to
                    break
                del self._queue[first]
                self._lined -= first.n
                first.granted = True
                if first.waiter is not None:
                    wake.append(first.waiter)
        for waiter in wake:
            waiter.wake()

    def _leave(self, turn: _Turn) -> None:
        """It goes away without anything; who comes after it may be served earlier."""
        with self._lock:
            self._given_up += turn.n
            if turn.granted:
                self._admitted -= turn.n
                self._used = max(0, self._used - turn.n)
            else:
                del self._queue[turn]
                self._lined -= turn.n
        self._serve()

    # Its clock

    async def _opened(self, nursery: trio.Nursery) -> None:
        self._run_on(trio.lowlevel.current_clock())

    async def _closing(self) -> None:
        self._run_on(None, only_alone=True)  # the run may end, and its clock stand still

    def _follow(self) -> None:
        """Have a clock: that of this run, unless it is open, or somebody waits by another one."""
        if self._now is _no_clock or (not self._is_open and self._is_elsewhere()):
            on_loop = trio.lowlevel.in_trio_run()
            self._run_on(trio.lowlevel.current_clock() if on_loop else None, only_alone=True)

    def _is_elsewhere(self) -> bool:
        """Whether this is a run with another clock."""
        return (
            not self._queue
            and trio.lowlevel.in_trio_run()
            and trio.lowlevel.current_clock() is not self._source
        )

    def _run_on(self, clock: trio.abc.Clock | None, *, only_alone: bool = False) -> None:
        """Change the clock: what is in the bucket is kept, and who waits looks again."""
        with self._lock:
            if only_alone and self._queue:
                return
            since_full = self._now() - self._full_at
            self._source = clock
            self._now = time.monotonic if clock is None else clock.current_time
            self._full_at = self._now() - since_full
            wake = [turn.waiter for turn in self._queue if turn.waiter is not None]
        for waiter in wake:
            waiter.wake()

    def _refuse_amount(self, n: object) -> None:
        if isinstance(n, bool) or not isinstance(n, int) or not 0 < n <= self._burst:
            raise ConfigurationError(
                f"RateLimiter {self._name!r}: {n!r} at once, expected a whole number from 1 to "
                f"its burst of {self._burst}"
            )


def _check_rate(owner: str, rate: object) -> float:
    if (
        isinstance(rate, bool)
        or not isinstance(rate, (int, float))
        or not 0 < rate <= sys.float_info.max
        or 1 / rate == math.inf
    ):
        raise ConfigurationError(
            f"{owner}: rate={rate!r}, expected a finite number of operations a second above 0"
        )
    return float(rate)


def _no_clock() -> float:
    return 0.0
