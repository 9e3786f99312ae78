"""Errors as text: bounded tracebacks, and a log that tells each kind of error once.

Two errors are of one kind if they have one type and were raised at one place; what their messages
say, a counter for instance, does not tell them apart. For a group, its leaves count. No error and
no frame is kept.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Hashable

from ..printable import entry, one_line
from .thread import OffLoopLogger
from .throttle import Notice, Throttle, span

__all__ = ["ErrorLog", "headline", "message_of", "shortened", "text_of"]

FRAMES = 32
"""Frames of a traceback that are looked at, the innermost ones."""

LINES = 60
"""Lines of a traceback that are kept."""

TOLD = 40
"""Lines of a traceback that are logged."""

COLUMNS = 400
"""Characters of a line that are kept."""

LEAVES = 8
"""Exceptions of a group that tell its kind."""


class ErrorLog:
    """Tells errors through a logger: each kind at once with its traceback, repeats as counts.

    Fewer than a hundred lines in ten seconds, whatever comes.

    Arguments:
        log: Gets the records.
        clock: Seconds.
    """

    def __init__(self, log: OffLoopLogger, clock: Callable[[], float]) -> None:
        self._log = log
        self._clock = clock
        self._throttle = Throttle()

    def tell(self, family: str, error: BaseException, text: str, where: str = "") -> None:
        """Log one more error, or hold it back.

        Arguments:
            family: What has failed, as a sentence: ``node 'a' failed``.
            error: The error.
            text: Its `text_of`.
            where: What follows the sentence where an error is told in full: `` in tick 1``.
        """
        text = text.rstrip()
        notice = self._throttle.admit(
            self._clock(),
            family,
            _kind_of(error),
            latest=headline(error),
            lines=1 + min(TOLD, text.count("\n") + 1),
        )
        if notice is None:
            return
        if not notice.first or notice.lines == 1:
            self._log.error("%s", _sentence(notice))
            return
        again = f" ({span(notice.count - 1, notice.seconds)})" if notice.count > 1 else ""
        self._log.error("%s%s%s\n%s", family, where, again, shortened(text, notice.lines - 1))

    def close(self) -> None:
        """Tell what is held back."""
        for notice in self._throttle.close(self._clock()):
            self._log.error("%s", _sentence(notice))


def headline(error: BaseException) -> str:
    """Type and message in one line."""
    first = next(iter(message_of(error).splitlines()), "")
    text = f"{type(error).__name__}: {first}" if first else type(error).__name__
    return _cut(one_line(text))


def message_of(error: BaseException) -> str:
    """What it says, whatever it does when it is asked."""
    try:
        return str(error)
    except Exception as broken:  # noqa: BLE001 - an error that cannot print is told all the same
        return f"<its text cannot be had: {type(broken).__name__}>"


def text_of(error: BaseException) -> str:
    """The traceback as text, which keeps no frame alive: its innermost frames, `LINES` lines."""
    text = "".join(traceback.format_exception(error, limit=-FRAMES))
    return f"{shortened(text, LINES)}\n"


def shortened(text: str, lines: int) -> str:
    """The text in so many lines, the middle left out; its end is what tells most."""
    rows = text.splitlines()
    if len(rows) > lines:
        left_out = f"  … {len(rows) - lines + 1} lines …"
        head = (lines - 1) // 3
        tail = lines - 1 - head
        rows = [*rows[:head], left_out, *rows[len(rows) - tail :]] if tail else rows[-1:]
    return "\n".join(_cut(entry(row)) for row in rows)


def _cut(line: str) -> str:
    return line if len(line) <= COLUMNS else f"{line[: COLUMNS - 1]}…"


def _sentence(notice: Notice) -> str:
    of_others = ", with still other errors, the latest" if notice.mixed else ""
    if notice.first and notice.count == 1:
        return f"{notice.family}{of_others}: {notice.latest}"
    return f"{notice.family} {span(notice.count, notice.seconds)}{of_others}: {notice.latest}"


def _kind_of(error: BaseException) -> Hashable:
    kinds: set[Hashable] = set()
    pending = [error]
    while pending and len(kinds) < LEAVES:
        error = pending.pop()
        if isinstance(error, BaseExceptionGroup):
            pending.extend(error.exceptions[:LEAVES])
        else:
            kinds.add((type(error).__module__, type(error).__qualname__, _place_of(error)))
    return frozenset(kinds)


def _place_of(error: BaseException) -> tuple[str, int] | None:
    """Where it was raised; None: it never was."""
    trace = error.__traceback__
    if trace is None:
        return None
    while trace.tb_next is not None:
        trace = trace.tb_next
    return trace.tb_frame.f_code.co_filename, trace.tb_lineno
