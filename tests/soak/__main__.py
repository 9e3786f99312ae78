"""Lets the robot of sixty nodes live for so many seconds, and judges it: ``python -m soak 600``.

The exit code is 0 if every judgement holds, 1 if one fails, 3 if none fails and the time was too
short for one.
"""

from __future__ import annotations

import argparse
import math
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from _surroundings import look_around

from . import page
from .judge import Judgement, Verdict, judge
from .plants import PLANTS
from .record import record_of
from .told import Told, load_of, rates_of
from .watch import WorldFailed, watch

LINE_EVERY = 10.0
"""Seconds from one line of progress to the next."""

LONGEST_WARM_UP = 120.0

HOLDS, FAILS, USAGE, TOO_SHORT = 0, 1, 2, 3


class Progress:
    """A line every ten seconds.

    Arguments:
        seconds: That it will take.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._next = 0.0
        self._said = 0

    def __call__(self, told: Told) -> None:
        """Print the line if it is time."""
        sample = told.samples[-1]
        if sample["at"] < self._next:
            return
        self._next = (sample["at"] // LINE_EVERY + 1) * LINE_EVERY
        before, self._said = told.samples[self._said], len(told.samples) - 1
        rates = ""
        if before is not sample:
            achieved = rates_of(told.held, [before, sample])
            parts = {name: achieved[name] for name, rate in told.held.items() if rate >= 10}
            slowest = min(parts, key=lambda name: parts[name])
            rates = f"slowest {slowest} {parts[slowest]:6.1%}, "
        print(
            f"{sample['at']:6.0f} of {self._seconds:g} s: {sample['nodes']} nodes, {rates}"
            f"late p99 {1000 * sample['late'][1]:.1f} ms, {sample['resident'] / 1e6:.1f} MB, "
            f"{sample['descriptors']} descriptors, {sample['threads']} threads, "
            f"{sample['tasks']} tasks",
            flush=True,
        )


def warm_up_of(told: Told) -> float:
    """Seconds that are not judged: a fifth of what it has lived, however long it was to."""
    return min(LONGEST_WARM_UP, told.samples[-1]["at"] / 5) if told.samples else 0.0


def exit_code(judgements: Sequence[Judgement]) -> int:
    """What the judgements make of it."""
    verdicts = {one.verdict for one in judgements}
    if Verdict.FAILS in verdicts:
        return FAILS
    return TOO_SHORT if Verdict.TOO_SHORT in verdicts else HOLDS


def main(arguments: Sequence[str] | None = None) -> int:
    """The program; see above for its exit code."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    parser = _parser()
    options = parser.parse_args(given)
    if options.record:
        try:
            options.to.mkdir(parents=True, exist_ok=True)
        except OSError as error:  # better now than after ten minutes
            parser.error(f"--to {options.to}: {error.strerror}")
    seconds = options.seconds
    planted = f", with {' and '.join(options.plant)} planted" if options.plant else ""
    print(f"a robot of sixty nodes for {seconds:g} s{planted}", flush=True)
    surroundings = look_around()
    try:
        told = watch(
            seconds, plants=options.plant, every=options.every, on_sample=Progress(seconds)
        )
    except WorldFailed as error:
        print(f"soak: {error}", file=sys.stderr)
        return FAILS
    warm_up = warm_up_of(told) if options.warm_up is None else options.warm_up
    judgements = judge(told, warm_up)
    print()
    for one in judgements:
        print(one)
    what_was_done = ", ".join(f"{what} {count}" for what, count in sorted(told.done.items()))
    print(f"\nthe devices: {what_was_done or 'have not told what they did'}")
    if len(told.samples) > 1:
        machine, robot = load_of(told.samples)
        print(f"processors: {machine:.2f} were busy, {robot:.2f} of them with the robot")
    if options.record:
        if len(told.samples) < 2:
            print("nothing is recorded: there are fewer than two samples", file=sys.stderr)
        else:
            command = shlex.join(["nox", "-s", "soak", "--", f"{seconds:g}", "--record"])
            found = record_of(
                told,
                judgements,
                warm_up=warm_up,
                surroundings=surroundings,
                command=command,
                note=options.note,
            )
            page.write(found, options.to)
            print(f"recorded: {options.to / 'soak.md'}")
    code = exit_code(judgements)
    print({HOLDS: "all holds", FAILS: "NOT WELL", TOO_SHORT: "too short to judge"}[code])
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="soak", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("seconds", type=_seconds, help="how long it lives, such as 600")
    parser.add_argument("--record", action="store_true", help="make docs/performance/soak.md anew")
    parser.add_argument("--note", default="", help="for the record: what else ran, for example")
    parser.add_argument(
        "--plant",
        action="append",
        choices=sorted(PLANTS),
        default=[],
        help="a fault to be noticed; may be given several times",
    )
    parser.add_argument(
        "--warm-up",
        type=_seconds,
        metavar="SECONDS",
        help="that are not judged; by default a fifth of the time, and 120 at most",
    )
    parser.add_argument(
        "--every", type=_seconds, default=1.0, metavar="SECONDS", help="from sample to sample (1)"
    )
    parser.add_argument(
        "--to", type=Path, default=page.FOLDER, metavar="FOLDER", help="where the record goes"
    )
    return parser


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r}: expected seconds above 0, such as 600")
    return seconds


if __name__ == "__main__":
    if sys.platform != "linux" or not Path("/proc/self").is_dir():
        sys.exit("soak: it reads /proc, so it is for Linux")
    sys.exit(main())
