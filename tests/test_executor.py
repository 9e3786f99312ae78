"""The tier without a scheduler: spawn nodes, ask them to tick, read results, shut down."""

from __future__ import annotations

import importlib
import threading
from typing import Any

import pytest
import trio
import trio.testing

import horus_trio as horus
from horus_trio import AsyncResult, NodeState, Tick, TickAbandoned, TickCancelled, TickStatus
from horus_trio.executor import Mailbox
from horus_trio.executor.ticker import Ticker
from horus_trio.health import Ledger
from horus_trio.messages import Fence, Shutdown
from horus_trio.testing import open_harness

settle = trio.testing.wait_all_tasks_blocked


class Counts(horus.AsyncNode):
    """Writes down what is called, and takes `seconds` for a tick."""

    def __init__(self, name: str | None = None, seconds: float = 0.0, **options: Any) -> None:
        super().__init__(name, **options)
        self.seconds = seconds
        self.calls: list[str] = []

    async def init(self) -> None:
        self.calls.append("init")

    async def tick_async(self) -> int:
        assert self.current_tick is not None
        self.calls.append(f"tick {self.current_tick.seq}")
        if self.seconds:
            await trio.sleep(self.seconds)
        return self.current_tick.seq

    async def shutdown(self) -> None:
        self.calls.append("shutdown")


def drain(executor: horus.AsyncIOExecutor) -> list[AsyncResult]:
    return executor.results.drain()


# Spawning, ticking, results


async def test_a_node_is_initialised_when_spawn_returns(
    autojump_clock: trio.testing.MockClock,
) -> None:
    class Slow(Counts):
        async def init(self) -> None:
            await trio.sleep(3)
            await super().init()

    node = Slow("a")
    async with horus.open_executor() as executor:
        await executor.spawn_node(node)
        assert trio.current_time() == 3
        assert node.calls == ["init"]
        assert repr(executor) == "<AsyncIOExecutor of 1 node(s)>"
    assert node.calls == ["init", "shutdown"]


async def test_a_tick_gives_a_result(autojump_clock: trio.testing.MockClock) -> None:
    node = Counts("a", seconds=0.25)
    async with horus.open_executor() as executor:
        await executor.spawn_node(node)
        await trio.sleep(1)
        assert executor.tick(node)
        result = await executor.results.receive()
    assert result == AsyncResult(
        node="a", seq=1, status=TickStatus.OK, scheduled=1.0, started=1.0, duration=0.25, value=1
    )
    assert result.success
    assert result.lateness == 0.0
    assert result.outcome.unwrap() == result.outcome.unwrap() == 1  # fresh each time


async def test_results_are_kept_from_the_start(autojump_clock: trio.testing.MockClock) -> None:
    async with horus.open_executor() as executor:
        await executor.spawn_node(Counts("a"))
        for _ in range(3):
            executor.tick("a")
            await settle()
        assert [r.seq for r in drain(executor)] == [1, 2, 3]
        assert executor.results is executor.results


async def test_results_end_with_the_executor(autojump_clock: trio.testing.MockClock) -> None:
    seen: list[int] = []

    async def read(results: horus.Subscription[AsyncResult]) -> None:
        seen.extend([result.seq async for result in results])

    async with trio.open_nursery() as nursery, horus.open_executor() as executor:
        await executor.spawn_node(Counts("a"))
        nursery.start_soon(read, executor.results)
        for _ in range(3):
            executor.tick("a")
            await settle()
    assert seen == [1, 2, 3]
    with pytest.raises(trio.EndOfChannel):
        executor.results.receive_nowait()


async def test_tick_all_asks_every_node(autojump_clock: trio.testing.MockClock) -> None:
    async with horus.open_executor() as executor:
        for name in "abc":
            await executor.spawn_node(Counts(name))
        assert executor.tick_all() == 3
        assert executor.tick_all() == 0  # one tick waits for each already
        await settle()
        assert sorted(r.node for r in drain(executor)) == ["a", "b", "c"]
        nodes = executor.statistics().nodes
        assert {name: (s.ok, s.coalesced) for name, s in nodes.items()} == dict.fromkeys(
            "abc", (1, 1)
        )


