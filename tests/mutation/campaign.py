"""Many mutants: which are tried, how they did, and what is told of it."""

from __future__ import annotations

import collections
import queue
import random
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path

from .places import PACKAGE, PROJECT, Mutant
from .selection import Selection
from .trial import HUNG, Bench, Verdict

AGAIN = 10.0
"""Survivors are tried with further tests, of so many times the seconds."""


def draw(mutants: Sequence[Mutant], size: int, seed: int, package: Path) -> list[Mutant]:
    """A sample that is spread evenly over files, and in each over its functions."""
    chance = random.Random(seed)
    by_file: dict[str, dict[str, list[Mutant]]] = {}
    for mutant in mutants:
        by_file.setdefault(mutant.file, {}).setdefault(mutant.scope, []).append(mutant)
    turns = [list(_in_turn(scopes.values(), chance)) for scopes in by_file.values()]
    drawn: list[Mutant] = []
    for mutant in _in_turn(turns, chance, shuffled=False):
        if len(drawn) == size:
            break
        if mutant.compiles(package):
            drawn.append(mutant)
    return drawn


def _in_turn(
    groups: Iterable[Sequence[Mutant]], chance: random.Random, *, shuffled: bool = True
) -> Iterable[Mutant]:
    """One of each group, then another one of each, and so on; the groups in a random order."""
    rest = [list(group) for group in groups]
    chance.shuffle(rest)
    if shuffled:
        for group in rest:
            chance.shuffle(group)
    rest = [group[::-1] for group in rest]
    while rest:
        for group in rest:
            yield group.pop()
        rest = [group for group in rest if group]


def run(mutants: Sequence[Mutant], selection: Selection, jobs: int) -> list[tuple[Mutant, Verdict]]:
    """Try mutants, and print how each did."""
    benches: queue.SimpleQueue[Bench] = queue.SimpleQueue()
    for _ in range(jobs):
        benches.put(Bench())

    def judge(mutant: Mutant) -> Verdict:
        tests = selection.tests_for(mutant)
        if not tests:
            return Verdict(killed=False, by="no test comes by", tests=0, seconds=0.0)
        bench = benches.get()
        try:
            verdict = bench.judge(mutant, tests)
            tried = set(tests)
            rest = [t for t in selection.tests_for(mutant, times=AGAIN) if t not in tried]
            return verdict if verdict.killed or not rest else bench.judge(mutant, rest)
        finally:
            benches.put(bench)

    found: list[tuple[Mutant, Verdict]] = []
    try:
        with ThreadPoolExecutor(jobs) as pool:
            trials: dict[Future[Verdict], Mutant] = {pool.submit(judge, m): m for m in mutants}
            try:
                for done in as_completed(trials):
                    mutant, verdict = trials[done], done.result()
                    found.append((mutant, verdict))
                    mark = "killed  " if verdict.killed else "SURVIVED"
                    print(
                        f"{len(found):4}/{len(mutants)} {mark} {mutant.name}  "
                        f"[{verdict.tests} tests, {verdict.seconds:.1f} s]  {verdict.by}",
                        flush=True,
                    )
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        return _without_unsound(found, selection, benches)
    finally:
        for _ in range(jobs):
            benches.get().close()


def _without_unsound(
    found: list[tuple[Mutant, Verdict]],
    selection: Selection,
    benches: queue.SimpleQueue[Bench],
) -> list[tuple[Mutant, Verdict]]:
    """Take kills back whose test fails without a mutant, too."""
    killers = {verdict.by.removesuffix(HUNG) for _, verdict in found if verdict.killed}
    bench = benches.get()
    try:
        unsound = set(bench.failing([test for test in selection.tests if test.name in killers]))
    finally:
        benches.put(bench)
    for name in sorted(unsound):
        print(f"fails without a mutant, so it has noticed nothing: {name}")
    return [
        (m, replace(v, killed=False, by=f"only {v.by}"))
        if v.by.removesuffix(HUNG) in unsound
        else (m, v)
        for m, v in found
    ]


def report(found: Sequence[tuple[Mutant, Verdict]]) -> str:
    """The survivors as diffs, and the score of each room."""
    lines: list[str] = []
    for mutant, verdict in sorted(found, key=lambda one: one[0].name):
        if not verdict.killed:
            lines += [mutant.diff(PROJECT / PACKAGE), verdict.by, ""]
    tried: collections.Counter[str] = collections.Counter()
    killed: collections.Counter[str] = collections.Counter()
    for mutant, verdict in found:
        for room in (mutant.room, "all"):
            tried[room] += 1
            killed[room] += verdict.killed
    for room, count in tried.items():
        share = 100 * killed[room] / count
        lines.append(f"{room:<10} {killed[room]:4} of {count:4} killed, {share:5.1f} %")
    return "\n".join(lines)
