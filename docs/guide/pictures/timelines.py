"""Draws the timelines of the guide: ``python docs/guide/pictures/timelines.py``.

Each picture shows a run that happens now, on virtual time, so it is the same whenever the engine
does the same. With ``--check`` nothing is written; a picture that is not as it would be drawn now
is named, with the first lines that differ, and the exit code is 1.
"""

from __future__ import annotations

import difflib
import itertools
import sys
from collections.abc import Callable
from pathlib import Path

import trio
from drawing import draw
from scenarios import SCENARIOS

__all__ = ["bring_up_to_date", "main", "pictures"]

FOLDER = Path(__file__).parent

DIFFERING = 12
"""Lines shown of what differs."""

HEADS = ("---", "+++", "@@ ")
"""What lines of a patch begin with that say nothing here."""


def pictures() -> dict[str, str]:
    """The text of each picture by the name of its file."""
    return {
        f"{scenario.name}.svg": draw(trio.run(scenario.run), scenario.title, scenario.caption)
        for scenario in SCENARIOS
    }


def main(arguments: list[str]) -> int:
    """Write the pictures, or check them; returns the exit code."""
    return bring_up_to_date(pictures, FOLDER, arguments)


def bring_up_to_date(
    draw_all: Callable[[], dict[str, str]], folder: Path, arguments: list[str]
) -> int:
    """Write what has changed, or with ``--check`` only say so; returns the exit code."""
    program = Path(sys.argv[0]).name
    if arguments not in ([], ["--check"]):
        print(f"usage: {program} [--check]", file=sys.stderr)
        return 2
    drawn = draw_all()
    there = {path.name: path.read_text("utf-8") for path in folder.glob("*.svg")}
    stale = sorted(
        name for name in drawn.keys() | there.keys() if drawn.get(name) != there.get(name)
    )
    for name in stale:
        if name not in drawn:
            print(f"{name} is drawn by nothing here; remove it, or keep it elsewhere")
        elif arguments:
            print(f"{name} is not as it would be drawn now; run {program} and look at it")
            print(differing(there.get(name, ""), drawn[name]))
        else:
            (folder / name).write_text(drawn[name], "utf-8")
            print(f"{name} is drawn anew")
    return 1 if stale and arguments else 0


def differing(there: str, drawn: str) -> str:
    """The first lines that are not the same, as of a patch."""
    lines = difflib.unified_diff(there.splitlines(), drawn.splitlines(), n=0, lineterm="")
    return "\n".join(itertools.islice((line for line in lines if line[:3] not in HEADS), DIFFERING))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
