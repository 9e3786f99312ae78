"""Which tests come by a line of the engine: found once by running them under coverage, and kept.

What a file of tests was found to do is kept for as long as that file, the modules that tests share
and the rooms of the engine stay what they are.
"""

from __future__ import annotations

import collections
import functools
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import coverage

from . import contexts
from .places import PACKAGE, PROJECT, ROOMS, Mutant, files_of, lines_of_functions

CACHE = PROJECT / ".cache" / "mutation"

FAR = ("bench", "docs", "guard", "mutation", "packaging", "pictures", "readme")
"""Tests of this project's papers and tools, not of the engine."""

BESIDE = ("helpers/test_helper.py", "helpers/test_waiting.py")
"""Tests that lie elsewhere and are of the engine: of open helpers, and of how they wait."""

LOOKING = ("tests/test_options_table.py", "tests/test_values.py")
"""Tests that run nothing, and look at what is there."""

QUICK = "not slow and not alone"


def test_files() -> list[Path]:
    """The files of tests of the engine itself."""
    tests = PROJECT / "tests"
    near = [p for p in tests.glob("test_*.py") if p.stem.removeprefix("test_") not in FAR]
    near += [p for p in (tests / "guarantees").glob("test_*.py") if p.stem != "test_breakers"]
    near += [tests / name for name in BESIDE]
    return sorted([*near, *(tests / "testing").glob("test_*.py")])


@dataclass(frozen=True, slots=True, eq=False)
class Test:
    """A test, how many seconds it takes, and the lines of the engine that it comes by."""

    __test__ = False

    name: str
    seconds: float
    lines: dict[str, frozenset[int]]

    def nearness(self, file: str) -> float:
        """Smaller is nearer: it is quick, and does little else than what is in that file."""
        share = len(self.lines.get(file, ())) / sum(map(len, self.lines.values()))
        return (self.seconds + 0.01) / share**2 if share else float("inf")


class Selection:
    """Tests, and which of them come by a mutant.

    Arguments:
        tests: All tests.
        seconds: How long, in all, the tests of one mutant may take.
    """

    def __init__(self, tests: Iterable[Test], seconds: float) -> None:
        self.tests: list[Test] = list(tests)
        self._seconds = seconds
        self._looking: list[Test] = [
            test for test in self.tests if test.name.partition("::")[0] in LOOKING
        ]
        self._by_file: dict[str, list[Test]] = collections.defaultdict(list)
        for test in self.tests:
            for file in test.lines:
                self._by_file[file].append(test)
        for file, found in self._by_file.items():
            found.sort(key=lambda test: (test.nearness(file), test.name))

    def tests_for(self, mutant: Mutant, *, times: float = 1.0) -> list[Test]:
        """The tests that come by a mutant, the nearest first, for so many times the usual seconds.

        What runs only when it is imported is seen by tests that come by no line: they look at
        signatures and classes. Then come those that use its class, then those of its file.
        """
        first, last = mutant.lines
        lines = frozenset(range(first, last + 1))
        near = self._by_file[mutant.file]
        found = [test for test in near if not lines.isdisjoint(test.lines[mutant.file])]
        if mutant.when_imported:
            rest = [test for test in near if test not in set(found)]
            found = [*self._looking, *found, *rest]
        return _within(found, times * self._seconds)


def _within(tests: Iterable[Test], seconds: float) -> list[Test]:
    """The first of some tests that take no longer than that in all; the very first in any case."""
    taken: list[Test] = []
    for test in tests:
        if test.seconds <= seconds or not taken:
            seconds -= test.seconds
            taken.append(test)
    return taken


def load(jobs: int) -> list[Test]:
    """All tests; those not known yet are run under coverage, which takes minutes."""
    CACHE.mkdir(parents=True, exist_ok=True)
    kept = {file: CACHE / f"{_key(file)}.json" for file in test_files()}
    if new := [file for file, cached in kept.items() if not cached.exists()]:
        print(f"running {len(new)} files of tests under coverage", flush=True)
        for file, tests in trace(new, jobs).items():
            kept[file].write_text(json.dumps(tests))
    found: list[Test] = []
    for cached in kept.values():
        for name, (seconds, lines) in json.loads(cached.read_text()).items():
            found.append(Test(name, seconds, {f: frozenset(n) for f, n in lines.items()}))
    return found


def _key(file: Path) -> str:
    return hashlib.sha256(_shared() + file.name.encode() + file.read_bytes()).hexdigest()[:24]


@functools.cache
def _shared() -> bytes:
    """A digest of what all tests depend upon: the rooms, and the modules that tests share."""
    digest = hashlib.sha256()
    rooms = [path for room in ROOMS for path in files_of(room)]
    shared = [p for p in (PROJECT / "tests").glob("*.py") if not p.name.startswith("test_")]
    for path in (*rooms, *sorted(shared)):
        digest.update(path.read_bytes())
    return digest.digest()


Traces = dict[Path, dict[str, tuple[float, dict[str, list[int]]]]]


def trace(files: Sequence[Path], jobs: int) -> Traces:
    """Run files of tests under coverage: for each, its tests, their times and lines.

    Raises:
        RuntimeError: Nothing has run.
    """
    with tempfile.TemporaryDirectory(prefix="mutation-") as folder:
        configuration = Path(folder, "coveragerc")
        rooms = "\n".join(f"    {path}" for room in ROOMS for path in files_of(room))
        configuration.write_text(
            f"[run]\nparallel = true\ndata_file = {folder}/data\ninclude =\n{rooms}\n"
            f"context = ${{{contexts.TEST}-}}\n"
        )
        environment = os.environ | {
            "COVERAGE_PROCESS_START": str(configuration),
            contexts.FOLDER: folder,
            "PYTHONPATH": os.pathsep.join([str(PROJECT), str(PROJECT / "tests")]),
        }
        command = [sys.executable, "-m", "pytest", "-q", "-p", contexts.__name__]
        command += ["-p", "no:cacheprovider", "-n", str(jobs), "--dist", "worksteal", "-m", QUICK]
        command += [str(file.relative_to(PROJECT)) for file in files]
        ran = subprocess.run(
            command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False
        )
        if ran.returncode not in (0, 1):  # a few that fail under coverage are left out
            raise RuntimeError(f"pytest ended with {ran.returncode}\n{ran.stdout}\n{ran.stderr}")
        return _read(Path(folder), files)


def _read(folder: Path, files: Sequence[Path]) -> Traces:
    measured = coverage.Coverage(data_file=str(folder / "all"), config_file=False)
    measured.combine([str(path) for path in folder.glob("data.*")])
    data = measured.get_data()
    lines: dict[str, dict[str, list[int]]] = collections.defaultdict(dict)
    for path in data.measured_files():
        name = Path(path).relative_to(PROJECT / PACKAGE).as_posix()
        inside = lines_of_functions(Path(path).read_text())
        for line, tests in data.contexts_by_lineno(path).items():
            for test in tests if line in inside else ():  # a child imports the rest, too
                lines[test].setdefault(name, []).append(line)
    found: Traces = {file: {} for file in files}
    for times in folder.glob("times-*.json"):
        said = json.loads(times.read_text())
        for test, seconds in said["times"].items():
            file = PROJECT / test.partition("::")[0]
            if test not in said["bad"] and file in found:
                found[file][test] = (seconds, lines.get(test, {}))
    return found
