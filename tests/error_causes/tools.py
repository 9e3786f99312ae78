"""Causes of the errors of helpers, and of what tests are made with."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import trio
import trio.testing
from error_causes.table import causes, on_virtual_time, raised, raised_by

import horus_trio as horus
from horus_trio import helpers, testing
from horus_trio.helpers.attempt import TimedOut


async def nothing(node: horus.Node) -> None:
    await trio.lowlevel.checkpoint()


async def hang() -> None:
    await trio.sleep_forever()


def with_helper(
    use: Callable[[helpers.AsyncHelper], Awaitable[BaseException]], **options: Any
) -> BaseException:
    """What comes of using an `AsyncHelper` of one worker."""

    async def program() -> BaseException:
        async with helpers.AsyncHelper(name="uploads", workers=1, **options) as helper:
            return await use(helper)

    return on_virtual_time(program)


async def error_of(helper: helpers.AsyncHelper, operation: str) -> BaseException:
    error = (await helper.wait(operation)).error
    assert error is not None
    return error


@causes(helpers.OperationTimedOut)
def _(folder: Path) -> BaseException:
    async def use(helper: helpers.AsyncHelper) -> BaseException:
        return await error_of(helper, helper.submit(hang, operation_id="map", operation_timeout=2))

    return with_helper(use)


@causes(helpers.OperationCancelled)
def _(folder: Path) -> BaseException:
    async def use(helper: helpers.AsyncHelper) -> BaseException:
        helper.submit(hang, operation_id="map")
        helper.cancel("map")
        return await error_of(helper, "map")

    return with_helper(use)


@causes(helpers.OperationRefused)
def _(folder: Path) -> BaseException:
    async def use(helper: helpers.AsyncHelper) -> BaseException:
        helper.submit(hang)
        await trio.testing.wait_all_tasks_blocked()
        helper.submit(hang)
        return raised(helpers.OperationRefused, lambda: helper.submit(hang))

    return with_helper(use, capacity=1)


@causes(helpers.OperationDropped)
def _(folder: Path) -> BaseException:
    async def use(helper: helpers.AsyncHelper) -> BaseException:
        helper.submit(hang)
        await trio.testing.wait_all_tasks_blocked()
        helper.submit(hang, operation_id="map")
        helper.submit(hang)
        return await error_of(helper, "map")

    return with_helper(use, capacity=1, drop_oldest=True)


@causes(helpers.OperationExited)
def _(folder: Path) -> BaseException:
    async def leave() -> None:
        raise SystemExit(3)

    async def use(helper: helpers.AsyncHelper) -> BaseException:
        return await error_of(helper, helper.submit(leave, operation_id="map"))

    return with_helper(use)


@causes(helpers.UnknownOperation)
def _(folder: Path) -> BaseException:
    async def use(helper: helpers.AsyncHelper) -> BaseException:
        helper.submit(hang, operation_id="map")
        return raised(helpers.UnknownOperation, lambda: helper.check_completed("mpa"))

    return with_helper(use)


@causes(helpers.QuorumFailed)
def _(folder: Path) -> BaseException:
    async def left() -> float:
        return 2.0

    async def right() -> float:
        raise OSError("no echo")

    async def ask() -> helpers.QuorumFailed:
        async with helpers.AsyncAggregator(name="sonars") as sonars:
            sonars.add("left", left)
            sonars.add("right", right)
            sonars.start()
            return await raised_by(helpers.QuorumFailed, lambda: sonars.wait_first(2))

    return on_virtual_time(ask)


@causes(helpers.PoolUnavailable)
def _(folder: Path) -> BaseException:
    async def connect() -> trio.SocketStream:
        raise ConnectionRefusedError("nobody listens on port 5432")

    async def acquire() -> helpers.PoolUnavailable:
        async with helpers.ConnectionPool[trio.SocketStream](connect, name="log") as pool:

            async def use() -> None:
                async with pool.acquire():
                    raise AssertionError("there is a connection")

            return await raised_by(helpers.PoolUnavailable, use)

    return on_virtual_time(acquire)


@causes(TimedOut)
def _(folder: Path) -> BaseException:
    dead: list[BaseException] = []

    async def write(rows: list[int]) -> None:
        await trio.sleep_forever()

    async def bury(rows: list[int], error: BaseException) -> None:
        await trio.lowlevel.checkpoint()
        dead.append(error)

    async def add() -> BaseException:
        async with helpers.BatchProcessor(
            write,
            batch_size=1,
            retries=0,
            process_timeout=2,
            dead_letter=bury,
        ) as processor:
            processor.add(1)
            await processor.flush()
        return dead[0]

    return on_virtual_time(add)


@causes(testing.HarnessError)
def _(folder: Path) -> BaseException:
    async def look() -> testing.HarnessError:
        async with testing.open_harness(horus.Node("arm", tick=nothing)) as h:
            return raised(testing.HarnessError, lambda: h.trace)

    return trio.run(look)


@causes(testing.CancellationBroken)
def _(folder: Path) -> BaseException:
    async def careless(lock: trio.Lock) -> None:
        await lock.acquire()
        await trio.lowlevel.checkpoint()
        lock.release()

    async def sweep() -> testing.CancellationBroken:
        return await raised_by(
            testing.CancellationBroken, lambda: testing.cancel_everywhere(trio.Lock, careless)
        )

    return trio.run(sweep)


@causes(testing.ContractBroken)
def _(folder: Path) -> BaseException:
    with contextlib.ExitStack() as left_open:

        class Logger(horus.AsyncNode):
            async def init(self) -> None:
                left_open.enter_context(open(__file__))  # noqa: PTH123, ASYNC230 - the mistake

            async def tick_async(self) -> None:
                await trio.lowlevel.checkpoint()

        async def check() -> testing.ContractBroken:
            return await raised_by(
                testing.ContractBroken, lambda: testing.check_node(lambda: Logger("logger"))
            )

        return trio.run(check)
