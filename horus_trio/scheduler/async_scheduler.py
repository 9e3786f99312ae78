"""`AsyncScheduler`: the `Scheduler` under the names of HORUS's future API."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Unpack

from ..messages import AsyncResult
from ..node import Node, OptionKeywords
from .report import RunReport
from .scheduler import Scheduler

__all__ = ["AsyncScheduler"]


class AsyncScheduler(Scheduler):
    """A `Scheduler` with ``add_async`` and ``run_async``, and results by callback.

    Arguments:
        tick_rate: As for `Scheduler`.
        on_result: Called with every `AsyncResult`, see `Scheduler.on_result`.
        options: As for `Scheduler`.
    """

    def __init__(
        self,
        tick_rate: float = 100.0,
        *,
        on_result: Callable[[AsyncResult], object] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(tick_rate, **options)
        if on_result is not None:
            self.on_result(on_result)

    def add_async(
        self, node: Node | Callable[[], Node], **options: Unpack[OptionKeywords]
    ) -> AsyncScheduler:
        """`Scheduler.add`."""
        self.add(node, **options)
        return self

    async def run_async(self, duration: float | None = None) -> RunReport:
        """`Scheduler.run`, to be awaited in a Trio run. A checkpoint."""
        return await self.run(duration)