async def test_def_and_async_ticks_side_by_side() -> None:
    class Threaded(horus.Node):
        def tick(self) -> int:
            return threading.get_ident()

    with trio.fail_after(20):
        async with horus.open_executor() as executor:
            await executor.spawn_node(Threaded("t"))
            await executor.spawn_node(Counts("a"))
            executor.tick_all()
            results = {r.node: r for r in [await executor.results.receive() for _ in "ta"]}
    assert results["a"].success
    assert results["t"].value != threading.get_ident()


async def test_unnamed_nodes_are_numbered(autojump_clock: trio.testing.MockClock) -> None:
    async with horus.open_executor() as executor:
        await executor.spawn_node(Counts())
        await executor.spawn_node(Counts())
        assert list(executor.statistics().nodes) == ["Counts-1", "Counts-2"]
        with pytest.raises(horus.ConfigurationError, match="'Counts-1' already; names are unique"):
            await executor.spawn_node(Counts("Counts-1"))


async def test_options_of_spawn_override(autojump_clock: trio.testing.MockClock) -> None:
    node = Counts("a", seconds=5.0, tick_timeout=100)
    async with horus.open_executor() as executor:
        await executor.spawn_node(node, name="b", tick_timeout=1.5)
        executor.tick(node)
        result = await executor.results.receive()
    assert (result.node, result.status, result.duration) == ("b", TickStatus.TIMED_OUT, 1.5)
    assert isinstance(result.error, horus.TickTimedOut)
    assert "tick_timeout of 1.5 s" in str(result.error)
    with pytest.raises(horus.TickTimedOut):
        result.outcome.unwrap()


async def test_an_init_that_fails_is_raised_by_spawn(
    autojump_clock: trio.testing.MockClock,
) -> None:
    error = OSError("no camera")

    class Broken(Counts):
        async def init(self) -> None:
            raise error

    node = Broken("a")
    async with horus.open_executor() as executor:
        with pytest.raises(OSError, match="no camera") as caught:
            await executor.spawn_node(node)
        assert caught.value is error
        assert executor.statistics().nodes == {}
        await executor.spawn_node(Counts("a"))  # its name is free again
    assert node.calls == []


async def test_failures_are_counted_and_the_node_ticks_on(
    autojump_clock: trio.testing.MockClock,
) -> None:
    class Fails(Counts):
        async def tick_async(self) -> int:
            raise ValueError("no")

    async with horus.open_executor() as executor:
        await executor.spawn_node(Fails("a"))
        for _ in range(10):
            executor.tick("a")
            await settle()
        results = drain(executor)
        assert [r.status for r in results] == [TickStatus.ERROR] * 10
        assert [type(r.error) for r in results] == [ValueError] * 10
        statistics = executor.statistics().nodes["a"]
        assert (statistics.errors, statistics.restarts) == (10, 0)
        assert statistics.last_error is not None
        assert "ValueError: no" in statistics.last_error


async def test_a_policy_can_be_given_all_the_same(
    autojump_clock: trio.testing.MockClock,
) -> None:
    class Fails(Counts):
        async def tick_async(self) -> int:
            raise ValueError("no")

    node = Fails("a")
    async with horus.open_executor() as executor:
        await executor.spawn_node(node, failure_policy=horus.Restart(jitter=0))
        executor.tick("a")
        await trio.sleep(1)
        assert node.calls == ["init", "shutdown", "init"]
        assert executor.statistics().nodes["a"].restarts == 1


