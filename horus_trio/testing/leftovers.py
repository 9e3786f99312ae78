"""What a piece of code may leave behind: threads, descriptors, child processes and tasks.

Each function takes a snapshot. Compare two of them: what is in the second and not in the first was
left behind in between. An element equals itself in a later snapshot, and prints as what it is.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import trio

from .internals import idle_worker_threads

__all__ = [
    "Leftover",
    "Scene",
    "all_tasks",
    "busy_threads",
    "child_processes",
    "open_descriptors",
    "settled",
    "system_tasks",
    "whats_there",
]


T = TypeVar("T")

PAUSE = 0.0005
"""Real seconds for which the loop stands still, so that threads may end."""


@dataclass(frozen=True, slots=True)
class Leftover:
    """A thread, a descriptor or a process, as it was when a snapshot was taken.

    Attributes:
        kind: ``"thread"``, ``"descriptor"`` or ``"process"``.
        identity: What makes it the same one in a later snapshot.
        text: How it prints.
    """

    kind: str
    identity: object
    text: str = field(compare=False)

    def __str__(self) -> str:
        return self.text


def whats_there() -> set[Leftover]:
    """All busy threads, open descriptors and child processes of this process; any thread."""
    return busy_threads() | open_descriptors() | child_processes()


def busy_threads() -> set[Leftover]:
    """All threads but Trio's idle workers, which wait ten seconds for more work and then end.

    A worker that still runs somebody's function counts.
    """
    idle = idle_worker_threads()
    return {
        Leftover("thread", thread, f"thread {thread.name!r}{_function_of(thread)}")
        for thread in threading.enumerate()
        if thread not in idle
    }


def _function_of(thread: threading.Thread) -> str:
    target = getattr(thread, "_target", None)  # gone when the thread ends
    name = getattr(target, "__qualname__", "")
    return f", which runs {name}" if name else ""


def open_descriptors() -> set[Leftover]:
    """The open file descriptors with what they lead to; none where there is no ``/proc``."""
    try:
        links = list(Path("/proc/self/fd").iterdir())
    except FileNotFoundError:
        return set()
    descriptors = set[Leftover]()
    lifelong, _ = _resource_tracker()
    for link in links:
        if link.name == str(lifelong):
            continue
        try:
            target = str(link.readlink())
        except FileNotFoundError:
            continue  # it was the descriptor of this very listing
        text = f"descriptor {link.name} of {target}"
        descriptors.add(Leftover("descriptor", (link.name, target), text))
    return descriptors


def child_processes() -> set[Leftover]:
    """The children of this process, dead ones that nobody has waited for included.

    Without multiprocessing's resource tracker, which the first child that is spawned brings along
    and which lives as long as this process. None where there is no ``/proc``.
    """
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return set()
    children = set[Leftover]()
    _, lifelong = _resource_tracker()
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            head, _, fields = (process / "stat").read_text().rpartition(")")
        except (FileNotFoundError, ProcessLookupError):
            continue
        state, parent = fields.split()[:2]
        pid, _, name = head.partition(" (")
        if int(parent) == os.getpid() and int(pid) != lifelong:
            dead = ", dead" if state == "Z" else ""
            children.add(Leftover("process", int(pid), f"process {pid} ({name}{dead})"))
    return children


def _resource_tracker() -> tuple[int | None, int | None]:
    """The descriptor and the process of multiprocessing's resource tracker, if it runs."""
    module = sys.modules.get("multiprocessing.resource_tracker")
    tracker = getattr(module, "_resource_tracker", None)
    return getattr(tracker, "_fd", None), getattr(tracker, "_pid", None)


def all_tasks() -> set[trio.lowlevel.Task]:
    """Every task of the current Trio run, system tasks and the caller included; on the loop."""
    root = trio.lowlevel.current_root_task()
    found = set[trio.lowlevel.Task]()
    waiting = [root] if root else []
    while waiting:
        task = waiting.pop()
        found.add(task)
        for nursery in task.child_nurseries:
            waiting.extend(nursery.child_tasks)
    return found


def system_tasks() -> set[trio.lowlevel.Task]:
    """The tasks that no nursery of a program waits for, and the main task; on the loop."""
    root = trio.lowlevel.current_root_task()
    nurseries = root.child_nurseries if root else ()
    return {task for nursery in nurseries for task in nursery.child_tasks}


async def settled(look: Callable[[], T], grace: float) -> T:
    """What `look` still sees after at most `grace` seconds of real time. A checkpoint.

    Threads end in real time, and so do the tasks that wait for them.
    """
    await trio.lowlevel.checkpoint()
    left = look()
    give_up = time.monotonic() + grace
    while left and time.monotonic() < give_up:
        # Not trio.sleep: under a virtual clock it would let hours go by, or never end. And not
        # checkpoints alone: they would leave a thread that is to end no time to run.
        threading.Event().wait(PAUSE)
        await trio.lowlevel.checkpoint()
        left = look()
    return left


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything that could be left behind, at one instant of a Trio run.

    Attributes:
        tasks: All tasks of the run.
        things: All threads, descriptors and processes.
    """

    tasks: frozenset[trio.lowlevel.Task]
    things: frozenset[Leftover]

    @classmethod
    def now(cls) -> Scene:
        """The present one; on the loop."""
        return cls(frozenset(all_tasks()), frozenset(whats_there()))

    def since(self, earlier: Scene) -> dict[str, list[str]]:
        """What is new, by its kind: ``"task"``, or that of the `Leftover`."""
        new = [("task", f"task {task.name}") for task in self.tasks - earlier.tasks]
        new += [(thing.kind, str(thing)) for thing in self.things - earlier.things]
        kinds: dict[str, list[str]] = {}
        for kind, text in sorted(new):
            kinds.setdefault(kind, []).append(text)
        return kinds
