"""Topics, Trio code and background tasks, used from the asyncio code of an `AsyncioNode`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Any

import pytest
import trio

import horus_trio as horus
from horus_trio import AsyncNode, NodeState, Overflow, Sub, TickStatus
from horus_trio.bridges import AsyncioNode
from horus_trio.bridges.asyncio import receive
from horus_trio.helpers import RateLimiter
from horus_trio.testing import cancel_everywhere, check_node, open_harness


async def idle(node: AsyncioNode) -> None:
    pass


# What never waits


async def test_what_never_waits_is_as_in_every_node() -> None:
    async def tick(node: AsyncioNode) -> list[Any]:
        await asyncio.sleep(0)
        node.send("out", "hello")
        seen = [node.has_msg("in"), node.recv("in"), node.recv_all("in"), node.recv("in", "none")]
        return [*seen, node.latest("in"), node.has_msg("in")]

    async with open_harness(AsyncioNode("n", tick=tick, subs="in")) as h:
        for number in range(3):
            h.publish("in", number)
        [result] = await h.tick()
        assert result.value == [True, 0, [1, 2], "none", 2, False]
        assert h.sent("out") == ["hello"]


# Receiving


async def test_recv_async_waits_for_a_message_and_the_engine_knows_for_what() -> None:
    async def tick(node: AsyncioNode) -> Any:
        return await node.recv_async("in")

    async with open_harness(AsyncioNode("n", tick=tick, rate=10)) as h:
        await h.advance(0.1)
        assert h.state() is NodeState.WAITING_FOR_INPUT
        h.publish("in", "first")
        await h.settle()
        assert h.results[-1].value == "first"
        await h.advance(1)
        h.publish("in", None)
        await h.settle()
        assert h.results[-1].value is None
        assert h.results[-1].status is TickStatus.OK


async def test_messages_iterates() -> None:
    seen: list[int] = []

    class Node(AsyncioNode):
        async def read(self) -> None:
            async for number in self.messages("in"):
                seen.append(number)

        async def init(self) -> None:
            self.start_soon(self.read)

        async def tick(self) -> None:
            pass

    async with open_harness(Node(on="never", subs="in")) as h:
        for number in range(5):
            h.publish("in", number)
        await h.settle()
        h.publish("in", 5)
        await h.settle()
    assert seen == [0, 1, 2, 3, 4, 5]


async def test_a_receive_that_is_cancelled_at_any_moment_takes_nothing() -> None:
    """Whatever the order of arrival, time limit and loop: each message is seen exactly once."""
    seen: list[int] = []

    class Reader(AsyncioNode):
        async def read(self) -> None:
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.01):
                        seen.append(await self.recv_async("in"))

        async def init(self) -> None:
            self.start_soon(self.read)

        async def tick(self) -> None:
            pass

    class Writer(AsyncNode):
        number = 0

        async def tick_async(self) -> None:
            self.send("in", self.number)
            self.number += 1

    for seed in range(5):
        seen.clear()
        writer = Writer(rate=100, phase=0)
        async with open_harness(Reader(on="never", subs="in"), writer, seed=seed) as h:
            await h.advance(1)
            await h.settle()
            assert seen == list(range(writer.number))


async def test_several_tasks_share_a_subscription() -> None:
    seen: list[tuple[str, int]] = []

    class Node(AsyncioNode):
        async def read(self, name: str) -> None:
            while True:
                seen.append((name, await self.recv_async("in")))

        async def read_trio(self) -> None:
            await self.run_trio(self._read_in_trio)

        async def _read_in_trio(self) -> None:
            while True:
                seen.append(("trio", await self.recv_async("in")))

        async def init(self) -> None:
            self.start_soon(self.read, "a")
            self.start_soon(self.read, "b")
            self.start_soon(self.read_trio)

        async def tick(self) -> None:
            pass

    async with open_harness(Node(on="never", subs="in")) as h:
        for number in range(30):
            h.publish("in", number)
            if number % 3 == 0:
                await h.settle()
        await h.settle()
    assert sorted(number for _, number in seen) == list(range(30))
    assert ("trio", 0) in seen  # who waits for messages in Trio is handed them


async def test_a_topic_that_ends_or_is_left_wakes_who_waits() -> None:
    class Node(AsyncioNode):
        async def tick(self) -> str:
            try:
                await self.recv_async("in")
            except trio.EndOfChannel:
                return "ended"
            return "received"

    async with open_harness(Node(rate=1, phase=0, tick_timeout=None)) as h:
        await h.advance(0.5)
        h.topic("in").close()
        await h.settle()
        assert h.results[-1].value == "ended"


async def test_a_closed_subscription_wakes_who_waits() -> None:
    hub: horus.Hub[int] = horus.Hub("hub")
    subscription = hub.subscribe()

    async def tick(node: AsyncioNode) -> None:
        await receive(subscription)

    node = AsyncioNode("n", tick=tick, rate=1, phase=0, failure_policy=horus.Ignore())
    async with open_harness(node) as h:
        await h.advance(0.5)
        subscription.close()
        await h.settle()
        assert isinstance(h.results[-1].error, trio.ClosedResourceError)


async def test_messages_of_a_foreign_thread_wake_it() -> None:
    async def tick(node: AsyncioNode) -> Any:
        return await node.recv_async("in")

    scheduler = horus.Scheduler()
    scheduler.add(AsyncioNode("n", tick=tick, rate=1, phase=0, subs="in"))
    results: list[Any] = []
    received = trio.Event()

    def on_result(result: horus.AsyncResult) -> None:
        results.append(result.value)
        received.set()

    scheduler.on_result(on_result)
    async with trio.open_nursery() as nursery:
        await nursery.start(scheduler.run)
        await trio.to_thread.run_sync(scheduler.topic("in").send, "from a thread")
        with trio.fail_after(5):
            await received.wait()
        scheduler.stop()
    assert results[0] == "from a thread"


# Sending


async def test_send_async_waits_for_room() -> None:
    sent: list[int] = []

    class Writer(AsyncioNode):
        async def tick(self) -> None:
            for number in range(4):
                assert await self.send_async("out", number) == 1
                sent.append(number)

    class Reader(AsyncNode):
        async def tick_async(self) -> Any:
            return self.recv("out")

    reader = Reader(rate=1, phase=1, subs=Sub("out", capacity=2, overflow=Overflow.BLOCK))
    async with open_harness(Writer(rate=0.01, phase=0, tick_timeout=None), reader) as h:
        await h.advance(0.5)
        assert sent == [0, 1]
        await h.advance(1)
        assert sent == [0, 1, 2]
        await h.advance(3)
        assert sent == [0, 1, 2, 3]
        assert [r.value for r in h.results_of(reader)] == [0, 1, 2, 3]


async def test_a_send_async_that_is_cancelled_has_published_nothing() -> None:
    class Writer(AsyncioNode):
        async def tick(self) -> None:
            await self.send_async("out", 0)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await self.send_async("out", 1)

    reader = AsyncNode(
        "reader", tick=idle, rate=0.01, subs=Sub("out", capacity=1, overflow=Overflow.BLOCK)
    )
    writer = Writer(rate=0.01, phase=0)
    async with open_harness(writer, reader) as h:
        await h.advance(1)
        assert h.results_of(writer)[-1].status is TickStatus.OK
        assert h.sent("out") == [0]


async def test_in_a_thread_they_say_so() -> None:
    class Node(AsyncioNode):
        def init(self) -> None:
            with pytest.raises(horus.AsyncCallInThread):
                _ = self.recv_async("in")
            with pytest.raises(horus.AsyncCallInThread):
                _ = self.send_async("in", 1)
            with pytest.raises(horus.AsyncCallInThread):
                self.messages("in")

        async def tick(self) -> None:
            pass

    async with open_harness(Node()) as h:
        assert h.state() is NodeState.RUNNING


# Trio code


async def test_run_trio_awaits_what_is_trios() -> None:
    class Node(AsyncioNode):
        async def tick(self) -> list[float]:
            limiter = RateLimiter(rate=10, burst=1)
            instants = []
            for _ in range(3):
                await self.run_trio(limiter.acquire)
                instants.append(round(self.now, 6))
            await self.run_trio(trio.lowlevel.checkpoint)
            return [instant - instants[0] for instant in instants]

    async with open_harness(Node()) as h:
        [result] = await h.tick()
        assert result.value == pytest.approx([0, 0.1, 0.2])


async def test_run_trio_passes_errors_and_cancellation_on() -> None:
    ended: list[str] = []

    async def fail() -> None:
        raise OSError("of Trio's")

    async def forever() -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append("trio")

    class Node(AsyncioNode):
        async def tick(self) -> None:
            with pytest.raises(OSError, match="of Trio's"):
                await self.run_trio(fail)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await self.run_trio(forever)
            await self.run_trio(forever)

    async with open_harness(Node(tick_timeout=1.0, failure_policy=horus.Ignore())) as h:
        [result] = await h.tick()
        assert result.status is TickStatus.TIMED_OUT
        assert result.duration == 1.0
    assert ended == ["trio", "trio"]


async def test_a_cancellation_that_comes_with_the_value_is_not_lost() -> None:
    class Node(AsyncioNode):
        async def tick(self) -> str:
            event = trio.Event()
            task = asyncio.create_task(self.run_trio(event.wait))
            for _ in range(5):
                await asyncio.sleep(0)
            event.set()
            task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                return "cancelled"
            return "lost"

    async with open_harness(Node()) as h:
        [result] = await h.tick()
        assert result.value == "cancelled"


# Background tasks


async def test_start_soon_runs_asyncio_code_between_ticks_and_ends_it_with_the_node() -> None:
    ended: list[str] = []

    class Node(AsyncioNode):
        async def keep_alive(self, seconds: float) -> None:
            try:
                while True:
                    self.send("alive", self.now)
                    await asyncio.sleep(seconds)
            finally:
                ended.append("keep-alive")

        async def init(self) -> None:
            self.start_soon(self.keep_alive, 0.1)

        async def tick(self) -> None:
            pass

        async def shutdown(self) -> None:
            ended.append("shutdown")

    async with open_harness(Node(rate=1)) as h:
        await h.advance(9.95)
        assert len(h.sent("alive")) == 100
    assert ended == ["keep-alive", "shutdown"]


async def test_start_soon_takes_functions_only() -> None:
    async def tick(node: AsyncioNode) -> None:
        coroutine = asyncio.sleep(1)
        try:
            node.start_soon(coroutine)  # type: ignore[arg-type]
        finally:
            coroutine.close()

    async with open_harness(AsyncioNode("n", tick=tick, failure_policy=horus.Ignore())) as h:
        [result] = await h.tick()
        assert isinstance(result.error, horus.NodeError)
        assert "expected an async function and its arguments" in str(result.error)


# Contracts


@contextlib.asynccontextmanager
async def running_node() -> AsyncGenerator[AsyncioNode, None]:
    """One that runs, to call its asyncio code from Trio; three messages wait for it."""
    node = AsyncioNode("n", tick=idle, subs="in")
    async with horus.open_executor() as executor:
        await executor.spawn_node(node)
        for number in range(3):
            executor.topics.hub("in").send(number)
        yield node


async def receive_twice(node: AsyncioNode) -> Any:
    received = node.__dict__.setdefault("received", [])

    async def read() -> None:
        while len(received) < 2:
            received.append(await node.recv_async("in"))

    await node._run_asyncio_task(read)
    return list(received)


async def wait_and_receive(node: AsyncioNode) -> Any:
    received = node.__dict__.setdefault("received", [])
    node.recv_all("in")

    async def send() -> None:
        await asyncio.sleep(0.01)
        if not received:
            node.send("in", "late")

    async def read() -> None:
        if not received:
            received.append(await node.recv_async("in"))

    async def both() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(read())
            group.create_task(send())

    await node._run_asyncio_task(both)
    return list(received)


async def call_trio(node: AsyncioNode) -> Any:
    async def call() -> None:
        await node.run_trio(trio.sleep, 0.01)
        await node.send_async("out", 1)

    await node._run_asyncio_task(call)


@pytest.mark.parametrize("use", [receive_twice, wait_and_receive, call_trio])
async def test_cancelled_anywhere_nothing_is_lost_and_nothing_is_left(use: Any) -> None:
    sweep = await cancel_everywhere(running_node, use)
    assert sweep.attempts >= 1


async def test_a_task_that_receives_is_cancelled_in_each_turn_of_the_loop() -> None:
    class Node(AsyncioNode):
        async def read(self, seen: list[int]) -> None:
            while True:
                seen.append(await self.recv_async("in"))

        async def tick(self) -> None:
            for turns in range(12):
                seen: list[int] = []
                task = asyncio.create_task(self.read(seen))
                for turn in range(turns):
                    if turn % 3 == 0:
                        self.send("in", turn)
                    await asyncio.sleep(0)
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
                assert seen + self.recv_all("in") == list(range(0, turns, 3))

    async with open_harness(Node(subs="in")) as h:
        [result] = await h.tick()
        assert result.status is TickStatus.OK, result.error


async def test_an_asyncio_node_keeps_the_contract_of_nodes() -> None:
    class Reader(AsyncioNode):
        async def init(self) -> None:
            self.queue: asyncio.Queue[int] = asyncio.Queue()
            self.start_soon(self.fill)

        async def fill(self) -> None:
            for number in range(1_000_000):
                await asyncio.sleep(0.01)
                self.queue.put_nowait(number)

        async def tick(self) -> None:
            self.send("out", await self.queue.get())

        async def shutdown(self) -> None:
            await asyncio.sleep(0.01)

    await check_node(Reader)
