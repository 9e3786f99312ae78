"""Topics and links in asyncio tasks: the laws hold beside an engine in this thread or another."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import pytest
import trio

import horus_trio as horus
from horus_trio import AsyncNode, Hub, Link, Node, Overflow, Scheduler, Subscription
from horus_trio.bridges.asyncio import messages, receive, run_in_asyncio, send
from horus_trio.errors import MessageTypeError

COUNT = 300


def lawful(*subscriptions: Subscription[Any]) -> None:
    for subscription in subscriptions:
        seen = subscription.statistics()
        assert seen.received + seen.dropped + seen.depth == seen.published, seen
        assert seen.tasks_waiting == 0


async def until(condition: Callable[[], object]) -> None:
    give_up = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < give_up
        await asyncio.sleep(0.001)


@contextlib.asynccontextmanager
async def engine(where: str, *nodes: Node) -> AsyncIterator[Scheduler]:
    """A scheduler that runs in this thread's asyncio loop, or in a thread of its own."""
    scheduler = Scheduler(200.0)
    for node in nodes:
        scheduler.add(node)
    if where == "thread":
        with horus.background(scheduler):
            yield scheduler
    else:
        robot = asyncio.create_task(run_in_asyncio(scheduler.run))
        try:
            yield scheduler
        finally:
            scheduler.stop()
            await robot


class Counter(AsyncNode):
    """Publishes numbers, several a tick."""

    def __init__(self, topic: str = "numbers") -> None:
        super().__init__("counter")
        self.topic = topic
        self.next = 0

    async def tick_async(self) -> None:
        for _ in range(10):
            if self.next < COUNT:
                await self.send_async(self.topic, self.next)
                self.next += 1


places = pytest.mark.parametrize("where", ["loop", "thread"])


# Beside an engine


@places
@pytest.mark.parametrize("overflow", list(Overflow))
def test_a_task_receives_what_a_node_publishes(where: str, overflow: Overflow) -> None:
    async def main() -> None:
        node = Counter()
        scheduler = Scheduler(200.0)
        numbers = scheduler.topic("numbers")
        subscription = numbers.subscribe(8, overflow)
        got: list[int] = []

        async def read() -> None:
            async for number in messages(subscription):
                got.append(number)

        reader = asyncio.create_task(read())
        scheduler.add(node)
        with contextlib.ExitStack() as stack:
            robot: asyncio.Task[Any] | None = None
            if where == "thread":
                stack.enter_context(horus.background(scheduler))
            else:
                robot = asyncio.create_task(run_in_asyncio(scheduler.run))
            await until(lambda: node.next == COUNT)
            numbers.close()
            await asyncio.wait_for(reader, 20)
            if robot is not None:
                scheduler.stop()
                await robot
        assert got == sorted(set(got))
        assert got[-1] == COUNT - 1 or overflow is Overflow.DROP_NEWEST
        if overflow is Overflow.BLOCK:
            assert got == list(range(COUNT))
        lawful(subscription)
        assert subscription.statistics().published == COUNT

    asyncio.run(main())


@places
def test_a_task_publishes_to_nodes_and_waits_for_room(where: str) -> None:
    class Reader(AsyncNode):
        def __init__(self) -> None:
            sub = horus.Sub("orders", capacity=4, overflow=Overflow.BLOCK)
            super().__init__("reader", subs=[sub])
            self.got: list[int] = []

        async def tick_async(self) -> None:
            self.got += self.recv_all("orders")

    async def main() -> None:
        node = Reader()
        async with engine(where, node) as scheduler:
            await until(lambda: scheduler.statistics().nodes["reader"].ok)
            for number in range(60):
                assert await send(scheduler.topic("orders"), number) == 1
            await until(lambda: len(node.got) == 60)
        assert node.got == list(range(60))

    asyncio.run(main())


