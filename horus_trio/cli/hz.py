"""how often a topic is published in a running robot

The topic's own counter is read once a second; nothing is subscribed. Ctrl-C leaves.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

from .answers import count, number
from .looking import add_json, add_robot, connected, interruptible, print_json
from .saying import say

__all__ = ["EXAMPLES", "add_arguments", "run"]

EXAMPLES = """\
  horus-trio hz imu
  horus-trio hz imu --count 1 --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("topic", metavar="TOPIC")
    add_robot(parser)
    add_json(parser, "print each measurement as a JSON object a line")
    parser.add_argument(
        "--count", type=int, metavar="N", help="leave after so many seconds (default: never)"
    )


def run(options: argparse.Namespace) -> int:
    """Print the rate once a second."""
    with connected(options) as robot, interruptible():
        first = before = robot.ask("topic", topic=options.topic)
        measured = 0
        while options.count is None or measured < options.count:
            time.sleep(1.0)
            now = robot.ask("topic", topic=options.topic)
            measured += 1
            rate, average = _rate(before, now), _rate(first, now)
            if options.json:
                print_json({"topic": options.topic, "rate": rate, "average": average} | now)
            else:
                say(f"{rate:8.1f} Hz   average {average:.1f} Hz")
                sys.stdout.flush()
            before = now
    return 0


def _rate(before: dict[str, Any], now: dict[str, Any]) -> float:
    seconds = number(now, "time") - number(before, "time")
    sent = count(now, "sent") - count(before, "sent")
    return sent / seconds if seconds > 0 else 0.0
