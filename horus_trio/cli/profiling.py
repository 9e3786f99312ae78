"""``run --profile``: a profiler around the run, its report on the console, its trace in a file."""

from __future__ import annotations

import argparse
from types import TracebackType
from typing import Any, Self, TextIO

import horus_trio as horus

from ..profiling import Profiler
from .errors import USAGE, CommandFailed
from .saying import complain

__all__ = ["Profiling"]


class Profiling:
    """Profiles the run that begins while inside, if the command line asks for it.

    The file is opened first, so that a wrong path is said before the robot moves; and it is written
    however the run ends.

    Arguments:
        options: As the parser of `run` gives them.
        scheduler: The robot.

    Attributes:
        failed: Whether the trace could not be written.
    """

    def __init__(self, options: argparse.Namespace, scheduler: horus.Scheduler) -> None:
        self.failed: bool = False
        self._path: str | None = options.profile_trace
        self._shown: bool = options.profile or not (options.quiet or options.json)
        self._file: TextIO | None = None
        self._profiler: Profiler | None = None
        if options.profile or self._path is not None:
            self._profiler = Profiler(scheduler)

    def __enter__(self) -> Self:
        if self._path is not None:
            try:
                self._file = open(self._path, "w", encoding="utf-8")  # noqa: PTH123
            except (OSError, ValueError) as error:
                why = getattr(error, "strerror", None) or error
                raise CommandFailed(f"--profile-trace: {self._path}: {why}", USAGE) from None
        if self._profiler is not None:
            self._profiler.__enter__()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._profiler is not None:
            self._profiler.__exit__(exc_type, exc, traceback)
        if self._file is None or self._profiler is None:
            return
        try:
            with self._file:
                self._profiler.write_trace(self._file)
        except (OSError, horus.NotRunning) as error:  # the disk is full; the run has not begun
            self.failed = True
            complain(f"horus-trio run: --profile-trace: {self._path}: {error}")

    def text(self, columns: int) -> str:
        """What is shown of it, or an empty text."""
        if self._profiler is None or not self._shown:
            return ""
        report = self._profiler.report()
        lines = [report.table(columns)]
        if self._path is not None and not self.failed:
            dropped = f"; the {report.dropped} oldest hooks are not in it" if report.dropped else ""
            lines.append(f"trace: {self._path} (open it in https://ui.perfetto.dev){dropped}")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """What is added to a report in JSON."""
        return {} if self._profiler is None else {"profile": self._profiler.report().to_dict()}
