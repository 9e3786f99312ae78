"""Who waits for something that is given out in turn: tasks and threads in one line.

The giver decides under its lock, and hands over under its lock; whoever is handed something owns it
from then on. A task that is cancelled, a thread whose tick is abandoned, or one whose time is over,
in the instant between the handing over and waking up, gives it back.
"""

from __future__ import annotations

import collections
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

import trio

from ..topics.waiting import TaskWaiter, ThreadWaiter, Waiter, refuse_on_loop
from .functions import nothing, refuse_if_abandoned

__all__ = ["Line"]

AskedT = TypeVar("AskedT")
GivenT = TypeVar("GivenT")


class _Place(Generic[AskedT, GivenT]):
    """One who waits."""

    __slots__ = ("asked", "error", "given", "waiter")

    def __init__(self, asked: AskedT) -> None:
        self.asked = asked
        self.given: list[GivenT] = []  # one, once it has been handed over
        self.error: BaseException | None = None
        self.waiter: Waiter | None = None

    @property
    def is_served(self) -> bool:
        return bool(self.given) or self.error is not None


class Line(Generic[AskedT, GivenT]):
    """A line of tasks and threads, first come, first served.

    Arguments:
        lock: The giver's. Not reentrant is fine: it is never taken twice.
        give: Called with the lock held, and with what the first in the line has asked for. It
            returns a list with the one thing to hand over, or an empty list: it has to wait, and
            all behind it do.
        take_back: Called without the lock, with what had been handed to somebody who is gone.
    """

    def __init__(
        self,
        lock: threading.Lock | threading.RLock,
        give: Callable[[AskedT], list[GivenT]],
        take_back: Callable[[GivenT], object],
    ) -> None:
        self._lock = lock
        self._give = give
        self._take_back = take_back
        self._places: collections.OrderedDict[_Place[AskedT, GivenT], None] = (
            collections.OrderedDict()
        )

    def __len__(self) -> int:
        """How many wait."""
        return len(self._places)

    @property
    def first(self) -> AskedT | None:
        """What the first one has asked for, or None; the lock is held."""
        return next(iter(self._places)).asked if self._places else None

    def serve(self) -> list[Waiter]:
        """Hand over what can be handed over, in turn. The lock is held.

        Returns:
            Whom to `wake`, once the lock has been released.
        """
        wake: list[Waiter] = []
        while self._places:
            place = next(iter(self._places))
            given = self._give(place.asked)
            if not given:
                break
            del self._places[place]
            place.given = given
            if place.waiter is not None:
                wake.append(place.waiter)
        return wake

    def dismiss(self, error: Callable[[], BaseException]) -> list[Waiter]:
        """Send everybody away with an error. The lock is held; whom to `wake` is returned."""
        wake: list[Waiter] = []
        while self._places:
            place, _ = self._places.popitem(last=False)
            place.error = error()
            if place.waiter is not None:
                wake.append(place.waiter)
        return wake

    def take_nowait(self, asked: AskedT) -> list[GivenT]:
        """What is to be had at once, nobody being overtaken; else an empty list. Any thread.

        Raises:
            TickAbandoned: The calling tick was abandoned.
        """
        refuse_if_abandoned()
        with self._lock:
            return [] if self._places else self._give(asked)

    async def take(self, asked: AskedT, *, others_run: bool = True) -> GivenT:
        """Wait for one's turn. A checkpoint; cancelled, nothing has been taken.

        Arguments:
            asked: What for.
            others_run: Whether other tasks run meanwhile even if it is to be had at once. False:
                the caller waits for something else next.

        Raises:
            TickAbandoned: The calling tick was abandoned, perhaps while waiting.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        given = self.take_nowait(asked)
        if given:
            if others_run:
                await trio.lowlevel.cancel_shielded_checkpoint()
            return given[0]
        place = self._join(asked)
        if place.is_served:
            await trio.lowlevel.cancel_shielded_checkpoint()
        try:
            while not place.is_served:
                await TaskWaiter().wait(lambda waiter: self._wait(place, waiter), nothing)
                refuse_if_abandoned()
        except BaseException:
            self._leave(place)
            raise
        return self._received(place)

    def take_blocking(
        self, asked: AskedT, call: str, instead: str, timeout: float | None
    ) -> GivenT:
        """`take` for threads: blocks this one.

        Arguments:
            asked: What for.
            call: The public call, for messages.
            instead: What to write in async code.
            timeout: Seconds of real time, or None.

        Raises:
            TickAbandoned: The calling tick was abandoned, perhaps while waiting.
            TimeoutError: The time was over.
            AsyncCallInThread: Called on the loop, which it would block.
        """
        refuse_on_loop(call, instead)
        given = self.take_nowait(asked)
        if given:
            return given[0]
        place = self._join(asked)
        try:
            if not place.is_served and not ThreadWaiter().wait(
                lambda waiter: self._wait(place, waiter), nothing, timeout
            ):
                raise TimeoutError(f"{call} waited for {timeout:g} s")
            refuse_if_abandoned()
        except BaseException:
            self._leave(place)
            raise
        return self._received(place)

    def _join(self, asked: AskedT) -> _Place[AskedT, GivenT]:
        place = _Place[AskedT, GivenT](asked)
        with self._lock:
            self._places[place] = None
            wake = self.serve()  # it may have come meanwhile
        for waiter in wake:
            waiter.wake()
        return place

    def _wait(self, place: _Place[AskedT, GivenT], waiter: Waiter) -> bool:
        with self._lock:
            place.waiter = waiter
            return not place.is_served

    def _leave(self, place: _Place[AskedT, GivenT]) -> None:
        """Somebody goes away; who was behind may be served."""
        wake: list[Waiter] = []
        with self._lock:
            if place in self._places:
                del self._places[place]
                wake = self.serve()
        for waiter in wake:
            waiter.wake()
        for given in place.given:
            self._take_back(given)

    def _received(self, place: _Place[AskedT, GivenT]) -> GivenT:
        if place.error is not None:
            raise place.error
        return place.given[0]
