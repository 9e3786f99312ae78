"""Nodes: topics, time, tasks and options as their authors use them."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing

import horus_trio as horus
from horus_trio import AsyncResult, NodeState, Tick, TickStatus
from horus_trio.node import gather_options, resolve_options
from horus_trio.testing import open_harness

settle = trio.testing.wait_all_tasks_blocked


def run_here(scheduler: horus.Scheduler, duration: float | None = None) -> horus.RunReport:
    """Run under a virtual clock; the test fails when an hour of it has passed."""

    async def main() -> horus.RunReport:
        with trio.fail_after(3600):
            return await scheduler.run(duration)

    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def results_of(scheduler: horus.Scheduler) -> list[AsyncResult]:
    results: list[AsyncResult] = []
    scheduler.on_result(results.append)
    return results


@contextlib.contextmanager
def on_bench(*nodes: horus.Node, clock: Callable[[], float] = lambda: 0.0) -> Any:
    """Nodes connected to topics of their own, without an engine."""
    topics = horus.Topics()
    for node in nodes:
        node.connect(topics, clock)
    yield topics
    for node in nodes:
        node.disconnect()


# Topics, on a bench


def test_messages_arrive_in_order_and_once() -> None:
    a, b = horus.Node("a"), horus.Node("b")
    with on_bench(a, b):
        assert not b.has_msg("t")  # joins
        assert [a.send("t", n) for n in (1, 2, 3)] == [1, 1, 1]
        assert b.has_msg("t")
        assert b.recv("t") == 1
        assert b.recv_all("t") == [2, 3]
        assert b.recv_all("t") == []
        assert not b.has_msg("t")
        assert b.recv("t") is None
        assert b.recv("t", default="nothing") == "nothing"


def test_nobody_hears_what_was_sent_before_joining() -> None:
    a, b = horus.Node("a"), horus.Node("b")
    with on_bench(a, b):
        assert a.send("t", 1) == 0
        assert b.recv("t") is None


def test_none_is_an_ordinary_message() -> None:
    a, b = horus.Node("a"), horus.Node("b")
    missing = object()
    with on_bench(a, b):
        assert b.latest("t", default=missing) is missing
        b.has_msg("t")
        a.send("t", None)
        assert b.has_msg("t")
        assert b.latest("t", default=missing) is None
        assert b.recv("t", default=missing) is None
        assert b.recv("t", default=missing) is missing


def test_latest_takes_nothing_and_needs_no_subscription() -> None:
    a, b = horus.Node("a"), horus.Node("b")
    with on_bench(a, b) as topics:
        a.send("t", 1)
        a.send("t", 2)
        assert [b.latest("t"), b.latest("t")] == [2, 2]
        assert not topics.hub("t").has_subscriptions


def test_messages_age_by_the_clock() -> None:
    now = [10.0]
    node = horus.Node("a")
    with on_bench(node, clock=lambda: now[0]):
        assert node.now == 10.0
        assert node.age("t") == math.inf
        node.send("t", "x")
        assert node.age("t") == 0.0
        now[0] = 12.5
        assert node.age("t") == 2.5
        assert node.latest("t", max_age=2.5) == "x"
        assert node.latest("t", default="old", max_age=2.4) == "old"
        assert node.latest("t", max_age=math.inf) == "x"


def test_a_message_travels_by_reference() -> None:
    node, message = horus.Node("a"), object()
    with on_bench(node):
        node.has_msg("t")
        node.send("t", message)
        assert node.recv("t") is message


def test_a_bench_is_joined_once() -> None:
    node = horus.Node("a")
    with on_bench(node) as topics:
        with pytest.raises(horus.AlreadyRunning, match=r"'a' is connected already: disconnect\(\)"):
            node.connect(topics)
        assert node.current_tick is None
        assert node.dt == 0.0
        with pytest.raises(horus.NotRunning, match="'a' is in no run"):
            node.start_soon(trio.sleep, 1)
        with pytest.raises(horus.NotRunning, match="nothing to stop"):
            node.request_stop()
        node.check_cancelled()
    node.disconnect()  # idempotent
    with pytest.raises(horus.NotRunning, match=r"connect\(\) it to Topics"):
        node.send("t", 1)


def test_leaving_a_bench_leaves_its_topics() -> None:
    node = horus.Node("a")
    with on_bench(node) as topics:
        node.has_msg("t")
        assert topics.hub("t").has_subscriptions
    assert not topics.hub("t").has_subscriptions


async def test_async_calls_on_a_bench(autojump_clock: trio.testing.MockClock) -> None:
    a, b = horus.AsyncNode("a"), horus.AsyncNode("b")
    with on_bench(a, b, clock=trio.current_time):
        b.has_msg("t")
        got: list[object] = []

        async def read() -> None:
            async for message in b.messages("t"):
                got.append((message, trio.current_time()))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await trio.sleep(1)
            assert await a.send_async("t", "x") == 1
            await trio.sleep(1)
            a.send("t", "y")
            await settle()
            nursery.cancel_scope.cancel()
        assert got == [("x", 1.0), ("y", 2.0)]
        assert "messages of 't'" in repr(b.messages("t"))


async def test_a_cancelled_receive_has_taken_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    node = horus.AsyncNode("a")
    with on_bench(node):
        node.has_msg("t")
        with trio.move_on_after(1) as scope:
            await node.recv_async("t")
        assert scope.cancelled_caught
        node.send("t", 1)
        assert node.recv("t") == 1


def test_hooks_can_be_called_by_hand() -> None:
    calls: list[object] = []
    node = horus.Node("a", tick=lambda n: n.send("t", 1), on_error=lambda n, e: calls.append(e))
    error = ValueError()
    with on_bench(node):
        assert node.tick() == 0
        node.on_error(error)
        assert [node.init(), node.shutdown(), node.enter_safe_state()] == [None] * 3
    assert calls == [error]
    with pytest.raises(horus.NodeError, match="Node has no tick; define `def tick"):
        horus.Node("a").tick()


async def test_an_async_node_without_a_tick_says_so_by_hand() -> None:
    with pytest.raises(
        horus.NodeError, match="AsyncNode has no tick; define `async def tick_async"
    ):
        await horus.AsyncNode("a").tick_async()


# Topics, in a run


def test_a_reader_waits_for_a_writer() -> None:
    class Writes(horus.AsyncNode):
        async def tick_async(self) -> None:
            self.send("t", self.now)

    class Reads(horus.AsyncNode):
        async def tick_async(self) -> tuple[float, float]:
            return await self.recv_async("t"), self.now

    scheduler = horus.Scheduler().add(Reads("r", rate=100)).add(Writes("w", rate=2, phase=0.25))
    results = results_of(scheduler)
    run_here(scheduler, 2)
    values = [r.value for r in results if r.node == "r" and r.success]
    assert values == [(0.25, 0.25), (0.75, 0.75), (1.25, 1.25), (1.75, 1.75)]


def test_a_node_that_waits_for_a_message_says_so() -> None:
    async def tick(node: horus.Node) -> None:
        await node.recv_async("t")

    async def main() -> None:
        scheduler = horus.Scheduler().add(horus.Node("a", tick=tick))
        async with trio.open_nursery() as nursery:
            await nursery.start(scheduler.run)
            await trio.sleep(1)
            assert scheduler.statistics().nodes["a"].state is NodeState.WAITING_FOR_INPUT
            scheduler.topic("t").send(1)
            scheduler.stop()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def test_topics_of_def_and_async_ticks_meet() -> None:
    class Threaded(horus.Node):
        def tick(self) -> None:
            self.send("t", threading.get_ident())

    class Looping(horus.AsyncNode):
        async def tick_async(self) -> int:
            got: int = await self.recv_async("t")
            self.request_stop("got it")
            return got

    scheduler = horus.Scheduler().add(Threaded()).add(Looping("l"))
    results = results_of(scheduler)
    with horus.background(scheduler):
        pass
    report = scheduler.report
    assert report is not None
    ok = [r.value for r in results if r.node == "l" and r.success]
    assert threading.get_ident() not in ok


def test_after_its_run_a_node_can_send_no_more() -> None:
    node = horus.Node("a", tick=lambda node: None)
    scheduler = horus.Scheduler(tick_rate=1000).add(node)
    scheduler.run(0.01)
    for use in (lambda: node.send("t", 1), lambda: node.recv("t"), lambda: node.has_msg("t")):
        with pytest.raises(horus.TickAbandoned, match=r"'a'.*its run is over"):
            use()
    assert not scheduler.topic("t").has_subscriptions


# Time


def test_ticks_know_their_number_and_time() -> None:
    seen: list[tuple[int, float, float, float]] = []

    async def tick(node: horus.Node) -> None:
        assert isinstance(node.current_tick, Tick)
        seen.append((node.current_tick.seq, node.current_tick.scheduled, node.now, node.dt))

    run_here(horus.Scheduler().add(horus.Node(tick=tick, rate=4)), 1)
    assert seen == [(n + 1, n / 4, n / 4, 0.25) for n in range(4)]


def test_dt_spans_missed_releases() -> None:
    deltas: list[float] = []

    async def tick(node: horus.Node) -> None:
        deltas.append(node.dt)
        if len(deltas) == 2:
            await trio.sleep(0.9)

    run_here(horus.Scheduler().add(horus.Node(tick=tick, rate=4)), 2)
    assert deltas == [0.25, 0.25, 1.0, 0.25, 0.25]


def test_dt_without_a_rate_is_zero_at_first() -> None:
    deltas: list[float] = []

    async def tick(node: horus.Node) -> None:
        deltas.append(node.dt)

    async def main() -> None:
        scheduler = horus.Scheduler().add(horus.Node(tick=tick, on="t"))
        async with trio.open_nursery() as nursery:
            await nursery.start(scheduler.run)
            for _ in range(3):
                await trio.sleep(1.5)
                scheduler.topic("t").send(1)
            await settle()
            scheduler.stop()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert deltas == [0.0, 1.5, 1.5]


def test_dt_follows_a_changed_rate() -> None:
    deltas: list[float] = []

    class Late(horus.AsyncNode):
        async def tick_async(self) -> None:
            deltas.append(self.dt)

    async def main() -> None:
        scheduler = horus.Scheduler().add(Late("a", rate=1, phase=10.0))
        async with trio.open_nursery() as nursery:
            await nursery.start(scheduler.run)
            scheduler.set_rate("a", 8)
            await trio.sleep(0.3)
            scheduler.stop()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert deltas == [0.125, 0.125]


# Arrivals


class Arrivals(horus.AsyncNode):
    """Ticks on topic ``t``, for `seconds`."""

    def __init__(self, seconds: float = 0.0, **options: Any) -> None:
        super().__init__("a", **{"on": "t", **options})
        self.seconds = seconds
        self.got: list[tuple[float, list[object]]] = []

    async def tick_async(self) -> None:
        self.got.append((self.now, self.recv_all("t")))
        await trio.sleep(self.seconds)


async def play(node: horus.Node, *sends: tuple[float, object]) -> horus.NodeStatistics:
    """Run `node` and send to ``t`` at these instants."""
    scheduler = horus.Scheduler().add(node)
    async with trio.open_nursery() as nursery:
        await nursery.start(scheduler.run)
        for when, message in sends:
            await trio.sleep_until(when)
            scheduler.topic("t").send(message)
        await trio.sleep(10)
        scheduler.stop()
    return scheduler.statistics().nodes[node.name]


async def test_an_arrival_is_a_tick(autojump_clock: trio.testing.MockClock) -> None:
    node = Arrivals()
    statistics = await play(node, (1.0, "x"), (2.5, None))
    assert node.got == [(1.0, ["x"]), (2.5, [None])]
    assert (statistics.ok, statistics.missed, statistics.coalesced) == (2, 0, 0)
    assert statistics.lateness.max == 0.0
    assert statistics.rate is None


async def test_arrivals_while_busy_fall_to_one_tick(
    autojump_clock: trio.testing.MockClock,
) -> None:
    node = Arrivals(seconds=1.0)
    statistics = await play(node, (1.0, 1), (1.25, 2), (1.5, 3), (1.75, 4))
    assert node.got == [(1.0, [1]), (2.0, [2, 3, 4])]
    assert (statistics.ok, statistics.missed, statistics.coalesced) == (2, 0, 2)


async def test_arrivals_of_one_instant_are_one_tick(
    autojump_clock: trio.testing.MockClock,
) -> None:
    node = Arrivals()
    statistics = await play(node, (1.0, 1), (1.0, 2), (1.0, 3))
    assert [m for _, messages in node.got for m in messages] == [1, 2, 3]
    assert statistics.ok + statistics.coalesced == 3


async def test_a_rate_beside_topics_is_a_heartbeat(
    autojump_clock: trio.testing.MockClock,
) -> None:
    node = Arrivals(rate=0.25)
    await play(node, (1.0, "x"))
    assert node.got == [(0.0, []), (1.0, ["x"]), (4.0, []), (8.0, [])]


async def test_any_of_several_topics_is_an_arrival(
    autojump_clock: trio.testing.MockClock,
) -> None:
    node = Arrivals(on=("s", "t"))
    scheduler = horus.Scheduler().add(node)
    async with trio.open_nursery() as nursery:
        await nursery.start(scheduler.run)
        scheduler.topic("s").send(1)
        await trio.sleep(1)
        scheduler.topic("t").send(2)
        await trio.sleep(1)
        scheduler.stop()
    assert node.got == [(0.0, []), (1.0, [2])]


async def test_arrivals_from_foreign_threads_are_ticks() -> None:
    node = Arrivals()
    with trio.fail_after(20):
        scheduler = horus.Scheduler().add(node)
        async with trio.open_nursery() as nursery, scheduler.open_results() as results:
            await nursery.start(scheduler.run)
            for n in range(5):
                await trio.to_thread.run_sync(scheduler.topic("t").send, n)
                assert (await results.receive()).success
            scheduler.stop()
    assert [m for _, messages in node.got for m in messages] == [0, 1, 2, 3, 4]


async def test_an_arrival_during_init_is_not_lost(
    autojump_clock: trio.testing.MockClock,
) -> None:
    class Slow(Arrivals):
        async def init(self) -> None:
            await trio.sleep(2)

    node = Slow()
    scheduler = horus.Scheduler().add(node)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scheduler.run)
        await trio.sleep(1)
        scheduler.topic("t").send("early")
        await trio.sleep(5)
        scheduler.stop()
    assert node.got == [(2.0, ["early"])]


# Logging


def test_a_node_logs_under_its_name() -> None:
    assert horus.Node("arm").log.name == "horus_trio.node.arm"


# Background tasks


async def test_a_background_task_runs_between_ticks_and_dies_with_the_node(
    autojump_clock: trio.testing.MockClock,
) -> None:
    log: list[object] = []

    class Alive(horus.AsyncNode):
        async def init(self) -> None:
            self.start_soon(self.keep_alive, 0.5)

        async def keep_alive(self, seconds: float) -> None:
            try:
                while True:
                    log.append(trio.current_time())
                    self.send("alive", self.now)
                    await trio.sleep(seconds)
            finally:
                log.append("end")

        async def tick_async(self) -> None:
            await trio.sleep(0.9)

        async def shutdown(self) -> None:
            log.append("shutdown")

    scheduler = horus.Scheduler().add(Alive("a", rate=1))
    report = await scheduler.run(1.95)
    assert log == [0.0, 0.5, 1.0, 1.5, "end", "shutdown"]
    assert report.statistics.topics["alive"].sent == 4


async def test_a_failing_background_task_fails_its_node(
    autojump_clock: trio.testing.MockClock,
) -> None:
    starts: list[float] = []

    class Breaks(horus.AsyncNode):
        async def init(self) -> None:
            starts.append(trio.current_time())
            self.start_soon(self.keep_alive)

        async def keep_alive(self) -> None:
            await trio.sleep(1.0)
            raise ConnectionError("gone")

        async def tick_async(self) -> None:
            await trio.sleep(0.4)

    policy = horus.Restart(2, backoff=0.5, jitter=0)
    scheduler = horus.Scheduler().add(Breaks("a", rate=2, failure_policy=policy, critical=True))
    with pytest.raises(horus.RunFailed) as caught:
        await scheduler.run(60)
    assert starts == [0.0, 1.5, 3.5]
    (error,) = caught.value.exceptions
    assert isinstance(error, ConnectionError)
    assert error.__notes__ == ["in node 'a', a background task, failure 3 of 2 in 60 s"]


@pytest.mark.parametrize("policy", [horus.Ignore(), horus.CircuitBreaker(1, cooldown=1.0)])
async def test_no_policy_leaves_a_node_without_its_background_task(
    autojump_clock: trio.testing.MockClock, policy: horus.FailurePolicy
) -> None:
    starts: list[float] = []

    class Breaks(horus.AsyncNode):
        async def init(self) -> None:
            starts.append(trio.current_time())
            self.start_soon(self.keep_alive)

        async def keep_alive(self) -> None:
            await trio.sleep(1.0)
            raise ConnectionError("gone")

        async def tick_async(self) -> None:
            """Nothing to do."""

    await horus.Scheduler().add(Breaks("a", failure_policy=policy)).run(4.5)
    pause = 1.0 if isinstance(policy, horus.CircuitBreaker) else 0.0
    assert starts[:3] == [0.0, 1.0 + pause, 2.0 + 2 * pause]


async def test_a_background_task_may_end_before_its_node(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def tick(node: horus.Node) -> None:
        node.start_soon(trio.sleep, 0.1)

    report = await horus.Scheduler().add(horus.Node("a", tick=tick, rate=10)).run(1)
    assert report.statistics.nodes["a"].ok == 10
    assert report.ok


async def test_a_background_task_starts_in_a_clean_context(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A tick that timed out takes nothing with it: the task can still publish."""

    class Times(horus.AsyncNode):
        async def tick_async(self) -> None:
            self.start_soon(self.later)
            await trio.sleep_forever()

        async def later(self) -> None:
            await trio.sleep(1)
            self.send("t", "still here")

    scheduler = horus.Scheduler().add(
        Times("a", rate=0.1, tick_timeout=0.5, failure_policy=horus.Ignore())
    )
    report = await scheduler.run(5)
    assert report.statistics.nodes["a"].timed_out == 1
    assert report.statistics.topics["t"].sent == 1


