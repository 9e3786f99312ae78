"""The safety chain: brings every critical node into its safe state, once, whatever else happens.

An emergency is latched: until it is reset, critical nodes do not tick, and no second one begins.
`SafetyChain.trip` waits for nothing and takes no lock that could be held: any thread and any signal
handler may call it, and neither the loop nor the pool is needed for it.
"""

from __future__ import annotations

import collections
import enum
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import trio

from ..errors import HorusError
from ..logs import OffLoopLogger, headline
from ..printable import one_line
from .safe_state import SafeState

if TYPE_CHECKING:
    from .runner import NodeRunner

__all__ = ["EmergencyReport", "NodeInEmergency", "SafetyChain", "SafetyOutcome"]

KEPT = 1000
"""The latest emergencies, which are kept to be reported; those before them are counted."""


class SafetyOutcome(enum.Enum):
    """What an emergency has done to a critical node."""

    SAFE = "safe"
    """Its ``enter_safe_state`` has returned."""
    ENTERING = "entering"
    """Its ``enter_safe_state`` has been called and is within its time."""
    OVERDUE = "overdue"
    """Its ``enter_safe_state`` has been called and has not returned in time."""
    FAILED = "failed"
    """Its ``enter_safe_state`` raised."""
    NO_HOOK = "no hook"
    """It has no ``enter_safe_state``; it does not tick any more."""
    NOT_RUNNING = "not running"
    """It was not initialised then, or was shut down already."""

    def __repr__(self) -> str:
        return f"SafetyOutcome.{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeInEmergency:
    """A critical node in an emergency.

    Attributes:
        node: Its name.
        outcome: What has become of it.
        delay: Seconds from the emergency to the start of its ``enter_safe_state``; None: not yet.
        duration: Seconds that took; None: not yet.
        error: What it raised, as one line; or None.
    """

    node: str
    outcome: SafetyOutcome
    delay: float | None = None
    duration: float | None = None
    error: str | None = None

    def __str__(self) -> str:
        if self.outcome is SafetyOutcome.SAFE and self.delay is not None:
            return f"{self.node!r} safe after {1e3 * (self.delay + (self.duration or 0)):.1f} ms"
        if self.error is not None:
            return f"{self.node!r} {self.outcome.value}: {self.error}"
        return f"{self.node!r} {self.outcome.value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class EmergencyReport:
    """An emergency, and whom it has reached so far.

    Attributes:
        reason: Why.
        at: When, in seconds on Trio's clock.
        active: Whether it is latched: critical nodes do not tick.
        nodes: Every critical node.
    """

    reason: str
    at: float
    active: bool
    nodes: tuple[NodeInEmergency, ...] = ()

    @property
    def reached(self) -> tuple[str, ...]:
        """Names of the nodes that are in their safe state."""
        return tuple(n.node for n in self.nodes if n.outcome is SafetyOutcome.SAFE)

    @property
    def pending(self) -> tuple[str, ...]:
        """Names of the nodes whose ``enter_safe_state`` is running, within its time."""
        return tuple(n.node for n in self.nodes if n.outcome is SafetyOutcome.ENTERING)

    @property
    def unreached(self) -> tuple[str, ...]:
        """Names of the nodes whose ``enter_safe_state`` failed or is overdue."""
        lost = (SafetyOutcome.FAILED, SafetyOutcome.OVERDUE)
        return tuple(n.node for n in self.nodes if n.outcome in lost)

    def __str__(self) -> str:
        nodes = "; ".join(map(str, self.nodes)) or "there is no critical node"
        return f"emergency ({one_line(self.reason)}): {nodes}"


