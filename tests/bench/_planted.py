"""Slowdowns to plant: each makes one thing cost half as much again, at the place that does it.

The guard is worth something if it notices each of them, and names the ratio that shows it.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any
from unittest import mock

from _guarded import GUARDED

from horus_trio import Node
from horus_trio.executor.threads import WorkerThread
from horus_trio.node.seat import Seat

__all__ = ["PLANTS", "SLOWDOWN", "Plant", "burning"]

SLOWDOWN = 1.5

TRIALS = 5
"""To find how many loops that takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plant:
    """One slowdown.

    Attributes:
        shows: The name of the ratio that it makes worse; its figure is in µs.
        owner: The class that has the method.
        method: What becomes slow; it is called once for each of the figure's units.
    """

    shows: str
    owner: type
    method: str

    def __str__(self) -> str:
        return f"{self.owner.__name__}.{self.method}"

    def slowed(self) -> AbstractContextManager[None]:
        """While it is open, the figure is half as high again.

        Raises:
            RuntimeError: Whatever the method costs, the figure does not show it.
        """
        ours = GUARDED[self.shows].ours
        loops = round((SLOWDOWN - 1) * ours() * 1e-6 / _seconds_of_a_loop())
        # Being called costs something, too, and a figure may be of elapsed time: try it, and adapt.
        ratios: list[float] = []
        for _ in range(TRIALS):
            with burning(self.owner, self.method, loops):
                slow = ours()
            ratios.append(slow / ours())
        found = statistics.median(ratios)
        if found < 1.1:
            raise RuntimeError(
                f"{self} costs more, and {self.shows!r} is {found:.2f} times as high"
            )
        return burning(self.owner, self.method, round(loops * (SLOWDOWN - 1) / (found - 1)))


PLANTS = (
    Plant(shows="async tick / bare Trio", owner=Seat, method="turn_page"),
    Plant(shows="def tick / to_thread.run_sync", owner=WorkerThread, method="submit"),
    Plant(shows="send and recv / bare channel", owner=Node, method="send"),
)


@contextlib.contextmanager
def burning(owner: type, method: str, loops: int) -> Iterator[None]:
    """While it is open, each call of a method first runs through so many empty loops."""
    original = getattr(owner, method)

    def slower(*arguments: Any, **options: Any) -> Any:
        _burn(loops)
        return original(*arguments, **options)

    with mock.patch.object(owner, method, slower):
        yield


def _burn(loops: int) -> None:
    for _ in range(loops):
        pass


def _seconds_of_a_loop(loops: int = 200_000) -> float:
    times: list[float] = []
    for _ in range(9):
        begun = time.thread_time()
        _burn(loops)
        times.append((time.thread_time() - begun) / loops)
    return statistics.median(times)