async def test_request_stop_leaves_the_block(autojump_clock: trio.testing.MockClock) -> None:
    class Stops(Counts):
        async def tick_async(self) -> int:
            self.request_stop("enough")
            return 0

    node = Stops("a")
    with trio.fail_after(60):
        async with horus.open_executor() as executor:
            await executor.spawn_node(node)
            executor.tick(node)
            await trio.sleep_forever()
    assert node.calls == ["init", "shutdown"]


# Shutting down


async def test_nodes_shut_down_in_reverse_order(autojump_clock: trio.testing.MockClock) -> None:
    calls: list[str] = []

    class Tells(Counts):
        async def shutdown(self) -> None:
            await trio.sleep(1)
            calls.append(self.name)

    async with horus.open_executor() as executor:
        for order, name in ((2, "late"), (1, "a"), (1, "b"), (0, "early")):
            await executor.spawn_node(Tells(name), order=order)
        start = trio.current_time()
        await executor.shutdown_all()
        assert trio.current_time() == start + 3  # a and b side by side
    assert calls[0] == "late"
    assert sorted(calls[1:3]) == ["a", "b"]
    assert calls[3] == "early"


async def test_shutdown_all_twice_calls_each_hook_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    node = Counts("a")
    async with horus.open_executor() as executor:
        await executor.spawn_node(node)
        await executor.shutdown_all()
        await executor.shutdown_all()
        assert executor.statistics().nodes["a"].state is NodeState.STOPPED
        assert not executor.tick(node)
    assert node.calls == ["init", "shutdown"]


async def test_shutdown_runs_to_its_end_though_cancelled(
    autojump_clock: trio.testing.MockClock,
) -> None:
    class Slow(Counts):
        async def shutdown(self) -> None:
            await trio.sleep(2)
            await super().shutdown()

    node = Slow("a")
    with trio.move_on_after(1):
        async with horus.open_executor() as executor:
            await executor.spawn_node(node)
            await trio.sleep_forever()
    assert trio.current_time() == 3
    assert node.calls == ["init", "shutdown"]


async def test_an_error_in_the_block_shuts_down_and_comes_out(
    autojump_clock: trio.testing.MockClock,
) -> None:
    node = Counts("a")
    with pytest.raises(KeyError, match="mine"):  # noqa: PT012
        async with horus.open_executor() as executor:
            await executor.spawn_node(node)
            raise KeyError("mine")
    assert node.calls == ["init", "shutdown"]


async def test_a_tick_that_runs_gets_its_grace(autojump_clock: trio.testing.MockClock) -> None:
    short, long = Counts("short", seconds=0.25), Counts("long", seconds=100)
    async with horus.open_executor() as executor:
        await executor.spawn_node(short)
        await executor.spawn_node(long)
        executor.tick_all()
        await settle()
        await executor.shutdown_all()
        assert trio.current_time() == 0.5
        results = {r.node: r for r in drain(executor)}
    assert results["short"].status is TickStatus.OK
    assert results["long"].status is TickStatus.CANCELLED
    assert results["long"].duration == 0.5
    assert isinstance(results["long"].error, horus.TickCancelled)


async def test_the_limit_of_a_shutdown_forces_what_is_left(
    autojump_clock: trio.testing.MockClock,
) -> None:
    class Hangs(Counts):
        async def shutdown(self) -> None:
            await trio.sleep_forever()

    async with horus.open_executor() as executor:
        await executor.spawn_node(Hangs("a", shutdown_timeout=100))
        await executor.shutdown_all(within=2)
        assert 2 <= trio.current_time() <= 2.5


@pytest.mark.parametrize(("within", "grace"), [(10.0, 0.3), (0.4, 0.2)])
async def test_the_last_of_the_time_for_the_stop_is_for_the_last_hooks(
    autojump_clock: trio.testing.MockClock, within: float, grace: float
) -> None:
    class Closing(Counts):
        async def shutdown(self) -> None:
            began.append(trio.current_time())
            await trio.sleep_forever()

    began: list[float] = []
    async with horus.open_executor(stop_timeout=within) as executor:
        await executor.spawn_node(Closing("last", order=0, shutdown_timeout=500))
        await executor.spawn_node(Closing("first", order=1, shutdown_timeout=500))
        start = trio.current_time()
    ended = trio.current_time() - start
    assert [at - start for at in began] == [pytest.approx(0), pytest.approx(within - grace)]
    assert ended == pytest.approx(within)


