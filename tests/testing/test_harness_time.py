"""Time in a harness: ticks on demand, `advance`, threads, and every clock a run may have."""

from __future__ import annotations

import math
import threading
import time
from typing import Any, Literal

import pytest
import trio
import trio.testing

import horus_trio as horus
from horus_trio.executor.threads import WorkerThread
from horus_trio.testing import FakeDevice, HarnessError, VirtualClock, blocking_delay, open_harness
from horus_trio.topics.bell import current_bell


class Beats(horus.AsyncNode):
    """Sends the number of its tick."""

    async def tick_async(self) -> int:
        tick = self.current_tick
        assert tick is not None
        self.send("beats", tick.seq)
        return tick.seq


class Sleeps(horus.AsyncNode):
    def __init__(self, seconds: float, name: str = "sleeps", **options: object) -> None:
        super().__init__(name, **options)  # type: ignore[arg-type]
        self.seconds = seconds

    async def tick_async(self) -> None:
        await trio.sleep(self.seconds)


class Reads(horus.Node):
    """A `def` node that takes its time."""

    def __init__(self, seconds: float, **options: object) -> None:
        super().__init__("reads", **options)  # type: ignore[arg-type]
        self.seconds = seconds

    def tick(self) -> float:
        before = self.now
        blocking_delay(self.seconds)
        return self.now - before


# Ticks on demand


async def test_nothing_ticks_until_it_is_asked_for() -> None:
    async with open_harness(Beats("a", rate=100)) as h:
        await h.settle()
        assert (h.results, h.now, h.sent("beats")) == ([], 0.0, [])


async def test_ticks_on_demand_are_those_and_no_others() -> None:
    async with open_harness(Beats("a", rate=100)) as h:
        results = await h.tick(3)
        assert [(r.node, r.seq, r.value, r.success) for r in results] == [
            ("a", 1, 1, True),
            ("a", 2, 2, True),
            ("a", 3, 3, True),
        ]
        assert h.results == results
        assert h.sent("beats") == [1, 2, 3]
        assert h.now == 0.0
        assert await h.tick() == h.results[3:]


async def test_a_tick_on_demand_takes_the_time_it_takes() -> None:
    async with open_harness(Sleeps(0.5, rate=100)) as h:
        results = await h.tick(2)
        assert [(r.started, r.duration) for r in results] == [(0.0, 0.5), (0.5, 0.5)]
        assert h.now == 1.0
        assert h.node_statistics().missed == 0  # its rate rests meanwhile


async def test_one_node_ticks_or_all_side_by_side() -> None:
    async with open_harness(Sleeps(0.5, "a"), Sleeps(0.25, "b")) as h:
        assert [r.node for r in await h.tick(node="b")] == ["b"]
        assert h.now == 0.25
        assert [r.node for r in await h.tick()] == ["b", "a"]
        assert h.now == 0.75
        assert [r.seq for r in h.results_of("b")] == [1, 2]


async def test_what_a_tick_brings_about_at_once_has_happened_when_it_returns() -> None:
    class Follows(horus.AsyncNode):
        async def tick_async(self) -> None:
            self.send("follows", self.recv("beats"))

    async with open_harness(Beats("a"), Follows("b", on="beats")) as h:
        await h.tick(node="a")
        assert h.sent("follows") == [1]


async def test_a_tick_on_demand_waits_for_a_restart() -> None:
    async with open_harness(Beats("a", failure_policy=horus.Restart(jitter=0))) as h:
        h.fail("tick", ValueError("x"), at=1)
        first, second = await h.tick(2)
        assert (first.status, second.status) == (horus.TickStatus.ERROR, horus.TickStatus.OK)
        assert h.now == 0.1  # its backoff
        assert h.node_statistics().restarts == 1


async def test_a_tick_in_flight_is_finished_first() -> None:
    async with open_harness(Sleeps(1.0, rate=1)) as h:
        await h.advance(0.5)
        assert h.node_statistics().in_flight == 1
        assert [r.seq for r in await h.tick()] == [2]
        assert [(r.seq, r.started + r.duration) for r in h.results] == [(1, 1.0), (2, 2.0)]


# Advancing


@pytest.mark.parametrize("steps", [[2.5], [1.0, 1.5], [0.1] * 25, [0.0, 2.5, 0.0]])
async def test_seconds_times_rate_ticks_however_they_are_cut(steps: list[float]) -> None:
    async with open_harness(Beats("a", rate=10)) as h:
        for step in steps:
            await h.advance(step)
        assert [r.scheduled for r in h.results] == [n / 10 for n in range(25)]
        assert [r.lateness for r in h.results] == [0.0] * 25
        assert h.now == 2.5
        await h.advance(0.05)
        assert len(h.results) == 26


