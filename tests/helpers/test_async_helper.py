"""Operations beside the ticks: taken, run, ended once, and collected."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import gc
import math
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
import trio
from helpers.patience import eventually
from trio.testing import MockClock, wait_all_tasks_blocked

from horus_trio import AsyncCallInThread, AsyncNode, ConfigurationError, Node, TickAbandoned
from horus_trio.helpers import (
    AsyncHelper,
    OperationCancelled,
    OperationDropped,
    OperationExited,
    OperationRefused,
    OperationStatus,
    OperationTimedOut,
    UnknownOperation,
)
from horus_trio.helpers.at_work import current_at_work
from horus_trio.messages import Fence, current_fence
from horus_trio.testing import blocking_delay, cancel_everywhere, open_harness

COMPLETED, FAILED = OperationStatus.COMPLETED, OperationStatus.FAILED
TIMED_OUT, CANCELLED = OperationStatus.TIMED_OUT, OperationStatus.CANCELLED
DROPPED = OperationStatus.DROPPED


def double(number: int) -> int:
    return 2 * number


async def slowly(seconds: float, value: object = None) -> object:
    await trio.sleep(seconds)
    return value


def check_laws(helper: AsyncHelper) -> None:
    now = helper.statistics()
    ended = now.completed + now.failed + now.timed_out + now.cancelled + now.dropped
    assert now.submitted == ended + now.pending
    assert ended == now.collected + now.uncollected + now.discarded


class Gate:
    """A ``def`` operation that hangs until it is let go."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.began = threading.Semaphore(0)
        self.through = 0

    def __call__(self, value: object = None) -> object:
        self.began.release()
        self.opened.wait(20)
        self.through += 1
        return value

    async def wait_for(self, count: int = 1) -> None:
        for _ in range(count):
            with trio.fail_after(20):
                while not self.began.acquire(blocking=False):  # noqa: ASYNC110 - a thread's doing
                    await trio.sleep(0.001)


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.opened.set()


# Running


async def test_a_def_operation_runs_in_a_thread_and_an_async_one_on_the_loop() -> None:
    async def where(number: int) -> tuple[int, int]:
        return number, threading.get_ident()

    def where_def(number: int) -> tuple[int, int]:
        return number, threading.get_ident()

    async with AsyncHelper() as helper:
        a, b = helper.submit(where, 1), helper.submit(where_def, 2)
        assert (a, b) == ("#1", "#2")
        assert (await helper.wait(a)).value == (1, threading.get_ident())
        number, thread = (await helper.wait(b)).value
        assert number == 2
        assert thread != threading.get_ident()
        check_laws(helper)


class Device:
    async def read(self) -> str:
        return "read"

    async def __call__(self) -> str:
        return "called"


@pytest.mark.parametrize(
    ("function", "value"),
    [
        (functools.partial(double, 4), 8),
        (functools.partial(slowly, 0, 5), 5),
        (Device().read, "read"),
        (Device(), "called"),
        (str, ""),
        (lambda: None, None),
    ],
)
async def test_any_kind_of_function(function: Any, value: object) -> None:
    async with AsyncHelper() as helper:
        result = await helper.wait(helper.submit(function))
        assert result.unwrap() == value
        assert result.success
        assert result.error is None


async def test_it_runs_in_the_context_of_who_submits() -> None:
    what: contextvars.ContextVar[str] = contextvars.ContextVar("what")

    async def on_loop() -> str:
        return what.get()

    async with AsyncHelper() as helper:
        what.set("mine")
        a, b = helper.submit(what.get), helper.submit(on_loop)
        what.set("another")
        assert (await helper.wait(a)).value == (await helper.wait(b)).value == "mine"


async def test_no_more_run_at_once_than_there_are_workers(autojump_clock: MockClock) -> None:
    running = most = 0

    async def work() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await trio.sleep(1)
        running -= 1

    async with AsyncHelper(workers=3) as helper:
        ids = [helper.submit(work) for _ in range(10)]
        assert helper.statistics().running == 3
        assert helper.pending_count() == 10
        for one in ids:
            await helper.wait(one)
        assert (most, running) == (3, 0)
        assert trio.current_time() == 4.0
        assert helper.statistics().completed == 10


