"""Who waits for whom, and where every task and thread stands, as text; in any thread.

The loop need not run: Trio's tree of tasks is walked from outside, so a task that is running, or
that ends meanwhile, may be described as it was a moment before.
"""

from __future__ import annotations

import linecache
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from types import FrameType
from typing import TYPE_CHECKING

import trio

from ...executor import (
    AsyncIOExecutor,
    describe_silence,
    frames_of,
    frames_of_thread,
    is_engines,
    wait_of,
)
from ...health import NodeState
from ...printable import entry

if TYPE_CHECKING:
    from .blocked import BlockedLoop

__all__ = ["make_dump"]

ATTEMPTS = 5
"""Looks at a set of tasks that changes meanwhile."""


def make_dump(
    title: str,
    executor: AsyncIOExecutor | None,
    root: trio.lowlevel.Task | None,
    blocked: BlockedLoop | None,
) -> str:
    """The text, a line or more for each node, topic, task and thread.

    Arguments:
        title: Its first line.
        executor: The nodes; None: there is no run.
        root: Trio's first task.
        blocked: Knows whether the loop is.
    """
    lines = [title]
    if executor is not None:
        if blocked is not None and (culprit := blocked.culprit()) is not None:
            lines.append(f"the loop has been BLOCKED for {blocked.blocked_for:.1f} s by {culprit}")
        report = executor.safety.report
        if report is not None and report.active:
            lines.append(str(report))
        lines += ["", "nodes", *_nodes(executor), *_pool(executor)]
    if root is not None:
        runners = () if executor is None else tuple(executor.runners.values())
        names = {runner.task: f"node {runner.name!r}" for runner in runners}
        lines += ["", "tasks", *_tasks(root, names, 1)]
    lines += ["", "threads", *_threads()]
    return "".join(f"{entry(line)}\n" for line in lines)


def _nodes(executor: AsyncIOExecutor) -> Iterator[str]:
    runners = executor.runners.copy()
    width = len(max(runners, key=len, default=""))
    now = executor.clock()
    for name, runner in runners.items():
        state, phase, tick, wait = runner.state, runner.phase, runner.seat.tick, wait_of(runner)
        text = state.value
        topic = runner.seat.waiting_for
        if state is NodeState.WAITING_FOR_INPUT and topic is not None:
            text += f" from topic {topic!r}: {describe_silence(topic, runners)}"
        elif wait is not None and tick is not None:
            text += f", in tick {tick.seq} for {now - tick.scheduled:.1f} s: {wait}"
        elif state is not NodeState.RUNNING:
            text = phase if phase.startswith(text) else f"{text} ({phase})"
        yield f"  {name:<{width}}  {text}"


def _pool(executor: AsyncIOExecutor) -> Iterator[str]:
    pool = executor.pool.statistics()
    yield f"  pool: {pool.borrowed} of {pool.tokens:g} tokens are taken"
    if pool.waiting_nodes:
        yield f"  pool: waiting for a token: {', '.join(pool.waiting_nodes)}"
    for thread in pool.abandoned:
        yield f"  left behind {thread.age:.1f} s ago: {thread.node}.{thread.call}"


def _tasks(
    task: trio.lowlevel.Task, names: Mapping[trio.lowlevel.Task | None, str], depth: int
) -> Iterator[str]:
    indent, name = "  " * depth, names.get(task, task.name)
    if getattr(task.coro, "cr_running", False):
        yield f"{indent}{name}, running now: see its thread"
    else:
        yield f"{indent}{name}"
        yield from _stack(frames_of(task), f"{indent}  ")
    for nursery in list(task.child_nurseries):
        for child in _children(nursery):
            yield from _tasks(child, names, depth + 1)


def _children(nursery: trio.Nursery) -> list[trio.lowlevel.Task]:
    for _ in range(ATTEMPTS):
        try:
            return sorted(nursery.child_tasks, key=lambda task: task.name)
        except (RuntimeError, AttributeError):  # it changes, or is being made
            continue
    return []


def _threads() -> Iterator[str]:
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    for ident in sys._current_frames():
        stack = list(_stack(reversed(frames_of_thread(ident)), "    "))
        if ident == threading.get_ident() and not stack:
            continue  # it does nothing but this
        idle = "" if stack else ", idle"
        yield f"  {names.get(ident, ident)}{idle}"
        yield from stack


def _stack(frames: Iterable[tuple[FrameType, int]], indent: str) -> Iterator[str]:
    """The users' own frames, the outermost first; where there are none, the engine's innermost."""
    users: list[str] = []
    ours: list[str] = []
    for frame, line in frames:
        module = str(frame.f_globals.get("__name__", ""))
        if module.partition(".")[0] in _PLUMBING or module in _IDLING:
            continue
        file, function = frame.f_code.co_filename, frame.f_code.co_name
        source = linecache.getline(file, line).strip()
        is_ours = is_engines(frame)
        (ours if is_ours else users).append(f"{indent}{file}:{line} in {function}: {source}")
    yield from users or ours[-1:]


_PLUMBING = (
    "trio",
    "outcome",
    "trio_util",
    "threading",
    "runpy",
    "contextlib",
    "_pytest",
    "pluggy",
)
_IDLING = (
    "horus_trio.logs",
    "horus_trio.executor.frames",
    "horus_trio.executor.threads",
    "horus_trio.scheduler.run",
    "horus_trio.scheduler.scheduler",
    f"{__package__}.thread",
    __name__,
)