async def test_all_that_falls_due_happens_in_order_and_at_the_end_too() -> None:
    seen: list[tuple[float, str]] = []

    class Alarm(horus.AsyncNode):
        async def init(self) -> None:
            self.start_soon(self.ring)

        async def ring(self) -> None:
            for _ in range(3):
                await trio.sleep(0.25)
                seen.append((self.now, "ring"))

        async def tick_async(self) -> None:
            seen.append((self.now, "tick"))
            await trio.sleep(0.1)
            seen.append((self.now, "done"))

    async with open_harness(Alarm("a", rate=5)) as h:
        await h.advance(0.5)
        assert seen[:6] == [
            (0.0, "tick"),
            (0.1, "done"),
            (0.2, "tick"),
            (0.25, "ring"),
            (pytest.approx(0.3), "done"),
            (0.4, "tick"),
        ]
        assert sorted(seen[6:]) == [(0.5, "done"), (0.5, "ring")]


async def test_advance_until_a_condition_holds() -> None:
    async with open_harness(Beats("a", rate=10)) as h:
        await h.advance_until(lambda: len(h.results) == 7)
        assert h.now == 0.6
        with pytest.raises(HarnessError, match="not met within 2 s; node 'a' is running"):
            await h.advance_until(lambda: False, within=2)
        with pytest.raises(ZeroDivisionError):
            await h.advance_until(lambda: 1 / 0)
        await h.advance(1)  # and it goes on


async def test_a_scheduler_with_its_own_nodes_and_options() -> None:
    scheduler = horus.Scheduler(50, name="robot")
    scheduler.add(Beats("a")).add(Beats, name="b", rate=1)
    async with open_harness(scheduler) as h:
        await h.advance(2)
        assert {name: n.ok for name, n in h.statistics().nodes.items()} == {"a": 100, "b": 2}
    assert scheduler.report is not None
    assert scheduler.report.name == "robot"
    async with open_harness(scheduler) as h:  # again: it is the user's
        await h.advance(1)
        assert h.statistics().nodes["a"].ok == 50


async def test_factories_make_a_fresh_instance_after_a_failure() -> None:
    async with open_harness(Beats, rate=10) as h:
        first = h.node()
        h.fail("tick", OSError("gone"), at=1)
        await h.advance(1)
        assert h.node() is not first
        assert type(h.node()) is Beats


async def test_late_nodes_pauses_and_rates_while_held() -> None:
    async with open_harness(Beats("a", rate=10)) as h:
        h.scheduler.add(Beats("late", rate=10, phase=0.0))
        await h.settle()
        h.scheduler.pause("a")
        assert h.states == {"a": horus.NodeState.PAUSED, "late": horus.NodeState.RUNNING}
        await h.advance(1)
        assert [n.ok for n in h.statistics().nodes.values()] == [0, 10]
        h.scheduler.resume("a")
        h.scheduler.set_rate("late", 2)
        await h.settle()
        assert [n.ok for n in h.statistics().nodes.values()] == [0, 10]
        await h.advance(1)
        assert [n.ok for n in h.statistics().nodes.values()] == [10, 11]


async def test_a_removed_node_leaves_its_results() -> None:
    async with open_harness(Beats("a"), Beats("b")) as h:
        await h.tick(2)
        h.scheduler.remove("a")
        await h.settle()
        assert list(h.states) == ["b"]
        assert [r.seq for r in h.results_of("a")] == [1, 2]
        assert h.results_of(h.node("b")) == h.results_of("b")
        with pytest.raises(horus.UnknownNode, match="no node 'c'"):
            h.results_of("c")


async def test_a_node_may_be_used_in_another_harness_afterwards() -> None:
    node = Beats("a")
    for _ in range(2):
        async with open_harness(node) as h:
            await h.tick()


async def test_the_report_after_a_stop() -> None:
    async with open_harness(Beats("a")) as h:
        assert h.report is None
        await h.tick(2)
        report = await h.stop("enough")
        assert (report.reason, report.statistics.nodes["a"].ok) == ("enough", 2)
        assert h.report is report
        assert "stopped" in repr(h)


