"""the nodes of a running robot, with their states and counters"""

from __future__ import annotations

import argparse

from .answers import count, number, part, text
from .looking import add_json, add_robot, connected, print_json, print_table

__all__ = ["EXAMPLES", "add_arguments", "run"]

EXAMPLES = """\
  horus-trio nodes
  horus-trio nodes --json | jq '.[] | select(.health != "HEALTHY")'
"""

HEADER = ("node", "state", "rate", "achieved", "ok", "failed", "missed", "restarts", "late p99")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_robot(parser)
    add_json(parser, "print all their counters as a JSON list")


def run(options: argparse.Namespace) -> int:
    """Print them."""
    with connected(options) as robot:
        nodes = list(part(robot.ask("statistics"), "nodes", dict).values())
    if options.json:
        print_json(nodes)
        return 0
    print_table(
        HEADER,
        [
            (
                text(node, "name"),
                text(node, "state").lower().replace("_", " "),
                "-" if node.get("rate") is None else f"{number(node, 'rate'):g} Hz",
                f"{number(node, 'achieved_rate'):.1f} Hz",
                str(count(node, "ok")),
                str(sum(count(node, key) for key in ("errors", "timed_out", "abandoned"))),
                str(count(node, "missed")),
                str(count(node, "restarts")),
                f"{1e3 * number(part(node, 'lateness', dict), 'p99'):.1f} ms",
            )
            for node in nodes
        ],
        left=2,
    )
    return 0
