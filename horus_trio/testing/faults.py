"""Faults on demand: raise, hang, delay, drop, corrupt, cut short; at the n-th call or by chance.

A `Faults` is the plan, and decides: it knows no clock and no Trio. Who carries a fault out is its
neighbour `injection`. Chance is seeded, one dice for each fault, so a fault strikes at the same
calls in every run with the same seed, whatever else happens.
"""

from __future__ import annotations

import abc
import contextlib
import copy
import difflib
import enum
import random
import threading
from collections.abc import Callable, Iterable
from typing import Any

from ..arguments import is_number, is_positive, is_whole
from ..errors import ConfigurationError

__all__ = ["HOOKS", "VERBS", "Fault", "FaultKind", "FaultMethods", "Faults"]

HOOKS = ("init", "tick", "shutdown", "on_error", "enter_safe_state")
VERBS = ("open", "receive", "send", "aclose", "query", "read", "write", "close")
"""The calls of a device that faults know, in addition to hooks and topics."""


class FaultKind(enum.Enum):
    """What a fault does."""

    FAIL = "fail"
    HANG = "hang"
    DELAY = "delay"
    DROP = "drop"
    CORRUPT = "corrupt"
    PARTIAL = "partial"

    def __repr__(self) -> str:
        return f"FaultKind.{self.name}"


class Fault:
    """One fault of a plan. Made by the methods of `Faults`.

    Attributes:
        kind: What it does.
        where: The hook, device call or topic it strikes.
        node: The node it is confined to, or None: all; each node's calls are counted by
            themselves.
        error: What is raised, for FAIL and PARTIAL.
        seconds: How long, for DELAY.
        change: Makes a corrupt value of a good one, or None: by its type.
        keep: The fraction that remains, for PARTIAL.
        fired: How often it has struck.
    """

    def __init__(
        self,
        kind: FaultKind,
        where: str,
        *,
        at: int | Iterable[int] | None,
        probability: float | None,
        node: str | None,
        seed: str,
        error: BaseException | type[BaseException] | None = None,
        seconds: float = 0.0,
        change: Callable[[Any], Any] | None = None,
        keep: float = 0.5,
    ) -> None:
        self.kind = kind
        self.where = where
        self.node = node
        self.error = error
        self.seconds = seconds
        self.change = change
        self.keep = keep
        self.fired: int = 0
        self._at = _calls(kind, at)
        self._probability = _chance(kind, probability)
        if self._at is not None and self._probability is not None:
            raise ConfigurationError(
                f"{kind.value}({where!r}): at={at!r} and probability={probability!r}; give one"
            )
        self.dice: random.Random = random.Random(seed)
        self._calls: dict[str | None, int] = {}

    def __repr__(self) -> str:
        if self._at is not None:
            when = f"at call {', '.join(map(str, sorted(self._at)))}"
        elif self._probability is not None:
            when = f"with probability {self._probability:g}"
        else:
            when = "at every call"
        of = "" if self.node is None else f" of {self.node!r}"
        return f"<Fault: {self.kind.value} {self.where!r}{of} {when}, struck {self.fired} time(s)>"

    def _strikes(self, node: str | None) -> bool:
        if self.node is not None and node != self.node:
            return False
        number = self._calls[node] = self._calls.get(node, 0) + 1
        if self._at is not None:
            strikes = number in self._at
        elif self._probability is not None:
            strikes = self.dice.random() < self._probability
        else:
            strikes = True
        self.fired += strikes
        return strikes

    def make_error(self, default: BaseException) -> BaseException:
        """The exception to raise: a class is called; an instance is raised itself, then copies."""
        error = default if self.error is None else self.error
        if isinstance(error, type):
            return error()
        if self.fired > 1:
            # One exception raised again and again would collect tracebacks and notes.
            with contextlib.suppress(Exception):  # it cannot be copied
                error = copy.copy(error)
            return error.with_traceback(None)
        return error


