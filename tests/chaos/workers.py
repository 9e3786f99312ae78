"""The processes in which robots are played, and the patience with each."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from patches import PROJECT

from .plan import Plan
from .robot import Outcome

__all__ = ["PATIENCE", "Worker", "play_all"]

PATIENCE = 60.0
"""Real seconds a robot may take; one that takes longer hangs."""

LAST_WORDS = 2.0
"""Seconds for a process that hangs to say where."""

ROBOTS_EACH = 250
"""After so many a worker is replaced by a fresh one."""


class Worker:
    """A process that plays robots, one after the other; a context manager.

    Arguments:
        package: The folder that holds the package under test.
        patience: Real seconds a robot may take.
    """

    def __init__(self, package: Path = PROJECT, patience: float = PATIENCE) -> None:
        self._package = package
        self._patience = patience
        self._process: subprocess.Popen[bytes] | None = None
        self._said: IO[bytes] | None = None
        self._played = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end()

    def play(self, plan: Plan) -> Outcome:
        """Play one; a process that hangs or dies is a violation, and the next one gets another."""
        if self._played >= ROBOTS_EACH:
            self._end()
        process = self._process or self._start()
        self._played += 1
        began = time.monotonic()
        answer = ""
        with contextlib.suppress(BrokenPipeError):
            answer = self._ask(process, plan)
        if answer:
            return Outcome.from_json(answer)
        took = time.monotonic() - began
        if process.poll() is None and took >= self._patience:
            process.send_signal(signal.SIGABRT)  # it says where it is
            time.sleep(LAST_WORDS)
            what = f"hangs: no end after {took:.0f} s"
        else:
            what = f"dies: its process ended with code {process.wait()}"
        said = self._end()
        return Outcome(
            seed=plan.seed, violations=(f"{what}\n{said}",), seconds=0.0, features={}, took=took
        )

    def _ask(self, process: subprocess.Popen[bytes], plan: Plan) -> str:
        """The line it answers; empty: it does not."""
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("the worker has no pipes")
        process.stdin.write(plan.to_json().encode() + b"\n")
        process.stdin.flush()
        give_up = time.monotonic() + self._patience
        answer = b""
        while not answer.endswith(b"\n"):
            ready, _, _ = select.select([process.stdout], [], [], give_up - time.monotonic())
            piece = os.read(process.stdout.fileno(), 1 << 16) if ready else b""
            if not piece:
                return ""
            answer += piece
        return answer.decode()

    def _start(self) -> subprocess.Popen[bytes]:
        said = self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `_end`
        path = os.pathsep.join([str(self._package), str(PROJECT / "tests")])
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        process = self._process = subprocess.Popen(
            [sys.executable, "-m", "chaos.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            cwd=self._package,  # of the two, Python looks here first
            env=environment | {"PYTHONPATH": path},
            start_new_session=True,
        )
        self._played = 0
        return process

    def _end(self) -> str:
        """End the process, if there is one; what it has said."""
        process, self._process = self._process, None
        if process is None:
            return ""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # the session that it has started
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        said, self._said = self._said, None
        if said is None:
            return ""
        with said:
            said.seek(0)
            return "\n".join(said.read().decode(errors="replace").splitlines()[-60:])


def play_all(
    plans: Iterable[Plan],
    *,
    jobs: int,
    package: Path = PROJECT,
    patience: float = PATIENCE,
) -> Iterator[Outcome]:
    """Play them side by side; outcomes come in the order of the plans."""
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(Worker(package, patience)) for _ in range(jobs)]

        def play(plan: Plan) -> Outcome:
            worker = idle.pop()  # there is one for each thread
            try:
                return worker.play(plan)
            finally:
                idle.append(worker)

        with ThreadPoolExecutor(jobs) as pool:
            yield from pool.map(play, plans)
