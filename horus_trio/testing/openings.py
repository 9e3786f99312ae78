"""`Openings`: a harness opened by ``await`` in a test, and closed when its fixture ends."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, NoReturn

import trio

from ..node import Node
from ..scheduler import Scheduler
from .harness import Harness
from .opening import open_harness
from .stage import HarnessError

__all__ = ["Opening", "Openings"]


class Opening(AbstractAsyncContextManager[Harness]):
    """A harness that is about to be opened: await it, or use it in ``async with``."""

    def __init__(self, manager: AbstractAsyncContextManager[Harness], openings: Openings) -> None:
        self._manager = manager
        self._openings = openings

    def __getattr__(self, name: str) -> NoReturn:
        raise HarnessError(
            f"a harness that is not open yet has no attribute {name!r}: write "
            "`h = await node_harness(…)` or `async with node_harness(…) as h:`"
        )

    def __await__(self) -> Generator[Any, Any, Harness]:
        return self._openings._keep_open(self._manager).__await__()

    async def __aenter__(self) -> Harness:
        return self._openings._note(await self._manager.__aenter__())

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        return await self._manager.__aexit__(exc_type, exc, traceback)


class Openings:
    """Opens harnesses; called with the arguments of `open_harness`.

    Arguments:
        nursery: Where a harness that was awaited is kept open.
        seeds: Gets a line for each harness.
    """

    def __init__(self, nursery: trio.Nursery, seeds: list[str]) -> None:
        self._nursery = nursery
        self._seeds = seeds
        self._over = trio.Event()

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, seeds: list[str]) -> AsyncIterator[Openings]:
        """While inside, harnesses that were awaited are open."""
        try:
            async with trio.open_nursery() as nursery:
                openings = cls(nursery, seeds)
                yield openings
                openings._over.set()
        except* Exception as group:
            if len(group.exceptions) == 1:
                raise group.exceptions[0] from None
            raise

    def __call__(self, *nodes: Scheduler | Node | Callable[[], Node], **options: Any) -> Opening:
        """A harness for these nodes; await it, or use it in ``async with``."""
        return Opening(open_harness(*nodes, **options), self)

    async def _keep_open(self, manager: AbstractAsyncContextManager[Harness]) -> Harness:
        harness: Harness = await self._nursery.start(self._keep, manager)
        return self._note(harness)

    async def _keep(
        self,
        manager: AbstractAsyncContextManager[Harness],
        *,
        task_status: trio.TaskStatus[Harness],
    ) -> None:
        async with manager as harness:
            task_status.started(harness)
            await self._over.wait()

    def _note(self, harness: Harness) -> Harness:
        self._seeds.append(f"the robot of {harness.scheduler.name!r}: seed={harness.seed}")
        return harness
