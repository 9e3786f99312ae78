"""The engine inside an asyncio program: `run_in_asyncio`, on Trio's guest mode.

Trio's tasks run in callbacks of the asyncio loop, in its thread, while a thread of Trio's waits for
what they wait for. Each side finds itself alone: inside such a callback asyncio says that no loop
runs, so that code of nodes, and asyncio loops of nodes, behave as in a plain Trio run.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import sys
from collections.abc import Awaitable, Callable
from typing import Any, ParamSpec, TypeVar, cast

import outcome
import trio

from ...errors import AlreadyRunning, ConfigurationError, NotRunning, add_remedy
from ...scheduler import Scheduler
from ...scheduler.signals import passes_on
from .host import Host
from .signals import HostSignals

__all__ = ["run_in_asyncio"]

P = ParamSpec("P")
T = TypeVar("T")

IN_A_THREAD = (
    "put the engine into a thread of its own: `with horus_trio.background(nodes) as scheduler:`"
)


async def run_in_asyncio(
    async_fn: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs
) -> T:
    """Run a Trio function in this asyncio loop: ``await run_in_asyncio(scheduler.run)``.

    Cancelling the asyncio task cancels the function: a scheduler stops its robot properly. That is
    waited for, however often the task is cancelled; then `asyncio.CancelledError` goes on.

    Signals in the main thread belong to the program: whoever handles SIGINT or SIGTERM, as
    `asyncio.run` and web servers do, still gets them. SIGTERM and SIGHUP that nobody handles do
    what SIGINT does. If nobody handles that either, the function is cancelled, and then
    `KeyboardInterrupt` is raised, or `SystemExit` for the other two.

    Arguments:
        async_fn: A Trio function.
        args: For it.
        kwargs: For it.

    Returns:
        What it returns. What it raises is raised here.

    Raises:
        NotRunning: No asyncio loop runs here, or it is Trio's own, or this is a Trio task.
        AlreadyRunning: Trio runs in this loop already; a loop has room for one.
        ConfigurationError: It is not an async function.
    """
    if not callable(async_fn):
        _refuse_object(async_fn)
    loop = _host_loop()
    host = Host(loop, functools.partial(_make_safe, async_fn))
    scope = trio.CancelScope()
    ended: asyncio.Future[outcome.Outcome[T | None]] = loop.create_future()

    async def main() -> T | None:
        passes_on.set(True)
        with scope:
            return await _call(async_fn, *args, **kwargs)
        return None

    with HostSignals(host, scope.cancel) as signals:
        try:
            trio.lowlevel.start_guest_run(
                main,
                run_sync_soon_threadsafe=host.call_soon_threadsafe,
                run_sync_soon_not_threadsafe=host.call_soon,
                done_callback=ended.set_result,
                host_uses_signal_set_wakeup_fd=True,
            )
        except OSError as error:  # Trio itself needs descriptors
            add_remedy(error)
            raise
        cancelled = await _outlast(ended, scope.cancel)
    value = ended.result().unwrap()
    if cancelled is not None:
        try:
            raise cancelled
        finally:
            del cancelled  # its traceback holds this frame
    signals.exit_if_due()
    return cast(T, value)


async def _outlast(
    ended: asyncio.Future[Any], cancel: Callable[[], None]
) -> asyncio.CancelledError | None:
    """Wait for the end, and do not leave before; returns the first cancellation of this task."""
    cancelled: asyncio.CancelledError | None = None
    while not ended.done():
        try:
            await asyncio.wait([ended])
        except asyncio.CancelledError as error:  # noqa: ASYNC103 - the caller raises it at the end
            cancelled = cancelled or error
            cancel()
    return cancelled


def _make_safe(async_fn: Callable[..., object]) -> None:
    """What a lost loop can no longer stop."""
    scheduler = getattr(async_fn, "__self__", None)
    if isinstance(scheduler, Scheduler):
        scheduler.emergency_stop("its asyncio loop was closed")


async def _call(async_fn: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
    awaitable: Any = async_fn(*args, **kwargs)
    if not inspect.isawaitable(awaitable):
        raise ConfigurationError(
            f"run_in_asyncio({async_fn!r}): expected an async function, this is a plain one: it "
            f"returned {awaitable!r:.80}; call it as it is, or with asyncio.to_thread if it blocks"
        )
    return cast(T, await awaitable)


def _refuse_object(given: object) -> None:
    """Whatever was given instead of a function."""
    if inspect.iscoroutine(given):
        given.close()
        raise ConfigurationError(
            f"run_in_asyncio({given.__qualname__}(…)): expected an async function, got a coroutine "
            f"object; pass the function and its arguments: run_in_asyncio({given.__qualname__}, …)"
        )
    raise ConfigurationError(
        f"run_in_asyncio({given!r}): expected an async function, such as scheduler.run"
    )


def _host_loop() -> asyncio.AbstractEventLoop:
    """The loop this is called in, if it can be a host."""
    trio_asyncio = sys.modules.get("trio_asyncio")
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        loop = None
    if loop is not None and type(loop).__name__ == "SyncTrioEventLoop" and trio_asyncio is not None:
        raise NotRunning(
            "run_in_asyncio(): this asyncio loop was made by trio-asyncio, which makes all loops "
            "of a process once it is imported, and Trio cannot run in it; make asyncio's own: "
            "`with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:`, or "
            f"{IN_A_THREAD}"
        )
    if trio.lowlevel.in_trio_task():
        raise NotRunning(
            "run_in_asyncio() was called inside a Trio run; await the function itself, such as "
            "`await scheduler.run()`"
        )
    if loop is None:
        raise NotRunning(
            "run_in_asyncio() needs a running asyncio loop: `asyncio.run(main())` with an `async "
            "def main()` that awaits it; without asyncio, call scheduler.run() or trio.run(…)"
        )
    if trio.lowlevel.in_trio_run():
        raise AlreadyRunning(
            "run_in_asyncio(): Trio runs in this asyncio loop already, and there is room for one "
            f"run; add the nodes to that scheduler, or {IN_A_THREAD}"
        )
    return loop
