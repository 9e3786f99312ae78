"""Opens asyncio loops on Trio. Imports trio-asyncio, so it is imported where a loop is needed.

Importing trio-asyncio makes its own loops the default of the whole process, so that every later
``asyncio.run`` in any thread would get one. What needs it here is only that of asyncio code in a
Trio run, so the default is put back to what it was.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import sys
import warnings
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio

from ...helpers.at_work import current_at_work

_is_ours = "trio_asyncio" not in sys.modules

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # on Python 3.13, of what 3.14 has no more
    import trio_asyncio
    from trio_asyncio import _loop as inside

__all__ = ["current_loop", "open_loop"]

if _is_ours:
    faked: Any = inside._FakedPolicy
    faked.policy = inside._original_policy  # that of every thread which has not set another one


def _have_no_pipe(loop: object) -> None:
    """In place of making and closing it."""


loop_class: Any = trio_asyncio.TrioEventLoop
# asyncio wakes its selector by two sockets. These loops have none to be woken, and as many nodes as
# there may be would be out of descriptors.
loop_class._make_self_pipe = loop_class._close_self_pipe = _have_no_pipe

current_loop = trio_asyncio.current_loop
"""The context variable that says which loop the asyncio code of a context runs on."""

THREADS = 32
"""Threads that one loop may have at once in ``asyncio.to_thread``; as many as asyncio's own."""

THREADS_GRACE = 0.2
"""Seconds for which the closing of a loop waits for those that are still out."""


class _Threads(trio_asyncio.TrioExecutor):  # type: ignore[misc]
    """Runs blocking functions in threads, which are left behind when they are cancelled.

    So that a time limit of the tick that waits for one is kept, as it is in asyncio. Virtual time
    waits for them.
    """

    def __init__(self) -> None:
        self._tokens = trio.CapacityLimiter(THREADS)
        super().__init__(self._tokens)

    async def submit(self, func: Callable[..., Any], *args: Any) -> Any:
        with current_at_work().waited_for():
            return await trio.to_thread.run_sync(
                func, *args, limiter=self._tokens, abandon_on_cancel=True
            )

    async def count_left(self) -> int:
        """How many threads are out and do not return soon; it takes no more calls.

        A checkpoint only if there are any.
        """
        limiter = self._tokens
        limiter.total_tokens = 1  # so that there is one to be had when all have returned
        if limiter.borrowed_tokens:
            with trio.move_on_after(THREADS_GRACE) as scope:
                scope.shield = True
                await limiter.acquire()
                limiter.release()
        return int(limiter.borrowed_tokens)


@asynccontextmanager
async def open_loop(
    tell_left: Callable[[int], None],
) -> AsyncGenerator[asyncio.AbstractEventLoop, None]:
    """Open a loop, for Trio code.

    Arguments:
        tell_left: Called at the end if threads were left behind, with how many.
    """
    threads = _Threads()
    async with trio_asyncio.open_loop() as opened:
        loop: Any = opened
        loop.set_default_executor(threads)
        loop.run_in_executor = _also_in_others(loop, loop.run_in_executor)
        loop.stop, stop = _refuse_stop, loop.stop
        try:
            yield loop
        finally:
            loop.stop = stop
    if left := await threads.count_left():
        tell_left(left)


def _also_in_others(
    loop: asyncio.AbstractEventLoop, run: Callable[..., asyncio.Future[Any]]
) -> Callable[..., asyncio.Future[Any]]:
    """``run_in_executor``, also with executors that are not Trio's."""

    def run_in_executor(executor: Any, function: Callable[..., Any], *args: Any) -> Any:
        if isinstance(executor, concurrent.futures.Executor) and not isinstance(
            executor, trio_asyncio.TrioExecutor
        ):
            at_work, work = current_at_work(), object()
            at_work.begin(work)
            future = asyncio.wrap_future(executor.submit(function, *args), loop=loop)
            future.add_done_callback(lambda future: at_work.end(work))
            return future
        return run(executor, function, *args)

    return run_in_executor


def _refuse_stop(*args: object) -> None:
    raise RuntimeError(
        "loop.stop() in an AsyncioNode: the engine has opened this loop and closes it; call "
        "self.request_stop() to stop the robot"
    )
