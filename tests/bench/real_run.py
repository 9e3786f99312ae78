"""What a run is like: how many ticks there are in each half second of it, and how late each begins.

One node that does nothing is run by each program for some seconds, one after the other, with all
of its instants kept. Lateness is against the grid that was asked for, so programs that have one are
in that distribution alone; how far the intervals between ticks are off the period can be said of
all.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import trio
import trio_util
from _child import run_child
from _compare import NotMeasured, course, distribution, print_machine, show_progress
from _quick import either

import horus_trio as horus

BASE = "trio.sleep_until"
RATES = either((100.0, 500.0), (100.0,))
SECONDS = either(10.0, 0.5)
STEP = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticks:
    """What one program did.

    Attributes:
        begun: Seconds from the first instant of the grid, or else from the first tick.
        late: Seconds behind the instants; None: it has no grid.
    """

    begun: list[float]
    late: list[float] | None


class Noted(horus.AsyncNode):
    """Keeps the instants of its ticks."""

    def __init__(self) -> None:
        super().__init__("noted")
        self.instants: list[tuple[float, float]] = []

    async def tick_async(self) -> None:
        tick = self.current_tick
        if tick is not None:
            self.instants.append((tick.scheduled, trio.current_time()))


def by_horus_trio(rate: float) -> Ticks:
    node = Noted()
    horus.Scheduler().add(node, rate=rate).run(SECONDS)
    first = node.instants[0][0]
    return Ticks(
        begun=[now - first for _, now in node.instants],
        late=[now - due for due, now in node.instants],
    )


def by_trio(rate: float) -> Ticks:
    async def loop() -> list[float]:
        first = trio.current_time() + 0.01
        begun = []
        for n in range(round(rate * SECONDS)):
            await trio.sleep_until(first + n / rate)
            begun.append(trio.current_time() - first)
        return begun

    begun = trio.run(loop)
    return Ticks(begun=begun, late=[instant - n / rate for n, instant in enumerate(begun)])


def by_asyncio(rate: float) -> Ticks:
    async def loop() -> list[float]:
        now_of = asyncio.get_running_loop().time
        first = now_of() + 0.01
        begun = []
        for n in range(round(rate * SECONDS)):
            await asyncio.sleep(first + n / rate - now_of())
            begun.append(now_of() - first)
        return begun

    begun = asyncio.run(loop())
    return Ticks(begun=begun, late=[instant - n / rate for n, instant in enumerate(begun)])


def by_periodic(rate: float) -> Ticks:
    async def loop() -> list[float]:
        first = trio.current_time()
        begun: list[float] = []
        async for _ in trio_util.periodic(1 / rate):
            now = trio.current_time() - first
            if now >= SECONDS:
                break
            begun.append(now)
        return begun

    return Ticks(begun=trio.run(loop), late=None)


def by_horus(rate: float) -> Ticks:
    python = os.environ.get("HORUS_PYTHON")
    if not python:
        raise NotMeasured("HORUS_PYTHON names no interpreter that has it")
    said = run_child("_rival_horus", "async on time", f"{rate}", f"{SECONDS}", python=python)
    return Ticks(begun=said["begun"], late=None)


HANDS: Mapping[str, Callable[[float], Ticks]] = {
    BASE: by_trio,
    "horus_trio": by_horus_trio,
    "trio_util.periodic": by_periodic,
    "asyncio.sleep": by_asyncio,
    "HORUS 0.4.1": by_horus,
}


def rates_of(ticks: Ticks) -> list[float]:
    """Ticks a second, in each step of the run."""
    found = [0] * round(SECONDS / STEP)
    for instant in ticks.begun:
        if 0 <= instant < SECONDS:
            found[int(instant / STEP)] += 1
    return [count / STEP for count in found]


def off_of(ticks: Ticks, rate: float) -> list[float]:
    """By how many ms the intervals between ticks are off the period."""
    return [abs(b - a - 1 / rate) * 1e3 for a, b in itertools.pairwise(ticks.begun)]


def run_at(rate: float) -> None:
    ran: dict[str, Ticks | NotMeasured] = {}
    for name, hand in HANDS.items():
        show_progress(f"{rate:g} Hz: {name}")
        try:
            ran[name] = hand(rate)
        except NotMeasured as reason:
            ran[name] = reason
    show_progress("")
    title = f"one node at {rate:g} Hz"
    course(
        f"Achieved rate of {title}",
        "Hz",
        {n: t if isinstance(t, NotMeasured) else rates_of(t) for n, t in ran.items()},
        base=BASE,
        asked=rate,
        step=STEP,
    )
    distribution(
        f"Lateness of the ticks of {title}",
        "ms",
        {
            name: [late * 1e3 for late in ticks.late]
            for name, ticks in ran.items()
            if not isinstance(ticks, NotMeasured) and ticks.late is not None
        },
        base=BASE,
    )
    distribution(
        f"Intervals that are off the period, {title}",
        "ms",
        {n: t if isinstance(t, NotMeasured) else off_of(t, rate) for n, t in ran.items()},
        base=BASE,
    )


def main() -> None:
    print_machine()
    for rate in RATES:
        run_at(rate)


if __name__ == "__main__":
    main()