class SafetyChain:
    """The critical nodes of one executor.

    Arguments:
        clock: Seconds, in any thread.
        log: Is told.
    """

    def __init__(self, clock: Callable[[], float], log: OffLoopLogger) -> None:
        self._clock = clock
        self._log = log
        self._token = trio.lowlevel.current_trio_token()
        self._members: dict[str, NodeRunner] = {}
        self._latch = threading.Lock()  # held while latched; never waited for
        self._episodes: collections.deque[_Episode] = collections.deque(maxlen=KEPT)
        self._forgotten = 0
        self._refused: str | None = None  # the reason of a call during an emergency
        self.on_trip: Callable[[], None] | None = None
        """Called, perhaps in a signal handler, so that some thread calls `announce`."""

    def __repr__(self) -> str:
        state = "tripped" if self.is_tripped else "ready"
        return f"<SafetyChain of {len(self._members)} critical node(s), {state}>"

    @property
    def is_tripped(self) -> bool:
        """Whether an emergency is latched; any thread."""
        return self._latch.locked()

    @property
    def report(self) -> EmergencyReport | None:
        """The present or latest emergency, or None; any thread."""
        episodes = self._episodes
        return episodes[-1].report(self._clock()) if episodes else None

    @property
    def reports(self) -> tuple[EmergencyReport, ...]:
        """The latest emergencies; any thread."""
        now = self._clock()
        return tuple(episode.report(now) for episode in tuple(self._episodes))

    @property
    def forgotten(self) -> int:
        """How many emergencies there were before those in `reports`; any thread."""
        return self._forgotten

    def join(self, runner: NodeRunner) -> None:
        """A critical node takes its seat. On the loop."""
        self._members[runner.name] = runner

    def leave(self, runner: NodeRunner) -> None:
        """A node has left. On the loop."""
        if self._members.get(runner.name) is runner:
            del self._members[runner.name]

    def trip(self, reason: str) -> EmergencyReport:
        """An emergency, unless one is latched already; any thread, signal-safe, never waits."""
        now = self._clock()
        if self._latch.acquire(blocking=False):
            episode = _Episode(reason, now, tuple(self._members.values()))
            self._forgotten += len(self._episodes) == KEPT
            self._episodes.append(episode)
            try:
                live = [runner for runner in episode.members if runner.safe_state.live]
                for runner in live:  # the others are admitted when they are initialised
                    runner.hold()
                for runner in live:
                    runner.safe_state.enter()
            finally:
                episode.is_under_way = True
            try:
                self._token.run_sync_soon(self._tripped, episode)
            except trio.RunFinishedError:
                return episode.report(now)
            if self.on_trip is not None:
                self.on_trip()
        else:
            self._refused = reason
        return self.report or EmergencyReport(reason=reason, at=now, active=True)

    def trip_if_exposed(self, reason: str) -> None:
        """An emergency if some critical node could still be made safe; any thread."""
        if any(r.safe_state.live and r.safe_state.hook for r in tuple(self._members.values())):
            self.trip(reason)

    def admit(self, runner: NodeRunner) -> None:
        """A critical node is initialised; during an emergency it is made safe now. On the loop.

        Also one that was safe before and has been initialised again: its device is as new.
        """
        if not self.is_tripped:
            return
        if self._episodes:  # it may be about to begin, in another thread
            self._episodes[-1].involve(runner)
        runner.hold()
        runner.held_on_loop()
        if not runner.safe_state.is_out:
            runner.safe_state.renew()
        runner.safe_state.enter()

    def reset(self) -> None:
        """Let critical nodes tick again. On the loop.

        Raises:
            HorusError: An ``enter_safe_state`` is still running, or is just being called.
        """
        report = self.report
        if report is None or not report.active:
            return
        if not self._episodes[-1].is_under_way:  # another thread is in the midst of `trip`
            raise HorusError(
                f"the emergency ({report.reason}) cannot be reset: it has only just begun, and not "
                "every enter_safe_state has been called yet; try again"
            )
        runners = tuple(self._members.values())
        busy = [runner.name for runner in runners if runner.safe_state.is_out]
        if busy:
            raise HorusError(
                f"the emergency ({report.reason}) cannot be reset: enter_safe_state of "
                f"{', '.join(map(repr, busy))} has not returned yet"
            )
        self._refused = None
        self._episodes[-1].close(self._clock())
        for runner in runners:
            runner.safe_state.renew()
            runner.let_go()
        self._latch.release()
        self._log.warning("the emergency (%s) is over: critical nodes tick again", report.reason)
        if self._refused is not None:  # somebody has called meanwhile: that is not to be lost
            self.trip(self._refused)

    def announce(self) -> None:
        """Log what there is to say, once; any thread, but no signal handler."""
        if self._episodes:
            self._episodes[-1].announce(self._log, self._clock())

    def _tripped(self, episode: _Episode) -> None:
        if episode is self._episodes[-1] and self.is_tripped:
            for runner in episode.members:
                runner.held_on_loop()
        self.announce()


class _Episode:
    """One emergency."""

    def __init__(self, reason: str, at: float, members: tuple[NodeRunner, ...]) -> None:
        self.reason = reason
        self.at = at
        self.members = members
        self.is_under_way: bool = False  # every `enter_safe_state` has been called
        self._final: EmergencyReport | None = None
        self._begun = threading.Lock()
        self._ended = threading.Lock()
        self._was_live = {runner.name: runner.safe_state.live for runner in members}

    def report(self, now: float) -> EmergencyReport:
        if self._final is not None:
            return self._final
        return EmergencyReport(
            reason=self.reason,
            at=self.at,
            active=True,
            nodes=tuple(
                self._state_of(runner.name, runner.safe_state, now) for runner in self.members
            ),
        )

    def involve(self, runner: NodeRunner) -> None:
        """A critical node that was not there when it began."""
        if self._final is None and runner not in self.members:
            self.members = (*self.members, runner)

    def close(self, now: float) -> None:
        self._final = replace(self.report(now), active=False)
        self.members = ()

    def announce(self, log: OffLoopLogger, now: float) -> None:
        if self._begun.acquire(blocking=False):
            log.critical("EMERGENCY: %s", self.reason)
        report = self.report(now)
        if not report.pending and self._ended.acquire(blocking=False):
            log.critical("%s", report)

    def _state_of(self, name: str, state: SafeState, now: float) -> NodeInEmergency:
        if state.called != state.called:
            outcome = SafetyOutcome.NOT_RUNNING
            if state.hook is None and self._was_live.get(name, state.live):
                outcome = SafetyOutcome.NO_HOOK
            return NodeInEmergency(node=name, outcome=outcome)
        started, ended, error = state.started, state.ended, state.error
        if ended != ended:
            late = now > state.called + state.allowance
            outcome = SafetyOutcome.OVERDUE if late else SafetyOutcome.ENTERING
        else:
            outcome = SafetyOutcome.SAFE if error is None else SafetyOutcome.FAILED
        return NodeInEmergency(
            node=name,
            outcome=outcome,
            delay=None if started != started else max(0.0, started - self.at),
            duration=None if ended != ended or started != started else ended - started,
            error=None if error is None else headline(error),
        )
