"""The command line: ``horus-trio``, or ``python -m horus_trio.cli``.

Each subcommand is a module with `EXAMPLES`, `add_arguments` and `run`; a new one is a line in
`parser`. What every command shares is here: exit codes, and how a command ends when it cannot do
its work, when it is interrupted or when nobody reads its output.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from types import FrameType

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Arguments:
        argv: Its words, without the program's name; None: those of this process.

    Returns:
        The exit code.

    Raises:
        SystemExit: Wrong usage, ``--help``, ``--version``, or SIGTERM outside a run.
    """
    from ..errors import HorusError
    from .errors import FAILED, CommandFailed
    from .parser import make_parser
    from .saying import complain

    parser = make_parser()
    options = parser.parse_args(argv)
    if options.command is None:
        parser.print_help()
        return 0
    try:
        with _sigterm_exits():
            code: int = options.run(options)
            sys.stdout.flush()
            return code
    except CommandFailed as error:
        complain(f"horus-trio {options.command}: {error}")
        return error.code
    except HorusError as error:
        complain(f"horus-trio {options.command}: {error}")
        return FAILED
    except KeyboardInterrupt:
        complain("horus-trio: interrupted")
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
