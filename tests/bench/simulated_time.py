"""What ten simulated minutes of a twelve-node robot cost, beside a bare Trio program.

Both release the same grid; the bare program only sleeps, under Trio's autojump clock, while the
robot also sends, fails, times out and is restarted.
"""

from __future__ import annotations

import functools
import logging
import sys
from pathlib import Path

import trio
from _compare import compare, print_machine
from _quick import either

sys.path.append(str(Path(__file__).parents[1]))
import twelve_nodes

SECONDS = either(600.0, 10.0)


def simulated() -> float:
    """CPU seconds of the robot."""
    _, spent = trio.run(functools.partial(twelve_nodes.simulate, 1, SECONDS, trace=False))
    return spent


def main() -> None:
    """Measure and print."""
    logging.disable(logging.CRITICAL)  # what fails on purpose
    print_machine()
    compare(
        "Ten simulated minutes of twelve nodes, 408 Hz in all",
        "s of CPU",
        {
            "bare Trio": functools.partial(twelve_nodes.bare_cost, SECONDS),
            "horus_trio": simulated,
        },
        base="bare Trio",
        repetitions=3,
    )


if __name__ == "__main__":
    main()
