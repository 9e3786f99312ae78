"""No-op async nodes in HORUS's own async tier: how many ticks one core can do, and which are kept.

First the nodes are to tick more often than either can, then at the rates of a robot, where each
tick is a wake-up of the process; plain loops on `trio.sleep_until` show what of that is Trio's.
CPU time is that of all threads, from the start of the run to its end.

HORUS's Python package needs an environment of its own: `HORUS_PYTHON` names an interpreter that
has ``horus-robotics`` 0.4.1. What its nodes lose by each other is measured by ``isolation.py``,
what they hold by ``waiting.py``, its topics by ``topics.py``.
"""

from __future__ import annotations

import os

from _child import run_child
from _compare import NotMeasured, Target, print_machine
from _sides import SECONDS, Said, Side, by_many, measure

BASE = "HORUS 0.4.1"
SATURATED = ((1, 50_000.0), (10, 10_000.0), (100, 1000.0))
USUAL = ((1, 100.0), (1, 500.0), (10, 100.0), (100, 10.0))
"""Nodes and Hz."""

A_LONE_ONE = "a lone node's tick is a round of Trio's loop, with three calls of the kernel"
A_WAKE_UP_EACH = (
    "waking the process costs more than the tick, also on bare Trio; HORUS wakes once for all "
    "nodes of a rate, which here are spread over the period"
)


def by_horus(nodes: int, rate: float) -> Said:
    python = os.environ.get("HORUS_PYTHON")
    if not python:
        raise NotMeasured("HORUS_PYTHON names no interpreter that has it")
    numbers = (nodes, rate, SECONDS, 0)
    return run_child("_rival_horus", "nodes", *map(str, numbers), python=python)


def main() -> None:
    print_machine()
    both: dict[str, Side] = {BASE: by_horus, "horus_trio": by_many("horus_trio")}
    for nodes, rate in SATURATED:
        target = Target(at_least=3.0, why_missed=A_LONE_ONE if nodes == 1 else "")
        measure(nodes, rate, both, base=BASE, target=target)
    for nodes, rate in USUAL:
        target = Target(at_least=3.0, why_missed=A_WAKE_UP_EACH)
        sides = {**both, "trio.sleep_until": by_many("trio")}
        measure(nodes, rate, sides, base=BASE, target=target)


if __name__ == "__main__":
    main()