@places
def test_links_carry_both_ways_without_loss(where: str) -> None:
    there: Link[int] = Link("there", 3)
    back: Link[int] = Link("back", 3)

    class Doubler(AsyncNode):
        def init(self) -> None:
            self.start_soon(self.double)

        async def double(self) -> None:
            while True:
                await back.send(2 * await there.receive())

        async def tick_async(self) -> None:
            pass

    async def main() -> None:
        async def ask() -> None:
            for number in range(COUNT):
                await send(there, number)

        async with engine(where, Doubler("doubler")):
            asking = asyncio.create_task(ask())
            for number in range(COUNT):
                assert await receive(back) == 2 * number
            await asking
        for link in (there, back):
            seen = link.statistics()
            assert (seen.sent, seen.received, seen.depth) == (COUNT, COUNT, 0)

    asyncio.run(main())


def test_senders_of_all_kinds_wait_in_one_line() -> None:
    hub: Hub[str] = Hub("orders")
    subscription = hub.subscribe(1, Overflow.BLOCK)
    hub.send("first")

    async def in_trio() -> None:
        await hub.send_async("from Trio")

    async def main() -> None:
        waiting = [asyncio.create_task(send(hub, "one"))]
        await until(lambda: hub.statistics().senders_waiting == 1)
        robot = asyncio.create_task(run_in_asyncio(in_trio))
        await until(lambda: hub.statistics().senders_waiting == 2)
        waiting.append(asyncio.create_task(send(hub, "two")))
        await until(lambda: hub.statistics().senders_waiting == 3)
        got = [await receive(subscription) for _ in range(4)]
        assert got == ["first", "one", "from Trio", "two"]
        assert await asyncio.gather(*waiting) == [1, 1]
        await robot

    asyncio.run(main())
    lawful(subscription)


def test_a_task_and_a_trio_task_share_a_subscription() -> None:
    hub: Hub[int] = Hub("numbers")
    subscription = hub.subscribe(COUNT)
    got: list[int] = []

    async def in_trio() -> None:
        async for number in subscription:
            got.append(number)

    async def main() -> None:
        async def read() -> None:
            async for number in messages(subscription):
                got.append(number)

        robot = asyncio.create_task(run_in_asyncio(in_trio))
        reader = asyncio.create_task(read())
        for number in range(COUNT):
            hub.send(number)
            if number % 3 == 0:
                await asyncio.sleep(0)
        hub.close()
        await asyncio.gather(robot, reader)

    asyncio.run(main())
    assert sorted(got) == list(range(COUNT))
    lawful(subscription)


# Without an engine


def test_several_tasks_share_a_subscription() -> None:
    async def main() -> None:
        hub: Hub[int] = Hub("numbers")
        subscription = hub.subscribe(4)
        got: list[int] = []

        async def read() -> None:
            async for number in messages(subscription):
                got.append(number)

        readers = [asyncio.create_task(read()) for _ in range(5)]
        await until(lambda: subscription.statistics().tasks_waiting == 5)
        for number in range(50):
            hub.send(number)
            await until(lambda: subscription.depth == 0)
        hub.close()
        await asyncio.gather(*readers)
        assert got == list(range(50))
        lawful(subscription)
        assert not hub._listening

    asyncio.run(main())


@pytest.mark.slow
def test_threads_flood_a_task_and_nothing_is_miscounted() -> None:
    hub: Hub[tuple[int, int]] = Hub("flood")
    lossy, lossless = hub.subscribe(16), hub.subscribe(10**6)
    got: dict[int, list[int]] = {0: [], 1: [], 2: []}

    def flood(who: int) -> None:
        for number in range(2000):
            hub.send((who, number))

    async def main() -> None:
        async def read_all() -> None:
            async for who, number in messages(lossless):
                got[who].append(number)

        async def read_some() -> None:
            async for _ in messages(lossy):
                pass

        readers = [asyncio.create_task(read_all()), asyncio.create_task(read_some())]
        await asyncio.gather(*[asyncio.to_thread(flood, who) for who in got])
        hub.close()
        await asyncio.wait_for(asyncio.gather(*readers), 60)

    asyncio.run(main())
    assert all(numbers == list(range(2000)) for numbers in got.values())
    lawful(lossy, lossless)


