"""One mutant's trial: its tests are run in a copy of the project, until one fails.

A bench has a copy of the project and a server that has collected all tests there. A mutant that
only changes functions is put into a fork of the server; another one is imported by a server of its
own. A test that hangs has noticed, too. A test that has failed is run once more: one that passes
then has only been unlucky, and the others go on.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import server
from .places import PACKAGE, PROJECT, Mutant
from .selection import Test, test_files

GRACE = 20.0
"""Seconds any test may take."""

SLOWER = 8.0
"""How many times as long as under coverage a test may take, in addition."""

HUNG = " (hung)"
"""Stands behind the name of a test that hung, or whose process ended."""

COLLECTING = 180.0
"""Seconds a server may take until it has collected its tests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of a mutant.

    Attributes:
        killed: Whether a test noticed.
        by: The test, or how it was noticed.
        tests: How many tests were to be run.
        seconds: How long the trial took.
    """

    killed: bool
    by: str
    tests: int
    seconds: float


class NotCollected(Exception):
    """The tests could not be collected."""


class Client:
    """A server, as seen from outside."""

    def __init__(self, where: Path, files: Sequence[str]) -> None:
        self._where = where
        self._mark = f"{where}/{time.monotonic_ns()}"
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([str(where), str(PROJECT / "tests")]),
            "PYTHONDONTWRITEBYTECODE": "1",
            server.MARK: self._mark,
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", server.__name__, str(where), *files],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=where,
            env=environment,
        )
        try:
            if not self._receive(COLLECTING)["ready"]:
                raise NotCollected("there are no tests")
        except BaseException:
            self.close()
            raise

    def run(self, changed: str | None, tests: Sequence[Test]) -> dict[str, Any]:
        """Run tests until one fails; the server's answer."""
        limits = [(test.name, GRACE + SLOWER * test.seconds) for test in tests]
        if self._process.stdin is None:
            raise RuntimeError("the server has no entrance")
        self._process.stdin.write(json.dumps({"changed": changed, "tests": limits}) + "\n")
        self._process.stdin.flush()
        answer = self._receive(None)
        self._end_all(but=self._process.pid)
        return answer

    def said(self) -> str:
        """The end of what the server has printed."""
        return (self._where / "said").read_text()[-3000:]

    def close(self) -> None:
        """End the server, and what its tests have left."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process.kill()
        self._process.wait()
        self._end_all(but=0)

    def _receive(self, seconds: float | None) -> dict[str, Any]:
        if self._process.stdout is None:
            raise RuntimeError("the server has no exit")
        if not select.select([self._process.stdout], [], [], seconds)[0]:
            raise NotCollected("collecting the tests hung")
        line = self._process.stdout.readline()
        if not line:
            raise NotCollected(f"collecting the tests failed\n{self.said()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _end_all(self, but: int) -> None:
        sought = f"{server.MARK}={self._mark}".encode()
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                theirs = (folder / "environ").read_bytes().split(b"\0")
                if sought in theirs and int(folder.name) != but:
                    os.kill(int(folder.name), signal.SIGKILL)


class Bench:
    """A copy of the project in which one mutant after the other is tried.

    Arguments:
        files: The files of tests that the server collects; all, if none are named.
    """

    def __init__(self, files: Sequence[str] = ()) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="mutation-")
        self.where: Path = Path(self._folder.name) / "copy"
        for name in (PACKAGE, "tests", "examples", "docs"):
            ignored = shutil.ignore_patterns("_build", ".*")
            shutil.copytree(PROJECT / name, self.where / name, ignore=ignored)
        for name in ("pyproject.toml", "README.md"):
            shutil.copy(PROJECT / name, self.where / name)
        collected = files or [str(file.relative_to(PROJECT)) for file in test_files()]
        self._warm: Client = Client(self.where, collected)

    def close(self) -> None:
        """End the server, and remove the copy."""
        self._warm.close()
        self._folder.cleanup()

    def judge(self, mutant: Mutant, tests: Sequence[Test]) -> Verdict:
        """Try a mutant."""
        began = time.monotonic()
        file = self.where / PACKAGE / mutant.file
        imported = PROJECT / PACKAGE / mutant.file
        shutil.copy(imported, file.with_suffix(server.IMPORTED))
        file.write_text(mutant.source(PROJECT / PACKAGE))  # child processes import it
        try:
            by: str | None = "not put in"
            if not mutant.when_imported:
                by = self._first_failure(self._warm, mutant.file, tests)
            if by == "not put in":
                by = self._first_failure_anew(tests)
        finally:
            shutil.copy2(imported, file)
        seconds = time.monotonic() - began
        return Verdict(killed=by is not None, by=by or "", tests=len(tests), seconds=seconds)

    def failing(self, tests: Sequence[Test]) -> list[str]:
        """Those of the tests that fail in a project without a mutant."""
        found = []
        rest = list(tests)
        while rest:
            answer = self._warm.run(None, rest)
            if answer.get("end") == "passed":
                break
            at = next(n for n, test in enumerate(rest) if test.name == answer["test"])
            found.append(rest[at].name)
            rest = rest[at + 1 :]
        return found

    def _first_failure_anew(self, tests: Sequence[Test]) -> str | None:
        """The same by a server that imports the mutant."""
        files = dict.fromkeys(test.name.partition("::")[0] for test in tests)
        try:
            client = Client(self.where, list(files))
        except NotCollected as error:
            return str(error).partition("\n")[0]
        with contextlib.closing(client):
            return self._first_failure(client, None, tests)

    @staticmethod
    def _first_failure(client: Client, changed: str | None, tests: Sequence[Test]) -> str | None:
        """The first test that fails twice, or hangs; None if all pass."""
        rest = list(tests)
        while rest:
            answer = client.run(changed, rest)
            name: str | None = answer.get("test")
            match answer.get("end"):
                case "passed":
                    return None
                case "not put in":
                    return "not put in"
                case "no tests":
                    raise RuntimeError(f"the server does not know {[t.name for t in tests]}")
            if name is None and changed:
                return "not put in"  # the fork has ended before its first test
            if name is None:
                raise RuntimeError(f"no test has begun\n{client.said()}")
            if answer["hung"]:
                return f"{name}{HUNG}"
            at = next(n for n, test in enumerate(rest) if test.name == name)
            if client.run(changed, rest[at : at + 1]).get("end") != "passed":
                return name
            rest = rest[at + 1 :]
        return None
