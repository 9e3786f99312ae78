"""The asyncio loop that Trio is a guest of."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from ...logs import OffLoopLogger

__all__ = ["Host"]

_log = OffLoopLogger(logging.getLogger("horus_trio.bridges"))


class Host:
    """Calls Trio back in an asyncio loop, and hides that loop meanwhile.

    Arguments:
        loop: The asyncio loop.
        on_lost: Called once, in a thread of Trio's, if the loop is closed before Trio has ended.

    Attributes:
        loop: The asyncio loop.
        is_outside: Whether none of Trio's code runs now.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, on_lost: Callable[[], object] = lambda: None
    ) -> None:
        self.loop: asyncio.AbstractEventLoop = loop
        self._on_lost = on_lost
        self.is_outside: bool = True
        self._is_lost = False

    def call_soon(self, function: Callable[[], object]) -> None:
        """Call it in the loop's next round; in the loop's thread."""
        self.loop.call_soon(_Call(self, function))

    def call_soon_threadsafe(self, function: Callable[[], object]) -> None:
        """Call it in the loop's next round; any thread."""
        try:
            self.loop.call_soon_threadsafe(_Call(self, function))
        except RuntimeError:
            self.lose()

    def enter(self, function: Callable[[], object]) -> None:
        """Call Trio, which finds no loop of asyncio's running."""
        self.is_outside = False
        asyncio._set_running_loop(None)
        try:
            function()
        finally:
            asyncio._set_running_loop(self.loop)
            self.is_outside = True

    def lose(self) -> None:
        """The loop was closed before Trio's run had ended, which nobody can end any more."""
        if not self._is_lost:
            self._is_lost = True
            _log.critical(
                "the asyncio loop was closed while Trio ran in it: whatever ran there stands still "
                "for ever, and no node is shut down; await run_in_asyncio(…) to its end, as "
                "asyncio.run does, before the loop is closed"
            )
            self._on_lost()


class _Call:
    """A call of Trio that the loop owes. A loop that is closed drops it without a word."""

    __slots__ = ("_function", "_host")

    def __init__(self, host: Host, function: Callable[[], object]) -> None:
        self._host = host
        self._function: Callable[[], object] | None = function

    def __call__(self) -> None:
        function, self._function = self._function, None
        if function is not None:
            self._host.enter(function)

    def __del__(self) -> None:
        if self._function is not None:
            self._host.lose()
