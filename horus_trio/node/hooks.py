"""Which hooks a node really has: each is ``def`` (a thread) or ``async def`` (the loop).

A hook that is not overridden is None, so the engine spends nothing on it.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..errors import NodeError
from .node import AsyncNode, Node

__all__ = ["Hook", "Hooks", "find_hooks"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """One hook, bound to its node."""

    name: str
    call: Callable[..., Any]
    is_async: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """All hooks of a node; None where it has none."""

    tick: Hook
    init: Hook | None
    shutdown: Hook | None
    on_error: Hook | None
    enter_safe_state: Hook | None

    @property
    def uses_threads(self) -> bool:
        """Whether any hook runs in a thread."""
        every = (self.tick, self.init, self.shutdown, self.on_error, self.enter_safe_state)
        return any(hook is not None and not hook.is_async for hook in every)


def find_hooks(node: Node) -> Hooks:
    """Look at a node.

    Raises:
        NodeError: It has no tick, two ticks, or one that does not fit its class.
    """
    return Hooks(
        tick=_find_tick(node),
        init=_find(node, "init"),
        shutdown=_find(node, "shutdown"),
        on_error=_find(node, "on_error"),
        enter_safe_state=_find(node, "enter_safe_state"),
    )


def _find_tick(node: Node) -> Hook:
    cls = type(node).__qualname__
    plain = _find(node, "tick")
    if not isinstance(node, AsyncNode):
        if plain is None:
            raise NodeError(
                f"{cls} has no tick; define `def tick(self)` (runs in a thread) or "
                "`async def tick(self)` (runs on the loop), or pass tick=function"
            )
        return plain
    named = _find(node, "tick_async")
    if plain is not None and named is not None:
        raise NodeError(f"{cls} has both tick and tick_async; keep one")
    tick = named or plain
    if tick is None:
        raise NodeError(f"{cls} has no tick; define `async def tick_async(self)`")
    if not tick.is_async:
        raise NodeError(
            f"{cls}.{tick.name} is a plain def, and an AsyncNode ticks on the loop, where it would "
            f"block all others; make it `async def {tick.name}`, or derive from horus_trio.Node"
        )
    return tick


def _find(node: Node, name: str) -> Hook | None:
    cls = type(node)
    base = AsyncNode if isinstance(node, AsyncNode) else Node
    given = node._functions.get(name)
    overridden = getattr(cls, name, None) is not getattr(base, name, None)
    assigned = name in node.__dict__
    if given is not None and (overridden or assigned):
        raise NodeError(
            f"{type(node).__qualname__} {name}: given twice, as a method and as {name}=…; keep one"
        )
    if given is None and not overridden and not assigned:
        return None
    call: Any = getattr(node, name)
    if not callable(call):
        raise NodeError(
            f"{type(node).__qualname__}.{name} is {call!r}, expected a function or method"
        )
    subject = call if given is None else given
    while isinstance(subject, functools.partial):
        subject = subject.func
    is_async = inspect.iscoroutinefunction(subject) or inspect.iscoroutinefunction(
        getattr(subject, "__call__", None)  # noqa: B004 - the bound method, not callability
    )
    return Hook(
        name=name, call=node._hook_on_loop(name, call) if is_async else call, is_async=is_async
    )
