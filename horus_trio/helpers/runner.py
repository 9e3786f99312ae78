"""Runs operations, so many at once: ``def`` ones in threads, ``async`` ones on the loop.

A thread is one long `trio.to_thread.run_sync`, and serves one operation after the other: handing
one to a thread, and the thread's taking of the next one, never pass through the loop. What has to
happen on the loop (a task, a thread, a deadline that is nearer than all others) is noted under the
lock, and asked for by one ring of the bell after it.

An operation ends once, under the lock: when its function returns, or when somebody gives it up. The
thread of a ``def`` one that was given up is *out*: it makes room for another at that moment, so
that it cannot eat a worker. Beyond `max_abandoned` such threads it keeps its place until it
returns, so the number of threads stays bounded.
"""

from __future__ import annotations

import collections
import math
import queue
import threading
import types
from collections.abc import Callable, Iterable

import outcome
import trio

from ..errors import HorusError, NodeError, add_remedy
from ..topics.bell import Bell, current_bell
from ..topics.waiting import TaskWaiter, Waiter
from .at_work import AtWork, current_at_work
from .functions import nothing
from .operation import (
    Operation,
    OperationCancelled,
    OperationExited,
    OperationStatus,
    OperationTimedOut,
)

__all__ = ["Runner"]

FAILURES = (Exception, SystemExit)
"""What an ``async`` operation may raise; all else is not its own."""


