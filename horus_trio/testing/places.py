"""Where code stands: the line of a task or an error that means something to its author."""

from __future__ import annotations

import linecache
import os
from collections.abc import Iterable
from dataclasses import dataclass
from types import FrameType

import trio

__all__ = ["Place", "place_of_error", "place_of_frames", "place_of_task", "standing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A line of code, and the line of the caller's own function that led there."""

    file: str
    line: int
    function: str
    outer: Place | None = None

    @property
    def source(self) -> str:
        """The text of the line."""
        return linecache.getline(self.file, self.line).strip()

    def __str__(self) -> str:
        near = os.path.relpath(self.file)
        file = self.file if near.startswith("..") else near
        text = f"{file}:{self.line} in {self.function}: {self.source}"
        return f"{text} (called at {self.outer})" if self.outer else text


_PLUMBING = ("trio", "outcome", "trio_util", "contextlib")
_OUR_OWN = tuple(
    f"{__package__}.{name}" for name in ("cancellation.attempt", "cancellation.sweeper", "eviction")
)


def place_of_task(task: trio.lowlevel.Task, root: trio.lowlevel.Task | None) -> Place | None:
    """Where a task stands: its innermost line outside Trio and the sweep's own code.

    Of a task that consists of Trio alone, where the task stands that opened its nursery; up to
    `root`.
    """
    place = place_of_frames(task.iter_await_frames())
    nursery = task.parent_nursery
    if place is None and task is not root and nursery is not None:
        return place_of_task(nursery.parent_task, root)
    return place


def place_of_error(error: BaseException) -> Place | None:
    """Where an error came from."""
    frames = list[tuple[FrameType, int]]()
    traceback = error.__traceback__
    while traceback is not None:
        frames.append((traceback.tb_frame, traceback.tb_lineno))
        traceback = traceback.tb_next
    return place_of_frames(frames)


def _is_plumbing(frame: FrameType) -> bool:
    module = _module(frame)
    return module in _OUR_OWN or module.partition(".")[0] in _PLUMBING


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))


def place_of_frames(frames: Iterable[tuple[FrameType, int]]) -> Place | None:
    """The innermost of these frames, from the outermost on, with the outermost."""
    stack = [(frame, line) for frame, line in frames if not _is_plumbing(frame)]
    if not stack:
        return None
    (outer, outer_line), (inner, inner_line) = stack[0], stack[-1]
    caller = None if outer is inner else _line(outer, outer_line)
    return _line(inner, inner_line, caller)


def _line(frame: FrameType, line: int, outer: Place | None = None) -> Place:
    code = frame.f_code
    return Place(file=code.co_filename, line=line, function=code.co_name, outer=outer)


def standing(task: trio.lowlevel.Task) -> str:
    """The user's line in which a task stands, or the tasks it waits for, as text."""
    found: Place | None = None
    waiting = [task]
    while waiting:
        inner = waiting.pop()
        frames = [f for f in inner.iter_await_frames() if not _is_plumbing(f[0])]
        users = [f for f in frames if not _module(f[0]).startswith("horus_trio.")]
        found = place_of_frames((users or frames)[-1:]) or found
        waiting += [child for nursery in inner.child_nurseries for child in nursery.child_tasks]
    return f"at {found}" if found is not None else "at an unknown place"
