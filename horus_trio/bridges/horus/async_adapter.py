"""The engine's node that ticks a facade node with ``async`` callbacks: asyncio code."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from ..asyncio import AsyncioNode
from .adapters import safe_state_of
from .callbacks import AsyncCallback, refuse_coroutine
from .node import Node
from .record import Record

__all__ = ["LoopNode"]


class LoopNode(AsyncioNode):
    """Ticks a facade node on an asyncio loop of its own.

    Those of its callbacks that are plain functions run in threads beside the loop.

    Arguments:
        record: The facade node.
    """

    def __init__(self, record: Record) -> None:
        super().__init__(record.node.name, enter_safe_state=safe_state_of(record))
        self._record = record
        self._overrides_tick = type(record.node).tick is not Node.tick

    async def init(self) -> None:
        record, node = self._record, self._record.node
        record.info._logger = self.log
        with record.initialising():
            await self._call("init", node.init_fn)

    async def tick_async(self) -> None:
        record, node = self._record, self._record.node
        with record.ticking():
            if self._overrides_tick:
                await asyncio.to_thread(record.call_tick)
                return
            before, node.info = node.info, record.info
            try:
                await self._call("tick", node.tick_fn)
            except Exception as error:
                node._horus_tell(error)
                raise
            finally:
                node.info = before

    async def shutdown(self) -> None:
        record, node = self._record, self._record.node
        with record.shutting_down():
            node.info = record.info
            await self._call("shutdown", node.shutdown_fn)

    async def _call(self, what: str, callback: Callable[..., Any] | None) -> None:
        node = self._record.node
        if isinstance(callback, AsyncCallback):
            await callback.function(node)
        elif callback is not None:
            refuse_coroutine(node.name, what, await asyncio.to_thread(callback, node))
