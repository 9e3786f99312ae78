"""G13 safety: in an emergency every critical node's ``enter_safe_state`` is called at once, once,
whatever else happens; it is latched, and it is said whom it reached.

What follows from what is shown on virtual time; threads, signals and the wire are real elsewhere.
"""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import logging
import math
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import horus_trio as horus
from horus_trio import Fatal, Ignore, Miss, Node, NodeState, Restart, SafetyOutcome, Scheduler
from horus_trio.executor import NodeRunner, open_executor
from horus_trio.executor.safe_state import SafeCall, SafeState
from horus_trio.executor.waits import wait_of
from horus_trio.messages import Fence
from horus_trio.node import Hook
from horus_trio.testing import open_harness


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "horus_trio")


class Diarist(Node):
    """Writes down what is done to it, with the instants."""

    def __init__(self, name: str = "arm", **options: Any) -> None:
        super().__init__(name, **{"critical": True, **options})
        self.diary: list[tuple[str, float]] = []

    def write(self, what: str) -> None:
        self.diary.append((what, self.now))

    def did(self, *, ticks: bool = False) -> list[str]:
        return [what for what, _ in self.diary if ticks or what != "tick"]


class Arm(Diarist, horus.AsyncNode):
    async def init(self) -> None:
        self.write("init")

    async def tick_async(self) -> None:
        self.write("tick")

    async def enter_safe_state(self) -> None:
        self.write("safe")

    async def shutdown(self) -> None:
        self.write("shutdown")


class ThreadedArm(Diarist):
    def init(self) -> None:
        self.write("init")

    def tick(self) -> None:
        self.write("tick")

    def enter_safe_state(self) -> None:
        self.write("safe")

    def shutdown(self) -> None:
        self.write("shutdown")


Kind = type[Arm] | type[ThreadedArm]
both = pytest.mark.parametrize("kind", [Arm, ThreadedArm])


# Who is called, when, and how often


@both
async def test_every_critical_node_is_made_safe_at_once_and_no_other(
    kind: Kind,
) -> None:
    arms = [kind("left", rate=4), kind("right", rate=4), kind("lamp", rate=4, critical=False)]
    async with open_harness(*arms) as h:
        await h.advance(1)
        report = h.scheduler.emergency_stop("the button")
        await h.settle()
        assert [arm.diary[-1] for arm in arms[:2]] == [("safe", 1.0)] * 2
        assert arms[2].did() == ["init"]
        assert report.reason == "the button"
        assert report.at == 1.0
        assert h.scheduler.emergency is not None
        assert h.scheduler.emergency.reached == ("left", "right")
        assert [n.delay for n in h.scheduler.emergency.nodes] == [0.0, 0.0]


@both
async def test_it_is_latched_and_only_critical_nodes_stand_still(kind: Kind) -> None:
    arm, lamp = kind("arm", rate=4, phase=0.0), kind("lamp", rate=4, phase=0.0, critical=False)
    async with open_harness(arm, lamp) as h:
        await h.advance(1)
        h.scheduler.emergency_stop()
        h.scheduler.emergency_stop("again")
        await h.advance(1)
        h.scheduler.emergency_stop("and again")
        await h.settle()
        assert arm.did() == ["init", "safe"]
        assert [h.node_statistics(n).ok for n in ("arm", "lamp")] == [4, 8]
        statistics = h.node_statistics("arm")
        # The release at the very instant may be on its way already; it is not run.
        assert (statistics.missed + statistics.cancelled, statistics.in_flight) == (4, 0)
        assert h.state("arm") is NodeState.SAFE
        assert h.node_statistics("arm").health is horus.Health.CRITICAL
        assert h.scheduler.emergency is not None
        assert h.scheduler.emergency.reason == "emergency_stop() was called"
        assert h.scheduler.emergency.active


@both
async def test_after_the_reset_it_ticks_on_its_old_grid_without_a_new_init(
    kind: Kind,
) -> None:
    arm = kind(rate=4, phase=0.0)
    async with open_harness(arm) as h:
        await h.advance(1)
        h.scheduler.emergency_stop("one")
        await h.advance(1.1)
        h.scheduler.reset_emergency()
        h.scheduler.reset_emergency()  # without need it does nothing
        await h.advance(0.9)
        assert arm.did() == ["init", "safe"]
        assert [t for what, t in arm.diary if what == "tick"][4:] == [2.25, 2.5, 2.75]
        assert h.scheduler.emergency is not None
        assert not h.scheduler.emergency.active
        assert h.scheduler.emergency.reached == ("arm",)
        h.scheduler.emergency_stop("two")
        await h.settle()
        assert arm.did() == ["init", "safe", "safe"]
    assert h.scheduler.report is not None
    assert [e.reason for e in h.scheduler.report.emergencies] == ["one", "two"]
    assert "EMERGENCY (two): 'arm' safe after" in str(h.scheduler.report)
    assert arm.did() == ["init", "safe", "safe", "shutdown"]


async def test_the_latest_emergencies_are_kept_and_those_before_are_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("horus_trio.executor.safety.KEPT", 3)
    arm = Arm(rate=4)
    async with open_harness(arm) as h:
        for number in range(5):
            h.scheduler.emergency_stop(f"drill {number}")
            await h.settle()
            h.scheduler.reset_emergency()
    report = h.scheduler.report
    assert report is not None
    assert [e.reason for e in report.emergencies] == ["drill 2", "drill 3", "drill 4"]
    assert all(e.reached == ("arm",) for e in report.emergencies)
    assert report.earlier_emergencies == report.to_dict()["earlier_emergencies"] == 2
    assert "EMERGENCY 2 times before these\nEMERGENCY (drill 2): " in str(report)
    assert arm.did().count("safe") == 5


async def test_a_stop_that_is_not_held_up_is_no_emergency() -> None:
    arm = Arm(rate=4)
    async with open_harness(arm) as h:
        await h.advance(1)
    assert arm.did() == ["init", "shutdown"]
    assert h.scheduler.report is not None
    assert h.scheduler.report.emergencies == ()


