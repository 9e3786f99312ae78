"""Items gathered into batches, which are processed one after the other.

::

    async with BatchProcessor(write_rows, batch_size=100, interval=1.0) as batches:
        batches.add(row)            # any tick, any thread; never waits

A batch goes as soon as it is complete, or when its oldest item is `interval` old; nothing polls. It
is taken out of the buffer once it goes, and is then under way until it is settled: processed, in
the dead letters, or, where there are none, kept. Nothing overtakes it.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

import trio

from ..errors import ConfigurationError
from ..messages import Fence, current_fence
from ..topics import Overflow
from ..topics.waiting import TaskWaiter, Waiter, refuse_on_loop
from .attempt import FAILURES
from .backlog import Backlog
from .delivery import LOG, DeadLetter, Delivered, Delivery
from .helper import Helper, check_count, check_seconds
from .line import Line

__all__ = ["BatchProcessor", "BatchProcessorStatistics"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchProcessorStatistics:
    """A batch processor at one instant, over all the times it was open.

    ``added == processed + dead + dropped + returned + unprocessed + waiting``

    Attributes:
        name: Its name.
        added: Items it was given.
        processed: Those in batches that were processed.
        dead: Those that went to the dead letters.
        dropped: Those lost to the overflow rule.
        returned: Those that `BatchProcessor.take_unprocessed` has returned.
        unprocessed: Those it would return now.
        waiting: Those in the buffer, and in the batch under way.
        batches: Batches that were processed.
        failures: Calls that have failed, and those that were too slow.
        timeouts: Calls that were too slow.
        threads_left_behind: Threads of such calls that have not returned.
        capacity: Items that may be in the buffer.
        last_error: The latest error in one line, or None.
    """

    name: str
    added: int
    processed: int
    dead: int
    dropped: int
    returned: int
    unprocessed: int
    waiting: int
    batches: int
    failures: int
    timeouts: int
    threads_left_behind: int
    capacity: int
    last_error: str | None


class BatchProcessor(Helper, Generic[T]):
    """Gathers items and has them processed in batches, in their order, one batch at a time.

    A batch whose processing fails is tried again, and then goes to the dead letters. Each attempt
    gets the same items in a list of its own.

    Nothing is lost, but an item may be processed more than once: whoever processes a batch and
    raises afterwards gets it again. So does a ``def`` function that has missed `process_timeout`:
    no thread can be ended. It is left behind, and goes on beside the next attempt, or beside later
    batches. If it returns before the next attempt begins, that counts. No more than eight such
    threads are left behind; after that, calls fail without being made, until one returns.

    Closing processes what is there for at most `close_grace` seconds, also if it is cancelled.
    What is left then is kept, logged, and to be had from `take_unprocessed`; what is not taken
    comes first when the processor is opened again.

    Arguments:
        process: Called with a list of 1 to `batch_size` items; ``def``, in a thread, or ``async``.
            What it returns is ignored.
        batch_size: Items in a batch, at most.
        interval: Seconds after which an item's batch goes, complete or not.
        capacity: Items that may wait in the buffer, besides the batch under way; at least
            `batch_size`. Those that are kept count.
        overflow: What `add` does when the buffer is full: ``Overflow.BLOCK`` refuses the item with
            `trio.WouldBlock`, ``DROP_OLDEST`` and ``DROP_NEWEST`` drop one and count it.
        retries: How often a batch is tried again.
        backoff: Seconds before it is first tried again; doubled each time.
        max_backoff: Seconds, the most that is waited.
        dead_letter: What becomes of a batch that could not be processed. A function, ``def`` or
            ``async``, of the list and the error. Or the path of a file, which gets a line of JSON
            for each item: ``{"item": …, "error": …}``, or ``"repr"`` in place of ``"item"`` if JSON
            cannot express it. None, or if that fails as well: the items are kept, for
            `take_unprocessed`.
        process_timeout: Seconds that a call of `process` or of `dead_letter` may take. None:
            as long as it likes, while the buffer fills.
        close_grace: Seconds that closing may take. Given to a node, keep it below the node's
            `shutdown_timeout`.
        name: Printable, for messages.

    Raises:
        ConfigurationError: An argument makes no sense.
    """

    def __init__(
        self,
        process: Callable[[list[T]], object],
        *,
        batch_size: int = 100,
        interval: float = 1.0,
        capacity: int = 10_000,
        overflow: Overflow = Overflow.BLOCK,
        retries: int = 3,
        backoff: float = 0.1,
        max_backoff: float = 5.0,
        dead_letter: DeadLetter[T] | None = None,
        process_timeout: float | None = None,
        close_grace: float = 2.0,
        name: str = "batches",
    ) -> None:
        super().__init__(name)
        owner = f"BatchProcessor {name!r}"
        self._lock = threading.Lock()
        self._delivery = Delivery(
            owner,
            self._lock,
            process,
            dead_letter,
            process_timeout,
            retries=retries,
            backoff=backoff,
            max_backoff=max_backoff,
        )
        batch_size = check_count(owner, "batch_size", batch_size)
        interval = check_seconds(owner, "interval", interval)
        self._capacity = check_count(owner, "capacity", capacity)
        if capacity < batch_size:
            raise ConfigurationError(
                f"{owner}: capacity={capacity}, expected at least batch_size={batch_size}, since "
                "no batch would be complete"
            )
        if overflow not in (Overflow.BLOCK, Overflow.DROP_OLDEST, Overflow.DROP_NEWEST):
            raise ConfigurationError(
                f"{owner}: overflow={overflow!r}, expected Overflow.BLOCK, DROP_OLDEST or "
                "DROP_NEWEST"
            )
        self._overflow = overflow
        self._close_grace = check_seconds(owner, "close_grace", close_grace, zero=True)
        self._met: set[Fence] = set()
        self._backlog = Backlog[T](batch_size, interval, capacity)
        self._adders = Line[None, None](self._lock, self._reserve, self._give_back)
        self._flushers = Line[int, bool](self._lock, self._is_settled, lambda _: None)
        self._sleeper: Waiter | None = None
        self._closing_now = trio.Event()
        self._done = trio.Event()
        self._scope = trio.CancelScope(shield=True)

    def __repr__(self) -> str:
        state = "open" if self._is_open else "closed"
        with self._lock:
            waiting, kept = self._backlog.waiting, len(self._backlog.kept)
        unprocessed = f", {kept} unprocessed" if kept else ""
        return f"<BatchProcessor {self._name!r}, {state}, {waiting} waiting{unprocessed}>"

    # Putting in

    def add(self, item: T) -> bool:
        """Put one item in; any thread, never waits, not a checkpoint.

        Returns:
            False if it was dropped, by ``Overflow.DROP_NEWEST``.

        Raises:
            trio.WouldBlock: It is full, and `overflow` is ``BLOCK``; nothing was added.
            trio.ClosedResourceError: It is not open.
            TickAbandoned: The calling tick was abandoned.
        """
        return self._put(item, self._overflows)

    async def add_async(self, item: T) -> None:
        """Wait for room, in turn, and put one item in. A checkpoint; cancelled, nothing was added.

        Raises:
            trio.ClosedResourceError: It is not open, or was closed meanwhile.
            TickAbandoned: The calling tick was abandoned, perhaps while waiting.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._put(item, _never):
            await trio.lowlevel.cancel_shielded_checkpoint()
            return
        await self._adders.take(None)
        self._add_reserved(item)

    def add_blocking(self, item: T, timeout: float | None = None) -> None:
        """`add_async` for ``def`` ticks and other threads: blocks this one until there is room.

        Arguments:
            item: The item.
            timeout: Seconds of real time, or None.

        Raises:
            TimeoutError: There was no room in that time; nothing was added.
            AsyncCallInThread: Called on the loop, which it would block; await `add_async` there.
            trio.ClosedResourceError, TickAbandoned: As `add_async`.
        """
        call, instead = "BatchProcessor.add_blocking()", "await processor.add_async(…)"
        timeout = self._check_timeout(timeout)
        refuse_on_loop(call, instead)
        if not self._put(item, _never):
            self._adders.take_blocking(None, call, instead, timeout)
            self._add_reserved(item)

    # Waiting for what was put in

    async def flush(self) -> None:
        """Process what was added before at once; wait until it is settled. A checkpoint.

        Settled is what was processed, has gone to the dead letters, was dropped, or is kept.
        Cancelled, it is processed all the same.

        Raises:
            trio.ClosedResourceError: It is not open, or was closed before all was settled.
            TickAbandoned: The calling tick was abandoned, perhaps while waiting.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        self._flushed(await self._flushers.take(self._hurry()))

    def flush_blocking(self, timeout: float | None = None) -> None:
        """`flush` for ``def`` ticks and other threads: blocks this one.

        Arguments:
            timeout: Seconds of real time, or None.

        Raises:
            TimeoutError: It was not all settled in that time.
            AsyncCallInThread: Called on the loop, which it would block; await `flush` there.
            trio.ClosedResourceError, TickAbandoned: As `flush`.
        """
        call, instead = "BatchProcessor.flush_blocking()", "await processor.flush()"
        timeout = self._check_timeout(timeout)
        refuse_on_loop(call, instead)
        self._flushed(self._flushers.take_blocking(self._hurry(), call, instead, timeout))

    def take_unprocessed(self) -> list[T]:
        """Take away what could not be processed, in order; any thread, open or closed.

        That is what has failed for good without getting into the dead letters, and what was left
        when it was closed. A batch that was interrupted is among it, though some of it may have
        been processed.
        """
        with self._lock:
            kept = self._backlog.take_kept()
            wake = self._let_in()
        _wake(wake)
        return kept

    def statistics(self) -> BatchProcessorStatistics:
        """A consistent snapshot; any thread."""
        with self._lock:
            backlog, delivery = self._backlog, self._delivery
            return BatchProcessorStatistics(
                name=self._name,
                added=backlog.added,
                processed=backlog.processed,
                dead=backlog.dead,
                dropped=backlog.dropped,
                returned=backlog.returned,
                unprocessed=len(backlog.kept),
                waiting=backlog.waiting,
                batches=backlog.batches,
                failures=delivery.failures,
                timeouts=delivery.timeouts,
                threads_left_behind=len(delivery.threads),
                capacity=self._capacity,
                last_error=delivery.last_error,
            )

    # With the lock held

    def _look(self, fence: Fence) -> None:
        if fence not in self._met:
            fence.meet(self._lock, self._met)
        if fence.closed:
            fence.refuse()

    def _append(self, item: T) -> Waiter | None:
        """Put it in; whom to wake."""
        return self._rouse() if self._backlog.append(item, self._clock()) else None

    def _rouse(self) -> Waiter | None:
        """The worker, if it sleeps, to be woken once."""
        sleeper, self._sleeper = self._sleeper, None
        return sleeper

    def _overflows(self) -> bool:
        """Apply the rule to one item more; whether it is taken."""
        if self._overflow is Overflow.BLOCK:
            raise trio.WouldBlock(
                f"BatchProcessor {self._name!r} is full with {self._capacity} items: wait with "
                "add_async or add_blocking, or choose by overflow=… what is dropped"
            )
        if self._overflow is Overflow.DROP_OLDEST and self._backlog.drop_oldest():
            return True
        self._backlog.drop_newest()
        return False

    def _let_in(self) -> list[Waiter]:
        """Serve those who wait for room, as far as there is some; whom to wake."""
        self._backlog.make_room()
        return self._adders.serve()

    def _reserve(self, _: None) -> list[None]:
        if self._is_open and self._backlog.is_full:
            return []
        self._backlog.reserve()  # also if it is closed: who was waiting finds out
        return [None]

    def _is_settled(self, number: int) -> list[bool]:
        """What to tell one who waits for it: whether it was settled, or left by closing."""
        settled = self._backlog.is_settled(number)
        return [] if settled is None else [settled]

    def _take_batch(self) -> list[Waiter]:
        """It is under way now; whom to wake, since there is room."""
        self._backlog.take_batch()
        self._delivery.begin()
        return self._let_in()

    # The same, with what happens outside of the lock

    def _put(self, item: T, overflows: Callable[[], bool]) -> bool:
        """Put it in if there is room, which there is not while somebody waits for it.

        Arguments:
            item: The item.
            overflows: Asked if it is full: whether to put it in all the same.
        """
        fence = current_fence.get()
        with self._lock:
            if fence is not None:
                self._look(fence)
            if not self._is_open:
                self._check_open()
            if self._backlog.is_full and not overflows():
                return False
            sleeper = self._append(item)
        if sleeper is not None:
            sleeper.wake()
        return True

    def _give_back(self, _: None) -> None:
        """Somebody who had room reserved is gone."""
        with self._lock:
            self._backlog.give_back()
            wake = self._let_in()
        _wake(wake)

    def _add_reserved(self, item: T) -> None:
        fence = current_fence.get()
        wake: list[Waiter] = []
        try:
            with self._lock:
                self._backlog.give_back()
                try:
                    if fence is not None:
                        self._look(fence)
                    self._check_open()
                    sleeper = self._append(item)
                    if sleeper is not None:
                        wake.append(sleeper)
                finally:
                    wake += self._let_in()
        finally:
            _wake(wake)

    def _hurry(self) -> int:
        """Want all that is there; the number it ends with."""
        fence = current_fence.get()
        with self._lock:
            if fence is not None:
                self._look(fence)
            self._check_open()
            number = self._backlog.hurry()
            sleeper = self._rouse()
        if sleeper is not None:
            sleeper.wake()
        return number

    def _flushed(self, settled: bool) -> None:
        if not settled:
            raise trio.ClosedResourceError(
                f"BatchProcessor {self._name!r} was closed before all was processed; "
                "take_unprocessed() returns the rest"
            )

    def _check_timeout(self, timeout: float | None) -> float | None:
        if timeout is None:
            return None
        return check_seconds(f"BatchProcessor {self._name!r}", "timeout", timeout, zero=True)

    # The worker

    async def _opened(self, nursery: trio.Nursery) -> None:
        self._closing_now, self._done = trio.Event(), trio.Event()
        self._scope = trio.CancelScope(shield=True)
        self._delivery.open(self._clock)
        with self._lock:
            self._backlog.resume(self._clock())
        nursery.start_soon(self._work)

    async def _closing(self) -> None:
        with self._lock:
            self._backlog.hurry()
            wake = self._let_in()
            sleeper = self._rouse()
        _wake(wake if sleeper is None else [*wake, sleeper])
        self._closing_now.set()
        self._delivery.hurry()
        self._scope.deadline = trio.current_time() + self._close_grace
        with trio.CancelScope(shield=True):  # it ends in time by itself
            await self._done.wait()
        with self._lock:
            if self._backlog.under_way and self._delivery.has_succeeded:
                self._backlog.settle(Delivered.PROCESSED)
            self._backlog.leave()
            kept = len(self._backlog.kept)
            wake = self._flushers.serve()
        _wake(wake)
        self._delivery.close()
        if kept:
            LOG.warning(
                "BatchProcessor %r was closed with %d %s unprocessed; take_unprocessed() returns "
                "them",
                self._name,
                kept,
                "item" if kept == 1 else "items",
            )

    async def _work(self) -> None:
        current_fence.set(None)  # it is of no tick, wherever it was opened
        try:
            with self._scope:
                while await self._next_batch():
                    await self._deliver()
        except FAILURES as error:
            if not self._scope.cancel_called:
                raise
            self._delivery.tell(error)  # of a function that was cancelled
        finally:
            self._done.set()

    async def _next_batch(self) -> bool:
        """Wait until there is one under way; False: there will be none. A checkpoint."""
        await trio.lowlevel.checkpoint()
        while True:
            with self._lock:
                wake = self._take_batch() if self._backlog.due <= self._clock() else None
            if wake is not None:
                _wake(wake)
                return True
            if self._closing_now.is_set():
                return False
            with trio.CancelScope() as patience:
                fall_asleep = functools.partial(self._fall_asleep, patience)
                await TaskWaiter().wait(fall_asleep, self._get_up)

    def _fall_asleep(self, patience: trio.CancelScope, waiter: Waiter) -> bool:
        with self._lock:
            due = self._backlog.due
            if due <= self._clock() or self._closing_now.is_set():
                return False
            patience.deadline = due
            self._sleeper = waiter
            return True

    def _get_up(self) -> None:
        self._sleeper = None

    async def _deliver(self) -> None:
        """Have the batch under way processed, or else see to it that it is not lost."""
        delivered = await self._delivery.deliver(self._backlog.under_way)
        with self._lock:
            self._backlog.settle(delivered)
            wake = [*self._flushers.serve(), *self._let_in()]
        _wake(wake)


def _never() -> bool:
    return False


def _wake(waiters: Iterable[Waiter]) -> None:
    for waiter in waiters:
        waiter.wake()
