"""the nodes of a running robot, with their states and counters"""

from __future__ import annotations

import argparse

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
        nodes = list(robot.ask("statistics")["nodes"].values())
        if options.json:
            print_json(nodes)
            return 0
        print_table(
            HEADER,
            [
                (
                    node["name"],
                    node["state"].lower().replace("_", " "),
                    "-" if node["rate"] is None else f"{node['rate']:g} Hz",
                    f"{node['achieved_rate']:.1f} Hz",
                    str(node["ok"]),
                    str(node["errors"] + node["timed_out"] + node["abandoned"]),
                    str(node["missed"]),
                    str(node["restarts"]),
                    f"{1e3 * node['lateness']['p99']:.1f} ms",
                )
                for node in nodes
            ],
            left=2,
        )
    return 0
