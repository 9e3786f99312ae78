"""stop a running robot gracefully, as Ctrl-C in its terminal would

It is only asked for: the robot then ends in its own time. The reason is in its report.
"""

from __future__ import annotations

import argparse

from .answers import text
from .looking import add_robot, connected
from .saying import say

__all__ = ["EXAMPLES", "add_arguments", "run"]

EXAMPLES = """\
  horus-trio stop
  horus-trio stop "the battery is changed" --robot horus
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("reason", metavar="REASON", nargs="?", help="for the report")
    add_robot(parser)


def run(options: argparse.Namespace) -> int:
    """Ask for it."""
    reason = {} if options.reason is None else {"reason": options.reason}
    with connected(options) as robot:
        name = text(robot.ask("robot"), "name")
        robot.ask("stop", **reason)
    say(f"{name} was told to stop")
    return 0
