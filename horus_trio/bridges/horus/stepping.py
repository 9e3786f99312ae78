"""Ticking by hand: every node once, in the caller's thread, as simulations and tests do it.

Failures are judged by the same policies as in a run, which are pure; no engine is there.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass

from ...errors import RunFailed
from ...logs import OffLoopLogger
from ...policies import Continue, EndRun, FailurePolicy, FailureState, GiveUp, Rebuild, Suspend
from .record import Record

__all__ = ["Stepper"]

_log = OffLoopLogger(logging.getLogger("horus_trio.bridges.horus"))


@dataclass(slots=True)
class _Footing:
    """Where a node stands between two steps."""

    record: Record
    policy: FailurePolicy
    state: FailureState
    not_before: float = 0.0


class Stepper:
    """Ticks nodes by hand.

    Arguments:
        name: Of the scheduler, for errors.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._footings: dict[Record, _Footing] = {}
        self.steps: int = 0
        """How often all nodes have ticked."""

    def step(self, records: Iterable[tuple[Record, FailurePolicy]]) -> None:
        """Initialise the nodes that are not, and tick each once, in the order given.

        Raises:
            RunFailed: A failure was fatal; it holds the original exception.
        """
        footings = [self._footing(record, policy) for record, policy in records]
        for footing in footings:
            if not footing.record.is_ready and time.monotonic() >= footing.not_before:
                self._try(footing, "init")
        for footing in footings:
            if footing.record.is_ready and time.monotonic() >= footing.not_before:
                self._try(footing, "tick")
        self.steps += 1

    def shut_down(self) -> None:
        """Shut down what was initialised here, the last one first; what that raises is logged."""
        for footing in reversed(self._footings.values()):
            if footing.record.is_ready:
                self._shut_down(footing.record)
        self._footings.clear()

    def forget(self, record: Record) -> None:
        """The node has left the scheduler: shut it down."""
        if self._footings.pop(record, None) is not None and record.is_ready:
            self._shut_down(record)

    def _footing(self, record: Record, policy: FailurePolicy) -> _Footing:
        footing = self._footings.get(record)
        if footing is None:
            footing = self._footings[record] = _Footing(record, policy, policy.start())
        return footing

    def _try(self, footing: _Footing, what: str) -> None:
        record, policy = footing.record, footing.policy
        try:
            if what == "init":
                record.init()
            else:
                record.tick()
        except Exception as error:  # noqa: BLE001 - the policy decides
            self._failed(footing, what, error)
        else:
            if footing.state.streak:
                footing.state = policy.succeeded(footing.state, time.monotonic())

    def _failed(self, footing: _Footing, what: str, error: Exception) -> None:
        record, now = footing.record, time.monotonic()
        name = record.node.name
        footing.state, decision = footing.policy.failed(footing.state, now, 0.5)
        _log.error("node %r: %s failed", name, what, exc_info=error)
        match decision:
            case Rebuild(delay) | Suspend(delay):
                footing.not_before = now + delay
                if isinstance(decision, Rebuild) and record.is_ready:
                    self._shut_down(record)
            case EndRun() | GiveUp():
                error.add_note(f"in node {name!r}, {footing.policy.describe(footing.state)}")
                raise RunFailed(f"{self._name}: node {name!r} failed", [error])
            case Continue():
                pass

    def _shut_down(self, record: Record) -> None:
        try:
            record.shutdown()
        except Exception as error:  # noqa: BLE001 - the others are shut down all the same
            _log.error("node %r: shutdown failed", record.node.name, exc_info=error)
        record.node._horus_close_runner()
