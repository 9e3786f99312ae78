"""The blocking pool: ``def`` code runs in threads, under tokens, and can be left behind.

A call takes its token through itself: it is the limiter handed to `trio.to_thread.run_sync`, so
the token goes back to the real `trio.CapacityLimiter` at the moment of abandonment, not when the
thread returns, which may be never. At most `max_abandoned` threads may be out without a token;
those beyond keep theirs. Whether a call has returned or was abandoned is decided under its lock,
once: a function that had already returned keeps its result.
"""

from __future__ import annotations

import contextvars
import inspect
import math
import queue
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import outcome
import trio

from ..errors import NodeError
from ..messages import Fence
from ..timer import Alarm, Timer

__all__ = [
    "AbandonedThread",
    "BlockingPool",
    "OwnThread",
    "PoolStatistics",
    "ThreadCall",
    "TimeLimit",
]

HOOK_THREADS = 8
"""Threads reserved for ``shutdown``, ``on_error`` and ``enter_safe_state``; they have no queue
behind the ticks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AbandonedThread:
    """A thread that was left behind and has not returned.

    Attributes:
        node: Whose call it is.
        call: Which of its hooks.
        age: Seconds since it was abandoned.
        stack: Where it is now, as text.
    """

    node: str
    call: str
    age: float
    stack: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolStatistics:
    """The blocking pool at one instant.

    Attributes:
        tokens: How many calls may run at once.
        borrowed: How many do, threads beyond `max_abandoned` included.
        waiting: Calls that wait for a token.
        waiting_nodes: Names of the nodes those belong to.
        max_abandoned: How many threads may be out without a token.
        abandoned: The threads that are out.
        exhausted: Whether more than `max_abandoned` are out, so that tokens are held.
    """

    tokens: float
    borrowed: int
    waiting: int
    waiting_nodes: tuple[str, ...]
    max_abandoned: int
    abandoned: tuple[AbandonedThread, ...]
    exhausted: bool


class BlockingPool:
    """Threads for ``def`` code; belongs to one executor.

    Arguments:
        limiter: Gives the tokens of ticks and ``init``; its `total_tokens` is never touched.
        max_abandoned: Threads that may be out without a token.
        timer: Rings at time limits.
        clock: Tells the time in any thread, in seconds.
    """

    def __init__(
        self,
        limiter: trio.CapacityLimiter,
        max_abandoned: int,
        timer: Timer,
        clock: Callable[[], float],
    ) -> None:
        self.limiter = limiter
        self.reserved = trio.CapacityLimiter(HOOK_THREADS)
        self.max_abandoned = max_abandoned
        self.timer = timer
        self.clock = clock
        self._out: dict[ThreadCall, None] = {}
        self._waiting: dict[ThreadCall, None] = {}

    def statistics(self) -> PoolStatistics:
        """A snapshot; any thread."""
        frames = sys._current_frames()
        now = self.clock()
        out = tuple(self._out.copy())
        waiting = tuple(self._waiting.copy())
        return PoolStatistics(
            tokens=self.limiter.total_tokens,
            borrowed=self.limiter.borrowed_tokens,
            waiting=len(waiting),
            waiting_nodes=tuple(call.node for call in waiting),
            max_abandoned=self.max_abandoned,
            abandoned=tuple(
                AbandonedThread(
                    node=call.node,
                    call=call.what,
                    age=max(0.0, now - call.abandoned_at),
                    stack=_stack(frames.get(call.thread or 0)),
                )
                for call in out
            ),
            exhausted=len(out) > self.max_abandoned,
        )

    def close(self) -> None:
        """Give back the tokens of threads that are still out, so that the limiter can serve on."""
        for call in self._out:
            call.give_back()
        self._out.clear()

    def _left_behind(self, call: ThreadCall) -> None:
        self._out[call] = None
        if len(self._out) <= self.max_abandoned:
            call.give_back()

    def _returned(self, call: ThreadCall) -> None:
        self._out.pop(call, None)


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
        on_late: Called in the thread with the outcome, if the call was abandoned before.
    """

    __slots__ = (
        "_args",
        "_function",
        "_held",
        "_limit",
        "_limiter",
        "_lock",
        "_on_late",
        "_scope",
        "_task",
        "abandoned",
        "abandoned_at",
        "ended",
        "fence",
        "node",
        "on_return",
        "pool",
        "queued_at",
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
        on_late: Callable[[outcome.Outcome[Any]], None] | None = None,
    ) -> None:
        self.pool = pool
        self.node = node
        self.what = what
        self.fence = fence
        self._function = function
        self._args = args
        self._limiter = limiter
        self._on_late = on_late
        self._limit = limit
        self._lock = threading.Lock()
        self._scope = trio.CancelScope()
        self._task: trio.lowlevel.Task | None = None
        self._held: trio.CapacityLimiter | None = None
        self.queued_at = math.nan
        self.started = math.nan
        self.ended = math.nan
        self.thread: int | None = None
        self.result: outcome.Maybe[Any] | None = None
        self.timed_out = False
        self.waits_for_token = False
        self.abandoned = False
        self.abandoned_at = math.nan
        self.on_return: Callable[[], None] | None = None

    @property
    def waits_for_thread(self) -> bool:
        """Whether the function has not started yet."""
        return self.started != self.started  # NaN

    async def run(self, own: OwnThread | None = None) -> outcome.Maybe[Any] | None:
        """Call the function in a thread of the pool, or in `own`, and wait for it. A checkpoint.

        Returns:
            The outcome, or None: the call was given up. It was then either abandoned
            (`abandoned`) or had not started (`waits_for_thread`).
        """
        self.queued_at = self.pool.clock()
        try:
            with self._scope:
                if own is not None:
                    await own.execute(self)
                else:
                    await trio.to_thread.run_sync(
                        self._work,
                        abandon_on_cancel=True,
                        limiter=cast("trio.CapacityLimiter", self),
                        thread_name=f"{self.node}.{self.what}",
                    )
        finally:
            if self._limit is not None:
                self._limit.end()
            if self.result is None:
                self._give_up()
        return self.result

    def cancel(self) -> None:
        """Give the call up: on the loop."""
        self._scope.cancel()

    def _give_up(self) -> None:
        with self._lock:
            if self.result is not None:
                return  # it returned in the meantime and keeps its result
            self.abandoned = True
            ran = not self.waits_for_thread
        if ran:
            self.abandoned_at = self.pool.clock()
            self.fence.close()
            self.pool._left_behind(self)
        elif self._held is not None:
            self.give_back()  # the thread sees `abandoned` before it starts the function

    def _work(self) -> None:
        """In the thread."""
        with self._lock:
            if self.abandoned:
                return
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

    # The limiter protocol of trio.to_thread.run_sync

    async def acquire_on_behalf_of(self, borrower: object) -> None:
        """Take the token from the real limiter. A checkpoint."""
        limiter = self._limiter
        if limiter is not None:
            try:  # the call that follows is a checkpoint: no need for one more here
                limiter.acquire_on_behalf_of_nowait(self)
            except trio.WouldBlock:
                self.waits_for_token = True
                self.pool._waiting[self] = None
                try:
                    await limiter.acquire_on_behalf_of(self)
                finally:
                    self.waits_for_token = False
                    del self.pool._waiting[self]
            self._held = limiter
        self._begin_limit()

    def release_on_behalf_of(self, borrower: object) -> None:
        """The thread has really returned; on the loop."""
        self.give_back()
        self.pool._returned(self)
        on_return, self.on_return = self.on_return, None
        if on_return is not None:
            on_return()

    def give_back(self) -> None:
        """Return the token, once."""
        held, self._held = self._held, None
        if held is not None:
            held.release_on_behalf_of(self)

    def _begin_limit(self) -> None:
        if self._limit is not None:
            self._limit.begin(self)


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
        self.seconds = seconds

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


