"""who waits for what in a running robot: its tasks and threads, with their stacks

It works while the robot's loop is blocked, too, and shows what blocks it.
"""

from __future__ import annotations

import argparse

from .errors import CommandFailed
from .looking import add_robot, connected
from .saying import say

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
        text = robot.ask("dump")
    if not isinstance(text, str):
        raise CommandFailed(f"the robot answers {text!r:.80}, expected a text: is it one?")
    say(text.removesuffix("\n"))
    return 0
