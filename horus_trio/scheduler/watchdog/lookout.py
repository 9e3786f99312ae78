"""The watchdog of one run, with everything it looks after."""

from __future__ import annotations

import io
from collections.abc import Callable
from types import TracebackType
from typing import Self

from ...executor import AsyncIOExecutor, describe
from ...health import Health, NodeState
from .blocked import BlockedLoop, Stall
from .notify import Notifier
from .stalled import StalledNodes
from .stops import Announcer, LateStop
from .thread import Duty, Watchdog

__all__ = ["Lookout"]


class Lookout:
    """Looks at a run from outside while inside; made on its loop.

    Arguments:
        executor: The run's.
        stall_after: Seconds without an answer after which the loop counts as blocked.
        stop_within: Seconds the stop may take.
        hear: Called in the watchdog's thread with each signal.
        last_resort: Called in that thread, with what to say, if the run cannot end.

    Attributes:
        blocked: Knows whether the loop is.
    """

    def __init__(
        self,
        executor: AsyncIOExecutor,
        *,
        stall_after: float,
        stop_within: float,
        hear: Callable[[int], None],
        last_resort: Callable[[str], None] | None,
    ) -> None:
        self._executor = executor
        self._last_resort = last_resort
        self.blocked: BlockedLoop = BlockedLoop(stall_after, executor.log)
        self._stalled = StalledNodes(executor.runners, executor.clock, self.blocked, executor.log)
        self._late_stop = LateStop(
            stop_within, executor.safety.trip_if_exposed, self._name_the_late
        )
        self._notifier = Notifier(self._obstacle, self._status)
        duties: list[Duty] = [
            self.blocked,
            self._late_stop,
            self._stalled,
            self._notifier,
            Announcer(executor.safety),
        ]
        self._watchdog = Watchdog(duties, executor.log, hear)
        executor.safety.on_trip = self._watchdog.poke

    def __enter__(self) -> Self:
        try:
            self._watchdog.__enter__()
        except RuntimeError:  # no thread can be had
            self._notifier.close()
            raise
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._watchdog.__exit__(exc_type, exc, traceback)
        self._notifier.close()

    def listen(self) -> None:
        """Hear signals also while the main thread runs no Python; in the main thread."""
        self._watchdog.listen()

    # What the run tells it

    def ready(self) -> None:
        """Every node is initialised."""
        self._notifier.ready()
        self._watchdog.poke()

    def stop_asked(self) -> None:
        """A stop was asked for; any thread and any signal handler."""
        self._late_stop.asked()
        self._watchdog.poke()

    def stop_begun(self, reason: str) -> None:
        """The loop has heard of it."""
        self._late_stop.begun()
        self._notifier.stopping(reason)

    def stop_forced(self) -> None:
        """It is to end at once; any thread and any signal handler."""
        self._late_stop.forced()
        self._watchdog.poke()

    def stalls(self) -> tuple[int, tuple[Stall, ...]]:
        """How often the loop stood still, and the latest of those times; any thread."""
        return self.blocked.count, tuple(self.blocked.stalls.copy())

    # In the watchdog's thread

    def _name_the_late(self) -> None:
        """The run does not end."""
        text = io.StringIO()
        culprit = self.blocked.culprit()
        for runner in tuple(self._executor.runners.values()):
            # The others cannot end while one blocks the loop: they are not to blame.
            if not runner.done.is_set() and (culprit is None or culprit.node == runner.name):
                text.write(
                    f"node {runner.name!r} does not end: it {describe(runner)} ({runner.phase})\n"
                )
        if culprit is not None:
            text.write(f"the loop is blocked by {culprit}\n{culprit.stack}")
        text.write(
            "Trio cannot leave behind async code that shields itself, swallows Cancelled or blocks"
        )
        self._executor.log.critical("%s", text.getvalue())
        if self._last_resort is not None:
            self._last_resort(text.getvalue())

    def _obstacle(self) -> str:
        """What keeps the robot from its work, for systemd's watchdog; or an empty text."""
        if self.blocked.is_blocked:
            return "the loop is blocked"
        for runner in tuple(self._executor.runners.values()):
            if runner.options.critical:
                if runner.state in (NodeState.STUCK, NodeState.FAILED):
                    return f"node {runner.name!r} is {runner.state.value}"
                if runner.name in self._stalled.names:
                    return f"node {runner.name!r} has stalled"
        return ""

    def _status(self) -> str:
        """The robot in a line."""
        runners = tuple(self._executor.runners.values())
        ill = [
            f"{runner.name} {runner.state.value}"
            for runner in runners
            if runner.statistics().health > Health.HEALTHY
        ]
        text = f"{len(runners)} nodes"
        return f"{text}; {', '.join(ill[:4])}" if ill else f"{text}, all healthy"
