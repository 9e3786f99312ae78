"""Something that comes once: a `trio.Event` that is made only if somebody has to wait for it."""

from __future__ import annotations

import trio

__all__ = ["Milestone"]


class Milestone:
    """An event for the many that nobody waits for: each node has two, and an event is 0.3 KiB."""

    __slots__ = ("_event", "_is_set")

    def __init__(self) -> None:
        self._is_set = False
        self._event: trio.Event | None = None

    def __repr__(self) -> str:
        return f"<Milestone, {'reached' if self._is_set else 'ahead'}>"

    def is_set(self) -> bool:
        """Whether it has come; any thread."""
        return self._is_set

    def set(self) -> None:
        """It has come: wake who waits. On the loop."""
        self._is_set = True
        if self._event is not None:
            self._event.set()

    async def wait(self) -> None:
        """Return when it has come. A checkpoint."""
        if self._is_set:
            await trio.lowlevel.checkpoint()
            return
        if self._event is None:
            self._event = trio.Event()
        await self._event.wait()
