"""The engine's nodes that tick facade nodes."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

from ...errors import ConfigurationError
from ...executor import NodeRunner
from ...node import Node as EngineNode
from .record import Record
from .translation import event_topic

__all__ = ["EventNode", "ThreadNode", "adapter_for", "safe_state_of"]


class ThreadNode(EngineNode):
    """Ticks a facade node whose callbacks are plain functions, in a thread.

    Arguments:
        record: The facade node.
    """

    def __init__(self, record: Record) -> None:
        super().__init__(record.node.name, enter_safe_state=safe_state_of(record))
        self._record = record

    def tick(self) -> Any:
        return self._record.tick()

    def init(self) -> None:
        self._record.info._logger = self.log
        self._record.init()

    def shutdown(self) -> None:
        self._record.shutdown()


class EventNode(ThreadNode):
    """Ticks a facade node once for each message that comes in on a topic.

    Messages are announced to this node, and received by the facade node's own `Topic`. The engine
    lets announcements coalesce while a tick runs; so each tick takes one and asks for the next.

    Arguments:
        record: The facade node.
        topic: Where messages come in.
    """

    def __init__(self, record: Record, topic: str) -> None:
        super().__init__(record)
        self._topic = topic

    def tick(self) -> Any:
        self.recv(self._topic)
        if self.has_msg(self._topic):
            runner = None if self._seat is None else self._seat.engine
            if isinstance(runner, NodeRunner):
                runner.executor.call_on_loop(runner.mailbox.post, self.now)
        return self._record.tick()


def safe_state_of(record: Record) -> Callable[[EngineNode], object] | None:
    """The ``enter_safe_state`` that a subclass of the facade's node defines, or None."""
    method = getattr(record.node, "enter_safe_state", None)
    return None if method is None else lambda adapter: method()


def adapter_for(record: Record) -> EngineNode:
    """The engine's node for a facade node.

    Raises:
        ConfigurationError: It has ``async`` callbacks, and the extra for asyncio is missing.
    """
    node = record.node
    if node._horus_async:
        if importlib.util.find_spec("trio_asyncio") is None:
            raise ConfigurationError(
                f"node {node.name!r} has async callbacks, and asyncio code needs trio-asyncio, "
                "which is not here; install it with: pip install 'horus-trio[asyncio]'"
            )
        from .async_adapter import LoopNode

        return LoopNode(record)
    if node._horus_on is not None:
        return EventNode(record, event_topic(node, node._horus_on))
    return ThreadNode(record)
