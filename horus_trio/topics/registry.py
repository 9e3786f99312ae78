"""The topics of one robot by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ..errors import UnknownTopic, nearest
from .declarations import Pub
from .hub import Hub
from .instants import Instants

__all__ = ["Topics"]


class Topics:
    """A set of hubs by name; asking for one makes it. Any thread."""

    def __init__(self) -> None:
        self._hubs: dict[str, Hub[Any]] = {}
        self._clock: Callable[[], float] | None = None
        self._instants = Instants(None)
        self._on_new: Callable[[Hub[Any]], None] | None = None

    def __repr__(self) -> str:
        return f"<Topics {', '.join(self._hubs) or 'none'}>"

    def __iter__(self) -> Iterator[Hub[Any]]:
        return iter(tuple(self._hubs.values()))

    def __len__(self) -> int:
        return len(self._hubs)

    def __contains__(self, name: object) -> bool:
        return name in self._hubs

    def hub(self, name: str) -> Hub[Any]:
        """The hub of that name, made if there is none yet."""
        hub = self._hubs.get(name)
        if hub is None:
            fresh = Hub[Any](name)
            fresh._keep_time(self._instants)
            if self._on_new is not None:
                self._on_new(fresh)
            hub = self._hubs.setdefault(name, fresh)
            if hub._instants is not self._instants:  # a run began or ended meanwhile
                hub._keep_time(self._instants)
        return hub

    def find(self, name: str) -> Hub[Any]:
        """The hub of that name.

        Raises:
            UnknownTopic: There is none; the message names the nearest.
        """
        try:
            return self._hubs[name]
        except KeyError:
            raise UnknownTopic(f"no topic {name!r}{nearest(name, self._hubs)}") from None

    def declare(self, pub: Pub) -> Hub[Any]:
        """The hub of a declared publisher, with the type and the latch it declares."""
        hub = self.hub(pub.topic)
        if pub.type is not None:
            hub.message_type = pub.type
        hub.latch = hub.latch or pub.latch
        return hub

    def start_clock(self, clock: Callable[[], float] | None) -> None:
        """Take the time of messages from `clock` (seconds); None outside a run.

        The latest messages of an earlier run are forgotten, but for latched ones, which count as
        sent now: each run has a clock of its own.
        """
        self._clock = clock
        self._instants = Instants(clock)
        for hub in self:
            hub._keep_time(self._instants)
