"""The table of causes: for each error class, a program that really comes to it.

`docs/reference/errors.md` quotes what these errors say.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import trio
from trio.testing import MockClock

import horus_trio as horus

__all__ = [
    "CAUSES",
    "SOON",
    "Cause",
    "causes",
    "failure_of",
    "on_virtual_time",
    "raised",
    "raised_by",
]

E = TypeVar("E", bound=BaseException)
T = TypeVar("T")
Cause = Callable[[Path], BaseException]

CAUSES: dict[type[BaseException], Cause] = {}
"""For each class, what is called with an empty folder and gives an error of it."""

SOON = 30.0
"""Real seconds in which everything here ends, on a slow machine, too."""


def causes(kind: type[BaseException]) -> Callable[[Cause], Cause]:
    """The function gives an error of this class."""

    def keep(cause: Cause) -> Cause:
        CAUSES[kind] = cause
        return cause

    return keep


def raised(kind: type[E], call: Callable[[], object]) -> E:
    """The error that a call raises."""
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"it did not raise {kind.__name__}")


async def raised_by(kind: type[E], call: Callable[[], Awaitable[object]]) -> E:
    """The error that an async call raises."""
    with trio.fail_after(SOON):
        try:
            await call()
        except kind as error:
            return error
    raise AssertionError(f"it did not raise {kind.__name__}")


def on_virtual_time(program: Callable[[], Awaitable[T]]) -> T:
    """What an async program returns, where time jumps."""
    return trio.run(program, clock=MockClock(autojump_threshold=0))


def failure_of(node: horus.Node, *, virtual: bool = True) -> Exception:
    """The error that ends the run of a node."""

    async def run() -> horus.RunFailed:
        scheduler = horus.Scheduler(tick_rate=10).add(node, failure_policy=horus.Fatal())
        return await raised_by(horus.RunFailed, scheduler.run)

    failed = on_virtual_time(run) if virtual else trio.run(run)
    return failed.exceptions[0]
