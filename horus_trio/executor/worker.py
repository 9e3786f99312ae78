"""Where a node's code runs: ``async`` hooks on the loop, ``def`` hooks in a thread, one at a time.

A node whose thread was left behind is *stuck* until the thread returns; then none of its other
hooks runs, save ``shutdown`` at the end, since closing is often what frees a reader.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import outcome
import trio

from ..errors import HookTimedOut, TickCancelled
from ..messages import Fence, current_fence
from ..node import Hook
from ..timer import Timer
from .pool import BlockingPool
from .threads import ThreadCall, TimeLimit, WorkerThread

__all__ = ["FAILURES", "FORCED_GRACE", "Worker", "run_async_hook"]

FORCED_GRACE = 0.3
"""Seconds a hook has once the stop is forced, at most."""

ALWAYS_IN_OWN = ("init", "tick")
"""Hooks that wait for the node's own thread, however long it is in another hook."""

FAILURES = (Exception, SystemExit, KeyboardInterrupt)
"""What node code may raise; all else (`trio.Cancelled`, GeneratorExit) is not the node's."""


class Worker:
    """Runs the code of one node.

    Arguments:
        name: The node's name.
        pool: The blocking pool.
        timer: Rings at time limits.
        limiter: Gives tokens for ticks and ``init``.
        own: The node's own thread, or None: it uses the pool.
        tick_limit: Seconds for a ``def`` tick, or None: without limit.

    Attributes:
        fence: What the node's code runs under now.
        call: The thread call a tick or ``init`` is in, or None; `cancel` gives it up.
        tick_limit: Seconds for a ``def`` tick, or None: without limit.
        own: The node's own thread, or None: it uses the pool.
        stuck: An event set when the thread that was left behind returns, or None.
    """

    __slots__ = (
        "_forced",
        "_forced_grace",
        "_hook_call",
        "_hook_scope",
        "_limiter",
        "_name",
        "_pool",
        "_tick_limit",
        "_timer",
        "call",
        "fence",
        "own",
        "stuck",
        "tick_limit",
    )

    def __init__(
        self,
        name: str,
        pool: BlockingPool,
        timer: Timer,
        limiter: trio.CapacityLimiter,
        own: WorkerThread | None,
        tick_limit: float | None,
    ) -> None:
        self.fence: Fence = Fence(name)
        self.call: ThreadCall | None = None
        self.stuck: trio.Event | None = None
        self._name = name
        self._pool = pool
        self._timer = timer
        self._limiter = limiter
        self.own: WorkerThread | None = own
        self.tick_limit: float | None = tick_limit
        self._tick_limit: TimeLimit | None = None  # made for the first ``def`` tick
        self._forced = False
        self._forced_grace = FORCED_GRACE
        self._hook_scope: trio.CancelScope | None = None
        self._hook_call: ThreadCall | None = None

    @property
    def is_forced(self) -> bool:
        """Whether the stop was forced."""
        return self._forced

    async def call_tick(self, hook: Hook) -> ThreadCall:
        """Run a ``def`` tick in a thread; look at the call for what became of it. A checkpoint.

        Raises:
            RuntimeError: No thread could be started.
        """
        if self._tick_limit is None and self.tick_limit is not None:
            self._tick_limit = TimeLimit(self._timer, self.tick_limit)
        call = ThreadCall(
            self._pool,
            self._name,
            hook.name,
            hook.call,
            (),
            self.fence,
            limiter=self._limiter,
            limit=self._tick_limit,
            shield=True,  # only `cancel` ends it, and is answered: a tick has to be settled
        )
        self.call = call
        try:
            await self._run(call)
        finally:
            self.call = None
        return call

    async def call_hook(
        self,
        hook: Hook,
        seconds: float,
        args: tuple[Any, ...] = (),
        on_late: Callable[[outcome.Outcome[Any]], None] | None = None,
    ) -> BaseException | None:
        """Run a hook under a time limit. A checkpoint.

        Arguments:
            hook: ``init`` takes its thread from the pool, all others have reserved ones.
            seconds: Its limit.
            args: For the hook.
            on_late: Called in the thread if the hook comes to an end after it was given up.

        Returns:
            What it raised, `HookTimedOut`, or None.
        """
        if self._forced:
            seconds = min(seconds, self._forced_grace)
        if hook.is_async:
            return await self._call_on_loop(hook, seconds, args)
        limiter: trio.CapacityLimiter | None = self._limiter
        if hook.name != "init":
            limiter = None if self._forced else self._pool.reserved
        call = self._prepare(hook, seconds, args, limiter, on_late)
        error = await self._start(call)
        if call.waits_for_thread and self._forced and limiter is self._pool.reserved:
            # Every hook is at least started, if need be beside the reserved threads.
            seconds = self._forced_grace
            call = self._prepare(hook, seconds, args, None, on_late)
            error = await self._start(call)
        if call.result is None and hook.name == "init" and not call.timed_out and error is None:
            return TickCancelled(f"init of node {self._name!r} was cancelled")
        if call.result is None:
            return error or self._too_long(hook, seconds)
        return call.result.error if isinstance(call.result, outcome.Error) else None

    async def wait_while_stuck(self) -> None:
        """Wait for the thread that was left behind, if any."""
        if self.stuck is not None:
            await self.stuck.wait()

    def renew_fence(self, *, expired: bool = False) -> None:
        """Close the fence and put up a new one; in the node's task.

        Arguments:
            expired: Whether the code under the new one should return soon.
        """
        self.fence.close()
        self.fence = fence = Fence(self._name)
        if expired:
            fence.expire()
        current_fence.set(fence)

    def cancel(self) -> None:
        """Give the thread call of a tick or of ``init`` up; on the loop."""
        if self.call is not None:
            self.call.cancel()

    def force(self, now: float, grace: float) -> None:
        """Hurry: hooks have `grace` seconds from now, and no more queueing."""
        self._forced = True
        self._forced_grace = grace
        scope, call = self._hook_scope, self._hook_call
        if call is not None and call.waits_for_thread:
            call.cancel()
        elif scope is not None:
            scope.deadline = min(scope.deadline, now + grace)

    def _prepare(
        self,
        hook: Hook,
        seconds: float,
        args: tuple[Any, ...],
        limiter: trio.CapacityLimiter | None,
        on_late: Callable[[outcome.Outcome[Any]], None] | None,
    ) -> ThreadCall:
        return ThreadCall(
            self._pool,
            self._name,
            hook.name,
            hook.call,
            args,
            self.fence,
            limiter=limiter,
            limit=TimeLimit(self._timer, seconds),
            # An init is ended by `cancel` alone, and is answered: once it has succeeded, its node
            # has to be shut down.
            shield=hook.name == "init",
            on_late=on_late,
        )

    async def _start(self, call: ThreadCall) -> Exception | None:
        self._hook_call = call
        if call.what == "init":
            self.call = call
        try:
            with trio.CancelScope() as self._hook_scope:
                await self._run(call)
        except RuntimeError as error:  # no thread could be started
            return error
        finally:
            self.call = self._hook_call = self._hook_scope = None
        return None

    async def _run(self, call: ThreadCall) -> None:
        own = self.own
        if own is not None and not own.is_free and call.what not in ALWAYS_IN_OWN:
            own = None  # it is out; closing, which may free it, uses a reserved thread
        try:
            await call.run(own)
        finally:
            if call.result is None and not call.waits_for_thread:
                self._become_stuck(call)

    def _become_stuck(self, call: ThreadCall) -> None:
        stuck = self.stuck = trio.Event()

        def returned() -> None:
            if self.stuck is stuck:
                self.stuck = None
            stuck.set()

        call.on_return = returned

    async def _call_on_loop(
        self, hook: Hook, seconds: float, args: tuple[Any, ...]
    ) -> BaseException | None:
        try:
            with trio.move_on_after(seconds) as self._hook_scope:
                return await run_async_hook(hook, *args)
        finally:
            self._hook_scope = None
        return self._too_long(hook, seconds)

    def _too_long(self, hook: Hook, seconds: float) -> HookTimedOut:
        return HookTimedOut(f"{hook.name} of node {self._name!r} took longer than {seconds:g} s")


async def run_async_hook(hook: Hook, *args: Any) -> BaseException | None:
    """Call an ``async`` hook; returns what it raised, or None. A checkpoint if the hook is one.

    Raises:
        trio.Cancelled: It was cancelled, and raised nothing else.
    """
    try:
        await hook.call(*args)
    except FAILURES as error:
        return error
    except BaseExceptionGroup as group:
        cancelled, errors = group.split(trio.Cancelled)
        if cancelled is not None and errors is None:
            raise
        return errors
    return None
