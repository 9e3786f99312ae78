"""What a run asks of the interpreter: how threads take turns, and what is looked at for garbage.

Both are settings of the whole process. Runs may overlap and end in any order, so each undoes only
what it has done itself.
"""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Iterator
from typing import Self

__all__ = ["Collector", "switch_interval"]

SWITCH_INTERVAL = 0.00025
"""Seconds: a busy Python thread would otherwise hold the loop up for 5 ms at a time.

A shorter one makes the loop wait less, and several busy threads slower: by a tenth at this one.
"""


@contextlib.contextmanager
def switch_interval(seconds: float | None) -> Iterator[None]:
    """Have threads take turns after so many seconds; None: after `SWITCH_INTERVAL` at most."""
    earlier = sys.getswitchinterval()
    sys.setswitchinterval(min(earlier, SWITCH_INTERVAL) if seconds is None else seconds)
    ours = sys.getswitchinterval()
    try:
        yield
    finally:
        # The last run must not put back another's.
        if sys.getswitchinterval() == ours:
            sys.setswitchinterval(earlier)


class Collector:
    """Keeps the garbage collector from walking over the robot again and again.

    A full collection visits every object there is, and nothing else runs meanwhile: 0.8 s beside
    10 000 nodes. The nodes live as long as the run, so `freeze` takes them, and whatever else
    there is by then, out of the collector's sight, and the end of the `with` block puts them back.
    Who has frozen objects himself, or has switched the collector off, is left to it.

    Arguments:
        wanted: Whether to do anything at all.
    """

    def __init__(self, *, wanted: bool = True) -> None:
        self._is_ours = wanted
        self._towards_full = 0

    def __enter__(self) -> Self:
        self._is_ours = self._is_ours and gc.isenabled() and gc.get_freeze_count() == 0
        return self

    def __exit__(self, *_: object) -> None:
        if not self._is_ours:
            return
        gc.unfreeze()
        # To freeze makes the collector forget how many young collections there have been since a
        # full one, and what is frozen does not count for it as grown. So a program that runs robots
        # again and again might never come to one: it is made up for, and each run counts as one.
        limit = gc.get_threshold()[2]
        for _collection in range(min(self._towards_full, limit) + 1):
            gc.collect(_YOUNG)
        if gc.get_count()[2] > limit:
            gc.collect()

    def freeze(self) -> None:
        """What exists now is kept, garbage too, until the end of the block."""
        if self._is_ours:
            self._towards_full += gc.get_count()[2]
            gc.freeze()

    @contextlib.contextmanager
    def building(self) -> Iterator[None]:
        """Collect nothing while much is made and nothing thrown away, and freeze it at the end.

        Not to be left to another task meanwhile.
        """
        if not self._is_ours:
            yield
            return
        gc.disable()
        try:
            yield
        finally:
            gc.enable()
            self.freeze()


_YOUNG = 1
"""The generations below the oldest."""