@pytest.mark.parametrize("after", range(8))
def test_a_cancelled_reader_has_taken_nothing(after: int) -> None:
    """Cancelled after each of its steps, also in the very moment in which a message comes."""

    async def main() -> None:
        for make in (hub_ends, link_ends):
            put, source, statistics = make()
            reader: asyncio.Task[int] = asyncio.create_task(receive(source))
            for step in range(after):
                if step == after // 2:
                    put(1)
                await asyncio.sleep(0)
            if after == 0:
                put(1)
            reader.cancel()
            await asyncio.wait([reader])
            left = [] if not reader.cancelled() else [await asyncio.wait_for(receive(source), 5)]
            taken = [] if reader.cancelled() else [reader.result()]
            assert left + taken == [1]
            statistics()

    asyncio.run(main())


def hub_ends() -> tuple[Callable[[int], object], Subscription[int], Callable[[], object]]:
    hub: Hub[int] = Hub("numbers")
    subscription = hub.subscribe()
    return hub.send, subscription, functools.partial(lawful, subscription)


def link_ends() -> tuple[Callable[[int], object], Link[int], Callable[[], object]]:
    link: Link[int] = Link("numbers")

    def check() -> None:
        seen = link.statistics()
        assert seen.received + seen.depth == seen.sent

    return link.send_nowait, link, check


@pytest.mark.parametrize("after", range(6))
def test_a_cancelled_sender_has_published_nothing_or_is_in_the_statistics(after: int) -> None:
    async def main() -> None:
        hub: Hub[int] = Hub("numbers")
        subscription = hub.subscribe(1, Overflow.BLOCK)
        hub.send(0)
        sender = asyncio.create_task(send(hub, 1))
        other = asyncio.create_task(send(hub, 2))
        for step in range(after):
            if step == 3:
                assert subscription.receive_nowait() == 0
            await asyncio.sleep(0)
        sender.cancel()
        await asyncio.wait([sender])
        if after <= 3:
            assert sender.cancelled()
            assert hub.statistics().sent == 1
            assert await receive(subscription) == 0
            assert await receive(subscription) == 2
        else:
            assert hub.statistics().sent == 2
            assert await receive(subscription) == 1
            assert await receive(subscription) == 2
        assert await other == 1
        assert hub.statistics().senders_waiting == 0
        lawful(subscription)

    asyncio.run(main())


def test_a_cancelled_sender_has_put_nothing_into_a_link() -> None:
    async def main() -> None:
        link: Link[int] = Link("numbers", 1)
        await send(link, 0)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await send(link, 1)
        assert await receive(link) == 0
        await send(link, 2)
        assert await receive(link) == 2
        assert link.statistics().sent == 2

    asyncio.run(main())


def test_a_timeout_of_a_reader_leaves_the_place_to_the_next() -> None:
    async def main() -> None:
        link: Link[int] = Link("numbers")
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(receive(link), 0.005)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.005):
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(receive(link))
                    await asyncio.sleep(0)
                    await asyncio.sleep(0)
                    with pytest.raises(trio.BusyResourceError):
                        await receive(link)

    asyncio.run(main())


