"""One topic of HORUS's, open: its ring in shared memory, and exact counts of what passes.

HORUS has two kinds of loss. While one process alone reads a topic, a full ring refuses what is
new: only the sender's own counter tells. As soon as several processes read it, or have read it,
the oldest is overwritten: each reader's counter tells, and its next `recv` gives nothing although
more is waiting. So nothing is not the end: only an empty ring is.

HORUS counts a process as a reader for good, also after its end.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ...errors import HorusError
from ...messages import Fence, current_fence
from .conversion import Conversion
from .topic import HorusTopic

__all__ = ["HorusTopicError", "Inlet", "Outlet", "Ring"]

NOT_VALID = (ArithmeticError, LookupError, TypeError, ValueError)
"""What messages raise that one of the two sides does not have."""


class HorusTopicError(HorusError):
    """HORUS does not open a topic, or its shared memory is gone."""


class Ring:
    """A topic of HORUS's, which can be opened and closed again and again.

    Arguments:
        horus: HORUS's extension module.
        topic: Which topic.
        conversion: Of its messages.

    Attributes:
        passed: Messages that came through.
        rejected: Messages that the other side does not have.
    """

    def __init__(self, horus: Any, topic: HorusTopic, conversion: Conversion) -> None:
        self.topic: HorusTopic = topic
        self.passed: int = 0
        self.rejected: int = 0
        self._horus = horus
        self._conversion = conversion
        self._handle: Any = None
        self._file: Path | None = None
        self._inode: int = 0

    def __repr__(self) -> str:
        state = "closed" if self._handle is None else "open"
        return f"<{type(self).__name__} {self.topic.name!r}, {state}>"

    def open(self) -> None:
        """Open it. May take milliseconds, and longer if another process is just making it.

        Raises:
            HorusTopicError: HORUS refuses, for example because the topic has other messages.
        """
        self.close()
        topic, opens = self.topic, self._conversion.opens
        try:
            if opens is None:
                handle = self._horus.Topic(topic.name, topic.capacity)
            else:
                handle = self._horus.Topic(opens, topic.capacity, topic.name)
        except (RuntimeError, OSError, TypeError, ValueError) as error:
            raise HorusTopicError(f"HORUS does not open topic {topic.name!r}: {error}") from error
        self._file = _file_of(topic.name)
        self._inode = 0 if self._file is None else self._file.stat().st_ino
        self._handle = handle

    def close(self) -> None:
        """Close it. Idempotent. The last process to do so removes the shared memory."""
        file = self._file
        with _kept(file) if file is not None and self._is_gone(file) else contextlib.nullcontext():
            self._handle = self._file = None

    def count(self, *, passed: bool) -> None:
        """Count a message: it came through, or the other side does not have it."""
        if passed:
            self.passed += 1
        else:
            self.rejected += 1

    def check(self) -> None:
        """Look whether its shared memory is still the one that other processes will open.

        Raises:
            HorusTopicError: It was removed, perhaps by ``horus clean --shm``.
        """
        file = self._file
        if file is None:
            return
        if self._is_gone(file):
            raise HorusTopicError(
                f"the shared memory of HORUS's topic {self.topic.name!r} was removed while it was "
                "in use, perhaps by `horus clean --shm`"
            )

    def _is_gone(self, file: Path) -> bool:
        try:
            return file.stat().st_ino != self._inode
        except FileNotFoundError:
            return True


class Inlet(Ring):
    """A topic that is received. For one thread at a time.

    Attributes:
        skipped: Messages that were there before it was opened, and are not received.
        found_full: How often as many were waiting as the ring may have room for.
    """

    def __init__(self, horus: Any, topic: HorusTopic, conversion: Conversion) -> None:
        super().__init__(horus, topic, conversion)
        self.skipped: int = 0
        self.found_full: int = 0
        self._overwritten = 0  # on earlier openings
        self._before = 0  # overwritten before it was joined
        self._missed = 0  # overwritten, as far as `take` knows
        self._first: list[Any] = []  # of the backlog
        self._room = 1 << (topic.capacity - 1).bit_length()

    @property
    def overwritten(self) -> int:
        """Messages that HORUS overwrote before they could be received."""
        handle = self._handle
        return self._overwritten + (0 if handle is None else handle.missed_count() - self._before)

    def join(self, *, backlog: bool) -> None:
        """Open it and become a reader.

        Arguments:
            backlog: Whether what is there already is received; else it is skipped.
        """
        self.open()
        handle = self._handle
        first = None
        with contextlib.suppress(RuntimeError, *NOT_VALID):
            first = handle.recv()  # who has never asked is no reader yet
        if backlog:
            if first is not None:
                self._first.append(first)
            return
        self.skipped += first is not None
        for _ in range(handle.pending_count()):
            with contextlib.suppress(RuntimeError, *NOT_VALID):
                self.skipped += handle.recv() is not None
        self._missed = self._before = handle.missed_count()

    def close(self) -> None:
        if self._handle is not None:
            self._overwritten = self.overwritten
            self._missed = self._before = 0
            self._first.clear()
        super().close()

    def waiting(self) -> int:
        """How many messages wait; counts if that is as many as there may be room for."""
        handle = self._handle
        if handle is None:
            return 0
        count: int = handle.pending_count()
        self.found_full += count >= self._room
        return count + len(self._first)

    def take(self, most: int, note: Callable[[Exception], object]) -> list[Any]:
        """Receive up to so many messages.

        Arguments:
            most: How many.
            note: Called with why a message was rejected.
        """
        handle = self._handle
        if handle is None:
            return []
        first = self._first
        taken: list[Any] = []
        for _ in range(most):
            before = handle.pending_count()
            try:
                message = first.pop() if first else handle.recv()
                if message is not None:
                    taken.append(self._conversion.decode(message))
                elif not self._goes_on(before):
                    break
            except (RuntimeError, *NOT_VALID) as error:  # RuntimeError: HORUS cannot decode it
                self.count(passed=False)
                note(error)
        return taken

    def _goes_on(self, before: int) -> bool:
        """Whether to ask again, after nothing has come."""
        missed = self._handle.missed_count()
        if missed != self._missed:  # it has stumbled over what was overwritten
            self._missed = missed
            return True
        if self._handle.pending_count() < before:
            raise ValueError("None, which HORUS cannot tell from no message")
        return False


class Outlet(Ring):
    """A topic that is sent to; from any thread.

    Attributes:
        refused: Messages that HORUS did not take, since the ring was full.
    """

    def __init__(self, horus: Any, topic: HorusTopic, conversion: Conversion) -> None:
        super().__init__(horus, topic, conversion)
        self.refused: int = 0
        self._lock = threading.Lock()
        self._met: set[Fence] = set()
        self._dropped = 0  # of this opening

    def open(self) -> None:
        with self._lock:
            super().open()
            self._dropped = 0

    def send(self, data: Any) -> bool:
        """Send a message; never waits.

        Returns:
            Whether HORUS took it; it does not if the ring is full.

        Raises:
            TypeError, ValueError, ArithmeticError, LookupError: HORUS has no such message.
            HorusTopicError: It is closed.
            TickAbandoned: The tick that called was abandoned.
        """
        fence = current_fence.get()
        with self._lock:
            if fence is not None:
                if fence not in self._met:
                    fence.meet(self._lock, self._met)
                if fence.closed:
                    fence.refuse()
            handle = self._handle
            if handle is None:
                raise HorusTopicError(f"topic {self.topic.name!r} of HORUS's is not open")
            try:
                handle.send(self._conversion.encode(data))
            except NOT_VALID:
                self.count(passed=False)
                raise
            dropped = handle.dropped_count()  # `send` itself says yes all the same
            if dropped != self._dropped:
                self._dropped = dropped
                self.refused += 1
                return False
            self.count(passed=True)
            return True


def _file_of(name: str) -> Path | None:
    """The shared memory of a topic that this process has just opened."""
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            target = descriptor.readlink()
            if target.match(f"*/topics/{name}") and target.exists():
                return target
    return None


@contextlib.contextmanager
def _kept(file: Path) -> Iterator[None]:
    """Keep a file that HORUS is about to remove; it goes by the name alone.

    Where shared memory was removed and made anew while this process had the old one open, HORUS
    removes the new one when it closes the old one, and others would never meet again.
    """
    aside = file.with_name(f"{file.name}.{os.getpid()}")
    try:
        aside.hardlink_to(file)
    except OSError:  # nobody has made it anew
        yield
        return
    yield
    if file.exists():
        aside.unlink()
    else:
        aside.rename(file)
