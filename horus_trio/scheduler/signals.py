"""SIGINT, SIGTERM and SIGHUP as stop requests, with plain handlers that need no live loop.

The first asks for a graceful stop. The second is an emergency, and forces the stop; but if the loop
has not even seen the first, some code blocks it, and then the second raises KeyboardInterrupt in
that code. While the main thread is in C code no handler runs at all; the watchdog `hears` the
signals all the same. SIGUSR1 asks for a dump. A program that handles or ignores SIGHUP or SIGUSR1
itself keeps them.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

import trio

__all__ = ["SignalWatch", "passes_on"]

STOPS = (signal.SIGINT, signal.SIGTERM)

passes_on: trio.lowlevel.RunVar[bool] = trio.lowlevel.RunVar("horus_trio_passes_on", False)
"""Whether earlier handlers are called as well: set where Trio is the guest of another loop."""


class SignalWatch:
    """While inside, handles the signals; earlier handlers are restored at the end.

    Does nothing outside the main thread, where Python has no signal handlers.

    Arguments:
        enabled: False: leave all signals alone.
        stop: Called with the reason at the first signal.
        emergency: Called with the reason at a later one.
        force: Called with the signal's name on the loop at a later one.
        dump: Called in the watchdog's thread at SIGUSR1.

    The first two must be safe in a signal handler, and may be called twice for one signal.
    """

    def __init__(
        self,
        enabled: bool,
        *,
        stop: Callable[[str], None],
        emergency: Callable[[str], None],
        force: Callable[[str], None],
        dump: Callable[[], None],
    ) -> None:
        self._is_active = enabled and (threading.current_thread() is threading.main_thread())
        self._stop = stop
        self._emergency = emergency
        self._force = force
        self._dump = dump
        self._token = trio.lowlevel.current_trio_token()
        self._earlier: dict[signal.Signals, Any] = {}
        self._handled = 0
        self._heard = 0
        self._seen = False
        self._passes_on = passes_on.get()
        self._is_over = False

    @property
    def is_outermost(self) -> bool:
        """Whether it handles signals, and no other run in this process does."""
        return bool(self._earlier) and not any(
            isinstance(getattr(earlier, "__self__", None), SignalWatch)
            for earlier in self._earlier.values()
        )

    def __enter__(self) -> Self:
        if self._is_active:
            for signum in STOPS:
                self._earlier[signum] = signal.signal(signum, self._handle)
            unused = {signal.SIGHUP: self._handle, signal.SIGUSR1: self._leave_to_hear}
            for signum, handler in unused.items():
                if signal.getsignal(signum) is signal.SIG_DFL:
                    self._earlier[signum] = signal.signal(signum, handler)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._is_over = True
        for signum in self._earlier:
            if signal.getsignal(signum) in (self._handle, self._leave_to_hear):
                # None: it was installed by C code, and Python cannot put that back.
                earlier = self._handler_before(signum)
                signal.signal(signum, signal.SIG_DFL if earlier is None else earlier)

    def _handler_before(self, signum: signal.Signals) -> Any:
        """The handler to put back; not that of another run which has ended meanwhile."""
        earlier = self._earlier[signum]
        watch = getattr(earlier, "__self__", None)
        if isinstance(watch, SignalWatch) and watch._is_over:
            return watch._handler_before(signum)
        return earlier

    def hear(self, signum: int) -> None:
        """A signal has come, and its handler may or may not have run; in the watchdog's thread."""
        if signum == signal.SIGUSR1 and signum in self._earlier:
            self._dump()
        elif signum in self._earlier:
            self._heard += 1
            name = signal.Signals(signum).name
            if self._heard == 1:
                self._stop(name)
            else:
                self._emergency(f"a second signal, {name}")
                self._call_soon(self._force_if_unhandled, name)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if self._is_over:  # somebody has put this back who had found it
            earlier = self._handler_before(signal.Signals(signum))
            signal.signal(signum, signal.SIG_DFL if earlier is None else earlier)
            signal.raise_signal(signum)
            return
        name = signal.Signals(signum).name
        self._handled += 1
        if self._handled == 1:
            self._stop(name)
            self._call_soon(self._mark_seen)
            self._tell_host(signum, frame)
            return
        self._emergency(f"a second signal, {name}")
        if self._seen or trio.lowlevel.currently_ki_protected():
            self._call_soon(self._force, name)
            self._tell_host(signum, frame)
        else:
            raise KeyboardInterrupt(f"second signal ({name}) while the Trio loop is blocked")

    def _tell_host(self, signum: int, frame: FrameType | None) -> None:
        earlier = self._earlier[signal.Signals(signum)]
        if self._passes_on and callable(earlier):
            earlier(signum, frame)

    def _leave_to_hear(self, signum: int, frame: FrameType | None) -> None:
        """Without a Python handler the signal would end the process."""

    def _call_soon(self, function: Callable[..., None], *args: str) -> None:
        with contextlib.suppress(trio.RunFinishedError):
            self._token.run_sync_soon(function, *args)

    def _force_if_unhandled(self, name: str) -> None:
        """On the loop: two signals that came while no handler could run are handled as one."""
        if self._handled < 2:
            self._force(name)

    def _mark_seen(self) -> None:
        self._seen = True