async def test_both_kinds_begin_in_the_order_they_were_submitted_in(gate: Gate) -> None:
    order: list[int] = []

    async def on_loop(number: int) -> None:
        order.append(number)

    async with AsyncHelper(workers=1) as helper:
        helper.submit(gate)
        for number in range(6):
            helper.submit(on_loop if number % 2 else order.append, number)
        await gate.wait_for()
        gate.opened.set()
        await eventually(lambda: helper.pending_count() == 0)
        assert order == [0, 1, 2, 3, 4, 5]
        assert [result.id for result in helper.check_completed()] == [f"#{n}" for n in range(1, 8)]


async def test_a_thread_of_an_operation_may_call_back_to_the_loop() -> None:
    async with AsyncHelper() as helper:
        result = await helper.wait(helper.submit(trio.from_thread.run, slowly, 0.0, "back"))
        assert result.value == "back"


async def test_an_operation_may_submit_another() -> None:
    async with AsyncHelper(workers=1) as helper:
        first = helper.submit(lambda: helper.submit(double, 21))
        second = (await helper.wait(first)).unwrap()
        assert (await helper.wait(second)).unwrap() == 42


# Ids


async def test_an_id_is_its_operations_own_until_the_result_is_collected(gate: Gate) -> None:
    async with AsyncHelper() as helper:
        assert helper.submit(gate, operation_id="photo") == "photo"
        assert helper.is_pending("photo")
        with pytest.raises(
            ConfigurationError, match="operation_id='photo' is pending; expected an"
        ):
            helper.submit(double, 1, operation_id="photo")
        gate.opened.set()
        await eventually(lambda: not helper.is_pending("photo"))
        with pytest.raises(ConfigurationError, match="'photo' has a result to be collected"):
            await helper.submit_wait(double, 1, operation_id="photo")
        result = helper.check_completed("photo")
        assert result is not None
        assert result.status is COMPLETED
        helper.submit(double, 4, operation_id="photo")
        assert (await helper.wait("photo")).value == 8
        assert helper.statistics().submitted == 2


async def test_an_id_that_is_made_is_not_one_that_was_given() -> None:
    async with AsyncHelper() as helper:
        helper.submit(double, 1, operation_id="#1")
        assert helper.submit(double, 2) == "#2"
        await helper.wait("#1")
        await helper.wait("#2")


async def test_an_unknown_id_is_said() -> None:
    async with AsyncHelper() as helper:
        helper.submit(slowly, 0, operation_id="camera")
        with pytest.raises(
            UnknownOperation, match=r"no operation 'camra' and.*; did you mean 'came"
        ):
            helper.check_completed("camra")
        with pytest.raises(UnknownOperation):
            await helper.wait("lidar")
        assert not helper.is_pending("lidar")
        assert not helper.cancel("lidar")
        await helper.wait("camera")
        with pytest.raises(
            LookupError, match="its result was collected or discarded; there are no"
        ):
            await helper.wait("camera")


# Collecting


async def test_what_has_ended_is_collected_once_in_its_order(autojump_clock: MockClock) -> None:
    async with AsyncHelper() as helper:
        for seconds in (3, 1, 2):
            helper.submit(slowly, seconds, seconds, operation_id=str(seconds))
        assert helper.check_completed() == []
        assert helper.check_completed("1") is None
        await trio.sleep(2.5)
        assert [(r.id, r.value, r.duration) for r in helper.check_completed()] == [
            ("1", 1, 1.0),
            ("2", 2, 2.0),
        ]
        assert helper.check_completed() == []
        assert repr(helper) == "<AsyncHelper 'operations', open, 1 pending, 0 uncollected>"
        await trio.sleep(1)
        assert repr(helper) == "<AsyncHelper 'operations', open, 0 pending, 1 uncollected>"
        check_laws(helper)


async def test_all_who_wait_for_one_get_it(autojump_clock: MockClock) -> None:
    got: list[object] = []

    async def wait() -> None:
        got.append((await helper.wait("it")).value)

    async with AsyncHelper() as helper:
        helper.submit(slowly, 1, "there", operation_id="it")
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(wait)
        assert got == ["there"] * 3
        assert helper.statistics().collected == 1


