"""What is said of a stream of like events: a new kind at once, its repeats as counts.

Pure: the instant comes in as an argument. Two laws hold whatever happens. Each event is counted in
exactly one notice, or is still held back and comes out of `close`. And the notices of any
`interval` have together no more lines than `lines`; only those of `close` come on top.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

__all__ = ["Notice", "Throttle", "span"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something to be said now.

    Attributes:
        family: What happened, as given to `Throttle.admit`.
        latest: The latest event in one line, as given.
        count: How many events it stands for.
        seconds: The time over which they came.
        lines: How many lines it may have; 1 unless it is the first of its kind.
        first: Whether its kind has not been told before.
        mixed: Whether it stands for several kinds, because there are too many to tell apart.
    """

    family: str
    latest: str
    count: int
    seconds: float
    lines: int
    first: bool
    mixed: bool


class Throttle:
    """Tells the first event of each kind, and sums its repeats up once in each interval.

    Arguments:
        interval: Seconds.
        kinds: How many kinds are told apart. One more takes the place of one that has been quiet
            for an interval; failing that, it is told with the others of its family.
        lines: How many lines there may be in any interval.
    """

    __slots__ = ("_interval", "_kinds", "_limit", "_lines", "_others", "_told")

    def __init__(self, interval: float = 10.0, *, kinds: int = 8, lines: int = 80) -> None:
        self._interval = interval
        self._limit = kinds
        self._lines = lines
        self._kinds: dict[tuple[str, Hashable], _Kind] = {}
        self._others: dict[str, _Kind] = {}
        self._told: list[tuple[float, int]] = []  # those of the interval that ends now

    def admit(
        self, now: float, family: str, kind: Hashable = None, *, latest: str = "", lines: int = 1
    ) -> Notice | None:
        """What to say about one more event; None: it is held back, and counted.

        Arguments:
            now: Its instant, in seconds.
            family: What happened; one of few.
            kind: Which events of the family are alike.
            latest: The event in one line.
            lines: How many lines it would take to tell it in full.
        """
        record = self._record(now, family, kind)
        record.held += 1
        record.latest = latest
        record.seen = now
        if record.told and now < record.since + self._interval:
            return None
        room = self._room(now)
        if room < 1:
            return None
        # Half of what is left, so that there is room for the next new kind, too.
        notice = record.notice(now, 1 if record.told else min(lines, (room + 1) // 2))
        self._told.append((now, notice.lines))
        return notice

    def close(self, now: float) -> list[Notice]:
        """What is still held back, as one line for each kind."""
        records = (*self._kinds.values(), *self._others.values())
        return [record.notice(now, 1) for record in records if record.held]

    def _record(self, now: float, family: str, kind: Hashable) -> _Kind:
        record = self._kinds.get((family, kind))
        if record is None:
            if len(self._kinds) >= self._limit and not self._forget_one(now):
                return self._other(now, family)
            record = self._kinds[family, kind] = _Kind(family, now)
        return record

    def _forget_one(self, now: float) -> bool:
        """Make room for a kind, if one has been quiet."""
        key, record = min(self._kinds.items(), key=lambda item: item[1].seen)
        if now < record.seen + self._interval:
            return False
        del self._kinds[key]
        if record.held:
            other = self._other(record.since, record.family)
            other.held += record.held
            other.latest = record.latest
        return True

    def _other(self, now: float, family: str) -> _Kind:
        if family not in self._others:
            self._others[family] = _Kind(family, now, mixed=True)
        return self._others[family]

    def _room(self, now: float) -> int:
        self._told = [told for told in self._told if told[0] > now - self._interval]
        return self._lines - sum(lines for _, lines in self._told)


class _Kind:
    """What is known of the events of one kind."""

    __slots__ = ("family", "held", "latest", "mixed", "seen", "since", "told")

    def __init__(self, family: str, now: float, *, mixed: bool = False) -> None:
        self.family = family
        self.mixed = mixed
        self.told = False
        self.held = 0
        self.latest = ""
        self.since = now
        self.seen = now

    def notice(self, now: float, lines: int) -> Notice:
        """Tell what is held."""
        notice = Notice(
            family=self.family,
            latest=self.latest,
            count=self.held,
            seconds=now - self.since,
            lines=lines,
            first=not self.told,
            mixed=self.mixed,
        )
        self.told, self.held, self.since = True, 0, now
        return notice


def span(count: int, seconds: float) -> str:
    """Such as ``994 more times in the last 10 s``."""
    times = "time" if count == 1 else "times"
    return f"{count} more {times} in the last {seconds:.2f}".rstrip("0").rstrip(".") + " s"
