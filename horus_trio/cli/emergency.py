"""bring the critical nodes of a running robot into their safe state, at once

Their `enter_safe_state` is called, and they do not tick until `horus-trio reset`; the run goes on.
It works while the robot's loop is blocked, too. The exit code is 1 unless all of them are safe.
"""

from __future__ import annotations

import argparse

from .answers import names, text
from .looking import add_robot, connected
from .saying import say

__all__ = ["EXAMPLES", "add_arguments", "run"]

EXAMPLES = """\
  horus-trio emergency
  horus-trio emergency "somebody is in the cell" --robot horus
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("reason", metavar="REASON", nargs="?", help="for the log and the report")
    add_robot(parser)


def run(options: argparse.Namespace) -> int:
    """Ask for it, and say whom it has reached."""
    reason = {} if options.reason is None else {"reason": options.reason}
    with connected(options) as robot:
        reached = robot.ask("emergency", **reason)
    say(f"emergency: {text(reached, 'reason')}")
    fates = {fate: names(reached, fate) for fate in ("safe", "pending", "failed")}
    for fate, said in (("safe", "safe"), ("pending", "NOT SAFE YET"), ("failed", "NOT SAFE")):
        for node in fates[fate]:
            say(f"  {node}: {said}")
    if not any(fates.values()):
        say("  there is no critical node")
    return 1 if fates["pending"] or fates["failed"] else 0
