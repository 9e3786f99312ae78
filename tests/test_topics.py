"""Hub, Subscription and Topics, rule by rule; their laws under load are in `test_g09_topics`."""

from __future__ import annotations

import contextlib
import contextvars
import gc
import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import hypothesis
import pytest
import trio
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

import horus_trio as horus
from horus_trio import Hub, Overflow, Pub, Sub, Subscription, Topics
from horus_trio.messages import Fence, current_fence
from horus_trio.topics import subscription as subscription_module
from horus_trio.topics.bell import current_bell
from horus_trio.topics.instants import Instants


def everything(subscription: Subscription[Any]) -> list[Any]:
    return subscription.drain()


def in_thread(function: Callable[[], Any]) -> None:
    """Run to the end in a thread while this one, the loop's, stands still."""
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()


def counts(subscription: Subscription[Any]) -> tuple[int, int, int, int]:
    s = subscription.statistics()
    return s.published, s.received, s.dropped, s.depth


# Making a hub and joining it


@pytest.mark.parametrize("name", ["", "two\nlines", "\x00", None, 7])
def test_a_topic_has_a_printable_name(name: Any) -> None:
    with pytest.raises(horus.ConfigurationError, match="expected a printable, non-empty str"):
        Hub(name)
    with pytest.raises(horus.ConfigurationError, match="expected a printable, non-empty str"):
        Sub(name)
    with pytest.raises(horus.ConfigurationError, match="expected a printable, non-empty str"):
        Pub(name)


def test_a_message_type_is_a_class() -> None:
    wrong: Any = "int"
    with pytest.raises(horus.ConfigurationError, match="message_type is 'int', expected a class"):
        Hub("x", wrong)


@pytest.mark.parametrize("capacity", [0, -1, 1.0, True, None, "many"])
def test_a_capacity_is_a_whole_number_above_0(capacity: Any) -> None:
    with pytest.raises(horus.ConfigurationError, match=r"capacity is .*, expected a whole number"):
        Hub[int]("x").subscribe(capacity)


def test_an_overflow_is_one_of_the_rules() -> None:
    wrong: Any = "drop oldest"
    with pytest.raises(horus.ConfigurationError, match=r"expected a horus_trio\.Overflow"):
        Hub[int]("x").subscribe(overflow=wrong)


@pytest.mark.parametrize("max_age", [0, -1.0, math.nan, math.inf])
def test_a_max_age_is_finite_and_above_0(max_age: float) -> None:
    with pytest.raises(horus.ConfigurationError, match=r"max_age is .*, expected a finite number"):
        Sub("x", max_age=max_age)


def test_on_stale_is_a_function() -> None:
    wrong: Any = "stop"
    with pytest.raises(horus.ConfigurationError, match="on_stale is 'stop', expected a function"):
        Sub("x", on_stale=wrong)


# Sending


def test_a_message_reaches_every_subscription_there_is() -> None:
    hub = Hub[int]("x")
    assert hub.send(0) == 0
    first = hub.subscribe()
    assert hub.send(1) == 1
    second = hub.subscribe()
    assert hub.send(2) == 2
    assert everything(first) == [1, 2]
    assert everything(second) == [2]


@pytest.mark.parametrize(
    ("overflow", "kept", "took"),
    [
        (Overflow.DROP_OLDEST, [2, 3, 4], [1, 1, 1, 1, 1]),
        (Overflow.DROP_NEWEST, [0, 1, 2], [1, 1, 1, 0, 0]),
        (Overflow.LATEST, [4], [1, 1, 1, 1, 1]),
        (Overflow.BLOCK, [0, 1, 2], [1, 1, 1, 0, 0]),
    ],
)
def test_overflow_rules(overflow: Overflow, kept: list[int], took: list[int]) -> None:
    hub = Hub[int]("x")
    subscription = hub.subscribe(3, overflow)
    assert [hub.send(n) for n in range(5)] == took
    assert counts(subscription) == (5, 0, 5 - len(kept), len(kept))
    assert everything(subscription) == kept
    assert counts(subscription) == (5, len(kept), 5 - len(kept), 0)


@pytest.mark.slow
@pytest.mark.parametrize("capacity", [1, 3])
@pytest.mark.parametrize("overflow", Overflow)
@hypothesis.given(
    before=st.lists(st.sampled_from(["send", "receive"])),
    meanwhile=st.lists(st.sampled_from(["send", "receive"])),
    share=st.floats(0, 1),
)
def test_what_was_peeked_at_is_taken_exactly(
    capacity: int, overflow: Overflow, before: list[str], meanwhile: list[str], share: float
) -> None:
    hub = Hub[int]("x")
    subscription = hub.subscribe(capacity, overflow)
    sent = iter(range(1000))

    def do(steps: list[str]) -> None:
        for step in steps:
            if step == "send":
                hub.send(next(sent))
            elif subscription.depth:
                subscription.receive_nowait()

    do(before)
    received = counts(subscription)[1]
    gone, messages = subscription.peek()
    assert counts(subscription)[1] == received
    assert len(messages) == subscription.depth

    do(meanwhile)
    waiting = subscription.peek()[1]
    received = counts(subscription)[1]
    taken = round(share * len(messages))
    subscription.take_until(gone + taken)
    left = [message for message in waiting if message not in messages[:taken]]
    assert subscription.peek()[1] == left
    assert counts(subscription)[1] == received + len(waiting) - len(left)
    published, received, dropped, depth = counts(subscription)
    assert received + dropped + depth == published


