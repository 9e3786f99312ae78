"""The demo's robot, which says when it runs and how long its hooks took; run by ``waiting.py``.

Prints ``running``, and after a signal one JSON object.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import horus_trio as horus
from horus_trio.cli.demo.robot import Robot
from horus_trio.cli.demo.world import World

WARM = 1.0
"""Seconds of running before it says so."""


def timed(hook: Callable[[horus.Node], None], spans: list[tuple[float, float]]) -> object:
    def shutdown(self: horus.Node) -> None:
        begun = time.monotonic()
        try:
            hook(self)
        finally:
            spans.append((begun, time.monotonic()))

    return shutdown


def union(spans: list[tuple[float, float]]) -> float:
    """Seconds in which at least one of them lasted."""
    total, reached = 0.0, 0.0
    for begun, ended in sorted(spans):
        total += max(0.0, ended - max(begun, reached))
        reached = max(reached, ended)
    return total


def main() -> None:
    spans: list[tuple[float, float]] = []
    with World() as world, tempfile.TemporaryDirectory() as folder:
        robot = Robot(world, Path(folder) / "black_box.sqlite3")
        for node in robot.nodes:
            if type(node).shutdown is not horus.Node.shutdown:
                type(node).shutdown = timed(type(node).shutdown, spans)  # type: ignore[method-assign, assignment]
        scheduler = robot.scheduler()
        said = False

        def on_result(result: horus.AsyncResult) -> None:
            nonlocal said
            if not said and result.node == "control" and result.seq >= WARM * robot.control.rate:
                said = True
                print("running", flush=True)

        scheduler.on_result(on_result)
        report = scheduler.run(30)
    print(json.dumps({"hooks": union(spans), "ended": report.reason}))


if __name__ == "__main__":
    main()
