"""Threads for blocking code: a `ThreadCall` runs in a `WorkerThread`, and can be left behind.

A worker is itself one long `trio.to_thread.run_sync`, so `trio.from_thread` works in it, and it
runs one call after the other, which costs less than a fresh ``run_sync`` for each. Whether
a call has returned or was abandoned is decided under its lock, once: a function that had already
returned keeps its result.
"""

from __future__ import annotations

import contextvars
import inspect
import math
import queue
import threading
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import outcome
import trio

from ..errors import NodeError
from ..messages import Fence
from ..timer import Alarm, Timer

if TYPE_CHECKING:
    from .pool import BlockingPool

__all__ = ["ThreadCall", "TimeLimit", "WorkerThread"]


class ThreadCall:
    """One blocking call of a node. Run it once.

    Arguments:
        pool: Counts it if it is left behind.
        node: Name of the node, for reports.
        what: Name of the hook, for reports.
        function: What to call, in the thread, with `args`.
        fence: Closed at abandonment.
        limiter: Gives the token; None: the call waits for nobody.
        limit: Ends the call in time; None: without limit.
        shield: Whether only `cancel` ends it, and no scope around it.
        on_late: Called in the thread with the outcome, if the call was abandoned before.
    """

    __slots__ = (
        "_args",
        "_cancelled",
        "_function",
        "_held",
        "_limit",
        "_limiter",
        "_lock",
        "_on_late",
        "_shield",
        "_task",
        "_token_scope",
        "abandoned",
        "abandoned_at",
        "ended",
        "fence",
        "interrupt",
        "node",
        "on_return",
        "pool",
        "queued_at",
        "refused",
        "result",
        "started",
        "thread",
        "timed_out",
        "waits_for_token",
        "what",
    )

    def __init__(
        self,
        pool: BlockingPool,
        node: str,
        what: str,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        fence: Fence,
        *,
        limiter: trio.CapacityLimiter | None,
        limit: TimeLimit | None = None,
        shield: bool = False,
        on_late: Callable[[outcome.Outcome[Any]], None] | None = None,
    ) -> None:
        self.pool: BlockingPool = pool
        self.node: str = node
        self.what: str = what
        self.fence: Fence = fence
        self._function = function
        self._args = args
        self._limiter = limiter
        self._on_late = on_late
        self._limit = limit
        self._lock = threading.Lock()
        self._shield = shield
        self._cancelled = False
        self._token_scope: trio.CancelScope | None = None
        self._task: trio.lowlevel.Task | None = None
        self._held: trio.CapacityLimiter | None = None
        self.queued_at: float = math.nan
        self.started: float = math.nan
        self.ended: float = math.nan
        self.thread: int | None = None
        self.result: outcome.Maybe[Any] | None = None
        self.refused: RuntimeError | None = None
        self.timed_out: bool = False
        self.waits_for_token: bool = False
        self.abandoned: bool = False
        self.abandoned_at: float = math.nan
        self.on_return: Callable[[], None] | None = None
        # Ends what the thread waits for, so that it returns by itself; says whether it does.
        self.interrupt: Callable[[], bool] | None = None

    @property
    def waits_for_thread(self) -> bool:
        """Whether the function has not started yet."""
        return self.started != self.started  # NaN

    @property
    def never_runs(self) -> bool:
        """Whether it was given up before its function had started."""
        return self.abandoned and self.waits_for_thread

    def runs_elsewhere(self, worker: WorkerThread) -> bool:
        """Whether another thread has taken it, so that `worker` will only put it aside."""
        return False

    async def run(self, own: WorkerThread | None = None) -> outcome.Maybe[Any] | None:
        """Call the function in a thread of the pool, or in `own`, and wait for it. A checkpoint.

        Returns:
            The outcome, or None: the call was given up. It was then either abandoned
            (`abandoned`) or had not started (`waits_for_thread`).

        Raises:
            RuntimeError: No thread could be started.
        """
        self.queued_at = self.pool.clock()
        try:
            if not self._shield:
                await trio.lowlevel.checkpoint_if_cancelled()
            if own is None:
                await self._take_token()
            if not self._cancelled:
                await self._wait_for(self.pool.take_worker() if own is None else own)
        finally:
            if self._limit is not None:
                self._limit.end()
            if self.result is None:
                self._give_up()
        return self.result

    def cancel(self) -> None:
        """Give the call up: on the loop."""
        if self.interrupt is not None and self.interrupt():
            return
        self._cancelled = True
        if self._token_scope is not None:
            self._token_scope.cancel()
        self._wake()

    def _give_up(self) -> None:
        with self._lock:
            if self.result is not None:
                return  # it returned in the meantime and keeps its result
            self.abandoned = True
            ran = not self.waits_for_thread
        if ran:
            self.abandoned_at = self.pool.clock()
            self.fence.close()
            self.pool.call_left_behind(self)
        elif self._held is not None:
            self.give_back()  # the thread sees `abandoned` before it starts the function

    def work(self) -> None:
        """In the thread."""
        with self._lock:
            if self.abandoned or (self.fence.closed and self.what == "tick"):
                return  # nobody waits for it, or its node is to be safe and begins no tick
            self.thread = threading.get_ident()
            self.started = self.pool.clock()
        result = outcome.capture(self._function, *self._args)
        if isinstance(result, outcome.Value) and inspect.iscoroutine(result.value):
            result.value.close()
            result = outcome.Error(
                NodeError(
                    f"{self.node}.{self.what} returned a coroutine; make it `async def`, "
                    "or do not call async functions without await"
                )
            )
        with self._lock:
            if not self.abandoned:
                self.ended = self.pool.clock()
                self.result = result
                return
        if self._on_late is not None:
            self._on_late(result)

    async def _take_token(self) -> None:
        limiter = self._limiter
        if limiter is None:
            return
        try:  # the call itself is a checkpoint: no need for one more here
            limiter.acquire_on_behalf_of_nowait(self)
        except trio.WouldBlock:
            self.waits_for_token = True
            self.pool.waiting[self] = None
            try:
                with trio.CancelScope(shield=self._shield) as self._token_scope:
                    await limiter.acquire_on_behalf_of(self)
            finally:
                self.waits_for_token = False
                del self.pool.waiting[self]
            if self._token_scope.cancelled_caught:
                return
        self._held = limiter

    async def _wait_for(self, worker: WorkerThread) -> None:
        """Have the thread run it. No scope is needed to give it up: `cancel` ends the waiting."""
        self._task = trio.lowlevel.current_task()
        if self._limit is not None:
            self._limit.begin(self)
        worker.submit(self, contextvars.copy_context())
        await trio.lowlevel.wait_task_rescheduled(self._abort)
        if self.refused is not None:
            raise self.refused

    def _abort(self, _: trio.lowlevel.RaiseCancelT) -> trio.lowlevel.Abort:
        """A scope around the call has been cancelled."""
        if self._shield:
            return trio.lowlevel.Abort.FAILED
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED

    def _wake(self) -> None:
        """Wake the task that waits for the call, if it still does."""
        task, self._task = self._task, None
        if task is not None:
            trio.lowlevel.reschedule(task)

    def returned(self) -> None:
        """The thread has really returned. On the loop."""
        self.give_back()
        self.pool.call_returned(self)
        on_return, self.on_return = self.on_return, None
        if on_return is not None:
            on_return()
        self._wake()

    def give_back(self) -> None:
        """Return the token, once."""
        held, self._held = self._held, None
        if held is not None:
            held.release_on_behalf_of(self)


