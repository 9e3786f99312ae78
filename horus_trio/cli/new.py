"""make a project of your own: a robot of two nodes, and its tests

NAME is the project's name, and that of the folder that is made here. The node file in it has the
same name, as a module may have it: my-robot has my_robot.py, test_my_robot.py and pyproject.toml.
It runs and passes its tests as it is; what to do next is printed.
"""

from __future__ import annotations

import argparse

__all__ = ["EXAMPLES", "add_arguments", "run"]

EXAMPLES = """\
  horus-trio new my-robot
  horus-trio new lawn.mower
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "name", metavar="NAME", help="letters, digits, and between them dashes, dots, underscores"
    )


def run(options: argparse.Namespace) -> int:
    """Make it, and say what to do next."""
    from .project.making import make_project

    return make_project(options.name)
