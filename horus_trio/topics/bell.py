"""The entrance for foreign threads: at most one wake-up of the loop for any number of messages.

A Trio run has one `Bell`. Something that wants attention on the loop rings it: on the loop's own
thread it is answered at once, from any other thread it is queued, and the loop is woken only if
no wake-up is under way. The armed flag is cleared *before* the queue is drained, so what is
appended meanwhile is either seen by this drain or arms the next one.
"""

from __future__ import annotations

import collections
import threading
from collections.abc import Iterable
from typing import Protocol

import trio

__all__ = ["Bell", "Ringer", "Rung", "current_bell", "ring"]


class Rung(Protocol):
    """What can be rung: a `Bell`, or whatever wakes a sleeper in another loop."""

    def ring(self, ringer: Ringer, /) -> None:
        """Have ``ringer._answer()`` called where it belongs; any thread."""


class Ringer(Protocol):
    """What can ring a bell: its own, if it has one at the moment."""

    @property
    def _bell(self) -> Rung | None: ...

    def _answer(self) -> None:
        """Called on the loop, once or more for each ring; must not raise."""


class Bell:
    """Wakes the loop of one Trio run. Made by `current_bell`."""

    __slots__ = ("_armed", "_queue", "_thread", "_token")

    def __init__(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._thread = threading.get_ident()
        self._queue: collections.deque[Ringer] = collections.deque()
        self._armed = False

    @property
    def is_rung(self) -> bool:
        """Whether somebody has rung, or is about to, and has not been answered yet; any thread."""
        return self._armed

    def ring(self, ringer: Ringer) -> None:
        """Have ``ringer._answer()`` called on the loop; any thread."""
        if threading.get_ident() == self._thread and trio.lowlevel.in_trio_run():
            ringer._answer()
            return
        self._queue.append(ringer)
        if not self._armed:
            self._armed = True
            try:
                self._token.run_sync_soon(self._drain)
            except trio.RunFinishedError:
                self._queue.clear()  # nobody waits in a run that is over

    def _drain(self) -> None:
        self._armed = False
        queue = self._queue
        # Bounded: a flood must not hold the loop. Who rings from now on, arms it again.
        for _ in range(len(queue)):
            ringer = queue.popleft()
            if ringer._bell is self:  # or who has rung has nobody waiting in this run any more
                ringer._answer()


_bell: trio.lowlevel.RunVar[Bell] = trio.lowlevel.RunVar("horus_trio_bell")


def current_bell() -> Bell:
    """The bell of the current Trio run."""
    try:
        return _bell.get()
    except LookupError:
        bell = Bell()
        _bell.set(bell)
        return bell


def ring(ringers: Iterable[Ringer]) -> None:
    """Ring for each; any thread, with no lock held."""
    for ringer in ringers:
        bell = ringer._bell
        if bell is not None:
            bell.ring(ringer)
