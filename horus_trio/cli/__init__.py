"""The command line: ``horus-trio``, or ``python -m horus_trio.cli``.

Each subcommand is a module with `add_arguments` and `run`; a new one is a line in `main`. What
every command shares is here: exit codes, and how a command ends when it is interrupted or when
nobody reads its output.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from types import FrameType

__all__ = ["main"]

EPILOG = """\
examples:
  horus-trio demo                          a robot among failing devices, ten seconds
  horus-trio demo --json > summary.json    what it showed, for programs
  horus-trio demo --database flight.sqlite3 --plain

exit codes:
  0      done; a run stopped by the first Ctrl-C or SIGTERM ends in order, too
  1      the run failed, or its result is wrong
  2      wrong usage
  128+n  ended by signal n: 130 by the second Ctrl-C, 141 when nobody reads the output
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Arguments:
        argv: Its words, without the program's name; None: those of this process.

    Returns:
        The exit code.

    Raises:
        SystemExit: Wrong usage, ``--help``, ``--version``, or SIGTERM outside a run.
    """
    from .. import __version__
    from .demo import command as demo

    parser = argparse.ArgumentParser(
        prog="horus-trio",
        description="The asynchronous I/O tier of a robot.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"horus-trio {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    for name, module in (("demo", demo),):
        summary, _, description = (module.__doc__ or "").partition("\n")
        command = commands.add_parser(name, help=summary, description=description)
        module.add_arguments(command)
        command.set_defaults(run=module.run)

    options = parser.parse_args(argv)
    try:
        with _sigterm_exits():
            code: int = options.run(options)
            sys.stdout.flush()
            return code
    except KeyboardInterrupt:
        sys.stderr.write("horus-trio: interrupted\n")
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # The interpreter flushes stdout at its end, and must find nothing to complain about.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE


@contextlib.contextmanager
def _sigterm_exits() -> Iterator[None]:
    """While inside, SIGTERM unwinds the program as Ctrl-C does; a run handles it by itself."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(signum: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + signum)

    earlier = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, earlier)
