"""The command: draw a sample of mutants, try them, and tell the score."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from . import campaign, selection
from .places import PACKAGE, PROJECT, ROOMS, mutants_of

SAMPLE = 150
"""As many as take about a quarter of an hour with two processes."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The program; its exit code is 0 if at least `--expect` percent were killed."""
    parser = argparse.ArgumentParser(prog="python -m mutation", description=__doc__)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--sample", type=_count, default=SAMPLE, help="how many (%(default)s)")
    which.add_argument("--all", action="store_true", help="every one: this takes hours")
    which.add_argument(
        "--only", action="append", metavar="NAME", help="this one; @FILE: those named in it"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the sample (%(default)s)")
    parser.add_argument(
        "--room", action="append", choices=ROOMS, help="of this room only; may be repeated"
    )
    parser.add_argument("--jobs", type=_count, default=2, help="processes (%(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=30.0, help="of tests for each, nearest first (%(default)s)"
    )
    parser.add_argument(
        "--expect", type=float, default=90.0, help="percent killed, or it fails (%(default)s)"
    )
    parser.add_argument("--list", action="store_true", help="show them, and try none")
    options = parser.parse_args(arguments)

    mutants = mutants_of(tuple(options.room or ROOMS))
    total = len(mutants)
    if options.only:
        named = list(_names(options.only))
        known = {mutant.name: mutant for mutant in mutants}
        if unknown := [name for name in named if name not in known]:
            parser.error(f"no mutant is named {unknown[0]!r}; --list --all shows all names")
        mutants = [known[name] for name in named]
    elif not options.all:
        mutants = campaign.draw(mutants, options.sample, options.seed, PROJECT / PACKAGE)
    print(f"{len(mutants)} of {total} mutants", flush=True)
    if options.list:
        for mutant in mutants:
            print(mutant.diff(PROJECT / PACKAGE), end="\n\n")
        return 0

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the benches are cleared away
    tests = selection.Selection(selection.load(options.jobs), options.seconds)
    found = campaign.run(mutants, tests, options.jobs)
    print(campaign.report(found))
    killed = sum(verdict.killed for _, verdict in found)
    return 0 if killed >= options.expect / 100 * len(found) else 1


def _count(text: str) -> int:
    """One or more."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text}: expected 1 or more")
    return number


def _names(only: Sequence[str]) -> list[str]:
    found: list[str] = []
    for name in only:
        if name.startswith("@"):
            found += Path(name[1:]).read_text().split("\n")
        else:
            found.append(name)
    return [name.split("  ")[0].strip() for name in found if name.strip()]


if __name__ == "__main__":
    sys.exit(main())