async def test_who_is_cancelled_leaves_the_result_there(autojump_clock: MockClock) -> None:
    async with AsyncHelper() as helper:
        helper.submit(slowly, 1, "there", operation_id="it")
        with trio.move_on_after(0.5) as scope:
            await helper.wait("it")
        assert scope.cancelled_caught
        with trio.move_on_at(1.0) as scope:  # at the instant it ends
            await helper.wait("it")
        if scope.cancelled_caught:
            assert (await helper.wait("it")).value == "there"
        check_laws(helper)


async def test_waiting_is_a_checkpoint_also_for_what_has_ended() -> None:
    async with AsyncHelper() as helper:
        helper.submit(double, 1, operation_id="it")
        await eventually(lambda: not helper.is_pending("it"))
        with trio.CancelScope() as scope:
            scope.cancel()
            await helper.wait("it")
        assert scope.cancelled_caught
        with trio.testing.assert_checkpoints():
            await helper.wait("it")


async def test_results_that_nobody_collects_are_bounded() -> None:
    async with AsyncHelper(results=3) as helper:
        for number in range(5):
            helper.submit(double, number, operation_id=str(number))
        await eventually(lambda: helper.pending_count() == 0)
        now = helper.statistics()
        assert (now.uncollected, now.discarded, now.completed) == (3, 2, 5)
        with pytest.raises(UnknownOperation):
            await helper.wait("0")
        assert len(helper.check_completed()) == 3
        check_laws(helper)


async def test_a_waiter_gets_a_result_that_is_discarded() -> None:
    async with AsyncHelper(results=1, workers=1) as helper:
        got: list[object] = []

        async def wait() -> None:
            got.append((await helper.wait("1")).value)

        async with trio.open_nursery() as nursery:
            helper.submit(slowly, 0.01, 1, operation_id="1")
            for number in range(2, 5):
                helper.submit(double, number)
            nursery.start_soon(wait)
        assert got == [1]
        await eventually(lambda: helper.pending_count() == 0)
        check_laws(helper)


# Errors


class Odd(BaseException):
    pass


async def test_an_exception_is_kept_as_it_is_with_its_traceback() -> None:
    error = ValueError("bad")

    def fail() -> None:
        raise error

    async def fail_async() -> None:
        raise error

    async with AsyncHelper() as helper:
        for function in (fail, fail_async):
            result = await helper.wait(helper.submit(function))
            assert (result.status, result.error, result.success) == (FAILED, error, False)
            assert error.__traceback__ is not None
            assert error.__traceback__.tb_frame.f_code is function.__code__  # none of ours
            with pytest.raises(ValueError, match="bad") as caught:
                result.unwrap()
            assert caught.value is error
            with pytest.raises(ValueError, match="bad"):
                result.outcome.unwrap()


@pytest.mark.parametrize("error", [SystemExit(3), Odd(), KeyboardInterrupt()])
async def test_in_a_thread_whatever_is_raised_is_a_failure(error: BaseException) -> None:
    def fail() -> None:
        raise error

    async with AsyncHelper(workers=1) as helper:
        result = await helper.wait(helper.submit(fail))
        assert isinstance(result.error, OperationExited)
        assert result.error.__cause__ is error
        assert (await helper.wait(helper.submit(double, 2))).value == 4


async def test_on_the_loop_sys_exit_is_a_failure() -> None:
    async def leave() -> None:
        sys.exit(3)

    async def leave_in_nursery() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(leave)

    async with AsyncHelper() as helper:
        result = await helper.wait(helper.submit(leave))
        assert isinstance(result.error, OperationExited)
        assert str(result.error) == "operation '#1' raised SystemExit(3)"
        result = await helper.wait(helper.submit(leave_in_nursery))
        assert isinstance(result.error, BaseExceptionGroup)


async def test_ctrl_c_on_the_loop_goes_through_and_the_operation_has_ended() -> None:
    async def interrupted() -> None:
        raise KeyboardInterrupt

    helper = AsyncHelper()
    with pytest.RaisesGroup(KeyboardInterrupt):
        async with helper:
            helper.submit(interrupted)
            await trio.sleep_forever()
    assert helper.statistics().failed == 1
    assert helper.pending_count() == 0


async def test_a_def_that_returns_a_coroutine_is_told_so() -> None:
    async with AsyncHelper() as helper:
        result = await helper.wait(helper.submit(lambda: slowly(1)))
        assert "returned a coroutine; submit the `async def` function itself" in str(result.error)


