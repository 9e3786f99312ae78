"""SIGINT and SIGTERM as stop requests, with plain handlers that need no live loop.

The first asks for a graceful stop. The second forces it; but if the loop has not even seen the
first, some code blocks it, and then the second raises KeyboardInterrupt in that code.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

import trio

__all__ = ["SignalWatch"]


class SignalWatch:
    """While inside, handles SIGINT and SIGTERM; earlier handlers are restored at the end.

    Does nothing outside the main thread, where Python has no signal handlers.

    Arguments:
        enabled: False: leave all signals alone.
        stop: Called with the reason at the first signal; must be safe in a signal handler.
        force: Called on the loop at a later one.
    """

    def __init__(
        self, enabled: bool, stop: Callable[[str], None], force: Callable[[str], None]
    ) -> None:
        self._enabled = enabled and threading.current_thread() is threading.main_thread()
        self._stop = stop
        self._force = force
        self._token = trio.lowlevel.current_trio_token()
        self._earlier: dict[signal.Signals, Any] = {}
        self._received = 0
        self._seen = False

    def __enter__(self) -> Self:
        if self._enabled:
            for signum in (signal.SIGINT, signal.SIGTERM):
                self._earlier[signum] = signal.signal(signum, self._handle)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for signum, earlier in self._earlier.items():
            if signal.getsignal(signum) == self._handle:
                # None: it was installed by C code, and Python cannot put that back.
                signal.signal(signum, signal.SIG_DFL if earlier is None else earlier)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        name = signal.Signals(signum).name
        self._received += 1
        if self._received == 1:
            self._stop(name)
            self._token.run_sync_soon(self._mark_seen)
        elif self._seen or trio.lowlevel.currently_ki_protected():
            self._token.run_sync_soon(self._force, name)
        else:
            raise KeyboardInterrupt(f"second signal ({name}) while the Trio loop is blocked")

    def _mark_seen(self) -> None:
        self._seen = True
