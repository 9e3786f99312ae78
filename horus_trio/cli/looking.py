"""What the commands have in common that look into a running robot, or run one."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ..printable import one_line
from .saying import complain, say

if TYPE_CHECKING:
    import horus_trio as horus

    from .control.client import Connection

__all__ = [
    "add_json",
    "add_robot",
    "connected",
    "interruptible",
    "listening_if_possible",
    "print_json",
    "print_table",
]


def add_robot(parser: argparse.ArgumentParser) -> None:
    """Declare which robot is meant."""
    parser.add_argument(
        "--robot", metavar="NAME", help="the robot's name or process number, if several run"
    )


def add_json(parser: argparse.ArgumentParser, what: str) -> None:
    """Declare ``--json``."""
    parser.add_argument("--json", action="store_true", help=what)


@contextlib.contextmanager
def connected(options: argparse.Namespace) -> Iterator[Connection]:
    """A connection to the robot that is meant.

    Raises:
        ControlError: There is none, or it is not clear which.
    """
    from .control.client import Connection, choose

    with Connection(choose(options.robot).path) as robot:
        yield robot


@contextlib.contextmanager
def listening_if_possible(scheduler: horus.Scheduler) -> Iterator[None]:
    """Let others look into a robot while inside; it runs without that, too."""
    from .control import ControlError, listening

    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(listening(scheduler))
        except ControlError as error:
            complain(f"horus-trio: nobody can look into this robot: {error}")
        yield


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Ctrl-C is how one leaves what goes on for ever: no failure."""
    with contextlib.suppress(KeyboardInterrupt):
        yield


def print_json(value: Any) -> None:
    """A line."""
    say(json.dumps(value))
    sys.stdout.flush()


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> None:
    """Columns as wide as they have to be; the first `left` to the left, the others to the right."""
    table = [header, *([one_line(cell) for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in table) for i in range(len(header))]
    for row in table:
        cells = [
            cell.rjust(width) if i >= left else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        say("  ".join(cells).rstrip())
