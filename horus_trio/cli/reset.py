"""let the critical nodes of a running robot tick again after an emergency

Refused while an `enter_safe_state` has not returned.
"""

from __future__ import annotations

import argparse

from .looking import add_robot, connected
from .saying import say

__all__ = ["EXAMPLES", "add_arguments", "run"]

EXAMPLES = """\
  horus-trio reset
  horus-trio reset --robot horus
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_robot(parser)


def run(options: argparse.Namespace) -> int:
    """Ask for it."""
    with connected(options) as robot:
        robot.ask("reset")
    say("the emergency is over")
    return 0
