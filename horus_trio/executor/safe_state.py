"""One node's way into its safe state: called at once, beside whatever the node does, and once.

``enter_safe_state`` waits for nobody. A ``def`` hook of a critical node has a thread that was
started for it when the node was, so neither the pool nor the loop has to do anything; an ``async``
hook needs the loop. A tick in flight has `TICK_GRACE` seconds to end, so that nothing it writes
follows what the hook writes; then the hook is called beside it.
"""

from __future__ import annotations

import contextlib
import functools
import math
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import outcome
import trio

from ..errors import HookTimedOut
from ..messages import Fence, current_fence
from ..node import Hook
from .pool import BlockingPool
from .threads import ThreadCall, WorkerThread
from .worker import run_async_hook

if TYPE_CHECKING:
    from .executor import AsyncIOExecutor

__all__ = ["TICK_GRACE", "SafeState"]

TICK_GRACE = 0.05
"""Seconds a tick in flight has to end before ``enter_safe_state`` is called beside it."""

LOOK_EVERY = 0.001
"""Seconds between two looks at that tick."""


class SafeState:
    """Calls the ``enter_safe_state`` of one node, at most once in an episode.

    Arguments:
        executor: Whose loop and threads are used.
        name: The node's name.
        seconds: Time limit of the hook.
        own: The node's own thread, or None: it uses the pool.
        ready: Whether the hook gets a thread of its own beforehand: the node is critical.
        is_ending: Whether a tick is running that has been told to end; any thread.
        failed: Called on the loop with what the hook raised.

    Attributes:
        hook: The hook, or None.
        live: Whether the node has something to be made safe: between ``init`` and ``shutdown``.
        allowance: Seconds from the call to the moment from which the hook is overdue.
        called: When the hook was called in this episode, in seconds; NaN: it was not.
    """

    __slots__ = (
        "_call",
        "_clock",
        "_ended",
        "_error",
        "_executor",
        "_failed",
        "_is_ending",
        "_is_over",
        "_name",
        "_once",
        "_over",
        "_own",
        "_passing",
        "_pool",
        "_ready",
        "_scopes",
        "_seconds",
        "_started",
        "_thread",
        "_tick_over",
        "_token",
        "_until",
        "allowance",
        "called",
        "hook",
        "live",
    )

    def __init__(
        self,
        executor: AsyncIOExecutor,
        name: str,
        *,
        seconds: float,
        own: WorkerThread | None,
        ready: bool,
        is_ending: Callable[[], bool],
        failed: Callable[[BaseException], None],
    ) -> None:
        self.hook: Hook | None = None
        self.live: bool = False
        self.allowance: float = TICK_GRACE + seconds
        self._seconds = seconds
        self._executor = executor
        self._pool: BlockingPool = executor.pool
        self._clock = executor.clock
        self._token = trio.lowlevel.current_trio_token()
        self._name = name
        self._own = own
        self._ready = ready
        self._is_ending = is_ending
        self._failed = failed
        self._thread: WorkerThread | None = None
        self._until = math.inf
        self._scopes: list[trio.CancelScope] = []
        self._tick_over: trio.Event | None = None
        self.renew()

    @classmethod
    def of_nothing(cls, executor: AsyncIOExecutor) -> SafeState:
        """One without a hook, so that it never calls anything: many nodes may share it."""
        return cls(
            executor,
            "nobody",
            seconds=0.0,
            own=None,
            ready=False,
            is_ending=lambda: False,
            failed=lambda error: None,
        )

    def __repr__(self) -> str:
        state = "out" if self.is_out else "called" if self.called == self.called else "not called"
        return f"<SafeState of {self._name!r}, {state}>"

    # How far the call of this episode is; any thread, also while the loop is blocked

    @property
    def is_out(self) -> bool:
        """Whether the hook was called, or is just being called, and has not ended."""
        return self._once.locked() and self.ended != self.ended

    @property
    def started(self) -> float:
        """When the hook started, in seconds; NaN: it did not."""
        return self._started if self._call is None else self._call.started

    @property
    def ended(self) -> float:
        """When it returned, raised or was cancelled, in seconds; NaN: it did not."""
        return self._ended if self._call is None else self._call.ended

    @property
    def error(self) -> BaseException | None:
        """What it raised, or None."""
        call = self._call
        if call is None:
            return self._error
        return call.result.error if isinstance(call.result, outcome.Error) else None

    # Calling it

    def renew(self) -> None:
        """A new episode: the hook may be called again. On the loop."""
        self._once = threading.Lock()
        self._is_over = False
        self._over: trio.Event | None = None
        self._call: SafeCall | None = None
        self._started = math.nan
        self._ended = math.nan
        self._error: BaseException | None = None
        self._passing = False
        self.called: float = math.nan

    async def prepare(self) -> None:
        """Start the thread of a critical node's ``def`` hook. A checkpoint only if it does.

        Raises:
            RuntimeError: No thread could be started.
        """
        if not self._ready or self.hook is None or self.hook.is_async:
            return
        if self._thread is None:
            self._thread = self._pool.own_worker(f"{self._name} safe state")
            await self._warm(self._thread)
        if self._own is not None and self._own.ident is None:
            await self._warm(self._own)

    async def _warm(self, thread: WorkerThread) -> None:
        fence = Fence(self._name)
        call = ThreadCall(self._pool, self._name, "prepare", _nothing, (), fence, limiter=None)
        await call.run(thread)

    def pass_through(self) -> None:
        """Call the hook, unless it is out, for no longer than it takes: no emergency. On the loop.

        One that comes meanwhile calls it again.
        """
        if self.called != self.called:
            self._passing = True
            self.enter()

    def enter(self) -> None:
        """Call the hook, unless that has been done in this episode.

        On the loop; for a critical node in any thread and any signal handler.
        """
        hook = self.hook
        if not self.live or hook is None or not self._once.acquire(blocking=False):
            return
        self.called = self._clock()
        if hook.is_async:
            self._token.run_sync_soon(self._begin, hook)
            return
        fence = Fence(self._name)
        call = self._call = SafeCall(
            self._pool, self._name, hook, fence, self._own, self._is_ending
        )
        call.on_return = functools.partial(self._returned, call)
        thread = self._thread or self._pool.take_worker()
        for worker in (self._own, thread):
            if worker is not None:
                context = self._executor.clean_context.copy()
                context.run(current_fence.set, fence)
                worker.submit(call, context)
        self._token.run_sync_soon(self._watch, call)

    def tick_ended(self) -> None:
        """A tick that was in flight has ended. On the loop."""
        if self._tick_over is not None:
            self._tick_over.set()

    def hurry(self, until: float) -> None:
        """Wait for the hook until this instant at most (seconds). On the loop."""
        self._until = until
        for scope in self._scopes:
            scope.deadline = min(scope.deadline, until)

    async def close(self) -> None:
        """The node's shutdown begins: nothing more is made safe. A checkpoint if a call is out.

        Waits for it as long as it may take; one that is still out then is left behind.
        """
        self.live = False
        call = self._call
        await self.through()
        if call is not None:
            self._overdue(call)

    async def through(self) -> None:
        """Wait for a call that is out, as long as it may take. A checkpoint if there is one."""
        if self.called != self.called or self._is_over:
            return
        if self._over is None:
            self._over = trio.Event()
        with self._bounded(self.called + self.allowance):
            await self._over.wait()

    @contextlib.contextmanager
    def _bounded(self, deadline: float) -> Iterator[None]:
        with trio.CancelScope(deadline=min(deadline, self._until)) as scope:
            self._scopes.append(scope)
            try:
                yield
            finally:
                self._scopes.remove(scope)

    # A def hook, on the loop

    def _watch(self, call: SafeCall) -> None:
        if not call.is_over:
            alarm = self._executor.timer.alarm(lambda now: self._overdue(call))
            alarm.set(self.called + self.allowance)

    def _overdue(self, call: SafeCall) -> None:
        if not call.is_over and call.leave_behind():
            self._failed(self._too_long("its thread was left behind"))
            self._executor.safety.announce()

    def _returned(self, call: SafeCall) -> None:
        if call.refused is not None:
            call.result, call.ended = outcome.Error(call.refused), self._clock()
        if call is self._call:
            self._end()

    # An async hook, on the loop

    def _begin(self, hook: Hook) -> None:
        self._executor.start_soon(self._run_on_loop, hook)

    async def _run_on_loop(self, hook: Hook) -> None:
        current_fence.set(Fence(self._name))
        error: BaseException | None = self._too_long("it was cancelled")
        with trio.CancelScope(shield=True):
            if self._is_ending():
                self._tick_over = trio.Event()
                with trio.move_on_after(TICK_GRACE):
                    await self._tick_over.wait()
                self._tick_over = None
            self._started = self._clock()
            with self._bounded(self._started + self._seconds):
                error = await run_async_hook(hook)
        self._error = error
        self._ended = self._clock()
        self._end()

    def _end(self) -> None:
        self._is_over = True
        if self._over is not None:
            self._over.set()
        if self.error is not None:
            self._failed(self.error)
        if self._passing:
            self.renew()
            if self._ready and self._executor.safety.is_tripped:
                self.enter()
        self._executor.safety.announce()

    def _too_long(self, fate: str) -> HookTimedOut:
        return HookTimedOut(
            f"enter_safe_state of node {self._name!r} took longer than {self._seconds:g} s; {fate}"
        )


