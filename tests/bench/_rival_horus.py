"""One case for HORUS's own Python package; run by ``against_horus.py`` in its environment.

Prints one JSON object as its last line.
"""

import asyncio
import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

import horus

CASE = sys.argv[1]
ticks: dict[str, int] = {}


def node(name: str, rate: float, seconds: float) -> Any:
    ticks[name] = 0

    async def tick(_: Any) -> None:
        ticks[name] += 1
        if seconds:
            await asyncio.sleep(seconds)

    return horus.Node(name, tick=tick, rate=rate)


if CASE == "beside a slow node":
    horus.run(node("fast", 100, 0), node("slow", 2, 0.5), duration=3)
    figure = ticks["fast"]
elif CASE == "500 waiting nodes":
    horus.run(*(node(f"w{i}", 10, 0.05) for i in range(500)), duration=3)
    figure = sum(ticks.values())
elif CASE == "alone at 100 Hz":
    horus.run(node("fast", 100, 0), duration=3)
    figure = ticks["fast"]
elif CASE == "alone at 500 Hz":
    horus.run(node("fast", 500, 0), duration=4)
    figure = ticks["fast"]
else:  # threads of 600 nodes that wait
    figures: list[int] = []

    def look() -> None:
        time.sleep(1.5)
        figures.append(len(list(Path("/proc/self/task").iterdir())))

    threading.Thread(target=look, daemon=True).start()
    horus.run(*(node(f"x{i}", 10, 1.0) for i in range(600)), duration=3)
    figure = figures[0]
print()
print(json.dumps({"figure": figure}))
