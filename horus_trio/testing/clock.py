"""Virtual time: a clock that stands still until it is driven, and moves only when nothing can run.

Trio asks its clock how long it may sleep exactly when no task is runnable, and names the next
deadline. That is the moment in which virtual time may move, so the clock itself is the driver:
while it is being driven it answers "do not sleep", lets the loop look for I/O once more, and then
moves to that deadline if nothing has come in. As long as a thread works for the robot it does not
move at all, so no time-out can strike while real code runs.

`VirtualClock` is also an instrument: it counts the tasks that become ready, which tells it whether
anything has come in, and whether a loop spins without letting time pass.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import trio
import trio.testing

from ..arguments import is_positive
from ..errors import ConfigurationError, HorusError
from .internals import Runner, current_runner

__all__ = ["VirtualClock", "check_seconds", "installed"]

SPIN = 100_000
"""Tasks made ready at one instant after which a loop counts as spinning."""


class Watcher(Protocol):
    """Who is told when a run on virtual time is stuck; on the loop, and must not raise."""

    def stood_still(self) -> None:
        """Nothing has happened for too long, or a thread has worked for too long."""

    def spins(self, task: trio.lowlevel.Task) -> None:
        """A task runs on and on at one instant."""


class VirtualClock(trio.abc.Clock, trio.abc.Instrument):
    """A clock for `trio.run` that moves when it is driven: ``await clock.advance(2.5)``.

    Inside `open_harness` the harness drives it. Time begins at 0.0.
    """

    def __init__(self) -> None:
        self._now = 0.0
        self._until = -math.inf
        self._arrived: trio.Event | None = None
        self._enough: Callable[[], bool] | None = None
        self._free = False
        self._own_end = math.inf
        self._steps = 0
        self._next: float | None = None
        self._alarms: dict[Callable[[], None], float] = {}
        self._idle_since = math.nan
        self._give_back = math.inf
        self._return: Callable[[], None] | None = None
        self._watcher: Watcher | None = None
        self._real_limit = math.inf
        self._busy: Callable[[float], float | None] = lambda real: None

    def __repr__(self) -> str:
        return f"<VirtualClock at {self._now!r} s>"

    # For tests

    async def advance(self, seconds: float) -> None:
        """Let `seconds` pass: all that falls due happens, in order. A checkpoint.

        Raises:
            ConfigurationError: `seconds` is not a finite number, 0 or more.
            trio.BusyResourceError: It is being driven already.
        """
        await self.drive(self.after(seconds))

    # For the harness

    def after(self, seconds: float) -> float:
        """The instant `seconds` from now, on whole nanoseconds: three times 0.1 is 0.3."""
        return max(self._now, round(self._now + check_seconds(seconds), 9))

    async def drive(self, until: float, enough: Callable[[], bool] | None = None) -> None:
        """Move to `until` (seconds), or until `halt`. A checkpoint; cancelled, it stops there.

        Arguments:
            enough: Asked before each move whether to stop here; must not raise.
        """
        if self._arrived is not None:
            raise trio.BusyResourceError("virtual time is being moved by another task already")
        self._until = until
        self._enough = enough
        arrived = self._arrived = trio.Event()
        try:
            await arrived.wait()
        finally:
            self.halt()
            self._arrived = self._enough = None

    def halt(self) -> None:
        """Stop at this instant. On the loop."""
        self._until = -math.inf
        if self._arrived is not None:
            self._arrived.set()

    @property
    def is_driven(self) -> bool:
        """Whether time moves now."""
        return self._arrived is not None or self._free

    @contextmanager
    def running_free(self, busy: Callable[[float], float | None]) -> Iterator[None]:
        """While inside, time moves by itself whenever nothing else can happen, as under autojump.

        Arguments:
            busy: As for `watched`.
        """
        before = self._free, self._busy
        self._free, self._busy = True, busy
        try:
            yield
        finally:
            self._free, self._busy = before

    @property
    def watcher(self) -> Watcher | None:
        """Who is told now, or None."""
        return self._watcher

    @contextmanager
    def watched(
        self, by: Watcher, real_limit: float, busy: Callable[[float], float | None]
    ) -> Iterator[None]:
        """While inside, tell `by` when nothing happens or a task spins.

        Arguments:
            real_limit: Seconds of real time in which nothing may happen.
            busy: How many real seconds the threads that work now have left, given the present
                `time.perf_counter`; None: no thread works.
        """
        before = self._watcher, self._real_limit, self._busy, self._free
        self._watcher, self._real_limit, self._busy, self._free = by, real_limit, busy, False
        try:
            yield
        finally:
            self._watcher, self._real_limit, self._busy, self._free = before

    # For Trio

    def start_clock(self) -> None:
        """The run begins."""
        trio.lowlevel.add_instrument(self)

    def current_time(self) -> float:
        """The instant, in seconds."""
        return self._now

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Called when no task is runnable: the moment in which time may move."""
        if self._next is not None:  # or time would never move, and the loop would spin
            raise HorusError("the virtual clock is no instrument of this run any more")
        for when in self._alarms.values():
            deadline = min(deadline, when)
        if deadline <= self._now:
            return 0.0
        real = time.perf_counter()
        if self._steps:  # something has run since
            self._steps = 0
            self._idle_since = math.nan
        if real >= self._give_back and self._return is not None:
            self._return()
            return 0.0
        left = self._busy(real)
        if left is None:
            if self._until != -math.inf or (self._free and deadline < self._own_end):
                self._next = deadline
                return 0.0
            if self._idle_since != self._idle_since:  # NaN
                self._idle_since = real
            left = self._idle_since + self._real_limit - real
        if left <= 0.0:
            self._idle_since = math.nan
            if self._watcher is not None:
                self._watcher.stood_still()
                return 0.0
            left = math.inf
        return min(left, self._give_back - real)

    def after_io_wait(self, timeout: float) -> None:
        """Nothing was ready before the loop looked for I/O: if nothing has come in, time moves."""
        if self._next is None:
            return
        deadline, self._next = self._next, None
        if not self._steps:
            self._move(deadline)

    def _move(self, deadline: float) -> None:
        if self._enough is not None and self._enough():
            self.halt()
        elif deadline < math.inf and (deadline <= self._until or self._arrived is None):
            self._now = deadline
            for ring, when in tuple(self._alarms.items()):
                if when <= deadline:
                    del self._alarms[ring]
                    ring()
        else:
            if self._now < self._until < math.inf:
                self._now = self._until
            self.halt()

    def set_alarm(self, ring: Callable[[], None], when: float) -> None:
        """Call `ring` on the loop at `when`, later than now; infinity: never.

        The engine's timer uses it: cheaper than a deadline of Trio.
        """
        if when < math.inf:
            self._alarms[ring] = when
        else:
            self._alarms.pop(ring, None)

    def task_scheduled(self, task: trio.lowlevel.Task) -> None:
        """Something happens."""
        self._steps += 1
        if self._steps > SPIN:
            self._steps = 1
            if self._watcher is not None:
                self._watcher.spins(task)


