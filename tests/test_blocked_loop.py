"""How a blocked loop is noticed: a watch at instants that the test chooses, by what it sees."""

from __future__ import annotations

import logging
import re
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import trio

from horus_trio.logs import OffLoopLogger
from horus_trio.scheduler.watchdog import blocked as watchdog
from horus_trio.scheduler.watchdog.blocked import BlockedLoop, Stall
from horus_trio.scheduler.watchdog.culprit import Culprit

ARM = Culprit(node="arm", what="tick 1", where="robot.py:1 in tick", advice="do less")


class Loop:
    """A loop as its watch sees it, and a watch at instants that the test chooses."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, stall_after: float = 0.5) -> None:
        self.now = 0.0
        self.asleep = False
        self.asked: list[Callable[[], object]] = []
        self.waits = self.loops_waits = 0
        self.runs: Culprit | None = ARM
        clock = SimpleNamespace(monotonic=lambda: self.now)
        monkeypatch.setattr(watchdog, "time", clock)
        monkeypatch.setattr(watchdog, "_is_asleep", lambda thread: self.asleep)
        monkeypatch.setattr(watchdog, "_waits_of_this_thread", lambda: self.waits)
        monkeypatch.setattr(watchdog, "who_runs", lambda thread: self.runs)
        monkeypatch.setattr(sys, "getswitchinterval", lambda: 0.005)
        self.watch = BlockedLoop(stall_after, OffLoopLogger(logging.getLogger("horus_trio")))
        monkeypatch.setattr(self.watch, "_token", SimpleNamespace(run_sync_soon=self.asked.append))
        waits = SimpleNamespace(since_last=lambda: self.loops_waits)
        monkeypatch.setattr(self.watch, "_loops_waits", waits)


@pytest.mark.parametrize(("stall_after", "interval"), [(60.0, 0.125), (0.5, 0.125), (0.25, 0.0625)])
async def test_it_looks_eight_times_a_second_and_four_times_within_a_short_limit(
    monkeypatch: pytest.MonkeyPatch, stall_after: float, interval: float
) -> None:
    assert Loop(monkeypatch, stall_after).watch.look(0.25) == 0.25 + interval


async def test_a_loop_counts_as_blocked_from_the_limit_until_it_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = Loop(monkeypatch)
    loop.now = 100.0
    assert loop.watch.blocked_for == 0.0
    loop.now = 0.0
    loop.watch.look(0.0)
    for loop.now, is_blocked in ((0.25, False), (0.5, True), (7.0, True)):
        assert loop.watch.blocked_for == loop.now
        assert loop.watch.is_blocked is is_blocked
        assert loop.watch.culprit() == (ARM if is_blocked else None)
    loop.watch.look(0.125)
    assert len(loop.asked) == 1  # not again until it answers
    loop.asked[0]()
    assert (loop.watch.blocked_for, loop.watch.culprit()) == (0.0, None)
    loop.watch.look(0.25)
    assert len(loop.asked) == 2


async def test_a_loop_that_is_asleep_is_not_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = Loop(monkeypatch)
    loop.asleep = True
    loop.watch.look(0.0)
    assert loop.asked == []
    loop.asleep = False
    loop.watch.look(0.125)
    loop.asleep, loop.now = True, 9.0  # it has worked off everything but the question
    loop.watch.look(0.25)
    assert loop.watch.blocked_for == 0.0
    assert len(loop.asked) == 1
    loop.asleep = False
    loop.watch.look(0.375)
    assert len(loop.asked) == 2


@pytest.mark.parametrize("error", [trio.RunFinishedError, OSError])
async def test_a_loop_that_has_ended_is_not_blocked(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def refuse(answer: Callable[[], object]) -> None:
        raise error

    loop = Loop(monkeypatch)
    monkeypatch.setattr(loop.watch, "_token", SimpleNamespace(run_sync_soon=refuse))
    for eighths in range(8):
        loop.now = eighths / 8
        loop.watch.look(loop.now)
        assert loop.watch.blocked_for == 0.0
    assert loop.watch.count == 0


async def test_each_time_for_which_the_loop_stood_still_is_counted_and_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    loop = Loop(monkeypatch)
    for eighths in range(10):
        loop.watch.look(eighths / 8)
    loop.asked.pop()()
    for eighths in range(10, 20):
        loop.watch.look(eighths / 8)  # and it is asked again, at 1.25
    assert loop.watch.count == 2
    told = {"node": "arm", "what": "tick 1", "where": "robot.py:1 in tick", "advice": "do less"}
    assert list(loop.watch.stalls) == [Stall(duration=1.25, **told), Stall(duration=1.0, **told)]
    seconds = [re.findall(r"for (\d\.\d) s", record.getMessage()) for record in caplog.records]
    assert seconds == [["0.5"], ["1.0"], ["1.2"], ["0.5"], ["1.0"]]


async def test_several_that_take_turns_are_shown_with_the_latest_stack_and_their_own_advice(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    loop = Loop(monkeypatch)
    loop.watch.look(0.0)
    for eighths, name in enumerate("abcd", 1):
        place = traceback.FrameSummary("robot.py", eighths, name)
        loop.runs = Culprit(node=name, what="tick 1", places=(place,))
        loop.watch.look(eighths / 8)
    (stall,) = loop.watch.stalls
    names = ", ".join(f"node '{name}' (tick 1)" for name in "abcd")
    assert (stall.node, stall.what) == (None, f"several in turn, such as {names}")
    assert stall.advice.startswith("there is more to do than time: lower rates")
    assert re.findall('File "robot.py", line (.)', caplog.text) == ["4"]


async def test_the_latest_sixteen_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = Loop(monkeypatch)
    for n in range(1, 21):
        loop.watch.look(n * 100.0 + n)
    assert loop.watch.count == 20
    assert [stall.duration for stall in loop.watch.stalls] == [101.0] * 16


async def test_a_loop_that_is_about_to_wait_is_blamed_on_nobody(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    loop = Loop(monkeypatch)
    loop.watch.look(0.0)
    for eighths in range(1, 9):
        loop.runs = None if eighths % 2 else Culprit(node=None, what="Trio's", is_idle=True)
        loop.watch.look(eighths / 8)
    assert caplog.records == []
    loop.runs = ARM
    loop.watch.look(1.125)
    (record,) = caplog.records
    assert "the loop has been blocked for 1.1 s by node 'arm' (tick 1)" in record.getMessage()


@pytest.mark.parametrize(
    ("interval", "bound"), [(0.25, 6), (0.075, 10), (2**-7, 48)], ids=["half", "ten", "eighth"]
)
async def test_so_many_waits_for_the_lock_tell_that_it_was_held(
    monkeypatch: pytest.MonkeyPatch, interval: float, bound: int
) -> None:
    """An eighth of those that were possible, but ten, but half."""
    for waits, what, advice in (
        (bound - 1, "the process stood still", ""),
        (bound, "tick 1", "C code has to release that lock while it computes or waits"),
    ):
        loop = Loop(monkeypatch)
        monkeypatch.setattr(sys, "getswitchinterval", lambda: interval)
        loop.waits, loop.loops_waits = waits, -1
        loop.watch.look(3.0)
        (stall,) = loop.watch.stalls
        assert (stall.what, stall.advice, stall.duration) == (what, advice, 3.0)
        loop.watch.look(6.0)  # and nobody waited
        assert [stall.what for stall in loop.watch.stalls] == [what, "the process stood still"]


async def test_this_thread_has_not_run_if_it_comes_later_than_a_look_and_the_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = Loop(monkeypatch)
    loop.watch.look(0.0)
    loop.watch.look(0.625)
    loop.watch.look(1.375)
    assert [stall.what for stall in loop.watch.stalls] == ["tick 1", "the process stood still"]


async def test_the_loop_is_not_blamed_for_a_time_in_which_nothing_ran(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = Loop(monkeypatch)
    loop.watch.look(0.0)
    for now in (3.0, 3.125, 3.25, 3.375):
        loop.watch.look(now)
        assert loop.watch.count == 1
    loop.watch.look(3.5)
    assert [stall.duration for stall in loop.watch.stalls] == [3.0, 0.5]


UNKNOWN = "a thread that is not known"


@pytest.mark.parametrize(
    ("loops_waits", "runs", "suspects", "node"),
    [
        (299, ARM, [], "arm"),
        (299, Culprit(node=None, what="Trio's", is_idle=True), [(2.875, True)], "camera"),
        (299, None, [(2.875, True)], "camera"),
        (300, ARM, [(2.875, False)], "camera"),
        (300, ARM, [(2.875, False)], None),
    ],
    ids=["the loop's", "idle", "gone", "a thread's", "unknown"],
)
async def test_who_held_the_lock_is_on_the_loop_or_a_suspect(
    monkeypatch: pytest.MonkeyPatch,
    loops_waits: int,
    runs: Culprit | None,
    suspects: list[tuple[float, bool]],
    node: str | None,
) -> None:
    """The loop's own thread did not wait for the lock if its code held it."""
    asked: list[tuple[float, bool]] = []

    def suspect(seconds: float, on_loop: bool) -> Culprit | None:
        asked.append((seconds, on_loop))
        return None if node is None else Culprit(node=node, what="tick 1", where="camera.py:1")

    loop = Loop(monkeypatch)
    loop.waits, loop.loops_waits, loop.runs = 600, loops_waits, runs
    loop.watch.suspect = suspect
    loop.watch.look(3.0)
    assert asked == suspects
    (stall,) = loop.watch.stalls
    assert stall.node == node
    assert stall.what == (UNKNOWN if node is None else "tick 1")
    assert bool(stall.where) is (node is not None)