class TimeLimit:
    """Ends calls of one node that take too long; serves one call after the other.

    Arguments:
        timer: Rings.
        seconds: Time a call has from the moment its function starts.
    """

    __slots__ = ("_alarm", "_call", "_timer", "seconds")

    def __init__(self, timer: Timer, seconds: float) -> None:
        self._timer = timer
        self._alarm: Alarm | None = None
        self._call: ThreadCall | None = None
        self.seconds: float = seconds

    def begin(self, call: ThreadCall) -> None:
        """The call has its token and is about to start."""
        if self._alarm is None:
            self._alarm = self._timer.alarm(self._ring)
        self._call = call
        self._alarm.set(call.pool.clock() + self.seconds)

    def end(self) -> None:
        """The call is over."""
        if self._alarm is not None:
            self._alarm.clear()
        self._call = None

    def _ring(self, now: float) -> None:
        call, alarm = self._call, self._alarm
        if call is None or alarm is None:
            return
        # The thread starts a little after the call got its token, and its time begins there.
        due = (now if call.waits_for_thread else call.started) + self.seconds
        if due > now:
            alarm.set(due)
        else:
            call.timed_out = True
            call.cancel()


class WorkerThread:
    """A thread that runs one call after the other; it is started by the first.

    Arguments:
        name: Of the thread.
        start: Starts its task in a nursery that outlives the calls.
        idle: Called on the loop whenever it has become free; None: nobody else uses it.
    """

    def __init__(
        self,
        name: str,
        start: Callable[[Callable[[], Awaitable[None]]], None],
        idle: Callable[[WorkerThread], None] | None = None,
    ) -> None:
        self._name = name
        self._start = start
        self._idle = idle
        self._serving = False
        self._calls: dict[ThreadCall, None] = {}
        self._jobs: queue.SimpleQueue[tuple[contextvars.Context, ThreadCall] | None] = (
            queue.SimpleQueue()
        )
        self._token = trio.lowlevel.current_trio_token()
        self._scope = trio.CancelScope(shield=True)
        self.ident: int | None = None
        """Of the thread, once it runs."""
        self.is_ending: bool = False
        """Whether it was free when it was told to end, and has yet to."""

    def __repr__(self) -> str:
        return f"<WorkerThread {self._name!r}, {'free' if self.is_free else 'busy'}>"

    @property
    def call(self) -> ThreadCall | None:
        """The call it is in, or None; any thread."""
        return next(iter(self._calls.copy()), None)

    @property
    def is_free(self) -> bool:
        """Whether a call would start at once.

        It would after one whose function has returned, though the loop has yet to hear of it, and
        after one that was given up before the thread took it: that is only put aside.
        """
        return not self._calls or all(
            call.result is not None or call.never_runs or call.runs_elsewhere(self)
            for call in self._calls.copy()
        )

    def has(self, call: ThreadCall) -> bool:
        """Whether a call waits or runs here, as far as the loop knows."""
        return call in self._calls

    def submit(self, call: ThreadCall, context: contextvars.Context) -> None:
        """Have a call run after those submitted before, and do not wait for it.

        On the loop; or, if a call has run here before, in any thread or signal handler.
        """
        self._calls[call] = None
        if not self._serving:
            self._serving = True
            self._start(self._serve)
        self._jobs.put((context, call))

    def finish(self) -> None:
        """No more calls; a thread that is still busy is left behind. On the loop."""
        if self._serving:
            self.is_ending = self.is_free
            self._jobs.put(None)
            if not self.is_ending:
                self._scope.cancel()

    async def _serve(self) -> None:
        with self._scope:
            try:
                await trio.to_thread.run_sync(
                    self._loop,
                    abandon_on_cancel=True,
                    limiter=trio.CapacityLimiter(1),
                    thread_name=self._name,
                )
            except RuntimeError as error:  # no thread could be started; the next call tries again
                self._serving = False
                self._scope = trio.CancelScope(shield=True)  # a scope serves once
                job = self._jobs.get_nowait()
                if job is not None:
                    job[1].refused = error
                    self._deliver(job[1])
            finally:
                self.is_ending = False

    def _loop(self) -> None:
        """In the thread."""
        self.ident = threading.get_ident()
        while (job := self._jobs.get()) is not None:
            context, call = job
            context.run(call.work)
            try:
                self._token.run_sync_soon(self._deliver, call)
            except trio.RunFinishedError:
                return  # nobody waits any more
            del job, context, call  # keep nothing alive while idle

    def _deliver(self, call: ThreadCall) -> None:
        self._calls.pop(call, None)
        if self._idle is not None and self.is_free:
            self._idle(self)
        call.returned()
