"""One job for HORUS's own Python package; run in its environment, which has nothing else.

``_rival_horus.py CASE [NUMBER …]`` prints one JSON object as its last line. Its topics are files in
shared memory, and its async tier is a pool of threads; it opens no network socket.

It is an ordinary program of HORUS's, so ``_as_horus.py`` runs it on this engine's facade, too.
"""

import asyncio
import itertools
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import horus


class Fleet:
    """Async nodes that count their ticks, and what the process spent on them."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.ticks: dict[str, int] = {}

    def add(self, name: str, rate: float, seconds: float = 0.0) -> None:
        """A node that awaits so many seconds in each tick."""
        self.ticks[name] = 0

        async def tick(_: Any) -> None:
            self.ticks[name] += 1
            if seconds:
                await asyncio.sleep(seconds)

        self.nodes.append(horus.Node(name, tick=tick, rate=rate))

    def run(self, seconds: float) -> dict[str, Any]:
        """Run them; halfway it is counted what the process holds."""
        held: dict[str, int] = {}

        def look() -> None:
            held["threads"] = sum(1 for _ in Path("/proc/self/task").iterdir()) - 1
            held["descriptors"] = sum(1 for _ in Path("/proc/self/fd").iterdir()) - 1

        watch = threading.Timer(seconds / 2, look)
        watch.start()
        cpu = time.process_time()
        horus.run(*self.nodes, duration=seconds)
        cpu = time.process_time() - cpu
        watch.join()
        return {"ticks": sum(self.ticks.values()), "cpu": cpu, **held}


def on_time(rate: float, seconds: float, *, is_async: bool) -> dict[str, Any]:
    """One node alone: its ticks, and by how many ms the intervals between them are off."""
    begun: list[float] = []

    def tick(_: Any) -> None:
        begun.append(time.perf_counter())

    async def async_tick(_: Any) -> None:
        begun.append(time.perf_counter())

    node = horus.Node("alone", tick=async_tick if is_async else tick, rate=rate)
    horus.run(node, duration=seconds)
    off = sorted(abs(b - a - 1 / rate) * 1e3 for a, b in itertools.pairwise(begun))
    return {
        "ticks": len(begun),
        "p50": off[len(off) // 2],
        "p99": off[int(len(off) * 0.99)],
        "begun": [round(instant - begun[0], 6) for instant in begun],
    }


def until_told(awaiting: float) -> dict[str, Any]:
    """Say "running" when a node has begun to await; which nodes were shut down at the end."""
    shut: list[str] = []

    async def wait(_: Any) -> None:
        print("running", flush=True)
        await asyncio.sleep(awaiting)

    async def tick(_: Any) -> None:
        pass

    nodes = [
        horus.Node(name, tick=function, rate=10, shutdown=lambda node: shut.append(node.name))
        for name, function in (("awaits", wait), ("beside", tick))
    ]
    horus.run(*nodes, duration=2 * awaiting)
    return {"shut": sorted(shut)}


def main(case: str, *numbers: float) -> dict[str, Any]:
    """What to print."""
    fleet = Fleet()
    if case == "nodes":  # how many, at how many Hz, for how long, awaiting how long
        count, rate, seconds, awaiting = numbers
        for number in range(int(count)):
            fleet.add(f"n{number}", rate, awaiting)
        return fleet.run(seconds)
    if case == "beside a slow node":
        fleet.add("fast", 100)
        fleet.add("slow", 2, 0.5)
        said = fleet.run(numbers[0])
        return {**said, "ticks": fleet.ticks["fast"]}
    if case == "waiting":
        for number in range(int(numbers[0])):
            fleet.add(f"w{number}", 10, 1.0)
        return fleet.run(3)
    if case in ("async on time", "sync on time"):  # at how many Hz, for how long
        rate, seconds = numbers
        return on_time(rate, seconds, is_async=case == "async on time")
    if case == "until told":  # awaiting how long
        return until_told(numbers[0])
    if case == "dict round trip":  # how many; µs of CPU each
        topic = horus.Topic(f"bench.{os.getpid()}")
        message = {"x": 1.0, "y": 2.0, "name": "imu"}
        rounds = int(numbers[0]) if numbers else 50_000
        for _ in range(1000):
            topic.send(message)
            topic.recv()
        cpu = time.process_time()
        for _ in range(rounds):
            topic.send(message)
            if topic.recv() is None:
                raise RuntimeError("the message was lost")
        return {"figure": (time.process_time() - cpu) / rounds * 1e6}
    raise SystemExit(f"no case {case!r}")


if __name__ == "__main__":
    printed = main(sys.argv[1], *map(float, sys.argv[2:]))
    print()
    print(json.dumps(printed))
