"""What the threads of helpers have to do in one Trio run, so that virtual time can wait for it.

Work begins when it is handed over, and ends when whoever waits for it has been woken: in between
there is no moment in which nobody seems to work.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import trio

from .functions import nothing

__all__ = ["AtWork", "current_at_work"]


class AtWork:
    """Counts what is being done. Made by `current_at_work`.

    It takes no lock: each step is one operation on a set. Who asks sets the flag before it counts,
    and who ends looks at the flag after it has, so either the count or the flag tells.
    """

    __slots__ = ("_is_asked", "_token", "_works")

    def __init__(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._works: set[object] = set()
        self._is_asked = False

    def begin(self, work: object) -> None:
        """This is to be done by a thread; any thread."""
        self._works.add(work)

    def end(self, work: object) -> None:
        """It has been done, or will not be; any thread, also more than once."""
        self._works.discard(work)
        if self._is_asked:
            self._is_asked = False
            # Not by the bell: while one thread is about to wake the loop for it, others rely on
            # that one, and this one does not count as working any more.
            with contextlib.suppress(trio.RunFinishedError):
                self._token.run_sync_soon(nothing, None, idempotent=True)

    @contextlib.contextmanager
    def waited_for(self) -> Iterator[None]:
        """What whoever is inside waits for is being done."""
        work = object()
        self.begin(work)
        try:
            yield
        finally:
            self.end(work)

    def count(self) -> int:
        """How much there is to be done; on the loop, which wakes when it becomes less."""
        self._is_asked = True
        return len(self._works)


_AT_WORK: trio.lowlevel.RunVar[AtWork] = trio.lowlevel.RunVar("horus_trio_at_work")


def current_at_work() -> AtWork:
    """That of the current Trio run."""
    try:
        return _AT_WORK.get()
    except LookupError:
        at_work = AtWork()
        _AT_WORK.set(at_work)
        return at_work
