"""Notices steps of tasks that hold Trio's loop up, and where they do.

A step is what a task does between two yields. The time is real, whatever the run's clock.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

import trio

from ...executor import frames_of_thread
from ..eviction import is_inside
from ..places import Place, place_of_frames

__all__ = ["LongStep", "StepWatch", "watch_steps"]

LOOKS = 8
"""How often in the time of its limit a step is looked at."""


class LongStep:
    """One step of a task.

    Attributes:
        task: The name of the task.
        seconds: How long it took.
        place: Where it stood, if it was seen.
    """

    def __init__(self, task: trio.lowlevel.Task) -> None:
        self.task: str = task.name
        self.seconds: float = 0.0
        self.place: Place | None = None
        self.began: float = time.perf_counter()


class StepWatch(trio.abc.Instrument):
    """Watches the steps of tasks inside one task.

    Arguments:
        root: That task; its own steps do not count.
        limit: Real seconds from which a step counts as long.

    Attributes:
        longest: The longest of the long ones, or None.
    """

    def __init__(self, root: trio.lowlevel.Task, limit: float) -> None:
        self.longest: LongStep | None = None
        self._root = root
        self._limit = limit
        self._step: LongStep | None = None
        self._loop = threading.get_ident()
        self._over = threading.Event()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """A step begins."""
        if task is not self._root and is_inside(task, self._root):
            self._step = LongStep(task)

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """It has ended."""
        step, self._step = self._step, None
        if step is None:
            return
        step.seconds = time.perf_counter() - step.began
        if step.seconds >= self._limit and (
            self.longest is None or step.seconds > self.longest.seconds
        ):
            self.longest = step

    def look(self) -> None:
        """Look where long steps stand, until `leave`; in a thread of its own."""
        while not self._over.wait(self._limit / LOOKS):
            step = self._step
            if step is None or time.perf_counter() - step.began < self._limit / 2:
                continue
            place = _place_in_task(frames_of_thread(self._loop))
            if place is not None and self._step is step:
                step.place = place

    def leave(self) -> None:
        """End `look`; any thread."""
        self._over.set()


@contextmanager
def watch_steps(limit: float) -> Iterator[StepWatch]:
    """Watch the tasks that are started inside; the present one does not count."""
    watch = StepWatch(trio.lowlevel.current_task(), limit)
    thread = threading.Thread(target=watch.look, name="step watch", daemon=True)
    thread.start()
    trio.lowlevel.add_instrument(watch)
    try:
        yield watch
    finally:
        trio.lowlevel.remove_instrument(watch)
        watch.leave()
        thread.join()


def _place_in_task(frames: Sequence[tuple[FrameType, int]]) -> Place | None:
    """Where the running task stands: what is above Trio's loop on the stack, and not ours."""
    stack: list[tuple[FrameType, int]] = []
    for frame, line in frames:
        module = str(frame.f_globals.get("__name__", ""))
        if module == "trio._core._run":
            break
        if not module.startswith("horus_trio."):
            stack.append((frame, line))
    return place_of_frames(reversed(stack))
