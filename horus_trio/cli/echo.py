"""the messages of a topic of a running robot, as they come

A message a line, as JSON; long ones are cut, and what is no JSON is shown as its repr. This is the
one command that subscribes. Its buffer is small: what comes faster than it can be shown is dropped,
which is said on standard error. Ctrl-C leaves.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from .answers import count
from .looking import add_json, add_robot, connected, interruptible, print_json
from .saying import complain, encodable, say

__all__ = ["EXAMPLES", "add_arguments", "run"]

EXAMPLES = """\
  horus-trio echo imu
  horus-trio echo imu --count 10 | jq .gyro
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("topic", metavar="TOPIC")
    add_robot(parser)
    add_json(parser, 'print {"data": …, "dropped": …} a line: how many were dropped so far, too')
    parser.add_argument(
        "--count", type=int, metavar="N", help="leave after so many messages (default: never)"
    )


def run(options: argparse.Namespace) -> int:
    """Print what comes."""
    with connected(options) as robot, interruptible():
        dropped = 0
        if options.count is not None and options.count < 1:
            return 0
        for shown, message in enumerate(robot.follow("echo", topic=options.topic), start=1):
            if options.json:
                print_json(message)
            else:
                now = count(message, "dropped")
                if now > dropped:
                    complain(f"({now - dropped} dropped)")
                    dropped = now
                say(_shown(message.get("data")))
                sys.stdout.flush()
            if shown == options.count:
                break
    return 0


def _shown(data: Any) -> str:
    """As JSON that people of all languages can read, without what a terminal obeys."""
    text = json.dumps(data, ensure_ascii=False)
    if not text.isprintable():
        text = "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)
    return text if encodable(sys.stdout, text) == text else json.dumps(data)
