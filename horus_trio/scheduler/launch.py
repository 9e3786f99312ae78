"""Robots without ceremony: `run` in one line, `background` in a thread of its own."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import outcome
import trio

from ..errors import ConfigurationError
from ..node import Node
from .report import RunReport
from .scheduler import RunResult, Scheduler

__all__ = ["background", "run"]


def run(
    *nodes: Node | Callable[[], Node],
    duration: float | None = None,
    **options: Any,
) -> RunResult:
    """Run nodes and nothing else: ``horus_trio.run(Camera(), Control(), duration=3)``.

    Arguments:
        nodes: Nodes, or classes or functions that make them.
        duration: Seconds of ticking; None: until stopped.
        options: Of the `Scheduler`.

    Returns:
        The `RunReport`; inside a Trio run an awaitable, as `Scheduler.run`.
    """
    scheduler = _robot(nodes, options)
    if trio.lowlevel.in_trio_task():
        return _run_and_release(scheduler, duration)  # type: ignore[return-value]
    try:
        return scheduler.run(duration)
    finally:
        scheduler._release_nodes()


def _robot(nodes: Iterable[Node | Callable[[], Node]], options: Mapping[str, Any]) -> Scheduler:
    """A scheduler with these nodes; if one is refused, the others are free again."""
    scheduler = Scheduler(**options)
    try:
        for node in nodes:
            scheduler.add(node)
    except BaseException:
        scheduler._release_nodes()
        raise
    return scheduler


async def _run_and_release(scheduler: Scheduler, duration: float | None) -> RunReport:
    try:
        return await scheduler.run(duration)
    finally:
        scheduler._release_nodes()


@contextlib.contextmanager
def background(
    nodes: Scheduler | Node | Callable[[], Node] | Iterable[Node | Callable[[], Node]],
    **options: Any,
) -> Iterator[Scheduler]:
    """Run nodes in a thread while inside: ``with background(nodes) as scheduler:``.

    Inside, every node is initialised, and the scheduler can be used from this thread: topics,
    statistics, live control. Leaving stops the robot and waits for it; its report is in
    ``scheduler.report``.

    Arguments:
        nodes: A node, several of them, or a `Scheduler`.
        options: Of the `Scheduler` that is made for them.

    Raises:
        RunFailed: On leaving (or entering), if the run failed.
    """
    made_here = not isinstance(nodes, Scheduler)
    if isinstance(nodes, Scheduler):
        scheduler = nodes
        if options:
            raise ConfigurationError(
                f"background(scheduler, {', '.join(options)}): options are the scheduler's own; "
                "pass them to Scheduler(…)"
            )
    else:
        scheduler = _robot(nodes if isinstance(nodes, Iterable) else (nodes,), options)
    ready = threading.Event()
    ended: list[outcome.Outcome[RunReport]] = []

    async def main() -> RunReport:
        return await scheduler.run(task_status=_Ready(ready))

    def engine() -> None:
        ended.append(outcome.capture(trio.run, main))
        ready.set()

    thread = threading.Thread(target=engine, name=f"horus_trio {scheduler.name}", daemon=True)
    thread.start()
    ready.wait()
    try:
        if not any(isinstance(end, outcome.Error) for end in ended):  # it may be done at once
            yield scheduler
    finally:
        scheduler.stop("its background block was left")
        thread.join()
        if made_here:
            scheduler._release_nodes()
    [end] = ended
    end.unwrap()


class _Ready:
    """A `trio.TaskStatus` that tells another thread."""

    def __init__(self, event: threading.Event) -> None:
        self._event = event

    def started(self, value: None = None) -> None:
        """The robot is initialised."""
        self._event.set()
