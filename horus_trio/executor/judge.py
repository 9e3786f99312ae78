"""Failures of one node: noted, logged, told to the node, and put before its policy."""

from __future__ import annotations

from collections.abc import Callable

from ..errors import HorusError, NodeExited, add_remedy
from ..health import Ledger
from ..logs import ErrorLog, OffLoopLogger, headline, text_of
from ..policies import Continue, Decision, EndRun, FailurePolicy, GiveUp, Rebuild, Suspend

__all__ = ["Judge", "is_interrupt"]

HOOK_ERRORS = 3
"""Errors of one hook that are kept as text; those after them are counted."""


class Judge:
    """Keeps the policy's state of one node.

    Arguments:
        name: The node's name.
        policy: Decides.
        ledger: Counts failures and keeps the latest one's text.
        log: Gets each kind of failure with its traceback, and its repeats as counts.
        clock: Seconds.
        dice: Random numbers in [0, 1), for jitter.

    Attributes:
        failure: The error that was final, with a note that says where; or None.
    """

    __slots__ = (
        "_clock",
        "_dice",
        "_errors",
        "_hooks",
        "_ledger",
        "_log",
        "_name",
        "_policy",
        "_state",
        "failure",
    )

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
        self._clock = clock
        self._dice = dice
        self._log = log
        self._errors: ErrorLog | None = None  # made for the first of them, as few nodes ever fail
        self._hooks: dict[str, _HookErrors] | None = None

    @property
    def is_counting(self) -> bool:
        """Whether a success would change anything."""
        return self._state.streak > 0

    def succeeded(self) -> None:
        """A tick went well."""
        try:
            self._state = self._policy.succeeded(self._state, self._clock())
        except Exception as broken:  # noqa: BLE001 - users write policies
            self.note_observer(broken, "failure_policy")

    def note(self, error: BaseException, where: str) -> None:
        """Count and log a failure."""
        self._ledger.failures += 1
        add_remedy(error)
        self._ledger.last_error = text = text_of(error)
        self._tell(f"node {self._name!r} failed", error, text, f" in {where}")

    def note_observer(self, error: BaseException, what: str) -> str:
        """Count and log what a notification of the node raised; returns it as text.

        Arguments:
            error: What it raised.
            what: Its name, such as ``on_stale``.
        """
        self._ledger.observer_errors += 1
        add_remedy(error)
        self._ledger.last_error = text = text_of(error)
        self._tell(f"node {self._name!r}: {what} failed", error, text)
        return text

    def note_hook(self, error: BaseException, hook: str) -> None:
        """Count, log and keep what a hook raised whose errors change nothing."""
        text = self.note_observer(error, hook)
        if self._hooks is None:
            self._hooks = {}
        self._hooks.setdefault(hook, _HookErrors()).add(error, text)

    @property
    def hook_errors(self) -> list[str]:
        """What has been kept of the errors of hooks, as text, and how many there were besides."""
        return [
            f"{hook} of node {self._name!r}: {text}"
            for hook, errors in (self._hooks or {}).items()
            for text in errors.texts()
        ]

    def close(self) -> None:
        """The node has left: log what was held back."""
        if self._errors is not None:
            self._errors.close()

    def _tell(self, family: str, error: BaseException, text: str, where: str = "") -> None:
        if self._errors is None:
            self._errors = ErrorLog(self._log, self._clock)
        self._errors.tell(family, error, text, where)

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
            self.note_observer(broken, "failure_policy")
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


class _HookErrors:
    """The errors of one hook: the first as text, the others as a number."""

    def __init__(self) -> None:
        self._first: list[str] = []
        self._more = 0
        self._latest = ""

    def add(self, error: BaseException, text: str) -> None:
        if len(self._first) < HOOK_ERRORS:
            self._first.append(text.rstrip())
        else:
            self._more += 1
            self._latest = headline(error)

    def texts(self) -> list[str]:
        if not self._more:
            return self._first
        return [*self._first, f"{self._more} more errors, the latest {self._latest}"]
