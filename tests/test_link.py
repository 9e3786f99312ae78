"""Link, rule by rule: one producer, one consumer, nothing lost, tasks and threads at either end."""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable
from typing import Any

import outcome
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import horus_trio as horus
from horus_trio import Link
from horus_trio.messages import Fence, current_fence
from horus_trio.testing import open_harness
from horus_trio.topics.bell import current_bell


def full(link: Link[int]) -> Link[int]:
    n = 0
    while True:
        try:
            link.send_nowait(n)
        except trio.WouldBlock:
            return link
        n += 1


def contents(link: Link[int]) -> list[int]:
    found: list[int] = []
    while True:
        try:
            found.append(link.receive_nowait())
        except (trio.WouldBlock, trio.EndOfChannel):
            return found


class Behind:
    """Calls a function in a thread of its own, behind a fence or not; keeps what became of it."""

    def __init__(self, function: Callable[[], Any], fence: Fence | None = None) -> None:
        self.result: outcome.Outcome[Any] | None = None

        def work() -> None:
            current_fence.set(fence)
            self.result = outcome.capture(function)

        self.thread = threading.Thread(target=contextvars.copy_context().run, args=[work])
        self.thread.start()

    def wait_until_asleep(self, link: Link[Any]) -> None:
        """Return when the thread has taken its place at the link."""
        while link._producer is None and link._consumer is None:
            time.sleep(0.001)  # a thread's sleep shows nowhere else

    def end(self) -> Any:
        self.thread.join(10)
        assert self.result is not None, "the thread is still asleep"
        return self.result.unwrap()


# Arguments


@pytest.mark.parametrize("name", ["", "two\nlines", None])
def test_a_link_has_a_printable_name(name: Any) -> None:
    with pytest.raises(horus.ConfigurationError, match="expected a printable, non-empty str"):
        Link(name)


@pytest.mark.parametrize("capacity", [0, -1, 2.0, True, None])
def test_a_capacity_is_a_whole_number_above_0(capacity: Any) -> None:
    with pytest.raises(horus.ConfigurationError, match=r"capacity is .*, expected a whole number"):
        Link("x", capacity)


# Without waiting


def test_first_in_first_out_and_never_more_than_its_capacity() -> None:
    link = Link[int]("x", 2)
    with pytest.raises(trio.WouldBlock):
        link.receive_nowait()
    link.send_nowait(1)
    link.send_nowait(2)
    with pytest.raises(trio.WouldBlock):
        link.send_nowait(3)
    assert link.statistics() == horus.LinkStatistics(
        name="x", sent=2, received=0, depth=2, capacity=2
    )
    assert link.receive_nowait() == 1
    assert link.statistics() == horus.LinkStatistics(
        name="x", sent=2, received=1, depth=1, capacity=2
    )
    assert (link.name, repr(link)) == ("x", "<Link 'x', 1/2>")
    link.close()
    assert repr(link) == "<Link 'x', 1/2, closed>"


# Tasks


async def test_a_full_link_makes_its_producer_wait() -> None:
    link = full(Link("x", 2))
    sent = trio.Event()

    async def producer() -> None:
        await link.send(2)
        sent.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(producer)
        await wait_all_tasks_blocked()
        assert not sent.is_set()
        assert await link.receive() == 0
        await sent.wait()
    assert contents(link) == [1, 2]


async def test_an_empty_link_makes_its_consumer_wait() -> None:
    link = Link[int]("x")
    got: list[int] = []

    async def consumer() -> None:
        got.append(await link.receive())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(consumer)
        await wait_all_tasks_blocked()
        assert got == []
        await link.send(7)
    assert got == [7]


async def test_send_and_receive_are_checkpoints() -> None:
    link = Link[int]("x")
    with trio.testing.assert_checkpoints():
        await link.send(1)
    with trio.testing.assert_checkpoints():
        await link.receive()


async def test_a_cancelled_send_has_sent_nothing() -> None:
    link = Link[int]("x", 1)
    with trio.CancelScope() as scope:  # cancelled before it looks
        scope.cancel()
        await link.send(1)
    assert scope.cancelled_caught
    assert link.statistics().sent == 0

    full(link)
    async with trio.open_nursery() as nursery:  # while it waits
        nursery.start_soon(link.send, 1)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert contents(link) == [0]

    full(link)
    async with trio.open_nursery() as nursery:  # cancelled first, room comes after
        nursery.start_soon(link.send, 1)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
        assert link.receive_nowait() == 0
    assert contents(link) == []
    await link.send(2)  # the end is free again
    assert contents(link) == [2]


