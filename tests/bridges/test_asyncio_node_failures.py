"""What fails in the background of an `AsyncioNode` is that node's failure, and no other's."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
import trio
from trio.testing import MockClock

import horus_trio as horus
from horus_trio import AsyncNode, NodeState, Restart, TickStatus
from horus_trio.bridges import AsyncioNode
from horus_trio.testing import Harness, open_harness

LASTING = Restart(within=None, backoff=0.1, jitter=0.0)


class Boom(Exception):
    """Nothing else raises it."""


async def boom(after: float = 0.0) -> None:
    await asyncio.sleep(after)
    raise Boom


async def group_of_two() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(boom(0.1))
        group.create_task(asyncio.sleep(10))


class Told(AsyncioNode):
    """Knows what it has been told."""

    def __init__(self, name: str | None = None, **options: Any) -> None:
        options.setdefault("failure_policy", LASTING)
        super().__init__(name, **options)
        self.told: list[BaseException] = []
        self.kept: Any = None

    async def tick(self) -> Any:
        pass

    async def on_error(self, error: BaseException) -> None:
        self.told.append(error)


def restarts(h: Harness) -> int:
    return h.node_statistics().restarts


@pytest.fixture(autouse=True)
def nothing_is_printed(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Any:
    yield
    assert capfd.readouterr().err == ""
    assert [r for r in caplog.records if r.name.startswith(("asyncio", "trio_asyncio"))] == []


# At once


async def test_what_start_soon_has_started_fails_the_node_at_once() -> None:
    error = Boom("the very object")

    class Node(Told):
        async def fail(self, after: float) -> None:
            await asyncio.sleep(after)
            raise error

        async def init(self) -> None:
            if not self.told:
                self.start_soon(self.fail, 1.0)

    node = Node(rate=0.1)
    async with open_harness(node) as h:
        await h.advance(1.2)
        assert node.told == [error]
        assert restarts(h) == 1


async def test_an_exception_in_a_callback_fails_the_node_at_once() -> None:
    error = Boom("the very object")

    class Node(Told):
        def callback(self) -> None:
            raise error

        async def init(self) -> None:
            if not self.told:
                asyncio.get_running_loop().call_later(1.0, self.callback)

    node = Node(rate=0.1)
    async with open_harness(node) as h:
        await h.advance(1.2)
        assert node.told == [error]
        assert node.told[0] is error


async def test_it_is_that_nodes_failure_only_and_the_loop_is_opened_anew() -> None:
    class Node(Told):
        async def init(self) -> None:
            self.loops = getattr(self, "loops", [])
            self.loops.append(asyncio.get_running_loop())
            if len(self.loops) == 1:
                self.start_soon(boom, 1.0)

        async def shutdown(self) -> None:
            await asyncio.sleep(0.01)  # its loop is there until then
            assert asyncio.get_running_loop() is self.loops[-1]

    node, sibling = Node("failing", rate=10), Told("sibling", rate=10)
    async with open_harness(node, sibling) as h:
        await h.advance(3)
        assert h.node_statistics(node).restarts == 1
        assert h.node_statistics(node).failures == 1
        assert h.node_statistics(sibling).ok == 30
        assert sibling.told == []
    assert len(set(node.loops)) == 2


async def test_at_a_final_failure_run_raises_the_original_exception() -> None:
    error = Boom("the very object")

    async def fail() -> None:
        await asyncio.sleep(0)
        raise error

    class Starts(Told):
        async def init(self) -> None:
            self.start_soon(fail)

    with pytest.raises(horus.RunFailed) as info:
        await horus.Scheduler().add(Starts(failure_policy=horus.Fatal())).run(1)
    [raised] = info.value.exceptions
    assert raised is error
    assert "a background task" in raised.__notes__[0]


@pytest.mark.parametrize("exit_type", [SystemExit, KeyboardInterrupt])
async def test_exits_are_failures_and_interrupts_stop_the_run(
    exit_type: type[BaseException], autojump_clock: MockClock
) -> None:
    async def leave() -> None:
        raise exit_type

    class Node(Told):
        async def init(self) -> None:
            self.kept = asyncio.create_task(leave())

    scheduler = horus.Scheduler().add(Node(failure_policy=horus.Fatal()))
    if exit_type is SystemExit:
        with pytest.raises(horus.RunFailed) as info:
            await scheduler.run(3)
        assert isinstance(info.value.exceptions[0].__cause__, SystemExit)
    else:
        report = await scheduler.run(3)
        assert "KeyboardInterrupt in node" in report.reason


@pytest.mark.parametrize("exit_type", [SystemExit, KeyboardInterrupt])
async def test_exits_in_hooks_are_as_in_other_nodes(
    exit_type: type[BaseException], autojump_clock: MockClock
) -> None:
    async def tick(node: AsyncioNode) -> None:
        await asyncio.sleep(0)
        raise exit_type

    node = AsyncioNode("n", tick=tick, failure_policy=LASTING, rate=10)
    report = await horus.Scheduler().add(node).run(3)
    if exit_type is SystemExit:
        assert report.statistics.nodes["n"].restarts > 0
    else:
        assert "KeyboardInterrupt in node" in report.reason


async def test_a_callback_that_exits_ends_the_loop_and_nobody_waits_for_it() -> None:
    def leave() -> None:
        raise SystemExit

    class Node(Told):
        ticks = 0

        async def tick(self) -> None:
            self.ticks += 1
            if self.ticks == 1:
                asyncio.get_running_loop().call_later(0.5, leave)
                await asyncio.sleep(1000)

    node = Node(rate=1)
    async with open_harness(node, shutdown_timeout=1.0) as h:
        await h.advance(10)
        assert restarts(h) == 1
        assert h.state() is NodeState.RUNNING
        assert h.results[-1].status is TickStatus.OK


# Tasks that somebody keeps


async def test_a_kept_task_that_nobody_looks_at_fails_the_node_after_the_next_tick() -> None:
    class Node(Told):
        async def init(self) -> None:
            if not self.told:
                self.kept = asyncio.create_task(boom(0.55))

    node = Node(rate=10, phase=0)
    async with open_harness(node) as h:
        await h.advance(0.58)
        assert h.state() is NodeState.RUNNING
        assert node.told == []
        await h.advance(0.03)
        assert [type(error) for error in node.told] == [Boom]
        assert node.kept.done()


async def test_a_node_that_does_not_tick_has_failed_after_a_second() -> None:
    class Node(Told):
        async def init(self) -> None:
            if not self.told:
                self.kept = asyncio.create_task(boom(1.0))

    node = Node(on="never")
    async with open_harness(node) as h:
        await h.advance(1.9)
        assert node.told == []
        await h.advance(0.2)
        assert [type(error) for error in node.told] == [Boom]


async def test_a_long_tick_may_look_at_what_it_has_created_as_long_as_it_runs() -> None:
    class Node(Told):
        async def tick(self) -> None:
            task = asyncio.create_task(boom())
            await asyncio.sleep(100)
            with pytest.raises(Boom):
                await task

    node = Node(rate=10)
    async with open_harness(node) as h:
        await h.advance(100.5)
        assert node.told == []
        assert h.node_statistics().ok == 1


async def test_a_long_tick_does_not_hide_what_was_created_before() -> None:
    class Node(Told):
        async def init(self) -> None:
            if not self.told:
                self.kept = asyncio.create_task(boom(1.0))

        async def tick(self) -> None:
            await asyncio.sleep(1000)

    node = Node(rate=10)
    async with open_harness(node) as h:
        await h.advance(2.2)
        assert [type(error) for error in node.told] == [Boom]


async def test_a_slow_node_has_two_periods() -> None:
    class Node(Told):
        async def init(self) -> None:
            self.kept = asyncio.create_task(boom(0.5))

        async def tick(self) -> None:
            await asyncio.sleep(1)
            with pytest.raises(Boom):
                await self.kept

    node = Node(rate=0.1, phase=8)
    async with open_harness(node) as h:
        await h.advance(12)
        assert node.told == []
        assert h.node_statistics().ok == 1


async def test_a_tick_may_look_at_a_task_of_an_earlier_tick() -> None:
    class Node(Told):
        async def tick(self) -> str:
            if self.kept is None:
                self.kept = asyncio.create_task(boom(0.05))
                return "begun"
            assert self.kept.done()
            assert isinstance(self.kept.exception(), Boom)
            self.kept = None
            return "looked at"

    node = Node(rate=10)
    async with open_harness(node) as h:
        await h.advance(10)
        assert node.told == []
        assert [r.value for r in h.results[:4]] == ["begun", "looked at"] * 2


async def test_tasks_that_are_awaited_later_gathered_or_in_a_group_are_looked_at() -> None:
    class Node(Told):
        async def tick(self) -> None:
            later = asyncio.create_task(boom(0.1))
            await asyncio.sleep(5)
            with pytest.raises(Boom):
                await later
            assert [type(e) for e in await asyncio.gather(boom(), return_exceptions=True)] == [Boom]
            with pytest.raises(Boom):
                await asyncio.gather(boom(), asyncio.sleep(1))
            with pytest.raises(ExceptionGroup):
                await group_of_two()
            with pytest.raises(Boom):
                await asyncio.wait_for(boom(0.1), 5)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.sleep(10), 0.1)
            async with asyncio.timeout(1):
                done, _ = await asyncio.wait([asyncio.create_task(boom(0.1))])
            assert isinstance(done.pop().exception(), Boom)
            heard: list[BaseException | None] = []
            task = asyncio.create_task(boom())
            task.add_done_callback(lambda task: heard.append(task.exception()))
            await asyncio.sleep(1)
            assert isinstance(heard[0], Boom)
            del later, task

    node = Node(rate=0.1)
    async with open_harness(node) as h:
        [result] = await h.tick()
        assert result.status is TickStatus.OK, result.error
        await h.advance(30)
        assert node.told == []


async def test_a_cancelled_task_is_no_failure() -> None:
    class Node(Told):
        async def tick(self) -> None:
            self.kept = asyncio.create_task(boom(100))
            await asyncio.sleep(0)
            self.kept.cancel()

    node = Node(rate=10)
    async with open_harness(node) as h:
        await h.advance(5)
        assert node.told == []


# At the end


async def test_errors_of_left_over_tasks_are_told_of_and_change_nothing() -> None:
    class Node(Told):
        async def fail_at_the_end(self) -> None:
            try:
                await asyncio.sleep(1000)
            finally:
                raise Boom

        async def init(self) -> None:
            self.kept = asyncio.create_task(self.fail_at_the_end())
            self.failed_before = asyncio.create_task(boom())

    node = Node(on="never")
    async with open_harness(node) as h:
        await h.settle()
        report = await h.stop()
    assert node.kept.done()
    assert report.failed == ()
    said = "\n".join(report.hook_errors)
    assert said.count("Boom") >= 1
    assert "closing its helpers" in said


async def test_what_asyncio_says_without_an_exception_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def tick(node: AsyncioNode) -> None:
        asyncio.get_running_loop().call_exception_handler({"message": "Unclosed something"})

    async with open_harness(AsyncioNode("n", tick=tick)) as h:
        [result] = await h.tick()
    assert result.status is TickStatus.OK
    [record] = [r for r in caplog.records if "Unclosed something" in r.getMessage()]
    assert record.levelno == logging.WARNING
    assert record.name == "horus_trio.node.n"


async def test_a_sibling_of_another_kind_is_not_disturbed() -> None:
    async def tick(node: AsyncNode) -> None:
        await trio.sleep(0.001)

    class Node(Told):
        async def tick(self) -> None:
            self.kept = asyncio.create_task(boom())

    sibling = AsyncNode("sibling", tick=tick, rate=100)
    async with open_harness(Node("failing", rate=50), sibling) as h:
        await h.advance(3)
        assert h.node_statistics("sibling").ok == 300
        assert h.node_statistics("failing").restarts > 3
