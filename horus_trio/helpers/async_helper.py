"""Operations beside the ticks: handed over now, done meanwhile, asked for later.

::

    class Camera(horus.Node):
        def __init__(self) -> None:
            self.disk = AsyncHelper(workers=2, operation_timeout=5.0)
            super().__init__("camera", rate=30, helpers=[self.disk])

        def tick(self) -> None:
            self.disk.submit(save, self.picture)
            for result in self.disk.check_completed():
                if not result.success:
                    self.log.warning("not saved", exc_info=result.error)

Every operation that was submitted ends once, in one of five ways, and its result waits to be
collected. Nothing here waits but what says so.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVarTuple, Unpack, overload

import trio

from ..errors import ConfigurationError, HorusError
from ..topics.waiting import TaskWaiter, ThreadWaiter, Waiter, refuse_on_loop
from .functions import refuse_if_abandoned
from .helper import Helper, check_count, check_name, check_seconds
from .line import Line
from .operation import (
    Operation,
    OperationDropped,
    OperationResult,
    OperationStatus,
    check_function,
)
from .register import Register
from .runner import Runner

__all__ = ["AsyncHelper", "AsyncHelperStatistics", "OperationRefused"]

ArgsT = TypeVarTuple("ArgsT")


class OperationRefused(HorusError):
    """The queue is full, so the operation was not taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AsyncHelperStatistics:
    """An `AsyncHelper` at one instant.

    ``submitted == completed + failed + timed_out + cancelled + dropped + pending``, and
    ``completed + failed + timed_out + cancelled + dropped == collected + uncollected + discarded``.

    Attributes:
        name: Its name.
        submitted: Operations that were taken.
        completed, failed, timed_out, cancelled, dropped: How they ended; see `OperationStatus`.
        pending: Those that have not ended.
        running: How many of these run.
        refused: Operations that were not taken, because the queue was full.
        collected: Results that were handed out.
        uncollected: Results that wait.
        discarded: Results that were thrown away, because too many waited.
        abandoned: Threads that are still out in operations that have timed out or were cancelled.
    """

    name: str
    submitted: int
    completed: int
    failed: int
    timed_out: int
    cancelled: int
    dropped: int
    pending: int
    running: int
    refused: int
    collected: int
    uncollected: int
    discarded: int
    abandoned: int