async def test_after_its_run_a_node_can_be_spawned_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    node = Counts("a")
    for _ in range(2):
        async with horus.open_executor() as executor:
            await executor.spawn_node(node)
    assert node.calls == ["init", "shutdown"] * 2


async def test_executors_can_share_topics(autojump_clock: trio.testing.MockClock) -> None:
    topics = horus.Topics()
    reader = topics.hub("a").subscribe()

    async def tick(node: horus.Node) -> None:
        node.send("a", node.name)

    async with (
        horus.open_executor(topics=topics) as first,
        horus.open_executor(topics=topics) as second,
    ):
        await first.spawn_node(horus.Node("one", tick=tick))
        await second.spawn_node(horus.Node("two", tick=tick))
        first.tick("one")
        second.tick("two")
        await settle()
    assert sorted(reader.drain()) == ["one", "two"]


# The law of the mailbox


async def test_at_most_one_tick_waits(autojump_clock: trio.testing.MockClock) -> None:
    node = Counts("a", seconds=1)
    async with horus.open_executor() as executor:
        await executor.spawn_node(node)
        assert executor.tick(node)
        await settle()  # it runs
        assert executor.tick(node)  # it waits
        assert [executor.tick(node) for _ in range(5)] == [False] * 5
        assert executor.statistics().nodes["a"].in_flight == 2
        await trio.sleep(10)
        assert [(r.seq, r.scheduled, r.started) for r in drain(executor)] == [
            (1, 0.0, 0.0),
            (2, 0.0, 1.0),
        ]
        assert executor.statistics().nodes["a"].coalesced == 5


async def test_shutdown_overtakes_the_waiting_tick(
    autojump_clock: trio.testing.MockClock,
) -> None:
    node = Counts("a", seconds=0.25)
    async with horus.open_executor() as executor:
        await executor.spawn_node(node)
        executor.tick(node)
        await settle()
        executor.tick(node)
        await executor.shutdown_all()
        results = drain(executor)
        statistics = executor.statistics().nodes["a"]
    assert [(r.seq, r.status) for r in results] == [(1, TickStatus.OK), (2, TickStatus.CANCELLED)]
    assert results[1].duration == 0.0
    assert node.calls == ["init", "tick 1", "shutdown"]
    assert (statistics.ok, statistics.cancelled, statistics.in_flight) == (1, 1, 0)


async def test_shutdown_overtakes_a_tick_that_has_just_been_released(
    autojump_clock: trio.testing.MockClock,
) -> None:
    node = Counts("a")
    async with horus.open_executor() as executor:
        await executor.spawn_node(node)
        executor.tick(node)  # no checkpoint between: it has not begun
        await executor.shutdown_all()
        assert [r.status for r in drain(executor)] == [TickStatus.CANCELLED]
    assert node.calls == ["init", "shutdown"]


def test_the_channel_holds_one_tick_and_one_shutdown() -> None:
    mailbox = Mailbox(Ledger(), lambda: None, catch_up=False)
    mailbox.open(0.0)
    assert mailbox.release(1.0)
    assert not mailbox.release(2.0)  # missed: it takes a number
    assert not mailbox.post(3.0)
    mailbox.shut(Shutdown(reason="first"))
    mailbox.shut(Shutdown(reason="second"))
    assert mailbox.leaving == Shutdown(reason="first")
    assert mailbox.empty() == [Tick(seq=1, scheduled=1.0)]
    assert mailbox.seq == 2


