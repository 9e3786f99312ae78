"""The robot's events, with its failures counted for the summary."""

from __future__ import annotations

import collections

import horus_trio as horus

from ..events import Events

__all__ = ["CountedEvents"]


class CountedEvents(Events):
    """Events that are counted as well.

    Attributes:
        failures: How often each node failed, by node and by what it said.
    """

    def __init__(self) -> None:
        super().__init__()
        self.failures: collections.Counter[tuple[str, str]] = collections.Counter()

    def result(self, result: horus.AsyncResult) -> None:
        super().result(result)
        if result.status not in (horus.TickStatus.OK, horus.TickStatus.CANCELLED):
            self.failures[result.node, self.said(result)] += 1
