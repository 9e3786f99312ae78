"""A robot of twelve nodes (408 Hz in all) that fails, restarts and times out; and its bare rival.

As a program: `python twelve_nodes.py SEED SECONDS [FILE]` simulates it, writes the trace to FILE
and prints its SHA-256; `python twelve_nodes.py cost SECONDS` compares the CPU of the simulation
with that of a bare Trio program that releases the same grid under an autojump clock.
"""

from __future__ import annotations

import logging
import random
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import trio
import trio.testing

import horus_trio as horus
from horus_trio.testing import Harness, open_harness


class Part(horus.AsyncNode):
    """A part of the robot: it reads, may take its time, may fail, and sends."""

    failure_policy = horus.Restart(within=None, backoff=0.05)

    def __init__(
        self,
        name: str,
        seed: int,
        *,
        reads: str | None = None,
        takes: float = 0.0,
        fails: float = 0.0,
        **options: Any,
    ) -> None:
        super().__init__(name, **options)
        self.dice = random.Random(f"{seed}/{name}")
        self.reads = reads
        self.takes = takes
        self.fails = fails

    async def init(self) -> None:
        self.count = 0

    async def tick_async(self) -> int:
        if self.takes:
            await trio.sleep(self.dice.random() * self.takes)
        if self.fails and self.dice.random() < self.fails:
            raise ConnectionError(f"{self.name} lost its line")
        self.count += 1
        heard = None if self.reads is None else self.latest(self.reads)
        self.send(self.name, {"count": self.count, "heard": heard and heard["count"]})
        return self.count


def build(seed: int) -> horus.Scheduler:
    scheduler = horus.Scheduler(name="twelve")
    timeout = horus.Ignore()
    for part in (
        Part("imu", seed, rate=100),
        Part("control", seed, rate=100, reads="imu"),
        Part("wheels", seed, rate=50, reads="control", fails=0.001),
        Part("camera", seed, rate=30, takes=0.02, tick_timeout=0.015, failure_policy=timeout),
        Part("lidar", seed, rate=20, takes=0.03, fails=0.002),
        Part("detector", seed, on="camera", reads="camera"),
        Part("planner", seed, rate=10, reads="detector", tick_timeout=0.05),
        Part("arm", seed, rate=50, reads="planner"),
        Part("gps", seed, rate=5, takes=0.3, fails=0.02),
        Part("battery", seed, rate=2, fails=0.01, failure_policy=horus.CircuitBreaker(2, 1.0)),
        Part("radio", seed, rate=40, reads="battery", fails=0.001),
        Part("log", seed, rate=1, reads="gps"),
    ):
        scheduler.add(part)
    return scheduler


GRID = (
    (100, 0.0),
    (100, 0.005),
    (50, 0.0),
    (50, 0.01),
    *((rate, 0.0) for rate in (30, 20, 10, 5, 2, 40, 1)),
)
"""Rate in Hz and phase in seconds of the eleven nodes with a rate: spread, as a scheduler does."""


async def simulate(seed: int, seconds: float, *, trace: bool) -> tuple[Harness, float]:
    """The harness after the simulation, and the CPU seconds of advancing it."""
    async with open_harness(build(seed), seed=seed, trace=trace) as h:
        began = time.process_time()
        await h.advance(seconds)
        return h, time.process_time() - began


def bare_cost(seconds: float) -> float:
    """CPU seconds of a bare Trio program that releases the same grid."""

    async def node(rate: float, phase: float) -> None:
        n = 0
        while phase + n / rate < seconds:
            await trio.sleep_until(phase + n / rate)
            n += 1

    async def main() -> float:
        began = time.process_time()
        async with trio.open_nursery() as nursery:
            for rate, phase in GRID:
                nursery.start_soon(node, rate, phase)
        return time.process_time() - began

    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def compare_cost(seconds: float, repetitions: int) -> float:
    """The median ratio of the simulation's CPU to the bare program's, measured interleaved."""
    ratios = []
    for _ in range(repetitions):
        bare = bare_cost(seconds)
        h, ours = trio.run(lambda: simulate(1, seconds, trace=False))
        nodes = h.statistics().nodes.values()
        ratios.append(ours / bare)
        print(
            f"{seconds:g} s: bare Trio {bare:.2f} s, the robot {ours:.2f} s, {ours / bare:.2f} x; "
            f"{sum(n.ok for n in nodes)} ticks, {sum(n.errors for n in nodes)} failed, "
            f"{sum(n.timed_out for n in nodes)} timed out, "
            f"{sum(n.restarts for n in nodes)} restarts",
            flush=True,
        )
    return statistics.median(ratios)


def main(arguments: list[str]) -> None:
    logging.disable(logging.CRITICAL)
    if arguments[0] == "cost":
        ratio = compare_cost(float(arguments[1]), int(arguments[2]) if arguments[2:] else 3)
        print(f"ratio {ratio:.3f}")
        return
    h, _ = trio.run(lambda: simulate(int(arguments[0]), float(arguments[1]), trace=True))
    if arguments[2:]:
        Path(arguments[2]).write_text(f"{h.trace}\n")
    print(h.trace.digest())


if __name__ == "__main__":
    main(sys.argv[1:])