async def test_a_result_keeps_nothing_alive_but_its_value() -> None:
    class Big:
        pass

    def fail(big: Big) -> None:
        raise ValueError

    async def fail_async(big: Big) -> None:
        raise ValueError

    gc.collect()
    gc.disable()
    try:
        async with AsyncHelper() as helper:
            for function in (fail, fail_async):
                big = Big()
                there = weakref.ref(big)
                await helper.wait(helper.submit(function, big))
                del big
                for _ in range(1000):
                    if there() is None:
                        break
                    await trio.sleep(0.001)
                assert there() is None
    finally:
        gc.enable()


# A full queue


async def test_a_full_queue_refuses(gate: Gate) -> None:
    async with AsyncHelper(workers=1, capacity=2) as helper:
        for _ in range(3):
            helper.submit(gate)
        with pytest.raises(
            OperationRefused, match="has 2 operations waiting, its capacity; submit"
        ):
            helper.submit(gate)
        assert helper.statistics().refused == 1
        assert helper.statistics().submitted == 3
        gate.opened.set()
        await eventually(lambda: helper.pending_count() == 0)
        helper.submit(double, 1)
        check_laws(helper)


async def test_or_drops_the_oldest_and_says_so(gate: Gate) -> None:
    async with AsyncHelper(workers=1, capacity=2, drop_oldest=True) as helper:
        for name in "abcde":
            helper.submit(gate, operation_id=name)
        for name in "bc":
            result = helper.check_completed(name)
            assert result is not None
            assert result.status is DROPPED
            assert isinstance(result.error, OperationDropped)
            assert result.duration == 0.0
        gate.opened.set()
        for name in "ade":
            assert (await helper.wait(name)).success
        assert helper.statistics().dropped == 2
        check_laws(helper)


async def test_or_makes_wait_first_come_first_served(autojump_clock: MockClock) -> None:
    taken: list[tuple[str, float]] = []

    async def submit(name: str) -> None:
        await helper.submit_wait(slowly, 1, operation_id=name)
        taken.append((name, trio.current_time()))

    async with AsyncHelper(workers=1, capacity=1) as helper:
        async with trio.open_nursery() as nursery:
            for name in "abcd":
                nursery.start_soon(submit, name)
                await wait_all_tasks_blocked()
            with pytest.raises(ConfigurationError, match="'d' is pending"):
                helper.submit(double, 1, operation_id="d")
            with pytest.raises(OperationRefused):
                helper.submit(double, 1)
        assert taken == [("a", 0.0), ("b", 0.0), ("c", 1.0), ("d", 2.0)]
        for name in "abcd":
            await helper.wait(name)
        check_laws(helper)


async def test_who_waits_for_room_and_is_cancelled_has_not_submitted(
    autojump_clock: MockClock,
) -> None:
    async with AsyncHelper(workers=1, capacity=1) as helper:
        helper.submit(slowly, 1)
        helper.submit(slowly, 1)
        with trio.move_on_after(0.5):
            await helper.submit_wait(slowly, 1, operation_id="late")
        assert helper.statistics().submitted == 2
        await trio.sleep(3)
        helper.submit(slowly, 0, operation_id="late")


async def test_threads_wait_for_room_too(gate: Gate) -> None:
    async with AsyncHelper(workers=1, capacity=1) as helper:
        helper.submit(gate)
        helper.submit(gate)
        with pytest.raises(TimeoutError, match=r"submit_blocking\(\) waited for 0.01 s"):
            await trio.to_thread.run_sync(
                functools.partial(helper.submit_blocking, double, 1, timeout=0.01)
            )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(
                trio.to_thread.run_sync,
                functools.partial(helper.submit_blocking, double, 4, operation_id="it"),
            )
            await trio.sleep(0.01)
            gate.opened.set()
        assert (await helper.wait("it")).value == 8
        with pytest.raises(AsyncCallInThread, match=r"in async code use await helper.submit_wait"):
            helper.submit_blocking(double, 1)


# Time limits and cancellation


async def test_an_async_operation_is_cancelled_at_its_timeout(autojump_clock: MockClock) -> None:
    async with AsyncHelper(operation_timeout=2) as helper:
        helper.submit(slowly, 5, operation_id="long")
        helper.submit(slowly, 5, operation_id="short", operation_timeout=1)
        helper.submit(slowly, 5, operation_id="free", operation_timeout=math.inf)
        result = await helper.wait("short")
        assert (result.status, result.duration, trio.current_time()) == (TIMED_OUT, 1.0, 1.0)
        assert isinstance(result.error, OperationTimedOut)
        assert str(result.error) == "operation 'short' took longer than its timeout of 1 s"
        assert (await helper.wait("long")).status is TIMED_OUT
        assert trio.current_time() == 2.0
        assert (await helper.wait("free")).success
        check_laws(helper)