@pytest.mark.parametrize("thread", ["pool", "own"])
async def test_a_run_that_ends_by_itself_is_over_at_that_instant(
    thread: Literal["pool", "own"], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However slow its idle threads are to leave."""
    serve = WorkerThread._loop

    def leave_late(worker: WorkerThread) -> None:
        serve(worker)
        time.sleep(0.05)

    monkeypatch.setattr(WorkerThread, "_loop", leave_late)

    def stop_at_the_third(node: horus.Node) -> None:
        tick = node.current_tick
        if tick is not None and tick.seq == 3:
            node.request_stop("enough")

    async with open_harness(horus.Node("a", tick=stop_at_the_third, rate=10, thread=thread)) as h:
        while h.report is None and h.now < 1.0:
            await h.advance(0.01)
        assert h.report is not None
        assert (h.now, h.report.reason) == (0.2, "enough")


async def test_slow_inits_and_shutdowns_take_virtual_time() -> None:
    class Slow(Beats):
        async def init(self) -> None:
            await trio.sleep(5)

        async def shutdown(self) -> None:
            await trio.sleep(2)

    async with open_harness(Slow("a")) as h:
        assert h.now == 5.0
        await h.stop()
        assert h.now == 7.0


# Threads


async def test_def_ticks_live_on_virtual_time() -> None:
    async with open_harness(Reads(0.25, rate=2)) as h:
        await h.advance(1.5)
        assert [(r.started, r.duration, r.value) for r in h.results] == [
            (0.0, 0.25, 0.25),
            (0.5, 0.25, 0.25),
            (1.0, 0.25, 0.25),
        ]


async def test_a_def_tick_times_out_by_its_delays() -> None:
    async with open_harness(Reads(3.0, rate=10, tick_timeout=0.5)) as h:
        (result,) = await h.tick()
        assert result.status is horus.TickStatus.ABANDONED
        assert result.duration == 0.5
        assert h.state() is horus.NodeState.STUCK
        await h.advance(2.5)
        assert h.now == 3.0
        assert h.state() is horus.NodeState.BACKING_OFF  # its thread has come back


async def test_a_slow_machine_makes_no_time_out() -> None:
    """Beside an autojump clock this very tick would time out: real code is slower than no time."""
    began = threading.Event()

    class Slow(horus.Node):
        def tick(self) -> str:
            began.set()
            time.sleep(0.1)  # really
            return "done"

    ticks = trio.testing.MockClock(autojump_threshold=0)
    scheduler = horus.Scheduler().add(Slow("slow", tick_timeout=0.01))
    with pytest.raises(horus.ConfigurationError, match="virtual time would run away"):
        await trio.to_thread.run_sync(lambda: trio.run(scheduler.run, 1, clock=ticks))

    async with open_harness(Slow("slow", tick_timeout=0.01)) as h:
        (result,) = await h.tick()
        assert (result.status, result.value) == (horus.TickStatus.OK, "done")
        assert result.duration == 0.0


async def test_a_bare_autojump_clock_does_time_out_beside_a_thread() -> None:
    """The trap itself, with Trio alone, so that the test above tests something."""

    async def main() -> bool:
        with trio.move_on_after(0.01) as scope:
            await trio.to_thread.run_sync(time.sleep, 0.1, abandon_on_cancel=True)
        return scope.cancelled_caught

    clock = trio.testing.MockClock(autojump_threshold=0)
    timed_out = await trio.to_thread.run_sync(lambda: trio.run(main, clock=clock))
    assert timed_out


async def test_the_users_own_threads_hold_time_up_too() -> None:
    class Mixed(horus.AsyncNode):
        async def tick_async(self) -> str:
            with trio.move_on_after(0.01):
                await trio.to_thread.run_sync(time.sleep, 0.05)
                await trio.to_thread.run_sync(blocking_delay, 0.005)
                return "in time"
            return "too late"

    async with open_harness(Mixed("a")) as h:
        (result,) = await h.tick()
        assert (result.value, h.now) == ("in time", 0.005)


@pytest.mark.parametrize("thread", ["pool", "own"])
async def test_a_tick_that_really_blocks_fails_the_test_and_is_named(thread: str) -> None:
    release = threading.Event()

    class Blocks(horus.Node):
        def tick(self) -> None:
            release.wait(30)  # really

    with pytest.raises(HarnessError) as caught:
        async with open_harness(Blocks("camera", thread=thread), real_limit=0.2) as h:  # type: ignore[arg-type]
            await h.tick()
    release.set()
    text = str(caught.value)
    assert text.startswith("tick of node 'camera' has really blocked its thread for more than 0.2")
    assert "release.wait(30)  # really" in text
    assert "blocking_delay" in text


async def test_a_thread_may_work_longer_when_it_rests_between() -> None:
    class Rests(horus.Node):
        def tick(self) -> None:
            for _ in range(4):
                time.sleep(0.15)
                blocking_delay(0.1)

    async with open_harness(Rests("a"), real_limit=0.4) as h:
        await h.tick()
        assert h.now == pytest.approx(0.4)


async def test_many_threads_share_virtual_time() -> None:
    nodes = [
        horus.Node(f"n{n}", tick=lambda node: blocking_delay(1.0), thread="own") for n in range(12)
    ]
    async with open_harness(*nodes) as h:
        await h.tick()
        assert h.now == 1.0
        assert {r.duration for r in h.results} == {1.0}


def test_a_delay_outside_a_harness_is_a_real_one() -> None:
    before = time.perf_counter()
    blocking_delay(0.02)
    assert time.perf_counter() - before >= 0.02


@pytest.mark.parametrize("bad", [-1, math.inf, math.nan, "1", None, True])
def test_bad_delays(bad: float) -> None:
    with pytest.raises(horus.ConfigurationError, match="expected a"):
        blocking_delay(bad)


async def test_a_delay_on_the_loop_is_refused() -> None:
    with pytest.raises(horus.AsyncCallInThread, match=r"await trio\.sleep"):
        blocking_delay(0.1)


# The fake device


async def test_a_device_gives_what_was_fed_and_waits_for_more() -> None:
    device = FakeDevice("a", latency=0.1)
    node = horus.Node("n", tick=lambda node: node.send("out", device.read()))
    async with open_harness(node) as h:
        await h.tick()
        assert (h.sent("out"), h.now) == (["a"], 0.1)

        async def feed_later() -> None:
            await trio.sleep(2.0)
            device.feed("b", OSError("unplugged"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(feed_later)
            (result,) = await h.tick()
        assert (h.sent("out"), result.duration) == (["a", "b"], 2.0)
        (result,) = await h.tick()
        assert repr(result.error) == "OSError('unplugged')"
    assert "0 to read" in repr(device)


async def test_closing_frees_a_reader() -> None:
    device = FakeDevice()
    node = horus.Node(
        "n",
        tick=lambda node: device.read(),
        shutdown=lambda node: device.close(),
        tick_timeout=1.0,
    )
    async with open_harness(node) as h:
        (result,) = await h.tick()
        assert result.status is horus.TickStatus.ABANDONED
        report = await h.stop()
    assert device.closed
    assert report.shutdown_while_busy == ("n",)
    with pytest.raises(OSError, match="closed"):
        await trio.to_thread.run_sync(device.read)
    with pytest.raises(OSError, match="closed"):
        await trio.to_thread.run_sync(device.write, 1)
    with pytest.raises(horus.AsyncCallInThread, match=r"FakeDevice\.read\(\) would block"):
        device.read()


async def test_what_is_written_is_kept() -> None:
    device = FakeDevice()
    async with open_harness(horus.Node("n", tick=lambda node: device.write(node.now))) as h:
        await h.advance(0.02)
    assert device.written == [0.0, 0.01]


# Clocks


async def test_a_run_gets_its_own_clock_back() -> None:
    own, before = trio.lowlevel.current_clock(), trio.current_time()
    async with open_harness(Beats("a", rate=1)) as h:
        assert trio.current_time() == 0.0
        await h.advance(3600)
        assert trio.current_time() == 3600.0
    assert trio.lowlevel.current_clock() is own
    assert before <= trio.current_time() < before + 60


async def test_under_a_mock_clock_its_time_goes_on(mock_clock: trio.testing.MockClock) -> None:
    mock_clock.jump(5)
    async with open_harness(Beats("a", rate=10)) as h:
        await h.advance(1)
        assert (len(h.results), h.now) == (10, 6.0)
    assert trio.current_time() == 6.0


async def test_under_an_autojump_clock_nothing_jumps(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_harness(Reads(0.5, rate=1)) as h:  # with a thread
        await h.settle()
        assert h.now == 0.0
        await h.advance(2)
        assert [r.duration for r in h.results] == [0.5, 0.5]
    await trio.sleep(10)  # and afterwards it does again
    assert trio.current_time() == 12.0


async def test_a_mock_clock_moved_by_hand_is_noticed(mock_clock: trio.testing.MockClock) -> None:
    with pytest.raises(horus.HorusError, match="MockClock was moved while a harness held it"):
        async with open_harness(Beats("a")):
            mock_clock.jump(1)


def test_a_virtual_clock_of_the_run_is_used_and_moves_without_a_harness() -> None:
    async def main() -> float:
        clock = trio.lowlevel.current_clock()
        assert isinstance(clock, VirtualClock)
        async with open_harness(Beats("a", rate=1)) as h:
            await h.advance(10)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep, 2)
            await clock.advance(2)
        assert repr(clock) == "<VirtualClock at 12.0 s>"
        return trio.current_time()

    assert trio.run(main, clock=VirtualClock()) == 12.0


async def test_a_clock_that_is_no_instrument_any_more_is_an_error_and_no_endless_loop() -> None:
    clock = VirtualClock()  # of no run: nobody tells it that the loop has looked for I/O
    with clock.running_free(lambda real: None):
        assert clock.deadline_to_sleep_time(1.0) == 0.0
        with pytest.raises(horus.HorusError, match="no instrument of this run"):
            clock.deadline_to_sleep_time(1.0)


async def test_a_deadline_around_a_harness_is_in_real_time() -> None:
    with trio.move_on_after(0.1) as scope:
        async with open_harness(Beats("a", rate=1)) as h:
            await h.advance(1e4)  # far beyond it in virtual time
            await trio.sleep_forever()
    assert scope.cancelled_caught


async def test_cancelled_while_advancing_everything_is_put_away() -> None:
    node = Beats("a", rate=1000)
    own = trio.lowlevel.current_clock()
    with trio.CancelScope() as scope:
        async with open_harness(node) as h:
            h.scheduler.on_result(lambda r: scope.cancel() if r.seq == 100 else None)
            await h.advance(3600)
    assert scope.cancelled_caught
    assert trio.lowlevel.current_clock() is own
    assert h.report is not None


async def test_foreign_io_is_looked_at_before_time_moves() -> None:
    class Talks(horus.AsyncNode):
        async def init(self) -> None:
            self.near, self.far = trio.socket.socketpair()

        async def tick_async(self) -> bytes:
            with trio.fail_after(0.001):
                await self.near.send(b"ping")
                return await self.far.recv(4)

        async def shutdown(self) -> None:
            self.near.close()
            self.far.close()

    async with open_harness(Talks("a")) as h:
        results = await h.tick(50)
        assert {r.value for r in results} == {b"ping"}


async def test_a_message_is_not_late_because_another_thread_is_slow_to_wake_the_loop() -> None:
    """Threads rely on whoever is about to wake it; until that one has, time stands still."""
    hub, other = horus.Hub[int]("hub"), horus.Hub[int]("other")
    heard, overheard = hub.subscribe(), other.subscribe()
    came: list[float] = []
    at_the_bell = threading.Event()

    class SlowToken:
        def __init__(self, token: trio.lowlevel.TrioToken) -> None:
            self.token = token

        def run_sync_soon(self, *args: Any, **options: Any) -> None:
            if threading.current_thread().name == "foreign":
                at_the_bell.set()
                time.sleep(0.1)
            self.token.run_sync_soon(*args, **options)

    class SendsInThread(horus.Node):
        def tick(self) -> None:
            tick = self.current_tick
            assert tick is not None
            if tick.seq == 1:
                return  # nobody listens yet
            at_the_bell.clear()
            foreign = threading.Thread(target=other.send, args=(1,), name="foreign")
            foreign.start()
            assert at_the_bell.wait(10)
            hub.send(1)

    async def hear(node: horus.Node) -> None:
        await heard.receive()
        came.append(node.now)

    async def overhear(node: horus.Node) -> None:
        await overheard.receive()

    async with open_harness(
        SendsInThread("sends", rate=1),
        horus.Node("hears", tick=hear, tick_timeout=None),
        horus.Node("overhears", tick=overhear, tick_timeout=None),
    ) as h:
        bell = current_bell()
        bell._token = SlowToken(bell._token)  # type: ignore[assignment]
        start = h.now
        await h.advance(3.5)
    assert [at - start for at in came] == pytest.approx([1.0, 2.0, 3.0])


# Real time


async def test_in_real_time_the_same_calls_wait() -> None:
    async with open_harness(Beats("a", rate=100), Reads(0.01, rate=10), real_time=True) as h:
        before = time.perf_counter()
        await h.advance(0.5)
        assert time.perf_counter() - before >= 0.5
        assert 0 < h.statistics().nodes["a"].ok <= 50
        (result,) = await h.tick(node="reads")
        assert result.success
        assert result.duration >= 0.01
        await h.settle()
        await h.advance_until(lambda: h.sent("beats"), within=1)
        with pytest.raises(HarnessError, match=r"not met within 0\.01 s"):
            await h.advance_until(lambda: False, within=0.01)