def test_nothing_is_released_after_the_last_message() -> None:
    ledger = Ledger()
    overruns: list[int] = []
    mailbox = Mailbox(ledger, lambda: overruns.append(1), catch_up=False)
    mailbox.open(0.0)
    assert mailbox.ready
    mailbox.shut(Shutdown(reason="over"))
    assert not mailbox.ready
    assert not mailbox.release(1.0)
    assert not mailbox.post(2.0)
    assert (ledger.missed, ledger.in_flight, ledger.coalesced, overruns) == (1, 0, 0, [])
    assert mailbox.empty() == []


def test_a_tick_asked_for_before_the_node_serves_runs_once_it_does() -> None:
    ledger = Ledger()
    mailbox = Mailbox(ledger, lambda: None, catch_up=False)
    assert mailbox.post(1.0)
    assert not mailbox.post(2.0, count=3)
    assert ledger.coalesced == 3
    assert not mailbox.release(3.0)
    assert ledger.missed == 1
    mailbox.open(4.0)
    assert mailbox.empty() == [Tick(seq=2, scheduled=4.0)]


def test_owed_releases_are_bounded() -> None:
    ledger = Ledger()
    overruns: list[int] = []
    mailbox = Mailbox(ledger, lambda: overruns.append(1), catch_up=True)
    mailbox.open(0.0)
    assert mailbox.release(0.0)
    for n in range(1, 20):
        assert not mailbox.release(float(n))
    assert ledger.missed == 9  # ten are owed
    assert mailbox.empty() == [Tick(seq=1, scheduled=0.0)]
    assert ledger.missed == 19
    assert ledger.released == 20


def test_points_slept_through_are_owed_up_to_the_bound() -> None:
    ledger = Ledger()
    mailbox = Mailbox(ledger, lambda: None, catch_up=True)
    mailbox.open(0.0)
    mailbox.skip([float(n) for n in range(10)], earlier=7)
    assert (ledger.missed, ledger.released) == (7, 7)
    mailbox.skip([10.0, 11.0], earlier=0)
    assert ledger.missed == 9
    assert mailbox.release(12.0)
    assert ledger.missed == 10
    (tick,) = mailbox.empty()
    assert tick.scheduled == 0.0


def test_points_slept_through_are_missed_without_catching_up() -> None:
    ledger = Ledger()
    mailbox = Mailbox(ledger, lambda: None, catch_up=False)
    mailbox.open(0.0)
    mailbox.skip([1.0, 2.0], earlier=3)
    assert (ledger.missed, mailbox.seq) == (5, 5)
    mailbox.skip([], earlier=0)
    assert (ledger.missed, mailbox.seq) == (5, 5)


def test_what_is_owed_comes_after_the_tick_one_at_a_time() -> None:
    ledger = Ledger()
    overruns: list[int] = []
    mailbox = Mailbox(ledger, lambda: overruns.append(1), catch_up=True)
    sent: list[Tick] = []
    mailbox.dispatch = sent.append
    mailbox.open(0.0)
    assert mailbox.release(0.0)
    assert not mailbox.release(1.0)
    assert not mailbox.release(2.0)
    assert len(overruns) == 1  # the second of them waits behind the first
    for due in (1.0, 2.0):
        mailbox.taken()
        assert (mailbox.busy, mailbox.ready) == (True, False)
        mailbox.done()
        assert (mailbox.busy, mailbox.ready) == (False, False)
        assert sent[-1].scheduled == due
    mailbox.taken()
    mailbox.done()
    assert mailbox.ready
    assert mailbox.release(3.0)
    assert [(tick.seq, tick.scheduled) for tick in sent] == [(1, 0), (2, 1), (3, 2), (4, 3)]
    assert (ledger.released, ledger.missed) == (4, 0)