async def test_the_time_in_the_queue_does_not_count(autojump_clock: MockClock) -> None:
    async with AsyncHelper(workers=1, operation_timeout=1.5) as helper:
        ids = [helper.submit(slowly, 1) for _ in range(5)]
        results = [await helper.wait(one) for one in ids]
        assert [(result.success, result.duration) for result in results] == [(True, 1.0)] * 5
        assert trio.current_time() == 5.0


async def test_a_thread_that_hangs_is_left_behind_and_its_worker_replaced(gate: Gate) -> None:
    async with AsyncHelper(workers=1, operation_timeout=0.02, max_abandoned=2) as helper:
        for _ in range(2):
            result = await helper.wait(helper.submit(gate))
            assert result.status is TIMED_OUT
            assert result.duration == pytest.approx(0.02, abs=5)
        assert helper.statistics().abandoned == 2
        ok = helper.submit(double, 2, operation_timeout=20)
        assert (await helper.wait(ok)).value == 4
        assert (await helper.wait(helper.submit(gate))).status is TIMED_OUT
        # One too many: it keeps its worker.
        helper.submit(double, 3, operation_id="stuck", operation_timeout=20)
        await trio.sleep(0.05)
        assert helper.is_pending("stuck")
        assert helper.statistics().running == 0
        gate.opened.set()
        assert (await helper.wait("stuck")).value == 6
        await eventually(lambda: helper.statistics().abandoned == 0)
        assert gate.through == 3
        for number in range(20):
            assert (await helper.wait(helper.submit(double, number))).success
        check_laws(helper)


async def test_one_that_waits_is_never_started_once_it_is_cancelled(gate: Gate) -> None:
    ran: list[int] = []
    async with AsyncHelper(workers=1) as helper:
        helper.submit(gate)
        helper.submit(ran.append, 1, operation_id="it")
        assert helper.cancel("it")
        assert not helper.cancel("it")
        result = helper.check_completed("it")
        assert result is not None
        assert result.status is CANCELLED
        assert str(result.error) == "operation 'it' was cancelled: by cancel()"
        gate.opened.set()
    assert ran == []


async def test_a_running_async_one_ends_when_it_has_unwound(autojump_clock: MockClock) -> None:
    async def tidy() -> None:
        try:
            await trio.sleep(100)
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(1)

    async with AsyncHelper() as helper:
        helper.submit(tidy, operation_id="it")
        await trio.sleep(1)
        assert helper.cancel("it")
        assert helper.cancel("it")
        assert helper.is_pending("it")
        result = await helper.wait("it")
        assert (result.status, result.duration) == (CANCELLED, 2.0)


async def test_one_that_has_not_begun_yet_is_not_begun() -> None:
    began: list[int] = []

    async def begin() -> None:
        began.append(1)

    async with AsyncHelper() as helper:
        helper.submit(begin, operation_id="it")
        helper.cancel("it")
        assert (await helper.wait("it")).status is CANCELLED
    assert began == []


async def test_cancelled_it_may_finish_all_the_same(autojump_clock: MockClock) -> None:
    async def stubborn(*, fails: bool) -> str:
        try:
            await trio.sleep(100)
        except trio.Cancelled:
            if fails:
                raise ValueError("in cleaning up") from None
        return "all the same"

    async with AsyncHelper() as helper:
        helper.submit(functools.partial(stubborn, fails=False), operation_id="a")
        helper.submit(functools.partial(stubborn, fails=True), operation_id="b")
        await trio.sleep(1)
        helper.cancel("a")
        helper.cancel("b")
        assert (await helper.wait("a")).value == "all the same"
        assert repr((await helper.wait("b")).error) == "ValueError('in cleaning up')"
        check_laws(helper)


