"""Whose code a frame leads to: the engine's functions that call what users wrote."""

from __future__ import annotations

from collections.abc import Callable
from types import CodeType
from typing import Any, TypeAlias

from .background import BackgroundTasks
from .executor import AsyncIOExecutor
from .inputs import Inputs
from .runner import NodeRunner
from .safe_state import SafeState
from .threads import ThreadCall
from .ticker import Ticker
from .worker import Worker

__all__ = ["Owner", "attribution"]

Owner: TypeAlias = Callable[[dict[str, Any]], tuple[str | None, str]]
"""From a frame's local variables to the node's name, or None, and what of it is called."""


def attribution() -> dict[CodeType, Owner]:
    """The functions by their code, and how their frames tell whom they call."""
    return {
        Ticker.on_loop.__code__: lambda f: (f["self"]._name, f"tick {f['tick'].seq}"),
        Worker._call_on_loop.__code__: lambda f: (f["self"]._name, f["hook"].name),
        SafeState._run_on_loop.__code__: lambda f: (f["self"]._name, "enter_safe_state"),
        BackgroundTasks._run.__code__: lambda f: (f["self"]._name, "a background task"),
        Inputs._tell_stale.__code__: lambda f: (f["self"]._name, "on_stale"),
        NodeRunner._decide.__code__: lambda f: (f["self"].name, "its failure policy"),
        ThreadCall.work.__code__: lambda f: (f["self"].node, f["self"].what),
        AsyncIOExecutor.publish.__code__: lambda f: (None, "a result callback"),
    }
