"""What happens to nodes, as lines: ticks that end badly, and what nodes log."""

from __future__ import annotations

import collections
import contextlib
import logging
import time
from collections.abc import Iterator

import horus_trio as horus

from ..logs import message_of
from ..printable import one_line

__all__ = ["Events"]

KEPT = 1000
"""Lines kept while nobody takes them; the oldest go first."""


class Events(logging.Handler):
    """Collects lines; any thread."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._start = time.monotonic()
        self._lines: collections.deque[str] = collections.deque(maxlen=KEPT)

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Take what nodes log while inside; what the engine logs goes nowhere meanwhile."""
        silence = logging.NullHandler()
        engine, nodes = logging.getLogger("horus_trio"), logging.getLogger("horus_trio.node")
        level = nodes.level
        engine.addHandler(silence)
        nodes.addHandler(self)
        nodes.setLevel(logging.INFO)
        try:
            yield
        finally:
            nodes.setLevel(level)
            nodes.removeHandler(self)
            engine.removeHandler(silence)

    def start(self) -> None:
        """Forget what was, and count time from now."""
        self._start = time.monotonic()
        self._lines.clear()

    def result(self, result: horus.AsyncResult) -> None:
        """Take a tick's result; a callback for ``scheduler.on_result``."""
        if result.status in (horus.TickStatus.OK, horus.TickStatus.CANCELLED):
            return
        if result.status is horus.TickStatus.ERROR:
            self._note(result.node, f"tick {result.seq}: {self.said(result)}")
        else:
            ending = result.status.value
            self._note(result.node, f"tick {result.seq} was {ending} after {result.duration:.1f} s")

    @staticmethod
    def said(result: horus.AsyncResult) -> str:
        """The error of a result, in words."""
        error = result.error
        return ("" if error is None else message_of(error)) or type(error).__name__

    def emit(self, record: logging.LogRecord) -> None:
        """Take what a node logs."""
        self._note(getattr(record, "node", record.name), record.getMessage())

    def take(self) -> list[str]:
        """The lines since the last call."""
        return [self._lines.popleft() for _ in range(len(self._lines))]

    def _note(self, node: str, text: str) -> None:
        first_line = one_line(text.partition("\n")[0])
        elapsed = time.monotonic() - self._start
        self._lines.append(f"{elapsed:5.1f} s  {node:<9}  {first_line}")