async def test_a_running_def_one_ends_at_once_and_its_thread_is_left_behind(gate: Gate) -> None:
    async with AsyncHelper(workers=1) as helper:
        helper.submit(gate, operation_id="it")
        await gate.wait_for()
        assert helper.cancel("it")
        assert (await helper.wait("it")).status is CANCELLED
        assert helper.statistics().abandoned == 1
        assert (await helper.wait(helper.submit(double, 2))).value == 4


# Threads and ticks


async def test_threads_submit_and_wait() -> None:
    def in_thread() -> None:
        for number in range(50):
            one = helper.submit(double, number) if number % 2 else helper.submit(slowly, 0, number)
            result = helper.wait_blocking(one, timeout=20)
            assert result.value == (2 * number if number % 2 else number)

    async with AsyncHelper(workers=3) as helper:
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(trio.to_thread.run_sync, in_thread)
        assert helper.statistics().collected == 200
        check_laws(helper)


async def test_a_thread_waits_no_longer_than_its_time(gate: Gate) -> None:
    async with AsyncHelper() as helper:
        helper.submit(gate, operation_id="it")
        with pytest.raises(TimeoutError, match=r"wait_blocking\(\) waited 0.01 s for 'it'"):
            await trio.to_thread.run_sync(
                functools.partial(helper.wait_blocking, "it", timeout=0.01)
            )
        with pytest.raises(AsyncCallInThread, match=r"in async code use await helper.wait"):
            helper.wait_blocking("it")
        gate.opened.set()
        result = await trio.to_thread.run_sync(helper.wait_blocking, "it")
        assert result.success


async def test_an_abandoned_tick_is_woken_and_takes_nothing(gate: Gate) -> None:
    fence = Fence("node")

    def in_tick() -> None:
        current_fence.set(fence)
        with pytest.raises(TickAbandoned):
            helper.wait_blocking("it")
        for call in (
            helper.check_completed,
            lambda: helper.check_completed("it"),
            lambda: helper.submit(double, 1),
            lambda: helper.submit_blocking(double, 1),
            lambda: helper.cancel("it"),
        ):
            with pytest.raises(TickAbandoned):
                call()

    async with AsyncHelper() as helper:
        helper.submit(gate, operation_id="it")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, in_tick)
            await eventually(lambda: helper._register.pending["it"].waiters)
            fence.close()
        gate.opened.set()
        assert (await helper.wait("it")).success
        assert helper.statistics().submitted == 1


class Camera(AsyncNode):
    """Hands its pictures over, and asks what became of them."""

    def __init__(self) -> None:
        self.disk = AsyncHelper(name="disk")
        self.saved: list[object] = []
        super().__init__("camera", rate=10, helpers=[self.disk])

    async def tick_async(self) -> None:
        self.saved += [result.unwrap() for result in self.disk.check_completed()]
        self.disk.submit(slowly, 0.25, len(self.saved))


async def test_in_a_node_on_virtual_time() -> None:
    camera = Camera()
    async with open_harness(camera) as h:
        await h.advance(1.0)
        assert h.scheduler.statistics().nodes["camera"].errors == 0
        assert len(camera.saved) >= 6
    assert camera.disk.pending_count() == 0
    check_laws(camera.disk)


async def test_in_def_ticks() -> None:
    helper = AsyncHelper(workers=2)
    got: list[int] = []

    def tick(node: Node) -> None:
        one = helper.submit(double, len(got))
        got.append(helper.wait_blocking(one, timeout=20).unwrap())

    async with open_harness(Node("node", tick=tick, rate=10, helpers=[helper])) as h:
        await h.advance(0.45)
    assert got[:4] == [0, 2, 4, 6]


async def test_virtual_time_moves_while_a_def_tick_waits() -> None:
    helper = AsyncHelper(workers=1)
    got: list[object] = []

    def nap(node: Node) -> float:
        blocking_delay(0.03)
        return node.now

    def tick(node: Node) -> None:
        helper.submit(slowly, 0.02)
        one = helper.submit(nap, node)
        got.append(helper.wait_blocking(one).duration)

    async with open_harness(Node("node", tick=tick, rate=10, helpers=[helper])) as h:
        await h.advance(0.99)
        assert h.scheduler.statistics().nodes["node"].missed == 0
    assert got[:9] == pytest.approx([0.03] * 9)