class AsyncHelper(Helper):
    """Runs operations in the background, ``def`` ones in threads, ``async`` ones on the loop.

    An operation runs in a copy of the context it was submitted in. What it raises is its result's
    error, SystemExit too (as `OperationExited`); only Ctrl-C on the loop goes through.

    Closing, it takes no more, and gives what is pending `grace` seconds; the rest is cancelled.
    Results can still be collected then, until it is opened again.

    Arguments:
        workers: How many operations run at once.
        capacity: How many may wait for a worker.
        drop_oldest: Whether a full queue makes room by dropping the operation that has waited the
            longest; its result says so. Otherwise `submit` refuses the new one.
        operation_timeout: Seconds an operation may run, from when it begins; None: no limit. An
            ``async`` one is cancelled then, the thread of a ``def`` one is left behind: the
            function runs on, but its result is not wanted any more, and its worker is replaced.
        results: How many results may wait to be collected; beyond it, the oldest is discarded.
        grace: Seconds that closing gives to what is pending. Within a node it should be less than
            its ``shutdown_timeout``.
        max_abandoned: Threads that may be left behind; one more keeps its worker until it returns.
        name: For messages.

    Raises:
        ConfigurationError: An argument makes no sense.
    """

    def __init__(
        self,
        *,
        workers: int = 4,
        capacity: int = 1024,
        drop_oldest: bool = False,
        operation_timeout: float | None = None,
        results: int = 1024,
        grace: float = 2.0,
        max_abandoned: int = 16,
        name: str = "operations",
    ) -> None:
        super().__init__(name)
        self._owner = f"AsyncHelper {name!r}"
        self._workers = check_count(self._owner, "workers", workers)
        self._capacity = check_count(self._owner, "capacity", capacity)
        if not isinstance(drop_oldest, bool):
            raise ConfigurationError(
                f"{self._owner}: drop_oldest={drop_oldest!r}, expected True or False"
            )
        self._drop_oldest = drop_oldest
        self._timeout = math.inf
        if operation_timeout is not None:
            self._timeout = check_seconds(self._owner, "operation_timeout", operation_timeout)
        self._bound = check_count(self._owner, "results", results)
        self._grace = check_seconds(self._owner, "grace", grace, zero=True)
        self._max_abandoned = check_count(self._owner, "max_abandoned", max_abandoned, least=0)
        self._lock = threading.Lock()
        self._begin()

    def __repr__(self) -> str:
        state = "open" if self._is_open else "closed"
        return (
            f"<AsyncHelper {self._name!r}, {state}, {self._runner.pending} pending, "
            f"{self._register.uncollected} uncollected>"
        )

    # Handing over

    def submit(
        self,
        function: Callable[[Unpack[ArgsT]], object],
        *args: *ArgsT,
        operation_id: str | None = None,
        operation_timeout: float | None = None,
    ) -> str:
        """Have a function called in the background; any thread, never waits.

        Arguments:
            function: ``def``: it is called in a thread; ``async def``: on the loop.
            args: For the function.
            operation_id: What to ask for it by; None: one is made. It is free again once its
                result has been collected.
            operation_timeout: In place of the helper's; `math.inf`: no limit.

        Returns:
            Its id.

        Raises:
            OperationRefused: The queue is full.
            ConfigurationError: The id is in use, or an argument makes no sense.
            trio.ClosedResourceError: The helper is not open.
            TickAbandoned: The calling tick was abandoned.
        """
        operation = self._make(function, args, operation_id, operation_timeout)
        refuse_if_abandoned()
        with self._lock:
            runner = self._runner
            self._check_accepts()
            self._register.name(operation)
            if len(runner.queue) >= self._capacity or self._line:
                if not self._drop_oldest or not runner.queue:
                    self._refused += 1
                    raise OperationRefused(
                        f"{self._owner} has {len(runner.queue)} operations waiting, its capacity; "
                        "submit less, wait with `await submit_wait(…)` or `submit_blocking(…)`, "
                        "or give it more workers or drop_oldest=True"
                    )
                runner.drop_oldest(_dropped)
            self._register.enter(operation)
            runner.add(operation)
        runner.act()
        return operation.id

    async def submit_wait(
        self,
        function: Callable[[Unpack[ArgsT]], object],
        *args: *ArgsT,
        operation_id: str | None = None,
        operation_timeout: float | None = None,
    ) -> str:
        """`submit`, but wait for room in a full queue, first come, first served. A checkpoint.

        Cancelled, the operation has not been submitted; or it is cancelled too, and its result
        discarded.
        """
        operation = self._make(function, args, operation_id, operation_timeout)
        await trio.lowlevel.checkpoint_if_cancelled()
        line = self._reserve(operation)
        try:
            await line.take(operation)
        finally:
            self._register.release(operation)
            self._runner.act()
        return operation.id

    def submit_blocking(
        self,
        function: Callable[[Unpack[ArgsT]], object],
        *args: *ArgsT,
        operation_id: str | None = None,
        operation_timeout: float | None = None,
        timeout: float | None = None,
    ) -> str:
        """`submit_wait` for threads: blocks this one, for `timeout` seconds at most.

        Raises:
            TimeoutError: The time was over; the operation has not been submitted.
            AsyncCallInThread: Called on the loop, which it would block.
        """
        refuse_on_loop("AsyncHelper.submit_blocking()", "await helper.submit_wait(…)")
        operation = self._make(function, args, operation_id, operation_timeout)
        line = self._reserve(operation)
        try:
            line.take_blocking(
                operation,
                "AsyncHelper.submit_blocking()",
                "await helper.submit_wait(…)",
                timeout,
            )
        finally:
            self._register.release(operation)
            self._runner.act()
        return operation.id

    # Collecting

    @overload
    def check_completed(self) -> list[OperationResult]: ...

    @overload
    def check_completed(self, operation_id: str) -> OperationResult | None: ...

    def check_completed(
        self, operation_id: str | None = None
    ) -> list[OperationResult] | OperationResult | None:
        """Collect what has ended; any thread, never waits. What is returned is forgotten here.

        Arguments:
            operation_id: Only this one.

        Returns:
            All results there are, in the order in which the operations ended. For one operation:
            its result, or None while it is pending.

        Raises:
            UnknownOperation: No such operation is pending, and no result of it waits.
            TickAbandoned: The calling tick was abandoned: it must not take results away.
        """
        refuse_if_abandoned()
        register = self._register
        if operation_id is None:
            return register.collect_all()
        operation = register.find(operation_id)
        return None if operation.status is None else register.collect(operation)

    async def wait(self, operation_id: str) -> OperationResult:
        """Wait for an operation, and collect its result. A checkpoint.

        Cancelled, the operation goes on, and its result waits. If several wait for one, all of
        them get it.

        Raises:
            UnknownOperation, TickAbandoned: As `check_completed`.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        refuse_if_abandoned()
        operation = self._register.find(operation_id)
        if operation.status is not None:
            await trio.lowlevel.cancel_shielded_checkpoint()
        while operation.status is None:
            waiter = TaskWaiter()
            await waiter.wait(
                lambda waiter: self._enter(operation, waiter),
                lambda waiter=waiter: self._leave(operation, waiter),  # type: ignore[misc]
            )
            refuse_if_abandoned()
        return self._register.collect(operation)

    def wait_blocking(self, operation_id: str, *, timeout: float | None = None) -> OperationResult:
        """`wait` for threads: blocks this one, for `timeout` seconds of real time at most.

        Raises:
            TimeoutError: The time was over; the operation goes on, and its result waits.
            AsyncCallInThread: Called on the loop, which it would block.
            UnknownOperation, TickAbandoned: As `check_completed`, the latter also while waiting.
        """
        refuse_on_loop("AsyncHelper.wait_blocking()", "await helper.wait(…)")
        refuse_if_abandoned()
        operation = self._register.find(operation_id)
        if operation.status is None:
            waiter = ThreadWaiter()
            in_time = waiter.wait(
                lambda waiter: self._enter(operation, waiter),
                lambda: self._leave(operation, waiter),
                timeout,
            )
            refuse_if_abandoned()
            if not in_time and operation.status is None:
                raise TimeoutError(
                    f"AsyncHelper.wait_blocking() waited {timeout:g} s for {operation_id!r}"
                )
        return self._register.collect(operation)

    # Looking, and giving up

    def is_pending(self, operation_id: str) -> bool:
        """Whether that operation waits or runs; it may have ended when you look. Any thread."""
        return operation_id in self._register.pending

    def pending_count(self) -> int:
        """How many operations wait or run; any thread."""
        return len(self._register.pending)

    def cancel(self, operation_id: str) -> bool:
        """Cancel a pending operation; any thread, never waits.

        One that waits for a worker is never started. An ``async`` one is cancelled where it waits,
        and ends when it has unwound. The thread of a ``def`` one is left behind.

        Returns:
            Whether it was pending.

        Raises:
            TickAbandoned: The calling tick was abandoned.
        """
        refuse_if_abandoned()
        with self._lock:
            runner = self._runner
            operation = self._register.pending.get(operation_id)
            was_pending = operation is not None and runner.give_up(operation, "by cancel()")
        runner.act()
        return was_pending

    def statistics(self) -> AsyncHelperStatistics:
        """A consistent snapshot; any thread."""
        with self._lock:
            runner, register = self._runner, self._register
            counts = runner.counts
            return AsyncHelperStatistics(
                name=self._name,
                submitted=runner.added,
                completed=counts[OperationStatus.COMPLETED],
                failed=counts[OperationStatus.FAILED],
                timed_out=counts[OperationStatus.TIMED_OUT],
                cancelled=counts[OperationStatus.CANCELLED],
                dropped=counts[OperationStatus.DROPPED],
                pending=runner.pending,
                running=len(runner.running),
                refused=self._refused,
                collected=register.collected,
                uncollected=register.uncollected,
                discarded=register.discarded,
                abandoned=len(runner.out),
            )

    # Its life

    def _begin(self) -> None:
        """A new life: nothing is pending, nothing waits."""
        self._register = Register(self._owner, self._lock, self._bound)
        self._runner = Runner(
            self._owner,
            self._lock,
            self._workers,
            self._max_abandoned,
            self._register.ended,
            lambda: self._line.serve() if len(self._line) else (),
        )
        self._line: Line[Operation, Operation] = Line(self._lock, self._give, self._take_back)
        self._accepts = False
        self._refused = 0

    async def _opened(self, nursery: trio.Nursery) -> None:
        with self._lock:
            self._begin()
            self._runner.open(nursery)
            self._accepts = True

    async def _closing(self) -> None:
        with self._lock:
            self._accepts = False
            wake = self._line.dismiss(self._closed_error)
        for waiter in wake:
            waiter.wake()
        await self._runner.close(self._grace)

    def _make(
        self,
        function: Callable[..., object],
        args: tuple[object, ...],
        operation_id: str | None,
        operation_timeout: float | None,
    ) -> Operation:
        """The operation, if there can be one. It has no id yet unless one was given."""
        if operation_id is None:
            operation_id = ""
        else:
            check_name(self._owner, operation_id)
        timeout = self._timeout
        if operation_timeout is not None:
            timeout = operation_timeout
            if timeout != math.inf:
                check_seconds(self._owner, "operation_timeout", timeout)
        return Operation(
            function, args, timeout, check_function(self._owner, function), operation_id
        )

    def _check_accepts(self) -> None:
        if not self._accepts:
            raise self._closed_error()

    def _reserve(self, operation: Operation) -> Line[Operation, Operation]:
        """Keep its id until it is submitted."""
        with self._lock:
            self._check_accepts()
            self._register.reserve(operation)
            return self._line

    def _give(self, operation: Operation) -> list[Operation]:
        """Take one that waits for room, if there is some. Locked."""
        self._check_accepts()
        if len(self._runner.queue) >= self._capacity:
            return []
        self._register.enter(operation)
        self._runner.add(operation)
        return [operation]

    def _take_back(self, operation: Operation) -> None:
        """Who has submitted it is gone without having learnt so."""
        with self._lock:
            runner = self._runner
            self._register.disown(operation)
            runner.give_up(operation, "by whoever was about to submit it")
        runner.act()

    def _enter(self, operation: Operation, waiter: Waiter) -> bool:
        with self._lock:
            operation.waiters.append(waiter)
            return operation.status is None

    def _leave(self, operation: Operation, waiter: Waiter) -> None:
        if operation.status is None:  # afterwards nobody looks at them
            with self._lock:
                operation.waiters.remove(waiter)

    def _closed_error(self) -> trio.ClosedResourceError:
        return trio.ClosedResourceError(
            f"{self._owner} is not open: use `async with`, or give it to a node as "
            "Node(…, helpers=[…])"
        )


def _dropped(operation: Operation) -> OperationDropped:
    return OperationDropped(
        f"operation {operation.id!r} was dropped: it had waited the longest when the queue was full"
    )
