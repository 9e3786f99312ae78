"""The robot of sixty nodes: ``python -m soak.robot WORLD SECONDS EVERY PLANT…``.

It runs on the real clock until its time is over, SIGINT comes, or nobody reads what it tells. It
tells how it is in lines of JSON on stdout, one every `EVERY` seconds: what it has (`vitals`), what
became of the releases of each node, of the messages of each topic, and how late ticks began. These
are taken by a thread beside the run, as anybody may who looks at a robot.
"""

from __future__ import annotations

import collections
import contextlib
import gc
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import trio

import horus_trio as horus
from horus_trio import NodeState
from horus_trio.cli.control import listening
from horus_trio.testing.leftovers import whats_there

from . import vitals
from .devices import Numbered, devices
from .lines import tell
from .loops import loops
from .plants import PLANTS
from .stores import stores

__all__ = ["NODES", "Robot"]

NODES = 60

ALWAYS = "control 1"
"""A node that is there from the beginning to the stop."""

LOSSY = "udp 2"
"""A device that loses some of its messages itself."""


class Robot:
    """All nodes in a scheduler.

    Arguments:
        world: Where the devices are.
        plants: What is to be noticed, by names in `PLANTS`.
    """

    def __init__(self, world: dict[str, Any], plants: Sequence[str]) -> None:
        self.scheduler: horus.Scheduler = horus.Scheduler(name="soak")
        self.held: dict[str, float] = {}
        """The nodes that are meant to hold their rates, in Hz."""
        self.lossless: list[Numbered] = []
        """Devices of which every message has to come."""
        planted = [PLANTS[plant]() for plant in plants]
        for node, is_held in (
            *devices(world),
            *stores(Path(world["folder"])),
            *loops(world, self.scheduler, planted),
        ):
            self.scheduler.add(node)
            if isinstance(node, Numbered) and is_held and node.name != LOSSY:
                self.lossless.append(node)
            if is_held:
                self.held[node.name] = self.scheduler.statistics().nodes[node.name].rate or 0.0


class Teller:
    """Tells how the robot is, in a thread.

    Arguments:
        robot: Which.
        every: Seconds from one time to the next.
        to: The descriptor to write to.
    """

    def __init__(self, robot: Robot, every: float, to: int) -> None:
        self._robot = robot
        self._every = every
        self._to = to
        self._over = threading.Event()
        self._late: list[float] = []
        self._log: collections.Counter[str] = collections.Counter()
        self._thread = threading.Thread(target=self._tell_on, name="teller")
        robot.scheduler.on_result(self._note)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def count(self, record: logging.LogRecord) -> bool:
        """Count what is logged, as a filter of the handler."""
        self._log[record.levelname] += 1
        return False

    def _note(self, result: horus.AsyncResult) -> None:
        if result.node in self._robot.held and result.success:
            self._late.append(result.lateness)

    def _tell_on(self) -> None:
        begun = time.monotonic()
        number = 0
        while not self._over.wait(max(0.0, begun + number * self._every - time.monotonic())):
            number += 1
            if not self._is_ticking():
                continue
            state = self._state()
            if not self._is_ticking():
                continue  # it was taken in the middle of the stop
            try:
                tell(self._to, state)
            except BrokenPipeError:
                self._robot.scheduler.stop("nobody reads what it tells")
                return

    def _is_ticking(self) -> bool:
        """Whether it has begun, and does not stop yet: what it has then is no measure."""
        seen = self._robot.scheduler.statistics()
        one = seen.nodes[ALWAYS]
        return seen.elapsed > 0 and one.state not in (NodeState.STOPPING, NodeState.STOPPED)

    def _state(self) -> dict[str, Any]:
        late, self._late = self._late, []
        late.sort()
        seen = self._robot.scheduler.statistics()
        busy, all_ticks = vitals.machine_ticks()
        return {
            "at": seen.elapsed,
            "resident": vitals.resident(),
            "descriptors": vitals.descriptors(),
            "threads": vitals.threads(),
            "children": vitals.children(),
            "tasks": self._tasks(),
            "blocks": sys.getallocatedblocks(),
            "collections": gc.get_stats()[2]["collections"],
            "processor": vitals.processor_seconds(),
            "machine": [busy, all_ticks],
            "processors": os.cpu_count() or 1,
            "late": [_part(late, 0.5), _part(late, 0.99), late[-1] if late else 0.0],
            "stalls": seen.stall_count,
            "abandoned": len(seen.pool.abandoned) if seen.pool else 0,
            "logged": sum(self._log.values()),
            "missing": sum(node.missing for node in self._robot.lossless),
            "nodes": {
                name: [
                    node.ticks_released,
                    node.ok,
                    node.errors,
                    node.timed_out,
                    node.abandoned,
                    node.cancelled,
                    node.missed,
                    node.in_flight,
                    node.restarts,
                ]
                for name, node in seen.nodes.items()
            },
            "topics": {
                name: [
                    topic.sent,
                    [[s.published, s.received, s.dropped, s.depth] for s in topic.subscriptions],
                ]
                for name, topic in seen.topics.items()
            },
        }

    def _tasks(self) -> int:
        run = self._robot.scheduler._run_state
        if run is None:
            return 0
        try:
            return trio.from_thread.run_sync(_living_tasks, trio_token=run.token)
        except trio.RunFinishedError:
            return 0


def _living_tasks() -> int:
    return trio.lowlevel.current_statistics().tasks_living


def _part(ordered: list[float], fraction: float) -> float:
    """A percentile of what is in order."""
    return ordered[int(fraction * (len(ordered) - 1))] if ordered else 0.0


def main(world: str, seconds: str, every: str, *plants: str) -> None:
    """Run it."""
    to = os.dup(1)
    os.dup2(2, 1)  # whatever somebody prints is not taken for what is told
    robot = Robot(json.loads(world), plants)
    teller = Teller(robot, float(every), to)
    handler = logging.NullHandler()
    handler.handle = teller.count  # type: ignore[method-assign]
    logging.getLogger().addHandler(handler)
    tell(to, {"held": robot.held, "pid": os.getpid()})
    before = whats_there()
    failure = ""
    with listening(robot.scheduler), teller:
        try:
            report = robot.scheduler.run(float(seconds))
        except horus.RunFailed as failed:
            report, failure = failed.report, repr(failed)
    left = _left_behind(before) if not plants else []
    tell(
        to,
        {
            "end": {
                "reason": report.reason,
                "seconds": report.duration,
                "failure": failure,
                "failed": [one.node for one in report.failed],
                "hook_errors": report.hook_errors,
                "stragglers": [one.node for one in report.stragglers],
                "warnings": report.warnings,
                "emergencies": len(report.emergencies),
                "left": left,
                "log": dict(teller._log),
            }
        },
    )
    os._exit(0)  # threads that were planted, or left behind, would not end


def _left_behind(before: set[Any], patience: float = 3.0) -> list[str]:
    """What the run has left: threads, descriptors and processes; those it listed may end."""
    give_up = time.monotonic() + patience
    while True:
        left = sorted(str(thing) for thing in whats_there() - before)
        if not left or time.monotonic() > give_up:
            return left
        time.sleep(0.05)


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):  # whoever started it is gone
        main(*sys.argv[1:])