async def test_a_cancelled_receive_has_taken_nothing() -> None:
    link = Link[int]("x")
    link.send_nowait(1)
    with trio.CancelScope() as scope:
        scope.cancel()
        await link.receive()
    assert scope.cancelled_caught
    assert contents(link) == [1]

    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.receive)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
        link.send_nowait(2)
    assert contents(link) == [2]


async def test_what_was_done_is_done_in_spite_of_a_cancellation() -> None:
    """Woken and cancelled in one instant: either it happened and is told, or it did not."""
    link = Link[int]("x", 1)
    got: list[int] = []

    async def consumer() -> None:
        got.append(await link.receive())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(consumer)
        await wait_all_tasks_blocked()
        link.send_nowait(1)
        nursery.cancel_scope.cancel()
    assert got + contents(link) == [1]

    full(link)
    told: list[bool] = []

    async def producer() -> None:
        await link.send(2)
        told.append(True)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(producer)
        await wait_all_tasks_blocked()
        assert link.receive_nowait() == 0
        nursery.cancel_scope.cancel()
    assert contents(link) == [2] * len(told)


async def test_each_end_is_for_one() -> None:
    link = full(Link("x", 1))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.send, 1)
        await wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError, match="link 'x' has one producer, got two"):
            await link.send(2)
        assert await link.receive() == 0
    assert contents(link) == [1]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.receive)
        await wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError, match="link 'x' has one consumer, got two"):
            await link.receive()
        await link.send(3)


# Threads


async def test_a_blocking_call_on_the_loop_is_refused_with_the_remedy() -> None:
    link = Link[int]("x")
    with pytest.raises(horus.AsyncCallInThread, match=r"in async code use await link.send\(…\)"):
        link.send_blocking(1)
    with pytest.raises(horus.AsyncCallInThread, match=r"use await link.receive\(\)"):
        link.receive_blocking()
    await trio.lowlevel.checkpoint()


async def test_a_thread_feeds_a_task_and_is_held_back() -> None:
    link = Link[int]("x", 2)
    feeder = Behind(lambda: [link.send_blocking(n) for n in range(50)])  # type: ignore[func-returns-value]
    with trio.fail_after(10):
        got = [await link.receive() for _ in range(50)]
    feeder.end()
    assert got == list(range(50))


async def test_a_task_feeds_a_thread_and_is_held_back() -> None:
    link = Link[int]("x", 2)
    eater = Behind(lambda: [link.receive_blocking() for _ in range(50)])
    with trio.fail_after(10):
        for n in range(50):
            await link.send(n)
        got = await trio.to_thread.run_sync(eater.end)
    assert got == list(range(50))


@pytest.mark.parametrize("at_the_end", ["send", "receive"])
def test_a_thread_that_waits_is_woken_when_its_tick_is_abandoned(at_the_end: str) -> None:
    link, fence = Link[int]("x", 1), Fence("camera")
    if at_the_end == "send":
        sleeper = Behind(lambda: full(link).send_blocking(9), fence)
    else:
        sleeper = Behind(link.receive_blocking, fence)
    sleeper.wait_until_asleep(link)
    before = link.statistics()
    fence.close()
    with pytest.raises(horus.TickAbandoned, match="node 'camera' was abandoned"):
        sleeper.end()
    assert link.statistics() == before  # neither sent nor taken


def test_an_abandoned_tick_neither_sends_nor_takes() -> None:
    link = Link[int]("x")
    link.send_nowait(1)
    fence = Fence("camera")
    fence.close()
    for call in (
        lambda: link.send_nowait(2),
        link.receive_nowait,
        lambda: link.send_blocking(2),
        link.receive_blocking,
    ):
        with pytest.raises(horus.TickAbandoned):
            Behind(call, fence).end()
    assert contents(link) == [1]


@pytest.mark.parametrize("at_the_end", ["send", "receive"])
async def test_a_task_behind_a_fence_that_closes_is_woken(at_the_end: str) -> None:
    link, fence = Link[int]("x", 1), Fence("camera")
    if at_the_end == "send":
        full(link)
    before = link.statistics()
    refused: list[BaseException] = []

    async def fenced() -> None:
        current_fence.set(fence)
        try:
            await (link.send(1) if at_the_end == "send" else link.receive())
        except horus.TickAbandoned as error:
            refused.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(fenced)
        await wait_all_tasks_blocked()
        fence.close()
    assert len(refused) == 1
    assert link.statistics() == before


