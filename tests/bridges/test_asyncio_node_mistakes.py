"""Code of the wrong kind in nodes: each is that node's error, and says what to write instead."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, cast

import pytest
import trio
from trio.testing import MockClock

import horus_trio as horus
from horus_trio import AsyncNode, ConfigurationError, Node, NodeError, TickStatus
from horus_trio.bridges import AsyncioNode
from horus_trio.testing import open_harness


async def sleep_in_trio() -> None:
    await trio.sleep(0.1)


async def checkpoint() -> None:
    await trio.lowlevel.checkpoint()


async def wait_for_an_event() -> None:
    await trio.Event().wait()


async def wait_in_a_channel() -> None:
    _, receive = trio.open_memory_channel[int](0)
    await receive.receive()


async def trios_time_limit() -> None:
    with trio.move_on_after(0.1):
        await asyncio.sleep(1)


async def trios_nursery() -> None:
    async with trio.open_nursery():
        await asyncio.sleep(1)


async def subscribe() -> None:
    hub: horus.Hub[int] = horus.Hub("hub")
    await hub.subscribe().receive()


async def in_a_task() -> None:
    await asyncio.create_task(sleep_in_trio())


async def in_a_task_of_a_group() -> None:
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(sleep_in_trio())
            group.create_task(asyncio.sleep(1000))
    except* NodeError as errors:
        raise errors.exceptions[0] from None


TRIO_CODE = [
    sleep_in_trio,
    checkpoint,
    wait_for_an_event,
    wait_in_a_channel,
    trios_time_limit,
    trios_nursery,
    subscribe,
    in_a_task,
    in_a_task_of_a_group,
]


@pytest.mark.parametrize("code", TRIO_CODE, ids=lambda code: code.__name__)
async def test_trio_code_in_asyncio_code_is_refused_and_does_no_harm(code: Any) -> None:
    class Keeping(AsyncioNode):
        """Its loop goes on, and so does what runs on it."""

        kept = 0

        async def keep_alive(self) -> None:
            while True:
                await asyncio.sleep(0.1)
                self.kept += 1

        async def init(self) -> None:
            self.start_soon(self.keep_alive)

        async def tick(self) -> None:
            await code()

    node = Keeping(rate=10, failure_policy=horus.Ignore())
    async with open_harness(node) as h:
        await h.advance(2.05)
        assert node.kept == 20
        assert h.node_statistics().errors >= 20
        error = h.results[-1].error
        while isinstance(error, ExceptionGroup):  # of Trio's nursery
            error = error.exceptions[0]
        assert isinstance(error, NodeError)
        assert "of Trio's" in str(error) or "Trio code was awaited" in str(error)
        for remedy in ("asyncio.timeout", "asyncio.TaskGroup", "AsyncNode"):
            assert remedy in str(error)


async def test_a_call_in_a_thread_of_trios_is_refused_before_it_begins(
    autojump_clock: MockClock,
) -> None:
    called: list[int] = []

    async def tick(node: AsyncioNode) -> None:
        await trio.to_thread.run_sync(called.append, 1)

    node = AsyncioNode("n", tick=tick, failure_policy=horus.Ignore())
    report = await horus.Scheduler().add(node, rate=1).run(2)
    assert report.statistics.nodes["n"].errors == 2
    assert "Trio code was awaited" in (report.statistics.nodes["n"].last_error or "")
    assert called == []


async def test_code_that_insists_on_trio_code_does_not_block_the_loop() -> None:
    async def tick(node: AsyncioNode) -> None:
        while True:
            with contextlib.suppress(NodeError):
                await trio.sleep(0.1)

    node = AsyncioNode("n", tick=tick, tick_timeout=0.5, failure_policy=horus.Ignore())
    scheduler = horus.Scheduler().add(node, rate=1)
    report = await scheduler.run(0.2)
    assert report.statistics.nodes["n"].cancelled + report.statistics.nodes["n"].timed_out == 1


async def test_asyncio_code_in_trio_nodes_says_what_it_belongs_in() -> None:
    async def sleep(node: AsyncNode) -> None:
        await asyncio.sleep(1)

    async def wait(node: AsyncNode) -> None:
        await asyncio.Event().wait()

    async def create(node: AsyncNode) -> None:
        coroutine = asyncio.sleep(1)
        try:
            await asyncio.create_task(coroutine)
        finally:
            coroutine.close()

    async def yield_(node: AsyncNode) -> None:
        await asyncio.sleep(0)

    nodes = [
        AsyncNode(tick.__name__, tick=tick, failure_policy=horus.Ignore())
        for tick in (sleep, wait, create, yield_)
    ]
    async with open_harness(*nodes) as h:
        for result in await h.tick():
            assert result.status is TickStatus.ERROR
            notes = getattr(result.error, "__notes__", [])
            assert any("AsyncioNode" in note for note in notes), (result.node, result.error)


def plain(node: Any) -> None:
    pass


class PlainTick(AsyncioNode):
    def tick(self) -> None:
        pass


class NoTick(AsyncioNode):
    pass


class Both(AsyncioNode):
    async def tick(self) -> None:
        pass

    async def tick_async(self) -> None:
        pass


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (PlainTick, "make it `async def tick`, or derive from horus_trio.Node"),
        (lambda: AsyncioNode("n", tick=plain), "make it `async def tick`"),
        (NoTick, "has no tick"),
        (Both, "both tick and tick_async"),
        (lambda: AsyncioNode("n", tick=cast("Any", 3)), "expected a function"),
    ],
)
def test_a_node_without_an_async_tick_is_refused(make: Any, text: str) -> None:
    with pytest.raises(NodeError, match=text):
        horus.Scheduler().add(make())


def test_in_a_process_it_is_refused() -> None:
    class Ticks(AsyncioNode):
        async def tick(self) -> None:
            pass

    with pytest.raises((ConfigurationError, NodeError), match="process"):
        horus.run(Ticks(thread="process"), duration=0.1)


async def run_in_the_tick(node: AsyncioNode) -> None:
    coroutine = asyncio.sleep(1)
    try:
        asyncio.run(coroutine)
    finally:
        coroutine.close()


async def stop_the_loop(node: AsyncioNode) -> None:
    asyncio.get_running_loop().stop()


async def close_the_loop(node: AsyncioNode) -> None:
    asyncio.get_running_loop().close()


async def run_the_loop(node: AsyncioNode) -> None:
    asyncio.get_running_loop().run_forever()


@pytest.mark.parametrize("tick", [run_in_the_tick, stop_the_loop, close_the_loop, run_the_loop])
async def test_asyncio_run_and_ending_the_loop_are_refused(tick: Any) -> None:
    async with open_harness(AsyncioNode("n", tick=tick, failure_policy=horus.Ignore())) as h:
        results = await h.tick(2)
        assert all(isinstance(result.error, RuntimeError) for result in results)


async def test_asyncio_run_in_a_def_hook_has_a_loop_of_its_own() -> None:
    async def which() -> asyncio.AbstractEventLoop:
        await asyncio.sleep(0)
        return asyncio.get_running_loop()

    class Runs(AsyncioNode):
        def init(self) -> None:
            self.loop = asyncio.run(which())

        async def tick(self) -> asyncio.AbstractEventLoop:
            return await which()

    node = Runs()
    async with open_harness(node) as h:
        [result] = await h.tick()
        assert result.value is not node.loop
        assert type(node.loop).__module__.startswith("asyncio")


async def test_a_factory_makes_one_kind_of_nodes() -> None:
    async def fail(node: AsyncNode) -> None:
        raise OSError

    async def tick(node: AsyncioNode) -> None:
        await asyncio.sleep(0)

    made: list[Node] = []

    def make() -> Node:
        made.append(AsyncioNode("n", tick=tick) if made else AsyncNode("n", tick=fail))
        return made[-1]

    policy = horus.Restart(within=None, backoff=0.1)
    async with open_harness(make, failure_policy=policy, tick_rate=10) as h:
        await h.advance(1)
        error = h.results[-1].error
        assert isinstance(error, NodeError)
        assert "let one factory make one kind of nodes" in str(error)
