"""run a robot: the scheduler, the nodes or the node classes of a file or module

TARGET is FILE.py or MODULE, or one of them with :ATTRIBUTE. Without an attribute it is the one
Scheduler of the module; or the nodes that are made there; or the node classes that are defined
there. An attribute may be any of these, or a function that returns one.

While it runs a table is drawn on a terminal, elsewhere a line a second; `horus-trio top` and its
like can look into it from another terminal. Ctrl-C stops it gracefully, a second one at once.

A program written for HORUS is run as it is, with this engine behind `import horus`, by
`horus-trio run --as-horus FILE.py [ARGUMENT …]`.
"""

from __future__ import annotations

import argparse
import contextlib
import math

__all__ = ["EXAMPLES", "add_arguments", "run"]

EXAMPLES = """\
  horus-trio run robot.py
  horus-trio run robot.py:scheduler --duration 60
  horus-trio run my_package.robot:make_robot --quiet
  horus-trio run robot.py --set camera.rate=15 --set camera.tick_timeout=0.5
  horus-trio run robot.py --set 'imu.failure_policy=Restart(max_restarts=2)'
  horus-trio run robot.py --set scheduler.tick_rate=50 --json > report.json
  horus-trio run robot.py --duration 30 --profile --profile-trace trace.json
  horus-trio run --as-horus app.py --speed 2
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    from .overrides import parse_override

    parser.set_defaults(wrong_usage=parser.error)
    parser.add_argument(
        "target",
        metavar="TARGET",
        nargs="?",
        help="FILE.py or MODULE, or one of them with :ATTRIBUTE",
    )
    parser.add_argument(
        "--as-horus",
        nargs=argparse.REMAINDER,
        metavar="PROGRAM",
        help="run a program written for HORUS; what follows is the program and its arguments",
    )
    parser.add_argument(
        "--duration",
        type=_seconds,
        metavar="SECONDS",
        help="how long it ticks; 0 initialises and shuts down (default: until it is stopped)",
    )
    parser.add_argument(
        "--set",
        type=parse_override,
        action="append",
        default=[],
        metavar="NODE.OPTION=VALUE",
        dest="overrides",
        help="change an option of a node, or of the scheduler: scheduler.OPTION=VALUE; repeatable",
    )
    parser.add_argument(
        "--profile",
        action="store_true",
        help="measure where the time of each node goes, and say what to do about it",
    )
    parser.add_argument(
        "--profile-trace",
        metavar="FILE",
        help="profile, and write a trace that https://ui.perfetto.dev opens",
    )
    parser.add_argument("--name", metavar="NAME", help="of the robot, for reports and --robot")
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument(
        "--json", action="store_true", help="print the report as JSON on stdout, and nothing else"
    )
    shown.add_argument(
        "--quiet", action="store_true", help="no table, and no report unless something is wrong"
    )
    shown.add_argument(
        "--plain", action="store_true", help="lines instead of a live table, also on a terminal"
    )
    parser.add_argument(
        "--traceback", action="store_true", help="show the engine's frames in tracebacks, too"
    )
    parser.add_argument(
        "--no-control", action="store_true", help="make no socket for `horus-trio top` and its like"
    )


def run(options: argparse.Namespace) -> int:
    """Run the robot; returns the exit code."""
    if options.as_horus is not None:
        from .as_horus import run_as_horus

        return run_as_horus(options)
    if options.target is None:
        options.wrong_usage("the following arguments are required: TARGET")
    from .session import Session

    return Session(options).run()


def _seconds(text: str) -> float:
    """A duration from the command line."""
    with contextlib.suppress(ValueError):
        if 0.0 <= (value := float(text)) < math.inf:
            return value
    raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds, 0 or more")
