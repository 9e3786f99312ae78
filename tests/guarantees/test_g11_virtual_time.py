"""G11 virtual time: every timing rule works under `trio.testing.MockClock`, to the last bit.

All instants are sums of powers of two, so they are exact and compared with `==`.
"""

from __future__ import annotations

import itertools
import logging
import math
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import horus_trio as horus
from horus_trio import AsyncResult, Miss, Node, NodeState, Restart, Scheduler, Sub, TickStatus


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    logger = logging.getLogger("horus_trio")
    logger.setLevel(logging.CRITICAL + 1)
    yield
    logger.setLevel(logging.NOTSET)


async def well(node: Node) -> None:
    pass


def sleeps(seconds: float) -> Callable[[Node], Awaitable[None]]:
    async def tick(node: Node) -> None:
        await trio.sleep(seconds)

    return tick


class Log:
    """Keeps all results of a scheduler."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.results: list[AsyncResult] = []
        scheduler.on_result(self.results.append)

    def scheduled(self, name: str) -> list[float]:
        return [r.scheduled for r in self.results if r.node == name]

    def started(self, name: str) -> list[float]:
        return [r.started for r in self.results if r.node == name]


# Rates


@pytest.mark.slow
async def test_releases_are_on_an_absolute_grid(autojump_clock: MockClock) -> None:
    scheduler = Scheduler()
    log = Log(scheduler)
    scheduler.add(Node("odd", tick=well), rate=3.0, phase=0.0)
    scheduler.add(Node("even", tick=well), rate=8.0, phase=0.0625)
    await trio.sleep(2.0)  # the epoch is not 0
    await scheduler.run(1000.0)
    assert log.scheduled("odd") == [2.0 + n / 3.0 for n in range(3000)]
    assert log.scheduled("even") == [2.0 + 0.0625 + n / 8.0 for n in range(8000)]
    assert log.started("even") == log.scheduled("even")  # and not a bit late


async def test_the_tick_rate_is_the_rate_of_nodes_without_one(autojump_clock: MockClock) -> None:
    scheduler = Scheduler(4.0)
    log = Log(scheduler)
    scheduler.add(Node("a", tick=well))
    await scheduler.run(1.0)
    assert log.started("a") == [0.0, 0.25, 0.5, 0.75]


async def test_nodes_of_one_rate_are_spread_over_its_period(autojump_clock: MockClock) -> None:
    scheduler = Scheduler(2.0)
    log = Log(scheduler)
    for name in "abcd":
        scheduler.add(Node(name, tick=well))
    scheduler.add(Node("alone", tick=well), rate=1.0)
    await scheduler.run(1.0)
    assert [log.started(name) for name in "abcd"] == [
        [0.0, 0.5],
        [0.125, 0.625],
        [0.25, 0.75],
        [0.375, 0.875],
    ]
    assert log.started("alone") == [0.0]


async def test_a_deterministic_run_aligns_them_by_order(autojump_clock: MockClock) -> None:
    scheduler = Scheduler(2.0, deterministic=True)
    log = Log(scheduler)
    for name, order in {"c": 3, "a": 1, "b": 2}.items():
        scheduler.add(Node(name, tick=sleeps(0.125)), order=order)
    await scheduler.run(1.0)
    assert [(r.node, r.started) for r in log.results] == [
        ("a", 0.0), ("b", 0.125), ("c", 0.25), ("a", 0.5), ("b", 0.625), ("c", 0.75),
    ]  # fmt: skip


async def test_after_a_stall_the_old_grid_goes_on_without_a_burst(
    autojump_clock: MockClock,
) -> None:
    """The whole process stood still for 3.25 s; a timer that starts anew would drift here."""
    scheduler = Scheduler(1.0)
    log = Log(scheduler)
    scheduler.add(Node("a", tick=well))

    async def stall() -> None:
        await trio.sleep(1.5)
        autojump_clock.jump(3.25)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(stall)
        report = await scheduler.run(8.0)
    assert log.scheduled("a") == [0.0, 1.0, 4.0, 5.0, 6.0, 7.0]
    assert log.started("a") == [0.0, 1.0, 4.75, 5.0, 6.0, 7.0]
    assert [r.seq for r in log.results] == [1, 2, 5, 6, 7, 8]
    assert report.statistics.nodes["a"].missed == 2


async def test_an_overrun_is_coalesced_and_counted(autojump_clock: MockClock) -> None:
    scheduler = Scheduler(8.0)
    log = Log(scheduler)
    scheduler.add(Node("a", tick=sleeps(0.3125)))
    report = await scheduler.run(1.0)
    assert log.started("a") == [0.0, 0.375, 0.75]
    assert report.statistics.nodes["a"].missed == 5


async def test_owed_releases_are_caught_up_with(autojump_clock: MockClock) -> None:
    lengths = iter([0.5625])

    async def tick(node: Node) -> None:
        await trio.sleep(next(lengths, 0.0))

    scheduler = Scheduler(8.0)
    log = Log(scheduler)
    scheduler.add(Node("a", tick=tick), on_miss=Miss.CATCH_UP)
    report = await scheduler.run(1.0)
    assert log.scheduled("a") == [n / 8 for n in range(8)]
    assert log.started("a") == [0.0, *[0.5625] * 4, 0.625, 0.75, 0.875]
    assert report.statistics.nodes["a"].missed == 0


async def test_a_new_rate_is_a_new_grid_from_now_on(autojump_clock: MockClock) -> None:
    scheduler = Scheduler(1.0)
    log = Log(scheduler)
    scheduler.add(Node("a", tick=well))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scheduler.run, 4.0)
        await trio.sleep(1.5)
        scheduler.set_rate("a", 2.0)
    assert log.started("a") == [0.0, 1.0, 2.0, 2.5, 3.0, 3.5]


async def test_a_paused_node_comes_back_on_its_old_grid(autojump_clock: MockClock) -> None:
    scheduler = Scheduler(1.0)
    log = Log(scheduler)
    scheduler.add(Node("a", tick=well))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scheduler.run, 6.0)
        await trio.sleep(1.5)
        scheduler.pause("a")
        await trio.sleep(2.125)
        assert scheduler.statistics().nodes["a"].state is NodeState.PAUSED
        scheduler.resume("a")
    assert log.started("a") == [0.0, 1.0, 4.0, 5.0]
    assert [r.seq for r in log.results] == [1, 2, 3, 4]  # paused points take no number


async def test_a_late_node_is_on_the_grid_of_the_run(autojump_clock: MockClock) -> None:
    scheduler = Scheduler(1.0)
    log = Log(scheduler)
    scheduler.add(Node("a", tick=well))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scheduler.run, 4.0)
        await trio.sleep(1.5)
        scheduler.add(Node("late", tick=well), phase=0.25)
        await scheduler.started("late")
    assert log.started("late") == [2.25, 3.25]


async def test_now_and_dt_are_of_trios_clock(autojump_clock: MockClock) -> None:
    seen: list[tuple[float, float]] = []

    async def tick(node: Node) -> None:
        seen.append((node.now, node.dt))
        await trio.sleep(0.375)

    scheduler = Scheduler(4.0)
    scheduler.add(Node("a", tick=tick))
    await scheduler.run(1.5)
    assert [now for now, _ in seen] == [0.0, 0.5, 1.0]
    assert [dt for _, dt in seen][1:] == [0.5, 0.5]


@pytest.mark.slow
@pytest.mark.parametrize("duration", [0, 0.125, 1.0, 3600.0])
async def test_duration(duration: float, autojump_clock: MockClock) -> None:
    scheduler = Scheduler(4.0)
    log = Log(scheduler)
    scheduler.add(Node("a", tick=well))
    await trio.sleep(0.5)
    report = await scheduler.run(duration)
    assert trio.current_time() == 0.5 + duration
    assert report.duration == duration
    assert len(log.results) == math.ceil(duration * 4)  # n seconds at r Hz are n * r ticks


# Time limits


async def test_tick_timeout(autojump_clock: MockClock) -> None:
    scheduler = Scheduler(1.0)
    log = Log(scheduler)
    policy = horus.Ignore()
    scheduler.add(Node("a", tick=sleeps(5)), tick_timeout=0.75, failure_policy=policy, phase=0.0)
    scheduler.add(Node("b", tick=sleeps(0.75)), tick_timeout=0.875, phase=0.0)
    await scheduler.run(2.0)
    assert [(r.status, r.started, r.duration) for r in log.results if r.node == "a"] == [
        (TickStatus.TIMED_OUT, 0.0, 0.75),
        (TickStatus.TIMED_OUT, 1.0, 0.75),
    ]
    assert [
        (r.status, r.duration) for r in log.results if r.node == "b"
    ] == [(TickStatus.OK, 0.75)] * 2  # fmt: skip


async def test_init_and_shutdown_timeouts(autojump_clock: MockClock) -> None:
    ends: list[tuple[str, float]] = []

    def hangs(name: str) -> Callable[[Node], Awaitable[None]]:
        async def hook(node: Node) -> None:
            try:
                await trio.sleep_forever()
            finally:
                ends.append((name, trio.current_time()))

        return hook

    scheduler = Scheduler(1.0)
    node = Node("a", tick=well, init=hangs("init"))
    scheduler.add(node, init_timeout=2.5, failure_policy=Restart(max_restarts=0))
    scheduler.add(Node("b", tick=well, shutdown=hangs("shutdown")), shutdown_timeout=1.25)
    await scheduler.run(4.0)  # it begins when the init has been given up
    assert ends == [("init", 2.5), ("shutdown", 2.5 + 4.0 + 1.25)]


async def test_the_defaults_of_the_time_limits(autojump_clock: MockClock) -> None:
    scheduler = Scheduler(1.0)
    scheduler.add(Node("a", tick=well, init=sleeps(60)), failure_policy=Restart(max_restarts=0))
    scheduler.add(Node("b", tick=well, shutdown=sleeps(60)))
    await scheduler.run(1.0)
    assert trio.current_time() == 10.0 + 1.0 + 3.0


async def test_a_deadline_counts_from_the_release(autojump_clock: MockClock) -> None:
    lengths = iter([0.25, 0.375, 0.25, 1.25])

    async def tick(node: Node) -> None:
        await trio.sleep(next(lengths, 0.0))

    scheduler = Scheduler(1.0)
    scheduler.add(Node("a", tick=tick), deadline=0.25)
    report = await scheduler.run(6.0)
    node = report.statistics.nodes["a"]
    assert (node.deadline_missed, node.missed, node.ok) == (2, 1, 5)


async def test_a_missed_deadline_can_stop_the_run(autojump_clock: MockClock) -> None:
    scheduler = Scheduler(1.0)
    scheduler.add(Node("a", tick=sleeps(0.5)), deadline=0.25, on_miss=Miss.STOP)
    report = await scheduler.run(100.0)
    assert report.duration == 0.5
    assert report.reason == "node 'a' ended 0.5 s after its release, past its deadline"


async def test_finish_grace_and_stop_timeout(autojump_clock: MockClock) -> None:
    """Half a second for the tick; the hook has what `stop_timeout` leaves it."""
    ends: dict[str, float] = {}

    def until_cancelled(name: str) -> Callable[[Node], Awaitable[None]]:
        async def hook(node: Node) -> None:
            try:
                await trio.sleep_forever()
            finally:
                ends[name] = trio.current_time()

        return hook

    scheduler = Scheduler(1.0, stop_timeout=2.0)
    scheduler.add(
        Node("a", tick=until_cancelled("tick"), shutdown=until_cancelled("shutdown")),
        shutdown_timeout=30.0,
    )
    await scheduler.run(1.0)
    assert ends["tick"] == 1.5
    assert ends["shutdown"] == trio.current_time() == 3.0


# Policies


async def test_backoff_doubles_is_bounded_and_begins_anew_after_a_stable_time(
    autojump_clock: MockClock,
) -> None:
    """Every start fails but the fifth, which is good for 64 s."""
    starts: list[float] = []

    async def init(node: Node) -> None:
        starts.append(node.now)
        if len(starts) != 5:
            raise ValueError

    async def tick(node: Node) -> None:
        if node.now >= starts[-1] + 64:
            raise ValueError

    scheduler = Scheduler(16.0)
    policy = Restart(max_restarts=100, within=32.0, backoff=0.25, max_backoff=1.0, jitter=0.0)
    scheduler.add(Node("a", tick=tick, init=init), failure_policy=policy)
    await scheduler.run(71.0)
    gaps = [later - earlier for earlier, later in itertools.pairwise(starts)]
    assert gaps == [0.25, 0.5, 1.0, 1.0, 64.25, 0.5, 1.0, 1.0, 1.0]


async def test_failures_count_within_a_sliding_window(autojump_clock: MockClock) -> None:
    """Three in 8 s are one too many: those at 0, 7, 8.25 are not, as the first has expired."""
    failures = [0.0, 7.0, 8.25, 15.25, 16.0]

    async def tick(node: Node) -> None:
        if node.now in failures:
            raise ValueError

    scheduler = Scheduler(4.0)
    policy = Restart(max_restarts=2, within=8.0, backoff=0.125, max_backoff=0.125, jitter=0.0)
    node = Node("a", tick=tick)
    scheduler.add(node, failure_policy=policy, critical=True)
    with pytest.raises(horus.RunFailed) as caught:
        await scheduler.run(100.0)
    assert caught.value.report.duration == 16.0
    (error,) = caught.value.exceptions
    assert error.__notes__[0].endswith("failure 3 of 2 in 8 s")


async def test_jitter_spreads_the_backoff_by_its_fraction(autojump_clock: MockClock) -> None:
    starts: list[float] = []

    async def init(node: Node) -> None:
        starts.append(node.now)
        raise ValueError

    scheduler = Scheduler(16.0)
    policy = Restart(max_restarts=100, within=0.5, backoff=1.0, max_backoff=1.0, jitter=0.25)
    scheduler.add(Node("a", tick=well, init=init), failure_policy=policy)
    await scheduler.run(50.0)
    gaps = [later - earlier for earlier, later in itertools.pairwise(starts)]
    assert all(0.75 <= gap <= 1.25 for gap in gaps)
    assert len(set(gaps)) > 10


async def test_an_open_breaker_lets_releases_pass_until_its_probe(
    autojump_clock: MockClock,
) -> None:
    attempts: list[float] = []

    async def tick(node: Node) -> None:
        attempts.append(node.now)
        if len(attempts) != 5:
            raise ValueError

    scheduler = Scheduler(2.0)
    policy = horus.CircuitBreaker(max_failures=3, cooldown=4.25)
    scheduler.add(Node("a", tick=tick), failure_policy=policy)
    report = await scheduler.run(16.0)
    # Open after the third; probes at the first release after the cooldown. The second succeeds,
    # so that it takes three failures again.
    assert attempts == [0.0, 0.5, 1.0, 5.5, 10.0, 10.5, 11.0, 11.5]
    assert report.statistics.nodes["a"].missed == 32 - 8


# Topics


async def test_age_and_max_age(autojump_clock: MockClock) -> None:
    seen: list[tuple[float, object, object]] = []

    async def tick(node: Node) -> None:
        fresh = node.latest("x", "stale", max_age=0.5)
        seen.append((node.age("x"), fresh, node.latest("x")))

    async def publish(node: Node) -> None:
        node.send("x", 1)

    scheduler = Scheduler(4.0)
    scheduler.add(Node("reader", tick=tick), phase=0.125)
    scheduler.add(Node("writer", tick=publish), rate=0.5, phase=0.25)
    await scheduler.run(1.5)
    assert seen == [
        (math.inf, "stale", None),
        (0.125, 1, 1),
        (0.375, 1, 1),
        (0.625, "stale", 1),
        (0.875, "stale", 1),
        (1.125, "stale", 1),
    ]


async def test_a_message_of_just_max_age_is_not_too_old(autojump_clock: MockClock) -> None:
    seen: list[object] = []

    async def tick(node: Node) -> None:
        seen.append(node.latest("x", "stale", max_age=1.0))

    scheduler = Scheduler(1.0)
    scheduler.topic("x")
    scheduler.add(Node("reader", tick=tick))
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: scheduler.run(3.0, task_status=task_status))
        scheduler.topic("x").send(1)
    assert seen == [1, 1, "stale"]


async def test_a_stale_input_is_said_after_its_max_age(autojump_clock: MockClock) -> None:
    said: list[tuple[str, float]] = []

    def on_stale(topic: str) -> None:
        said.append((topic, trio.current_time()))

    async def publish(node: Node) -> None:
        node.send("x", 1)

    scheduler = Scheduler(1.0)
    scheduler.add(Node("reader", tick=well), subs=Sub("x", max_age=0.75, on_stale=on_stale))
    scheduler.add(Node("writer", tick=publish), rate=0.25, phase=1.0)
    await scheduler.run(8.0)
    assert [entry for entry in said if entry[1] > 1.0] == [("x", 1.75), ("x", 5.75)]


# The clock itself


async def test_the_timer_sleeps_in_trio_under_a_virtual_clock(autojump_clock: MockClock) -> None:
    scheduler = Scheduler(4.0)
    scheduler.add(Node("a", tick=well))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scheduler.run, 1.0)
        while not scheduler.statistics().timer:  # at once: on a timerfd nothing would ever come
            await trio.lowlevel.checkpoint()
        assert scheduler.statistics().timer == "trio.sleep"


@pytest.mark.skipif(sys.platform != "linux", reason="a timerfd is Linux's")
async def test_and_on_a_timerfd_under_trios_own() -> None:
    scheduler = Scheduler(100.0)
    scheduler.add(Node("a", tick=well))
    report = await scheduler.run(0.02)
    assert report.statistics.timer == "timerfd"


async def test_no_wall_clock_in_the_logic(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock that anything of ours asks for the time, other than Trio's, gives itself away."""
    askers: list[str] = []

    def spied(real: Callable[[], float]) -> Callable[[], float]:
        def ask() -> float:
            asker = sys._getframe(1).f_globals.get("__name__", "")
            if asker.split(".")[0] == "horus_trio":
                askers.append(asker)
            return real()

        return ask

    for name in ("time", "monotonic", "perf_counter", "monotonic_ns", "time_ns", "process_time"):
        monkeypatch.setattr(time, name, spied(getattr(time, name)))

    async def tick(node: Node) -> None:
        node.send("x", node.now)
        await trio.sleep(0.5)
        raise ValueError

    scheduler = Scheduler(4.0)
    scheduler.add(Node("a", tick=tick), tick_timeout=0.75, deadline=0.125, on_miss=Miss.WARN)
    scheduler.add(Node("b", tick=well), on="x", failure_policy=horus.CircuitBreaker())
    report = await scheduler.run(3600.0)
    assert report.duration == 3600.0
    assert askers == []