def test_what_was_dropped_after_it_was_peeked_at_is_not_taken_too() -> None:
    hub = Hub[int]("x")
    subscription = hub.subscribe(2, Overflow.DROP_OLDEST)
    for number in range(2):
        hub.send(number)
    gone, messages = subscription.peek()
    hub.send(2)  # in place of the 0
    subscription.take_until(gone + len(messages))
    assert everything(subscription) == [2]
    assert counts(subscription) == (3, 2, 1, 0)


async def test_taking_what_was_peeked_at_lets_a_sender_go_on() -> None:
    hub = Hub[int]("x")
    subscription = hub.subscribe(1, Overflow.BLOCK)
    hub.send(0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hub.send_async, 1)
        await wait_all_tasks_blocked()
        gone, messages = subscription.peek()
        subscription.take_until(gone + 1)
        assert messages == [0]
    assert everything(subscription) == [1]
    subscription.close()
    subscription.take_until(100)  # harmless


def test_latest_has_a_capacity_of_one() -> None:
    subscription = Hub[int]("x").subscribe(64, Overflow.LATEST)
    assert subscription.statistics().capacity == 1


def test_none_is_a_message() -> None:
    hub = Hub[None]("x")
    subscription = hub.subscribe()
    assert hub.latest is None
    hub.send(None)
    assert hub.latest is not None
    assert hub.latest[0] is None
    assert subscription.receive_nowait() is None
    with pytest.raises(trio.WouldBlock):
        subscription.receive_nowait()


async def test_a_wrong_type_is_refused_with_the_remedy() -> None:
    hub = Hub[int]("speed", int)
    subscription = hub.subscribe()
    wrong: Any = "fast"
    expected = "topic 'speed' carries int, got str: 'fast'; send a int, or declare"
    with pytest.raises(horus.MessageTypeError, match=expected):
        hub.send(wrong)
    with pytest.raises(horus.MessageTypeError, match=expected):
        await hub.send_async(wrong)
    hub.subscribe(1, Overflow.BLOCK)
    with pytest.raises(horus.MessageTypeError, match=expected):
        await hub.send_async(wrong)
    assert counts(subscription) == (0, 0, 0, 0)
    assert hub.send(True) == 2  # an instance of a subclass


def test_a_latched_topic_begins_with_its_latest_message() -> None:
    hub = Hub[int]("map", latch=True)
    early = hub.subscribe()
    hub.send(1)
    hub.send(2)
    late = hub.subscribe()
    assert counts(late) == (1, 0, 0, 1)
    hub.send(3)
    assert everything(early) == [1, 2, 3]
    assert everything(late) == [2, 3]
    assert counts(late) == (2, 2, 0, 0)


def test_a_subscription_like_another_begins_with_what_waits_there() -> None:
    hub = Hub[int]("map", latch=True)
    early = hub.subscribe()
    for number in range(5):
        hub.send(number)
    assert early.receive_nowait() == 0
    late = hub.subscribe(capacity=3, like=early)
    assert counts(late) == (4, 0, 1, 3)
    hub.send(5)
    assert everything(late) == [3, 4, 5]
    assert everything(early) == [1, 2, 3, 4, 5]


# Receiving


async def test_receive_waits_for_a_message() -> None:
    hub = Hub[int]("x")
    subscription = hub.subscribe()
    got: list[int] = []

    async def reader() -> None:
        got.append(await subscription.receive())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(reader)
        await wait_all_tasks_blocked()
        assert subscription.statistics().tasks_waiting == 1
        hub.send(5)
        assert subscription.depth == 0  # handed over in the instant of the publish
    assert got == [5]
    assert counts(subscription) == (1, 1, 0, 0)
    assert subscription.statistics().tasks_waiting == 0


async def test_waiting_tasks_are_served_in_their_order() -> None:
    hub = Hub[int]("x")
    subscription = hub.subscribe()
    got: list[tuple[str, int]] = []

    async def reader(name: str) -> None:
        got.append((name, await subscription.receive()))

    async with trio.open_nursery() as nursery:
        for name in "abc":
            nursery.start_soon(reader, name)
            await wait_all_tasks_blocked()
        for n in range(3):
            hub.send(n)
    assert sorted(got) == [("a", 0), ("b", 1), ("c", 2)]


