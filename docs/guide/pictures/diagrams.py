"""Draws the diagrams of the design's pages: ``python docs/guide/pictures/diagrams.py``.

With ``--check`` nothing is written; a picture that is not as it would be drawn now is named, and
the exit code is 1.
"""

from __future__ import annotations

import sys
from pathlib import Path

import trio
from blocks import run_of_nodes
from drawing import draw as timeline
from scenarios import STOP
from sequence import draw
from sequences import SEQUENCES
from timelines import bring_up_to_date

__all__ = ["main", "pictures"]

FOLDER = Path(__file__).parents[2] / "design" / "pictures"


def pictures() -> dict[str, str]:
    """The text of each picture by the name of its file."""
    drawn = {f"{sequence.name}.svg": draw(sequence) for sequence in SEQUENCES}
    stop = timeline(trio.run(STOP.run), STOP.title, STOP.caption)
    return {"run.svg": run_of_nodes(), f"{STOP.name}.svg": stop, **drawn}


def main(arguments: list[str]) -> int:
    """Write the pictures, or check them; returns the exit code."""
    return bring_up_to_date(pictures, FOLDER, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
