"""Troubles that are survived, told as warnings of one line: a new kind at once, repeats counted."""

from __future__ import annotations

import logging

from .throttle import Notice, Throttle, span

__all__ = ["WarningLog"]


class WarningLog:
    """Tells of what has gone wrong with single messages, as often as is good to read."""

    def __init__(self) -> None:
        self._throttle = Throttle()

    def tell(self, log: logging.Logger, now: float, family: str, error: Exception) -> None:
        """Log one more error, or hold it back.

        Arguments:
            log: Gets the record.
            now: The instant, in seconds.
            family: What has failed, as a sentence: ``sending failed``.
            error: The error.
        """
        notice = self._throttle.admit(now, family, latest=f"{type(error).__name__}: {error}")
        if notice is not None:
            _warn(log, notice)

    def close(self, log: logging.Logger, now: float) -> None:
        """Tell what is held back."""
        for notice in self._throttle.close(now):
            _warn(log, notice)


def _warn(log: logging.Logger, notice: Notice) -> None:
    if notice.first and notice.count == 1:
        log.warning("%s: %s", notice.family, notice.latest)
    else:
        log.warning("%s %s: %s", notice.family, span(notice.count, notice.seconds), notice.latest)
