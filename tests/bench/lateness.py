"""How late ticks start, and what waiting costs, against a loop on `trio.sleep_until`."""

from __future__ import annotations

import functools
import time
from collections.abc import Awaitable, Callable

import trio
from _compare import Target, compare, percentile, print_machine

import horus_trio as horus

SECONDS = 1.0


class Sensor(horus.AsyncNode):
    def __init__(self, late: list[float]) -> None:
        super().__init__()
        self.late = late

    async def tick_async(self) -> None:
        tick = self.current_tick
        if tick is not None:
            self.late.append(trio.current_time() - tick.scheduled)


async def sleeping(rate: float, late: list[float]) -> None:
    start = trio.current_time()
    for n in range(int(rate * SECONDS)):
        await trio.sleep_until(start + n / rate)
        late.append(trio.current_time() - (start + n / rate))


async def ours(rate: float, late: list[float]) -> None:
    scheduler = horus.Scheduler()
    scheduler.add(Sensor(late), rate=rate)
    await scheduler.run(SECONDS)


def lateness(program: Callable[..., Awaitable[None]], rate: float, fraction: float) -> float:
    late: list[float] = []
    trio.run(program, rate, late)
    return percentile(late, fraction) * 1e3


def cpu(program: Callable[..., Awaitable[None]], rate: float) -> float:
    begun = time.process_time()
    trio.run(program, rate, [])
    return (time.process_time() - begun) / (rate * SECONDS) * 1e6


if __name__ == "__main__":
    print_machine()
    for rate in (100.0, 1000.0):
        for fraction, target in ((0.5, 0.35), (0.99, 1.0)):
            compare(
                f"Lateness p{fraction * 100:.0f} at {rate:g} Hz",
                "ms",
                {
                    "trio.sleep_until": functools.partial(lateness, sleeping, rate, fraction),
                    "horus_trio": functools.partial(lateness, ours, rate, fraction),
                },
                base="trio.sleep_until",
                repetitions=5,
                targets={"horus_trio": Target(at_most=target)},
            )
    compare(
        "CPU of one node at 100 Hz, start and stop included",
        "µs a tick",
        {
            "trio.sleep_until": functools.partial(cpu, sleeping, 100.0),
            "horus_trio": functools.partial(cpu, ours, 100.0),
        },
        base="trio.sleep_until",
        repetitions=5,
        targets={"horus_trio": Target(at_most=1.3)},
    )
