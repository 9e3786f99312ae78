"""Notices calls that were made and never awaited: the commonest mistake in an async test."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

__all__ = ["ForgottenAwaits"]

T = TypeVar("T")


class ForgottenAwaits:
    """Keeps the calls that have not begun, with the lines they were made in."""

    def __init__(self) -> None:
        self._calls: list[tuple[Coroutine[Any, Any, Any], str]] = []

    def watch(self, call: Coroutine[Any, Any, T], name: str) -> Coroutine[Any, Any, T]:
        """Remember a call of the caller's caller."""
        if self._calls:
            self._calls = [(c, text) for c, text in self._calls if _is_new(c)]
        frame = sys._getframe(2)
        line = f"{frame.f_code.co_filename}:{frame.f_lineno}"
        self._calls.append((call, f"h.{name} in {line} was never awaited; write `await h.{name}`"))
        return call

    def close(self) -> str:
        """Forget them; says which were never awaited, or nothing."""
        texts = []
        for call, text in self._calls:
            if _is_new(call):
                call.close()
                texts.append(text)
        self._calls = []
        return "; ".join(texts)


def _is_new(call: Coroutine[Any, Any, Any]) -> bool:
    return inspect.getcoroutinestate(call) == inspect.CORO_CREATED