def test_a_post_during_a_tick_waits_and_others_fall_to_it() -> None:
    ledger = Ledger()
    overruns: list[int] = []
    mailbox = Mailbox(ledger, lambda: overruns.append(1), catch_up=False)
    sent: list[Tick] = []
    mailbox.dispatch = sent.append
    mailbox.open(0.0)
    assert mailbox.post(0.0, 3)
    assert ledger.coalesced == 2
    mailbox.taken()
    assert not mailbox.release(0.5)
    assert (ledger.missed, len(overruns)) == (1, 1)
    assert mailbox.post(1.0)
    assert not mailbox.post(1.5)
    assert ledger.coalesced == 3
    mailbox.done()
    assert not mailbox.ready  # one waits
    mailbox.suspend()
    assert not mailbox.post(2.0)
    mailbox.open(3.0)
    assert not mailbox.ready
    mailbox.taken()
    mailbox.suspend()
    mailbox.done()
    assert not mailbox.ready
    assert not mailbox.release(3.5)
    assert (ledger.missed, len(overruns)) == (2, 1)  # nobody is to tick: no overrun
    assert mailbox.post(4.0)
    mailbox.open(5.0)
    assert [tick.scheduled for tick in sent] == [0.0, 1.0, 5.0]
    mailbox.taken()
    mailbox.shut(Shutdown(reason="over"))
    assert not mailbox.post(6.0, 2)
    assert ledger.coalesced == 4  # not those after the end
    mailbox.open(7.0)
    assert len(sent) == 3  # nothing is due any more


def test_others_learn_that_the_turn_of_a_node_is_over() -> None:
    turns: list[str] = []
    mailbox = Mailbox(Ledger(), lambda: None, catch_up=False)
    mailbox.end_turn = lambda: turns.append("over")
    queue: list[Tick] = []
    mailbox.dispatch = queue.append
    mailbox.withdraw = lambda: queue
    mailbox.open(0.0)
    assert mailbox.release(0.0)
    assert queue.pop() == Tick(seq=1, scheduled=0.0)
    mailbox.taken()
    mailbox.done()
    assert turns == ["over"]
    mailbox.release(1.0)
    assert mailbox.empty() == [Tick(seq=2, scheduled=1.0)]
    assert turns == ["over"] * 2
    assert not mailbox.busy
    assert not mailbox.ready


# Messages


@pytest.mark.parametrize(
    ("module", "name", "value"),
    [
        ("worker", "FORCED_GRACE", 0.3),
        ("runner", "FINISH_GRACE", 0.5),
        ("runner", "THREAD_TICK_TIMEOUT", 30.0),
        ("safe_state", "TICK_GRACE", 0.05),
        ("safe_state", "LOOK_EVERY", 0.001),
        ("process.ticks", "EXIT_GRACE", 1.0),
        ("judge", "HOOK_ERRORS", 3),
        ("pool", "HOOK_THREADS", 8),
        ("executor", "POOL_TOKENS", 4),
    ],
)
def test_limits_are_those_that_the_guide_promises(module: str, name: str, value: float) -> None:
    assert getattr(importlib.import_module(f"horus_trio.executor.{module}"), name) == value


def test_ticks_and_results_are_values() -> None:
    assert Tick(seq=1, scheduled=2.0) == Tick(seq=1, scheduled=2.0)
    with pytest.raises(AttributeError):
        Tick(seq=1, scheduled=2.0).seq = 3  # type: ignore[misc]
    assert repr(TickStatus.OK) == "TickStatus.OK"


def test_a_result_without_an_error_still_has_an_outcome() -> None:
    result = AsyncResult(
        node="a", seq=3, status=TickStatus.CANCELLED, scheduled=1.0, started=1.5, duration=0.0
    )
    assert not result.success
    assert result.lateness == 0.5
    with pytest.raises(horus.TickCancelled, match="tick 3 of node 'a' was cancelled"):
        result.outcome.unwrap()


