"""the topics of a running robot, with what was sent, dropped and waits"""

from __future__ import annotations

import argparse

from .answers import count, part, text
from .looking import add_json, add_robot, connected, print_json, print_table

__all__ = ["EXAMPLES", "add_arguments", "run"]

EXAMPLES = """\
  horus-trio topics
  horus-trio topics --json | jq '.[] | {name, dropped}'
"""

HEADER = ("topic", "sent", "received", "dropped", "waiting", "subscriptions")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_robot(parser)
    add_json(parser, "print all their counters as a JSON list")


def run(options: argparse.Namespace) -> int:
    """Print them."""
    with connected(options) as robot:
        topics = list(part(robot.ask("statistics"), "topics", dict).values())
    if options.json:
        print_json(topics)
        return 0
    print_table(
        HEADER,
        [
            (
                text(topic, "name"),
                *(str(count(topic, key)) for key in ("sent", "received", "dropped", "depth")),
                str(len(part(topic, "subscriptions", list))),
            )
            for topic in topics
        ],
    )
    return 0
