"""The harness itself, cancelled at each of its checkpoints: it puts its robot away all the same."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import trio

import horus_trio as horus
from horus_trio.testing import Harness, cancel_everywhere, open_harness


class Count:
    """Makes nodes, and counts their hooks."""

    def __init__(self) -> None:
        self.inits = 0
        self.shutdowns = 0

    def node(self) -> horus.Node:
        count = self

        class Counted(horus.AsyncNode):
            async def init(self) -> None:
                await trio.sleep(0.1)
                count.inits += 1

            async def tick_async(self) -> None:
                await trio.sleep(0.01)
                self.send("out", 1)

            async def shutdown(self) -> None:
                await trio.sleep(0.1)
                count.shutdowns += 1

        return Counted("counted", rate=10)


@pytest.mark.slow
async def test_open_use_and_leave() -> None:
    async def use(count: Count) -> int:
        async with open_harness(count.node(), seed=1) as h:
            await h.tick(2)
            await h.advance(0.25)
            await h.settle()
        return len(h.results)

    own = trio.lowlevel.current_clock()
    sweep = await cancel_everywhere(Count, use, observe=lambda count: count.inits - count.shutdowns)
    assert sweep.checkpoints > 20
    assert trio.lowlevel.current_clock() is own


@contextlib.asynccontextmanager
async def opened() -> AsyncIterator[Harness]:
    async with open_harness(Count().node(), seed=1) as h:
        yield h


@pytest.mark.parametrize(
    "use",
    [
        lambda h: h.tick(),
        lambda h: h.advance(0.25),
        lambda h: h.settle(),
        lambda h: h.advance_until(lambda: h.now > 1),
    ],
    ids=["tick", "advance", "settle", "advance_until"],
)
async def test_its_calls_can_be_repeated(use: Callable[[Harness], Awaitable[object]]) -> None:
    await cancel_everywhere(opened, use, same_result=False)


async def test_a_stop_that_is_cancelled_is_finished_on_leaving() -> None:
    await cancel_everywhere(opened, lambda h: h.stop(), repeat=False, same_result=False)