class OwnThread:
    """One thread for all ``def`` hooks of a node. `serve` is its task.

    It is itself one long blocking call, so `trio.from_thread` works in it, and at the end it can
    be left behind like any other.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: queue.SimpleQueue[tuple[contextvars.Context, ThreadCall] | None] = (
            queue.SimpleQueue()
        )
        self._token = trio.lowlevel.current_trio_token()
        self._current: ThreadCall | None = None

    @property
    def is_free(self) -> bool:
        """Whether a call would start at once."""
        return self._current is None

    async def serve(self) -> None:
        """Run jobs until `finish`; cancelled, a thread that does not return is left behind."""
        await trio.to_thread.run_sync(
            self._loop,
            abandon_on_cancel=True,
            limiter=trio.CapacityLimiter(1),
            thread_name=self._name,
        )

    def finish(self) -> None:
        """No more jobs."""
        self._jobs.put(None)

    async def execute(self, call: ThreadCall) -> None:
        """Run a call in this thread. A checkpoint; cancelled, the call goes on unobserved."""
        await trio.lowlevel.checkpoint_if_cancelled()
        call._begin_limit()
        call._task = trio.lowlevel.current_task()
        self._current = call
        self._jobs.put((contextvars.copy_context(), call))

        def abort(_: trio.lowlevel.RaiseCancelT) -> trio.lowlevel.Abort:
            call._task = None
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    def _loop(self) -> None:
        """In the thread."""
        while (job := self._jobs.get()) is not None:
            context, call = job
            context.run(call._work)
            try:
                self._token.run_sync_soon(self._deliver, call)
            except trio.RunFinishedError:
                return  # the run is over; nobody waits
            del job, context, call  # keep nothing alive while idle

    def _deliver(self, call: ThreadCall) -> None:
        self._current = None
        call.release_on_behalf_of(None)
        task, call._task = call._task, None
        if task is not None:
            trio.lowlevel.reschedule(task)


def _stack(frame: Any) -> str:
    return "".join(traceback.format_stack(frame)) if frame is not None else ""
