"""The thread itself: it sleeps until a duty is due, a signal has come, or somebody pokes it.

Signals reach it through the descriptor that the interpreter writes each one to, so that they are
heard while the main thread is in C code and no Python handler can run.
"""

from __future__ import annotations

import abc
import contextlib
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from ...logs import OffLoopLogger

__all__ = ["Duty", "Watchdog"]

LONGEST_SLEEP = 0.5
"""Seconds."""

JOIN = 1.0
"""Seconds for which the end of a run waits for the thread."""


class Duty(abc.ABC):
    """Something the watchdog looks after. All of it happens in its thread."""

    @abc.abstractmethod
    def look(self, now: float) -> float:
        """Do what is due.

        Arguments:
            now: Seconds of `time.monotonic`: diagnosis is in real time, whatever the run's clock.

        Returns:
            When to look again at the latest, on the same clock.
        """


class Watchdog:
    """A context manager around a run.

    Arguments:
        duties: What it looks after.
        log: Is told when a duty fails.
        hear: Called with the number of each signal, in the thread.
    """

    def __init__(
        self,
        duties: Sequence[Duty],
        log: OffLoopLogger,
        hear: Callable[[int], None] = lambda signum: None,
    ) -> None:
        self._duties = list(duties)
        self._log = log
        self._hear = hear
        self._closing = False
        self._ears, self._mouth = os.pipe()
        os.set_blocking(self._mouth, False)
        self._signals_went_to: int | None = None
        self._thread = threading.Thread(target=self._run, name="horus_trio watchdog", daemon=True)

    def poke(self) -> None:
        """Have it look at once; any thread and any signal handler."""
        with contextlib.suppress(OSError):  # full: it is about to look; closed: the run is over
            os.write(self._mouth, b"\0")

    def listen(self) -> None:
        """Hear signals, until the end of the run; in the main thread, one watchdog at a time."""
        self._signals_went_to = signal.set_wakeup_fd(self._mouth, warn_on_full_buffer=False)

    def __enter__(self) -> Self:
        try:
            self._thread.start()
        except RuntimeError:  # no thread can be had
            self._listen_no_more()
            self._close()
            raise
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._listen_no_more()
        self._closing = True
        self.poke()
        self._thread.join(JOIN)
        if not self._thread.is_alive():
            self._close()

    def _listen_no_more(self) -> None:
        if self._signals_went_to is not None:
            ours = signal.set_wakeup_fd(self._signals_went_to, warn_on_full_buffer=False)
            if ours != self._mouth:  # somebody has taken them over since
                signal.set_wakeup_fd(ours, warn_on_full_buffer=False)

    def _close(self) -> None:
        mouth, self._mouth = self._mouth, -1  # a late poke must not write to whoever has it next
        os.close(mouth)
        os.close(self._ears)

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._ears, select.POLLIN)
        while not self._closing:
            now = time.monotonic()
            due = now + LONGEST_SLEEP
            for duty in tuple(self._duties):
                try:
                    due = min(due, duty.look(now))
                except Exception:  # noqa: BLE001 - one broken duty must not end the others
                    self._duties.remove(duty)
                    self._log.exception("the watchdog gives up %s", type(duty).__name__)
            # In whole milliseconds, rounded up: rounded down it would spin through the last one.
            if poll.poll(1 + max(0, int(1e3 * (due - time.monotonic())))):
                self._listen_to(os.read(self._ears, select.PIPE_BUF))

    def _listen_to(self, data: bytes) -> None:
        heard = data.replace(b"\0", b"")
        forward = self._signals_went_to
        if forward is not None:
            with contextlib.suppress(OSError):  # nobody did: -1
                os.write(forward, heard)  # whoever listened before still does
        for signum in heard:
            self._hear(signum)