async def test_virtual_time_waits_for_an_operation_that_is_only_polled() -> None:
    helper = AsyncHelper(workers=2)
    got: list[float] = []

    def tick(node: Node) -> None:
        got.extend(result.duration for result in helper.check_completed())
        helper.submit(time.sleep, 0.01)

    async with open_harness(Node("node", tick=tick, rate=10, helpers=[helper])) as h:
        await h.advance(0.45)
    assert got == [0.0] * 4  # not one has seen time move


async def test_virtual_time_stands_still_until_the_sleeper_has_been_woken() -> None:
    """Between the end of an operation and the waking of who waits for it, nobody seems to work."""
    woken: list[int] = []

    class Slow:
        def wake(self) -> None:
            woken.append(at_work.count())

    at_work = current_at_work()
    async with AsyncHelper(workers=1) as helper:
        gate = threading.Event()
        one = helper.submit(gate.wait)
        helper._register.pending[one].waiters.append(Slow())
        gate.set()
        await helper.wait(one)
        await helper.submit_wait(double, 1)
    assert woken == [1]


# Opening and closing


async def test_it_takes_nothing_before_and_after() -> None:
    helper = AsyncHelper()
    for _ in range(2):
        with pytest.raises(
            trio.ClosedResourceError, match=r"is not open: use `async with`, or give"
        ):
            helper.submit(double, 1)
        with pytest.raises(trio.ClosedResourceError):
            await helper.submit_wait(double, 1)
        assert helper.check_completed() == []
        assert not helper.is_pending("#1")
        with pytest.raises(UnknownOperation):
            await helper.wait("#1")
        async with helper:
            assert helper.statistics().submitted == 0
            assert helper.submit(double, 1) == "#1"
            await helper.wait("#1")
    assert helper.statistics().submitted == 1


async def test_closing_gives_a_grace_and_then_cancels(autojump_clock: MockClock) -> None:
    async with AsyncHelper(workers=2, grace=3) as helper:
        for seconds in (2, 10, 20, 30):
            helper.submit(slowly, seconds, operation_id=str(seconds))
    assert trio.current_time() == 3.0
    results = {result.id: result for result in helper.check_completed()}
    assert {name: result.status for name, result in results.items()} == {
        "2": COMPLETED,
        "10": CANCELLED,
        "20": CANCELLED,
        "30": CANCELLED,
    }
    assert isinstance(results["30"].error, OperationCancelled)
    assert "AsyncHelper 'operations' was closed" in str(results["30"].error)
    check_laws(helper)


async def test_closing_waits_no_longer_than_it_must(autojump_clock: MockClock) -> None:
    async with AsyncHelper(grace=100) as helper:
        helper.submit(slowly, 2)
    assert trio.current_time() == 2.0
    async with AsyncHelper(grace=100):
        pass
    assert trio.current_time() == 2.0


async def test_closing_leaves_a_hung_thread_behind(gate: Gate) -> None:
    async with AsyncHelper(grace=0.01, workers=1) as helper:
        helper.submit(gate)
        helper.submit(gate)
        await gate.wait_for()
    assert [result.status for result in helper.check_completed()] == [CANCELLED, CANCELLED]
    assert helper.statistics().abandoned == 1
    gate.opened.set()
    await eventually(lambda: helper.statistics().abandoned == 0)
    assert gate.through == 1


async def test_closing_answers_everybody_who_waits(gate: Gate) -> None:
    answers: list[object] = []

    async def wait() -> None:
        answers.append((await helper.wait("it")).status)

    def wait_blocking() -> None:
        answers.append(helper.wait_blocking("it", timeout=20).status)

    async def submit() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await helper.submit_wait(double, 1)
        answers.append("closed")

    helper = AsyncHelper(grace=0, workers=1, capacity=1)
    async with trio.open_nursery() as nursery, helper:
        helper.submit(gate, operation_id="it")
        helper.submit(gate)
        nursery.start_soon(wait)
        nursery.start_soon(trio.to_thread.run_sync, wait_blocking)
        nursery.start_soon(submit)
        await eventually(lambda: len(helper._register.pending["it"].waiters) == 2)
        await gate.wait_for()
    assert sorted(map(str, answers)) == sorted(map(str, [CANCELLED, CANCELLED, "closed"]))


async def test_closed_while_cancelled_it_still_answers(autojump_clock: MockClock) -> None:
    helper = AsyncHelper(grace=100)
    with trio.move_on_after(1):
        async with helper:
            helper.submit(slowly, 50)
            await trio.sleep_forever()
    assert trio.current_time() == 1.0
    assert [result.status for result in helper.check_completed()] == [CANCELLED]
    check_laws(helper)


