"""Several operations at once, and as many of their results as are needed.

::

    async with AsyncAggregator() as sensors:
        sensors.add("lidar", read_lidar)
        sensors.add("camera", read_camera)
        sensors.add("sonar", read_sonar)
        ...
        seen = await sensors.wait_first(2, within=0.05)
        fuse(seen.values)

The operations are added once, and run once in each *round*. A round ends when what was waited for
has come, when its time is over, or when it is cancelled; what is unfinished then is cancelled.
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TypeVarTuple, Unpack

import trio

from ..errors import ConfigurationError
from ..topics.waiting import TaskWaiter, ThreadWaiter, Waiter, refuse_on_loop
from .functions import refuse_if_abandoned
from .helper import Helper, check_count, check_name, check_seconds
from .operation import Operation, OperationResult, OperationStatus, check_function
from .round import Gathered, Goal, Round, everything, first, more_than
from .runner import Runner

__all__ = ["AsyncAggregator"]

ArgsT = TypeVarTuple("ArgsT")


class AsyncAggregator(Helper):
    """Runs its operations side by side: ``def`` ones in threads, ``async`` ones on the loop.

    There is one round at a time. The ``wait_…`` forms wait for the round that was started last, if
    nobody has waited for it or taken its results, and start one otherwise. Cancelled, or abandoned,
    they end it.

    Arguments:
        workers: How many operations run at once.
        operation_timeout: Seconds each may run, from when it begins; None: no limit. See
            `AsyncHelper`.
        max_abandoned: Threads that may be left behind, in operations that were cancelled or have
            timed out; one more takes the place of a worker until it returns.
        name: For messages.

    Raises:
        ConfigurationError: An argument makes no sense.
    """

    def __init__(
        self,
        *,
        workers: int = 32,
        operation_timeout: float | None = None,
        max_abandoned: int = 16,
        name: str = "aggregator",
    ) -> None:
        super().__init__(name)
        self._owner = f"AsyncAggregator {name!r}"
        self._workers = check_count(self._owner, "workers", workers)
        self._timeout = math.inf
        if operation_timeout is not None:
            self._timeout = check_seconds(self._owner, "operation_timeout", operation_timeout)
        self._max_abandoned = check_count(self._owner, "max_abandoned", max_abandoned, least=0)
        self._lock = threading.Lock()
        self._calls: dict[str, tuple[Callable[..., object], tuple[object, ...], float, bool]] = {}
        self._begin()

    def __repr__(self) -> str:
        with self._lock:
            round_ = self._round
            state = "open" if self._is_open else "closed"
            if round_ is not None:
                state += f", {len(round_.ended)} of {len(round_.operations)} ended"
                state += " and over" if round_.over else ""
            return f"<AsyncAggregator {self._name!r}, {state}>"

    # What there is to run

    def add(
        self,
        name: str,
        function: Callable[[Unpack[ArgsT]], object],
        *args: *ArgsT,
        operation_timeout: float | None = None,
    ) -> None:
        """Add an operation; it takes part in every round from the next one on. Any thread.

        Arguments:
            name: Its own.
            function: ``def``: it is called in a thread; ``async def``: on the loop.
            args: For the function.
            operation_timeout: In place of the aggregator's; `math.inf`: no limit.

        Raises:
            ConfigurationError: There is one of that name, or an argument makes no sense.
        """
        check_name(self._owner, name)
        timeout = self._timeout
        if operation_timeout is not None:
            timeout = operation_timeout
            if timeout != math.inf:
                check_seconds(self._owner, "operation_timeout", timeout)
        on_loop = check_function(self._owner, function)
        with self._lock:
            if name in self._calls:
                raise ConfigurationError(
                    f"{self._owner} has an operation {name!r} already; expected another name, or "
                    f"remove({name!r}) before"
                )
            self._calls[name] = function, args, timeout, on_loop

    def remove(self, name: str) -> bool:
        """Have it take part no more, from the next round on; whether it was there. Any thread."""
        with self._lock:
            return self._calls.pop(name, None) is not None

    # Starting and looking, which never waits

    def start(self, *, within: float | None = None) -> None:
        """Start a round; any thread, never waits.

        Arguments:
            within: Seconds after which the round is over, or None.

        Raises:
            trio.BusyResourceError: A round is under way.
            ConfigurationError: There is no operation.
            trio.ClosedResourceError: The aggregator is not open.
            TickAbandoned: The calling tick was abandoned.
        """
        seconds = self._check_within(within)
        refuse_if_abandoned()
        with self._lock:
            runner = self._runner
            self._start(seconds)
        runner.act()

    @property
    def is_complete(self) -> bool:
        """Whether all operations of the last round have ended, well or not; any thread.

        False if none was started.
        """
        round_ = self._round
        return round_ is not None and round_.is_complete

    @property
    def is_over(self) -> bool:
        """Whether nothing more comes of the last round: complete, out of time, or cancelled."""
        round_ = self._round
        return round_ is not None and round_.over

    def results(self) -> dict[str, OperationResult]:
        """What has come of the last round until now, in the order in which it came; any thread.

        Raises:
            TickAbandoned: The calling tick was abandoned.
        """
        refuse_if_abandoned()
        with self._lock:
            round_ = self._round
            if round_ is None:
                return {}
            round_.claimed |= round_.over
            ended = tuple(round_.ended)
        return {operation.id: operation.result() for operation in ended}

    def cancel(self) -> bool:
        """End the round, and cancel what is unfinished; whether there was one. Any thread.

        Who waits for it gets what has come.

        Raises:
            TickAbandoned: The calling tick was abandoned.
        """
        refuse_if_abandoned()
        with self._lock:
            runner, round_ = self._runner, self._round
            was_running = round_ is not None and self._end(round_, "it was cancelled")
        runner.act()
        return was_running

    # Waiting

    async def wait_all(self, *, within: float | None = None) -> Gathered:
        """Wait until all operations have ended, well or not. A checkpoint.

        Arguments:
            within: Seconds; after them, what has come is returned, and the rest is missing.

        Raises:
            trio.BusyResourceError: Somebody else waits for the round.
            ConfigurationError: There is no operation.
            trio.ClosedResourceError: The aggregator is not open.
            TickAbandoned: The calling tick was abandoned, perhaps while waiting.
        """
        async with self._claimed(within) as round_:
            await self._until(round_, everything)
        return round_.gathered()

    async def wait_any(self, *, within: float | None = None) -> OperationResult:
        """Wait for the first success, and return it; ``result.id`` says whose. A checkpoint.

        Raises:
            QuorumFailed: All have failed, or none has succeeded in time.
            trio.BusyResourceError, ConfigurationError, trio.ClosedResourceError, TickAbandoned: As
                `wait_all`.
        """
        async with self._claimed(within) as round_:
            await self._until(round_, first(1))
        return self._first_of(round_)

    async def wait_first(self, count: int, *, within: float | None = None) -> Gathered:
        """Wait for a quorum: `count` successes. A checkpoint.

        It ends at once when so many cannot be reached any more.

        Raises:
            QuorumFailed: Too many have failed, or too few have succeeded in time; with what came.
            trio.BusyResourceError, ConfigurationError, trio.ClosedResourceError, TickAbandoned: As
                `wait_all`.
        """
        check_count(self._owner, "count", count)
        async with self._claimed(within) as round_:
            await self._until(round_, first(count))
        return round_.quorum(self._owner, count)

    @contextlib.asynccontextmanager
    async def as_completed(
        self, *, within: float | None = None
    ) -> AsyncIterator[AsyncIterator[OperationResult]]:
        """The results as they come, until all have, or the time is over.

        ::

            async with sensors.as_completed(within=0.1) as results:
                async for result in results:
                    ...

        Leaving the block ends the round. Raises what `wait_all` does.
        """
        async with self._claimed(within) as round_:
            yield _Arrivals(self, round_)

    # Waiting in threads

    def wait_all_blocking(self, *, within: float | None = None) -> Gathered:
        """`wait_all` for threads: blocks this one.

        Raises:
            AsyncCallInThread: Called on the loop, which it would block.
        """
        with self._claimed_in_thread(within, "wait_all") as round_:
            self._until_blocking(round_, everything)
        return round_.gathered()

    def wait_any_blocking(self, *, within: float | None = None) -> OperationResult:
        """`wait_any` for threads: blocks this one."""
        with self._claimed_in_thread(within, "wait_any") as round_:
            self._until_blocking(round_, first(1))
        return self._first_of(round_)

    def wait_first_blocking(self, count: int, *, within: float | None = None) -> Gathered:
        """`wait_first` for threads: blocks this one."""
        check_count(self._owner, "count", count)
        with self._claimed_in_thread(within, "wait_first") as round_:
            self._until_blocking(round_, first(count))
        return round_.quorum(self._owner, count)

    @contextlib.contextmanager
    def as_completed_blocking(
        self, *, within: float | None = None
    ) -> Iterator[Iterator[OperationResult]]:
        """`as_completed` for threads: blocks this one in each step of the iteration."""
        with self._claimed_in_thread(within, "as_completed") as round_:
            yield self._arrivals(round_)

    # Its life

    def _begin(self) -> None:
        self._runner = Runner(
            self._owner, self._lock, self._workers, self._max_abandoned, self._ended
        )
        self._round: Round | None = None
        self._accepts = False

    async def _opened(self, nursery: trio.Nursery) -> None:
        with self._lock:
            self._begin()
            self._runner.open(nursery)
            self._accepts = True

    async def _closing(self) -> None:
        with self._lock:
            self._accepts = False
            if self._round is not None:
                self._end(self._round, f"{self._owner} was closed")
        self._runner.act()
        await self._runner.close(0)

    # Rounds

    def _start(self, within: float) -> Round:
        """A new round. Locked."""
        if not self._accepts:
            raise trio.ClosedResourceError(
                f"{self._owner} is not open: use `async with`, or give it to a node as "
                "Node(…, helpers=[…])"
            )
        if self._round is not None and not self._round.over:
            raise trio.BusyResourceError(
                f"{self._owner}: a round is under way; wait for it, look at is_over before, or "
                "cancel() it"
            )
        if not self._calls:
            raise ConfigurationError(
                f"{self._owner} has no operations; expected some, by add(name, function)"
            )
        round_ = self._round = Round(
            {
                name: Operation(function, args, timeout, on_loop, name)
                for name, (function, args, timeout, on_loop) in self._calls.items()
            }
        )
        for operation in round_.operations.values():
            self._runner.add(operation)
        self._limit(round_, within)
        return round_

    def _limit(self, round_: Round, within: float) -> None:
        """Have it be over after so many seconds, unless it is so earlier. Locked."""
        due = self._clock() + within
        if due < round_.due:
            round_.due = due
            why = f"{within:g} s were over"
            self._runner.ring_at(round_, due, lambda: self._end(round_, why))

    def _end(self, round_: Round, why: str) -> bool:
        """Nothing more comes of it; whether something might have. Locked."""
        if round_.over:
            return False
        round_.over = True
        round_.why = why
        self._runner.forget(round_)
        if not round_.is_complete:
            for operation in round_.operations.values():
                self._runner.give_up(operation, why or "its round was over")
        if round_.waiter is not None:
            self._runner.wake_later(round_.waiter)
        return True

    def _ended(self, operation: Operation) -> None:
        """One has ended. Locked."""
        round_ = self._round
        if round_ is None or round_.over or round_.operations.get(operation.id) is not operation:
            return
        round_.ended.append(operation)
        if operation.status is OperationStatus.COMPLETED:
            round_.successes += 1
        if round_.is_complete:
            self._end(round_, "")
        elif round_.waiter is not None:
            self._runner.wake_later(round_.waiter)

    def _claim(self, within: float) -> Round:
        """The round to wait for."""
        refuse_if_abandoned()
        with self._lock:
            runner, round_ = self._runner, self._round
            if round_ is None or (round_.claimed and round_.over):
                round_ = self._start(within)
            elif round_.claimed:
                raise trio.BusyResourceError(f"{self._owner}: somebody else waits for the round")
            elif not round_.over:
                self._limit(round_, within)
            round_.claimed = True
        runner.act()
        return round_

    def _release(self, round_: Round) -> None:
        with self._lock:
            runner = self._runner
            self._end(round_, "")
        runner.act()

    @contextlib.asynccontextmanager
    async def _claimed(self, within: float | None) -> AsyncIterator[Round]:
        seconds = self._check_within(within)
        await trio.lowlevel.checkpoint_if_cancelled()
        round_ = self._claim(seconds)
        try:
            yield round_
        finally:
            self._release(round_)

    @contextlib.contextmanager
    def _claimed_in_thread(self, within: float | None, call: str) -> Iterator[Round]:
        refuse_on_loop(f"AsyncAggregator.{call}_blocking()", f"await aggregator.{call}(…)")
        round_ = self._claim(self._check_within(within))
        try:
            yield round_
        finally:
            self._release(round_)

    def _check_within(self, within: float | None) -> float:
        return math.inf if within is None else check_seconds(self._owner, "within", within)

    async def _until(self, round_: Round, goal: Goal) -> None:
        """Sleep until the goal is reached or the round is over. A checkpoint."""
        slept = False
        while not (round_.over or goal(round_)):
            await TaskWaiter().wait(
                lambda waiter: self._enter(round_, goal, waiter), lambda: self._leave(round_)
            )
            refuse_if_abandoned()
            slept = True
        if not slept:
            await trio.lowlevel.cancel_shielded_checkpoint()

    def _until_blocking(self, round_: Round, goal: Goal) -> None:
        while not (round_.over or goal(round_)):
            ThreadWaiter().wait(
                lambda waiter: self._enter(round_, goal, waiter), lambda: self._leave(round_)
            )
            refuse_if_abandoned()

    def _enter(self, round_: Round, goal: Goal, waiter: Waiter) -> bool:
        with self._lock:
            round_.waiter = waiter
            return not (round_.over or goal(round_))

    def _leave(self, round_: Round) -> None:
        with self._lock:
            round_.waiter = None

    def _arrivals(self, round_: Round) -> Iterator[OperationResult]:
        taken = 0
        while True:
            self._until_blocking(round_, more_than(taken))
            if taken >= len(round_.ended):
                return
            yield round_.ended[taken].result()
            taken += 1

    # What has come

    def _first_of(self, round_: Round) -> OperationResult:
        gathered = round_.quorum(self._owner, 1)
        return next(result for result in gathered.results.values() if result.success)


class _Arrivals:
    """The results of a round, as they come."""

    def __init__(self, aggregator: AsyncAggregator, round_: Round) -> None:
        self._aggregator = aggregator
        self._round = round_
        self._taken = 0

    def __aiter__(self) -> _Arrivals:
        return self

    async def __anext__(self) -> OperationResult:
        await trio.lowlevel.checkpoint_if_cancelled()
        await self._aggregator._until(self._round, more_than(self._taken))
        if self._taken >= len(self._round.ended):
            raise StopAsyncIteration
        self._taken += 1
        return self._round.ended[self._taken - 1].result()
