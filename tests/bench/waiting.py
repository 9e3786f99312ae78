"""What waiting costs in threads and descriptors, and how soon a robot is gone when told to stop.

600 nodes await something, in a process of their own whose ``/proc/self`` says what it holds. The
demo's robot gets a SIGTERM; its hooks' time is its own affair, the rest is the engine's, with the
end of the devices' processes and of the interpreter.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

from _child import run_child
from _compare import Count, Target, counts, print_machine
from _quick import either

NODES = either(600, 60)
STOPS = either(5, 1)
TARGETS = {"threads": Target(at_most=5), "descriptors": Target(at_most=12)}


def held() -> dict[str, dict[str, float]]:
    """What each holds."""
    found: dict[str, dict[str, float]] = {
        hand: run_child("_waiting", hand, str(NODES))
        for hand in ("horus_trio", "trio", "asyncio", "threads")
    }
    python = os.environ.get("HORUS_PYTHON")
    if python:
        found["HORUS 0.4.1"] = run_child("_rival_horus", "waiting", str(NODES), python=python)
    return found


def stop() -> float:
    """Seconds from SIGTERM to the end of the demo's robot, without those of its hooks."""
    program = Path(__file__).with_name("_demo_robot.py")
    with subprocess.Popen(
        [sys.executable, str(program)], stdout=subprocess.PIPE, text=True
    ) as robot:
        try:
            stdout = robot.stdout
            if stdout is None or stdout.readline().strip() != "running":
                raise RuntimeError("the demo's robot did not run")
            told = time.monotonic()
            robot.send_signal(signal.SIGTERM)
            printed, _ = robot.communicate(timeout=20)
            gone = time.monotonic()
        finally:
            robot.kill()
    said = json.loads(printed)
    if robot.returncode or said["ended"] != "SIGTERM":
        raise RuntimeError(f"the demo's robot ended with {robot.returncode}: {said}")
    seconds: float = gone - told - said["hooks"]
    return seconds


def main() -> None:
    print_machine()
    found = held()
    for what, target in TARGETS.items():
        counts(
            f"{what.capitalize()} of {NODES} waiting nodes",
            "whole process",
            [
                Count(
                    name=name,
                    figure=holds[what],
                    target=target if name == "horus_trio" else None,
                )
                for name, holds in found.items()
            ],
        )
    stops = sorted(stop() for _ in range(STOPS))
    counts(
        "From SIGTERM to the end of the demo's robot, without its hooks",
        f"seconds, {STOPS} times",
        [
            Count(name="median", figure=round(statistics.median(stops), 3)),
            Count(name="slowest", figure=round(stops[-1], 3), target=Target(at_most=0.5)),
        ],
    )


if __name__ == "__main__":
    main()
