"""change the rate of a node of a running robot

Its new grid begins now. The change lasts until the robot's process ends.
"""

from __future__ import annotations

import argparse

from .looking import add_robot, connected
from .saying import say

__all__ = ["EXAMPLES", "add_arguments", "run"]

EXAMPLES = """\
  horus-trio rate camera 15
  horus-trio rate camera 0.5 --robot horus
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("node", metavar="NODE")
    parser.add_argument("hz", metavar="HZ", type=float)
    add_robot(parser)


def run(options: argparse.Namespace) -> int:
    """Ask for it."""
    with connected(options) as robot:
        robot.ask("rate", node=options.node, hz=options.hz)
    say(f"{options.node} ticks at {options.hz:g} Hz")
    return 0
