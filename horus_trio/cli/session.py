"""`Session`: one ``horus-trio run``, from the target to the exit code."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import signal
import sys

import horus_trio as horus

from ..logs import PrintableFormatter
from .capture import Capture
from .console import Console
from .errors import FAILED, USAGE, CommandFailed
from .events import Events
from .failure import failures
from .last_resort import end_process
from .live import View
from .looking import listening_if_possible
from .overrides import apply
from .profiling import Profiling
from .saying import complain, say
from .target import load

__all__ = ["Session"]


class Session:
    """One ``horus-trio run``.

    Arguments:
        options: As the parser of `run` gives them.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        silent = options.json or options.quiet
        self._console = Console(None if silent else sys.stdout, plain=options.plain)
        self._failure: horus.RunFailed | None = None

    def run(self) -> int:
        """Run the robot and say how it went; returns the exit code."""
        options, console = self._options, self._console
        capture = Capture()
        with capture.installed() if console.live else contextlib.nullcontext():
            scheduler = load(options.target)
            apply(scheduler, options.overrides)
            if options.name is not None:
                self._rename(scheduler, options.name)
            self._set_up_logging()
            scheduler._last_resort = end_process
            events = Events()
            silent = options.json or options.quiet
            if not silent:
                scheduler.on_result(events.result)
            view = View(
                console,
                scheduler,
                events,
                title=scheduler.name,
                seconds=options.duration,
                capture=capture if console.live else None,
            )
            control = contextlib.nullcontext if options.no_control else listening_if_possible
            profiling = Profiling(options, scheduler)
            with profiling, control(scheduler), contextlib.nullcontext() if silent else view:
                report = self._run(scheduler)
        if view.broken:
            raise BrokenPipeError
        code = _exit_code(report, self._failure)
        if profiling.failed:
            code = code or FAILED
        if view.stuck:
            # Nobody takes what is written, and code of the robot may hold the stream's lock: the
            # interpreter's own end would wait for both.
            os._exit(code)
        self._say(report, code, profiling)
        return code

    def _rename(self, scheduler: horus.Scheduler, name: str) -> None:
        try:
            scheduler._change_settings({"name": name})
        except horus.ConfigurationError as error:
            raise CommandFailed(f"--name: {error}", USAGE) from None

    def _run(self, scheduler: horus.Scheduler) -> horus.RunReport:
        try:
            return scheduler.run(self._options.duration)
        except horus.RunFailed as failure:
            self._failure = failure
            report: horus.RunReport = failure.report
            return report

    def _set_up_logging(self) -> None:
        """Show what nodes and engine log, unless the program has its own mind about it."""
        if logging.getLogger().handlers:
            return
        handler = logging.StreamHandler(sys.stderr)
        form = "%(asctime)s %(levelname)s %(name)s: %(message)s"
        handler.setFormatter(PrintableFormatter(form, datefmt="%H:%M:%S"))
        logging.basicConfig(handlers=[handler])
        quiet = self._options.quiet
        logging.getLogger("horus_trio").setLevel(logging.WARNING if quiet else logging.INFO)

    def _say(self, report: horus.RunReport, code: int, profiling: Profiling) -> None:
        options = self._options
        if options.json:
            plain = report.to_dict() | profiling.to_dict()
            say(json.dumps(plain, indent=2))
        else:
            texts = [str(report)] if code or not options.quiet else []
            if profile := profiling.text(self._console.size[0]):
                texts += ["", profile] if texts else [profile]
            for text in texts:
                say(text)
        sys.stdout.flush()
        if self._failure is not None:
            for paragraph in failures(self._failure, whole=options.traceback):
                complain("")
                complain(paragraph)


def _exit_code(report: horus.RunReport, failure: horus.RunFailed | None) -> int:
    if failure is not None or not report.ok:
        return FAILED
    if report.forced_by:
        return 128 + signal.Signals[report.forced_by]
    return 0
