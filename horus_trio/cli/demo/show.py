"""The demo from its beginning to its summary."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import horus_trio as horus

from ..console import Console
from ..live import View
from ..looking import listening_if_possible
from .failures import CountedEvents
from .naive import NaiveLoop, NaiveOutcome
from .robot import Robot
from .summary import LineTally, Summary, count_rows
from .world import World, WorldError

__all__ = ["show"]

NAIVE_SHARE, NAIVE_MOST = 0.25, 2.5
"""Of the duration, the naive loop gets this share, and at most so many seconds."""

STOPPING = 0.5
"""Seconds kept back for the robot's end."""

HANG_UP_AFTER, HANG_UP_SHARE, HANG_UP_MOST = 0.3, 0.4, 2.0
"""The line hangs up after this share of the run, for that share, at most so many seconds."""


def show(options: argparse.Namespace) -> int:
    """Run the demo; returns the exit code."""
    deadline = time.monotonic() + options.duration - STOPPING
    database = options.database
    if database is None:
        handle, name = tempfile.mkstemp(prefix="horus-demo-", suffix=".sqlite3")
        os.close(handle)
        database = Path(name)
    console = Console(None if options.json else sys.stdout, plain=options.plain)
    try:
        with World() as world:
            naive_seconds = min(NAIVE_MOST, NAIVE_SHARE * options.duration)
            _introduce(console, world, naive_seconds)
            robot = Robot(world, database)
            events = CountedEvents()
            with events.listening():
                naive = _run_naively(robot, naive_seconds, console)
                seconds = max(options.duration / 2, deadline - time.monotonic())
                summary = _run_robot(world, robot, events, round(seconds, 1), console, naive)
    except WorldError as error:
        sys.stderr.write(f"horus-trio demo: {error}\n")
        return 1
    if options.json:
        sys.stdout.write(json.dumps(summary.to_dict(), indent=2) + "\n")
    else:
        summary.write(console)
    return summary.exit_code


def _run_naively(robot: Robot, seconds: float, console: Console) -> NaiveOutcome:
    naive = NaiveLoop(robot.nodes).run(seconds)
    hung = f", then {naive.stuck_in} hung for good" if naive.stuck_in else ""
    console.line(f"  {naive.rounds} rounds, {naive.rate:.1f} Hz{hung}")
    console.line()
    return naive


def _run_robot(
    world: World,
    robot: Robot,
    events: CountedEvents,
    seconds: float,
    console: Console,
    naive: NaiveOutcome,
) -> Summary:
    scheduler = robot.scheduler()
    scheduler.on_result(events.result)
    before = LineTally.of(robot.imu)
    world.hang_up(after=HANG_UP_AFTER * seconds, seconds=min(HANG_UP_MOST, HANG_UP_SHARE * seconds))
    error = None
    title = "The same nodes in horus_trio"
    with (
        listening_if_possible(scheduler),
        View(console, scheduler, events, title=title, seconds=seconds) as view,
    ):
        try:
            report: horus.RunReport = scheduler.run(seconds)
        except horus.RunFailed as failure:
            error, report = str(failure), failure.report
    if view.broken:
        raise BrokenPipeError
    return Summary(
        report=report,
        error=error,
        naive=naive,
        line=LineTally.of(robot.imu).since(before),
        failures=events.failures,
        casualties=tuple(world.casualties()),
        black_box=count_rows(robot.black_box.path, robot.black_box.acknowledged),
    )


def _introduce(console: Console, world: World, naive_seconds: float) -> None:
    console.line(console.styled("A robot among devices, each of them a process:", "bold"))
    console.line(f"  an inertial sensor's firmware (process {world.pid('firmware')}: kill -9 it!)")
    console.line(f"  a weather service             (process {world.pid('weather')})")
    console.line(f"  a sonar                       (process {world.pid('sonar')})")
    console.line()
    console.line(console.styled(f"Its nodes in one naive loop, {naive_seconds:g} s", "bold"))
    console.line("  while True:")
    console.line("      for node in nodes: node.tick()")
