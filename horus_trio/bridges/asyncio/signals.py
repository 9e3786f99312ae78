"""SIGINT, SIGTERM and SIGHUP in an asyncio program that Trio is a guest of.

They belong to the program. What handles them there is called, but never in the midst of Trio's own
code, which an exception from a handler would break. A signal that nobody handles would end the
program with the robot in motion: it does what Ctrl-C does, the only one that asyncio handles. Where
nobody handles Ctrl-C either, the guest is stopped first.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, Self

from .host import Host

__all__ = ["HostSignals"]

HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class HostSignals:
    """While inside, stands between the signals and who handles them; in the main thread only.

    Arguments:
        host: Where Trio is a guest.
        stop: Called at a signal that nobody handles; safe in a signal handler.
    """

    def __init__(self, host: Host, stop: Callable[[], object]) -> None:
        self._host = host
        self._stop = stop
        self._earlier: dict[int, Any] = {}
        self._unhandled: int | None = None
        self._is_over = False

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for signum in HANDLED:
                earlier = signal.getsignal(signum)
                if earlier not in (signal.SIG_IGN, None):  # None: it is C code's
                    self._earlier[signum] = signal.signal(signum, self._handle)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._is_over = True
        for signum, earlier in self._earlier.items():
            if signal.getsignal(signum) == self._handle:
                signal.signal(signum, signal.default_int_handler if _is_dead(earlier) else earlier)

    def exit_if_due(self) -> None:
        """Once the run is over: end the program by the signal that nobody has handled."""
        if self._unhandled == signal.SIGINT:
            raise KeyboardInterrupt
        if self._unhandled is not None:
            raise SystemExit(128 + self._unhandled)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if self._is_over:  # somebody has put this back who had found it
            signal.signal(signum, self._earlier[signum])
            signal.raise_signal(signum)
        elif self._host.is_outside:
            self._deliver(signum, frame)
        else:
            self._host.loop.call_soon_threadsafe(self._deliver, signum, frame)

    def _deliver(self, signum: int, frame: FrameType | None) -> None:
        for earlier in (self._earlier[signum], self._earlier.get(signal.SIGINT)):
            if callable(earlier) and earlier is not signal.default_int_handler:
                earlier(signum, frame)
                return
        self._unhandled = self._unhandled or signum
        self._host.loop.call_soon_threadsafe(self._stop)


def _is_dead(handler: object) -> bool:
    """Whether it is that of an `asyncio.run` whose main task has ended before the guest.

    It puts back Python's own, which it replaces, only if it finds itself in its place.
    """
    main_task = getattr(handler, "keywords", {}).get("main_task")
    return isinstance(main_task, asyncio.Task) and main_task.done()
