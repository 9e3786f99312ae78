"""let a paused node of a running robot tick again

The old grid goes on; what was let pass meanwhile is not made up for.
"""

from __future__ import annotations

import argparse

from .looking import add_robot, connected
from .saying import say

__all__ = ["EXAMPLES", "add_arguments", "run"]

EXAMPLES = """\
  horus-trio resume camera
  horus-trio resume camera --robot 4711
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("node", metavar="NODE")
    add_robot(parser)


def run(options: argparse.Namespace) -> int:
    """Ask for it."""
    with connected(options) as robot:
        robot.ask("resume", node=options.node)
    say(f"{options.node} ticks again")
    return 0
