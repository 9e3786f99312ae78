"""A node's callbacks: plain functions, or coroutine functions of asyncio's.

HORUS calls every callback as a plain function; a coroutine function is wrapped in an
`AsyncCallback`, which runs it on an asyncio loop of its own when it is called that way: in
`Scheduler.tick_once`, or by hand. A scheduler that runs takes the function out and awaits it.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any, TypeAlias

__all__ = [
    "AsyncCallback",
    "ByHand",
    "as_callback",
    "is_coroutine_function",
    "refuse_coroutine",
    "require_plain",
]

_NOT_RUN = (CoroutineType, GeneratorType, AsyncGeneratorType)

ByHand: TypeAlias = Callable[[Coroutine[Any, Any, object]], object]
"""Runs a coroutine to its end on the asyncio loop of a node."""


class AsyncCallback:
    """A coroutine function that can be called as a plain one.

    Arguments:
        function: ``async def`` of the node.
        by_hand: Runs it where it is called as a plain one.
    """

    def __init__(
        self, function: Callable[..., Coroutine[Any, Any, object]], by_hand: ByHand
    ) -> None:
        self.function: Callable[..., Coroutine[Any, Any, object]] = function
        self._by_hand = by_hand

    def __repr__(self) -> str:
        return f"<AsyncCallback {self.function!r}>"

    def __call__(self, *args: Any) -> Any:
        return self._by_hand(self.function(*args))


def is_coroutine_function(function: object) -> bool:
    """Whether calling it makes a coroutine: also for partial functions and callable objects."""
    while isinstance(function, functools.partial):
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - the bound method, not callability
    )


def as_callback(
    node: str, what: str, function: Callable[..., Any] | None, by_hand: ByHand
) -> Callable[..., Any] | None:
    """What is kept of ``tick=``, ``init=`` or ``shutdown=``.

    Raises:
        TypeError: It cannot be called.
    """
    if function is None:
        return None
    if not callable(function):
        raise TypeError(
            f"Node({node!r}): {what}={function!r}, expected a function of the node, as in "
            f"`def {what}(node): …`"
        )
    return AsyncCallback(function, by_hand) if is_coroutine_function(function) else function


def require_plain(
    node: str, what: str, function: Callable[..., Any] | None
) -> Callable[..., Any] | None:
    """What is kept of a callback that nobody could await.

    Raises:
        TypeError: It is a coroutine function, or cannot be called.
    """
    if function is not None and (not callable(function) or is_coroutine_function(function)):
        raise TypeError(
            f"Node({node!r}): {what}={function!r}, expected a plain function, `def`: it is told "
            "in passing, and nobody would await it"
        )
    return function


def refuse_coroutine(node: str, what: str, value: object) -> None:
    """Refuse what a plain callback has returned, if it has not run yet and nobody would run it.

    Raises:
        TypeError: It is a coroutine, or a generator.
    """
    if value is None or not isinstance(value, _NOT_RUN):
        return
    if isinstance(value, CoroutineType):
        value.close()
        raise TypeError(
            f"{what} of node {node!r} returned a coroutine; make it `async def`, or pass the "
            "coroutine function itself"
        )
    raise TypeError(
        f"{what} of node {node!r} returned a generator, and nobody would run it: write it without "
        "`yield`"
    )