async def test_a_thread_that_cannot_be_started_fails_its_operation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def start(*args: object) -> None:
        raise RuntimeError("can't start new thread")

    async with AsyncHelper(workers=2) as helper:
        # The threads that Trio keeps would be used otherwise.
        with monkeypatch.context() as m:
            m.setattr(trio._core._thread_cache.ThreadCache, "start_thread_soon", start)
            ids = [helper.submit(double, number) for number in range(4)]
            for one in ids:
                result = await helper.wait(one)
                assert result.status is FAILED
                assert "can't start new thread" in str(result.error)
        assert (await helper.wait(helper.submit(double, 2))).value == 4
        check_laws(helper)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "workers=0, expected a whole number, 1 or more"),
        ({"workers": True}, "workers=True"),
        ({"capacity": 1.5}, "capacity=1.5"),
        ({"drop_oldest": "yes"}, "drop_oldest='yes', expected True or False"),
        ({"operation_timeout": 0}, "operation_timeout=0, expected a finite number of seconds abov"),
        ({"operation_timeout": math.nan}, "operation_timeout=nan"),
        ({"operation_timeout": math.inf}, "operation_timeout=inf"),
        ({"results": -1}, "results=-1"),
        ({"grace": -0.1}, "grace=-0.1, expected a finite number of seconds, 0 or more"),
        ({"max_abandoned": "3"}, "max_abandoned='3'"),
        ({"name": ""}, "expected a printable, non-empty str"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        AsyncHelper(**options)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("function", "options", "message"),
    [
        (3, {}, "3 cannot be called; give a function"),
        (double, {"operation_timeout": -1}, "operation_timeout=-1"),
        (double, {"operation_timeout": math.nan}, "operation_timeout=nan"),
        (double, {"operation_id": 3}, "expected a printable, non-empty str"),
        (double, {"operation_id": ""}, "expected a printable, non-empty str"),
    ],
)
async def test_bad_operations(function: Any, options: dict[str, Any], message: str) -> None:
    async with AsyncHelper() as helper:
        with pytest.raises(ConfigurationError) as caught:
            helper.submit(function, **options)
        assert message in str(caught.value)
        with pytest.raises(ConfigurationError, match="without calling it"):
            helper.submit(slowly(1))  # type: ignore[arg-type]
        assert helper.statistics().submitted == 0


# Cancelled everywhere


async def test_waiting_cancelled_everywhere(autojump_clock: MockClock) -> None:
    def make() -> AsyncHelper:
        return AsyncHelper(grace=0)

    async def use(helper: AsyncHelper) -> object:
        if not helper.is_pending("it") and not helper._register.uncollected:
            helper.submit(slowly, 1, "there", operation_id="it")
        return (await helper.wait("it")).value

    sweep = await cancel_everywhere(make, use)
    assert sweep.checkpoints >= 1, sweep


async def test_submitting_cancelled_everywhere(autojump_clock: MockClock) -> None:
    async def use(helper: AsyncHelper) -> object:
        helper.submit(slowly, 1)
        helper.submit(slowly, 1)
        try:
            return await helper.submit_wait(slowly, 1, operation_id="it")
        finally:
            with trio.CancelScope(shield=True):
                while helper.pending_count():  # noqa: ASYNC110 - there is nothing to wait for
                    await trio.sleep(1)
            helper.check_completed()
            check_laws(helper)

    sweep = await cancel_everywhere(lambda: AsyncHelper(workers=1, capacity=1, grace=0), use)
    assert sweep.checkpoints >= 1, sweep


async def test_opening_and_closing_cancelled_everywhere() -> None:
    async def use(box: list[AsyncHelper]) -> None:
        [helper] = box
        try:
            async with helper:
                helper.submit(double, 1)
                helper.submit(slowly, 0.001)
                await trio.lowlevel.checkpoint()
        finally:
            assert helper.pending_count() == 0
            check_laws(helper)

    print(await cancel_everywhere(lambda: [AsyncHelper()], use))


def test_no_asyncio_is_needed() -> None:
    async def main() -> None:
        with pytest.raises(RuntimeError):
            await AsyncHelper().__aenter__()

    asyncio.run(main())