async def test_where_nobody_can_be_asked_the_holder_is_not_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = Loop(monkeypatch)
    loop.waits, loop.loops_waits = 600, 600
    loop.watch.look(3.0)
    assert [stall.what for stall in loop.watch.stalls] == [UNKNOWN]


def test_the_waits_of_a_thread_are_counted_from_now_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for _ in range(60):
        time.sleep(1e-4)
    waits = watchdog._WaitsOf(threading.get_native_id())
    assert waits.since_last() < 50
    for _ in range(60):
        time.sleep(1e-4)
    assert waits.since_last() >= 60
    status = tmp_path / "status"
    monkeypatch.setattr(waits, "_status", status)
    assert waits.since_last() == 0  # there is no such thread
    for count, since in ((1000, None), (1020, 20), (1020, 0)):
        status.write_text(f"Name:\ta\nvoluntary_ctxt_switches:\t{count}\nnonvoluntary:\t7\n")
        assert waits.since_last() == since or since is None
    status.write_text("Name:\ta\n")
    assert waits.since_last() == 0  # the kernel does not tell


def test_this_threads_waits_are_not_those_of_the_process() -> None:
    def sleep() -> None:
        for _ in range(100):
            time.sleep(1e-4)

    before = watchdog._waits_of_this_thread()
    other = threading.Thread(target=sleep)
    other.start()
    other.join()
    between = watchdog._waits_of_this_thread()
    sleep()
    assert between - before < 90
    assert watchdog._waits_of_this_thread() - between >= 100


async def test_a_loop_is_asleep_while_it_waits_for_something_to_do() -> None:
    loop = threading.get_ident()
    found: list[bool] = []
    thread = threading.Thread(target=lambda: found.append(watchdog._is_asleep(loop)))
    thread.start()
    thread.join()
    assert found == [False]
    assert not watchdog._is_asleep(-1)

    def look() -> bool:
        for _ in range(1000):
            if watchdog._is_asleep(loop):
                return True
            time.sleep(0.001)
        return False

    assert await trio.to_thread.run_sync(look)


async def test_who_was_seen_before_the_loop_answered_is_not_blamed_for_what_comes_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = Loop(monkeypatch)
    for eighths in range(4):
        loop.watch.look(eighths / 8)
    loop.asked[0]()
    loop.watch.look(0.5)
    loop.runs = Culprit(node="leg", what="tick 1")
    loop.watch.look(0.75)
    loop.watch.look(1.0)
    assert [stall.node for stall in loop.watch.stalls] == ["leg"]