async def test_a_cancelled_receive_has_taken_nothing() -> None:
    hub = Hub[int]("x")
    subscription = hub.subscribe()

    hub.send(1)
    with trio.CancelScope() as scope:  # cancelled before it looks
        scope.cancel()
        await subscription.receive()
    assert scope.cancelled_caught
    assert everything(subscription) == [1]

    async with trio.open_nursery() as nursery:  # while it waits
        nursery.start_soon(subscription.receive)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert subscription.statistics().tasks_waiting == 0
    hub.send(2)
    assert everything(subscription) == [2]

    async with trio.open_nursery() as nursery:  # a foreign sender has rung, the loop not answered
        nursery.start_soon(subscription.receive)
        await wait_all_tasks_blocked()
        in_thread(lambda: hub.send(3))
        nursery.cancel_scope.cancel()
    assert everything(subscription) == [3]


async def test_a_cancelled_receive_does_not_silence_another_one() -> None:
    hub = Hub[int]("scan")
    subscription = hub.subscribe()
    came: list[int] = []

    async def receive() -> None:
        came.append(await subscription.receive())

    async with trio.open_nursery() as nursery:
        async with trio.open_nursery() as cancelled:
            cancelled.start_soon(receive)
            await wait_all_tasks_blocked()
            nursery.start_soon(receive)
            await wait_all_tasks_blocked()
            cancelled.cancel_scope.cancel()
        hub.send(1)
        nursery.cancel_scope.deadline = trio.current_time() + 5
    assert came == [1]


async def test_what_was_handed_over_is_received_in_spite_of_a_cancellation() -> None:
    hub = Hub[int]("x")
    subscription = hub.subscribe()
    got: list[int] = []

    async def reader() -> None:
        got.append(await subscription.receive())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(reader)
        await wait_all_tasks_blocked()
        hub.send(1)
        nursery.cancel_scope.cancel()
    assert got == [1]


async def test_receive_is_a_checkpoint_also_when_a_message_is_there() -> None:
    hub = Hub[int]("x")
    subscription = hub.subscribe()
    hub.send(1)
    with trio.testing.assert_checkpoints():
        assert await subscription.receive() == 1
    with trio.testing.assert_checkpoints():
        await hub.send_async(2)
    hub.subscribe(1, Overflow.BLOCK)
    with trio.testing.assert_checkpoints():
        await hub.send_async(3)
    with trio.testing.assert_checkpoints():
        await subscription.aclose()


async def test_iteration_ends_with_the_topic() -> None:
    hub = Hub[int]("x")
    subscription = hub.subscribe()
    hub.send(1)
    hub.send(2)
    hub.close()
    assert [n async for n in subscription] == [1, 2]


def test_a_subscription_serves_one_trio_run_at_a_time() -> None:
    hub = Hub[int]("x")
    subscription = hub.subscribe()
    waiting, enough = threading.Event(), threading.Event()

    async def first_run() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(subscription.receive)
            await wait_all_tasks_blocked()
            waiting.set()
            await trio.to_thread.run_sync(enough.wait)
            nursery.cancel_scope.cancel()

    async def second_run() -> None:
        with pytest.raises(trio.BusyResourceError, match="'x' is awaited in another Trio run"):
            await subscription.receive()

    thread = threading.Thread(target=trio.run, args=[first_run])
    thread.start()
    waiting.wait()
    try:
        trio.run(second_run)
    finally:
        enough.set()
        thread.join()
    hub.send(1)

    async def third_run() -> None:
        assert await subscription.receive() == 1

    trio.run(third_run)  # the first has let go of it


# Foreign threads


async def test_a_message_of_a_foreign_thread_wakes_the_reader() -> None:
    hub = Hub[int]("x")
    subscription = hub.subscribe()
    thread = threading.Thread(target=hub.send, args=[1])
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:

            async def reader() -> None:
                assert await subscription.receive() == 1

            nursery.start_soon(reader)
            await wait_all_tasks_blocked()
            thread.start()
    thread.join()


async def test_a_burst_costs_one_wake_up_and_overflows_in_the_senders_thread() -> None:
    hub = Hub[int]("x")
    subscription = hub.subscribe(8)
    got: list[int] = []

    async def reader() -> None:
        async for n in subscription:
            got.append(n)

    def queued() -> int:
        return trio.lowlevel.current_statistics().run_sync_soon_queue_size

    async with trio.open_nursery() as nursery:
        nursery.start_soon(reader)
        await wait_all_tasks_blocked()
        before = queued()
        in_thread(lambda: [hub.send(n) for n in range(1000)])
        assert queued() - before == 1
        assert counts(subscription) == (1000, 0, 992, 8)
        await wait_all_tasks_blocked()
        in_thread(lambda: [hub.send(n) for n in range(1000, 1004)])  # the bell rings again
        assert queued() - before == 1
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert got == [*range(992, 1000), *range(1000, 1004)]


async def test_nobody_is_woken_for_a_subscription_that_nobody_awaits() -> None:
    hub = Hub[int]("x")
    hub.subscribe()
    before = trio.lowlevel.current_statistics().run_sync_soon_queue_size
    in_thread(lambda: hub.send(1))
    assert trio.lowlevel.current_statistics().run_sync_soon_queue_size == before


