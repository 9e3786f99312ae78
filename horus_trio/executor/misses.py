"""What follows from an overrun or a missed deadline, by the node's `Miss` policy."""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_never

from ..logs import Notice, OffLoopLogger, Throttle, span
from ..policies import Miss

__all__ = ["Misses"]


class Misses:
    """Acts on the misses of one node.

    Arguments:
        name: The node's name.
        policy: What to do.
        clock: Seconds.
        log: Gets the warnings: the first at once, then how many in ten seconds.
        make_safe: Calls the node's ``enter_safe_state``.
        stop: Stops the run.
    """

    __slots__ = ("_clock", "_log", "_make_safe", "_name", "_policy", "_stop", "_throttle")

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
        self._throttle: Throttle | None = None

    def overrun(self) -> None:
        """A release found the node busy."""
        self._missed("overrun", "is still busy at its next release")

    def late(self, what: str) -> None:
        """A tick ended past its deadline; `what` completes "node 'x' …"."""
        self._missed("deadline", what)

    def close(self) -> None:
        """The node has left: log what was held back."""
        if self._throttle is not None:
            for notice in self._throttle.close(self._clock()):
                self._warn(notice)

    def _missed(self, kind: str, what: str) -> None:
        match self._policy:
            case Miss.SKIP | Miss.CATCH_UP:
                return
            case Miss.WARN:
                if self._throttle is None:
                    self._throttle = Throttle()
                notice = self._throttle.admit(self._clock(), kind, latest=what)
                if notice is not None:
                    self._warn(notice)
            case Miss.SAFE_MODE:
                self._make_safe()
            case Miss.STOP:
                self._stop(f"node {self._name!r} {what}")
            case unknown:
                assert_never(unknown)

    def _warn(self, notice: Notice) -> None:
        again = "" if notice.first else f" ({span(notice.count, notice.seconds)})"
        self._log.warning("node %r %s%s", self._name, notice.latest, again)
