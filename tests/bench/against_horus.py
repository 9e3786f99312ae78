"""The same work in HORUS's own async tier, whose Python package needs an environment of its own.

Set ``HORUS_PYTHON`` to an interpreter that has ``horus-robotics`` 0.4.1; without it only our own
figures are printed.
"""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import threading
import time

import trio
from _compare import print_machine

import horus_trio as horus

CASES = {
    "beside a slow node": 300,
    "500 waiting nodes": 15000,
    "alone at 100 Hz": 300,
    "alone at 500 Hz": 2000,
    "threads of 600 waiting nodes": 0,
}


class Waiting(horus.AsyncNode):
    def __init__(self, name: str, rate: float, seconds: float) -> None:
        super().__init__(name, rate=rate)
        self.seconds = seconds

    async def tick_async(self) -> None:
        if self.seconds:
            await trio.sleep(self.seconds)


def ours(case: str) -> int:
    scheduler = horus.Scheduler()
    if case == "threads of 600 waiting nodes":
        for number in range(600):
            scheduler.add(Waiting(f"x{number}", 10, 1.0))
        with horus.background(scheduler):
            time.sleep(1.5)
            return threading.active_count()
    if case == "beside a slow node":
        scheduler.add(Waiting("fast", 100, 0)).add(Waiting("slow", 2, 0.5))
        return scheduler.run(3).statistics.nodes["fast"].ok
    if case == "500 waiting nodes":
        for number in range(500):
            scheduler.add(Waiting(f"w{number}", 10, 0.05))
        return sum(node.ok for node in scheduler.run(3).statistics.nodes.values())
    rate, seconds = (100, 3) if case == "alone at 100 Hz" else (500, 4)
    scheduler.add(Waiting("fast", rate, 0))
    return scheduler.run(seconds).statistics.nodes["fast"].ok


def theirs(python: str, case: str) -> int:
    program = str(pathlib.Path(__file__).with_name("_rival_horus.py"))
    printed = subprocess.run(
        [python, program, case], check=True, capture_output=True, text=True, timeout=60
    ).stdout
    figure: int = json.loads(printed.strip().splitlines()[-1])["figure"]
    return figure


if __name__ == "__main__":
    print_machine()
    python = os.environ.get("HORUS_PYTHON")
    print(f"{'':32} {'horus_trio':>12} {'HORUS 0.4.1':>12}")
    for case, whole in CASES.items():
        rival = str(theirs(python, case)) if python else "-"
        of = f"  of {whole}" if whole else ""
        print(f"{case:32} {ours(case):12} {rival:>12}{of}", flush=True)