def check_seconds(seconds: float) -> float:
    """Check how long time is to pass.

    Raises:
        ConfigurationError: Not a finite number, 0 or more.
    """
    if not is_positive(seconds, or_zero=True):
        raise ConfigurationError(
            f"advance({seconds!r}): expected a finite number of seconds, 0 or more; "
            "time does not go backwards"
        )
    return seconds


@contextmanager
def installed(clock: VirtualClock) -> Iterator[VirtualClock]:
    """While inside, the current Trio run lives on virtual time, whatever its own clock is.

    A run on a `VirtualClock` keeps it, and that one is returned. A `trio.testing.MockClock` stands
    still meanwhile and is moved on by the same amount. Over a real clock virtual time begins at 0,
    and a deadline around this block keeps its meaning in real time: when it comes, the run gets
    its own clock back and Trio cancels as it would have.
    """
    runner = current_runner()
    if isinstance(runner.clock, VirtualClock):
        yield runner.clock
        return
    exchange = _Exchange(runner, clock)
    try:
        yield clock
    finally:
        trio.lowlevel.remove_instrument(clock)
        exchange.undo()


class _Exchange:
    """Puts a virtual clock into a run in place of the run's own."""

    def __init__(self, runner: Runner, clock: VirtualClock) -> None:
        self._runner = runner
        self._clock = clock
        self._own = own = runner.clock
        self._began = 0.0
        self._pace = 0.0, math.inf
        if isinstance(own, trio.testing.MockClock):
            self._pace = own.rate, own.autojump_threshold
            own.rate, own.autojump_threshold = 0.0, math.inf
            clock._now = self._began = own.current_time()
        else:
            clock._own_end = trio.current_effective_deadline()
            clock._give_back = time.perf_counter() + clock._own_end - own.current_time()
        clock._return = self.undo
        runner.clock = clock
        clock.start_clock()

    def undo(self) -> None:
        """Give the run its own clock back; once."""
        clock, own = self._clock, self._own
        if self._runner.clock is not clock:
            return
        self._runner.clock = own
        clock._give_back = math.inf
        clock.halt()
        if isinstance(own, trio.testing.MockClock):
            if own.current_time() != self._began:
                raise HorusError(
                    "the run's MockClock was moved while a harness held it; move time with "
                    "the harness's advance(…)"
                )
            own.jump(clock._now - self._began)
            own.rate, own.autojump_threshold = self._pace
