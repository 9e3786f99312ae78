"""The metronome's timer: one heap of alarms, one precise source of wake-ups.

Trio's own deadlines end on whole milliseconds (the time-out of ``epoll_wait``). On Linux, under
Trio's own clock, the timer waits on a timerfd instead, which the kernel fires to the microsecond;
under any other clock and on other systems it sleeps in Trio, save that an `AlarmClock`, which knows
when it moves, wakes it itself. One task serves all alarms, and alarms that fall due together ring
in the order ``(when, order, age)``.

A `Grid` gives the instants of a rate: ``start + n / rate``, multiplied and never accumulated, so
rounding does not add up and a stall leaves the later instants where they were.
"""

from __future__ import annotations

import abc
import contextlib
import ctypes
import errno
import heapq
import itertools
import math
import os
import sys
import time
from collections.abc import Callable
from typing import Protocol, cast

import trio

__all__ = ["HIGHEST_RATE", "Alarm", "AlarmClock", "Grid", "Timer", "is_real_time"]

HIGHEST_RATE = 1e6
"""In Hz; beyond it, floats can no longer tell the points of a grid apart after a long run."""


class Grid:
    """The release instants of a rate.

    Arguments:
        start: Instant of release 0, in seconds.
        rate: Releases a second, in Hz.
    """

    __slots__ = ("rate", "start")

    def __init__(self, start: float, rate: float) -> None:
        self.start: float = start
        self.rate: float = rate

    def point(self, n: int) -> float:
        """The instant of release `n`."""
        return self.start + n / self.rate

    def index(self, now: float) -> int:
        """The latest release at or before `now`; -1 before the first."""
        if now < self.start:
            return -1
        n = int((now - self.start) * self.rate)
        # The product may round to either side of a grid point; the points themselves decide.
        while self.point(n + 1) <= now:
            n += 1
        while n >= 0 and self.point(n) > now:
            n -= 1
        return n


class Alarm:
    """A call at an instant; `set` it again and again. Made by `Timer.alarm`."""

    __slots__ = ("_age", "_pending", "_timer", "order", "ring", "when")

    def __init__(self, timer: Timer, ring: Callable[[float], None], order: float, age: int) -> None:
        self._timer = timer
        self._age = age
        self._pending = math.inf  # the earliest heap item that stands for this alarm
        self.ring: Callable[[float], None] = ring
        self.order: float = order
        self.when: float = math.inf

    def set(self, when: float) -> None:
        """Ring at `when` (seconds on Trio's clock) instead of whenever it was set before."""
        self.when = when
        # A later instant needs no heap work: the pending item finds out when it comes up. So an
        # alarm that is moved on before it rings, as a time limit is, costs one store.
        if when < self._pending:
            self._pending = when
            self._timer._push(when, self)

    def clear(self) -> None:
        """Do not ring."""
        self.when = math.inf


class AlarmClock(Protocol):
    """A clock that wakes whom it is asked to: a virtual one, which knows when it moves."""

    def current_time(self) -> float:
        """The instant, in seconds."""
        ...

    def set_alarm(self, ring: Callable[[], None], when: float) -> None:
        """Call `ring` on the loop at `when` instead of at any earlier setting; infinity: never."""
        ...


class Timer:
    """One heap, one wake-up source, any number of alarms. Belongs to one Trio run."""

    def __init__(self) -> None:
        self._clock = trio.lowlevel.current_clock()
        self._heap: list[tuple[float, float, int, Alarm]] = []
        self._ages = itertools.count()
        self._ringing = False
        self._source: _Source = _open_source(self._clock)
        self._wake_ups = 0
        self._raised: BaseException | None = None

    @property
    def source(self) -> str:
        """What wakes the timer: ``timerfd``, ``trio.sleep``, or ``clock``, a virtual one."""
        return self._source.name

    @property
    def is_precise(self) -> bool:
        """Whether it wakes for the instant itself, in real time."""
        return self._source.is_precise

    @property
    def wake_ups(self) -> int:
        """How often the timer has been woken."""
        return self._wake_ups

    def alarm(self, ring: Callable[[float], None], *, order: float = 0.0) -> Alarm:
        """A new alarm, not set. `ring` is called on the loop with the current time.

        Arguments:
            ring: Must not raise and must not block.
            order: Alarms due at one instant ring in this order, then in order of creation.
        """
        return Alarm(self, ring, order, next(self._ages))

    def _push(self, when: float, alarm: Alarm) -> None:
        heap = self._heap
        item = (when, alarm.order, alarm._age, alarm)
        heapq.heappush(heap, item)
        if heap[0] is item and not self._ringing:
            self._source.arm(when)

    async def run(self) -> None:
        """Ring alarms until cancelled."""
        heap = self._heap
        source = self._source
        rouser = _Rouser(self)
        if source.is_precise:
            trio.lowlevel.add_instrument(rouser)
        try:
            while True:
                await source.wait()
                if self._raised is not None:
                    raise self._raised
                self._wake_ups += 1
                self._ring_due()
                source.arm(heap[0][0] if heap else math.inf)
        finally:
            with contextlib.suppress(KeyError):
                trio.lowlevel.remove_instrument(rouser)

    def _ring_due(self) -> None:
        """Ring what is due; the source is armed after that."""
        heap = self._heap
        now = self._clock.current_time()
        self._ringing = True
        while heap and heap[0][0] <= now:
            when, _, _, alarm = heapq.heappop(heap)
            if when != alarm._pending:
                continue  # an earlier item has stood in for this one
            alarm._pending = math.inf
            if alarm.when <= now:
                alarm.when = math.inf
                alarm.ring(now)
            elif alarm.when < math.inf:
                alarm.set(alarm.when)
        self._ringing = False

    def close(self) -> None:
        """Give the descriptor back. Idempotent."""
        self._source.close()


