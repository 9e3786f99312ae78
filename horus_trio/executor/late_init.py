"""An ``init`` that comes to an end after it was given up: if it succeeded, it has to be undone."""

from __future__ import annotations

from typing import Any

import outcome

from ..logs import OffLoopLogger, text_of
from ..node import Hook
from .milestone import Milestone

__all__ = ["LateInit"]


class LateInit:
    """Sees to it that every ``init`` of one node that succeeded is followed by its ``shutdown``.

    Arguments:
        name: The node's name.
        log: Is told what cannot be undone.
        done: Set when the node has left for good.
    """

    __slots__ = ("_done", "_log", "_name", "_owed")

    def __init__(self, name: str, log: OffLoopLogger, done: Milestone) -> None:
        self._name = name
        self._log = log
        self._done = done
        self._owed = False

    def ended(self, result: outcome.Outcome[Any], shutdown: Hook | None) -> None:
        """In the thread of ``init``, which was given up: undo it here, or leave that to the loop.

        Arguments:
            result: How it ended.
            shutdown: The hook, if there is one.
        """
        if shutdown is None or not isinstance(result, outcome.Value):
            return
        if shutdown.is_async:
            self._owed = True  # the loop sees it when it has seen this thread return
            if self._done.is_set():
                self._log.error(
                    "node %r: init succeeded after the run was over, and its async shutdown had "
                    "no loop to run on; make both def",
                    self._name,
                )
            return
        undone = outcome.capture(shutdown.call)
        if isinstance(undone, outcome.Error):
            text = text_of(undone.error)
            self._log.error(
                "node %r: shutdown after a late init failed\n%s", self._name, text.rstrip()
            )

    def owe(self) -> None:
        """The loop has to call ``shutdown`` in any case. On the loop."""
        self._owed = True

    def take_debt(self) -> bool:
        """Whether the loop has to call ``shutdown``; asked once. On the loop."""
        owed, self._owed = self._owed, False
        return owed