@pytest.mark.parametrize("hook", ["tick", "init", "shutdown", "on_error", "enter_safe_state"])
async def test_def_hooks_under_autojump_are_refused_with_the_remedy(
    hook: str, autojump_clock: MockClock
) -> None:
    def plain(*args: object) -> None:
        pytest.fail("it ran")

    hooks: dict[str, Any] = {"tick": well, hook: plain}
    calls: list[str] = []

    async def init(node: Node) -> None:
        calls.append("init")

    async def shutdown(node: Node) -> None:
        calls.append("shutdown")

    scheduler = Scheduler(4.0)
    scheduler.add(Node("other", tick=well, init=init, shutdown=shutdown), order=-1)
    scheduler.add(Node("threaded", **hooks))
    expected = "node 'threaded' has def hooks.*make them async.*MockClock without autojump"
    with pytest.raises(horus.ConfigurationError, match=expected):
        await scheduler.run(1.0)
    assert calls in ([], ["init", "shutdown"])  # what had begun is undone


async def test_a_late_def_node_under_autojump_is_refused_where_it_is_added(
    autojump_clock: MockClock,
) -> None:
    def plain(node: Node) -> None:
        pytest.fail("it ran")

    scheduler = Scheduler(4.0)
    scheduler.add(Node("other", tick=well))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scheduler.run, 2.0)
        await trio.sleep(1.0)
        with pytest.raises(horus.ConfigurationError, match="node 'late' has def hooks"):
            scheduler.add(Node("late", tick=plain))
        assert list(scheduler.statistics().nodes) == ["other"]