async def test_a_stop_during_an_emergency(autojump_clock: MockClock) -> None:
    arm = Arm(rate=4)
    scheduler = Scheduler(signals=False).add(arm)

    async def press() -> None:
        await trio.sleep(1.1)
        scheduler.emergency_stop()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(press)
        report = await scheduler.run(2.0)
    assert arm.did() == ["init", "safe", "shutdown"]
    assert report.ok
    [emergency] = report.emergencies
    assert emergency.reached == ("arm",)


# What is in flight


async def test_an_async_tick_in_flight_is_cancelled_and_is_no_failure() -> None:
    class Slow(Arm):
        async def tick_async(self) -> None:
            try:
                await trio.sleep(10)
            finally:
                self.write("unwound")

    arm = Slow(rate=1, failure_policy=Fatal())
    async with open_harness(arm) as h:
        await h.advance(0.5)
        h.scheduler.emergency_stop()
        await h.settle()
        assert arm.diary[1:] == [("unwound", 0.5), ("safe", 0.5)]  # in this order
        assert h.node_statistics().cancelled == 1
        assert h.node_statistics().failures == 0
        assert [r.status for r in h.results] == [horus.TickStatus.CANCELLED]


async def test_one_that_does_not_unwind_has_a_grace_and_no_more() -> None:
    class Stubborn(Arm):
        async def tick_async(self) -> None:
            with trio.CancelScope(shield=True):
                await trio.sleep(2)
            self.write("unwound")

    arm = Stubborn(rate=0.25)
    async with open_harness(arm) as h:
        await h.advance(0.5)
        h.scheduler.emergency_stop()
        await h.advance(3)
        assert arm.diary[1:] == [("safe", 0.55), ("unwound", 2.0)]


async def test_what_a_tick_sends_from_then_on_is_refused_and_that_is_no_failure() -> None:
    class Late(Arm):
        async def tick_async(self) -> None:
            with trio.CancelScope(shield=True):
                await trio.sleep(2)
            self.send("speed", 100)

    async with open_harness(Late(rate=0.25, failure_policy=Fatal())) as h:
        await h.advance(0.5)
        h.scheduler.emergency_stop()
        await h.advance(3)
        assert h.sent("speed") == []
        assert h.node_statistics().cancelled == 1
        assert h.node_statistics().errors == 0


async def test_an_error_of_a_tick_in_flight_still_is_one() -> None:
    class Broken(Arm):
        async def tick_async(self) -> None:
            try:
                await trio.sleep(10)
            finally:
                raise ValueError("broken")

    async with open_harness(Broken(rate=0.25, failure_policy=Ignore())) as h:
        await h.advance(0.5)
        h.scheduler.emergency_stop()
        await h.settle()
        assert h.node_statistics().errors == 1


async def test_the_safe_state_itself_may_send() -> None:
    class Talker(Arm):
        async def enter_safe_state(self) -> None:
            self.send("speed", 0)

    async with open_harness(Talker(rate=1)) as h:
        await h.advance(0.5)
        h.scheduler.emergency_stop()
        await h.settle()
        assert h.sent("speed") == [0]


@pytest.mark.parametrize("own", ["own", "pool"])
def test_a_def_tick_in_flight_is_refused_too(own: str) -> None:
    begun, released = threading.Event(), threading.Event()
    refused: list[str] = []

    class Late(ThreadedArm):
        def tick(self) -> None:
            begun.set()
            released.wait(10)
            for call in (lambda: self.send("speed", 100), self.check_cancelled):
                try:
                    call()
                except horus.TickAbandoned:
                    refused.append("refused")
            raise horus.TickAbandoned

    arm = Late(rate=50, thread=own, failure_policy=Fatal())
    with horus.background(arm) as scheduler:
        assert begun.wait(10)
        scheduler.emergency_stop()
        eventually(lambda: arm.did() == ["init", "safe"])
        released.set()
        eventually(lambda: scheduler.statistics().nodes["arm"].cancelled == 1)
        assert refused == ["refused", "refused"]
        assert scheduler.topic("speed").statistics().sent == 0


def test_it_waits_for_a_tick_that_is_about_to_end() -> None:
    """So that what the tick still writes does not follow what the safe state writes."""
    begun = threading.Event()

    class Brisk(ThreadedArm):
        def tick(self) -> None:
            begun.set()
            time.sleep(0.01)
            self.write("tick")

    arm = Brisk(rate=20)
    orders: list[list[str]] = []
    with horus.background(arm) as scheduler:
        for episode in range(1, 9):  # a slow machine may take longer than the grace
            begun.clear()
            assert begun.wait(10)
            before = len(arm.diary)
            scheduler.emergency_stop()
            eventually(lambda: bool((e := scheduler.emergency) and e.reached))
            eventually(lambda before=before: len(arm.diary) >= before + 2)  # type: ignore[misc]
            orders.append([what for what, _ in arm.diary[before:]])
            scheduler.reset_emergency()
            assert arm.did().count("safe") == episode
            if orders[-1] == ["tick", "safe"]:
                break
    assert orders[-1] == ["tick", "safe"], orders


