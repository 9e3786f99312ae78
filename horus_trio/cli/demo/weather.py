"""A weather service: a local HTTP server that is slow and sometimes fails.

An answer takes 50 to 600 ms. Some are ``503 Service Unavailable``, for others the connection is
dropped without a word. Which, and how slow, follows from a seed and the request's number.

Run by `world`: ``python -m horus_trio.cli.demo.weather``. It prints its port on stdout and ends
when its stdin is closed.
"""

from __future__ import annotations

import argparse
import enum
import functools
import json
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from .serving import serve_until_stdin_closes

__all__ = ["Answer", "Fate", "WeatherServer", "answers", "main"]


SEED = 356
"""One whose first dozen answers have it all."""


class Fate(enum.Enum):
    """What becomes of a request."""

    ANSWERED = "answered"
    UNAVAILABLE = "unavailable"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """How one request is treated.

    Attributes:
        fate: What becomes of it.
        delay: Seconds until then.
        wind: Wind speed in m/s.
    """

    fate: Fate
    delay: float
    wind: float


def answers(seed: int) -> Iterator[Answer]:
    """How one request after the other is treated, for ever."""
    rng = random.Random(seed)
    fates = list(Fate)
    while True:
        yield Answer(
            fate=rng.choices(fates, weights=(0.7, 0.2, 0.1))[0],
            delay=rng.uniform(0.05, 0.6),
            wind=round(rng.uniform(0.0, 12.0), 1),
        )


class WeatherServer(ThreadingHTTPServer):
    """The service, on a free port of this machine's loopback interface.

    Arguments:
        treat: How requests are treated, in the order they come in.
    """

    daemon_threads = True

    def __init__(self, treat: Iterator[Answer]) -> None:
        super().__init__(("127.0.0.1", 0), functools.partial(WeatherHandler, self.next_answer))
        self._treat = treat
        self._lock = threading.Lock()

    def handle_error(self, request: object, client_address: object) -> None:
        """Let clients hang up without comment; report everything else."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]

    def next_answer(self) -> Answer:
        """How the request that has just come in is treated."""
        with self._lock:
            return next(self._treat)


class WeatherHandler(BaseHTTPRequestHandler):
    """Answers one request."""

    def __init__(self, next_answer: Callable[[], Answer], *connection: Any) -> None:
        self._next_answer = next_answer
        super().__init__(*connection)

    def do_GET(self) -> None:
        """Answer, or fail to."""
        answer = self._next_answer()
        time.sleep(answer.delay)
        match answer.fate:
            case Fate.ANSWERED:
                self._send(200, {"wind": answer.wind})
            case Fate.UNAVAILABLE:
                self._send(503, {"error": "no weather today"})
            case Fate.DROPPED:
                self.close_connection = True

    def _send(self, status: int, content: dict[str, object]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is given
        """Say nothing."""


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until stdin is closed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args(argv)
    serve_until_stdin_closes(WeatherServer(answers(options.seed)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