async def test_def_nodes_keep_virtual_time_when_the_test_moves_it(mock_clock: MockClock) -> None:
    release = threading.Event()
    entered = threading.Event()
    seen: list[tuple[float, float]] = []

    def tick(node: Node) -> None:
        seen.append((node.now, node.dt))
        if len(seen) == 3:
            entered.set()
            release.wait(60)

    scheduler = Scheduler(4.0)
    log = Log(scheduler)
    scheduler.add(Node("a", tick=tick), tick_timeout=0.75, failure_policy=horus.Ignore())

    async def advance(seconds: float) -> None:
        await wait_all_tasks_blocked(0.02)
        mock_clock.jump(seconds)
        await wait_all_tasks_blocked(0.02)

    async def ended(count: int) -> None:
        while len(log.results) < count:
            await wait_all_tasks_blocked(0.001)

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(scheduler.run)
            for number in (1, 2):
                await ended(number)
                await advance(0.25)
            while not entered.is_set():
                await wait_all_tasks_blocked(0.001)
            await advance(0.5)
            assert scheduler.statistics().nodes["a"].in_flight == 1
            await advance(0.25)  # 0.75 s after the start of its own code
            assert scheduler.statistics().nodes["a"].state is NodeState.STUCK
            await advance(1.0)
            release.set()
            while scheduler.statistics().nodes["a"].state is NodeState.STUCK:
                await wait_all_tasks_blocked(0.001)
            await advance(0.25)
            await ended(4)
            scheduler.stop()
    finally:
        release.set()
    assert [now for now, _ in seen] == [0.0, 0.25, 0.5, 2.5]
    assert [(r.status, r.started, r.duration) for r in log.results] == [
        (TickStatus.OK, 0.0, 0.0),
        (TickStatus.OK, 0.25, 0.0),
        (TickStatus.ABANDONED, 0.5, 0.75),
        (TickStatus.OK, 2.5, 0.0),
    ]
