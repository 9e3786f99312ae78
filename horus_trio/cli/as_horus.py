"""``horus-trio run --as-horus``: a program written for HORUS, run as it is on this engine.

The program is run as ``__main__`` with the facade at ``horus``; what it runs, and for how long, is
its own affair. Robots that it runs can be looked into, and cannot hinder the process's end.
"""

from __future__ import annotations

import argparse
import contextlib
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path

import horus_trio as horus

from .errors import FAILED, USAGE, CommandFailed
from .failure import described, failures
from .last_resort import end_process
from .looking import listening_if_possible
from .saying import complain, say
from .target import require_file

__all__ = ["run_as_horus"]


def run_as_horus(options: argparse.Namespace) -> int:
    """Run the program; returns the exit code.

    Arguments:
        options: As the parser of ``run`` gives them.

    Raises:
        CommandFailed: There is no such program, or HORUS's own package is in the way.
        SystemExit: The program ended itself.
    """
    from horus_trio.bridges.horus import InstallError, install
    from horus_trio.bridges.horus.scheduler import around_run

    _refuse_what_has_no_effect(options)
    words = ([] if options.target is None else [options.target]) + options.as_horus
    if not words:
        raise CommandFailed("--as-horus: expected a program, as in --as-horus app.py", USAGE)
    path = Path(words[0])
    require_file(path)
    try:
        install()
    except InstallError as error:
        raise CommandFailed(str(error)) from None
    sys.argv = [str(path), *words[1:]]
    sys.path.insert(0, str(path.parent.resolve()))
    around_run.set(_watched if options.no_control else _watched_and_open)
    try:
        runpy.run_path(str(path), run_name="__main__")
    except horus.RunFailed as failure:
        _say(failure, options)
        return FAILED
    except Exception as error:  # noqa: BLE001 - it is the program's
        complain(described(error, whole=options.traceback))
        return FAILED
    return 0


def _refuse_what_has_no_effect(options: argparse.Namespace) -> None:
    """The program makes its schedulers itself, after this."""
    for option, given in (
        ("--duration", options.duration is not None),
        ("--set", bool(options.overrides)),
        ("--name", options.name is not None),
        ("--profile", options.profile),
        ("--profile-trace", options.profile_trace is not None),
        ("--json", options.json),
        ("--plain", options.plain),
    ):
        if given:
            raise CommandFailed(
                f"{option} has no effect with --as-horus: the program itself says what is run, "
                "and how; what comes after --as-horus is the program and its arguments",
                USAGE,
            )


@contextlib.contextmanager
def _watched(scheduler: horus.Scheduler) -> Iterator[None]:
    scheduler._last_resort = end_process
    yield


@contextlib.contextmanager
def _watched_and_open(scheduler: horus.Scheduler) -> Iterator[None]:
    with _watched(scheduler), listening_if_possible(scheduler):
        yield


def _say(failure: horus.RunFailed, options: argparse.Namespace) -> None:
    if failure.report is not None and not options.quiet:
        say(str(failure.report))
        sys.stdout.flush()
    else:
        complain(failure.message)
    for paragraph in failures(failure, whole=options.traceback):
        complain("")
        complain(paragraph)
