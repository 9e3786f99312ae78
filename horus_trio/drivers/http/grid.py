"""When to ask: on an absolute grid, and not while the server wants to be left alone."""

from __future__ import annotations

import datetime
import email.utils
import math

__all__ = ["Grid", "retry_after"]


class Grid:
    """Instants that are multiples of a period from the first one, so that nothing adds up.

    Arguments:
        every: Seconds between them; 0: at once, always.

    Attributes:
        due: The instant from which it may be asked again.
        coalesced: Instants that were passed over, since an answer, or whoever asks, was slow.
    """

    def __init__(self, every: float) -> None:
        self._every = every
        self._epoch = -math.inf
        self._number = 0
        self.due: float = -math.inf
        self.coalesced: int = 0

    def begin(self, now: float) -> None:
        """Now is the first instant."""
        self._epoch = self.due = now
        self._number = 0

    def asked(self, now: float, *, not_before: float = -math.inf) -> None:
        """It has been asked, and that came to its end now: the next instant is the one after.

        Arguments:
            now: The instant.
            not_before: Another one, before which it is not asked.
        """
        if not self._every:
            self.due = max(now, not_before)
            return
        number = max(self._number + 1, math.floor((now - self._epoch) / self._every) + 1)
        while self._epoch + number * self._every <= now:  # for rounding
            number += 1
        wanted = number
        if not_before > now:
            wanted = max(number, math.ceil((not_before - self._epoch) / self._every))
            while self._epoch + wanted * self._every < not_before:
                wanted += 1
        self.coalesced += number - self._number - 1
        self._number = wanted
        self.due = self._epoch + wanted * self._every


def retry_after(value: str | None, date: str | None, now: datetime.datetime) -> float:
    """Seconds for which a server wants to be left alone; 0.0 if it says nothing, or nonsense.

    Arguments:
        value: What ``Retry-After`` says: seconds, or a date.
        date: What ``Date`` says: the date of the server's own clock, by which its other date is
            understood.
        now: The date here, for servers that say none.
    """
    if value is None:
        return 0.0
    if value.isascii() and value.isdigit():
        return float(value)
    until = _date(value)
    if until is None:
        return 0.0
    return max(0.0, (until - (_date(date) or now)).total_seconds())


def _date(text: str | None) -> datetime.datetime | None:
    if not text:
        return None
    try:
        date = email.utils.parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=datetime.UTC)