async def test_a_task_that_sleeps_is_rung_for_once_whatever_a_thread_sends() -> None:
    link = Link[int]("x")
    got: list[int] = []

    async def consumer() -> None:
        got.append(await link.receive())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(consumer)
        await wait_all_tasks_blocked()
        Behind(lambda: [link.send_nowait(n) for n in range(20)]).end()  # type: ignore[func-returns-value]
        assert len(current_bell()._queue) == 1
    assert got == [0]
    assert contents(link) == list(range(1, 20))


@pytest.mark.parametrize("at_the_end", ["send", "receive"])
def test_the_fence_of_a_node_knows_the_links_it_uses(at_the_end: str) -> None:
    """Closing it waits for a send or a receive that is under way."""
    link, fence = Link[int]("x"), Fence("camera")
    link.send_nowait(0)
    use = link.receive_nowait if at_the_end == "receive" else lambda: link.send_nowait(1)
    Behind(use, fence).end()
    assert list(fence._guards or ()) == [link._lock]
    assert link._met == {fence}
    assert link.last_receiver == ("camera" if at_the_end == "receive" else None)
    assert link.last_sender == ("camera" if at_the_end == "send" else None)
    if at_the_end == "receive":
        link.send_nowait(2)
        link.receive_nowait()
        assert link.last_receiver == "camera"  # code of no node changes nothing


# Closing


async def test_what_is_in_a_closed_link_can_be_received() -> None:
    link = Link[int]("x")
    link.send_nowait(1)
    link.send_nowait(2)
    link.close()
    link.close()
    with pytest.raises(trio.ClosedResourceError, match="link 'x' was closed"):
        link.send_nowait(3)
    with pytest.raises(trio.ClosedResourceError):
        await link.send(3)
    assert await link.receive() == 1
    assert link.receive_nowait() == 2
    with pytest.raises(trio.EndOfChannel):
        await link.receive()
    with pytest.raises(trio.EndOfChannel):
        link.receive_nowait()


async def test_closing_wakes_whoever_waits() -> None:
    outcomes: list[str] = []

    async def consumer(link: Link[int]) -> None:
        with pytest.raises(trio.EndOfChannel):
            await link.receive()
        outcomes.append("consumer")

    async def producer(link: Link[int]) -> None:
        with pytest.raises(trio.ClosedResourceError):
            await link.send(1)
        outcomes.append("producer")

    empty, stuffed = Link[int]("x"), full(Link("y", 1))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(consumer, empty)
        nursery.start_soon(producer, stuffed)
        await wait_all_tasks_blocked()
        empty.close()
        stuffed.close()
    assert sorted(outcomes) == ["consumer", "producer"]


def test_closing_wakes_threads_too() -> None:
    empty, stuffed = Link[int]("x"), full(Link("y", 1))
    eater = Behind(empty.receive_blocking)
    feeder = Behind(lambda: stuffed.send_blocking(1))
    eater.wait_until_asleep(empty)
    feeder.wait_until_asleep(stuffed)
    empty.close()
    stuffed.close()
    with pytest.raises(trio.EndOfChannel):
        eater.end()
    with pytest.raises(trio.ClosedResourceError):
        feeder.end()


async def test_it_knows_which_node_sent_last() -> None:
    link: Link[int] = Link("frames")
    assert link.last_sender is None
    link.send_nowait(0)
    assert link.last_sender is None  # code of no node

    async def tick(node: horus.Node) -> None:
        link.send_nowait(1)

    async with open_harness(horus.Node("camera", tick=tick)) as h:
        await h.tick()
    assert link.last_sender == "camera"
    link.send_nowait(2)
    assert link.last_sender == "camera"


def test_who_has_been_woken_is_forgotten_by_the_fence() -> None:
    """A node that waits for years must not gather what would wake it."""
    link: Link[int] = Link("frames")
    fence = Fence("camera")
    for n in range(3):
        reader = Behind(link.receive_blocking, fence)
        reader.wait_until_asleep(link)
        link.send_nowait(n)
        assert reader.end() == n
    assert not fence._wakers
