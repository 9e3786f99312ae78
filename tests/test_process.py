"""``thread="process"``: a tick in a worker process happens as in a thread, or not at all."""

from __future__ import annotations

import functools
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import process_nodes as nodes
import pytest
import trio
from process_nodes import Worker
from trio.testing import MockClock

import horus_trio as horus
from horus_trio import NodeState, TickStatus
from horus_trio.executor.process import check_process
from horus_trio.executor.process.far_side import _Seen
from horus_trio.executor.process.parcels import state_of
from horus_trio.node import find_hooks, resolve_options
from horus_trio.testing import open_harness
from horus_trio.testing.leftovers import child_processes

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def untraced_children() -> None:
    """Coverage is measured in worker processes, too."""


@pytest.fixture(autouse=True)
def _parallel(require: Callable[[str, bool, str], None]) -> None:
    try:
        import trio_parallel  # noqa: F401
    except ImportError:
        require("trio-parallel", False, "pip install 'horus-trio[parallel]'")


@pytest.fixture
async def executor() -> AsyncIterator[horus.AsyncIOExecutor]:
    async with horus.open_executor(topics=horus.Topics()) as executor:
        yield executor
    assert not child_processes()


async def tick(executor: horus.AsyncIOExecutor, node: horus.Node) -> horus.AsyncResult:
    executor.tick(node)
    return await executor.results.receive()


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    with trio.fail_after(seconds):
        while not condition():  # noqa: ASYNC110 - processes and threads set no events
            await trio.sleep(0.005)


def error_of(result: horus.AsyncResult) -> str:
    assert result.status is TickStatus.ERROR
    return str(result.error)


# What a tick does


async def test_a_tick_runs_in_one_other_process_and_hooks_do_not(
    executor: horus.AsyncIOExecutor,
) -> None:
    node = Worker(nodes.pid)
    await executor.spawn_node(node)
    assert len(child_processes()) == 1  # ready for the first tick
    results = [await tick(executor, node) for _ in range(3)]
    await executor.shutdown_all()
    assert [r.status for r in results] == [TickStatus.OK] * 3
    assert len({r.value for r in results}) == 1
    assert results[0].value != os.getpid()
    assert not is_alive(results[0].value)
    assert node.calls == [("init", os.getpid()), ("shutdown", os.getpid())]
    assert node.count == 3


async def test_a_function_is_a_node(executor: horus.AsyncIOExecutor) -> None:
    node = horus.Node("solver", tick=nodes.echo, thread="process", on="in")
    await executor.spawn_node(node)
    out = executor.topics.hub("out").subscribe()
    executor.topics.hub("in").send({"a": "problem"})
    result = await executor.results.receive()
    assert result.value == {"a": "problem"}
    assert out.drain() == [{"a": "problem"}]


async def test_a_tick_sees_its_inputs_and_the_time(executor: horus.AsyncIOExecutor) -> None:
    node = Worker(nodes.look_around, "looker", subs="in")
    await executor.spawn_node(node)
    empty = (await tick(executor, node)).value
    assert (empty["has"], empty["latest"], empty["age"]) == (False, "none", float("inf"))
    assert (empty["received"], empty["all"]) == ("none", [])

    for number in range(4):
        executor.topics.hub("in").send(number)
    before = trio.current_time()
    result = await tick(executor, node)
    seen = result.value
    assert before < seen["now"] < trio.current_time()
    assert before < result.started <= seen["now"]
    assert 0 < seen["age"] < trio.current_time() - before + 1
    assert seen["dt"] > 0
    assert (seen["name"], seen["seq"], seen["has"]) == ("looker", 2, True)
    assert (seen["latest"], seen["young"]) == (3, "none")
    assert (seen["received"], seen["all"], seen["then"]) == (0, [1, 2, 3], "none")


async def test_attributes_that_were_changed_come_back_and_others_are_left_alone(
    executor: horus.AsyncIOExecutor,
) -> None:
    node: Any = Worker(nodes.change_attributes)
    node.doomed = True
    node.kept = kept = {"a": ["big", "thing"]}
    await executor.spawn_node(node)
    assert (await tick(executor, node)).success
    assert node.calls[1:] == [("changed in place", 0)]
    assert node.fresh == {"made in": "tick"}
    assert node.twin is node.fresh
    assert not hasattr(node, "doomed")
    assert node.kept is kept
    assert node.count == 1


