"""Runs measuring programs one after the other and makes the page: ``python tests/bench/_run.py``.

Names choose programs; without any, all run. What a program has recorded takes the place of what it
had recorded before when it ends well; one that fails leaves that alone, the others run all the
same, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import _figures
from _compare import RECORD

HERE = Path(__file__).parent

PATIENCE = 1800.0
"""Seconds after which a program has hung."""


def programs(here: Path = HERE) -> list[str]:
    """The names of all measuring programs."""
    return sorted(path.stem for path in here.glob("[!_]*.py"))


def run_all(names: Sequence[str], folder: Path, here: Path = HERE) -> dict[str, str]:
    """Run programs, and write the page in `folder` after each; what went wrong, by program."""
    wrong: dict[str, str] = {}
    began = time.monotonic()
    for number, name in enumerate(names, 1):
        minutes, seconds = divmod(int(time.monotonic() - began), 60)
        print(
            f"\n== {number} of {len(names)}: {name} (after {minutes}:{seconds:02} min)", flush=True
        )
        error = _run(here / f"{name}.py", folder / "results" / f"{name}.json")
        if error:
            wrong[name] = error
            print(f"{name} {error}", flush=True)
        _figures.write(folder)
    return wrong


def _run(program: Path, record: Path) -> str:
    """Run one program; returns what went wrong."""
    with tempfile.TemporaryDirectory() as temporary:
        found = Path(temporary) / record.name
        try:
            finished = subprocess.run(
                [sys.executable, str(program)],
                env=os.environ | {RECORD: str(found)},
                stdin=subprocess.DEVNULL,
                timeout=PATIENCE,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"did not end within {PATIENCE:g} s"
        if finished.returncode != 0:
            return f"ended with exit code {finished.returncode}"
        if not found.exists():
            return "recorded no table"
        record.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(found, record)
    return ""


def main(arguments: Sequence[str] | None = None) -> int:
    """The program; its exit code is 0 if no measuring program failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("program", nargs="*", help="all of them if none is named")
    parser.add_argument(
        "--to", metavar="FOLDER", type=Path, default=_figures.FOLDER, help="where results go"
    )
    options = parser.parse_args(arguments)
    known = programs()
    unknown = sorted(set(options.program) - set(known))
    if unknown:
        parser.error(f"no program {', '.join(unknown)}; there are {', '.join(known)}")
    wrong = run_all(options.program or known, options.to)
    print(f"\nThe figures are in {options.to / _figures.PAGE}")
    for name, error in wrong.items():
        print(f"{name} {error}; what it had recorded before stays")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