class FaultMethods(abc.ABC):
    """How faults are put into a plan.

    `where` is a hook (``"tick"``), a call of a device under `faulty` (``"receive"``), or the name
    of a topic. `at` is the number of a call from now on (1 is the next), or several; or
    `probability` strikes by chance; with neither, every call is struck. `node` confines a fault of
    a hook to one node; each node's calls are counted by themselves.
    """

    @abc.abstractmethod
    def _add(
        self,
        kind: FaultKind,
        where: str,
        at: int | Iterable[int] | None,
        probability: float | None,
        node: str | None,
        **details: Any,
    ) -> Fault: ...

    def fail(
        self,
        where: str,
        error: BaseException | type[BaseException],
        *,
        at: int | Iterable[int] | None = None,
        probability: float | None = None,
        node: str | None = None,
    ) -> Fault:
        """Raise `error` instead of making the call; on a topic, in whoever sends."""
        if not isinstance(error, BaseException) and not (
            isinstance(error, type) and issubclass(error, BaseException)
        ):
            raise ConfigurationError(
                f"fail({where!r}, {error!r}): expected an exception, such as ValueError('x')"
            )
        return self._add(FaultKind.FAIL, where, at, probability, node, error=error)

    def hang(
        self,
        where: str,
        *,
        at: int | Iterable[int] | None = None,
        probability: float | None = None,
        node: str | None = None,
    ) -> Fault:
        """Never return: until cancelled, or, in a thread, until the harness is closed."""
        return self._add(FaultKind.HANG, where, at, probability, node)

    def delay(
        self,
        where: str,
        seconds: float,
        *,
        at: int | Iterable[int] | None = None,
        probability: float | None = None,
        node: str | None = None,
    ) -> Fault:
        """Wait before making the call; a message of a topic comes later, its sender goes on."""
        if not is_positive(seconds):
            raise ConfigurationError(
                f"delay({where!r}, {seconds!r}): expected a finite number of seconds above 0"
            )
        return self._add(FaultKind.DELAY, where, at, probability, node, seconds=float(seconds))

    def drop(
        self,
        where: str,
        *,
        at: int | Iterable[int] | None = None,
        probability: float | None = None,
        node: str | None = None,
    ) -> Fault:
        """Lose it: a message is not delivered, a hook not called, received data passed over."""
        return self._add(FaultKind.DROP, where, at, probability, node)

    def corrupt(
        self,
        where: str,
        change: Callable[[Any], Any] | None = None,
        *,
        at: int | Iterable[int] | None = None,
        probability: float | None = None,
        node: str | None = None,
    ) -> Fault:
        """Change the message, the data, or what a hook returns.

        Arguments:
            change: Makes the corrupt value of the good one; None: one bit, digit or element of it
                is changed, whatever its type allows.
        """
        if change is not None and not callable(change):
            raise ConfigurationError(
                f"corrupt({where!r}, {change!r}): expected a function of the good value"
            )
        return self._add(FaultKind.CORRUPT, where, at, probability, node, change=change)

    def partial(
        self,
        where: str,
        error: BaseException | type[BaseException] | None = None,
        *,
        keep: float = 0.5,
        at: int | Iterable[int] | None = None,
        probability: float | None = None,
        node: str | None = None,
    ) -> Fault:
        """Do it in part: a hook runs and then fails, data are cut short, a send breaks off.

        Arguments:
            error: Raised after a hook has run, or after part of the data has been sent; None: a
                plain `OSError`. Messages and received data are cut without an error.
            keep: The fraction of the data that remains, 0 or more and below 1.
        """
        if not is_number(keep) or not 0 <= keep < 1:
            raise ConfigurationError(
                f"partial({where!r}, keep={keep!r}): expected a fraction of at least 0, below 1"
            )
        return self._add(FaultKind.PARTIAL, where, at, probability, node, error=error, keep=keep)


class Faults(FaultMethods):
    """A plan of faults; give it to `open_harness`, whose harness has the same methods.

    Arguments:
        seed: Of its chance.
    """

    def __init__(self, seed: int | str = 0) -> None:
        self.seed = seed
        self._lock = threading.Lock()
        self._made = 0
        self.plan: dict[str, list[Fault]] = {}
        """The faults by what they strike; exchanged as a whole at each change."""

    def __repr__(self) -> str:
        faults = [repr(f) for faults in self.plan.values() for f in faults]
        return f"<Faults seed={self.seed!r}: {', '.join(faults) or 'none'}>"

    def heal(self, fault: Fault | None = None) -> None:
        """Take a fault out of the plan, or all of them."""
        with self._lock:
            if fault is None:
                self.plan = {}
            else:
                kept = [f for f in self.plan.get(fault.where, ()) if f is not fault]
                self.plan = {**self.plan, fault.where: kept}

    def striking(self, where: str, node: str | None = None) -> list[Fault]:
        """Count one call, and say which faults strike it; any thread."""
        planned = self.plan.get(where)
        if not planned:
            return []
        with self._lock:
            return [fault for fault in planned if fault._strikes(node)]

    def _add(
        self,
        kind: FaultKind,
        where: str,
        at: int | Iterable[int] | None,
        probability: float | None,
        node: str | None,
        **details: Any,
    ) -> Fault:
        if not isinstance(where, str) or not where or not where.isprintable():
            raise ConfigurationError(
                f"{kind.value}({where!r}): expected the name of a hook, a device call or a topic"
            )
        where = "tick" if where == "tick_async" else where
        if where not in HOOKS and where not in VERBS:
            close = difflib.get_close_matches(where, (*HOOKS, *VERBS), n=1, cutoff=0.75)
            if close:
                raise ConfigurationError(
                    f"{kind.value}({where!r}): did you mean {close[0]!r}? A topic of so similar a "
                    "name would be taken for it"
                )
            if kind is FaultKind.HANG:
                raise ConfigurationError(
                    f"hang({where!r}): sending to a topic never waits; hang the node's hook, "
                    "or drop the message"
                )
        with self._lock:
            self._made += 1
            seed = f"{self.seed}/{self._made}"
            fault = Fault(
                kind, where, at=at, probability=probability, node=node, seed=seed, **details
            )
            self.plan = {**self.plan, where: [*self.plan.get(where, ()), fault]}
        return fault


def _calls(kind: FaultKind, at: int | Iterable[int] | None) -> frozenset[int] | None:
    if at is None:
        return None
    given = at
    try:
        calls = frozenset([at] if isinstance(at, int) else at)
    except TypeError:
        calls = frozenset()
    if not calls or any(not is_whole(n, 1) for n in calls):
        raise ConfigurationError(
            f"{kind.value}(at={given!r}): expected the number of a call, 1 or more, or several"
        )
    return calls


def _chance(kind: FaultKind, probability: float | None) -> float | None:
    if probability is None:
        return None
    if not is_number(probability) or not 0 <= probability <= 1:
        raise ConfigurationError(
            f"{kind.value}(probability={probability!r}): expected a number from 0 to 1"
        )
    return float(probability)
