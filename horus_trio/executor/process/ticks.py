"""`ProcessTicks`: the ticks of one node in a worker process that is its own, and can be killed.

A thread of the pool packs the node and its inputs, waits for the worker, and carries out what the
tick did there: so tokens, fence and accounting are those of any ``def`` tick. What is different is
the end of time: the worker is killed, and the thread returns. Nothing of a tick is carried out
before it has come to an end, but for what it took of its inputs: that is taken whatever becomes of
the worker, and what it did not take waits for the next tick.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib
import logging
import math
import multiprocessing
import signal
import threading
import time
from collections.abc import AsyncGenerator, Callable
from typing import Any, assert_never

import trio

from ...errors import (
    ConfigurationError,
    HorusError,
    NodeError,
    TickAbandoned,
    TickCancelled,
    TickTimedOut,
    WorkerFailed,
)
from ...node import Hook, Hooks, Node, NodeOptions, Seat
from ..threads import ThreadCall
from ..worker import Worker
from .far_side import begin, rehearse, work
from .parcels import (
    EmergencyAsked,
    Input,
    Job,
    Logged,
    NodeParcel,
    Parcel,
    Reply,
    Sent,
    StopAsked,
    dump,
)
from .tally import Tally

__all__ = ["ProcessTicks", "check_process"]

EXIT_GRACE = 1.0
"""Seconds an idle worker has to exit by itself."""


def check_process(name: str, options: NodeOptions, hooks: Hooks) -> None:
    """Refuse what cannot be with ``thread="process"``; anything goes without it.

    Raises:
        ConfigurationError: The tick is ``async``, trio-parallel is not there, or this process may
            have no children.
    """
    if options.thread != "process":
        return
    if hooks.tick.is_async:
        raise ConfigurationError(
            f"node {name!r} has thread='process' and an async tick, which runs on the loop of the "
            "robot's process; make it `def tick`, or leave thread= out"
        )
    try:
        importlib.import_module("trio_parallel")
    except ImportError:
        raise ConfigurationError(
            f"node {name!r} has thread='process', which needs trio-parallel: "
            "pip install 'horus-trio[parallel]'"
        ) from None
    process = multiprocessing.current_process()
    # The name is there first, while it still imports the program it was started by.
    if process.daemon or process.name.startswith("trio-parallel worker process"):
        raise ConfigurationError(
            f"node {name!r} has thread='process', and this is a worker process itself, which may "
            "have none of its own; it imports the program it was started by, so a program puts "
            'what starts its robot under `if __name__ == "__main__":`'
        )


class ProcessTicks:
    """Runs the ticks of one node in a worker process.

    Arguments:
        name: The node's name.
        options: Its options.
        seat: Its seat.
        worker: Runs its hooks, and the thread side of its ticks.
        clock: Tells the time in any thread, in seconds.
    """

    def __init__(
        self,
        name: str,
        options: NodeOptions,
        seat: Seat,
        worker: Worker,
        clock: Callable[[], float],
    ) -> None:
        self._name = name
        self._options = options
        self._seat = seat
        self._worker = worker
        self._clock = clock
        self._topics = tuple(dict.fromkeys([*(sub.topic for sub in options.subs), *options.on]))
        self._context: Any = None  # a WorkerContext of trio-parallel, which has no types
        self._tally: Tally | None = None
        self._problem: OSError | None = None
        self._scope = trio.CancelScope()

    # In the node's task

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncGenerator[None, None]:
        """Have a worker while inside; on leaving it is gone."""
        import trio_parallel

        try:
            self._tally = Tally(len(self._topics))
        except OSError as error:
            self._problem = error  # the node's start says so
        path = "" if self._tally is None else self._tally.path
        workers = trio_parallel.open_worker_context(
            idle_timeout=math.inf,
            init=functools.partial(begin, path),
            grace_period=EXIT_GRACE,
        )
        try:
            async with workers as self._context:
                try:
                    yield
                finally:
                    self._scope.cancel()  # of a tick that was left behind
                    if self._worker.is_forced:
                        await self._kill_idle()
        except trio_parallel.BrokenWorkerError:
            pass  # it had to be killed, and did nothing any more
        finally:
            self._context = None
            multiprocessing.active_children()  # it forgets those that have ended
            if self._tally is not None:
                self._tally.close()

    def dress(self, node: Node, hooks: Hooks) -> Hooks:
        """The hooks of a node, its tick in the worker."""
        call = functools.partial(self._tick, node)
        return dataclasses.replace(hooks, tick=dataclasses.replace(hooks.tick, call=call))

    async def prepare(self, node: Node) -> BaseException | None:
        """Start a worker, and see whether the node can go there. A checkpoint.

        Returns:
            Why it cannot, or None.
        """
        hook = Hook(name="init", call=functools.partial(self._rehearse, node), is_async=False)
        return await self._worker.call_hook(hook, self._options.init_timeout)

    async def _kill_idle(self) -> None:
        if self._context is not None and self._context.statistics().idle_workers:
            with contextlib.suppress(WorkerFailed), trio.CancelScope() as scope:
                scope.cancel()
                await self._run(bool)  # a job that is cancelled kills its worker

    # In a thread

    def _rehearse(self, node: Node) -> None:
        if self._problem is not None:
            raise self._problem
        parcel = NodeParcel.of(node)
        trio.from_thread.run(self._exchange, threading.get_ident(), parcel, None)

    def _tick(self, node: Node) -> Any:
        tally = self._tally
        if tally is None:
            raise TickAbandoned(f"node {self._name!r}: its run is over")
        job, gone = self._pack(node, tally)
        tally.clear()
        try:
            data = trio.from_thread.run(
                self._exchange, threading.get_ident(), job.node, dump(job, node)
            )
        except HorusError as error:
            raise error.with_traceback(None)  # noqa: B904 - the same one, without our own frames
        finally:
            for index, (topic, before) in enumerate(gone.items()):
                if taken := tally.read(index):
                    self._seat.subscription(topic).take_until(before + taken)
        return self._carry_out(Parcel(data).open(node), node)

    def _pack(self, node: Node, tally: Tally) -> tuple[Job, dict[str, int]]:
        """A tick for the worker; and what had left each input before, to take from it exactly."""
        seat = self._seat
        inputs: list[Input] = []
        gone: dict[str, int] = {}
        for topic in self._topics:
            what = f"the message of topic {topic!r}"
            gone[topic], messages = seat.subscription(topic).peek()
            waiting = tuple(Parcel.of(message, what, node) for message in messages)
            newest = seat.hub(topic).latest
            latest: Parcel | None = None
            if newest is not None:
                is_waiting = bool(messages) and messages[-1] is newest[0]
                latest = waiting[-1] if is_waiting else Parcel.of(newest[0], what, node)
            latest_at = math.nan if newest is None else newest[1]
            inputs.append(Input(topic=topic, waiting=waiting, latest=latest, latest_at=latest_at))
        logger = logging.getLogger(f"horus_trio.node.{self._name}")
        job = Job(
            node=NodeParcel.of(node),
            tick=seat.tick,
            previous=seat.previous,
            period=seat.period,
            max_ages=seat.max_ages,
            lead=self._clock() - time.perf_counter(),
            inputs=tuple(inputs),
            tally=tally.path,
            log_level=max(logger.getEffectiveLevel(), logger.manager.disable + 1),
        )
        return job, gone

    def _carry_out(self, reply: Reply, node: Node) -> Any:
        """Do what the tick did, in the node's own process; returns what it returned."""
        call = self._worker.call
        if call is not None and call.thread == threading.get_ident():
            call.started = reply.started
        problem: NodeError | None = None
        try:
            changed = vars(reply.changed.open(node))
        except NodeError as error:
            problem = error
        else:
            for key, value in changed.items():
                object.__setattr__(node, key, value)
            for key in reply.deleted:
                with contextlib.suppress(AttributeError):
                    object.__delattr__(node, key)
        for event in reply.events:
            if isinstance(event, Sent):
                node.send(event.topic, event.data.open(node))
            elif isinstance(event, Logged):
                self._log(logging.makeLogRecord(event.record.open(node)))
            elif isinstance(event, StopAsked):
                node.request_stop(event.reason)
            elif isinstance(event, EmergencyAsked):
                node.emergency_stop(event.reason)
            else:
                assert_never(event)
        if reply.error is not None:
            raised: BaseException = reply.error.open(node)
            raised.add_note(reply.trace)
            raise raised
        if problem is not None:
            raise problem
        return reply.value.open(node)

    def _log(self, record: logging.LogRecord) -> None:
        thread = self._seat.log_thread
        if thread is not None:
            thread.put(record)

    # On the loop

    async def _exchange(self, thread: int, node: NodeParcel, job: bytes | None) -> bytes:
        """Have the worker do a job, or, if None, only see to it that there is a worker.

        Raises:
            TickTimedOut: The worker was killed at the time limit.
            TickCancelled: It was killed because the node has to end.
            WorkerFailed: It died, or did not start.
            NodeError: The node cannot be rebuilt there.
        """
        call = self._worker.call
        if call is None or call.thread != thread or self._context is None:
            raise TickAbandoned(f"node {self._name!r}: the tick was given up before it began")
        with trio.CancelScope() as self._scope:
            call.interrupt = functools.partial(_cancel_once, self._scope)
            try:
                if job is None or not self._context.statistics().idle_workers:
                    await self._start_worker(call, node)
                if job is None:
                    return b""
                data: bytes = await self._run(work, job)
            finally:
                call.interrupt = None
            if not self._scope.cancel_called:
                return data
        tick = self._seat.tick
        which = (
            f"init of node {self._name!r}"
            if job is None or tick is None
            else (f"tick {tick.seq} of node {self._name!r}")
        )
        if call.timed_out:
            raise TickTimedOut(
                f"{which} ran longer than its tick_timeout of "
                f"{self._worker.tick_limit:g} s, and its worker process was killed"
            )
        call.fence.expire()
        raise TickCancelled(f"{which} was ended with its worker process")

    async def _start_worker(self, call: ThreadCall, node: NodeParcel) -> None:
        """Start a worker and have it import the node's code: a tick's time does not count yet."""
        call.started = math.nan
        seconds = self._options.init_timeout
        try:
            with trio.move_on_after(seconds) as scope:
                problem = await self._run(rehearse, node)
                if problem:
                    raise NodeError(
                        f"node {self._name!r} has thread='process', and cannot be rebuilt in its "
                        f"worker process: {problem}; define what it needs in a module that can be "
                        "imported"
                    )
            if scope.cancelled_caught:
                raise WorkerFailed(
                    f"the worker process of node {self._name!r} was not ready within its "
                    f"init_timeout of {seconds:g} s"
                )
        except WorkerFailed as error:
            error.add_note(
                "a worker process imports the program it was started by; what it wrote to stderr "
                'says more. What starts a robot belongs under `if __name__ == "__main__":`'
            )
            raise
        finally:
            if not self._scope.cancel_called:
                call.started = self._clock()

    async def _run(self, function: Callable[..., Any], *args: Any) -> Any:
        import trio_parallel

        if self._context is None:
            raise TickAbandoned(f"node {self._name!r}: its run is over")
        try:
            return await self._context.run_sync(
                function, *args, kill_on_cancel=True, limiter=contextlib.nullcontext()
            )
        except trio_parallel.BrokenWorkerError as error:
            end = _end_of(error)
        # Not in the `except`: the process, with its descriptors, would live as long as the error.
        multiprocessing.active_children()
        raise WorkerFailed(f"the worker process of node {self._name!r} {end}")


def _cancel_once(scope: trio.CancelScope) -> bool:
    """Cancel; says whether that is news. The second time, nobody waits for its effect."""
    if scope.cancel_called:
        return False
    scope.cancel()
    return True


def _end_of(error: Exception) -> str:
    """How a worker came to its end; the last argument of the error is the process."""
    code = getattr(error.args[-1], "exitcode", None) if error.args else None
    if code is None:
        return "died"
    if code >= 0:
        return f"exited with code {code} instead of answering"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    hint = " (perhaps by the system, for want of memory)" if name == "SIGKILL" else ""
    return f"was killed by {name}{hint}"
