"""Whose code a frame leads to: the engine's functions that call what users wrote."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import Any

import trio

from ..messages import current_fence
from .background import BackgroundTasks
from .executor import AsyncIOExecutor
from .inputs import Inputs
from .runner import NodeRunner
from .safe_state import SafeState
from .threads import ThreadCall
from .ticker import Ticker
from .worker import Worker

__all__ = ["TASK_ADVICE", "Owner", "owner_of"]

HOOK_ADVICE = "make it a plain `def` hook, which gets a thread, or `await` what it waits for"
TASK_ADVICE = "let a thread do what takes time: `await trio.to_thread.run_sync(…)`"
ASYNCIO_ADVICE = "let a thread do what takes time: `await asyncio.to_thread(…)`"
CALLBACK_ADVICE = "it is called on the loop and has to return at once"


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Whose code it is.

    Attributes:
        node: Name of the node, or None: of no node.
        what: What of it, such as ``tick 12``.
        advice: What to do if it blocks the loop.
    """

    node: str | None
    what: str
    advice: str


def owner_of(frame: FrameType) -> Owner | None:
    """Whose code an engine's frame calls; None: look further out. Any thread."""
    tell = _OWNERS.get(frame.f_code)
    if tell is not None:
        return tell(frame.f_locals)
    if frame.f_code.co_name == "unrolled_run" and frame.f_globals["__name__"] == "trio._core._run":
        return _owner_of_task(frame.f_locals.get("task"))
    return None


def _owner_of_task(task: object) -> Owner:
    """Trio's loop runs a task: one that a node has started in a nursery of its own, perhaps."""
    fence = task.context.get(current_fence) if isinstance(task, trio.lowlevel.Task) else None
    if fence is None:
        return Owner(node=None, what="code of no node", advice=TASK_ADVICE)
    if isinstance(task, trio.lowlevel.Task) and task.name.startswith("trio_asyncio."):
        return Owner(node=fence.owner, what="its asyncio code", advice=ASYNCIO_ADVICE)
    return Owner(node=fence.owner, what="a task that it started", advice=TASK_ADVICE)


def _hook(node: str, what: str) -> Owner:
    return Owner(node=node, what=what, advice=HOOK_ADVICE)


def _callback(node: str | None, what: str) -> Owner:
    return Owner(node=node, what=what, advice=CALLBACK_ADVICE)


_OWNERS: dict[CodeType, Callable[[dict[str, Any]], Owner]] = {
    Ticker.on_loop.__code__: lambda f: _hook(f["self"]._name, f"tick {f['tick'].seq}"),
    Worker._call_on_loop.__code__: lambda f: _hook(f["self"]._name, f["hook"].name),
    SafeState._run_on_loop.__code__: lambda f: _hook(f["self"]._name, "enter_safe_state"),
    ThreadCall.work.__code__: lambda f: _hook(f["self"].node, f["self"].what),
    BackgroundTasks._run.__code__: lambda f: Owner(
        node=f["self"]._name, what="a background task", advice=TASK_ADVICE
    ),
    Inputs._tell_stale.__code__: lambda f: _callback(f["self"]._name, "on_stale"),
    NodeRunner._decide.__code__: lambda f: _callback(f["self"].name, "its failure policy"),
    NodeRunner._build_anew.__code__: lambda f: _callback(f["self"].name, "what builds it anew"),
    AsyncIOExecutor.publish.__code__: lambda f: _callback(None, "a result callback"),
}
"""The functions by their code, and how the local variables of their frames tell whom they call."""
