"""The time of messages: a stamp when one is sent, seconds on the run's clock when somebody asks.

Trio's own clock is a counter of the interpreter's plus an offset. Stamping with the bare counter
leaves the addition, and a call of Python code in each send, to the few who look.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable

import trio

from ..timer import is_real_time

__all__ = ["Instants"]


class Instants:
    """Stamps of one run.

    Arguments:
        clock: Seconds on the run's clock; None outside a run: every instant is NaN.
    """

    __slots__ = ("_offset", "stamp")

    def __init__(self, clock: Callable[[], float] | None) -> None:
        never = itertools.repeat(math.nan).__next__
        self.stamp: Callable[[], float] = never if clock is None else clock
        self._offset = 0.0
        owner = getattr(clock, "__self__", None)
        if isinstance(owner, trio.abc.Clock) and is_real_time(owner):
            offset = getattr(owner, "offset", None)
            if isinstance(offset, float):
                self.stamp = time.perf_counter
                self._offset = offset

    def instant(self, stamp: float) -> float:
        """When a stamp was made, in seconds on the run's clock."""
        return self._offset + stamp
