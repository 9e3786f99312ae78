"""Tasks that do not end by themselves: where they stand, and how a test gets rid of them."""

from __future__ import annotations

import linecache
import sys
from collections.abc import Iterable
from pathlib import Path
from types import FrameType

import trio

from .internals import drop, throw_into

__all__ = ["end_by_force", "place_of"]

_MACHINERY = tuple(
    str(Path(sys.modules[name].__file__ or "").parent) for name in ("trio", "outcome")
)

ROUNDS = 10
"""How often a task is thrown an error before it is dropped."""

STEPS = 10
"""Passes of the loop for a task to end in."""


class _Evicted(BaseException):
    """Thrown into a task that cannot be cancelled."""


def place_of(task: trio.lowlevel.Task) -> str:
    """Where a task stands in the code of the robot: ``at robot.py:12 in tick: await …``."""
    found: tuple[FrameType, int] | None = None
    for leaf in (task, *_leaves(task)):
        for frame, line in leaf.iter_await_frames():
            if not frame.f_code.co_filename.startswith(_MACHINERY):
                found = frame, line
    if found is None:
        return "at an unknown place"
    code, line = found[0].f_code, found[1]
    text = linecache.getline(code.co_filename, line).strip()
    return f"at {code.co_filename}:{line} in {code.co_name}: {text}"


async def end_by_force(tasks: Iterable[trio.lowlevel.Task], why: str) -> None:
    """End tasks that neither return nor can be cancelled. A checkpoint.

    They are thrown an error at what they await; one that swallows even that is dropped where it
    stands, and nothing of it runs any more. Only for a test that has failed already.

    Arguments:
        tasks: Those tasks; they are ended with the tasks below them.
        why: What the error says.
    """
    left = [task for task in tasks if _is_alive(task)]
    for turn in range(2 * ROUNDS):
        for task in left:
            for leaf in tuple(_leaves(task)):
                (throw_into if turn < ROUNDS else drop)(leaf, _Evicted(why))
        for _ in range(STEPS):
            await trio.lowlevel.checkpoint()
        left = [task for task in left if _is_alive(task)]
        if not left:
            return


def _leaves(task: trio.lowlevel.Task) -> Iterable[trio.lowlevel.Task]:
    """The tasks below `task` (or itself) that wait for something else than their children."""
    children = [child for nursery in task.child_nurseries for child in nursery.child_tasks]
    if not children:
        yield task
    for child in children:
        yield from _leaves(child)


def _is_alive(task: trio.lowlevel.Task) -> bool:
    nursery = task.parent_nursery
    return nursery is not None and task in nursery.child_tasks
