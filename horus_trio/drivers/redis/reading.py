"""Which commands read a stream on, and what their replies mean. No I/O is done here.

What was read and not yet given out is dropped with the connection, and read again over the next
one: a reader without a group asks for what follows the entry that it gave out last, and a group
has noted what was read and not acknowledged.
"""

from __future__ import annotations

import abc
import collections
from collections.abc import Callable, Sequence
from typing import Any

import trio

from .entries import StreamEntry, StreamState, entry_of, position_of
from .group import ConsumerGroup
from .replies import Refused
from .trimmed import Trimmed

__all__ = ["FromPosition", "InGroup", "Reading"]

NO_ENTRY = b"0-0"


class Reading(abc.ABC):
    """One reader of a stream, over all of its connections.

    Arguments:
        stream: Its key.
        batch: Entries to be read at once.
        longest: Bytes that an entry may have.

    Attributes:
        rejected: Entries that were too long.
        discarded: Bytes of those, as far as they were kept.
    """

    def __init__(self, stream: str, batch: int, longest: int) -> None:
        self._stream = stream
        self._batch = batch
        self._longest = longest
        self._items: collections.deque[tuple[bytes, list[bytes | None] | None]] = (
            collections.deque()
        )
        self._expected: collections.deque[Callable[[Any], None]] = collections.deque()
        self.rejected: int = 0
        self.discarded: int = 0

    @property
    @abc.abstractmethod
    def lost(self) -> int:
        """Entries that are known to be lost."""

    def drop(self) -> None:
        """The connection is closed."""
        self._items.clear()
        self._expected.clear()

    @property
    def waits(self) -> bool:
        """Whether there are replies that have not come yet."""
        return bool(self._expected)

    @abc.abstractmethod
    def ask(self, put: Callable[..., None]) -> None:
        """Put the next commands."""

    def take(self, reply: Any) -> None:
        """Take the next reply in.

        Raises:
            Refused: It is one.
        """
        self._expected.popleft()(reply)

    def pop(self) -> StreamEntry | None:
        """Give out the next entry that was read; None: read on first."""
        while self._items:
            entry_id, words = self._items.popleft()
            entry = None if words is None else self._entry(entry_id, words)
            self._gave(entry_id, is_there=words is not None, is_good=entry is not None)
            if entry is not None:
                return entry
        return None

    def _entry(self, entry_id: bytes, words: Sequence[bytes | None]) -> StreamEntry | None:
        kept = [word for word in words if word is not None]
        size = sum(map(len, kept))
        if len(kept) == len(words) and size <= self._longest:
            return entry_of(entry_id, kept)
        self.rejected += 1
        self.discarded += size
        return None

    @abc.abstractmethod
    def _gave(self, entry_id: bytes, *, is_there: bool, is_good: bool) -> None:
        """An entry is given out, or passed over."""

    def _read(self, reply: Any) -> None:
        """The reply to a command that reads."""
        if isinstance(reply, Refused):
            raise reply
        if reply is not None:
            [[_, entries]] = reply
            self._items.extend((checked_id(entry_id), words) for entry_id, words in entries)


class FromPosition(Reading):
    """Reads what follows the entry that it gave out last.

    Arguments:
        start: ``$``, or an id.
    """

    def __init__(self, stream: str, batch: int, longest: int, *, start: str) -> None:
        super().__init__(stream, batch, longest)
        self._given = b"" if start == "$" else start.encode("ascii")
        self._trimmed = Trimmed()
        self._full: list[bytes] = []  # the ids of the latest batch, if there may be more

    @property
    def lost(self) -> int:
        """Entries that were trimmed away before they were read."""
        return self._trimmed.lost

    def begin(self, state: StreamState) -> None:
        """There is a new connection."""
        last = b"%d-%d" % state.last
        # A stream may have been deleted and begun anew, with smaller ids.
        if not self._given or position_of(self._given) > state.last:
            self._given = last
        self._full.clear()
        self._trimmed.look(state, position_of(self._given))

    def ask(self, put: Callable[..., None]) -> None:
        if self._full:
            # It lags behind, so some may have been trimmed away between two reads.
            put("XINFO", "STREAM", self._stream)
            self._expected.append(self._look)
        put("XREAD", "COUNT", self._batch, "BLOCK", 0, "STREAMS", self._stream, self._given)
        self._expected.append(self._read)

    def _gave(self, entry_id: bytes, *, is_there: bool, is_good: bool) -> None:
        self._given = entry_id
        self._trimmed.took()

    def _read(self, reply: Any) -> None:
        super()._read(reply)
        self._full = (
            [entry_id for entry_id, _ in self._items] if len(self._items) >= self._batch else []
        )

    def _look(self, reply: Any) -> None:
        if not isinstance(reply, Refused):  # it has just been deleted
            batch = [position_of(entry_id) for entry_id in self._full]
            self._trimmed.look(StreamState.of_reply(reply), position_of(self._given), batch)