def test_closing_wakes_who_waits() -> None:
    async def main() -> None:
        hub: Hub[int] = Hub("numbers")
        one, two, full = hub.subscribe(), hub.subscribe(), hub.subscribe(1, Overflow.BLOCK)
        link: Link[int] = Link("numbers", 1)
        other: Link[int] = Link("others", 1)
        hub.send(0)
        await receive(one)
        await receive(two)
        link.send_nowait(0)
        waiting = [
            asyncio.create_task(receive(one)),
            asyncio.create_task(receive(two)),
            asyncio.create_task(send(hub, 1)),
            asyncio.create_task(send(link, 1)),
            asyncio.create_task(receive(other)),
        ]
        for _ in range(5):
            await asyncio.sleep(0)
        threading.Thread(target=one.close).start()
        with pytest.raises(trio.ClosedResourceError):
            await waiting[0]
        hub.close()
        link.close()
        other.close()
        ended = await asyncio.gather(*waiting[1:], return_exceptions=True)
        assert [type(error) for error in ended] == [
            trio.EndOfChannel,
            trio.ClosedResourceError,
            trio.ClosedResourceError,
            trio.EndOfChannel,
        ]
        assert await receive(full) == 0
        assert [number async for number in messages(full)] == []
        with pytest.raises(trio.ClosedResourceError):
            await send(hub, 2)

    asyncio.run(main())


def test_types_are_checked() -> None:
    async def main() -> None:
        for overflow in (Overflow.BLOCK, Overflow.LATEST):
            hub = Hub("numbers", int)
            hub.subscribe(overflow=overflow)
            with pytest.raises(MessageTypeError):
                await send(cast(Hub[Any], hub), "one")

    asyncio.run(main())


def test_others_have_their_turn_beside_a_flood() -> None:
    async def main() -> None:
        hub: Hub[int] = Hub("numbers")
        subscription = hub.subscribe()
        for number in range(50):
            hub.send(number)
        turns = 0

        async def other() -> None:
            nonlocal turns
            while subscription.depth:
                turns += 1
                await asyncio.sleep(0)

        beside = asyncio.create_task(other())
        for number in range(50):
            assert await receive(subscription) == number
        await beside
        assert turns >= 40

    asyncio.run(main())


def test_a_loop_that_is_closed_while_a_task_waits_leaves_publishers_alone() -> None:
    hub: Hub[int] = Hub("numbers")
    subscription, full = hub.subscribe(), hub.subscribe(1, Overflow.BLOCK)
    link: Link[int] = Link("link", 1)
    hub.send(0)
    subscription.receive_nowait()
    loop = asyncio.new_event_loop()
    waiting = [
        loop.create_task(receive(subscription)),
        loop.create_task(send(hub, 1)),
        loop.create_task(receive(link)),
    ]
    loop.run_until_complete(asyncio.sleep(0.005))
    loop.close()
    assert full.receive_nowait() == 0  # lets the sender in, of which nobody is left
    assert hub.send(2) == 1
    link.send_nowait(1)
    subscription.close()
    hub.close()
    link.close()
    lawful(full)
    for task in waiting:
        task._log_destroy_pending = False  # type: ignore[attr-defined]
    del task, waiting
    gc.collect()


def test_a_task_that_a_tick_has_started_ends_with_the_tick() -> None:
    """Its fence is that of the tick: an abandoned tick publishes nothing, not even so."""
    hub: Hub[int] = Hub("numbers")
    full = hub.subscribe(1, Overflow.BLOCK)
    hub.send(0)
    link: Link[int] = Link("numbers", 1)
    link.send_nowait(0)
    outcomes: list[object] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        tasks: list[asyncio.Task[Any]] = []

        async def tick(node: Node) -> None:
            if not tasks:
                tasks.append(loop.create_task(send(hub, 1)))
                tasks.append(loop.create_task(send(link, 1)))

        scheduler = Scheduler(100).add(Node("a", tick=tick))
        await run_in_asyncio(scheduler.run, 0.05)
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([task], timeout=5)
            outcomes.append(type(task.exception()) if task.done() else None)
            task.cancel()

    asyncio.run(main())
    assert outcomes == [horus.TickAbandoned, horus.TickAbandoned]
    assert full.receive_nowait() == 0
    assert hub.statistics().sent == 1


@pytest.mark.parametrize("call", [receive, lambda got: send(got, 1)])
def test_what_is_no_topic_is_refused(call: Any) -> None:
    with pytest.raises(TypeError, match=r"\('wheels'\): expected a (Subscription|Hub) or a Link"):
        asyncio.run(call("wheels"))
