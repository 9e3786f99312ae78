"""Who lets time pass for a harness: on virtual time the clock, in real time Trio's sleep."""

from __future__ import annotations

import abc
import math
from collections.abc import Callable

import trio
import trio.testing

from .clock import VirtualClock, check_seconds

__all__ = ["Pilot", "RealPilot", "VirtualPilot"]


class Pilot(abc.ABC):
    """Lets time pass; one call at a time."""

    @abc.abstractmethod
    def now(self) -> float:
        """The instant, in seconds."""

    @abc.abstractmethod
    def after(self, seconds: float) -> float:
        """The instant `seconds` from now.

        Raises:
            ConfigurationError: `seconds` is not a finite number, 0 or more.
        """

    @abc.abstractmethod
    async def drive(self, until: float, enough: Callable[[], bool] | None = None) -> None:
        """Let time pass to `until`, or until `enough` or `halt`. A checkpoint."""

    @abc.abstractmethod
    def halt(self) -> None:
        """Stop here. On the loop."""


class VirtualPilot(Pilot):
    """Moves a virtual clock, whenever nothing can run without that."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock

    def now(self) -> float:
        return self._clock.current_time()

    def after(self, seconds: float) -> float:
        return self._clock.after(seconds)

    async def drive(self, until: float, enough: Callable[[], bool] | None = None) -> None:
        await self._clock.drive(until, enough)

    def halt(self) -> None:
        self._clock.halt()


class RealPilot(Pilot):
    """Lets real time pass."""

    STEP = 0.001
    """Seconds between two looks at whether it is enough."""

    CALM = 0.05
    """Seconds it waits at most for the robot to come to rest."""

    def __init__(self) -> None:
        self._scope = trio.CancelScope()

    def now(self) -> float:
        return trio.current_time()

    def after(self, seconds: float) -> float:
        return trio.current_time() + check_seconds(seconds)

    async def drive(self, until: float, enough: Callable[[], bool] | None = None) -> None:
        with trio.CancelScope(deadline=until) as self._scope:
            while enough is None or not enough():  # noqa: ASYNC110 - any condition has no event
                await trio.sleep(math.inf if enough is None else self.STEP)
        with trio.move_on_after(self.CALM):
            await trio.testing.wait_all_tasks_blocked()

    def halt(self) -> None:
        self._scope.cancel()