class InGroup(Reading):
    """Reads as a consumer of a group: first what it has not acknowledged, then what is new."""

    def __init__(self, stream: str, batch: int, longest: int, *, group: ConsumerGroup) -> None:
        super().__init__(stream, batch, longest)
        self._group = group
        self._pending: bytes | None = NO_ENTRY  # after which entry to read them; None: all are read
        self._claim_at = 0.0
        self._claim_from = NO_ENTRY
        self.to_acknowledge: list[bytes] = []
        """What was given out, and the server does not know yet."""
        self.last: bytes | None = None
        """What was given out last."""
        self._lost = 0

    @property
    def lost(self) -> int:
        """Entries that were trimmed away after they had been read, and before they were done."""
        return self._lost

    def begin(self) -> None:
        """There is a new connection."""
        self._pending = NO_ENTRY
        self._claim_at = trio.current_time()
        self._claim_from = NO_ENTRY

    def ask(self, put: Callable[..., None]) -> None:
        group, now = self._group, trio.current_time()
        if self.to_acknowledge:
            put("XACK", self._stream, group.name, *self.to_acknowledge)
            self._expected.append(self._acknowledged)
        read = "XREADGROUP", "GROUP", group.name, group.consumer, "COUNT", self._batch
        if self._pending is not None:
            put(*read, "STREAMS", self._stream, self._pending)
            self._expected.append(self._read_pending)
        elif group.claim_after is None:
            put(*read, "BLOCK", 0, "STREAMS", self._stream, ">")
            self._expected.append(self._read)
        elif now >= self._claim_at:
            idle = round(group.claim_after * 1000)
            claim = "XAUTOCLAIM", self._stream, group.name, group.consumer, idle
            put(*claim, self._claim_from, "COUNT", self._batch)
            self._expected.append(self._claimed)
        else:
            wait = max(1, round((self._claim_at - now) * 1000))
            put(*read, "BLOCK", wait, "STREAMS", self._stream, ">")
            self._expected.append(self._read)

    def _gave(self, entry_id: bytes, *, is_there: bool, is_good: bool) -> None:
        self.last = entry_id
        self._lost += not is_there
        if not (self._group.explicit and is_good):
            self.to_acknowledge.append(entry_id)

    def _acknowledged(self, reply: Any) -> None:
        if isinstance(reply, Refused):
            raise reply
        self.to_acknowledge.clear()  # nothing has been given out since it was asked for

    def _read_pending(self, reply: Any) -> None:
        self._read(reply)
        self._pending = self._items[-1][0] if self._items else None

    def _claimed(self, reply: Any) -> None:
        if isinstance(reply, Refused):
            raise reply
        claim_from, entries, *deleted = reply
        self._claim_from = checked_id(claim_from)
        for one in entries:
            if one is None:  # before Redis 7
                self._lost += 1
            else:
                self._items.append((checked_id(one[0]), one[1]))
        for ids in deleted:
            self._lost += len(ids)
        if self._claim_from == NO_ENTRY:
            self._claim_at = trio.current_time() + (self._group.claim_after or 0.0)


def checked_id(entry_id: object) -> bytes:
    """It, as what is asked for next.

    Raises:
        TypeError: It is not even bytes.
        ValueError: It is no id.
    """
    if not isinstance(entry_id, bytes):
        raise TypeError(f"{entry_id!r:.80} is no id of an entry")
    position_of(entry_id)
    return entry_id