class _Rouser(trio.abc.Instrument):
    """Rings as soon as the loop wakes, a round before the timer's own task would.

    The tasks that are woken so run in the same round of the loop. That makes a tick a third less
    late, and saves a round. The timer's task comes after it: it arms the source again, and rings
    whatever this has not rung.
    """

    def __init__(self, timer: Timer) -> None:
        self._timer = timer

    def after_io_wait(self, timeout: float) -> None:
        timer = self._timer
        if timer._heap and timer._heap[0][0] <= timer._clock.current_time():
            try:
                timer._ring_due()
            except BaseException as error:
                timer._raised = error  # Trio would only log it: the timer's own task raises it
                raise


class _Source(abc.ABC):
    """Wakes one task at the instant it is armed for.

    Attributes:
        name: What it is, for statistics.
        is_precise: Whether it wakes the loop for the instant itself and nothing else.
    """

    name: str
    is_precise: bool = False

    @abc.abstractmethod
    def arm(self, when: float) -> None:
        """Wake at `when` and at no other time; infinity disarms."""

    @abc.abstractmethod
    async def wait(self) -> None:
        """Return when the armed instant has come. A checkpoint."""

    @abc.abstractmethod
    def close(self) -> None:
        """Release what the source holds."""


class _SleepSource(_Source):
    """Trio's own deadlines: right under every clock, on whole milliseconds under the real one."""

    name = "trio.sleep"

    def __init__(self) -> None:
        self._when = math.inf
        self._scope: trio.CancelScope | None = None

    def arm(self, when: float) -> None:
        self._when = when
        if self._scope is not None:
            self._scope.deadline = when

    async def wait(self) -> None:
        with trio.CancelScope(deadline=self._when) as self._scope:
            await trio.sleep_forever()
        self._scope = None

    def close(self) -> None:
        pass


class _ClockSource(_Source):
    """The clock itself."""

    name = "clock"

    def __init__(self, clock: AlarmClock) -> None:
        self._clock = clock
        self._task: trio.lowlevel.Task | None = None
        self._is_due = False
        self._closed = False

    def arm(self, when: float) -> None:
        if self._closed:
            return
        if when <= self._clock.current_time():
            self._ring()
        else:
            self._clock.set_alarm(self._ring, when)

    def _ring(self) -> None:
        task, self._task = self._task, None
        if task is None:
            self._is_due = True
        else:
            trio.lowlevel.reschedule(task)

    async def wait(self) -> None:
        if self._is_due:
            self._is_due = False
            await trio.lowlevel.checkpoint()
            return
        self._task = trio.lowlevel.current_task()

        def abort(_: trio.lowlevel.RaiseCancelT) -> trio.lowlevel.Abort:
            self._task = None
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    def close(self) -> None:
        self._closed = True
        self._clock.set_alarm(self._ring, math.inf)


class _TimerFd(_Source):
    """A Linux timerfd. Arming also clears its readiness, so it is never read."""

    name = "timerfd"
    is_precise = True

    def __init__(self, clock: trio.abc.Clock) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._set_time = self._libc.timerfd_settime
        self.fd = self._libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self.fd < 0:
            code = ctypes.get_errno()
            raise OSError(code, f"timerfd_create: {os.strerror(code)}")
        # Trio's clock is CLOCK_MONOTONIC plus a constant.
        self._offset = clock.current_time() - time.clock_gettime(time.CLOCK_MONOTONIC)
        self._spec = _TimerSpec()
        self._spec_ref = ctypes.byref(self._spec)

    def arm(self, when: float) -> None:
        if self.fd < 0:
            return  # closed: nobody waits any more
        spec = self._spec
        if when == math.inf:
            spec.seconds = spec.nanoseconds = 0
        else:
            # All zero would disarm: an instant in the past is 1 ns after the clock's beginning.
            # One that the kernel cannot hold is 30 years away: too early, and then armed again.
            at = min(max(when - self._offset, 1e-9), 1e9)
            spec.seconds = int(at)
            spec.nanoseconds = int((at % 1.0) * 1e9)
        if self._set_time(self.fd, _ABSOLUTE, self._spec_ref, None):
            code = ctypes.get_errno()
            raise OSError(code, f"timerfd_settime: {os.strerror(code)}")

    async def wait(self) -> None:
        await trio.lowlevel.wait_readable(self.fd)

    def close(self) -> None:
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            os.close(fd)


_ABSOLUTE = 1  # TFD_TIMER_ABSTIME


class _TimerSpec(ctypes.Structure):
    _fields_ = (
        ("interval_seconds", ctypes.c_long),
        ("interval_nanoseconds", ctypes.c_long),
        ("seconds", ctypes.c_long),
        ("nanoseconds", ctypes.c_long),
    )


def is_real_time(clock: trio.abc.Clock | None = None) -> bool:
    """Whether a clock, or that of this run, is Trio's own and not a virtual one."""
    clock = trio.lowlevel.current_clock() if clock is None else clock
    return type(clock).__name__ == "SystemClock"


def _open_source(clock: trio.abc.Clock) -> _Source:
    """The most precise source there is; a timerfd only where Trio's clock is the real one.

    Under a virtual clock with autojump, a task that waits on a descriptor counts as idle, so
    virtual time would run away from a timerfd.
    """
    if hasattr(clock, "set_alarm"):
        return _ClockSource(cast(AlarmClock, clock))
    if sys.platform == "linux" and is_real_time(clock):
        try:
            return _TimerFd(clock)
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOSYS, errno.EINVAL):
                raise
    return _SleepSource()