def test_sending_to_a_reader_whose_run_is_over_does_no_harm() -> None:
    hub = Hub[int]("x")
    subscription = hub.subscribe(2)

    async def main() -> None:
        subscription.notify(lambda count: None)  # listens, and never says that it stopped

    trio.run(main)
    for n in range(4):
        hub.send(n)
    assert everything(subscription) == [2, 3]
    assert subscription._bell is not None
    assert not subscription._bell._queue


async def test_many_who_are_rung_for_cost_one_wake_up() -> None:
    hub = Hub[int]("x")
    arrivals: list[int] = []
    readers = [hub.subscribe() for _ in range(5)]
    for reader in readers:
        reader.notify(arrivals.append)
    before = trio.lowlevel.current_statistics().run_sync_soon_queue_size
    in_thread(lambda: hub.send(1))
    assert trio.lowlevel.current_statistics().run_sync_soon_queue_size == before + 1
    await wait_all_tasks_blocked()
    assert arrivals == [1] * 5
    for reader in readers:
        reader.notify(None)
    assert not hub._listening


# Closing


async def test_closing_a_subscription_leaves_the_hub() -> None:
    hub = Hub[int]("x")
    subscription = hub.subscribe()
    hub.send(1)
    hub.send(2)
    assert subscription.receive_nowait() == 1
    await subscription.aclose()
    await subscription.aclose()
    assert hub.send(3) == 0
    assert hub.statistics().subscriptions == ()
    with pytest.raises(trio.ClosedResourceError, match="this subscription to 'x' was closed"):
        subscription.receive_nowait()
    with pytest.raises(trio.ClosedResourceError):
        await subscription.receive()
    with pytest.raises(trio.ClosedResourceError):
        subscription.drain()
    assert counts(subscription) == (2, 1, 0, 1)  # the law holds for what it saw


async def test_closing_a_subscription_wakes_its_readers() -> None:
    hub = Hub[int]("x")
    for close_in_thread in (False, True):
        subscription = hub.subscribe()
        refused: list[BaseException] = []

        async def reader(
            subscription: Subscription[int] = subscription,
            refused: list[BaseException] = refused,
        ) -> None:
            try:
                await subscription.receive()
            except trio.ClosedResourceError as error:
                refused.append(error)

        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(reader)
                nursery.start_soon(reader)
                await wait_all_tasks_blocked()
                if close_in_thread:
                    in_thread(subscription.close)
                else:
                    subscription.close()
        assert len(refused) == 2


async def test_a_closed_topic_gives_out_what_it_holds_and_takes_no_more() -> None:
    hub = Hub[int]("x")
    subscription = hub.subscribe()
    blocking = hub.subscribe(1, Overflow.BLOCK)
    hub.send(1)
    errors: list[BaseException] = []

    async def sender() -> None:
        try:
            await hub.send_async(2)
        except trio.ClosedResourceError as error:
            errors.append(error)

    async def second_reader() -> None:
        with pytest.raises(trio.EndOfChannel):
            await empty.receive()

    empty = hub.subscribe()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sender)
        nursery.start_soon(second_reader)
        await wait_all_tasks_blocked()
        hub.close()
        hub.close()
    assert len(errors) == 1
    for call in (lambda: hub.send(3), hub.subscribe):
        with pytest.raises(trio.ClosedResourceError, match="topic 'x' was closed"):
            call()
    with pytest.raises(trio.ClosedResourceError):
        await hub.send_async(3)
    assert await subscription.receive() == 1
    with pytest.raises(trio.EndOfChannel):
        await subscription.receive()
    assert blocking.receive_nowait() == 1
    with pytest.raises(trio.EndOfChannel):
        blocking.receive_nowait()


# BLOCK


async def test_senders_wait_in_their_order_for_room() -> None:
    hub = Hub[int]("x")
    subscription = hub.subscribe(1, Overflow.BLOCK)
    hub.send(0)
    done: list[int] = []

    async def sender(n: int) -> None:
        await hub.send_async(n)
        done.append(n)

    async with trio.open_nursery() as nursery:
        for n in range(1, 5):
            nursery.start_soon(sender, n)
            await wait_all_tasks_blocked()
        assert hub.statistics().senders_waiting == 4
        for n in range(5):
            assert subscription.receive_nowait() == n
            await wait_all_tasks_blocked()
            assert done == list(range(1, min(n + 2, 5)))
    assert counts(subscription) == (5, 5, 0, 0)


async def test_a_newcomer_does_not_overtake_those_who_wait() -> None:
    hub = Hub[int]("x")
    subscription = hub.subscribe(2, Overflow.BLOCK)
    hub.send(0)
    hub.send(0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hub.send_async, 1)
        await wait_all_tasks_blocked()
        subscription.drain()  # 1 enters; there is room for one more
        nursery.start_soon(hub.send_async, 2)
        nursery.start_soon(hub.send_async, 3)
        await wait_all_tasks_blocked()
        first = [subscription.receive_nowait() for _ in range(3)]
    assert first[0] == 1
    assert sorted(first) == [1, 2, 3]