async def test_a_def_tick_may_start_a_background_task() -> None:
    done = trio.Event()

    class Starts(horus.Node):
        def tick(self) -> None:
            self.start_soon(self.later)

        async def later(self) -> None:
            done.set()

    scheduler = horus.Scheduler().add(Starts("a"))
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            await nursery.start(scheduler.run)
            await done.wait()
            scheduler.stop()


async def test_a_task_that_fails_during_the_stop_is_noted(
    autojump_clock: trio.testing.MockClock,
) -> None:
    class Breaks(horus.AsyncNode):
        async def init(self) -> None:
            self.start_soon(self.keep_alive)

        async def keep_alive(self) -> None:
            try:
                await trio.sleep_forever()
            finally:
                raise ConnectionError("while closing")

        async def tick_async(self) -> None:
            """Nothing to do."""

    report = await horus.Scheduler().add(Breaks("a")).run(1)
    last = report.statistics.nodes["a"].last_error
    assert last is not None
    assert "while closing" in last


async def test_a_node_that_stops_starts_no_more_tasks(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    class Late(horus.AsyncNode):
        async def tick_async(self) -> None:
            """Nothing to do."""

        async def shutdown(self) -> None:
            self.start_soon(trio.sleep_forever)

    with trio.fail_after(60):
        report = await horus.Scheduler().add(Late("a")).run(1)
    assert report.ok
    assert "'a' is stopping: background task" in caplog.text


# Stopping and cancellation


def test_request_stop_stops_the_run_and_says_who() -> None:
    async def tick(node: horus.Node) -> None:
        node.request_stop()

    report = run_here(horus.Scheduler().add(horus.Node("arm", tick=tick)))
    assert report.reason == "requested by node 'arm'"


def test_request_stop_says_why_and_works_in_threads() -> None:
    class Stops(horus.Node):
        def tick(self) -> None:
            thread = threading.Thread(target=self.request_stop, args=["out of paper"])
            thread.start()
            thread.join()

    assert horus.run(Stops()).reason == "out of paper"


def test_check_cancelled_ends_a_long_def_tick_at_the_stop() -> None:
    began = threading.Event()

    class Long(horus.Node):
        def tick(self) -> None:
            began.set()
            while True:
                self.check_cancelled()
                threading.Event().wait(0.005)

    scheduler = horus.Scheduler().add(Long("a", shutdown_timeout=20))
    results = results_of(scheduler)
    with horus.background(scheduler):
        assert began.wait(20)
    assert [r.status for r in results] == [TickStatus.CANCELLED]
    assert isinstance(results[0].error, horus.TickCancelled)
    assert scheduler.report is not None
    assert scheduler.report.ok


def test_check_cancelled_tells_an_abandoned_tick() -> None:
    told: list[BaseException] = []
    returned = threading.Event()

    class Long(horus.Node):
        def tick(self) -> None:
            try:
                while True:
                    self.check_cancelled()
                    threading.Event().wait(0.005)
            except horus.HorusError as error:
                told.append(error)
                self.request_stop("told")
            finally:
                returned.set()

    scheduler = horus.Scheduler().add(Long("a", tick_timeout=0.05, failure_policy=horus.Ignore()))
    results = results_of(scheduler)
    scheduler.run()
    assert returned.is_set()
    assert results[0].status is TickStatus.ABANDONED
    assert isinstance(told[0], horus.TickAbandoned)


def test_check_cancelled_is_silent_while_there_is_time() -> None:
    class Quick(horus.Node):
        def tick(self) -> None:
            self.check_cancelled()
            self.request_stop()

    horus.Node("nowhere").check_cancelled()
    assert horus.run(Quick()).ok


# Functions and factories


async def test_functions_are_hooks(autojump_clock: trio.testing.MockClock) -> None:
    calls: list[str] = []

    async def init(node: horus.Node) -> None:
        calls.append(f"init {node.name}")

    async def tick(node: horus.Node) -> str:
        calls.append("tick")
        raise ValueError("no")

    async def on_error(node: horus.Node, error: BaseException) -> None:
        calls.append(f"on_error {error}")

    async def safe(node: horus.Node) -> None:
        calls.append("safe")

    async def shutdown(node: horus.Node) -> None:
        calls.append("shutdown")

    node = horus.Node(
        "imu", tick=tick, init=init, on_error=on_error, enter_safe_state=safe, shutdown=shutdown,
        failure_policy=horus.Fatal(), pubs=["imu"], rate=100,
    )  # fmt: skip
    with pytest.raises(horus.RunFailed):
        await horus.Scheduler().add(node).run()
    assert calls == ["init imu", "tick", "on_error no", "safe", "shutdown"]


def test_a_plain_function_ticks_in_a_thread() -> None:
    threads: list[int] = []

    def tick(node: horus.Node) -> int:
        threads.append(threading.get_ident())
        node.request_stop()
        return 7

    scheduler = horus.Scheduler().add(horus.Node("imu", tick=tick))
    results = results_of(scheduler)
    scheduler.run()
    assert results[0].value == 7
    assert threads[0] != threading.get_ident()


async def test_an_object_with_an_async_call_is_an_async_tick(
    autojump_clock: trio.testing.MockClock,
) -> None:
    class HasCall:
        async def __call__(self, node: horus.Node) -> str:
            return node.name

    scheduler = horus.Scheduler(tick_rate=1).add(horus.Node("imu", tick=HasCall()))
    results = results_of(scheduler)
    await scheduler.run(2)
    assert [r.value for r in results] == ["imu", "imu"]


async def test_a_hook_assigned_to_the_instance_is_a_hook(
    autojump_clock: trio.testing.MockClock,
) -> None:
    node = horus.AsyncNode("a")
    calls: list[int] = []

    async def tick() -> None:
        calls.append(1)

    node.tick_async = tick  # type: ignore[method-assign]
    await horus.Scheduler(tick_rate=2).add(node).run(1)
    assert calls == [1, 1]


async def test_a_method_may_call_super(autojump_clock: trio.testing.MockClock) -> None:
    class Polite(horus.AsyncNode):
        async def init(self) -> None:
            super().init()

        async def tick_async(self) -> None:
            """Nothing to do."""

        async def on_error(self, error: BaseException) -> None:
            super().on_error(error)

        async def enter_safe_state(self) -> None:
            super().enter_safe_state()

        async def shutdown(self) -> None:
            super().shutdown()

    assert (await horus.Scheduler().add(Polite()).run(0.1)).ok


class Fresh(horus.AsyncNode):
    """Fails in its second tick."""

    made: list[Fresh]

    def __init__(self) -> None:
        super().__init__()
        self.made.append(self)
        self.ticks = 0

    async def tick_async(self) -> int:
        self.ticks += 1
        self.send("t", self.ticks)
        if self.ticks == 2:
            raise ValueError("worn out")
        return id(self)


async def test_a_factory_gives_a_fresh_instance_for_each_restart(
    autojump_clock: trio.testing.MockClock,
) -> None:
    Fresh.made = []
    scheduler = horus.Scheduler().add(Fresh, rate=1, failure_policy=horus.Restart(jitter=0))
    report = await scheduler.run(6)
    statistics = report.statistics.nodes["Fresh-1"]
    assert len(Fresh.made) == 4
    assert statistics.restarts == 3
    assert [node.ticks for node in Fresh.made] == [2, 2, 2, 0]
    assert {node.name for node in Fresh.made} == {"Fresh-1"}
    with pytest.raises(horus.NotRunning):  # a worn-out instance has left
        Fresh.made[0].send("t", 1)
    with pytest.raises(horus.TickAbandoned):
        Fresh.made[-1].send("t", 1)


async def test_an_instance_is_initialised_again_for_each_restart(
    autojump_clock: trio.testing.MockClock,
) -> None:
    Fresh.made = []
    node = Fresh()
    policy = horus.Restart(jitter=0)
    scheduler = horus.Scheduler().add(node, name="one", rate=1, failure_policy=policy)
    report = await scheduler.run(6)
    assert Fresh.made == [node]
    assert report.statistics.nodes["one"].restarts == 1
    assert report.statistics.nodes["one"].ok == 5
    assert report.statistics.topics["t"].sent == 6


async def test_the_latest_instance_runs_in_the_next_run(
    autojump_clock: trio.testing.MockClock,
) -> None:
    Fresh.made = []
    scheduler = horus.Scheduler().add(Fresh, rate=1, failure_policy=horus.Restart(jitter=0))
    await scheduler.run(1.5)
    assert [node.ticks for node in Fresh.made] == [2, 0]
    await scheduler.run(1)
    assert [node.ticks for node in Fresh.made] == [2, 1]
    scheduler.remove("Fresh-1")
    horus.Scheduler().add(Fresh.made[-1])  # it is free, and so are its forerunners
    horus.Scheduler().add(Fresh.made[0])


def test_any_function_may_be_a_factory() -> None:
    def make() -> horus.Node:
        return horus.Node("made", tick=print, rate=7)

    scheduler = horus.Scheduler().add(make, order=3)
    assert scheduler.statistics().nodes["made"].rate == 7


# Options


class Base(horus.AsyncNode):
    rate = 10.0
    tick_timeout = 1.0
    order = 1

    async def tick_async(self) -> None:
        """Nothing to do."""


class Derived(Base):
    order = 2


def options_of(node: horus.Node, **overrides: Any) -> Any:
    return resolve_options("node", gather_options(node, overrides))


def test_the_nearest_place_wins() -> None:
    assert options_of(Base()).rate == 10.0
    assert options_of(Base(rate=20)).rate == 20.0
    assert options_of(Base(rate=20), rate=30).rate == 30.0
    assert options_of(Base(), rate=30).rate == 30.0


def test_classes_inherit_options() -> None:
    options = options_of(Derived())
    assert (options.rate, options.order, options.tick_timeout) == (10.0, 2, 1.0)


def test_none_takes_an_option_back() -> None:
    assert options_of(Base(rate=None)).rate is None
    assert options_of(Base(), tick_timeout=None).tick_timeout is None
    scheduler = horus.Scheduler(tick_rate=5).add(Base("a", rate=None))
    assert scheduler.statistics().nodes["a"].rate == 5.0


def test_the_rate_is_the_schedulers_unless_topics_make_it_tick() -> None:
    scheduler = horus.Scheduler(tick_rate=5)
    scheduler.add(horus.Node("a", tick=print)).add(horus.Node("b", tick=print, on="t"))
    rates = {name: s.rate for name, s in scheduler.statistics().nodes.items()}
    assert rates == {"a": 5.0, "b": None}


def test_the_default_of_tick_timeout_can_be_asked_for() -> None:
    assert options_of(Base(tick_timeout="auto")).tick_timeout == "auto"


def test_names_come_from_where_options_come_from() -> None:
    class Named(Base):
        name = "from the class"

    assert Named().name == "from the class"
    assert Named("from the constructor").name == "from the constructor"
    node = Named("from the constructor")
    horus.Scheduler().add(node, name="from add")
    assert node.name == "from add"
    assert repr(node).endswith("'from add'>")


def test_topics_may_be_declared_in_every_form() -> None:
    sub = horus.Sub("b", capacity=3)
    options = options_of(horus.Node(tick=print, on="t", subs=["a", sub], pubs=horus.Pub("p")))
    assert options.on == ("t",)
    assert options.subs == (horus.Sub("a"), sub)
    assert options.pubs == (horus.Pub("p"),)
    assert options_of(horus.Node(tick=print, on=None)).on == ()


async def test_declared_topics_are_joined_before_any_init(
    autojump_clock: trio.testing.MockClock,
) -> None:
    got: list[object] = []

    class Says(Base):
        async def init(self) -> None:
            self.send("hello", "from init")

    class Hears(Base):
        async def tick_async(self) -> None:
            got.extend(self.recv_all("hello"))

    scheduler = horus.Scheduler().add(Says("s", order=-1)).add(Hears("h", subs="hello"))
    await scheduler.run(0.5)
    assert got == ["from init"]


async def test_a_declared_subscription_has_the_declared_bounds(
    autojump_clock: trio.testing.MockClock,
) -> None:
    latest = horus.Sub("t", overflow=horus.Overflow.LATEST)
    few = horus.Sub("t", capacity=2, overflow=horus.Overflow.DROP_NEWEST)
    got: dict[str, list[object]] = {}

    class Hears(Base):
        async def tick_async(self) -> None:
            got.setdefault(self.name, []).extend(self.recv_all("t"))

    scheduler = horus.Scheduler()
    scheduler.add(Hears("latest", subs=latest, phase=0.05)).add(Hears("few", subs=few, phase=0.05))
    async with trio.open_nursery() as nursery:
        await nursery.start(scheduler.run)
        for n in range(4):
            scheduler.topic("t").send(n)
        await trio.sleep(0.1)
        scheduler.stop()
    assert got == {"latest": [3], "few": [0, 1]}


async def test_a_stale_input_is_told_once_and_again_after_a_fresh_one(
    autojump_clock: trio.testing.MockClock,
) -> None:
    told: list[tuple[str, float]] = []
    seen: list[tuple[float, object]] = []

    class Steers(Base):
        async def tick_async(self) -> None:
            seen.append((self.now, self.latest("scan", default="none")))

    sub = horus.Sub("scan", max_age=1.0, on_stale=lambda t: told.append((t, trio.current_time())))
    scheduler = horus.Scheduler().add(Steers("s", rate=2, subs=sub))
    async with trio.open_nursery() as nursery:
        await nursery.start(scheduler.run)
        await trio.sleep_until(2.25)
        scheduler.topic("scan").send("fresh")
        await trio.sleep_until(5)
        scheduler.stop()
    assert told == [("scan", 1.0), ("scan", 3.25)]
    assert [when for when, what in seen if what == "fresh"] == [2.5, 3.0]


async def test_an_on_stale_that_raises_is_counted(
    autojump_clock: trio.testing.MockClock,
) -> None:
    def on_stale(topic: str) -> None:
        raise RuntimeError(f"no {topic}")

    sub = horus.Sub("scan", max_age=1.0, on_stale=on_stale)
    report = await horus.Scheduler().add(Base("a", subs=sub)).run(3)
    statistics = report.statistics.nodes["a"]
    assert statistics.observer_errors == 1
    assert statistics.ok == 30
    assert "no scan" in (statistics.last_error or "")


async def test_a_latched_message_is_an_arrival(autojump_clock: trio.testing.MockClock) -> None:
    scheduler = horus.Scheduler()
    scheduler.topic("t").latch = True
    node = Arrivals()
    async with trio.open_nursery() as nursery:
        await nursery.start(scheduler.run)
        scheduler.topic("t").send("world")
        await trio.sleep(1)
        scheduler.add(node)
        await trio.sleep(1)
        scheduler.stop()
    assert node.got == [(1.0, ["world"])]


async def test_a_latched_topic_starts_with_its_latest(
    autojump_clock: trio.testing.MockClock,
) -> None:
    got: list[object] = []

    class Map(Base):
        async def init(self) -> None:
            self.send("map", "world")

    class Late(Base):
        async def tick_async(self) -> None:
            got.extend(self.recv_all("map"))

    scheduler = horus.Scheduler().add(Map("m", pubs=horus.Pub("map", latch=True)))
    async with trio.open_nursery() as nursery:
        await nursery.start(scheduler.run)
        await trio.sleep(1)
        scheduler.add(Late("l"))
        await trio.sleep(1)
        scheduler.stop()
    assert got == ["world"]


# Overruns and deadlines


async def test_an_overrun_may_stop_the_run(autojump_clock: trio.testing.MockClock) -> None:
    async def tick(node: horus.Node) -> None:
        await trio.sleep(1.2)

    scheduler = horus.Scheduler().add(
        horus.Node("a", tick=tick, rate=1, on_miss=horus.Miss.STOP, shutdown_timeout=9)
    )
    report = await scheduler.run(60)
    assert report.reason == "node 'a' is still busy at its next release"
    assert report.statistics.nodes["a"].ok == 1  # it had its grace


async def test_an_overrun_may_make_the_node_safe(
    autojump_clock: trio.testing.MockClock,
) -> None:
    safe: list[float] = []

    class Slow(horus.AsyncNode):
        async def tick_async(self) -> None:
            await trio.sleep(1.5)

        async def enter_safe_state(self) -> None:
            safe.append(self.now)

    node = Slow("a", rate=1, on_miss=horus.Miss.SAFE_MODE)
    report = await horus.Scheduler().add(node).run(3.8)
    assert safe == [1.0, 3.0]
    assert report.statistics.nodes["a"].missed == 2


async def test_a_tick_past_its_deadline_is_counted(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def tick(node: horus.Node) -> None:
        assert node.current_tick is not None
        await trio.sleep(0.25 * node.current_tick.seq)

    scheduler = horus.Scheduler().add(
        horus.Node("a", tick=tick, rate=1, deadline=0.5, on_miss=horus.Miss.WARN)
    )
    report = await scheduler.run(3)
    statistics = report.statistics.nodes["a"]
    assert (statistics.ok, statistics.missed, statistics.deadline_missed) == (3, 0, 1)
    assert "'a' ended 0.75 s after its release, past its deadline" in caplog.text


async def test_a_node_that_catches_up_makes_up_for_what_it_owes(
    autojump_clock: trio.testing.MockClock,
) -> None:
    starts: list[tuple[float, float]] = []

    async def tick(node: horus.Node) -> None:
        assert node.current_tick is not None
        starts.append((node.current_tick.scheduled, node.now))
        if len(starts) == 1:
            await trio.sleep(2.5)

    scheduler = horus.Scheduler().add(
        horus.Node("a", tick=tick, rate=1, on_miss=horus.Miss.CATCH_UP)
    )
    report = await scheduler.run(5)
    assert starts == [(0.0, 0.0), (1.0, 2.5), (2.0, 2.5), (3.0, 3.0), (4.0, 4.0)]
    assert report.statistics.nodes["a"].missed == 0


# Nurseries in hooks


class Nested(horus.AsyncNode):
    """Its hook opens a nursery; a child raises when it is cancelled, or at once."""

    def __init__(self, where: str, *, wait: bool, **options: Any) -> None:
        super().__init__("nested", **options)
        self.where = where
        self.wait = wait

    async def _child(self) -> None:
        try:
            if self.wait:
                await trio.sleep_forever()
        finally:
            raise ConnectionError("child")

    async def _step(self, where: str) -> None:
        if where == self.where:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._child)
                nursery.start_soon(trio.sleep_forever)

    async def init(self) -> None:
        await self._step("init")
        if self.where == "background":
            self.start_soon(self._step, "background")

    async def tick_async(self) -> None:
        await self._step("tick")

    async def shutdown(self) -> None:
        await self._step("shutdown")


@pytest.mark.parametrize("where", ["init", "tick", "background"])
async def test_an_error_of_a_child_task_is_told_unwrapped(
    autojump_clock: trio.testing.MockClock, where: str
) -> None:
    node = Nested(where, wait=False, failure_policy=horus.Fatal())
    with pytest.raises(horus.RunFailed) as caught:
        await horus.Scheduler().add(node).run(60)
    (error,) = caught.value.exceptions
    assert isinstance(error, ConnectionError)
    assert "in node 'nested'" in error.__notes__[0]


@pytest.mark.parametrize("wait", [False, True])
async def test_an_error_of_a_child_task_in_shutdown_is_told(
    autojump_clock: trio.testing.MockClock, wait: bool
) -> None:
    report = await horus.Scheduler().add(Nested("shutdown", wait=wait)).run(1)
    assert "ConnectionError: child" in report.hook_errors[0]


async def test_a_tick_that_raises_while_it_is_cancelled_is_an_error(
    autojump_clock: trio.testing.MockClock,
) -> None:
    scheduler = horus.Scheduler().add(Nested("tick", wait=True))
    results = results_of(scheduler)
    report = await scheduler.run(1)
    assert [r.status for r in results] == [TickStatus.ERROR]
    assert report.statistics.nodes["nested"].errors == 1
    assert report.statistics.nodes["nested"].state is NodeState.STOPPED


async def test_a_tick_with_child_tasks_can_be_cancelled_and_time_out(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def tick(node: horus.Node) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            nursery.start_soon(trio.sleep_forever)

    scheduler = horus.Scheduler().add(
        horus.Node("a", tick=tick, rate=1, tick_timeout=0.875, failure_policy=horus.Ignore())
    )
    results = results_of(scheduler)
    await scheduler.run(1.25)
    assert [(r.status, r.started, r.duration) for r in results] == [
        (TickStatus.TIMED_OUT, 0.0, 0.875),
        (TickStatus.CANCELLED, 1.0, 0.75),  # half a second of grace
    ]


# An init that ends after it was given up


@pytest.mark.parametrize("fails", [False, True])
def test_an_init_that_succeeds_too_late_is_undone_in_its_thread(fails: bool) -> None:
    release = threading.Event()
    calls: list[tuple[str, int]] = []

    class Slow(horus.Node):
        def init(self) -> None:
            release.wait(20)
            calls.append(("init", threading.get_ident()))

        def tick(self) -> None:
            """Never called."""

        def shutdown(self) -> None:
            calls.append(("shutdown", threading.get_ident()))
            if fails:
                raise OSError("too late")

    scheduler = horus.Scheduler(stop_timeout=1).add(
        Slow("slow", init_timeout=0.05, shutdown_timeout=0.05, failure_policy=horus.Fatal())
    )
    helper = threading.Timer(0.3, release.set)
    helper.start()
    with pytest.raises(horus.RunFailed):
        scheduler.run()
    helper.join()
    assert [name for name, _ in calls] == ["init", "shutdown"]
    assert calls[0][1] == calls[1][1]


class LateInit(horus.Node):
    """Its ``def init`` ends when it is let; its shutdown is async."""

    def __init__(self) -> None:
        super().__init__(
            "slow", init_timeout=0.05, shutdown_timeout=0.05, failure_policy=horus.Fatal()
        )
        self.let = threading.Event()
        self.shut = 0

    def init(self) -> None:
        self.let.wait(20)

    def tick(self) -> None:
        """Never called."""

    async def shutdown(self) -> None:
        self.shut += 1


def test_a_late_def_init_is_undone_by_an_async_shutdown_on_the_loop() -> None:
    node = LateInit()
    helper = threading.Timer(0.3, node.let.set)
    helper.start()
    with pytest.raises(horus.RunFailed):
        horus.run(node, stop_timeout=1)
    helper.join()
    assert node.shut == 1


def test_an_async_shutdown_after_the_run_is_over_is_said_to_be_missing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    node = LateInit()
    scheduler = horus.Scheduler(stop_timeout=1).add(node)
    with horus.background(scheduler):
        pass
    node.let.set()
    deadline = time.monotonic() + 10
    while "make both def" not in caplog.text and time.monotonic() < deadline:
        time.sleep(0.01)
    assert node.shut == 0
    assert "make both def" in caplog.text


@pytest.mark.parametrize("kind", [horus.Node, horus.AsyncNode])
async def test_a_shutdown_has_time_of_its_own_and_is_not_told_to_end(
    kind: type[horus.Node],
) -> None:
    asked: list[str] = []

    class Plain(horus.Node):
        def tick(self) -> None:
            pass

        def shutdown(self) -> None:
            self.check_cancelled()
            self.send("goodbye", 1)
            asked.append("well")

    class Soft(horus.AsyncNode):
        async def tick_async(self) -> None:
            pass

        async def shutdown(self) -> None:
            self.check_cancelled()
            self.send("goodbye", 1)
            asked.append("well")

    node = Plain("a", rate=4) if kind is horus.Node else Soft("a", rate=4)
    async with open_harness(node) as h:
        await h.advance(1)
    assert asked == ["well"]
    assert h.sent("goodbye") == [1]
