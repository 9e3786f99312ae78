"""The blocking pool: who may run ``def`` code now, and which threads have been left behind.

Tokens come from a `trio.CapacityLimiter`. A call that is abandoned gives its token back at that
moment, not when its thread returns, which may be never. At most `max_abandoned` threads may be out
without a token; those beyond keep theirs, so the number of threads stays bounded.
"""

from __future__ import annotations

import itertools
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio

from ..timer import Timer
from .frames import frames_of_thread, only_measures
from .threads import ThreadCall, WorkerThread

__all__ = ["AbandonedThread", "BlockingPool", "PoolStatistics", "stack_of"]

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
        start: Starts a task in the executor's nursery.
    """

    def __init__(
        self,
        limiter: trio.CapacityLimiter,
        max_abandoned: int,
        timer: Timer,
        clock: Callable[[], float],
        start: Callable[[Callable[[], Awaitable[None]]], None],
    ) -> None:
        self.limiter = limiter
        self.reserved: trio.CapacityLimiter = trio.CapacityLimiter(HOOK_THREADS)
        self.max_abandoned = max_abandoned
        self.timer = timer
        self.clock = clock
        self._out: dict[ThreadCall, None] = {}
        self.waiting: dict[ThreadCall, None] = {}
        self._start = start
        self._workers: list[WorkerThread] = []
        self._free: list[WorkerThread] = []

    def statistics(self) -> PoolStatistics:
        """A snapshot; any thread."""
        now = self.clock()
        out = tuple(self._out.copy())
        waiting = tuple(self.waiting.copy())
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
                    stack=stack_of(call.thread),
                )
                for call in out
            ),
            exhausted=len(out) > self.max_abandoned,
        )

    def calls(self) -> list[ThreadCall]:
        """The calls whose threads have not returned, abandoned ones included. On the loop."""
        return [call for worker in self._workers if (call := worker.call) is not None]

    def ending(self) -> int:
        """How many threads without a call have been told to end, and have yet to. On the loop."""
        return sum(worker.is_ending for worker in self._workers)

    def take_worker(self) -> WorkerThread:
        """A free thread; the one used last, or else a new one. On the loop."""
        if self._free:
            return self._free.pop()
        worker = WorkerThread(f"pool {len(self._workers) + 1}", self._start, self._free.append)
        self._workers.append(worker)
        return worker

    def own_worker(self, name: str) -> WorkerThread:
        """A thread for one node alone. On the loop."""
        worker = WorkerThread(name, self._start)
        self._workers.append(worker)
        return worker

    def call_left_behind(self, call: ThreadCall) -> None:
        """A call was abandoned: its token is free, within the bound."""
        self._out[call] = None
        if len(self._out) <= self.max_abandoned:
            call.give_back()

    def call_returned(self, call: ThreadCall) -> None:
        """The thread of a call has returned; one beyond the bound may be within it now."""
        self._out.pop(call, None)
        for other in itertools.islice(self._out, self.max_abandoned):
            other.give_back()

    def close(self) -> None:
        """End the threads; those still out give their tokens back, and the limiter serves on."""
        for call in self._out:
            call.give_back()
        self._out.clear()
        for worker in self._workers:
            worker.finish()


def stack_of(thread: int | None) -> str:
    """Where a thread is, as text, without the frames that only lead to the node's code."""
    codes = [(frame.f_code, line) for frame, line in frames_of_thread(thread)]
    for depth, (code, _) in enumerate(codes):
        if code is ThreadCall.work.__code__:
            codes = codes[:depth]
            break
    return "".join(
        traceback.format_list(
            traceback.FrameSummary(code.co_filename, line, code.co_name)
            for code, line in reversed(codes)
            if "/outcome/" not in code.co_filename and not only_measures(code.co_filename)
        )
    )