async def test_a_send_waits_for_room_in_every_block_subscription() -> None:
    hub = Hub[int]("x")
    one, two = (hub.subscribe(1, Overflow.BLOCK) for _ in range(2))
    lossy = hub.subscribe(8)
    hub.send(0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hub.send_async, 1)
        await wait_all_tasks_blocked()
        one.receive_nowait()
        await wait_all_tasks_blocked()
        assert hub.statistics().sent == 1
        assert counts(lossy) == (1, 0, 0, 1)  # one instant for all, or none
        two.receive_nowait()
    assert (one.depth, two.depth, lossy.depth) == (1, 1, 2)


async def test_a_send_that_waits_tells_how_many_took_the_message_and_who_sent_it() -> None:
    hub = Hub[int]("x")
    blocking = hub.subscribe(1, Overflow.BLOCK)
    hub.subscribe(1, Overflow.DROP_NEWEST)
    hub.subscribe(1, Overflow.DROP_OLDEST)
    hub.send(0)
    taken: list[int] = []
    fence = Fence("camera")

    async def sender() -> None:
        current_fence.set(fence)
        taken.append(await hub.send_async(1))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(sender)
        await wait_all_tasks_blocked()
        assert hub.last_sender is None
        assert blocking.receive_nowait() == 0
    assert taken == [2]
    assert hub.last_sender == "camera"
    assert list(fence._guards or ()) == [hub._lock]
    assert not fence._wakers
    blocking.set_lenient(True)  # it drops now, and holds nobody up
    assert await hub.send_async(2) == 1
    assert blocking.drain() == [1]


async def test_a_cancelled_send_has_published_nothing_and_lets_the_next_one_by() -> None:
    hub = Hub[str]("x")
    subscription = hub.subscribe(1, Overflow.BLOCK)

    with trio.CancelScope() as scope:  # before it looks, with room there
        scope.cancel()
        await hub.send_async("never")
    assert scope.cancelled_caught
    assert hub.statistics().sent == 0

    hub.send("full")
    async with trio.open_nursery() as nursery:
        impatient = trio.CancelScope()

        async def cancelled() -> None:
            with impatient:
                await hub.send_async("cancelled")

        nursery.start_soon(cancelled)
        await wait_all_tasks_blocked()
        nursery.start_soon(hub.send_async, "next")
        await wait_all_tasks_blocked()
        impatient.cancel()
        await wait_all_tasks_blocked()
        assert hub.statistics().senders_waiting == 1
        assert subscription.receive_nowait() == "full"
    assert everything(subscription) == ["next"]


async def test_a_send_that_has_been_published_cannot_be_cancelled_any_more() -> None:
    hub = Hub[int]("x")
    subscription = hub.subscribe(1, Overflow.BLOCK)
    hub.send(0)
    done: list[int] = []

    async def sender() -> None:
        done.append(await hub.send_async(1))

    for receive in (subscription.receive_nowait, lambda: in_thread(subscription.receive_nowait)):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sender)
            await wait_all_tasks_blocked()
            receive()
            nursery.cancel_scope.cancel()
    assert done == [1, 1]
    assert hub.statistics().sent == 3


async def test_a_plain_send_drops_where_a_full_block_subscription_is() -> None:
    hub = Hub[int]("x")
    blocking = hub.subscribe(1, Overflow.BLOCK)
    roomy = hub.subscribe(8)
    hub.send(0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hub.send_async, 1)
        await wait_all_tasks_blocked()
        assert hub.send(2) == 1
        assert counts(blocking) == (2, 0, 1, 1)
        assert everything(blocking) == [0]
    assert everything(blocking) == [1]
    assert everything(roomy) == [0, 2, 1]


@pytest.mark.parametrize("how", ["close", "lenient", "receive in a thread"])
async def test_a_reader_that_goes_away_holds_nobody_up(how: str) -> None:
    hub = Hub[int]("x")
    subscription = hub.subscribe(1, Overflow.BLOCK)
    hub.send(0)
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            for n in (1, 2, 3):
                nursery.start_soon(hub.send_async, n)
            await wait_all_tasks_blocked()
            if how == "close":
                subscription.close()
            elif how == "lenient":
                subscription.set_lenient(True)
            else:
                for _ in range(3):
                    in_thread(subscription.receive_nowait)
    assert hub.statistics().sent == 4
    if how == "lenient":
        assert counts(subscription) == (4, 0, 3, 1)
        subscription.set_lenient(False)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hub.send_async, 4)
            await wait_all_tasks_blocked()
            assert hub.statistics().senders_waiting == 1
            subscription.drain()


# Fences


async def test_behind_a_closed_fence_nothing_is_published() -> None:
    hub = Hub[int]("x")
    subscription = hub.subscribe()
    fence = Fence("camera")
    current_fence.set(fence)
    hub.send(1)
    fence.close()
    refused = "a tick of node 'camera' was abandoned or its run is over"
    with pytest.raises(horus.TickAbandoned, match=refused):
        hub.send(2)
    with pytest.raises(horus.TickAbandoned, match=refused):
        await hub.send_async(2)
    hub.subscribe(8, Overflow.BLOCK)
    with pytest.raises(horus.TickAbandoned, match=refused):
        await hub.send_async(2)
    assert everything(subscription) == [1]


