"""a robot among devices that are slow, fail, hang and hang up

First its nodes run in one naive loop, then the same node objects run in the engine, and then it is
summed up what that has shown: the control loop's rate in both, what failed and was survived, and
whether the black box holds every row that was acknowledged.
"""

from __future__ import annotations

import argparse
import contextlib
import math
from pathlib import Path

__all__ = ["EXAMPLES", "add_arguments", "run"]

EXAMPLES = """\
  horus-trio demo                          ten seconds, a live table on a terminal
  horus-trio demo --json > summary.json    what it showed, for programs
  horus-trio demo --database flight.sqlite3 --plain
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--duration",
        type=_seconds,
        default=10.0,
        metavar="SECONDS",
        help="length of the demo, naive loop included; 2 or more (default: %(default)g)",
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON summary on stdout and nothing else"
    )
    parser.add_argument(
        "--database",
        type=_empty_file,
        metavar="PATH",
        help="SQLite file to write, new or empty (default: a temporary file, which is kept)",
    )
    parser.add_argument(
        "--plain", action="store_true", help="lines instead of a live table, also on a terminal"
    )


def run(options: argparse.Namespace) -> int:
    """Run the demo; returns the exit code."""
    from .show import show

    return show(options)


def _seconds(text: str) -> float:
    """A duration from the command line."""
    with contextlib.suppress(ValueError):
        if 2.0 <= (value := float(text)) < math.inf:
            return value
    raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds, 2 or more")


def _empty_file(text: str) -> Path:
    """A file from the command line: empty, made if need be."""
    path = Path(text)
    try:
        if path.is_file() and path.stat().st_size:
            raise argparse.ArgumentTypeError(f"{text!r} is not empty; name another file")
        path.open("ab").close()
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{text!r} cannot be written: {error.strerror}") from None
    return path
