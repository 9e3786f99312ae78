"""release no more ticks to a node of a running robot

A tick in flight goes on. `horus-trio resume` undoes it.
"""

from __future__ import annotations

import argparse

from .looking import add_robot, connected
from .saying import say

__all__ = ["EXAMPLES", "add_arguments", "run"]

EXAMPLES = """\
  horus-trio pause camera
  horus-trio pause camera --robot 4711
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("node", metavar="NODE")
    add_robot(parser)


def run(options: argparse.Namespace) -> int:
    """Ask for it."""
    with connected(options) as robot:
        robot.ask("pause", node=options.node)
    say(f"{options.node} is paused")
    return 0
