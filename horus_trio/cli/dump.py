"""who waits for what in a running robot: its tasks and threads, with their stacks

It works while the robot's loop is blocked, too, and shows what blocks it.
"""

from __future__ import annotations

import argparse
import sys

from .looking import add_robot, connected

__all__ = ["EXAMPLES", "add_arguments", "run"]

EXAMPLES = """\
  horus-trio dump
  horus-trio dump --robot horus > stuck.txt
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_robot(parser)


def run(options: argparse.Namespace) -> int:
    """Print it."""
    with connected(options) as robot:
        text: str = robot.ask("dump")
        sys.stdout.write(text if text.endswith("\n") else f"{text}\n")
    return 0
