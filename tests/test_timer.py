"""The timer: an exact grid, alarms that ring in order, and both sources of wake-ups."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import gc
import math
import operator
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from fractions import Fraction
from pathlib import Path

import pytest
import trio
import trio.lowlevel
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from horus_trio import timer as timer_module
from horus_trio.testing import VirtualClock
from horus_trio.timer import (
    Alarm,
    Grid,
    Timer,
    _ClockSource,
    _open_source,
    _Rouser,
    _SleepSource,
    _TimerFd,
    is_real_time,
)

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="timerfd is Linux's")


@asynccontextmanager
async def running_timer() -> AsyncIterator[Timer]:
    timer = Timer()
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(timer.run)
            yield timer
            nursery.cancel_scope.cancel()
    finally:
        timer.close()


class Bells:
    """What rang, and when."""

    def __init__(self, timer: Timer) -> None:
        self.timer = timer
        self.rang: list[tuple[str, float]] = []

    def alarm(self, name: str, order: float = 0.0) -> Alarm:
        return self.timer.alarm(lambda now: self.rang.append((name, now)), order=order)


# Grid

rates = st.sampled_from([29.97, 1 / 3, 0.1, 1.0, 3.0, 7.0, 50.0, 60.0, 100.0, 999.9]) | st.floats(
    1e-3, 1e5
)
starts = st.floats(0, 1e6)
numbers = st.integers(0, 10**12)


@given(start=starts, rate=rates, n=numbers)
def test_a_grid_point_is_the_multiplied_one(start: float, rate: float, n: int) -> None:
    exact = Fraction(start) + Fraction(n) / Fraction(rate)
    point = Grid(start, rate).point(n)
    # One rounding of the quotient, one of the sum: nothing that grows with n.
    assert abs(Fraction(point) - exact) <= Fraction(math.ulp(point))


@given(start=starts, rate=rates, n=numbers)
def test_the_index_of_a_point_is_its_number(start: float, rate: float, n: int) -> None:
    grid = Grid(start, rate)
    point = grid.point(n)
    found = grid.index(point)
    assert grid.point(found) == point < grid.point(found + 1)
    if 1 / rate > 2 * math.ulp(point):
        assert found == n


@given(start=starts, rate=rates, later=st.floats(0, 1e7))
def test_the_index_brackets_the_instant(start: float, rate: float, later: float) -> None:
    grid = Grid(start, rate)
    now = start + later
    n = grid.index(now)
    assert grid.point(n) <= now < grid.point(n + 1)


@pytest.mark.parametrize(("start", "rate", "n"), [(1.1, 3.0, 756589), (0.1, 0.1, 318104)])
def test_just_before_a_point_is_the_one_before_though_the_product_rounds_up(
    start: float, rate: float, n: int
) -> None:
    grid = Grid(start, rate)
    now = math.nextafter(grid.point(n), -math.inf)
    assert int((now - start) * rate) == n
    assert grid.index(now) == n - 1


@given(start=starts, rate=rates)
def test_before_the_grid_there_is_no_release(start: float, rate: float) -> None:
    assert Grid(start, rate).index(math.nextafter(start, -math.inf)) == -1


def test_a_million_periods_of_a_tenth_do_not_drift() -> None:
    grid = Grid(5.0, 10.0)
    assert grid.point(10**6) == 100_005.0
    accumulated = functools.reduce(operator.add, [0.1] * 10**6)  # `sum` may compensate
    assert accumulated != 100_000.0


# Alarms, under a virtual clock


async def test_an_alarm_rings_once_at_its_instant(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with running_timer() as timer:
        bells = Bells(timer)
        alarm = bells.alarm("a")
        alarm.set(1.25)
        assert alarm.when == 1.25
        await trio.sleep(10)
        assert bells.rang == [("a", 1.25)]
        assert alarm.when == math.inf


async def test_an_alarm_that_was_never_set_never_rings(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with running_timer() as timer:
        bells = Bells(timer)
        bells.alarm("a")
        await trio.sleep(1000)
        assert bells.rang == []
        assert timer.wake_ups == 0


async def test_a_cleared_alarm_is_silent_until_it_is_set_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with running_timer() as timer:
        bells = Bells(timer)
        alarm = bells.alarm("a")
        alarm.set(1.0)
        alarm.clear()
        await trio.sleep_until(2.0)
        assert bells.rang == []
        alarm.set(3.0)
        await trio.sleep_until(4.0)
        assert bells.rang == [("a", 3.0)]


@pytest.mark.parametrize(("first", "then"), [(1.0, 2.0), (2.0, 1.0), (1.0, 1.0)])
async def test_the_latest_setting_counts(
    autojump_clock: trio.testing.MockClock, first: float, then: float
) -> None:
    async with running_timer() as timer:
        bells = Bells(timer)
        alarm = bells.alarm("a")
        alarm.set(first)
        alarm.set(then)
        await trio.sleep(10)
        assert bells.rang == [("a", then)]


async def test_an_alarm_in_the_past_rings_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    await trio.sleep(5)
    async with running_timer() as timer:
        bells = Bells(timer)
        bells.alarm("a").set(1.0)
        await trio.lowlevel.checkpoint()
        await trio.testing.wait_all_tasks_blocked()
        assert bells.rang == [("a", 5.0)]


async def test_an_alarm_may_set_itself_while_it_rings(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with running_timer() as timer:
        rang: list[float] = []

        def again(now: float) -> None:
            rang.append(now)
            if len(rang) < 4:
                alarm.set(now + 0.5)

        alarm = timer.alarm(again)
        alarm.set(1.0)
        await trio.sleep(10)
        assert rang == [1.0, 1.5, 2.0, 2.5]


async def test_alarms_due_together_ring_by_order_then_age(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with running_timer() as timer:
        bells = Bells(timer)
        first, second = bells.alarm("old"), bells.alarm("young")
        late, early = bells.alarm("late", order=1), bells.alarm("early", order=-math.inf)
        for alarm in (late, second, first, early):
            alarm.set(1.0)
        await trio.sleep(2)
        assert [name for name, _ in bells.rang] == ["early", "old", "young", "late"]


async def test_the_instant_goes_before_the_order(mock_clock: trio.testing.MockClock) -> None:
    async with running_timer() as timer:
        bells = Bells(timer)
        bells.alarm("second", order=-1).set(2.0)
        bells.alarm("first", order=+1).set(1.0)
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(5.0)  # both are overdue at one wake-up
        await trio.testing.wait_all_tasks_blocked()
        assert bells.rang == [("first", 5.0), ("second", 5.0)]
        assert timer.wake_ups == 1


async def test_a_ringing_alarm_may_silence_another_of_the_same_instant(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with running_timer() as timer:
        bells = Bells(timer)
        other = bells.alarm("other", order=1)
        timer.alarm(lambda now: other.clear()).set(1.0)
        other.set(1.0)
        await trio.sleep(2)
        assert bells.rang == []


async def test_a_limit_that_moves_on_costs_no_wake_ups(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with running_timer() as timer:
        bells = Bells(timer)
        alarm = bells.alarm("limit")
        for n in range(100):  # a tick each 10 ms with a limit of 1 s
            alarm.set(n * 0.01 + 1.0)
            await trio.sleep_until((n + 1) * 0.01)
        alarm.clear()
        await trio.sleep(10)
        assert bells.rang == []
        assert timer.wake_ups <= 2


instants = st.integers(0, 40).map(lambda n: n / 4)


@given(
    st.lists(
        st.tuples(
            st.sampled_from([0.0, 0.25, 1.0]),  # pause before
            st.integers(0, 2),  # which alarm
            st.none() | instants,  # cleared, or set so many seconds ahead
        ),
        max_size=25,
    )
)
def test_alarms_follow_their_model(steps: list[tuple[float, int, float | None]]) -> None:
    expected: list[tuple[str, float]] = []
    rang: list[tuple[str, float]] = []

    async def main() -> None:
        async with running_timer() as timer:
            bells = Bells(timer)
            bells.rang = rang
            alarms = [bells.alarm(name) for name in "abc"]
            due: dict[int, float] = {}

            async def pass_time(until: float) -> None:
                for when in sorted(set(due.values())):
                    if when > until:
                        break
                    for index in sorted(i for i, w in due.items() if w == when):
                        expected.append(("abc"[index], when))
                        del due[index]
                await trio.sleep_until(until)
                await trio.testing.wait_all_tasks_blocked()

            for pause, index, ahead in steps:
                await pass_time(trio.current_time() + pause)
                if ahead is None:
                    alarms[index].clear()
                    due.pop(index, None)
                else:
                    alarms[index].set(trio.current_time() + ahead)
                    due[index] = trio.current_time() + ahead
                if ahead == 0:
                    await pass_time(trio.current_time())
            await pass_time(trio.current_time() + 100)

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert rang == expected


# Sources


async def test_under_a_virtual_clock_the_source_is_trio(
    mock_clock: trio.testing.MockClock,
) -> None:
    timer = Timer()
    assert timer.source == "trio.sleep"
    timer.close()
    timer.close()


@on_linux
async def test_under_the_real_clock_the_source_is_a_timerfd() -> None:
    timer = Timer()
    assert timer.source == "timerfd"
    timer.close()
    timer.close()


async def test_elsewhere_than_on_linux_the_source_is_trio(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("horus_trio.timer.sys.platform", "darwin")
    assert Timer().source == "trio.sleep"


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOSYS, errno.EINVAL])
@on_linux
async def test_without_a_descriptor_the_source_is_trio(
    monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(clock: trio.abc.Clock) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(timer_module, "_TimerFd", refuse)
    assert Timer().source == "trio.sleep"


@pytest.mark.parametrize(("code", "source"), [(errno.EMFILE, "trio.sleep"), (errno.EPERM, None)])
@on_linux
async def test_what_the_kernel_refuses_is_named(
    monkeypatch: pytest.MonkeyPatch, code: int, source: str | None
) -> None:
    class Libc:
        timerfd_settime = None

        def timerfd_create(self, clock: int, flags: int) -> int:
            ctypes.set_errno(code)
            return -1

    monkeypatch.setattr("horus_trio.timer.ctypes.CDLL", lambda *args, **options: Libc())
    if source is None:
        with pytest.raises(OSError, match="timerfd_create"):
            Timer()
    else:
        assert Timer().source == source


@on_linux
async def test_other_errors_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(clock: trio.abc.Clock) -> None:
        raise OSError(errno.EPERM, "no")

    monkeypatch.setattr(timer_module, "_TimerFd", refuse)
    with pytest.raises(OSError, match="no"):
        Timer()


def sources() -> list[Callable[[trio.abc.Clock], object]]:
    found: list[Callable[[trio.abc.Clock], object]] = [lambda clock: _SleepSource()]
    return [*found, _TimerFd] if sys.platform == "linux" else found


@pytest.mark.parametrize("make", sources())
async def test_every_source_rings_on_real_time_and_never_early(
    monkeypatch: pytest.MonkeyPatch, make: Callable[[trio.abc.Clock], object]
) -> None:
    monkeypatch.setattr(timer_module, "_open_source", make)
    async with running_timer() as timer:
        rang: list[tuple[float, float]] = []
        done = trio.Event()
        start = trio.current_time()

        def ring(now: float) -> None:
            rang.append((start + 0.004 * len(rang), now))
            if len(rang) == 10:
                done.set()
            else:
                alarm.set(start + 0.004 * len(rang))

        alarm = timer.alarm(ring)
        alarm.set(start)
        with trio.fail_after(10):
            await done.wait()
        assert all(now >= due for due, now in rang)


@pytest.mark.parametrize("make", sources())
async def test_every_source_can_be_armed_earlier_while_it_waits(
    monkeypatch: pytest.MonkeyPatch, make: Callable[[trio.abc.Clock], object]
) -> None:
    monkeypatch.setattr(timer_module, "_open_source", make)
    async with running_timer() as timer:
        rang = trio.Event()
        timer.alarm(lambda now: None).set(trio.current_time() + 3600)
        await trio.testing.wait_all_tasks_blocked()
        timer.alarm(lambda now: rang.set()).set(trio.current_time())
        with trio.fail_after(10):
            await rang.wait()


@pytest.mark.parametrize("far", [1e9, 1e12, 1e19, 1e300])
@pytest.mark.parametrize("make", sources())
async def test_every_source_bears_an_alarm_in_the_far_future(
    monkeypatch: pytest.MonkeyPatch, make: Callable[[trio.abc.Clock], object], far: float
) -> None:
    monkeypatch.setattr(timer_module, "_open_source", make)
    async with running_timer() as timer:
        bells = Bells(timer)
        bells.alarm("far").set(trio.current_time() + far)
        near = trio.Event()
        timer.alarm(lambda now: near.set()).set(trio.current_time() + 0.01)
        with trio.fail_after(10):
            await near.wait()
        assert bells.rang == []
        assert timer.wake_ups <= 3


@on_linux
async def test_a_timerfd_bears_an_alarm_before_the_machine_was_started() -> None:
    async with running_timer() as timer:
        rang = trio.Event()
        timer.alarm(lambda now: rang.set()).set(-1e9)
        with trio.fail_after(10):
            await rang.wait()


@on_linux
async def test_a_failing_timerfd_says_which_call_failed() -> None:
    source = _open_source(trio.lowlevel.current_clock())
    assert isinstance(source, _TimerFd)
    os.close(source.fd)
    with pytest.raises(OSError, match="timerfd_settime") as caught:
        source.arm(math.inf)
    assert caught.value.errno == errno.EBADF
    source.fd = -1


@on_linux
def test_a_hundred_timers_leave_no_descriptor() -> None:
    def count() -> int:
        gc.collect()
        return len(list(Path("/proc/self/fd").iterdir()))

    async def main() -> None:
        async with running_timer() as timer:
            timer.alarm(lambda now: None).set(trio.current_time())

    trio.run(main)
    before = count()
    for _ in range(100):
        trio.run(main)
    assert count() == before


# Idleness, in a process of its own

IDLE = """
import sys, threading, trio, horus_trio as horus

