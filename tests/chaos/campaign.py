"""Many robots: past failures first, then new ones; what was found, and how they were distributed.

python -m chaos [--robots 1000] [--seed N] [--fresh] [--replay SEED …] [--planted]
"""

from __future__ import annotations

import argparse
import itertools
import secrets
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from patches import Patch, copy_package

from .distribution import enough, table
from .generator import make_plan
from .plan import Plan
from .planted import PLANTED
from .robot import Outcome
from .shrinking import shrink
from .workers import Worker, play_all

__all__ = ["main", "past_failures", "seeds_of"]

SEEDS = Path(__file__).with_name("seeds.txt")

ROBOTS = 200
SEED = 1
SHARE_FROM = 100
"""Robots from which on a distribution is held to what it should be."""

TELL_EVERY = 100

SHRINK_FOR = 40.0
"""Real seconds that are spent to make a plan smaller."""

ENOUGH = 10
"""Failures after which a campaign ends."""

SHRUNK = 3
"""How many failures are made smaller and printed in full."""

PLANTED_PATIENCE = 20.0


def seeds_of(campaign: int) -> Iterator[int]:
    """The seeds of a campaign's robots: no two campaigns share one."""
    return itertools.count(campaign * 1_000_000)


def past_failures() -> list[int]:
    """The seeds of robots that have found something once."""
    lines = [line.partition("#")[0].strip() for line in SEEDS.read_text().splitlines()]
    return [int(line) for line in lines if line]


def main(arguments: Sequence[str] | None = None) -> int:
    """The program; its exit code is 0 if every law held and there was chaos enough."""
    parser = argparse.ArgumentParser(prog="chaos", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--robots", type=int, default=ROBOTS, help="how many new ones")
    parser.add_argument("--seed", type=int, default=SEED, help="of the campaign")
    parser.add_argument("--fresh", action="store_true", help="draw the campaign's seed")
    parser.add_argument("--replay", type=int, nargs="+", metavar="SEED", help="only these robots")
    parser.add_argument("--planted", action="store_true", help="find planted defects instead")
    parser.add_argument("--campaigns", type=int, default=1, help="with --planted: so many seeds")
    parser.add_argument("--jobs", type=int, default=2, help="how many robots at once")
    options = parser.parse_args(arguments)
    if options.robots < 1 or options.jobs < 1 or options.campaigns < 1:
        parser.error("expected numbers above 0")
    seed = secrets.randbelow(1_000_000) if options.fresh else options.seed
    if options.planted:
        return find_planted(seed, options.campaigns, options.robots, options.jobs)
    if options.replay:
        return replay(options.replay)
    return campaign(seed, options.robots, options.jobs)


def campaign(seed: int, robots: int, jobs: int) -> int:
    """Past failures, then new robots."""
    began = time.monotonic()
    past = past_failures()
    print(f"campaign {seed}: {len(past)} past failure(s), then {robots} robots", flush=True)
    seeds = [*past, *itertools.islice(seeds_of(seed), robots)]
    outcomes: list[Outcome] = []
    failed: list[Outcome] = []
    for outcome in play_all(map(make_plan, seeds), jobs=jobs):
        outcomes.append(outcome)
        if outcome.violations:
            failed.append(outcome)
            print(f"seed {outcome.seed}: {outcome.violations[0]}", flush=True)
        if len(outcomes) % TELL_EVERY == 0:
            print(f"{len(outcomes)} after {time.monotonic() - began:.0f} s", flush=True)
        if len(failed) == ENOUGH:
            print("that is enough")
            break
    new = outcomes[len(past) :]
    if new:
        print("\n".join(table(new)))
    for outcome in failed[:SHRUNK]:
        show(outcome)
    took = time.monotonic() - began
    print(f"{len(outcomes)} robots in {took:.0f} s, {len(failed)} broke a law")
    missing = enough(new) if len(new) >= SHARE_FROM else []
    for text in missing:
        print(f"TOO LITTLE CHAOS: {text}")
    return 1 if failed or missing else 0


def show(outcome: Outcome) -> None:
    """A failure with its plan, made as small as is cheap, and how to repeat it."""
    law = _law(outcome)
    plan = make_plan(outcome.seed)
    with Worker(patience=PLANTED_PATIENCE) as worker:

        def fails(candidate: Plan) -> bool:
            return law in map(_law_of, worker.play(candidate).violations)

        plan = shrink(plan, fails, SHRINK_FOR)
    print(f"\n== seed {outcome.seed}")
    print("\n".join(outcome.violations))
    print(f"-- the plan, as small as was found\n{plan}")
    print(f"-- replay it: nox -s chaos -- --replay {outcome.seed}\n", flush=True)


def replay(seeds: Iterable[int]) -> int:
    """Play robots again, with their plans in full."""
    failed = 0
    with Worker() as worker:
        for seed in seeds:
            plan = make_plan(seed)
            outcome = worker.play(plan)
            print(plan)
            print("\n".join(outcome.violations) or f"every law held, in {outcome.took:.1f} s")
            failed += bool(outcome.violations)
    return 1 if failed else 0


# Planted defects


def find_planted(seed: int, campaigns: int, robots: int, jobs: int) -> int:
    """Look for each planted defect in campaigns of so many robots, and say how many it took."""
    began = time.monotonic()
    numbers = range(seed, seed + campaigns)
    missed = 0
    with ThreadPoolExecutor(jobs) as pool:
        for patch, text, found in pool.map(lambda p: _find(p, numbers, robots), PLANTED):
            well = found >= _wanted(campaigns)
            missed += not well
            mark = "found " if well else "MISSED"
            print(f"{mark}  {patch.breaks:<55}  {text}", flush=True)
    took = time.monotonic() - began
    print(f"{len(PLANTED) - missed} of {len(PLANTED)} planted defects found, in {took:.0f} s")
    return 1 if missed else 0


def _find(patch: Patch, campaigns: Iterable[int], robots: int) -> tuple[Patch, str, int]:
    """How many robots it took in each campaign."""
    took: list[str] = []
    found = 0
    law = ""
    with tempfile.TemporaryDirectory(prefix="planted-") as folder:
        try:
            patch.apply(copy_package(Path(folder)))
        except LookupError as error:
            return patch, f"DOES NOT APPLY: {error}", 0
        with Worker(Path(folder), PLANTED_PATIENCE) as worker:
            for campaign in campaigns:
                for n, seed in enumerate(itertools.islice(seeds_of(campaign), robots), 1):
                    outcome = worker.play(make_plan(seed))
                    if outcome.violations:
                        if _law(outcome) == "dies":  # it shows nothing of the laws
                            return patch, f"DOES NOT RUN: {outcome.violations[0]}", 0
                        law = law or outcome.violations[0].partition("\n")[0][:100]
                        found += 1
                        took.append(str(n))
                        break
                else:
                    took.append("-")
    return patch, f"after {' '.join(took)} robot(s): {law}", found


def _wanted(campaigns: int) -> int:
    """Nine of ten."""
    return -(-9 * campaigns // 10)


def _law(outcome: Outcome) -> str:
    return _law_of(outcome.violations[0])


def _law_of(violation: str) -> str:
    return violation.partition(":")[0]
