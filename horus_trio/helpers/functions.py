"""What helpers ask of the functions that they are given, and of the ticks that call them."""

from __future__ import annotations

import functools
import inspect
import types
from typing import Any

from ..messages import current_fence

__all__ = ["is_async", "name_of", "nothing", "refuse_if_abandoned"]


def is_async(function: object) -> bool:
    """Whether calling it gives something to be awaited."""
    if type(function) is types.FunctionType:  # as nearly all are, and some ask at every call
        return bool(function.__code__.co_flags & inspect.CO_COROUTINE)
    subject: Any = function
    while isinstance(subject, functools.partial):
        subject = subject.func
    return inspect.iscoroutinefunction(subject) or inspect.iscoroutinefunction(
        getattr(subject, "__call__", None)  # noqa: B004 - the bound method, not callability
    )


def name_of(function: object) -> str:
    """Its name, for messages."""
    while isinstance(function, functools.partial):
        function = function.func
    return f"{getattr(function, '__qualname__', function)}"


def nothing(*_: object) -> None:
    """Do nothing."""


def refuse_if_abandoned() -> None:
    """Raise `TickAbandoned` if the calling tick was abandoned."""
    fence = current_fence.get()
    if fence is not None and fence.closed:
        fence.refuse()