class Waits(horus.AsyncNode):
    async def tick_async(self):
        await self.recv_async("never")

class Threaded(horus.Node):
    rate = 0.01
    def tick(self):
        pass

def switches():
    total = 0
    for line in open("/proc/self/status"):
        if line.startswith("voluntary_ctxt_switches"):
            return int(line.split()[1])

async def main():
    scheduler = horus.Scheduler(tick_rate=1)
    scheduler.add(Waits()).add(Waits()).add(Threaded())
    async with trio.open_nursery() as nursery:
        await nursery.start(scheduler.run)
        await trio.sleep(0.3)
        before, waking = switches(), scheduler.statistics().wake_ups
        await trio.sleep(2)
        print(switches() - before, scheduler.statistics().wake_ups - waking)
        scheduler.stop()

trio.run(main)
"""


@pytest.mark.slow
@on_linux
def test_an_idle_robot_sleeps() -> None:
    # /proc/self/status counts the main thread's own sleeps, so every wake-up of the loop.
    done = subprocess.run(
        [sys.executable, "-c", IDLE], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    switches, wake_ups = map(int, done.stdout.split())
    assert wake_ups <= 4  # each of the two 1 Hz nodes misses its release each second
    assert switches <= 5 * 2


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the timer's task rings by itself")
async def test_what_an_alarm_raises_is_not_lost() -> None:
    """It rings in an instrument, whose errors Trio would only log."""

    def ring(now: float) -> None:
        raise ZeroDivisionError("in an alarm")

    timer = Timer()
    timer.alarm(ring).set(trio.current_time() + 0.01)
    with contextlib.closing(timer), pytest.raises(ZeroDivisionError, match="in an alarm"):
        await timer.run()


def test_a_closed_source_sets_no_alarm_on_a_virtual_clock() -> None:
    clock = VirtualClock()
    source = _ClockSource(clock)
    source.arm(1.0)
    source.close()
    source.arm(2.0)
    source.arm(0.0)
    assert not source._is_due
    assert source._ring not in clock._alarms


def test_only_trios_own_clock_is_real_time() -> None:
    async def here() -> bool:
        return is_real_time()

    virtual = trio.testing.MockClock()
    assert trio.run(here)
    assert not trio.run(here, clock=virtual)
    assert not is_real_time(virtual)


async def test_what_is_due_at_this_very_instant_rings_as_soon_as_the_loop_wakes(
    mock_clock: trio.testing.MockClock,
) -> None:
    timer = Timer()
    bells = Bells(timer)
    rouser = _Rouser(timer)
    rouser.after_io_wait(0.0)  # nothing is set
    bells.alarm("now").set(mock_clock.current_time())
    bells.alarm("later").set(mock_clock.current_time() + 1.0)
    rouser.after_io_wait(0.0)
    assert bells.rang == [("now", mock_clock.current_time())]

    def fail(now: float) -> None:
        raise ZeroDivisionError

    timer.alarm(fail).set(mock_clock.current_time())
    with pytest.raises(ZeroDivisionError):
        rouser.after_io_wait(0.0)


@on_linux
async def test_only_a_timerfd_is_precise(monkeypatch: pytest.MonkeyPatch) -> None:
    with contextlib.closing(Timer()) as timer:
        assert timer.is_precise
    monkeypatch.setattr(timer_module, "_open_source", lambda clock: _SleepSource())
    with contextlib.closing(Timer()) as timer:
        assert not timer.is_precise


def test_a_clock_that_knows_when_it_moves_wakes_the_timer_itself() -> None:
    clock = VirtualClock()
    rang: list[tuple[str, float]] = []

    async def main() -> None:
        async with running_timer() as timer:
            assert (timer.source, timer.is_precise) == ("clock", False)
            bells = Bells(timer)
            bells.rang = rang
            bells.alarm("past").set(-1.0)
            bells.alarm("late").set(2.0)
            await trio.testing.wait_all_tasks_blocked()
            assert rang == [("past", 0.0)]
            bells.alarm("early").set(0.5)
            await clock.advance(3.0)
            assert timer.wake_ups == 3
        assert not clock._alarms
        source = _ClockSource(clock)
        with trio.CancelScope() as scope:
            scope.cancel()
            await source.wait()
        source.arm(clock.current_time())
        assert source._is_due  # nobody waits any more: the next one returns at once
        await source.wait()
        assert not source._is_due

    trio.run(main, clock=clock)
    assert rang == [("past", 0.0), ("early", 0.5), ("late", 2.0)]


class Kernel:
    """Stands in for the C library, and keeps what it is asked for."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.made: list[tuple[int, int]] = []
        self.set: list[tuple[int, int, int, int]] = []

    def timerfd_create(self, clock: int, flags: int) -> int:
        self.made.append((clock, flags))
        return self.fd

    def timerfd_settime(self, fd: int, flags: int, spec: object, _: None) -> int:
        found = spec._obj  # type: ignore[attr-defined]
        assert (found.interval_seconds, found.interval_nanoseconds) == (0, 0)
        self.set.append((fd, flags, found.seconds, found.nanoseconds))
        return 0


