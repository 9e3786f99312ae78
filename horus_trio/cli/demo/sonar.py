"""A sonar that falls silent: it measures a few times, then takes a request and never answers.

One connection is one session; after `good` measurements the connection stays open and nothing
more comes, so whoever reads it waits for good.

Run by `world`: ``python -m horus_trio.cli.demo.sonar``. It prints its port on stdout and ends
when its stdin is closed.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import socketserver
import sys
from collections.abc import Sequence
from typing import Any

from .serving import serve_until_stdin_closes

__all__ = ["SonarServer", "main"]


class SonarServer(socketserver.ThreadingTCPServer):
    """The sonar, on a free port of this machine's loopback interface.

    Arguments:
        good: Measurements a connection gets before the silence.
    """

    daemon_threads = True

    def __init__(self, good: int) -> None:
        super().__init__(("127.0.0.1", 0), functools.partial(SonarHandler, good))


class SonarHandler(socketserver.StreamRequestHandler):
    """One connection: a line comes in, a line with a distance in metres goes out."""

    def __init__(self, good: int, *connection: Any) -> None:
        self._good = good
        super().__init__(*connection)

    def handle(self) -> None:
        """Measure `good` times, then only listen."""
        with contextlib.suppress(ConnectionError):
            for number, _request in enumerate(self.rfile):
                if number < self._good:
                    self.wfile.write(b"%.2f\n" % (2.0 - 0.1 * number))


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until stdin is closed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--good", type=int, default=4)
    options = parser.parse_args(argv)
    serve_until_stdin_closes(SonarServer(options.good))
    return 0


if __name__ == "__main__":
    sys.exit(main())