class SafeCall(ThreadCall):
    """A ``def enter_safe_state``: offered to two threads if the node has its own, run by one."""

    __slots__ = ("_busy", "_own", "_taken")

    def __init__(
        self,
        pool: BlockingPool,
        node: str,
        hook: Hook,
        fence: Fence,
        own: WorkerThread | None,
        busy: Callable[[], bool],
    ) -> None:
        super().__init__(pool, node, hook.name, hook.call, (), fence, limiter=None)
        self._own = own
        self._busy = busy
        self._taken = False

    @property
    def is_over(self) -> bool:
        """Whether it has returned or will never run."""
        return self.result is not None or self.refused is not None

    def runs_elsewhere(self, worker: WorkerThread) -> bool:
        return self.thread is not None and self.thread != worker.ident

    def work(self) -> None:
        """In the thread."""
        if self._own is None or self._own.ident != threading.get_ident():
            self._await_tick()
        with self._lock:
            if self._taken:
                return
            self._taken = True
        super().work()

    def _await_tick(self) -> None:
        """The node's own thread takes the call as soon as it is free; else the tick is to end."""
        # In real time whatever the run's clock is: this thread must not depend on the loop.
        deadline = time.monotonic() + TICK_GRACE
        while time.monotonic() < deadline and not self._taken:
            if self._own is None and not self._busy():
                return
            time.sleep(LOOK_EVERY)

    def leave_behind(self) -> bool:
        """Count its thread as left behind; once. It may still publish: late is better than never.

        Returns:
            Whether it was not counted before.
        """
        if self.abandoned_at == self.abandoned_at:
            return False
        self.abandoned_at: float = self.pool.clock()
        self.pool.call_left_behind(self)
        return True

    def returned(self) -> None:
        """A thread has put it aside or has returned from it. On the loop."""
        own = self._own
        # The other thread may be told first, but the node's own is to be free for the next hook.
        runs_in_own = own is not None and own.ident == self.thread and own.has(self)
        if self.is_over and not runs_in_own:
            super().returned()


def _nothing() -> None:
    pass
