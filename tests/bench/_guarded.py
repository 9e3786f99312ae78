"""What the guard measures: pairs of functions of the measuring programs, in a quick form.

Every figure is a cost, so that higher is worse, and every ratio is ours divided by the rival's.
"""

from __future__ import annotations

import functools
import os
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import _fleet
import async_tick
import def_tick
import floor
import topics
from _child import run_child
from _compare import NotMeasured
from _jobs import Hand, Job, by_horus_trio, by_trio

__all__ = ["GUARDED", "Pair"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two programs that are measured in turn.

    Attributes:
        ours: Gives a figure, of which more is worse.
        base: Gives the figure it is divided by.
        repetitions: How often each runs in one attempt.
    """

    ours: Callable[[], float]
    base: Callable[[], float]
    repetitions: int = 5

    def ratio(self) -> float:
        """The median of the ratios, taken turn by turn.

        Raises:
            NotMeasured: A rival is not there.
        """
        return statistics.median(self._ratios())

    def _ratios(self) -> Sequence[float]:
        return [self.ours() / self.base() for _ in range(self.repetitions)]


RUN = Job(nodes=100, rate=50.0, seconds=1.0)
"""Of which a tick's CPU is compared with HORUS's: timer and waiting included."""


def cpu_of_a_tick() -> float:
    """CPU of a tick in µs in a whole run of ours, start and stop included."""
    return by_horus_trio(RUN).cpu / (RUN.nodes * RUN.ticks) * 1e6


def cpu_of_a_tick_of_horus() -> float:
    """CPU of a tick in µs in the same run of HORUS's async tier."""
    python = os.environ.get("HORUS_PYTHON")
    if not python:
        raise NotMeasured("HORUS_PYTHON names no interpreter that has horus-robotics")
    numbers = (RUN.nodes, RUN.rate, RUN.seconds, 0)
    found = run_child("_rival_horus", "nodes", *map(str, numbers), python=python)
    return float(found["cpu"] / found["ticks"] * 1e6)


def lateness(hand: Hand) -> float:
    """The median lateness of one node in ms."""
    return hand(Job(rate=200.0, seconds=0.5)).p(0.5)


GUARDED = {
    "async tick / bare Trio": Pair(
        ours=functools.partial(async_tick.cost, 10), base=functools.partial(floor.cost, 10)
    ),
    "async tick of 1000 nodes / of 10": Pair(
        ours=functools.partial(async_tick.cost, 1000), base=functools.partial(async_tick.cost, 10)
    ),
    "def tick / to_thread.run_sync": Pair(ours=def_tick.cost, base=def_tick.bare, repetitions=9),
    "def tick, own thread / to_thread.run_sync": Pair(
        ours=functools.partial(def_tick.cost, "own"), base=def_tick.bare, repetitions=9
    ),
    "send and recv / bare channel": Pair(
        ours=topics.node_pair, base=topics.bare_pair, repetitions=15
    ),
    "start and stop of 200 nodes / nursery": Pair(
        ours=functools.partial(_fleet.start_and_stop, 200),
        base=functools.partial(_fleet.bare_start_and_stop, 200),
        repetitions=9,
    ),
    "memory of a node / of a task": Pair(
        ours=functools.partial(_fleet.memory, 200),
        base=functools.partial(_fleet.bare_memory, 200),
        repetitions=1,
    ),
    "lateness p50 / trio.sleep_until": Pair(
        ours=functools.partial(lateness, by_horus_trio), base=functools.partial(lateness, by_trio)
    ),
    "CPU of a tick in a run / HORUS's async tier": Pair(
        ours=cpu_of_a_tick, base=cpu_of_a_tick_of_horus, repetitions=3
    ),
}
"""By the names of ``baselines.toml``, which has a baseline and a tolerance for each."""