async def test_a_send_that_waits_is_withdrawn_when_its_fence_closes() -> None:
    hub = Hub[int]("x")
    subscription = hub.subscribe(1, Overflow.BLOCK)
    hub.send(0)
    fence = Fence("camera")
    refused: list[BaseException] = []

    async def fenced() -> None:
        current_fence.set(fence)
        try:
            await hub.send_async(1)
        except horus.TickAbandoned as error:
            refused.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(fenced)
        await wait_all_tasks_blocked()
        nursery.start_soon(hub.send_async, 2)
        await wait_all_tasks_blocked()
        fence.close()
        await wait_all_tasks_blocked()
        assert len(refused) == 1
        assert everything(subscription) == [0]
    assert everything(subscription) == [2]


# What one sees of them


def test_reprs() -> None:
    hub = Hub[int]("x")
    subscription = hub.subscribe(4)
    hub.send(1)
    assert repr(hub) == "<Hub 'x', 1 sent, 1 subscription(s)>"
    assert repr(subscription) == "<Subscription to 'x', drop oldest, 1/4>"
    assert (subscription.topic, subscription.depth) == ("x", 1)
    subscription.close()
    hub.close()
    assert repr(hub) == "<Hub 'x', 1 sent, 0 subscription(s), closed>"
    assert repr(subscription) == "<Subscription to 'x', drop oldest, closed>"
    assert repr(Overflow.BLOCK) == "Overflow.BLOCK"


def test_statistics_of_a_topic_sum_up_its_subscriptions() -> None:
    hub = Hub[int]("x")
    small, large = hub.subscribe(2), hub.subscribe(8, Overflow.DROP_NEWEST)
    for n in range(5):
        hub.send(n)
    small.receive_nowait()
    statistics = hub.statistics()
    assert statistics == horus.HubStatistics(
        name="x",
        sent=5,
        received=1,
        dropped=3,
        depth=6,
        senders_waiting=0,
        subscriptions=(small.statistics(), large.statistics()),
    )
    assert statistics.subscriptions[0] == horus.SubscriptionStatistics(
        published=5,
        received=1,
        dropped=3,
        depth=1,
        capacity=2,
        overflow=Overflow.DROP_OLDEST,
        tasks_waiting=0,
    )


# What makes it fast must not make it wrong


async def test_a_flood_from_a_thread_is_queued_once_until_it_is_answered() -> None:
    hub = Hub[int]("imu")
    subscription = hub.subscribe()
    arrivals: list[int] = []
    subscription.notify(arrivals.append)
    queue = current_bell()._queue
    in_thread(lambda: [hub.send(n) for n in range(1000)])
    assert list(queue) == [subscription]
    await wait_all_tasks_blocked()
    assert arrivals == [1000]
    in_thread(lambda: hub.send(1000))  # it is rung for again
    await wait_all_tasks_blocked()
    assert arrivals == [1000, 1]
    subscription.notify(None)


async def test_arrivals_are_counted_whatever_the_overflow_does_and_readers_take() -> None:
    hub = Hub[int]("imu")
    arrivals: dict[Overflow, list[int]] = {}
    readers = {overflow: hub.subscribe(2, overflow) for overflow in Overflow}
    for overflow, reader in readers.items():
        reader.notify(arrivals.setdefault(overflow, []).append)
    in_thread(lambda: [hub.send(n) for n in range(5)])
    readers[Overflow.DROP_OLDEST].receive_nowait()
    await wait_all_tasks_blocked()
    assert arrivals == {
        Overflow.DROP_OLDEST: [5],
        Overflow.DROP_NEWEST: [2],
        Overflow.LATEST: [5],
        Overflow.BLOCK: [2],
    }
    for reader in readers.values():
        reader.notify(None)


async def test_a_late_wake_up_leaves_alone_who_waits_no_more() -> None:
    hub = Hub[int]("imu")
    subscription = hub.subscribe()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(subscription.receive)
        await wait_all_tasks_blocked()
        in_thread(lambda: hub.send(1))
        nursery.cancel_scope.cancel()
    assert subscription.drain() == [1]
    assert not hub._listening


def test_whoever_is_interrupted_in_a_send_lets_the_topic_go() -> None:
    hub = Hub[int]("imu")
    heard = hub.subscribe()

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    hub._inspect = interrupt
    with pytest.raises(KeyboardInterrupt):
        hub.send(1)
    hub._inspect = None
    in_thread(lambda: hub.send(2))  # another thread, as the lock is reentrant
    assert heard.drain() == [2]


