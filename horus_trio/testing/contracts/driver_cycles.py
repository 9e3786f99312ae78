"""The rule for drivers that opening and closing, thousands of times, leaves nothing behind."""

from __future__ import annotations

from collections import Counter
from typing import Any

from ..leftovers import Scene, child_processes, settled
from . import contract
from .contract import broken
from .driver_calls import CLEAR
from .line import Lines

__all__ = ["many_openings"]

WARM = 3
"""Openings before the first look: what is made once is there then."""


async def many_openings(rule: str, lines: Lines[Any]) -> str:
    """There are not more descriptors, threads, tasks and processes than before."""
    async with lines.new_and_closed() as line:
        driver, cycles, fresh = line.driver, lines.cycles, False
        childless = len(child_processes())
        for _ in range(WARM):
            try:
                await driver.open()
            except CLEAR:
                fresh = True  # one driver, one connection
                driver = await lines.driver_of(line.peer)
                await driver.open()
            if len(child_processes()) > childless:
                cycles = max(1, lines.cycles // 10)
            await driver.aclose()
        before = _count(Scene.now())
        done, look_at = 0, 10
        while done < cycles:
            if fresh:
                driver = await lines.driver_of(line.peer)
            await driver.open()
            await driver.aclose()
            done += 1
            if done in (look_at, cycles):
                look_at *= 10
                await _look(rule, before, done)
    return f"{done:,} times" + (", with a process each time" if cycles < lines.cycles else "")


def _count(scene: Scene) -> Counter[str]:
    counts = Counter(thing.kind for thing in scene.things)
    counts["task"] = len(scene.tasks)
    return counts


async def _look(rule: str, before: Counter[str], done: int) -> None:
    more = await settled(lambda: _count(Scene.now()) - before, contract.GRACE)
    if more:
        left = ", ".join(f"{count} {kind}(s)" for kind, count in sorted(more.items()))
        raise broken(
            rule,
            expected=f"nothing more than before when it was opened and closed {done} times",
            came=f"there are {left} more",
            remedy="close in aclose() all that open() opens, and wait for processes that end; "
            "a peer closes what the driver has closed",
        )