def test_a_closed_fence_wakes_those_who_wait_in_it() -> None:
    fence = Fence("a")
    woken: list[str] = []
    fence.on_close(lambda: woken.append("early"))
    forgotten = lambda: woken.append("forgotten")  # noqa: E731 - the same object twice
    fence.on_close(forgotten)
    fence.forget(forgotten)
    assert repr(fence) == "<Fence of 'a', open>"
    assert not fence.expired
    fence.close()
    fence.close()
    fence.on_close(lambda: woken.append("late"))
    assert woken == ["early", "late"]
    assert repr(fence) == "<Fence of 'a', closed>"
    assert fence.expired
    with pytest.raises(horus.TickAbandoned, match=r"'a' was abandoned.*check_cancelled"):
        fence.refuse()


def test_an_expired_fence_may_still_publish() -> None:
    fence = Fence("a")
    fence.expire()
    assert fence.expired
    assert not fence.closed


async def test_a_cancelled_spawn_leaves_no_node(autojump_clock: trio.testing.MockClock) -> None:
    class Slow(horus.AsyncNode):
        shutdowns = 0

        async def init(self) -> None:
            await trio.sleep(5)

        async def tick_async(self) -> None:
            pass

        async def shutdown(self) -> None:
            Slow.shutdowns += 1

    async with horus.open_executor() as executor:
        with trio.move_on_after(0.5):
            await executor.spawn_node(Slow("slow"))
        assert executor.statistics().nodes == {}
        await executor.spawn_node(Slow("slow"))
    assert Slow.shutdowns == 1


@pytest.mark.parametrize(
    ("errors", "heeded"),
    [
        ([TickAbandoned("late")], True),
        ([TickCancelled("late"), TickAbandoned("late")], True),
        ([TickAbandoned("late"), ValueError("and wrong")], False),
        ([ValueError("wrong")], False),
    ],
)
def test_a_group_of_what_a_tick_is_told_at_its_limit_is_no_error(
    errors: list[Exception], heeded: bool
) -> None:
    fence = Fence("arm")
    group = ExceptionGroup("of the tick", errors)
    assert not Ticker._heeded(group, fence)  # its time is not over
    fence.expired = True
    assert Ticker._heeded(group, fence) is heeded
    assert Ticker._heeded(errors[-1], fence) is isinstance(
        errors[-1], (TickCancelled, TickAbandoned)
    )


# What a node may ask of its engine


async def beats(node: horus.Node) -> None:
    pass


async def test_a_node_is_told_whether_an_emergency_holds_it() -> None:
    arm = horus.Node("arm", tick=beats, critical=True)
    async with open_harness(arm) as h:
        assert arm._seat is not None
        assert arm._seat.engine is not None
        assert arm._seat.engine.is_held is False
        h.scheduler.emergency_stop("a person is in the cell")
        await h.settle()
        assert arm._seat.engine.is_held is True
        h.scheduler.reset_emergency()
        await h.settle()
        assert arm._seat.engine.is_held is False


async def test_what_a_node_has_begun_fails_the_node_from_any_thread() -> None:
    async with open_harness(horus.Node("arm", tick=beats)) as h:
        seat = h.node("arm")._seat
        assert seat is not None
        assert seat.engine is not None
        await trio.to_thread.run_sync(seat.engine.fail, OSError("the line is dead"))
        await h.settle()
        statistics = h.node_statistics("arm")
        assert (statistics.failures, statistics.errors) == (1, 0)
        assert statistics.last_error is not None
        assert "OSError: the line is dead" in statistics.last_error


async def test_background_tasks_go_on_while_the_run_is_cancelled(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A tick has a moment to end, and may need what it has begun."""

    async def tick(node: horus.Node) -> None:
        done = trio.Event()

        async def work() -> None:
            await trio.sleep(0.02)
            done.set()

        node.start_soon(work)
        await done.wait()

    scheduler = horus.Scheduler(tick_rate=1, signals=False).add(horus.Node("a", tick=tick))
    with trio.move_on_after(0.01):
        await scheduler.run()
    assert scheduler.report is not None
    statistics = scheduler.report.statistics.nodes["a"]
    assert (statistics.ok, statistics.cancelled) == (1, 0)