@pytest.mark.skipif(sys.platform == "win32", reason="signals interrupt no lock there")
def test_whoever_is_interrupted_while_waiting_for_a_topic_takes_no_lock_away() -> None:
    hub = Hub[int]("imu")
    heard = hub.subscribe()
    inside, go_on = threading.Event(), threading.Event()
    main = threading.main_thread().ident
    assert main is not None

    def hold(_: int) -> None:
        inside.set()
        time.sleep(0.1)  # until the main thread waits for the lock
        signal.pthread_kill(main, signal.SIGUSR1)
        go_on.wait(5)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    earlier = signal.signal(signal.SIGUSR1, interrupt)
    hub._inspect = hold
    holder = threading.Thread(target=hub.send, args=(1,))
    try:
        holder.start()
        assert inside.wait(5)
        with pytest.raises(KeyboardInterrupt):
            hub.send(2)
        assert not hub._lock.acquire(blocking=False)  # still the other's
    finally:
        go_on.set()
        holder.join()
        signal.signal(signal.SIGUSR1, earlier)
    hub._inspect = None
    assert heard.drain() == [1]
    assert hub.send(3) == 1


def test_the_instant_of_a_message_is_on_the_clock_of_the_run() -> None:
    topics = Topics()
    hub = topics.hub("imu")

    async def main() -> None:
        topics.start_clock(trio.lowlevel.current_clock().current_time)
        before = trio.current_time()
        hub.send(1)
        after = trio.current_time()
        assert hub.latest is not None
        assert before <= hub.latest[1] <= after

    trio.run(main)


def test_under_the_real_clock_a_message_is_stamped_by_the_bare_counter() -> None:
    """The addition that makes an instant of it is left to those who look."""

    async def instants() -> Instants:
        return Instants(trio.lowlevel.current_clock().current_time)

    assert trio.run(instants).stamp is time.perf_counter
    virtual = trio.testing.MockClock()
    found = trio.run(instants, clock=virtual)
    assert found.stamp() == found.instant(found.stamp()) == virtual.current_time()
    assert math.isnan(Instants(None).stamp())


def test_a_fence_remembers_no_topic_that_is_gone_and_a_topic_no_closed_fence() -> None:
    fence = Fence("old")
    hub = Hub[int]("imu")

    def send() -> None:
        current_fence.set(fence)
        hub.send(1)
        Hub[int]("short-lived").send(1)

    contextvars.copy_context().run(send)
    gc.collect()
    assert list(fence._guards or ()) == [hub._lock]
    fence.close()
    fence = Fence("new")
    contextvars.copy_context().run(send)
    assert hub._met == {fence}


# Topics


def test_a_topic_is_made_when_it_is_asked_for() -> None:
    topics = Topics()
    assert repr(topics) == "<Topics none>"
    hub = topics.hub("imu")
    assert topics.hub("imu") is hub is topics.find("imu")
    topics.hub("camera")
    assert [h.name for h in topics] == ["imu", "camera"]
    assert len(topics) == 2
    assert "imu" in topics
    assert "lidar" not in topics
    assert repr(topics) == "<Topics imu, camera>"


def test_an_unknown_topic_is_answered_with_the_nearest_name() -> None:
    topics = Topics()
    with pytest.raises(horus.UnknownTopic, match="no topic 'camera'; there are none yet"):
        topics.find("camera")
    topics.hub("camera_out")
    with pytest.raises(horus.UnknownTopic, match="did you mean 'camera_out'"):
        topics.find("camera_in")
    with pytest.raises(horus.UnknownTopic, match="there are 'camera_out'"):
        topics.find("zzz")


def test_a_declared_publisher_gives_the_topic_its_type_and_latch() -> None:
    topics = Topics()
    hub = topics.declare(Pub("speed", type=int, latch=True))
    assert (hub.message_type, hub.latch) == (int, True)
    topics.declare(Pub("speed"))  # declares nothing more, and takes nothing back
    assert (hub.message_type, hub.latch) == (int, True)


def test_the_time_of_messages_is_of_the_present_run() -> None:
    topics = Topics()
    plain, latched = topics.hub("plain"), topics.declare(Pub("latched", latch=True))
    for hub in (plain, latched):
        hub.send(1)
        assert hub.latest is not None
        assert math.isnan(hub.latest[1])
    now = 100.0
    topics.start_clock(lambda: now)
    assert plain.latest is None  # of an earlier run
    assert latched.latest == (1, 100.0)
    now = 101.5
    plain.send(2)
    late = topics.hub("late")
    late.send(3)
    assert plain.latest == (2, 101.5)
    assert late.latest == (3, 101.5)


@contextlib.contextmanager
def coming_in_between(intruder: Callable[[], object]) -> Iterator[None]:
    """Call `intruder` just before a message is taken, as a debugger's code may run there."""
    before = sys.gettrace()
    source = Path(subscription_module.__file__).read_text(encoding="utf-8").splitlines()

    def trace(frame: FrameType, event: str, _: object) -> Any:
        if frame.f_code.co_filename != subscription_module.__file__:
            return None
        if event == "line" and "buffer.popleft()" in source[frame.f_lineno - 1]:
            sys.settrace(before)
            frame.f_trace = None
            intruder()
        return trace

    sys.settrace(trace)
    try:
        yield
    finally:
        assert sys.gettrace() is before, "nothing was taken"


