"""What to do when a node fails or misses its time: pure decisions, no awaiting, no clock.

A failure policy is a frozen value that users write; `start()` gives the state it keeps for one
node, and `decide(state, now, roll)` turns "it failed again" into a new state and a decision. Time
and chance come in as arguments, so a table or a model can test every path.
"""

from __future__ import annotations

import abc
import enum
import math
from dataclasses import dataclass, replace
from typing import TypeAlias

from .arguments import is_number, is_positive, is_whole
from .errors import ConfigurationError

__all__ = [
    "CircuitBreaker",
    "Continue",
    "Decision",
    "EndRun",
    "FailurePolicy",
    "FailureState",
    "Fatal",
    "GiveUp",
    "Ignore",
    "Miss",
    "Rebuild",
    "Restart",
    "Skip",
    "Suspend",
]

BREATHER = 60.0
"""Seconds without a failure after which `Restart(within=None)` starts its backoff anew."""


@dataclass(frozen=True, slots=True)
class Continue:
    """Go on with the next tick."""


@dataclass(frozen=True, slots=True)
class Rebuild:
    """Shut the node down, wait `delay` seconds, initialise it again."""

    delay: float

    def __post_init__(self) -> None:
        _not_negative("Rebuild", "delay", self.delay)


@dataclass(frozen=True, slots=True)
class Suspend:
    """Let releases pass for `delay` seconds; the tick after that is a probe."""

    delay: float

    def __post_init__(self) -> None:
        _not_negative("Suspend", "delay", self.delay)


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The node has failed for good; its siblings run on unless it is critical."""


@dataclass(frozen=True, slots=True)
class EndRun:
    """The failure is fatal for the whole run."""


Decision: TypeAlias = Continue | Rebuild | Suspend | GiveUp | EndRun


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureState:
    """What a policy remembers of one node.

    Attributes:
        failures: Instants of the failures that still count, in seconds.
        total: Number of failures since the node was added.
        streak: Failures in a row, without a success or stable time between.
        open: Whether a breaker is open (ticks are let pass until its probe).
    """

    failures: tuple[float, ...] = ()
    total: int = 0
    streak: int = 0
    open: bool = False


_NO_FAILURE = FailureState()


class FailurePolicy(abc.ABC):
    """A rule for failures. Subclasses are frozen values; one value serves any number of nodes."""

    __slots__ = ()

    def start(self) -> FailureState:
        """The state of a node that has not failed yet."""
        return _NO_FAILURE

    @abc.abstractmethod
    def failed(self, state: FailureState, now: float, roll: float) -> tuple[FailureState, Decision]:
        """Decide about a failure.

        Arguments:
            state: What `start`, `failed` or `succeeded` returned last.
            now: The instant of the failure, in seconds.
            roll: A random number in [0, 1), for jitter.
        """

    def succeeded(self, state: FailureState, now: float) -> FailureState:
        """Note a tick that went well; only called while `state.streak` is not 0."""
        return replace(state, streak=0, open=False)

    def describe(self, state: FailureState) -> str:
        """Where the count stands, such as ``failure 6 of 5 in 60 s``."""
        return f"failure {state.total}"


@dataclass(frozen=True, slots=True)
class Fatal(FailurePolicy):
    """The first failure ends the run."""

    def failed(self, state: FailureState, now: float, roll: float) -> tuple[FailureState, Decision]:
        return _count(state), EndRun()


@dataclass(frozen=True, slots=True)
class Ignore(FailurePolicy):
    """Failures are counted and logged; the node ticks on."""

    def failed(self, state: FailureState, now: float, roll: float) -> tuple[FailureState, Decision]:
        return _count(state), Continue()


@dataclass(frozen=True, slots=True)
class Restart(FailurePolicy):
    """Shut the node down and initialise it again, within a restart intensity.

    The intensity is OTP's: more than `max_restarts` failures within a sliding window of `within`
    seconds exhaust it, and the node has failed for good. The waiting time before the n-th restart
    in a row is ``min(max_backoff, backoff * 2**(n-1))``, plus or minus the fraction `jitter` of
    it; a stable time of `within` seconds without a failure sets n back to 1.

    Arguments:
        max_restarts: Failures allowed in the window, 0 or more.
        within: Length of the window in seconds; None counts nothing out: it restarts for ever.
        backoff: Seconds before the first restart.
        max_backoff: Upper bound of the waiting time, in seconds.
        jitter: Fraction in [0, 1] by which the waiting time is spread at random.
    """

    max_restarts: int = 5
    within: float | None = 60.0
    backoff: float = 0.1
    max_backoff: float = 10.0
    jitter: float = 0.2

    def __post_init__(self) -> None:
        if not is_whole(self.max_restarts):
            raise ConfigurationError(
                f"Restart(max_restarts={self.max_restarts!r}): expected a whole number; "
                "for restarts without limit use within=None"
            )
        if self.max_restarts < 0:
            raise ConfigurationError(
                f"Restart(max_restarts={self.max_restarts}): expected 0 or more; "
                "for restarts without limit use within=None"
            )
        if self.within is not None:
            _positive("Restart", "within", self.within)
        _not_negative("Restart", "backoff", self.backoff)
        _not_negative("Restart", "max_backoff", self.max_backoff)
        if not is_number(self.jitter) or not 0 <= self.jitter <= 1:
            raise ConfigurationError(
                f"Restart(jitter={self.jitter!r}): expected a fraction from 0 to 1"
            )

    def failed(self, state: FailureState, now: float, roll: float) -> tuple[FailureState, Decision]:
        stable = BREATHER if self.within is None else self.within
        last = state.failures[-1] if state.failures else -math.inf
        streak = 1 if now - last >= stable else state.streak + 1
        if self.within is None:
            recent: tuple[float, ...] = (now,)
        else:
            recent = (*(t for t in state.failures if now - t < self.within), now)
        state = FailureState(failures=recent, total=state.total + 1, streak=streak)
        if self.within is not None and len(recent) > self.max_restarts:
            return state, GiveUp()
        # The exponent is bounded: 2.0**1024 overflows, and the delay is capped long before.
        delay = min(self.max_backoff, self.backoff * 2.0 ** min(streak - 1, 64))
        return state, Rebuild(delay * (1 + self.jitter * (2 * roll - 1)))

    def succeeded(self, state: FailureState, now: float) -> FailureState:
        return state  # the backoff is reset by stable time, not by one good tick

    def describe(self, state: FailureState) -> str:
        if self.within is None:
            return f"failure {state.total}"
        return f"failure {len(state.failures)} of {self.max_restarts} in {self.within:g} s"


@dataclass(frozen=True, slots=True)
class CircuitBreaker(FailurePolicy):
    """Stop ticking a node that fails again and again, and probe it after a while.

    After `max_failures` failures in a row the breaker opens: releases pass unused for `cooldown`
    seconds, then one probe is let through. Its success closes the breaker, its failure opens it
    for another `cooldown`. The node is neither shut down nor initialised again.
    """

    max_failures: int = 5
    cooldown: float = 30.0

    def __post_init__(self) -> None:
        if not is_whole(self.max_failures):
            raise ConfigurationError(
                f"CircuitBreaker(max_failures={self.max_failures!r}): expected a whole number"
            )
        if self.max_failures < 1:
            raise ConfigurationError(
                f"CircuitBreaker(max_failures={self.max_failures}): expected 1 or more"
            )
        _positive("CircuitBreaker", "cooldown", self.cooldown)

    def failed(self, state: FailureState, now: float, roll: float) -> tuple[FailureState, Decision]:
        state = _count(state)
        if state.open or state.streak >= self.max_failures:
            return replace(state, open=True), Suspend(self.cooldown)
        return state, Continue()

    def describe(self, state: FailureState) -> str:
        return f"failure {state.streak} of {self.max_failures} in a row"


Skip = CircuitBreaker
"""HORUS's name for `CircuitBreaker`."""


class Miss(enum.Enum):
    """What to do about a release that finds its node busy, or a tick past its ``deadline``."""

    SKIP = "skip"
    """Count it."""
    WARN = "warn"
    """Count it and log a warning, throttled."""
    CATCH_UP = "catch up"
    """Count it as owed; owed ticks follow at once, at most `CATCH_UP_BOUND` of them."""
    SAFE_MODE = "safe mode"
    """Count it and call the node's ``enter_safe_state``."""
    STOP = "stop"
    """Stop the run."""

    def __repr__(self) -> str:
        return f"Miss.{self.name}"


CATCH_UP_BOUND = 10
"""Owed releases a `Miss.CATCH_UP` node makes up for; those beyond are missed."""


def _count(state: FailureState) -> FailureState:
    return replace(state, total=state.total + 1, streak=state.streak + 1)


def _positive(owner: str, name: str, value: float) -> None:
    if not is_positive(value):
        raise ConfigurationError(
            f"{owner}({name}={value!r}): expected a finite number of seconds above 0"
        )


def _not_negative(owner: str, name: str, value: float) -> None:
    if not is_positive(value, or_zero=True):
        raise ConfigurationError(
            f"{owner}({name}={value!r}): expected a finite number of seconds, 0 or more"
        )
