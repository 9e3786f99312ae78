"""`View`: a robot as it runs, a live table on a terminal, and a line a second otherwise.

Everything is drawn in a thread of its own from ``scheduler.statistics()``, so that a slow terminal
is no node's business. A thread takes the interpreter's lock from the loop, so it draws seldom, and
more seldom the longer it takes. A terminal that is stopped keeps that thread, which then is left
behind: neither the run nor its end waits for it.
"""

from __future__ import annotations

import collections
import threading
import time
from types import TracebackType
from typing import Self

import horus_trio as horus

from .capture import Capture
from .console import Console
from .events import Events
from .frame import Frame
from .table import Table

__all__ = ["View"]

REDRAW = 0.4
"""Seconds between pictures, at least."""

LOOK = 0.1
"""Seconds between looks for events where there is no picture, at least."""

SHARE = 0.02
"""Of the time of one processor, drawing may take so much."""

EVENTS_SHOWN = 6
"""Events below the live table."""

PATIENCE = 1.0
"""Seconds for which the end waits for the last picture."""


class View:
    """Shows a scheduler while inside.

    Arguments:
        console: Where to.
        scheduler: What to show. Stopped when nobody reads the console any more.
        events: Shown too.
        title: What stands above.
        seconds: How long it will run, or None.
        capture: What the robot's own code writes meanwhile stays above the table.

    Attributes:
        broken: Whether the console's reader went away.
        stuck: Whether the console took nothing at the end.
    """

    def __init__(
        self,
        console: Console,
        scheduler: horus.Scheduler,
        events: Events,
        *,
        title: str,
        seconds: float | None,
        capture: Capture | None = None,
    ) -> None:
        self.broken: bool = False
        self.stuck: bool = False
        self._console = console
        self._scheduler = scheduler
        self._events = events
        self._title = title
        self._seconds = seconds
        self._capture = capture
        self._table = Table(console)
        self._recent: collections.deque[str] = collections.deque(maxlen=EVENTS_SHOWN)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="horus_trio view", daemon=True)

    def __enter__(self) -> Self:
        self._events.start()
        if self._capture is not None:
            self._capture.hold()
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join(PATIENCE)
        self.stuck = self._thread.is_alive()
        if self._capture is not None:
            self._capture.release(discard=self.stuck or self.broken)

    def _run(self) -> None:
        try:
            if self._console.live:
                self._redraw()
            else:
                self._report()
        except OSError:  # the pipe has no reader, the terminal is gone
            self.broken = True
            while not self._over.wait(REDRAW):  # the run may be yet to begin
                self._scheduler.stop("nobody reads the output")

    def _redraw(self) -> None:
        pause = REDRAW
        while not self._over.wait(pause):
            pause = self._draw()
        self._draw()
        self._console.keep()

    def _draw(self) -> float:
        """Draw; returns for how long not to draw again, in seconds."""
        begun = time.thread_time()
        above = () if self._capture is None else self._capture.take()
        self._console.draw(self._picture(), above)
        return max(REDRAW, (time.thread_time() - begun) / SHARE)

    def _report(self) -> None:
        console = self._console
        second = 0
        limit = "" if self._seconds is None else f", {self._seconds:g} s"
        console.line(self._title + limit)
        pause = LOOK
        while not self._over.wait(pause):
            begun = time.thread_time()
            for event in self._events.take():
                console.line(event)
            self._observe()
            if self._frame.elapsed >= second + 1:
                second = int(self._frame.elapsed)
                console.line(self._table.summary())
            pause = max(LOOK, (time.thread_time() - begun) / SHARE)
        for event in self._events.take():
            console.line(event)

    def _observe(self) -> None:
        self._frame = Frame.of(self._scheduler.statistics())
        self._table.observe(self._frame)

    def _picture(self) -> list[str]:
        console = self._console
        self._observe()
        self._recent.extend(self._events.take())
        of = "" if self._seconds is None else f"of {self._seconds:g} "
        lines = [
            console.styled(self._title, "bold") + f"  {self._frame.elapsed:.1f} {of}s",
            "",
        ]
        events = EVENTS_SHOWN if self._recent else 0
        lines += self._table.rows(console.size[1] - 1 - len(lines) - 1 - events)
        if events:
            lines += ["", *self._recent]
            if not self._over.is_set():
                lines += [""] * (EVENTS_SHOWN - len(self._recent))
        return lines
