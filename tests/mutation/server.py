"""A process that has collected tests, and for each request runs some of them in a fork of itself.

    python -m mutation.server PROJECT FILE …

A request is a line of JSON: the changed file, if there is one, and the tests with the seconds that
each may take. The answer is a line of JSON, too. The first line says that the tests are collected.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import resource
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

import hypothesis
import pytest

from .swap import Functions

MEMORY = 8 << 30
"""Bytes of address space that the tests may take."""

MARK = "HORUS_MUTATION_TRIAL"
"""The environment variable of what the tests start."""

PACKAGE = "horus_trio"

IMPORTED = ".imported"
"""The suffix of a file's text as it was when the tests were collected."""


class Server:
    """A pytest plugin: instead of running all tests, it waits for requests."""

    def __init__(self, where: Path, answers: TextIO) -> None:
        self._where = where
        self._answers = answers
        self._failed = ""

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        functions = Functions(self._where / PACKAGE)
        items = {item.nodeid: item for item in session.items}
        self._answer({"ready": len(items)})
        for line in sys.stdin:
            request = json.loads(line)
            child = os.fork()
            if child == 0:
                try:
                    self._run(request, functions, items)
                except BaseException:
                    traceback.print_exc()
                    raise
                finally:
                    os._exit(0)
            _, status = os.waitpid(child, 0)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)  # the session that it has started
            answer = self._said()
            self._answer(answer | {"hung": not os.WIFEXITED(status) or "end" not in answer})
        return True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._failed = report.nodeid

    def _run(self, request: Any, functions: Functions, items: dict[str, pytest.Item]) -> None:
        """In the fork: run tests until one fails."""
        os.setsid()
        self._answers.close()
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        self._say({})
        if request["changed"]:
            file = self._where / PACKAGE / request["changed"]
            imported = file.with_suffix(IMPORTED).read_text()
            if not functions.put_in(file, imported, file.read_text()):
                self._say({"end": "not put in"})
                return
        chosen = [(items[name], limit) for name, limit in request["tests"] if name in items]
        following = [*[item for item, _ in chosen], None][1:]
        for (item, limit), after in zip(chosen, following, strict=True):
            self._say({"test": item.nodeid})
            faulthandler.dump_traceback_later(limit, exit=True)
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=after)
            if self._failed:
                self._say({"test": item.nodeid, "end": "failed"})
                return
        self._say({"end": "passed" if chosen else "no tests"})

    def _answer(self, answer: object) -> None:
        self._answers.write(json.dumps(answer) + "\n")
        self._answers.flush()

    def _say(self, what: dict[str, str]) -> None:
        (self._where / "now").write_text(json.dumps(what))

    def _said(self) -> dict[str, Any]:
        said: dict[str, Any] = json.loads((self._where / "now").read_text())
        return said


def main(where: Path, files: Sequence[str]) -> int:
    """The program: collect, then serve until the requests end."""
    answers = os.fdopen(os.dup(1), "w")
    said = os.open(where / "said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(said, 1)
    os.dup2(said, 2)
    requests = os.fdopen(os.dup(0))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    for descriptor in (said, nothing):
        os.close(descriptor)
    sys.stdin = requests
    profile = "the same examples each time"
    phases = [hypothesis.Phase.explicit, hypothesis.Phase.generate]
    hypothesis.settings.register_profile(
        profile, derandomize=True, deadline=None, database=None, phases=phases
    )
    how = ["-q", "--capture=no", "--hypothesis-profile", profile, "--horus-seed", "0"]
    how += ["--basetemp", str(where.parent / "t"), "-p", "no:cacheprovider", "-p", "no:xdist"]
    how += ["-o", "faulthandler_timeout=0", "-o", "horus_patience=20"]
    how += ["-W", "ignore:Module already imported:pytest.PytestAssertRewriteWarning"]
    return pytest.main([*how, *files], plugins=[Server(where, answers)])


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
