"""`AsyncioNode`: its hooks are asyncio code, on a loop that is there for as long as the node is."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import contextvars
import gc
import logging
import threading
import time
import weakref
from collections.abc import AsyncGenerator
from typing import Any

import pytest
import trio
from trio.testing import MockClock

import horus_trio as horus
from horus_trio import AsyncNode, NodeError, NodeState, Restart, TickStatus
from horus_trio.bridges import AsyncioNode
from horus_trio.node import find_hooks
from horus_trio.testing import open_harness

LASTING = Restart(within=None, backoff=0.1, jitter=0.0)


class Recording(AsyncioNode):
    """Writes down what its hooks are called for, and on which loop."""

    def __init__(self, name: str = "recording", **options: Any) -> None:
        super().__init__(name, **options)
        self.calls: list[str] = []
        self.loops: list[asyncio.AbstractEventLoop] = []

    def note(self, what: str) -> None:
        self.calls.append(what)
        self.loops.append(asyncio.get_running_loop())

    async def init(self) -> None:
        await asyncio.sleep(1)
        self.note("init")

    async def tick(self) -> str:
        await asyncio.sleep(0.5)
        self.note("tick")
        return "done"

    async def shutdown(self) -> None:
        await asyncio.sleep(1)
        self.note("shutdown")


# Hooks and the loop


async def test_all_hooks_are_asyncio_code_on_one_loop_and_on_virtual_time() -> None:
    node = Recording()
    async with open_harness(node) as h:
        begun = h.now
        [result] = await h.tick()
        assert h.now == begun + 0.5
        assert (result.status, result.value, result.duration) == (TickStatus.OK, "done", 0.5)
        loop = node.loops[0]
        assert loop.is_running()
        assert not loop.is_closed()
        await h.stop()
    assert node.calls == ["init", "tick", "shutdown"]
    assert set(node.loops) == {loop}
    assert loop.is_closed()


async def test_an_hours_sleep_takes_no_real_time(autojump_clock: MockClock) -> None:
    async def tick(node: AsyncioNode) -> float:
        before = asyncio.get_running_loop().time()
        assert before == trio.current_time()
        await asyncio.sleep(3600)
        return asyncio.get_running_loop().time() - before

    async with open_harness(AsyncioNode("slow", tick=tick)) as h:
        [result] = await h.tick(within=4000)
    assert result.value == 3600


async def test_functions_serve_as_hooks() -> None:
    calls: list[str] = []

    async def init(node: AsyncioNode) -> None:
        await asyncio.sleep(0)
        calls.append(f"init of {node.name}")

    async def tick(node: AsyncioNode) -> None:
        await asyncio.sleep(0)
        calls.append("tick")

    async def shutdown(node: AsyncioNode) -> None:
        await asyncio.sleep(0)
        calls.append("shutdown")

    node = AsyncioNode("fn", tick=tick, init=init, shutdown=shutdown, rate=10)
    assert repr(node) == "<AsyncioNode 'fn'>"
    async with open_harness(node) as h:
        await h.advance(0.3)
    assert calls == ["init of fn", "tick", "tick", "tick", "shutdown"]


async def test_tick_async_on_error_and_enter_safe_state_are_asyncio_code_too() -> None:
    class Node(AsyncioNode):
        def __init__(self) -> None:
            super().__init__(critical=True, failure_policy=horus.Ignore())
            self.calls: list[str] = []

        async def tick_async(self) -> None:
            await asyncio.sleep(0)
            raise ValueError("no luck")

        async def on_error(self, error: BaseException) -> None:
            await asyncio.sleep(0)
            self.calls.append(repr(error))

        async def enter_safe_state(self) -> None:
            await asyncio.sleep(0.01)
            self.calls.append("safe")

    node = Node()
    async with open_harness(node) as h:
        await h.tick()
        assert node.calls == ["ValueError('no luck')"]
        h.scheduler.emergency_stop("test")
        await h.advance(0.1)
        assert node.calls[-1] == "safe"


async def test_def_hooks_run_in_a_thread() -> None:
    class Node(AsyncioNode):
        def init(self) -> None:
            self.init_thread = threading.get_ident()

        async def tick(self) -> int:
            await asyncio.sleep(0)
            return threading.get_ident()

    node = Node()
    async with open_harness(node) as h:
        [result] = await h.tick()
    assert result.value == threading.get_ident() != node.init_thread


async def test_two_nodes_have_two_loops_beside_a_trio_node() -> None:
    async def trio_tick(node: AsyncNode) -> None:
        await trio.sleep(0.25)

    first, second = Recording("first"), Recording("second")
    async with open_harness(first, second, AsyncNode("third", tick=trio_tick)) as h:
        results = await h.tick()
    assert [r.status for r in results] == [TickStatus.OK] * 3
    assert first.loops[0] is not second.loops[0]


@pytest.mark.parametrize("fresh", [False, True])
async def test_a_restart_opens_a_new_loop(fresh: bool) -> None:
    made: list[Recording] = []

    def make() -> Recording:
        made.append(Recording())
        return made[-1]

    async with open_harness(make if fresh else make(), failure_policy=LASTING) as h:
        h.fail("tick", OSError("injected"), at=2)
        await h.tick()
        await h.tick()
        await h.advance_until(lambda: h.state() is NodeState.RUNNING)
        [result] = await h.tick()
        assert result.status is TickStatus.OK
        assert h.node_statistics().restarts == 1
    assert len(made) == (2 if fresh else 1)
    loops = [loop for node in made for loop in node.loops]
    assert len(set(loops)) == 2
    assert all(loop.is_closed() for loop in loops)
    calls = [call for node in made for call in node.calls]
    assert calls == ["init", "tick", "shutdown", "init", "tick", "shutdown"]


async def test_one_node_in_one_run_after_the_other(autojump_clock: MockClock) -> None:
    node = Recording()
    scheduler = horus.Scheduler().add(node, rate=1)
    for _ in range(2):
        report = await scheduler.run(1.9)
        assert report.statistics.nodes["recording"].ok == 2, report
    assert len(set(node.loops)) == 2


async def test_an_init_that_fails_leaves_no_loop_open() -> None:
    loops: list[asyncio.AbstractEventLoop] = []

    class Node(Recording):
        async def init(self) -> None:
            loops.append(asyncio.get_running_loop())
            self.kept = asyncio.create_task(asyncio.sleep(1000))
            await asyncio.sleep(0.1)
            raise OSError("no camera")

    async def other(node: AsyncNode) -> None:
        pass

    node = Node(failure_policy=Restart(max_restarts=1, backoff=0.1))
    async with open_harness(node, AsyncNode("other", tick=other)) as h:
        await h.advance_until(lambda: h.state(node) is NodeState.FAILED)
    assert len(set(loops)) == 2
    assert all(loop.is_closed() for loop in loops)
    assert node.kept.cancelled()
    assert node.calls == []


async def test_its_shutdown_begins_however_little_time_it_has() -> None:
    calls: list[str] = []

    class Node(AsyncioNode):
        async def tick(self) -> None:
            calls.append("tick")

        async def shutdown(self) -> None:
            calls.append("shutdown")
            await asyncio.sleep(1)
            calls.append("shutdown ended")

    async with open_harness(Node()) as h:
        hooks = find_hooks(h.node())
        for hook in (hooks.tick, hooks.shutdown):
            assert hook is not None
            with trio.CancelScope() as scope:
                scope.cancel()
                await hook.call()
            assert scope.cancelled_caught
        # What need not be done is not begun.
        assert calls == ["shutdown"]
    assert calls == ["shutdown", "shutdown", "shutdown ended"]


async def test_removed_while_it_ticks_it_has_its_grace_and_its_shutdown() -> None:
    async def hang(node: AsyncioNode) -> None:
        await asyncio.sleep(1000)

    ended: list[str] = []

    async def shutdown(node: AsyncioNode) -> None:
        await asyncio.sleep(0.1)
        ended.append("shutdown")

    node = AsyncioNode("hanging", tick=hang, shutdown=shutdown, rate=10)
    async with open_harness(node, AsyncioNode("other", tick=hang, rate=1)) as h:
        await h.advance(1)
        h.scheduler.remove("hanging")
        await h.advance(2)
        assert ended == ["shutdown"]
        assert "hanging" not in h.states
        assert h.results[-1].status is TickStatus.CANCELLED


async def test_the_context_of_hooks_holds_in_asyncio_tasks(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="outside")

    class Node(AsyncioNode):
        async def say(self) -> str:
            await asyncio.sleep(0)
            self.log.info("in a task")
            return variable.get()

        async def tick(self) -> str:
            variable.set("inside")
            return await asyncio.create_task(self.say())

    async with open_harness(Node("talker")) as h:
        [result] = await h.tick()
    assert result.value == "inside"
    [record] = [r for r in caplog.records if r.getMessage() == "in a task"]
    assert vars(record)["node"] == "talker"
    assert vars(record)["tick"] == 1


async def test_faults_of_the_harness_strike() -> None:
    node = Recording(tick_timeout=2.0, failure_policy=horus.Ignore())
    async with open_harness(node) as h:
        h.delay("tick", 1.0, at=1)
        h.hang("tick", at=2)
        h.fail("tick", OSError("injected"), at=3)
        results = await h.tick(4)
    assert [r.status.name for r in results] == ["OK", "TIMED_OUT", "ERROR", "OK"]
    assert results[0].duration == 1.5


async def test_without_a_run_there_is_no_loop() -> None:
    async def tick(node: AsyncioNode) -> None:
        await asyncio.sleep(0)

    node = AsyncioNode("alone", tick=tick)
    with pytest.raises(horus.NotRunning):
        node.start_soon(asyncio.sleep, 1)
    hook = find_hooks(node).tick
    with pytest.raises(horus.NotRunning):
        await hook.call()
    node.connect(horus.Topics())
    with pytest.raises(NodeError, match="no asyncio loop here"):
        await hook.call()
    node.disconnect()
    await node.run_trio(trio.sleep, 0)  # where there is Trio it just awaits


async def test_virtual_time_waits_for_threads() -> None:
    class Node(AsyncioNode):
        async def tick(self) -> float:
            begun = self.now
            await asyncio.to_thread(time.sleep, 0.02)
            with concurrent.futures.ThreadPoolExecutor(1) as pool:
                await asyncio.get_running_loop().run_in_executor(pool, time.sleep, 0.02)
            await asyncio.sleep(1)
            return self.now - begun

    async with open_harness(Node(rate=10)) as h:
        [result] = await h.tick()
        assert result.value == 1


# Cancelling


async def test_a_time_limit_cancels_the_asyncio_code_at_its_await() -> None:
    unwound: list[str] = []

    class Node(AsyncioNode):
        async def tick(self) -> None:
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                unwound.append("cancelled")
                raise
            finally:
                await asyncio.sleep(0.1)
                self.send("motor", "stop")
                unwound.append("finally")

    async with open_harness(Node(tick_timeout=0.5, failure_policy=horus.Ignore())) as h:
        [result] = await h.tick()
        assert result.status is TickStatus.TIMED_OUT
        assert result.duration == pytest.approx(0.6)
        assert unwound == ["cancelled", "finally"]
        assert h.sent("motor") == ["stop"]


async def test_code_that_swallows_a_cancellation_is_cancelled_again() -> None:
    class Node(AsyncioNode):
        async def tick(self) -> None:
            for _ in range(3):
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.sleep(1000)
            await asyncio.sleep(1000)

    async with open_harness(Node(tick_timeout=1.0, failure_policy=horus.Ignore())) as h:
        [result] = await h.tick()
        assert result.status is TickStatus.TIMED_OUT
        assert result.duration == pytest.approx(1.0 + 3 * 0.5)


async def test_a_tick_that_returns_although_it_was_cancelled_keeps_its_result() -> None:
    async def tick(node: AsyncioNode) -> str:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(1000)
        return "late"

    node = AsyncioNode("n", tick=tick, tick_timeout=1.0, failure_policy=horus.Ignore())
    async with open_harness(node) as h:
        results = await h.tick(2)
    assert [(r.status, r.value) for r in results] == [(TickStatus.OK, "late")] * 2


async def test_what_a_cancelled_tick_leaves_behind_can_publish_no_more() -> None:
    refused: list[BaseException] = []

    class Node(AsyncioNode):
        async def left_behind(self) -> None:
            await asyncio.sleep(5)
            try:
                self.send("motor", "go")
            except horus.TickAbandoned as error:
                refused.append(error)

        async def tick(self) -> None:
            self.task = asyncio.create_task(self.left_behind())
            await asyncio.sleep(1000)

    async with open_harness(Node(tick_timeout=1.0, failure_policy=horus.Ignore())) as h:
        await h.tick()
        h.scheduler.pause("Node-1")
        await h.advance(10)
        assert h.sent("motor") == []
    assert len(refused) == 1


async def test_what_init_has_begun_publishes_on_after_a_tick_was_cancelled() -> None:
    class Node(AsyncioNode):
        async def publish(self) -> None:
            while True:
                self.send("pose", self.now)
                await asyncio.sleep(1)

        async def init(self) -> None:
            self.task = asyncio.create_task(self.publish())

        async def tick(self) -> None:
            await asyncio.sleep(1000)

    node = Node(rate=1, tick_timeout=0.5, failure_policy=horus.Ignore())
    async with open_harness(node) as h:
        await h.advance(10)
        assert h.node_statistics().timed_out >= 9
        assert len(h.sent("pose")) >= 10


async def test_a_cancellation_that_is_not_the_engines_is_the_nodes_error() -> None:
    async def tick(node: AsyncioNode) -> None:
        task = asyncio.create_task(asyncio.sleep(1000))
        await asyncio.sleep(0)
        task.cancel()
        await task

    node = AsyncioNode("n", tick=tick, failure_policy=horus.Ignore())
    async with open_harness(node) as h:
        results = await h.tick(2)
    for result in results:
        assert result.status is TickStatus.ERROR
        assert isinstance(result.error, NodeError)
        assert "CancelledError and nobody had cancelled it" in str(result.error)


async def test_a_stop_cancels_a_tick_and_what_is_left_over(autojump_clock: MockClock) -> None:
    ended: list[str] = []

    class Node(AsyncioNode):
        async def forever(self, name: str) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0.1)
                ended.append(name)

        async def init(self) -> None:
            self.start_soon(self.forever, "start_soon")
            self.task = asyncio.create_task(self.forever("task"))

        async def tick(self) -> None:
            await self.forever("tick")

        async def shutdown(self) -> None:
            assert not self.task.done()
            ended.append("shutdown")

    report = await horus.Scheduler().add(Node(), rate=10).run(3)
    assert ended == ["tick", "start_soon", "shutdown", "task"]
    assert report.statistics.nodes["Node-1"].cancelled == 1


async def test_left_over_generators_are_finalised_and_tasks_begun_at_the_end_cancelled() -> None:
    ended: list[str] = []

    async def numbers() -> AsyncGenerator[int, None]:
        try:
            for number in range(10):
                yield number
                await asyncio.sleep(0)
        finally:
            await asyncio.sleep(0.01)
            ended.append("generator")

    async def last() -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            ended.append("last")

    async def begins_another() -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            kept.append(asyncio.create_task(last()))
            await asyncio.sleep(0)

    kept: list[Any] = []

    async def tick(node: AsyncioNode) -> None:
        generator = numbers()
        kept.append(generator)
        await anext(generator)
        kept.append(asyncio.create_task(begins_another()))
        await asyncio.sleep(0)

    async with open_harness(AsyncioNode("n", tick=tick)) as h:
        await h.tick()
    assert sorted(ended) == ["generator", "last"]


async def test_a_task_that_does_not_end_is_left_behind_at_the_stop() -> None:
    class Node(AsyncioNode):
        async def stubborn(self) -> None:
            while True:
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.sleep(1000)

        async def init(self) -> None:
            self.task = asyncio.create_task(self.stubborn(), name="stubborn")

        async def tick(self) -> None:
            pass

    node = Node(shutdown_timeout=1.0)
    async with open_harness(node) as h:
        await h.tick()
        report = await h.stop()
    assert any("asyncio tasks 'stubborn'" in error for error in report.hook_errors), report
    del node.task
    gc.collect()


async def test_nothing_keeps_the_node_or_its_loop() -> None:
    async def one() -> tuple[weakref.ref[Any], weakref.ref[Any]]:
        node = Recording()
        async with open_harness(node) as h:
            await h.tick()
            loop = weakref.ref(node.loops[0])
        return weakref.ref(node), loop

    node, loop = await one()
    gc.collect()
    assert node() is None
    assert loop() is None
