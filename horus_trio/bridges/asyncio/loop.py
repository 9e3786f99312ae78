"""`NodeLoop`: the asyncio loop of one node, kept open from before its ``init`` until after its
``shutdown``, and open for Trio code to run asyncio code on.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import importlib
import importlib.util
import logging
import sys
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import Any, Self, TypeVar, TypeVarTuple

import trio

from ...errors import ConfigurationError, NodeError, NotRunning
from ...logs import OffLoopLogger
from ...messages import Fence, current_fence
from ...node import Seat
from ...timer import is_real_time
from .unheard import Unheard
from .watched import Job, Watched

__all__ = ["NodeLoop"]

_OPENING = f"{__package__}.opening"

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class NodeLoop(AbstractAsyncContextManager["NodeLoop"]):
    """The asyncio loop of one node. May be opened again.

    Arguments:
        name: The node's name.
        seat: The node's place in the run.

    Raises:
        ConfigurationError: There can be no such loop here; the message says why.
    """

    def __init__(self, name: str, seat: Seat) -> None:
        _refuse_guest_run(name)
        _require_trio_asyncio(name)
        self._name = name
        self._seat = seat
        self._loop: asyncio.AbstractEventLoop | None = None
        self._unheard: Unheard | None = None
        self._enter_context: Callable[[asyncio.AbstractEventLoop], object] | None = None
        self._opened: AbstractAsyncContextManager[None] | None = None
        self._fence = Fence(name)
        self._jobs: dict[Job, None] = {}
        # asyncio.all_tasks would look at those of all loops of the process.
        self._tasks: weakref.WeakSet[asyncio.Task[Any]] = weakref.WeakSet()
        self._is_closing = False
        self._errors: list[BaseException] = []
        self._log = OffLoopLogger(logging.getLogger(f"horus_trio.node.{name}"))
        self._log.thread = seat.log_thread

    def __repr__(self) -> str:
        state = "closed" if self._loop is None else "open"
        return f"<asyncio loop of node {self._name!r}, {state}>"

    # For the node

    async def run(
        self,
        function: Callable[..., Awaitable[Any]],
        args: tuple[Any, ...],
        fence: Fence | None = None,
        *,
        begins: bool = False,
    ) -> Any:
        """Run asyncio code to its end; Trio code. A checkpoint.

        Arguments:
            function: An async function of asyncio's.
            args: For it.
            fence: What it runs under; None: what the calling task runs under.
            begins: Whether it begins even if it is cancelled before.

        Raises:
            NodeError: The loop has ended, or the code was not asyncio code after all.
            Exception: Whatever the code raises.
        """
        loop, enter_context = self._loop, self._enter_context
        if loop is None or enter_context is None:
            raise self._ended()
        enter_context(loop)  # of this Trio task, which the asyncio task inherits
        context: contextvars.Context | None = None
        if fence is not None:
            context = contextvars.copy_context()
            context.run(current_fence.set, fence)
        job = Job(_call(function, args), begins=begins)
        self._jobs[job] = None
        try:
            return await job.wait(loop, self._name, context)
        finally:
            self._jobs.pop(job, None)

    async def run_init(self, function: Callable[[], Awaitable[Any]]) -> Any:
        """`run_hook` for ``init``: what it begins may publish for as long as the loop is open.

        What a tick begins is fenced off with the tick, when that is cut off.
        """
        return await self.run_hook(function, (), self._fence)

    async def run_hook(
        self,
        function: Callable[..., Awaitable[Any]],
        args: tuple[Any, ...],
        fence: Fence | None = None,
        *,
        begins: bool = False,
    ) -> Any:
        """`run` for a hook: when it ends, the tasks that failed before it have had their time."""
        unheard = self._unheard
        if unheard is None:
            raise self._ended()
        number = unheard.tick_begins()
        try:
            return await self.run(function, args, fence, begins=begins)
        finally:
            unheard.tick_ends(number)

    async def run_trio(self, function: Callable[[*Ts], Awaitable[T]], args: tuple[*Ts]) -> T:
        """Run Trio code to its end; asyncio code."""
        loop: Any = self._loop
        task = asyncio.current_task()
        if loop is None or task is None:
            raise self._ended()
        before = task.cancelling()
        value: T = await loop.trio_as_future(function, *args)
        if task.cancelling() > before:  # it was cancelled as the value came
            raise asyncio.CancelledError
        return value

    # Open and closed

    async def __aenter__(self) -> Self:
        self._opened = self._open()
        await self._opened.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        opened, self._opened = self._opened, None
        if opened is None:
            return None
        return await opened.__aexit__(exc_type, exc, traceback)

    @asynccontextmanager
    async def _open(self) -> AsyncGenerator[None, None]:
        opening = await _import_opening()
        self._is_closing = False
        self._errors = []
        self._fence = Fence(self._name)
        current_fence.set(self._fence)  # what runs on it is the node's, if it blocks Trio
        try:
            async with opening.open_loop(self._threads_left) as loop:
                loop.set_task_factory(self._make_task)
                loop.set_exception_handler(self._handle)
                self._enter_context = opening.current_loop.set
                self._unheard = Unheard(loop, self._seat, self._failed)
                self._loop = loop
                try:
                    yield
                finally:
                    await self._close(loop)
        except BaseExceptionGroup as group:
            raise _flat(group) from None
        finally:
            self._loop = None
            self._fence.close()
            for job in tuple(self._jobs):
                job.lose(self._ended())
        if self._errors:
            raise _flat(BaseExceptionGroup("left-over asyncio code", self._errors))

    async def _close(self, loop: asyncio.AbstractEventLoop) -> None:
        """Cancel what is left over, wait for it, and let the rest of the loop's closing pass."""
        self._is_closing = True
        if loop.is_running():
            with contextlib.suppress(trio.Cancelled):
                await self.run(self._end_tasks, ())
        if self._unheard is not None:
            self._unheard.close()
        self._loop = None
        # Of a loop that has ended by itself nothing will come any more.
        stubborn = self._left_over() if loop.is_running() else [*asyncio.all_tasks(loop)]
        for task in stubborn:
            asyncio._unregister_task(task)  # who closes the loop will not wait for it
        if stubborn:
            names = ", ".join(sorted(repr(task.get_name()) for task in stubborn))
            self._errors.append(
                NodeError(
                    f"asyncio tasks {names} of node {self._name!r} went on although they were "
                    "cancelled, or their loop had ended, and were left behind; let "
                    "CancelledError through"
                )
            )

    async def _end_tasks(self) -> None:
        """Cancel all tasks, also those that are begun meanwhile; asyncio code."""
        while tasks := self._left_over():
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            for task in tasks:
                if not task.cancelled() and (error := task.exception()) is not None:
                    self._errors.append(error)

    def _left_over(self) -> list[asyncio.Task[Any]]:
        return [task for task in self._tasks if not task.done()]

    def _threads_left(self, count: int) -> None:
        self._errors.append(
            NodeError(
                f"{count} thread(s) of node {self._name!r} were left behind in asyncio.to_thread "
                "or run_in_executor; let what they call return soon"
            )
        )

    def _ended(self) -> NodeError:
        return NodeError(f"node {self._name!r}: its asyncio loop has ended")

    # Failures

    def _make_task(
        self,
        loop: asyncio.AbstractEventLoop,
        coroutine: Any,
        **options: Any,
    ) -> asyncio.Task[Any]:
        if isinstance(coroutine, Coroutine):
            created_in = 0 if self._unheard is None else self._unheard.running
            failed = functools.partial(self._task_failed, created_in)
            coroutine = Watched(coroutine, failed)
        task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, **options)
        self._tasks.add(task)
        return task

    def _task_failed(self, created_in: int, error: BaseException) -> None:
        if not isinstance(error, Exception):
            self._failed(error)
            return
        task = asyncio.current_task(self._loop)
        if task is not None and self._unheard is not None:
            self._unheard.add(task, created_in)

    def _handle(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """The exception handler of the loop; any thread, as it may be called by the collector."""
        error = context.get("exception")
        if isinstance(error, BaseException):
            self._failed(error)
        else:
            self._log.warning("node %r: asyncio says: %s", self._name, context.get("message"))

    def _failed(self, error: BaseException) -> None:
        engine = self._seat.engine
        if self._is_closing or engine is None:
            self._errors.append(error)
            return
        with contextlib.suppress(NotRunning):
            engine.fail(error)


async def _call(function: Callable[..., Awaitable[Any]], args: tuple[Any, ...]) -> Any:
    return await function(*args)


def _flat(group: BaseExceptionGroup[Any]) -> BaseException:
    """The one exception in it, or the group."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _require_trio_asyncio(name: str) -> None:
    if importlib.util.find_spec("trio_asyncio") is None:
        raise ConfigurationError(
            f"node {name!r} is an AsyncioNode and needs trio-asyncio, which is not installed: "
            "pip install 'horus-trio[asyncio]'"
        )


async def _import_opening() -> Any:
    """What opens loops. It imports trio-asyncio, and only a node that needs it does so."""
    try:
        if _OPENING in sys.modules or not is_real_time(trio.lowlevel.current_clock()):
            return importlib.import_module(_OPENING)
        # It takes a while, and other nodes may be ticking.
        return await trio.to_thread.run_sync(importlib.import_module, _OPENING)
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(
            f"trio-asyncio cannot be imported here ({error}): it may be older than this Python; "
            "update it, or use the Python that it is made for"
        ) from error


def _refuse_guest_run(name: str) -> None:
    """asyncio knows one running loop a thread: a guest's host, unless it hides as for us."""
    # Not asyncio's own: trio-asyncio replaces that.
    from _asyncio import _get_running_loop

    if _get_running_loop() is not None:
        raise ConfigurationError(
            f"node {name!r} is an AsyncioNode, and this Trio run is in the thread of an asyncio "
            "loop (as its guest), where no other asyncio loop can run: let run_in_asyncio() of "
            "horus_trio.bridges run the scheduler, or have the robot in a thread of its own, `with "
            "horus_trio.background(nodes) as scheduler: …`"
        )
