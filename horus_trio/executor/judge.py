"""Failures of one node: noted, logged, told to the node, and put before its policy."""

from __future__ import annotations

import traceback
from collections.abc import Callable

from ..errors import HorusError, NodeExited
from ..health import Ledger
from ..logs import OffLoopLogger, Throttle
from ..policies import Continue, Decision, EndRun, FailurePolicy, GiveUp, Rebuild, Suspend

__all__ = ["Judge", "is_interrupt", "text_of"]


class Judge:
    """Keeps the policy's state of one node.

    Arguments:
        name: The node's name.
        policy: Decides.
        ledger: Counts failures and keeps the latest one's text.
        log: Gets the first failure with its traceback, and then one report in ten seconds.
        clock: Seconds.
        dice: Random numbers in [0, 1), for jitter.

    Attributes:
        failure: The error that was final, with a note that says where; or None.
    """

    def __init__(
        self,
        name: str,
        policy: FailurePolicy,
        ledger: Ledger,
        log: OffLoopLogger,
        clock: Callable[[], float],
        dice: Callable[[], float],
    ) -> None:
        self.failure: BaseException | None = None
        self._name = name
        self._policy = policy
        self._state = policy.start()
        self._ledger = ledger
        self._log = log
        self._clock = clock
        self._dice = dice
        self._throttle = Throttle()

    @property
    def is_counting(self) -> bool:
        """Whether a success would change anything."""
        return self._state.streak > 0

    def succeeded(self) -> None:
        """A tick went well."""
        try:
            self._state = self._policy.succeeded(self._state, self._clock())
        except Exception:  # noqa: BLE001 - users write policies
            self._log.exception("failure_policy %r of node %r failed", self._policy, self._name)

    def note(self, error: BaseException, where: str) -> None:
        """Count and log a failure."""
        self._ledger.failures += 1
        self._ledger.last_error = text = text_of(error)
        held_back = self._throttle.admit(self._clock())
        if held_back is not None:
            more = f" ({held_back} more failures since the last report)" if held_back else ""
            self._log.error("node %r failed in %s%s\n%s", self._name, where, more, text.rstrip())

    def decide(self, error: BaseException, where: str) -> Decision:
        """What the policy says to an error that has been noted; one that is broken gives up.

        Arguments:
            error: If the decision is final, it gets a note and is kept as `failure`.
            where: Such as ``tick 12``.
        """
        try:
            self._state, decision = self._policy.failed(self._state, self._clock(), self._dice())
            if not isinstance(decision, (Continue, Rebuild, Suspend, GiveUp, EndRun)):
                raise HorusError(f"expected a decision, got {decision!r}")
            count = self._policy.describe(self._state)
        except Exception as broken:  # noqa: BLE001 - users write policies
            self._log.exception("failure_policy %r of node %r failed", self._policy, self._name)
            decision, count = GiveUp(), f"and its failure_policy raised {broken!r}"
        if isinstance(decision, (GiveUp, EndRun)):
            if not isinstance(error, (Exception, BaseExceptionGroup)):
                exited = NodeExited(f"node {self._name!r} raised {error!r}")
                exited.__cause__ = error
                error = exited
            error.add_note(f"in node {self._name!r}, {where}, {count}")
            self.failure = error
        return decision


def is_interrupt(error: BaseException) -> bool:
    """Whether an error is, or contains, a KeyboardInterrupt."""
    if isinstance(error, BaseExceptionGroup):
        return any(is_interrupt(e) for e in error.exceptions)
    return isinstance(error, KeyboardInterrupt)


def text_of(error: BaseException) -> str:
    """The whole traceback as text, which keeps no frame alive."""
    return "".join(traceback.format_exception(error))