@pytest.mark.parametrize("overflow", [Overflow.DROP_OLDEST, Overflow.LATEST])
def test_a_message_that_is_taken_away_while_it_is_dropped_is_not_dropped(
    overflow: Overflow,
) -> None:
    hub = Hub[int]("x")
    subscription = hub.subscribe(1, overflow)
    hub.send(1)
    taken: list[int] = []
    with coming_in_between(lambda: taken.append(subscription.receive_nowait())):
        hub.send(2)
    s = subscription.statistics()
    assert (taken, s.published, s.received, s.dropped, s.depth) == ([1], 2, 1, 0, 1)
    assert subscription.drain() == [2]


@pytest.mark.parametrize(
    ("take", "left"),
    [
        (lambda subscription: subscription.drain(), []),
        (lambda subscription: subscription.take_until(1), None),
    ],
    ids=["drain", "take_until"],
)
def test_a_message_that_is_taken_away_while_all_are_taken_is_counted_once(
    take: Callable[[Subscription[int]], object], left: object
) -> None:
    hub = Hub[int]("x")
    subscription = hub.subscribe(4)
    hub.send(1)
    taken: list[int] = []
    with coming_in_between(lambda: taken.append(subscription.receive_nowait())):
        assert take(subscription) == left
    s = subscription.statistics()
    assert (taken, s.published, s.received, s.depth) == ([1], 1, 1, 0)


def test_a_message_that_is_taken_away_while_it_is_received_leaves_nothing_to_receive() -> None:
    hub = Hub[int]("x")
    subscription = hub.subscribe(4)
    hub.send(1)
    taken: list[int] = []
    with (
        coming_in_between(lambda: taken.append(subscription.receive_nowait())),
        pytest.raises(trio.WouldBlock),
    ):
        subscription.receive_nowait()
    assert taken == [1]
    assert subscription.statistics().received == 1
    hub.send(2)

    def take_the_last() -> None:
        taken.append(subscription.receive_nowait())
        hub.close()

    with coming_in_between(take_the_last), pytest.raises(trio.EndOfChannel):
        subscription.receive_nowait()
    assert taken == [1, 2]


async def test_a_message_that_is_taken_away_while_it_is_handed_out_leaves_the_reader_waiting() -> (
    None
):
    hub = Hub[int]("x")
    subscription = hub.subscribe(4)
    taken: list[int] = []

    async def read() -> None:
        taken.append(await subscription.receive())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await wait_all_tasks_blocked()
        with coming_in_between(lambda: taken.append(subscription.receive_nowait())):
            hub.send(1)
        assert taken == [1]
        assert subscription.statistics().received == 1
        hub.send(2)
    assert taken == [1, 2]


async def test_a_sleeper_that_goes_waits_for_a_publication_under_way() -> None:
    """Whoever publishes, in whatever thread, goes through those that sleep, under the lock."""

    class Sleeper:
        _bell = None

        def _answer(self) -> None:
            """Never rung."""

    subscription = Hub[int]("frames").subscribe()
    sleeper = Sleeper()
    assert subscription._await_arrival(sleeper)
    thread = threading.Thread(target=subscription._forget, args=[sleeper])
    with subscription._lock:
        thread.start()
        thread.join(0.05)
        assert thread.is_alive()
        assert list(subscription._sleepers) == [sleeper]
    thread.join(10)
    assert list(subscription._sleepers) == []
    assert sleeper not in subscription._hub._listening


async def test_a_bell_rung_on_the_loop_is_answered_at_once_and_once() -> None:
    bell = current_bell()

    class Ringer:
        _bell = bell
        answers = 0

        def _answer(self) -> None:
            self.answers += 1

    ringer = Ringer()
    bell.ring(ringer)
    assert (ringer.answers, bell.is_rung) == (1, False)
    await wait_all_tasks_blocked()
    assert ringer.answers == 1
    thread = threading.Thread(target=bell.ring, args=[ringer])
    thread.start()
    thread.join()
    assert (ringer.answers, bell.is_rung) == (1, True)
    await wait_all_tasks_blocked()
    assert (ringer.answers, bell.is_rung) == (2, False)


async def test_a_topic_made_during_a_run_has_the_runs_time(
    autojump_clock: trio.testing.MockClock,
) -> None:
    scheduler = horus.Scheduler(tick_rate=2, signals=False)
    at: list[float | None] = []

    async def tick(node: horus.Node) -> None:
        assert node.current_tick is not None
        topic = f"topic {node.current_tick.seq}"
        node.send(topic, 1)
        latest = scheduler.topic(topic).latest
        at.append(None if latest is None else latest[1] - started)

    started = trio.current_time()
    await scheduler.add(horus.Node("a", tick=tick)).run(1.25)
    assert at == [0.0, 0.5, 1.0]


async def test_who_has_been_cancelled_is_not_rung_for_any_more() -> None:
    hub = Hub[int]("frames")
    subscription = hub.subscribe()
    with trio.move_on_after(0.01):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(subscription.receive)
            await wait_all_tasks_blocked()
            assert list(hub._listening) == [subscription]
    assert list(hub._listening) == []