async def test_a_node_that_refers_to_itself_arrives_as_itself(
    executor: horus.AsyncIOExecutor,
) -> None:
    node = nodes.Cyclic()
    await executor.spawn_node(node)
    assert [(await tick(executor, node)).value for _ in range(2)] == [2, 4]
    assert node.count == 4
    assert node.me is node


async def test_a_node_may_say_what_its_state_is(executor: horus.AsyncIOExecutor) -> None:
    node = nodes.Slotted()
    await executor.spawn_node(node)
    assert [(await tick(executor, node)).value for _ in range(2)] == [2, 3]
    assert node.slot == 3


async def test_sends_and_log_records_come_out_in_order(
    executor: horus.AsyncIOExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    node = Worker(nodes.send_and_log, "talker")
    out = executor.topics.hub("out").subscribe()
    await executor.spawn_node(node)
    with caplog.at_level(logging.INFO, "horus_trio.node"):
        assert (await tick(executor, node)).value == "done"
        await executor.shutdown_all()
        await until(lambda: len(caplog.records) == 2)
    assert out.drain() == [1, [2]]
    first, second = caplog.records
    assert (first.message, first.levelname) == ("before one", "INFO")
    assert (vars(first)["node"], vars(first)["tick"]) == ("talker", 1)
    assert "lock" in vars(second)["field"]


async def test_records_below_the_level_stay_where_they_are(
    executor: horus.AsyncIOExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    node = Worker(nodes.send_and_log, "talker")
    await executor.spawn_node(node)
    with caplog.at_level(logging.WARNING, "horus_trio.node"):
        assert (await tick(executor, node)).success
        await executor.shutdown_all()
    assert not caplog.records


async def test_a_message_of_the_wrong_type_is_the_ticks_error(
    executor: horus.AsyncIOExecutor,
) -> None:
    executor.topics.declare(horus.Pub("typed", type=int))
    out = executor.topics.hub("typed").subscribe()
    node = Worker(nodes.send_the_wrong_type)
    await executor.spawn_node(node)
    result = await tick(executor, node)
    assert isinstance(result.error, horus.MessageTypeError)
    assert out.drain() == [1]


def test_a_tick_may_stop_the_run(scheduler: horus.Scheduler) -> None:
    scheduler.add(Worker(nodes.stop_the_run), rate=50)
    assert scheduler.run().reason == "enough"


def test_a_tick_may_call_an_emergency(scheduler: horus.Scheduler) -> None:
    made_safe: list[str] = []

    def make_safe(node: horus.Node) -> None:
        made_safe.append(node.name)
        scheduler.stop()

    motor = horus.Node("motor", tick=nodes.pid, enter_safe_state=make_safe, critical=True)
    scheduler.add(motor, thread="process", rate=50)
    scheduler.add(Worker(nodes.call_an_emergency), rate=50)
    scheduler.run(duration=10)
    assert made_safe == ["motor"]
    assert scheduler.emergency is not None
    assert scheduler.emergency.reason == "too close"


@pytest.mark.parametrize(
    ("task", "text"),
    [
        (nodes.read_what_is_not_declared, "topic 'elsewhere' cannot be read"),
        (nodes.latest_of_what_is_not_declared, "topic 'elsewhere' cannot be read"),
        (nodes.start_a_task, "call start_soon in init"),
        (nodes.await_something, "use recv() here"),
        (nodes.send_a_lock, "topic 'out'['lock']: TypeError"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_what_cannot_work_there_says_so_at_the_call(
    executor: horus.AsyncIOExecutor, task: Callable[[Any], Any], text: str
) -> None:
    node = Worker(task, subs="in")
    await executor.spawn_node(node)
    result = await tick(executor, node)
    assert text in error_of(result)
    assert result.error is not None
    assert task.__name__ in result.error.__notes__[0]


# Inputs


def law_holds(subscription: horus.SubscriptionStatistics) -> bool:
    s = subscription
    return s.received + s.dropped + s.depth == s.published


@pytest.mark.parametrize("overflow", [horus.Overflow.DROP_OLDEST, horus.Overflow.DROP_NEWEST])
async def test_no_input_is_lost_or_seen_twice_while_publishers_go_on(
    executor: horus.AsyncIOExecutor, overflow: horus.Overflow
) -> None:
    node = Worker(nodes.echo_some, subs=horus.Sub("in", capacity=1000, overflow=overflow))
    await executor.spawn_node(node)
    hub, out = executor.topics.hub("in"), executor.topics.hub("out").subscribe()

    def publish() -> None:
        for number in range(300):
            hub.send(number)
            time.sleep(0.0005)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, publish)
        while out.depth < 300:
            assert (await tick(executor, node)).success
            (statistics,) = hub.statistics().subscriptions
            assert law_holds(statistics)
            assert statistics.received == out.depth
    assert out.drain() == list(range(300))


async def test_inputs_that_overflow_meanwhile_are_counted_once(
    executor: horus.AsyncIOExecutor,
) -> None:
    node = Worker(nodes.echo_some, subs=horus.Sub("in", capacity=4))
    await executor.spawn_node(node)
    hub, out = executor.topics.hub("in"), executor.topics.hub("out").subscribe()
    done = threading.Event()

    def publish() -> None:
        number = 0
        while not done.is_set():
            hub.send(number)
            number += 1
            time.sleep(0.0002)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, publish)
        for _ in range(100):
            assert (await tick(executor, node)).success
            (statistics,) = hub.statistics().subscriptions
            assert law_holds(statistics)
        done.set()
    seen = out.drain()
    assert seen == sorted(set(seen))
    (statistics,) = hub.statistics().subscriptions
    assert statistics.dropped > 0


async def test_a_sender_that_waits_for_room_goes_on_when_the_tick_has_taken(
    executor: horus.AsyncIOExecutor,
) -> None:
    block = horus.Sub("in", capacity=2, overflow=horus.Overflow.BLOCK)
    node = Worker(nodes.echo_some, on="in", subs=block)
    await executor.spawn_node(node)
    out = executor.topics.hub("out").subscribe()
    with trio.fail_after(20):
        for number in range(20):
            await executor.topics.hub("in").send_async(number)
        while out.depth < 20:
            await tick(executor, node)
    assert out.drain() == list(range(20))


async def test_a_killed_tick_has_taken_what_it_took_and_nothing_else(
    executor: horus.AsyncIOExecutor,
) -> None:
    node = Worker(nodes.take_one_and_hang, subs="in", tick_timeout=0.2)
    await executor.spawn_node(node)
    hub, out = executor.topics.hub("in"), executor.topics.hub("out").subscribe()
    for number in range(3):
        hub.send(number)
    assert (await tick(executor, node)).status is TickStatus.TIMED_OUT
    (statistics,) = hub.statistics().subscriptions
    assert (statistics.received, statistics.depth) == (1, 2)
    node.task = nodes.echo
    assert (await tick(executor, node)).value == 1
    assert out.drain() == [1]  # what the killed tick had sent was never published


async def test_a_message_that_cannot_travel_fails_its_reader_and_is_gone(
    executor: horus.AsyncIOExecutor,
) -> None:
    node = Worker(nodes.echo, subs="in")
    await executor.spawn_node(node)
    hub = executor.topics.hub("in")
    for message in (lambda: None, nodes.Twice(), "fine"):
        hub.send(message)
    assert "the message of topic 'in': " in error_of(await tick(executor, node))
    assert "LookupError: not here" in error_of(await tick(executor, node))
    assert (await tick(executor, node)).value == "fine"


async def test_large_messages_travel_both_ways(executor: horus.AsyncIOExecutor) -> None:
    node = Worker(nodes.echo, subs="in")
    out = executor.topics.hub("out").subscribe()
    await executor.spawn_node(node)
    picture = os.urandom(3_000_000)
    executor.topics.hub("in").send(picture)
    assert (await tick(executor, node)).value == picture
    assert out.drain() == [picture]


async def test_of_many_messages_one_that_cannot_travel_fails_the_reader(
    executor: horus.AsyncIOExecutor,
) -> None:
    node = Worker(nodes.drain_all, subs="in")
    await executor.spawn_node(node)
    for message in (1, nodes.Twice(), 2):
        executor.topics.hub("in").send(message)
    assert "LookupError: not here" in error_of(await tick(executor, node))
    assert (await tick(executor, node)).value == []


# Errors


async def test_an_error_comes_with_its_traceback_and_after_what_was_done(
    executor: horus.AsyncIOExecutor,
) -> None:
    node = Worker(nodes.raise_value_error)
    out = executor.topics.hub("out").subscribe()
    await executor.spawn_node(node)
    error = (await tick(executor, node)).error
    assert isinstance(error, ValueError)
    assert str(error) == "no solution"
    (note,) = error.__notes__
    assert note.startswith("in its worker process ")
    assert "in raise_value_error" in note
    assert "far_side" not in note
    assert out.drain() == ["sent before"]
    assert (node.kept, node.count) == ("changed before", 1)
    await executor.shutdown_all()
    assert node.calls[-2:] == [("on_error", os.getpid()), ("shutdown", os.getpid())]


@pytest.mark.parametrize(
    ("task", "text"),
    [(nodes.raise_picky, "Picky: as picky as it gets"), (nodes.raise_mine, "Mine: so it is")],
    ids=["cannot be rebuilt", "is no error any more"],
)
async def test_an_error_that_cannot_travel_has_a_substitute(
    executor: horus.AsyncIOExecutor, task: Callable[[Any], Any], text: str
) -> None:
    node = Worker(task)
    await executor.spawn_node(node)
    error = (await tick(executor, node)).error
    assert isinstance(error, horus.WorkerFailed)
    assert str(error).startswith(f"{text} (a substitute: ")
    assert f"in {task.__name__}" in error.__notes__[0]


async def test_sys_exit_is_a_failure_and_not_the_end_of_the_worker(
    executor: horus.AsyncIOExecutor,
) -> None:
    node = Worker(nodes.leave)
    await executor.spawn_node(node)
    assert isinstance((await tick(executor, node)).error, SystemExit)
    node.task = nodes.pid
    assert (await tick(executor, node)).success


# What cannot be pickled


async def test_an_attribute_that_cannot_be_pickled_is_found_at_the_start(
    executor: horus.AsyncIOExecutor,
) -> None:
    node = Worker(nodes.pid, "solver")
    node.kept = {"deep": [threading.Lock()]}
    with pytest.raises(horus.NodeError) as caught:
        await executor.spawn_node(node)
    text = str(caught.value)
    assert text.startswith("node 'solver' has thread='process', and cannot be sent")
    assert "self.kept['deep'][0]: TypeError: cannot pickle '_thread.lock' object" in text
    assert "__getstate__" in text
    assert [call for call, _ in node.calls[:2]] == ["init", "shutdown"]  # its init was undone


async def test_a_class_that_cannot_be_imported_is_found_at_the_start(
    executor: horus.AsyncIOExecutor,
) -> None:
    class Local(Worker):
        pass

    with pytest.raises(horus.NodeError, match=r"its class: .* local object"):
        await executor.spawn_node(Local(nodes.pid))
    function = horus.Node("f", tick=lambda node: None, thread="process")
    with pytest.raises(horus.NodeError, match="its function: "):
        await executor.spawn_node(function)


async def test_a_state_that_is_no_dict_is_found_at_the_start(
    executor: horus.AsyncIOExecutor,
) -> None:
    with pytest.raises(horus.NodeError, match="expected a dict of attributes"):
        await executor.spawn_node(nodes.Unusual())


async def test_a_worker_that_is_not_ready_in_time_is_killed(
    executor: horus.AsyncIOExecutor,
) -> None:
    with pytest.raises(horus.WorkerFailed, match=r"not ready within its init_timeout of 0\.5 s"):
        await executor.spawn_node(nodes.SlowToRebuild(), init_timeout=0.5)
    assert not child_processes()


async def test_no_room_for_temporary_files_is_the_nodes_failure(
    executor: horus.AsyncIOExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "is not there"))
    with pytest.raises(FileNotFoundError):
        await executor.spawn_node(Worker(nodes.pid))


async def test_a_start_that_is_cancelled_leaves_no_worker(
    executor: horus.AsyncIOExecutor,
) -> None:
    with trio.move_on_after(0.3) as scope:
        await executor.spawn_node(nodes.SlowToRebuild())
    assert scope.cancelled_caught
    assert not child_processes()


async def test_what_a_tick_makes_and_cannot_be_pickled_is_its_failure(
    executor: horus.AsyncIOExecutor,
) -> None:
    node = Worker(nodes.keep_a_lock)
    out = executor.topics.hub("out").subscribe()
    await executor.spawn_node(node)
    assert "self.kept['deep'][0]: TypeError" in error_of(await tick(executor, node))
    assert out.drain() == ["was sent"]
    assert node.kept is None
    node.task = nodes.return_a_lock
    assert "what its tick returned: TypeError" in error_of(await tick(executor, node))


async def test_a_node_that_hangs_while_it_is_pickled_is_like_a_thread_that_hangs(
    executor: horus.AsyncIOExecutor,
) -> None:
    gate = threading.Event()
    node = nodes.SlowToPack(gate)
    await executor.spawn_node(node, tick_timeout=0.1)
    node.hangs = True
    assert (await tick(executor, node)).status is TickStatus.ABANDONED
    assert executor.statistics().nodes["slow"].state is NodeState.STUCK
    node.hangs = False
    gate.set()
    await until(lambda: executor.statistics().nodes["slow"].state is NodeState.RUNNING)
    assert (await tick(executor, node)).success


# Time limits, and workers that die


async def test_a_tick_past_its_limit_is_killed_and_nothing_is_stuck(
    executor: horus.AsyncIOExecutor,
) -> None:
    node = Worker(nodes.pid, "solver", tick_timeout=0.15)
    await executor.spawn_node(node)
    pid = (await tick(executor, node)).value
    node.task = nodes.spin
    result = await tick(executor, node)
    assert result.status is TickStatus.TIMED_OUT
    assert isinstance(result.error, horus.TickTimedOut)
    assert "tick_timeout of 0.15 s, and its worker process was killed" in str(result.error)
    assert result.duration >= 0.15
    assert not is_alive(pid)
    statistics = executor.statistics()
    assert statistics.nodes["solver"].state is NodeState.RUNNING
    assert statistics.pool.abandoned == ()
    assert statistics.pool.borrowed == 0
    # A new worker takes longer to start than the limit, which does not count that.
    node.task = nodes.pid
    result = await tick(executor, node)
    assert result.status is TickStatus.OK
    assert result.value != pid


@pytest.mark.parametrize(
    ("task", "text"),
    [
        (nodes.exit_hard, "exited with code 3"),
        (nodes.kill_itself, "was killed by SIGKILL (perhaps by the system"),
        (nodes.crash, "was killed by SIGSEGV"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_a_worker_that_dies_is_the_ticks_error_and_the_next_has_another(
    executor: horus.AsyncIOExecutor, task: Callable[[Any], Any], text: str
) -> None:
    node = Worker(task, "solver")
    out = executor.topics.hub("out").subscribe()
    await executor.spawn_node(node)
    result = await tick(executor, node)
    assert isinstance(result.error, horus.WorkerFailed)
    assert f"the worker process of node 'solver' {text}" in error_of(result)
    frames = [frame.name for frame in traceback.extract_tb(result.error.__traceback__)]
    assert frames[-1] == "_tick"  # not how the engine has come to know it
    assert "_exchange" not in frames
    assert out.drain() == []
    assert node.count == 0
    node.task = nodes.pid
    assert (await tick(executor, node)).success


async def test_a_worker_that_dies_between_ticks_is_replaced(
    executor: horus.AsyncIOExecutor,
) -> None:
    node = Worker(nodes.pid)
    await executor.spawn_node(node)
    pid = (await tick(executor, node)).value
    os.kill(pid, signal.SIGKILL)
    await until(lambda: pid not in [child.pid for child in multiprocessing.active_children()])
    result = await tick(executor, node)
    assert result.status is TickStatus.OK
    assert result.value != pid


async def test_sigterm_for_all_processes_of_a_robot_is_the_robots_business(
    executor: horus.AsyncIOExecutor,
) -> None:
    node = Worker(nodes.ignore_sigterm)
    await executor.spawn_node(node)
    assert (await tick(executor, node)).success
    assert (await tick(executor, node)).success


@pytest.mark.slow
def test_the_failure_policy_decides(scheduler: horus.Scheduler) -> None:
    made: list[Worker] = []

    def make() -> Worker:
        made.append(Worker(nodes.exit_hard, "solver"))
        return made[-1]

    scheduler.add(
        make, rate=100, failure_policy=horus.Restart(max_restarts=2, backoff=0), critical=True
    )
    with pytest.raises(horus.RunFailed) as caught:
        scheduler.run(duration=20)
    (error,) = caught.value.exceptions
    assert isinstance(error, horus.WorkerFailed)
    assert "exited with code 3" in str(error)
    assert [[call for call, _ in node.calls] for node in made] == [
        ["init", "on_error", "shutdown"]
    ] * 3
    assert caught.value.report.statistics.nodes["solver"].errors == 3


# Ends of runs


def is_spinning(path: Path) -> bool:
    return path.exists() and path.read_text().endswith("\n")


@pytest.mark.parametrize("how", ["stop", "cancel", "force", "remove"])
async def test_a_tick_that_never_ends_ends_with_its_node(tmp_path: Path, how: str) -> None:
    scheduler = horus.Scheduler(signals=False, stop_timeout=1.0 if how == "force" else 10.0)
    node = Worker(nodes.spin, "solver", rate=50, tick_timeout=None)
    node.kept = str(tmp_path / "pid")
    scheduler.add(node, shutdown_timeout=60.0 if how == "force" else 0.2)
    statuses: list[TickStatus] = []
    scheduler.on_result(lambda result: statuses.append(result.status))
    with trio.fail_after(15):
        async with trio.open_nursery() as nursery:
            await nursery.start(scheduler.run)
            await until(lambda: is_spinning(tmp_path / "pid"))
            pid = int((tmp_path / "pid").read_text())
            assert is_alive(pid)
            if how in ("stop", "force"):
                scheduler.stop()
            elif how == "cancel":
                nursery.cancel_scope.cancel()
            else:
                scheduler.remove("solver")
                await scheduler.stopped("solver")
                assert not is_alive(pid)
                scheduler.stop()
    assert not is_alive(pid)
    assert not child_processes()
    assert statuses == [TickStatus.CANCELLED]
    assert [call for call, _ in node.calls] == ["init", "shutdown"]


async def test_an_emergency_kills_the_worker_of_a_critical_node(
    scheduler: horus.Scheduler, tmp_path: Path
) -> None:
    made_safe = threading.Event()
    motor = horus.Node(
        "motor",
        tick=nodes.spin,
        enter_safe_state=lambda node: made_safe.set(),
        critical=True,
        thread="process",
        rate=50,
        tick_timeout=None,
    )
    vars(motor)["kept"] = str(tmp_path / "pid")
    scheduler.add(motor)
    statuses: list[TickStatus] = []
    scheduler.on_result(lambda result: statuses.append(result.status))
    async with trio.open_nursery() as nursery:
        await nursery.start(scheduler.run)
        await until(lambda: is_spinning(tmp_path / "pid"))
        scheduler.emergency_stop("for the test")
        await until(made_safe.is_set)
        await until(lambda: bool(statuses))
        assert not is_alive(int((tmp_path / "pid").read_text()))
        scheduler.stop()
    assert statuses == [TickStatus.CANCELLED]


@pytest.mark.parametrize("forced", [False, True])
async def test_a_forced_stop_does_not_wait_for_an_idle_worker(tmp_path: Path, forced: bool) -> None:
    async def linger(node: horus.Node) -> None:
        await trio.sleep(60 if forced else 0)

    node: Any = horus.Node(
        "solver", tick=nodes.bid_farewell_at_exit, shutdown=linger, thread="process"
    )
    node.kept = tmp_path / "farewell"
    scheduler = horus.Scheduler(signals=False, stop_timeout=0.5)
    scheduler.add(node, shutdown_timeout=60.0)
    with trio.fail_after(10):
        report = await scheduler.run(0.1)
    assert bool(report.hook_errors) is forced
    assert node.kept.exists() is not forced  # it had no time to end by itself
    assert not child_processes()


async def test_a_background_task_that_fails_ends_the_tick_too(
    scheduler: horus.Scheduler, tmp_path: Path
) -> None:
    async def fail() -> None:
        await until(lambda: is_spinning(tmp_path / "pid"))
        raise LookupError("in the background")

    def init(node: horus.Node) -> None:
        node.start_soon(fail)

    node = horus.Node("solver", tick=nodes.spin, init=init, thread="process", rate=50)
    vars(node)["kept"] = str(tmp_path / "pid")
    scheduler.add(node, failure_policy=horus.Fatal())
    with trio.fail_after(15), pytest.raises(horus.RunFailed) as caught:
        await scheduler.run()
    assert [type(error) for error in caught.value.exceptions] == [LookupError]
    assert not child_processes()


async def test_a_stop_while_the_worker_starts(scheduler: horus.Scheduler) -> None:
    node = Worker(nodes.pid)
    scheduler.add(node)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scheduler.run)
        await until(lambda: bool(node.calls))
        await trio.sleep(0.02)
        nursery.cancel_scope.cancel()
    assert [call for call, _ in node.calls] == ["init", "shutdown"]
    assert not child_processes()


def test_runs_again_and_again(scheduler: horus.Scheduler) -> None:
    node = Worker(nodes.pid, rate=20)
    scheduler.add(node)
    for _ in range(2):
        report = scheduler.run(duration=0.2)
        counts = report.statistics.nodes["Worker-1"]
        assert counts.ticks_released == 4
        assert counts.ok >= 1
        assert not child_processes()
    assert node.count >= 2


# Tokens


async def test_ticks_in_processes_take_tokens(executor: horus.AsyncIOExecutor) -> None:
    limiter = trio.CapacityLimiter(1)
    node = Worker(nodes.pid, "solver", limiter=limiter)
    await executor.spawn_node(node)
    async with limiter:
        executor.tick(node)
        await until(
            lambda: executor.statistics().nodes["solver"].state is NodeState.WAITING_FOR_THREAD
        )
        assert executor.statistics().pool.waiting_nodes == ("solver",)
    assert (await executor.results.receive()).success


# Refusals


def test_an_async_tick_is_refused(scheduler: horus.Scheduler) -> None:
    async def wait(node: horus.Node) -> None:
        await trio.lowlevel.checkpoint()

    with pytest.raises(horus.ConfigurationError, match=r"async tick.*make it `def tick`"):
        scheduler.add(horus.Node("solver", tick=wait), thread="process")


@pytest.mark.parametrize(
    ("name", "daemon", "refused"),
    [
        ("MainProcess", False, False),
        ("MainProcess", True, True),
        ("trio-parallel worker process 3", False, True),
        ("Process-1", False, False),
    ],
)
def test_a_worker_process_has_none_of_its_own(
    monkeypatch: pytest.MonkeyPatch, name: str, daemon: bool, refused: bool
) -> None:
    process = SimpleNamespace(name=name, daemon=daemon)
    monkeypatch.setattr(multiprocessing, "current_process", lambda: process)
    node = Worker(nodes.pid, "solver")
    check = functools.partial(check_process, "solver", hooks=find_hooks(node))
    check(resolve_options("Worker", {"thread": "pool"}))
    options = resolve_options("Worker", {"thread": "process"})
    if not refused:
        check(options)
        return
    with pytest.raises(horus.ConfigurationError, match="and this is a worker process itself"):
        check(options)


async def test_a_missing_library_is_one_clear_line(
    scheduler: horus.Scheduler,
    executor: horus.AsyncIOExecutor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "trio_parallel", None)
    expected = (
        "node 'solver' has thread='process', which needs trio-parallel: "
        "pip install 'horus-trio[parallel]'"
    )
    with pytest.raises(horus.ConfigurationError) as caught:
        scheduler.add(Worker(nodes.pid, "solver"))
    assert str(caught.value) == expected
    with pytest.raises(horus.ConfigurationError) as caught:
        await executor.spawn_node(Worker(nodes.pid, "solver"))
    assert str(caught.value) == expected
    scheduler.add(Worker(nodes.pid, "solver"), thread="pool")


@pytest.mark.parametrize("threshold", [0.0, float("inf")])
def test_a_virtual_clock_is_refused(scheduler: horus.Scheduler, threshold: float) -> None:
    scheduler.add(Worker(nodes.pid))
    with pytest.raises(horus.ConfigurationError):
        trio.run(scheduler.run, 1, clock=MockClock(autojump_threshold=threshold))


async def test_a_harness_wants_another_thread_or_real_time() -> None:
    with pytest.raises(horus.ConfigurationError, match="give thread='pool' in tests"):
        async with open_harness(Worker(nodes.pid)):
            pass
    async with open_harness(Worker(nodes.pid), thread="pool") as harness:
        await harness.tick()
        assert harness.results[-1].value == os.getpid()


async def test_a_harness_in_real_time_has_processes() -> None:
    async with open_harness(Worker(nodes.pid), real_time=True) as harness:
        await harness.tick()
        assert harness.results[-1].value != os.getpid()


# Programs


def program(folder: Path, text: str) -> subprocess.Popen[str]:
    path = folder / "robot.py"
    path.write_text(f"import horus_trio as horus\n{text}")
    return subprocess.Popen(
        [sys.executable, str(path)],
        env=os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


SOLVER = """
import os
class Solver(horus.Node):
    thread = "process"
    rate = 20
    def tick(self):
        {does}
"""


@pytest.mark.slow
def test_a_program_without_a_guard_is_told_so(tmp_path: Path) -> None:
    text = SOLVER.format(does="return 1") + (
        "print('starts')\nhorus.run(Solver(failure_policy=horus.Fatal()), duration=5)\n"
    )
    with program(tmp_path, text) as running:
        out, err = running.communicate(timeout=60)
    assert running.returncode != 0
    assert out.count("starts") == 2  # once by the worker, which ran no robot
    assert "this is a worker process itself" in err
    assert "the worker process of node 'Solver-1' exited with code 1" in err
    assert '`if __name__ == "__main__":`' in err


@pytest.mark.slow
def test_a_robot_that_is_killed_leaves_no_worker_spinning(tmp_path: Path) -> None:
    text = (
        SOLVER.format(does="print(os.getpid(), flush=True)\n        while True: pass")
        + "if __name__ == '__main__':\n    horus.run(Solver())\n"
    )
    with program(tmp_path, text) as running:
        assert running.stdout is not None
        pid = int(running.stdout.readline())
        running.kill()
        give_up = time.monotonic() + 20
        while is_alive(pid):
            assert time.monotonic() < give_up, "the worker spins on"
            time.sleep(0.01)
    assert not list(tmp_path.glob("horus_trio-*"))


@pytest.mark.slow
def test_a_class_of_an_interactive_session_is_refused_with_the_remedy() -> None:
    text = (
        "import horus_trio as horus\n"
        + SOLVER.format(does="return 1")
        + ("horus.run(Solver(failure_policy=horus.Fatal()), duration=5)")
    )
    finished = subprocess.run(
        [sys.executable, "-c", text],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert finished.returncode != 0
    assert "define what it needs in a module that can be imported" in finished.stderr


# The point of it all


@pytest.mark.alone
@pytest.mark.slow
def test_two_ticks_really_run_at_once() -> None:
    def seconds(thread: Any) -> float:
        """How long two ticks take that hold their interpreter for 0.5 s each."""
        scheduler = horus.Scheduler(signals=False)
        spans: list[tuple[float, float]] = []
        for name in ("one", "two"):
            node = Worker(nodes.hold_the_interpreter, name)
            scheduler.add(node, thread=thread, rate=0.01, phase=0.0)

        def take(result: horus.AsyncResult) -> None:
            spans.append(result.value)
            if len(spans) == 2:
                scheduler.stop()

        scheduler.on_result(take)
        scheduler.run()
        return max(end for _, end in spans) - min(began for began, _ in spans)

    assert seconds("pool") >= 1.0
    assert min(seconds("process") for _ in range(3)) < 0.9


@pytest.mark.alone
@pytest.mark.slow
@pytest.mark.parametrize("task", [nodes.burn, nodes.hold_the_interpreter], ids=lambda t: t.__name__)
def test_a_sibling_on_the_loop_keeps_its_rate(task: Callable[[Any], Any]) -> None:
    async def control(node: horus.Node) -> None:
        pass

    def ticks(thread: Any) -> int:
        scheduler = horus.Scheduler(signals=False)
        scheduler.add(horus.Node("control", tick=control, rate=100))
        scheduler.add(Worker(task, "busy", rate=50), thread=thread)
        statistics = scheduler.run(duration=3).statistics.nodes
        assert statistics["busy"].ok > 0
        return statistics["control"].ok

    if task is nodes.hold_the_interpreter:
        assert ticks("pool") < 100  # the loop has no chance
    counts: list[int] = []
    while max(counts, default=0) < 290:  # others may want these processors, too
        assert len(counts) < 5, counts
        counts.append(ticks("process"))


def test_the_state_of_a_node_with_slots_has_its_other_attributes_too() -> None:
    class Slotted(horus.Node):
        __slots__ = ("gain",)

        gain: int

        def tick(self) -> None:
            """Not run."""

    node = Slotted("arm")
    node.gain = 2
    node.offset = 3  # type: ignore[attr-defined]
    state = state_of(node)
    assert (state["gain"], state["offset"]) == (2, 3)


def test_what_cannot_be_pickled_has_changed_when_it_is_another_one() -> None:
    node = horus.Node("arm", tick=print)
    one, other = threading.Lock(), threading.Lock()
    assert _Seen(one, node).equals(_Seen(one, node))
    assert not _Seen(one, node).equals(_Seen(other, node))
    assert not _Seen(one, node).equals(_Seen(3, node))
    assert _Seen([3], node).equals(_Seen([3], node))
    assert not _Seen([3], node).equals(_Seen([4], node))