class Runner:
    """Serves one life of one helper.

    The methods that say "the lock is held" change what is to be done; `act` does it afterwards.

    Arguments:
        name: For messages and threads.
        lock: The helper's.
        workers: How many operations run at once.
        max_abandoned: Threads that may be out without keeping the place of a worker.
        ended: Called with each operation that has ended, the lock being held.
        room: Called when the queue has become shorter, the lock being held; says whom to wake.
    """

    def __init__(
        self,
        name: str,
        lock: threading.Lock,
        workers: int,
        max_abandoned: int,
        ended: Callable[[Operation], object],
        room: Callable[[], Iterable[Waiter]] = tuple,
    ) -> None:
        self._name = name
        self._lock = lock
        self._workers = workers
        self._max_abandoned = max_abandoned
        self._ended = ended
        self._room = room
        self.queue: collections.OrderedDict[Operation, None] = collections.OrderedDict()
        self.running: dict[Operation, None] = {}
        self.out: dict[Operation, None] = {}
        self.added: int = 0
        self.counts: dict[OperationStatus, int] = dict.fromkeys(OperationStatus, 0)
        self._jobs: queue.SimpleQueue[Operation | None] = queue.SimpleQueue()
        self._idle = 0  # threads that wait for a job that has not been given yet
        self._threads = 0
        self._serving = 0  # threads there are, also those that are about to begin or to end
        self._new_threads = 0
        self._tasks: list[Operation] = []
        self._to_cancel: list[trio.CancelScope] = []
        self._wake: list[Waiter] = []
        self._is_nearer = False
        self._attention = False
        self._closing = False
        self._bell: Bell | None = None
        self._at_work: AtWork | None = None
        self._nursery: trio.Nursery | None = None
        self._clock: Callable[[], float] = lambda: math.nan
        self._alarm = math.inf
        self._alarms: dict[object, tuple[float, Callable[[], object]]] = {}
        self._nearer = trio.Event()
        self._last: TaskWaiter | None = None

    # Its life, on the loop

    def open(self, nursery: trio.Nursery) -> None:
        """Begin, with tasks in that nursery."""
        self._bell = current_bell()
        self._nursery = nursery
        self._clock = trio.lowlevel.current_clock().current_time
        self._at_work = current_at_work()
        nursery.start_soon(self._watch)

    async def close(self, grace: float) -> None:
        """Give what is pending `grace` seconds, and cancel the rest.

        Tasks that are cancelled end in the nursery, once that is cancelled or they have unwound.
        """
        try:
            with trio.move_on_after(grace):
                while self.queue or self.running:
                    self._last = TaskWaiter()
                    await self._last.wait(self._is_busy, nothing)
        finally:
            with self._lock:
                for operation in (*self.queue, *self.running):
                    self.give_up(operation, f"{self._name} was closed")
                self._finish()
            self.act()

    def _is_busy(self, _: Waiter) -> bool:
        with self._lock:
            return bool(self.queue or self.running)

    def _finish(self) -> None:
        """End the threads; those that are out are left behind. The lock is held."""
        self._closing = True
        self._idle = 0
        if self._serving and self._at_work is not None:
            self._at_work.begin(self)  # to end them
        for _ in range(self._threads):
            self._jobs.put(None)
        for operation in self.out:
            if operation.scope is not None:
                self._to_cancel.append(operation.scope)
                self._attention = True

    # With the lock held

    @property
    def pending(self) -> int:
        """How many have been added and have not ended."""
        return len(self.queue) + len(self.running)

    def add(self, operation: Operation) -> None:
        """Have it run, after those that were added before. The lock is held."""
        self.added += 1
        if self.queue or not self._has_place():
            self.queue[operation] = None
        else:
            self._begin(operation)

    def give_up(self, operation: Operation, why: str) -> bool:
        """End it, or ask its task to end; whether there was anything to end. The lock is held."""
        if operation.status is not None:
            return False
        if operation in self.queue:
            del self.queue[operation]
            self._wake += self._room()
        elif operation.is_async:
            if operation.cancelled is None:
                operation.cancelled = why
                if operation.scope is not None:
                    self._to_cancel.append(operation.scope)
                    self._attention = True
            return True
        self._leave(operation, OperationStatus.CANCELLED, _cancelled(operation, why))
        return True

    def _leave(self, operation: Operation, status: OperationStatus, error: HorusError) -> None:
        """End one whatever its thread does. The lock is held."""
        if operation in self.running:
            self.out[operation] = None
        self.end(operation, status, None, error)
        self._dispatch()

    def drop_oldest(self, error: Callable[[Operation], BaseException]) -> None:
        """End the one that has been in the queue for the longest. The lock is held."""
        operation, _ = self.queue.popitem(last=False)
        self.end(operation, OperationStatus.DROPPED, None, error(operation))

    def end(
        self,
        operation: Operation,
        status: OperationStatus,
        value: object,
        error: BaseException | None,
    ) -> None:
        """It has ended. The lock is held."""
        self.running.pop(operation, None)
        operation.status = status
        operation.value = value
        operation.error = error
        started = operation.started
        if started == started:  # not NaN
            operation.duration = self._clock() - started
        operation.function = None  # first of all: a thread that is about to begin looks at it last
        operation.context = None
        operation.args = ()
        self.counts[status] += 1
        if operation.waiters:
            self._wake += operation.waiters
        self._ended(operation)
        if self._last is not None and not self.running and not self.queue:
            self._wake.append(self._last)

    def wake_later(self, waiter: Waiter) -> None:
        """Have `act` wake somebody. The lock is held."""
        self._wake.append(waiter)

    def ring_at(self, key: object, due: float, call: Callable[[], object]) -> None:
        """Have `call` called at that instant, once, with the lock held. The lock is held."""
        self._alarms[key] = due, call
        if due < self._alarm:
            self._is_nearer = self._attention = True

    def forget(self, key: object) -> None:
        """Undo `ring_at`. The lock is held."""
        self._alarms.pop(key, None)

    # After the lock has been released

    def act(self) -> None:
        """Wake those who have been noted, and have done on the loop what is noted. Any thread."""
        if self._wake:
            with self._lock:
                wake, self._wake = self._wake, []
            for waiter in wake:
                waiter.wake()
        if self._attention and self._bell is not None:
            self._bell.ring(self)

    # Who may run

    def _has_place(self) -> bool:
        busy = len(self.running)
        if len(self.out) > self._max_abandoned:
            busy += len(self.out) - self._max_abandoned
        return busy < self._workers

    def _begin(self, operation: Operation) -> None:
        self.running[operation] = None
        if operation.is_async:
            self._tasks.append(operation)
            self._attention = True
            return
        if self._at_work is not None:
            self._at_work.begin(operation)
        self._jobs.put(operation)
        if self._idle:
            self._idle -= 1
        else:
            self._threads += 1
            self._serving += 1
            self._new_threads += 1
            self._attention = True

    def _dispatch(self) -> None:
        """Begin what there is room for."""
        shorter = False
        while self.queue and self._has_place():
            operation, _ = self.queue.popitem(last=False)
            self._begin(operation)
            shorter = True
        if shorter:
            self._wake += self._room()

    # On the loop

    def _answer(self) -> None:
        with self._lock:
            self._attention = False  # before looking: what is noted from here on rings again
            nearer, self._is_nearer = self._is_nearer, False
            tasks, self._tasks = self._tasks, []
            scopes, self._to_cancel = self._to_cancel, []
            threads, self._new_threads = self._new_threads, 0
        nursery = self._nursery
        if nursery is not None:
            for _ in range(threads):
                nursery.start_soon(self._serve)
            for operation in tasks:
                context = operation.context
                if context is not None:
                    context.run(nursery.start_soon, self._run_on_loop, operation)
        for scope in scopes:
            scope.cancel()
        if nearer:
            self._nearer.set()

    async def _watch(self) -> None:
        """End what takes too long."""
        while True:
            nearer = self._nearer = trio.Event()
            nearest = self._end_what_is_due()
            self.act()
            with trio.CancelScope(deadline=nearest):
                await nearer.wait()

    def _end_what_is_due(self) -> float:
        """End it, and say when to look again at the latest."""
        # From here on a thread with a nearer deadline rings, or it is seen below.
        self._alarm = nearest = math.inf
        now = self._clock()
        with self._lock:
            for key, (due, call) in tuple(self._alarms.items()):
                if due <= now:
                    del self._alarms[key]
                    call()
                else:
                    nearest = min(nearest, due)
            for operation in tuple(self.running):
                if operation.due <= now:
                    self._leave(operation, OperationStatus.TIMED_OUT, _too_long(operation))
                else:
                    nearest = min(nearest, operation.due)
            self._alarm = nearest
        return nearest

    async def _run_on_loop(self, operation: Operation) -> None:
        """An ``async`` one; a task of its own."""
        function, args = operation.function, operation.args
        status, value = OperationStatus.CANCELLED, None
        error: BaseException | None = None
        operation.started = now = trio.current_time()
        scope = trio.CancelScope(deadline=now + operation.timeout)
        with self._lock:
            operation.scope = scope
            if operation.cancelled is not None:
                scope.cancel()
        try:
            with scope:
                if scope.cancel_called or function is None:
                    await trio.lowlevel.checkpoint()  # it is not begun at all
                else:
                    value = await function(*args)
                    status = OperationStatus.COMPLETED
        except KeyboardInterrupt as raised:
            status, error = OperationStatus.FAILED, raised
            raise  # Ctrl-C is not the operation's
        except FAILURES as raised:
            status, error = OperationStatus.FAILED, raised
        except BaseExceptionGroup as group:
            _, error = group.split(trio.Cancelled)
            if error is None:
                raise
            status = OperationStatus.FAILED
        finally:
            if status is OperationStatus.CANCELLED:
                status, error = self._unfinished(operation, scope)
            elif error is not None:
                error = _presentable(operation, error)
            with self._lock:
                self.end(operation, status, value, error)
                self._dispatch()
            self.act()
            del error, operation  # the frames of its traceback lead here

    def _unfinished(
        self, operation: Operation, scope: trio.CancelScope
    ) -> tuple[OperationStatus, BaseException]:
        """How an ``async`` one has ended that was not let finish."""
        if operation.cancelled is None and scope.cancelled_caught:
            return OperationStatus.TIMED_OUT, _too_long(operation)
        why = operation.cancelled or f"{self._name} was closed"
        return OperationStatus.CANCELLED, _cancelled(operation, why)

    async def _serve(self) -> None:
        """A thread, for as long as it is needed."""
        with trio.CancelScope(shield=True) as scope:
            try:
                await trio.to_thread.run_sync(
                    self._work,
                    scope,
                    abandon_on_cancel=True,
                    limiter=trio.CapacityLimiter(1),
                    thread_name=f"{self._name} worker",
                )
            except RuntimeError as error:  # no thread could be started
                self._not_started(error)
            finally:
                with self._lock:
                    self._serving -= 1
                    is_over = self._closing and not self._serving
                if is_over and self._at_work is not None:
                    self._at_work.end(self)

    def _not_started(self, error: RuntimeError) -> None:
        add_remedy(error)
        with self._lock:
            self._threads -= 1
            try:
                operation = self._jobs.get_nowait()
            except queue.Empty:
                self._idle -= 1  # another thread has taken what this one was to do
                return
            if operation is not None and operation.status is None:
                self.end(operation, OperationStatus.FAILED, None, error)
            elif operation is not None:
                self.out.pop(operation, None)
            self._dispatch()
        self.act()
        if self._at_work is not None:
            self._at_work.end(operation)

    # In threads

    def _work(self, scope: trio.CancelScope) -> None:
        while (operation := self._jobs.get()) is not None:
            while operation is not None:
                operation = self._run_in_thread(operation, scope)
                if operation is END:
                    return

    def _run_in_thread(self, operation: Operation, scope: trio.CancelScope) -> Operation | None:
        """Run it; what to run next, `END`, or None: wait for a job."""
        operation.scope = scope
        operation.thread = threading.get_ident()
        args, context, function = operation.args, operation.context, operation.function
        status, value, error = OperationStatus.FAILED, None, None
        if context is not None and function is not None:  # it has not been given up meanwhile
            operation.started = now = self._clock()
            if operation.timeout < math.inf:
                operation.due = due = now + operation.timeout
                if due < self._alarm:
                    self._is_nearer = self._attention = True  # in this order
                    self.act()
            result = outcome.capture(context.run, function, *args)
            if isinstance(result, outcome.Value):
                status, value = OperationStatus.COMPLETED, result.value
                if type(value) is types.CoroutineType:
                    value.close()
                    status, value, error = OperationStatus.FAILED, None, _not_awaited(operation)
            else:
                error = _presentable(operation, result.error)
            del result
        with self._lock:
            if operation.status is None:
                self.end(operation, status, value, error)
            else:
                self.out.pop(operation, None)
            follower = self._next_in_thread()
            wake = self._wake
            if wake:
                self._wake = []
        for waiter in wake:
            waiter.wake()
        if self._attention:
            self.act()
        if self._at_work is not None:
            self._at_work.end(operation)
        del operation, args, error  # the frames of its traceback lead here
        return follower

    def _next_in_thread(self) -> Operation | None:
        """What this thread does next. The lock is held."""
        follower: Operation | None = None
        shorter = False
        if self._threads - len(self.out) > self._workers or self._closing:
            self._threads -= 1
            follower = END
        while self.queue and self._has_place():
            operation, _ = self.queue.popitem(last=False)
            shorter = True
            if follower is None and not operation.is_async:
                self.running[operation] = None
                if self._at_work is not None:
                    self._at_work.begin(operation)
                follower = operation
            else:
                self._begin(operation)
        if follower is None:
            self._idle += 1
        if shorter:
            self._wake += self._room()
        return follower


END = Operation(tuple, (), math.inf, False)
"""Stands for no operation at all: the thread ends."""


def _too_long(operation: Operation) -> OperationTimedOut:
    return OperationTimedOut(
        f"operation {operation.id!r} took longer than its timeout of {operation.timeout:g} s"
    )


def _cancelled(operation: Operation, why: str) -> OperationCancelled:
    return OperationCancelled(f"operation {operation.id!r} was cancelled: {why}")


def _not_awaited(operation: Operation) -> NodeError:
    return NodeError(
        f"operation {operation.id!r} returned a coroutine; submit the `async def` function itself, "
        "or do not call async functions without await"
    )


def _presentable(operation: Operation, error: BaseException) -> BaseException:
    """The error to keep: without our own frame, and none that would end more than an operation."""
    traceback = error.__traceback__
    if traceback is not None and traceback.tb_frame.f_code in OURS:
        error.__traceback__ = traceback.tb_next
    if isinstance(error, (Exception, BaseExceptionGroup)):
        return error
    exited = OperationExited(f"operation {operation.id!r} raised {error!r}")
    exited.__cause__ = error
    return exited


OURS = (Runner._run_on_loop.__code__,)