@on_linux
async def test_a_timerfd_is_armed_for_the_instant_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(0)  # so it is in a process that was started without a standard input
    closed: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr("horus_trio.timer.ctypes.CDLL", lambda *args, **options: kernel)
        patch.setattr("horus_trio.timer.os.close", closed.append)
        source = _TimerFd(trio.lowlevel.current_clock())
        offset = source._offset
        source._offset = 100.0
        for when in (101.25, 100.5, 100.0, -5.0, math.inf, 1e300):
            source.arm(when)
        source.close()
        source.close()
        source.arm(200.0)  # nobody waits any more
    assert kernel.made == [(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)]
    absolute = 1
    assert kernel.set == [
        (0, absolute, 1, 250_000_000),
        (0, absolute, 0, 500_000_000),
        (0, absolute, 0, 1),  # all zero would disarm
        (0, absolute, 0, 1),
        (0, absolute, 0, 0),
        (0, absolute, 10**9, 0),
    ]
    assert closed == [0]
    now = trio.current_time() - time.clock_gettime(time.CLOCK_MONOTONIC)
    assert offset == pytest.approx(now, abs=60)


async def test_a_ring_arms_the_source_once(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    armed: list[float] = []

    class Recording(_SleepSource):
        def arm(self, when: float) -> None:
            armed.append(when)
            super().arm(when)

    monkeypatch.setattr(timer_module, "_open_source", lambda clock: Recording())
    async with running_timer() as timer:

        def ring(now: float) -> None:
            if now < 3.0:
                alarm.set(now + 1.0)

        alarm = timer.alarm(ring)
        alarm.set(1.0)
        timer.alarm(ring).set(50.0)  # later than that which is armed
        await trio.sleep(10)
    assert armed == [1.0, 2.0, 3.0, 50.0]


@on_linux
async def test_a_timer_that_has_ended_rings_no_more() -> None:
    async with running_timer() as timer:
        bells = Bells(timer)
        await trio.testing.wait_all_tasks_blocked()
    bells.alarm("late").set(trio.current_time())
    await trio.sleep(0.001)
    assert bells.rang == []
