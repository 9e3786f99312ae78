"""What follows from an overrun or a missed deadline, by the node's `Miss` policy."""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_never

from ..logs import OffLoopLogger, Throttle
from ..policies import Miss

__all__ = ["Misses"]


class Misses:
    """Acts on the misses of one node.

    Arguments:
        name: The node's name.
        policy: What to do.
        clock: Seconds.
        log: Gets the warnings, at most one in ten seconds.
        make_safe: Calls the node's ``enter_safe_state``.
        stop: Stops the run.
    """

    def __init__(
        self,
        name: str,
        policy: Miss,
        *,
        clock: Callable[[], float],
        log: OffLoopLogger,
        make_safe: Callable[[], None],
        stop: Callable[[str], None],
    ) -> None:
        self._name = name
        self._policy = policy
        self._clock = clock
        self._log = log
        self._make_safe = make_safe
        self._stop = stop
        self._throttle = Throttle()

    def overrun(self) -> None:
        """A release found the node busy."""
        self.missed("is still busy at its next release")

    def missed(self, what: str) -> None:
        """The node was late; `what` completes "node 'x' …"."""
        match self._policy:
            case Miss.SKIP | Miss.CATCH_UP:
                return
            case Miss.WARN:
                held_back = self._throttle.admit(self._clock())
                if held_back is not None:
                    self._log.warning(
                        "node %r %s (%d more since the last report)", self._name, what, held_back
                    )
            case Miss.SAFE_MODE:
                self._make_safe()
            case Miss.STOP:
                self._stop(f"node {self._name!r} {what}")
            case unknown:
                assert_never(unknown)
