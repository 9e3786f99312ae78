"""Tasks and threads in one line, first come, first served."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from horus_trio import AsyncCallInThread, TickAbandoned
from horus_trio.helpers.line import Line
from horus_trio.messages import Fence, current_fence


class Counter:
    """Hands out numbers, as many as there are."""

    def __init__(self, there: int = 0) -> None:
        self.lock = threading.Lock()
        self.there = there
        self.handed = 0
        self.line = Line[int, list[int]](self.lock, self._give, self.put)

    def _give(self, asked: int) -> list[list[int]]:
        if self.there < asked:
            return []
        self.there -= asked
        self.handed += 1
        return [[self.handed] * asked]

    def put(self, back: list[int]) -> None:
        self.add(len(back))

    def add(self, more: int) -> None:
        with self.lock:
            self.there += more
            wake = self.line.serve()
        for waiter in wake:
            waiter.wake()

    def close(self) -> None:
        with self.lock:
            wake = self.line.dismiss(lambda: trio.ClosedResourceError("closed"))
        for waiter in wake:
            waiter.wake()

    def blocking(self, asked: int = 1, timeout: float | None = 20) -> list[int]:
        return self.line.take_blocking(asked, "take()", "await it", timeout)


def eventually(is_so: Callable[[], object]) -> None:
    for _ in range(2000):
        if is_so():
            return
        time.sleep(0.005)
    raise AssertionError("it never was")


async def test_what_is_there_is_taken_at_once() -> None:
    counter = Counter(3)
    assert await counter.line.take(2) == [1, 1]
    assert counter.line.take_nowait(1) == [[2]]
    assert counter.line.take_nowait(1) == []
    assert len(counter.line) == 0


async def test_it_is_a_checkpoint_also_when_something_is_there() -> None:
    counter = Counter(3)
    with trio.testing.assert_checkpoints():
        await counter.line.take(1)
    with trio.CancelScope() as scope:
        scope.cancel()
        await counter.line.take(1)
    assert counter.there == 2


async def test_tasks_are_served_in_their_order_and_a_small_wish_does_not_overtake() -> None:
    counter = Counter(1)
    served: dict[int, int] = {}

    async def take(asked: int) -> None:
        served[asked] = (await counter.line.take(asked))[0]

    async with trio.open_nursery() as nursery:
        for asked in (3, 1, 2):
            nursery.start_soon(take, asked)
            await wait_all_tasks_blocked()
        assert counter.line.take_nowait(1) == []
        assert counter.line.first == 3
        counter.add(1)
        await wait_all_tasks_blocked()
        assert served == {}
        counter.add(2)
        await wait_all_tasks_blocked()
        assert served == {3: 1, 1: 2}
        counter.add(2)
    assert served == {3: 1, 1: 2, 2: 3}
    assert counter.line.first is None


async def test_who_goes_away_lets_the_next_one_forward() -> None:
    counter = Counter(1)
    async with trio.open_nursery() as nursery:
        with trio.move_on_after(0.02):
            nursery.start_soon(counter.line.take, 1)
            await counter.line.take(5)
        await wait_all_tasks_blocked()
    assert counter.there == 0


async def test_what_was_handed_to_a_task_that_is_cancelled_is_given_back() -> None:
    counter = Counter()
    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            nursery.start_soon(_in_the_same_pass, counter, scope)
            await counter.line.take(1)
    assert scope.cancelled_caught
    assert (counter.there, counter.handed) == (1, 1)


async def _in_the_same_pass(counter: Counter, scope: trio.CancelScope) -> None:
    await wait_all_tasks_blocked()
    scope.cancel()
    counter.add(1)


async def test_threads_and_tasks_wait_in_one_line() -> None:
    counter = Counter()
    order: list[str] = []

    def in_thread() -> None:
        counter.blocking()
        order.append("thread")

    async def in_task() -> None:
        await counter.line.take(1)
        order.append("task")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, in_thread)
        while len(counter.line) < 1:  # noqa: ASYNC110 - a thread's doing
            await trio.sleep(0.001)
        nursery.start_soon(in_task)
        await wait_all_tasks_blocked()
        counter.add(1)
        while order != ["thread"]:  # noqa: ASYNC110 - a thread's doing
            await trio.sleep(0.001)
        counter.add(1)
    assert order == ["thread", "task"]


def test_a_thread_waits_no_longer_than_its_time() -> None:
    counter = Counter()
    with pytest.raises(TimeoutError, match=r"take\(\) waited for 0.01 s"):
        counter.blocking(timeout=0.01)
    assert len(counter.line) == 0
    counter.add(1)
    assert counter.blocking(timeout=0.01) == [1]


async def test_a_thread_must_not_be_the_loops() -> None:
    with pytest.raises(AsyncCallInThread, match="in async code use await it"):
        Counter(1).blocking()


async def test_all_can_be_sent_away() -> None:
    counter = Counter()
    errors: list[Any] = []

    def in_thread() -> None:
        try:
            counter.blocking()
        except trio.ClosedResourceError as error:
            errors.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, in_thread)
        while len(counter.line) < 1:  # noqa: ASYNC110 - a thread's doing
            await trio.sleep(0.001)
        nursery.start_soon(trio.lowlevel.checkpoint)

        async def in_task() -> None:
            with pytest.raises(trio.ClosedResourceError, match="closed"):
                await counter.line.take(1)

        nursery.start_soon(in_task)
        await wait_all_tasks_blocked()
        counter.close()
    assert len(errors) == 1


async def test_a_task_whose_tick_is_abandoned_takes_nothing() -> None:
    counter = Counter()
    fence = Fence("node")

    async def in_tick() -> None:
        current_fence.set(fence)
        with pytest.raises(TickAbandoned):
            await counter.line.take(1)
        with pytest.raises(TickAbandoned):
            counter.line.take_nowait(1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(in_tick)
        await wait_all_tasks_blocked()
        fence.close()
    counter.add(1)
    assert counter.there == 1


def test_a_thread_whose_tick_is_abandoned_takes_nothing() -> None:
    counter = Counter()
    fence = Fence("node")
    ended: list[str] = []

    def in_tick() -> None:
        current_fence.set(fence)
        try:
            counter.blocking()
        except TickAbandoned:
            ended.append("abandoned")

    thread = threading.Thread(target=in_tick)
    thread.start()
    eventually(lambda: len(counter.line))
    fence.close()
    thread.join(20)
    assert ended == ["abandoned"]
    counter.add(1)
    assert counter.there == 1


@pytest.mark.slow
async def test_nothing_is_lost_among_threads_and_tasks_that_come_and_go() -> None:
    counter = Counter(4)
    over = threading.Event()
    taken = 0

    def in_thread() -> None:
        nonlocal taken
        while not over.is_set():
            try:
                got = counter.blocking(1 + taken % 3, timeout=0.0005)
            except TimeoutError:
                continue
            taken += 1
            counter.put(got)

    async def in_task(asked: int) -> None:
        nonlocal taken
        while not over.is_set():
            with trio.move_on_after(0.0005 * asked):
                got = await counter.line.take(asked)
                taken += 1
                counter.put(got)
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(trio.to_thread.run_sync, in_thread)
        for asked in (1, 2, 3, 4):
            nursery.start_soon(in_task, asked)
        await trio.sleep(1)
        over.set()
    assert counter.there == 4
    assert taken > 100
    assert len(counter.line) == 0