@pytest.mark.parametrize("thread", ["own", "pool"])
def test_it_waits_no_longer_than_the_tick_takes(
    thread: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("horus_trio.executor.safe_state.TICK_GRACE", 60.0)
    begun, released = threading.Event(), threading.Event()

    class Held(ThreadedArm):
        def tick(self) -> None:
            begun.set()
            released.wait(10)
            self.write("tick")

    arm = Held(rate=20, thread=thread)
    with horus.background(arm) as scheduler:
        assert begun.wait(10)
        scheduler.emergency_stop()
        assert arm.did(ticks=True) == ["init"]
        released.set()
        eventually(lambda: arm.did(ticks=True) == ["init", "tick", "safe"])


def eventually(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.002)


# Threads


def test_a_node_with_its_own_thread_is_made_safe_there() -> None:
    threads: dict[str, int] = {}

    class Owner(ThreadedArm):
        def write(self, what: str) -> None:
            super().write(what)
            threads[what] = threading.get_ident()

    arm = Owner(rate=100, thread="own")
    with horus.background(arm) as scheduler:
        eventually(lambda: "tick" in threads)
        scheduler.emergency_stop()
        eventually(lambda: "safe" in threads)
    assert len(set(threads.values())) == 1


def test_a_late_node_made_safe_elsewhere_ticks_on_in_its_own_thread() -> None:
    """The call that its own thread was offered, and another one took, is no reason to leave it."""
    ticks: set[int] = set()

    class Late(ThreadedArm):
        def tick(self) -> None:
            ticks.add(threading.get_ident())
            time.sleep(0.07)  # longer than its period, and than the other thread waits

    arm = Late(rate=50, thread="own", on_miss=Miss.SAFE_MODE, critical=False)
    with horus.background(arm) as scheduler:
        eventually(lambda: scheduler.statistics().nodes["arm"].ok >= 12)
    assert arm.did().count("safe") >= 5
    assert len(ticks) == 1


class Owned(ThreadedArm):
    """Has a thread of its own. Its first tick is late, and its ``enter_safe_state`` after that."""

    def __init__(self, *, fails: bool = False) -> None:
        super().__init__(
            "arm",
            rate=100,
            thread="own",
            on_miss=Miss.SAFE_MODE,
            critical=False,
            shutdown_timeout=0.5,
            failure_policy=Ignore(),
        )
        self.fails = fails
        self.late = threading.Event()
        self.go_on = threading.Event()
        self.threads: dict[str, set[int]] = {}

    def write(self, what: str) -> None:
        super().write(what)
        self.threads.setdefault(what, set()).add(threading.get_ident())

    def tick(self) -> None:
        self.write("tick")
        if not self.late.is_set():
            assert self.late.wait(10)
            if self.fails:
                raise ValueError("late as well")

    def on_error(self, error: BaseException) -> None:
        self.write("error")

    def enter_safe_state(self) -> None:
        self.write("safe")
        self.go_on.wait(10)
        self.write("safe over")


def late_in_its_safe_state(arm: Owned, scheduler: Scheduler) -> None:
    """Wait until its own thread is in `enter_safe_state`, and releases have come meanwhile."""
    eventually(lambda: scheduler.statistics().nodes["arm"].missed > 0)
    arm.late.set()
    eventually(lambda: "safe" in arm.threads)
    missed = scheduler.statistics().nodes["arm"].missed
    eventually(lambda: scheduler.statistics().nodes["arm"].missed > missed + 3)


@pytest.mark.parametrize("fails", [False, True])
def test_a_node_in_its_own_thread_ticks_on_when_that_is_through_with_its_safe_state(
    fails: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("horus_trio.executor.safe_state.TICK_GRACE", 10.0)  # its own thread has it
    arm = Owned(fails=fails)
    with horus.background(arm) as scheduler:
        late_in_its_safe_state(arm, scheduler)
        assert arm.did(ticks=True) == ["init", "tick", "safe"]
        arm.go_on.set()
        eventually(lambda: scheduler.statistics().nodes["arm"].ok > 3)
    did = arm.did(ticks=True)
    assert did[:4] == ["init", "tick", "safe", "safe over"]
    assert did.index("tick", 2) > did.index("error" if fails else "safe over")
    assert len(set.union(*arm.threads.values())) == 1


def test_a_safe_state_that_hangs_in_the_nodes_own_thread_holds_its_ticks_and_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("horus_trio.executor.safe_state.TICK_GRACE", 2.0)
    arm = Owned()
    with horus.background(arm) as scheduler:
        late_in_its_safe_state(arm, scheduler)
        run = scheduler._run_state
        assert run is not None
        assert run.executor is not None
        wait = wait_of(run.executor.runners["arm"])
        assert wait is not None
        assert wait.what == "waits for its own thread"
        assert "in enter_safe_state" in wait.where
        pool = run.executor.pool
        eventually(lambda: [a.call for a in pool.statistics().abandoned] == ["enter_safe_state"])
        assert arm.did(ticks=True) == ["init", "tick", "safe"]
    arm.go_on.set()
    report = scheduler.report
    assert report is not None
    statistics = report.statistics.nodes["arm"]
    assert (statistics.ok, statistics.cancelled) == (1, 1)
    assert arm.did(ticks=True) == ["init", "tick", "safe", "shutdown"]
    assert arm.threads["shutdown"] != arm.threads["tick"]
    assert any("its thread was left behind" in error for error in report.hook_errors)


async def test_a_thread_is_free_of_what_another_one_has_taken() -> None:
    taken, release = threading.Event(), threading.Event()

    def brake() -> None:
        taken.set()
        release.wait(10)

    async with open_executor() as executor:
        own, other = executor.pool.own_worker("own"), executor.pool.own_worker("other")
        hook = Hook(name="enter_safe_state", call=brake, is_async=False)
        call = SafeCall(executor.pool, "arm", hook, Fence("arm"), own, lambda: False)
        own._calls[call] = None  # offered: it waits behind a tick
        assert not own.is_free
        other.submit(call, contextvars.copy_context())
        while not taken.is_set():  # noqa: ASYNC110 - another thread sets it
            await trio.sleep(0.001)
        assert own.is_free
        assert not other.is_free
        assert not call.is_over
        release.set()
        while not other.is_free:  # noqa: ASYNC110 - it is what is looked at
            await trio.sleep(0.001)
        assert call.is_over
        own._calls.clear()


def test_and_elsewhere_if_that_thread_hangs() -> None:
    released = threading.Event()
    threads: dict[str, int] = {}

    class Hung(ThreadedArm):
        def write(self, what: str) -> None:
            super().write(what)
            threads[what] = threading.get_ident()

        def tick(self) -> None:
            self.write("tick")
            released.wait(10)

    arm = Hung(rate=100, thread="own")
    with horus.background(arm) as scheduler:
        eventually(lambda: "tick" in threads)
        scheduler.emergency_stop()
        eventually(lambda: "safe" in threads)
        assert threads["safe"] != threads["tick"]
        released.set()
    assert arm.did() == ["init", "safe", "shutdown"]


def test_neither_the_pool_nor_threads_left_behind_matter() -> None:
    released = threading.Event()
    arm = ThreadedArm(rate=20)  # its ticks wait for the pool in vain
    hung = [
        Node(f"hung {n}", tick=lambda node: released.wait(20), tick_timeout=0.05) for n in range(6)
    ]
    try:
        with horus.background([arm, *hung], max_abandoned=0) as scheduler:
            eventually(lambda: bool((pool := scheduler.statistics().pool) and pool.exhausted))
            eventually(
                lambda: scheduler.statistics().nodes["arm"].state is NodeState.WAITING_FOR_THREAD
            )
            report = scheduler.emergency_stop()
            eventually(lambda: arm.did() == ["init", "safe"])
            assert scheduler.emergency is not None
            assert scheduler.emergency.reached == ("arm",)
            assert report.unreached == ()
            eventually(lambda: scheduler.statistics().nodes["arm"].cancelled == 1)
            released.set()
    finally:
        released.set()


def test_no_thread_is_started_in_an_emergency(monkeypatch: pytest.MonkeyPatch) -> None:
    all_at_once = threading.Barrier(12)

    class Slow(ThreadedArm):
        def enter_safe_state(self) -> None:
            all_at_once.wait(20)  # none has its thread from another
            super().enter_safe_state()

    arms = [Slow(f"arm {n}", rate=5) for n in range(12)]
    with horus.background(arms) as scheduler:
        for arm in arms:
            scheduler.pause(arm.name)  # a tick of theirs might start one
        eventually(lambda: not any(n.in_flight for n in scheduler.statistics().nodes.values()))

        def refuse(self: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(threading.Thread, "start", refuse)
        scheduler.emergency_stop()
        eventually(lambda: all(arm.did() == ["init", "safe"] for arm in arms))
        monkeypatch.undo()


def test_a_loop_that_is_blocked_does_not_matter() -> None:
    blocking, released = threading.Event(), threading.Event()

    async def block(node: Node) -> None:
        blocking.set()
        released.wait(20)

    arm, soft = ThreadedArm(rate=20), Arm("soft", rate=20)
    with horus.background([arm, soft, Node("blocker", tick=block)]) as scheduler:
        assert blocking.wait(10)
        report = scheduler.emergency_stop("now")
        assert arm.did() == ["init", "safe"]
        assert report.reached == ("arm",)
        assert scheduler.emergency is not None
        assert scheduler.emergency.reached == ("arm",)
        assert scheduler.emergency.pending == ("soft",)  # its hook is async: it needs the loop
        released.set()
        eventually(lambda: soft.did() == ["init", "safe"])
        assert "safe after" in str(scheduler.emergency)


# What goes wrong in the safe state itself


@both
async def test_a_safe_state_that_raises_disturbs_no_other(kind: Kind) -> None:
    bad, good = kind("bad", rate=4), kind("good", rate=4)
    async with open_harness(bad, good) as h:
        h.fail("enter_safe_state", OSError("no wire"), node="bad")
        await h.advance(1)
        h.scheduler.emergency_stop()
        await h.settle()
        emergency = h.scheduler.emergency
        assert emergency is not None
        assert emergency.reached == ("good",)
        assert emergency.unreached == ("bad",)
        assert emergency.nodes[0].outcome is SafetyOutcome.FAILED
        assert emergency.nodes[0].error == "OSError: no wire"
        assert "'bad' failed: OSError: no wire; 'good' safe after" in str(emergency)
        assert h.state("bad") is NodeState.SAFE
    assert h.scheduler.report is not None
    assert "OSError: no wire" in h.scheduler.report.hook_errors[0]


async def test_an_async_one_that_hangs_is_cancelled_in_time() -> None:
    class Hung(Arm):
        async def enter_safe_state(self) -> None:
            await trio.sleep_forever()

    bad, good = Hung("bad", rate=4, shutdown_timeout=0.5), Arm("good", rate=4)
    async with open_harness(bad, good) as h:
        await h.advance(1)
        h.scheduler.emergency_stop()
        await h.settle()
        emergency = h.scheduler.emergency
        assert emergency is not None
        assert emergency.pending == ("bad",)
        with pytest.raises(horus.HorusError, match="'bad' has not returned yet"):
            h.scheduler.reset_emergency()
        await h.advance(0.6)
        assert h.scheduler.emergency is not None
        assert h.scheduler.emergency.unreached == ("bad",)
        h.scheduler.reset_emergency()
        await h.advance(0.5)
        assert h.state("bad") is NodeState.RUNNING


@pytest.mark.slow
def test_a_def_one_that_hangs_is_left_behind_and_named() -> None:
    released = threading.Event()

    class Hung(ThreadedArm):
        def enter_safe_state(self) -> None:
            super().enter_safe_state()
            released.wait(20)

    bad = Hung("bad", rate=20, shutdown_timeout=0.3)
    good = ThreadedArm("good", rate=20)
    try:
        with pytest.raises(KeyError), horus.background([bad, good]) as scheduler:  # noqa: PT012
            scheduler.emergency_stop()
            eventually(lambda: good.did() == ["init", "safe"])
            eventually(lambda: bool((e := scheduler.emergency) and e.unreached == ("bad",)))
            eventually(lambda: bool((p := scheduler.statistics().pool) and p.abandoned))
            raise KeyError("a test's own")
        report = scheduler.report
        assert report is not None
        assert [(s.node, s.call) for s in report.stragglers] == [("bad", "enter_safe_state")]
        assert "released.wait(20)" in report.stragglers[0].stack
        assert bad.did() == ["init", "safe", "shutdown"]
        assert "took longer than 0.3 s" in report.hook_errors[0]
    finally:
        released.set()


@both
async def test_a_critical_node_without_a_safe_state_is_held_and_named(kind: Kind) -> None:
    async def tick(node: Node) -> None:
        pass

    async with open_harness(Node("plain", tick=tick, rate=4, critical=True), kind(rate=4)) as h:
        await h.advance(1)
        h.scheduler.emergency_stop()
        await h.advance(1)
        emergency = h.scheduler.emergency
        assert emergency is not None
        assert [n.outcome for n in emergency.nodes] == [SafetyOutcome.NO_HOOK, SafetyOutcome.SAFE]
        assert h.node_statistics("plain").ok == 4


def test_a_thread_that_cannot_be_started_beforehand_fails_the_node(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arm = SoftUntilSafe(rate=50, failure_policy=Fatal())
    scheduler = Scheduler(50, signals=False).add(arm)
    start = trio.to_thread.run_sync

    async def refuse(function: Any, *args: Any, **options: Any) -> Any:
        if options.get("thread_name") == "arm safe state":
            raise RuntimeError("can't start new thread")
        return await start(function, *args, **options)

    monkeypatch.setattr("trio.to_thread.run_sync", refuse)
    with pytest.raises(horus.RunFailed) as failed:
        scheduler.run(1)
    assert "can't start new thread" in str(failed.value.exceptions[0])
    assert arm.diary == []  # not even its init: it must not run without that thread


def test_a_safe_state_that_gets_no_thread_has_failed_and_holds_nothing_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arm = SoftUntilSafe(rate=50, critical=False, failure_policy=Restart(0))

    async def fail() -> None:
        raise ValueError("gears")

    async def refuse(function: Any, *args: Any, **options: Any) -> Any:
        raise RuntimeError("can't start new thread")

    arm.tick_async = fail  # type: ignore[method-assign]
    monkeypatch.setattr("trio.to_thread.run_sync", refuse)
    scheduler = Scheduler(50, signals=False).add(arm).add(Arm("well", critical=False))
    report = scheduler.run(0.1)
    assert arm.did() == ["init", "shutdown"]
    [error] = report.hook_errors
    assert error.startswith("enter_safe_state of node 'arm': ")
    assert "RuntimeError: can't start new thread" in error


class SoftUntilSafe(Arm):
    """Asynchronous, save for its safe state."""

    def enter_safe_state(self) -> None:  # type: ignore[override]
        self.write("safe")


# Nodes that come and go


async def test_a_node_that_is_starting_is_made_safe_as_soon_as_it_is_initialised(
    autojump_clock: MockClock,
) -> None:
    class Slow(Arm):
        async def init(self) -> None:
            await trio.sleep(2)
            self.send("hello", 1)  # an init is not cut off
            await super().init()

    arm, lamp = Slow(rate=4), Arm("lamp", rate=4, critical=False)
    scheduler = Scheduler(signals=False).add(lamp)

    async def press() -> None:
        await trio.sleep(1)
        scheduler.add(arm)
        scheduler.emergency_stop()
        assert scheduler.emergency is not None
        [node] = scheduler.emergency.nodes
        assert node.outcome is SafetyOutcome.NOT_RUNNING

    async with trio.open_nursery() as nursery:
        nursery.start_soon(press)
        report = await scheduler.run(4.0)
    assert arm.diary[:2] == [("init", 3.0), ("safe", 3.0)]
    assert report.emergencies[0].reached == ("arm",)
    assert report.statistics.nodes["arm"].ok == 0


async def test_a_node_that_backs_off_is_not_called_and_is_safe_when_it_comes_back() -> None:
    arm = Arm(rate=4, failure_policy=Restart(backoff=2.0, jitter=0))
    async with open_harness(arm) as h:
        h.fail("tick", OSError, at=2)
        await h.advance(1)
        assert h.state() is NodeState.BACKING_OFF
        h.scheduler.emergency_stop()
        await h.settle()
        assert arm.did() == ["init", "shutdown"]
        assert h.scheduler.emergency is not None
        assert h.scheduler.emergency.nodes[0].outcome is SafetyOutcome.NOT_RUNNING
        await h.advance(2)
        assert arm.did() == ["init", "shutdown", "init", "safe"]
        assert h.state() is NodeState.SAFE
        assert h.scheduler.emergency.reached == ("arm",)


async def test_a_node_that_is_initialised_again_in_an_emergency_is_made_safe_again() -> None:
    class Fragile(Arm):
        async def init(self) -> None:
            await super().init()
            self.start_soon(self.wear)

        async def wear(self) -> None:
            await trio.sleep(2.25)
            raise OSError("worn out")

    arm = Fragile(rate=4, failure_policy=Restart(backoff=0.5, jitter=0))
    async with open_harness(arm) as h:
        await h.advance(1)
        h.scheduler.emergency_stop()
        await h.advance(2)
        assert arm.did() == ["init", "safe", "shutdown", "init", "safe"]
        assert h.state() is NodeState.SAFE
        assert arm.did(ticks=True).count("tick") == 4


async def test_live_control_does_not_undo_an_emergency() -> None:
    arm = Arm(rate=4)
    async with open_harness(arm, Arm("other", rate=4)) as h:
        h.scheduler.emergency_stop()
        h.scheduler.pause("arm")
        h.scheduler.resume("arm")
        h.scheduler.set_rate("arm", 8)
        await h.advance(1)
        assert arm.did(ticks=True) == ["init", "safe"]
        h.scheduler.pause("arm")
        h.scheduler.reset_emergency()
        await h.advance(1)
        assert h.state("arm") is NodeState.PAUSED
        assert "tick" not in arm.did(ticks=True)
        h.scheduler.remove("arm")
        await h.advance(0.5)
        assert arm.did() == ["init", "safe", "shutdown"]
        h.scheduler.emergency_stop("without it")
        await h.settle()
        assert h.scheduler.emergency is not None
        assert h.scheduler.emergency.reached == ("other",)


# Where an emergency comes from


@pytest.mark.parametrize("policy", [Fatal(), Restart(0)])
async def test_a_fatal_failure(policy: horus.FailurePolicy, autojump_clock: MockClock) -> None:
    """The failing node and all others, each once; and it happens before anything shuts down."""
    bad, good = Arm("bad", rate=4, failure_policy=policy), Arm("good", rate=4)

    async def fail() -> None:
        bad.write("tick")
        raise ValueError("gears")

    bad.tick_async = fail  # type: ignore[method-assign]
    with pytest.raises(horus.RunFailed) as failed:
        await Scheduler(signals=False).add(bad).add(good, order=1).run()
    assert bad.did() == good.did() == ["init", "safe", "shutdown"]
    assert good.diary[-2][1] == 0.0
    [emergency] = failed.value.report.emergencies
    assert emergency.reason == "node 'bad' failed for good"
    assert emergency.reached == ("bad", "good")


async def test_a_fatal_failure_in_an_init(autojump_clock: MockClock) -> None:
    bad, good = Arm("bad", failure_policy=Restart(0)), Arm("good")

    async def fail() -> None:
        raise ValueError("gears")

    bad.init = fail  # type: ignore[method-assign]
    with pytest.raises(horus.RunFailed):
        await Scheduler(signals=False).add(good, order=-1).add(bad).run()
    assert good.did() == ["init", "safe", "shutdown"]
    assert bad.did() == []


async def test_the_failure_of_a_node_that_is_not_critical_makes_only_itself_safe(
    autojump_clock: MockClock,
) -> None:
    bad = Arm("bad", rate=4, critical=False, failure_policy=Restart(0))
    good = Arm("good", rate=4)

    async def fail() -> None:
        raise ValueError("gears")

    bad.tick_async = fail  # type: ignore[method-assign]
    report = await Scheduler(signals=False).add(bad).add(good).run(1.0)
    assert bad.did() == ["init", "safe", "shutdown"]
    assert good.did() == ["init", "shutdown"]
    assert report.emergencies == ()


async def test_a_stop_that_others_hold_up(autojump_clock: MockClock) -> None:
    arm = Arm(rate=4)

    async def hang(node: Node) -> None:
        await trio.sleep(1.5)

    scheduler = Scheduler(signals=False).add(arm)
    scheduler.add(Node("slow", tick=hang, shutdown=hang, rate=0.1), order=1)
    report = await scheduler.run(2.0)
    assert arm.diary[-2:] == [("safe", 2.1), ("shutdown", 3.5)]
    assert report.emergencies[0].reason == "the stop is held up"
    assert report.ok


async def test_in_one_order_critical_nodes_shut_down_last(autojump_clock: MockClock) -> None:
    """So that they stay in reach while the others, which may hang, come to their end."""
    arm = Arm(rate=4)

    async def linger(node: Node) -> None:
        await trio.sleep(0.05)

    async def well(node: Node) -> None:
        pass

    scheduler = Scheduler(signals=False).add(arm).add(Node("slow", tick=well, shutdown=linger))
    await scheduler.run(1.0)
    assert arm.diary[-1] == ("shutdown", 1.05)
    assert arm.did() == ["init", "shutdown"]


async def test_a_forced_stop(autojump_clock: MockClock) -> None:
    class Slow(Arm):
        async def enter_safe_state(self) -> None:
            await trio.sleep(0.02)
            await super().enter_safe_state()

    arm = Slow(rate=4)

    async def hang(node: Node) -> None:
        await trio.sleep(60)

    scheduler = Scheduler(signals=False, stop_timeout=0.15)
    scheduler.add(arm).add(Node("hung", tick=hang, shutdown=hang, rate=0.1), order=1)
    began = trio.current_time()
    report = await scheduler.run(1.0)
    assert arm.did() == ["init", "safe", "shutdown"]
    assert report.emergencies[0].reason == "the stop is forced"
    assert report.emergencies[0].reached == ("arm",)
    assert trio.current_time() - began <= 1.15 + 1e-9


async def test_a_forced_stop_gives_a_hanging_safe_state_half_of_the_time(
    autojump_clock: MockClock,
) -> None:
    class Hung(Arm):
        async def enter_safe_state(self) -> None:
            await trio.sleep_forever()

    arm = Hung(rate=4)

    async def hang(node: Node) -> None:
        await trio.sleep(60)

    scheduler = Scheduler(signals=False, stop_timeout=1.0)
    scheduler.add(arm).add(Node("hung", tick=hang, shutdown=hang, rate=0.1), order=1)
    report = await scheduler.run(1.0)
    assert arm.did() == ["init", "shutdown"]
    assert trio.current_time() <= 2.0 + 1e-9
    assert report.emergencies[0].unreached == ("arm",)


@both
async def test_a_node_calls_it(kind: Kind) -> None:
    def bumper(node: Node) -> None:
        node.emergency_stop()

    async def soft_bumper(node: Node) -> None:
        node.emergency_stop("soft bumper")

    tick: Any = bumper if kind is ThreadedArm else soft_bumper
    arm = kind(rate=8)
    async with open_harness(arm, Node("bumper", tick=tick, rate=8)) as h:
        await h.advance(1)
        assert arm.did() == ["init", "safe"]
        assert h.scheduler.emergency is not None
        assert "bumper" in h.scheduler.emergency.reason
    with pytest.raises(horus.NotRunning, match="nothing to make safe"):
        Arm().emergency_stop()


async def test_a_critical_node_calls_it_in_its_own_tick() -> None:
    class Bold(Arm):
        async def tick_async(self) -> None:
            self.emergency_stop()
            self.write("on")
            self.send("speed", 1)

    arm = Bold(rate=4)
    async with open_harness(arm) as h:
        await h.advance(1)
        assert [what for what, _ in arm.diary] == ["init", "on", "safe"]
        assert h.sent("speed") == []
        assert h.node_statistics().cancelled == 1


def test_a_signal_handler_calls_it_whatever_it_interrupts() -> None:
    """Again and again in the midst of sends, with no lock waited for."""
    arm = ThreadedArm(rate=200)
    scheduler = Scheduler(200)

    async def flood(node: Node) -> None:
        for number in range(400):
            node.send("x", number)

    async def read(node: Node) -> None:
        node.recv_all("x")

    scheduler.add(arm).add(Node("flood", tick=flood)).add(Node("reader", tick=read, subs="x"))
    rings = 0

    def ring(signum: int, frame: object) -> None:
        nonlocal rings
        rings += 1
        scheduler.emergency_stop(f"alarm {rings}")
        if time.monotonic() > end:  # Trio closes what signals wake it by when a run is over
            signal.setitimer(signal.ITIMER_REAL, 0)

    end = time.monotonic() + 0.8
    earlier = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, 0.2, 0.003)
    try:
        report = scheduler.run(1.0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, earlier)
    assert rings > 20
    assert arm.did() == ["init", "safe", "shutdown"]
    assert report.emergencies[0].reason == "alarm 1"


def test_many_threads_at_once_make_one_episode() -> None:
    arms = [ThreadedArm(f"arm {n}", rate=50) for n in range(4)]
    with horus.background(arms) as scheduler:
        barrier = threading.Barrier(16)

        def press(number: int) -> None:
            barrier.wait()
            scheduler.emergency_stop(f"button {number}")

        threads = [threading.Thread(target=press, args=(n,)) for n in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        eventually(lambda: all(arm.did() == ["init", "safe"] for arm in arms))
    assert scheduler.report is not None
    assert len(scheduler.report.emergencies) == 1


def test_an_emergency_is_not_lost_in_a_reset() -> None:
    """One thread cries out again and again, another one resets; each episode reaches the node."""
    arm = ThreadedArm(rate=200)
    over = threading.Event()
    with horus.background(arm) as scheduler:

        def reset() -> None:
            while not over.is_set():
                with contextlib.suppress(horus.HorusError):  # it is still on its way
                    scheduler.reset_emergency()

        resetting = threading.Thread(target=reset)
        resetting.start()
        for number in range(400):
            scheduler.emergency_stop(f"cry {number}")
            time.sleep(0.0005)
        over.set()
        resetting.join()
        scheduler.emergency_stop("the last one")
        eventually(lambda: bool((e := scheduler.emergency) and e.active and e.reached))
        assert scheduler.statistics().nodes["arm"].state is NodeState.SAFE
        ticks = scheduler.statistics().nodes["arm"].ok
        time.sleep(0.05)
        assert scheduler.statistics().nodes["arm"].ok == ticks
    assert scheduler.report is not None
    assert len(scheduler.report.emergencies) == arm.did().count("safe") > 1


async def test_a_cry_in_the_midst_of_a_reset_begins_a_new_episode(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    arm = Arm(rate=4)
    scheduler = Scheduler(signals=False).add(arm)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scheduler.run)
        await trio.sleep(0.1)
        scheduler.emergency_stop("one")
        await trio.sleep(0.1)
        run = scheduler._run_state
        assert run is not None
        assert run.executor is not None
        [runner] = run.executor.runners.values()
        let_go = NodeRunner.let_go

        def cry_meanwhile(runner: NodeRunner) -> None:
            scheduler.emergency_stop("two")  # as another thread may
            let_go(runner)

        monkeypatch.setattr(NodeRunner, "let_go", cry_meanwhile)
        scheduler.reset_emergency()
        await trio.sleep(1)
        assert arm.did(ticks=True).count("safe") == 2
        assert runner.state is NodeState.SAFE
        assert scheduler.emergency is not None
        assert scheduler.emergency.reason == "two"
        nursery.cancel_scope.cancel()


@both
async def test_a_reset_in_the_midst_of_a_cry_is_refused(
    kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop comes to it while another thread has told only some of the nodes."""
    told: list[str] = []

    def reset_first(tell: Callable[[Any], None]) -> Callable[[Any], None]:
        def reset_and_tell(who: Any) -> None:
            with pytest.raises(horus.HorusError, match="it has only just begun"):
                h.scheduler.reset_emergency()
            told.append(tell.__name__)
            tell(who)

        return reset_and_tell

    arms = [kind("left", rate=4), kind("right", rate=4)]
    async with open_harness(*arms) as h:
        await h.advance(0.1)
        h.scheduler.emergency_stop("an earlier one")
        await h.settle()
        h.scheduler.reset_emergency()
        with monkeypatch.context() as patch:
            patch.setattr(NodeRunner, "hold", reset_first(NodeRunner.hold))
            patch.setattr(SafeState, "enter", reset_first(SafeState.enter))
            h.scheduler.emergency_stop("one")
        await h.settle()
        assert told == ["hold", "hold", "enter", "enter"]
        assert h.scheduler.emergency is not None
        assert h.scheduler.emergency.reached == ("left", "right")
        h.scheduler.reset_emergency()
        h.scheduler.emergency_stop("two")
        await h.settle()
        assert [arm.did().count("safe") for arm in arms] == [3, 3]


async def test_whoever_is_safe_at_the_moment_of_a_reset_is_told_of_as_safe(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done = threading.Event()

    class Slow(ThreadedArm):
        def enter_safe_state(self) -> None:
            done.wait(10)

    def ends_meanwhile(state: SafeState) -> bool:
        done.set()
        eventually(lambda: not is_out(state))
        return False

    is_out: Callable[[SafeState], bool] = vars(SafeState)["is_out"].fget
    async with open_harness(Slow()) as h:
        await h.advance(0.1)
        h.scheduler.emergency_stop()
        assert h.scheduler.emergency is not None
        assert h.scheduler.emergency.pending == ("arm",)
        with monkeypatch.context() as patch:
            patch.setattr(SafeState, "is_out", property(ends_meanwhile))
            h.scheduler.reset_emergency()
        assert h.scheduler.emergency.reached == ("arm",)
        assert not h.scheduler.emergency.active


@both
async def test_an_emergency_that_cannot_tell_everybody_can_still_be_reset(
    kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when Ctrl-C comes in its midst."""
    arm = kind(rate=4)

    def interrupted(state: SafeState) -> None:
        raise KeyboardInterrupt

    async with open_harness(arm) as h:
        await h.advance(0.1)
        with monkeypatch.context() as patch:
            patch.setattr(SafeState, "enter", interrupted)
            with pytest.raises(KeyboardInterrupt):
                h.scheduler.emergency_stop("one")
        h.scheduler.reset_emergency()
        h.scheduler.emergency_stop("two")
        await h.settle()
        assert arm.did().count("safe") == 1


def test_without_a_run_there_is_nobody_to_reach() -> None:
    arm = Arm(rate=50)
    scheduler = Scheduler(signals=False).add(arm)
    report = scheduler.emergency_stop("early")
    assert (report.nodes, report.active) == ((), False)
    assert math.isnan(report.at)
    assert "there is no critical node" in str(report)
    assert scheduler.emergency is None
    scheduler.reset_emergency()
    scheduler.run(0.1)
    assert arm.did() == ["init", "shutdown"]
    scheduler.emergency_stop("late")
    assert scheduler.emergency is None


async def test_each_run_begins_without_the_emergency_of_the_last(
    autojump_clock: MockClock,
) -> None:
    arm = Arm(rate=4)
    scheduler = Scheduler(signals=False).add(arm)
    for number in range(2):

        async def press(number: int = number) -> None:
            await trio.sleep(0.6)
            scheduler.emergency_stop(f"run {number}")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(press)
            report = await scheduler.run(1.0)
        assert report.statistics.nodes["arm"].ok == 3
        assert [e.reason for e in report.emergencies] == [f"run {number}"]
    assert arm.did() == ["init", "safe", "shutdown"] * 2
    assert scheduler.emergency is not None
    assert scheduler.emergency.reason == "run 1"


# Misses are no emergencies


async def test_the_safe_mode_of_a_late_node_goes_one_at_a_time() -> None:
    class Slow(Arm):
        async def tick_async(self) -> None:
            await trio.sleep(1.9)

        async def enter_safe_state(self) -> None:
            self.write("safe")
            await trio.sleep(0.6)

    arm = Slow(rate=4, on_miss=Miss.SAFE_MODE)
    async with open_harness(arm) as h:
        await h.advance(1.9)
        assert [t for what, t in arm.diary if what == "safe"] == [0.25, 1.0, 1.75]
        assert h.scheduler.emergency is None
        h.scheduler.emergency_stop()  # while it is out: it is called once more
        await h.advance(2)
        assert [t for what, t in arm.diary if what == "safe"] == [0.25, 1.0, 1.75, 2.35]
        assert h.scheduler.emergency is not None
        assert h.scheduler.emergency.reached == ("arm",)


async def test_a_miss_while_it_is_made_safe_in_an_emergency_is_none_of_its_business() -> None:
    class Stubborn(Arm):
        async def tick_async(self) -> None:
            if self.now >= 1:
                with trio.CancelScope(shield=True):
                    await trio.sleep(0.3)  # ends past its deadline, while the hook is out

        async def enter_safe_state(self) -> None:
            self.write("safe")
            await trio.sleep(0.6)

    arm = Stubborn(rate=1, phase=0.0, deadline=0.1, on_miss=Miss.SAFE_MODE)
    async with open_harness(arm) as h:
        await h.advance(1.05)
        h.scheduler.emergency_stop()
        await h.advance(2)
        assert h.node_statistics("arm").deadline_missed == 1
        assert arm.did() == ["init", "safe"]
        assert h.scheduler.emergency is not None
        assert h.scheduler.emergency.reached == ("arm",)


# What is said


async def test_a_node_that_comes_during_an_emergency_is_in_its_report() -> None:
    async with open_harness(Arm("left", rate=4)) as h:
        await h.advance(1)
        h.scheduler.emergency_stop("the button")
        await h.advance(1)
        h.scheduler.add(Arm("right", rate=4))
        await h.settle()
        report = h.scheduler.emergency
        assert report is not None
        assert report.reached == ("left", "right")
        assert [node.delay for node in report.nodes] == [0.0, 1.0]
        h.scheduler.reset_emergency()
        await h.settle()
        h.scheduler.add(Arm("late", rate=4))
        await h.settle()
        assert h.scheduler.emergency is not None
        assert h.scheduler.emergency.reached == ("left", "right")
        assert not h.scheduler.emergency.active


async def test_the_report_says_how_far_each_node_is() -> None:
    class Slow(Arm):
        async def enter_safe_state(self) -> None:
            await trio.sleep(0.6)
            raise OSError("the brake is stuck")

    async with open_harness(Slow(rate=4, shutdown_timeout=1)) as h:

        def report() -> horus.EmergencyReport:
            found = h.scheduler.emergency
            assert found is not None
            return found

        await h.advance(1.1)
        h.scheduler.emergency_stop("the button")
        entering = horus.NodeInEmergency(node="arm", outcome=SafetyOutcome.ENTERING)
        assert report().nodes == (entering,)
        await h.advance(0.5)
        assert report().nodes == (dataclasses.replace(entering, delay=0.0),)
        assert (report().pending, report().unreached, report().reached) == (("arm",), (), ())
        await h.advance(0.2)
        [node] = report().nodes
        assert node.outcome is SafetyOutcome.FAILED
        assert node.delay == 0.0
        assert node.duration == pytest.approx(0.6)
        assert str(node) == "'arm' failed: OSError: the brake is stuck"
        assert (report().pending, report().unreached, report().reached) == ((), ("arm",), ())


async def test_the_log_says_it_once(caplog: pytest.LogCaptureFixture) -> None:
    async with open_harness(Arm("left", rate=4), Arm("right", rate=4)) as h:
        h.scheduler.emergency_stop("the button")
        await h.advance(1)
        h.scheduler.emergency_stop("the button")
        await h.advance(1)
    texts = [r.getMessage() for r in caplog.records]
    assert texts[0] == "EMERGENCY: the button"
    assert texts[1].startswith("emergency (the button): 'left' safe after")
    assert len(texts) == 2


def test_outcomes_and_reports_are_shown_as_they_are_written() -> None:
    assert repr(SafetyOutcome.SAFE) == "SafetyOutcome.SAFE"
    node = horus.NodeInEmergency(
        node="arm", outcome=SafetyOutcome.SAFE, delay=0.001, duration=0.002
    )
    report = horus.EmergencyReport(reason="test", at=1.0, active=True, nodes=(node,))
    assert str(report) == "emergency (test): 'arm' safe after 3.0 ms"
    assert (report.reached, report.pending, report.unreached) == (("arm",), (), ())


async def test_reset_from_a_foreign_thread_and_repr(autojump_clock: MockClock) -> None:
    scheduler = Scheduler(signals=False).add(Arm(rate=4))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scheduler.run)
        await wait_all_tasks_blocked()
        run = scheduler._run_state
        assert run is not None
        assert run.executor is not None
        assert repr(run.executor.safety) == "<SafetyChain of 1 critical node(s), ready>"
        [runner] = run.executor.runners.values()
        assert repr(runner.safe_state) == "<SafeState of 'arm', not called>"
        scheduler.emergency_stop()
        assert repr(run.executor.safety) == "<SafetyChain of 1 critical node(s), tripped>"
        await trio.sleep(0.1)
        assert repr(runner.safe_state) == "<SafeState of 'arm', called>"
        autojump_clock.autojump_threshold = math.inf
        await trio.to_thread.run_sync(scheduler.reset_emergency)
        autojump_clock.autojump_threshold = 0.0
        assert runner.state is NodeState.RUNNING
        scheduler.stop()


@both
async def test_a_node_that_has_left_is_no_part_of_an_emergency(kind: Kind) -> None:
    async with open_harness(kind("left", rate=4), kind("right", rate=4)) as h:
        await h.advance(1)
        h.scheduler.remove("left")
        await h.advance(1)
        h.scheduler.emergency_stop("the button")
        await h.settle()
        assert h.scheduler.emergency is not None
        assert [n.node for n in h.scheduler.emergency.nodes] == ["right"]
