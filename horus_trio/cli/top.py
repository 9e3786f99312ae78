"""a live table of a running robot

Only counters are read: looking costs the robot next to nothing. Ctrl-C leaves.
"""

from __future__ import annotations

import argparse
import sys
import time

from .looking import add_json, add_robot, connected, interruptible, print_json

__all__ = ["EXAMPLES", "add_arguments", "run"]

EXAMPLES = """\
  horus-trio top
  horus-trio top --robot horus --interval 0.5
  horus-trio top --json          the counters now, once
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_robot(parser)
    add_json(parser, "print the counters as one JSON object, once")
    parser.add_argument(
        "--interval",
        type=_interval,
        default=1.0,
        metavar="SECONDS",
        help="between two pictures, 0.1 or more (default: %(default)g)",
    )


def run(options: argparse.Namespace) -> int:
    """Draw until the robot ends or the user leaves."""
    from .console import Console
    from .control import ControlError
    from .frame import Frame
    from .table import Table

    with connected(options) as robot:
        if options.json:
            print_json(robot.ask("frame"))
            return 0
        console = Console(sys.stdout)
        table = Table(console)
        with interruptible():
            while True:
                try:
                    frame = Frame.from_dict(robot.ask("frame"))
                except ControlError as error:
                    console.line(str(error))
                    return 0
                table.observe(frame)
                if console.live:
                    state = f"{frame.elapsed:.1f} s" if frame.running else "not running"
                    title = console.styled(frame.name, "bold") + f"  {state}"
                    console.draw([title, "", *table.rows(console.size[1] - 3)])
                else:
                    console.line(table.summary())
                time.sleep(options.interval)
    return 0


def _interval(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.1 <= value <= 30.0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0.1 to 30")
    return value
