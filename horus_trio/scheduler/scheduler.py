"""`Scheduler`: nodes with rates and policies, live control, and the one way to run them."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import math
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, TextIO, TypeVar, Unpack

import trio

from ..arguments import is_positive
from ..errors import (
    AlreadyRunning,
    ConfigurationError,
    HorusError,
    NodeError,
    NotRunning,
    RunFailed,
    UnknownNode,
    add_remedy,
    nearest,
)
from ..executor import AsyncIOExecutor, EmergencyReport, check_process, numbered_name
from ..health import Health
from ..messages import AsyncResult, Fence, current_fence
from ..node import (
    Node,
    NodeOptions,
    OptionKeywords,
    find_hooks,
    gather_options,
    resolve_options,
)
from ..topics import Hub, Subscription, Topics
from .member import Member
from .observer import Observer
from .report import RunReport, SchedulerStatistics
from .run import Run
from .settings import SchedulerSettings, Staging, check_rate
from .surroundings import refuse_asyncio, refuse_importer
from .watchdog import Stall, make_dump

__all__ = ["RunResult", "Scheduler"]

T = TypeVar("T")

if TYPE_CHECKING:

    class RunResult(RunReport, Awaitable[RunReport]):
        """What `Scheduler.run` returns: a report outside a Trio run, an awaitable inside one."""
else:
    RunResult = RunReport


class Scheduler:
    """Runs nodes at their rates and keeps them apart: what one does, hurts no other.

    Arguments:
        tick_rate: Hz of nodes that have neither a rate nor topics to tick `on`.
        name: Of the robot, for reports.
        limiter: Tokens of the blocking pool; None: a `trio.CapacityLimiter` of 4.
        stop_timeout: Seconds the whole stop may take before what is left is forced.
        signals: Whether SIGINT and SIGTERM stop a run in the main thread.
        deterministic: Run one tick at a time in a fixed order. It trades isolation away.
        max_abandoned: Threads that may be left behind before tokens are held back.
        stall_after: Seconds the loop may be blocked before the watchdog says by whom.
        switch_interval: Seconds for `sys.setswitchinterval` during a run; None: at most 0.25 ms,
            so that a busy Python thread does not hold the loop up.

    Raises:
        ConfigurationError: A value makes no sense.
    """

    def __init__(
        self,
        tick_rate: float = 100.0,
        *,
        name: str = "horus",
        limiter: trio.CapacityLimiter | None = None,
        stop_timeout: float = 10.0,
        signals: bool = True,
        deterministic: bool = False,
        max_abandoned: int = 16,
        stall_after: float = 0.5,
        switch_interval: float | None = None,
    ) -> None:
        self.settings: SchedulerSettings = SchedulerSettings(
            tick_rate=tick_rate,
            name=name,
            limiter=limiter,
            stop_timeout=stop_timeout,
            signals=signals,
            deterministic=deterministic,
            max_abandoned=max_abandoned,
            stall_after=stall_after,
            switch_interval=switch_interval,
        )
        self.name: str = name
        self._members: dict[str, Member] = {}
        self._topics = Topics()
        self._results: Hub[AsyncResult] = Hub("results")
        self._observers: list[Observer] = []
        self._run_state: Run | None = None
        self._last_resort: Callable[[str], None] | None = None  # ends a process that cannot end
        self._profile: Callable[[AsyncIOExecutor], AbstractContextManager[None]] | None = None
        self._last_statistics: SchedulerStatistics | None = None
        self.report: RunReport | None = None
        """The last run's report."""

    def __repr__(self) -> str:
        state = "running" if self._run_state is not None else "idle"
        return f"<{type(self).__name__} {self.name!r}, {len(self._members)} node(s), {state}>"

    # Nodes

    def add(self, node: Node | Callable[[], Node], **options: Unpack[OptionKeywords]) -> Scheduler:
        """Add a node, also while running; from the loop or any thread.

        Arguments:
            node: A node; or a class or function that makes one: then each restart makes a fresh
                instance.
            options: Override the node's own; see `NodeOptions`.

        Returns:
            The scheduler, so that calls can be chained.

        Raises:
            ConfigurationError: An option, a name that is taken, or a node that is not fit for
                ``thread="process"``.
            NodeError: It has no usable tick, or forgot ``super().__init__()``.
            AlreadyRunning: It belongs to another scheduler.
        """
        factory: Callable[[], Node] | None = None
        if isinstance(node, Node):
            instance = node
        elif callable(node):
            factory = node
            instance = node()
        else:
            raise NodeError(
                f"add({node!r}): expected a horus_trio.Node, a Node class, or a function that "
                "makes one"
            )
        given = gather_options(instance, options)
        resolved = resolve_options(given.get("name") or type(instance).__qualname__, given)
        check_process(resolved.name or type(instance).__qualname__, resolved, find_hooks(instance))
        if instance._owner is not None:
            where = "this scheduler" if instance._owner is self else "another scheduler"
            raise AlreadyRunning(
                f"node {instance!r} is in {where} already; remove it there, or make another one"
            )
        self._on_loop(self._add, instance, resolved, factory)
        return self

    def _add(
        self,
        node: Node,
        options: NodeOptions,
        factory: Callable[[], Node] | None,
    ) -> None:
        name = options.name or numbered_name(type(node), self._members)
        if name in self._members:
            raise ConfigurationError(
                f"there is a node named {name!r} already; give one of them another name="
            )
        member = Member(node, name, options, factory, self._rate_of(options))
        node.name = name
        node._owner = self
        self._members[name] = member
        if self._run_state is not None:
            try:
                self._run_state.add_late(member)
            except BaseException:
                self._forget(member)
                raise

    def remove(self, name: str) -> None:
        """Take a node out: it finishes, shuts down and is gone; from the loop or any thread.

        Returns at once; ``await stopped(name)`` waits.

        Raises:
            UnknownNode: There is no such node.
            HorusError: A node's own tick asks: it would wait for itself.
        """
        self._on_loop(self._remove, name, current_fence.get())

    def _remove(self, name: str, fence: Fence | None) -> None:
        member = self._member(name)
        runner = member.runner
        if fence is not None and fence.owner == name and runner is not None:
            raise HorusError(
                f"node {name!r} removes itself in its own tick, which has to end first; call "
                "request_stop(), or let another node or a background task remove it"
            )
        if runner is None or runner.done.is_set():
            self._forget(member)
        else:
            member.removing = True
            if member.beat is not None:
                member.beat.stop()
            runner.leave("removed")

    # Before a run, for the command line

    def _change_settings(self, settings: Mapping[str, Any]) -> None:
        """Replace settings, checked as `Scheduler` checks them."""
        if self._run_state is not None:
            raise AlreadyRunning(f"scheduler {self.name!r} runs: its settings are fixed")
        known = {field.name for field in dataclasses.fields(SchedulerSettings)}
        for option in settings:
            if option not in known:
                raise ConfigurationError(f"Scheduler: no option {option!r}{nearest(option, known)}")
        self.settings = dataclasses.replace(self.settings, **settings)
        self.name = self.settings.name
        if "tick_rate" in settings:
            for member in self._members.values():
                member.rate = self._rate_of(member.options)

    def _change_options(self, name: str, options: Mapping[str, Any]) -> None:
        """Replace options of a node, checked as `add` checks them."""
        member = self._member(name)
        if self._run_state is not None:
            raise AlreadyRunning(f"scheduler {self.name!r} runs: the options of nodes are fixed")
        if "name" in options:
            raise ConfigurationError(f"{name}: a node that was added keeps its name")
        present = {
            field.name: getattr(member.options, field.name)
            for field in dataclasses.fields(NodeOptions)
        }
        resolved = resolve_options(name, present | dict(options))
        check_process(name, resolved, find_hooks(member.node))
        member.options = resolved
        member.rate = self._rate_of(member.options)

    def _rate_of(self, options: NodeOptions) -> float | None:
        if options.rate is None and not options.on:
            return self.settings.tick_rate
        return options.rate

    def _forget(self, member: Member) -> None:
        self._members.pop(member.name, None)
        member.node._owner = None
        if self._run_state is not None and self._run_state.executor is not None:
            self._run_state.executor.runners.pop(member.name, None)

    def pause(self, name: str) -> None:
        """Release no more ticks to a node until `resume`; from the loop or any thread.

        A tick in flight goes on; paused grid points take no number and are not missed.

        Raises:
            UnknownNode: There is no such node.
        """
        self._on_loop(self._pause, name)

    def _pause(self, name: str) -> None:
        member = self._member(name)
        member.paused = True
        if member.beat is not None:
            member.beat.stop()
        if member.runner is not None:
            member.runner.pause()

    def resume(self, name: str) -> None:
        """Undo `pause`: the old grid goes on; from the loop or any thread.

        Raises:
            UnknownNode: There is no such node.
        """
        self._on_loop(self._resume, name)

    def _resume(self, name: str) -> None:
        member = self._member(name)
        member.paused = False
        if member.runner is not None:
            member.runner.resume()
            if self._run_state is not None:
                self._run_state.resume_beat(member)

    def set_rate(self, name: str, hz: float) -> None:
        """Change a node's rate: its new grid begins now; from the loop or any thread.

        Raises:
            UnknownNode: There is no such node.
            ConfigurationError: Not a finite number of Hz above 0.
        """
        rate = check_rate("set_rate", hz)
        self._on_loop(self._set_rate, name, rate)

    def _set_rate(self, name: str, rate: float) -> None:
        member = self._member(name)
        member.rate = rate
        if member.runner is not None and self._run_state is not None:
            first = self._run_state.now() + 1.0 / rate
            self._run_state.start_beat(member, at=first, since=first)

    async def started(self, name: str) -> None:
        """Wait until a node is initialised, or handed to its failure policy. A checkpoint.

        Raises:
            UnknownNode: There is no such node.
            NotRunning: The scheduler does not run.
        """
        runner = self._member(name).runner
        if runner is None:
            raise NotRunning(f"node {name!r} is not started: the scheduler does not run")
        await runner.settled.wait()

    async def stopped(self, name: str) -> None:
        """Wait until a node has left: removed, failed for good, or stopped. A checkpoint."""
        member = self._members.get(name)
        if member is not None and member.runner is not None:
            await member.runner.done.wait()
        else:
            await trio.lowlevel.checkpoint()

    def topic(self, name: str) -> Hub[Any]:
        """The topic of that name, for code outside nodes; it outlives runs."""
        return self._topics.hub(name)

    # Running

    def run(
        self,
        duration: float | None = None,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> RunResult:
        """Run the robot until it is stopped, for `duration` seconds, or until it fails.

        Inside a Trio run it returns an awaitable: ``trio.run(scheduler.run)``,
        ``await scheduler.run(2)``, ``await nursery.start(scheduler.run)``. Outside one it
        blocks: ``scheduler.run()``. Cancelling it stops the robot properly, too.

        Arguments:
            duration: Seconds of ticking; 0 initialises and shuts down; None: until stopped.
            task_status: Started when every node is initialised or handed to its policy.

        Returns:
            The `RunReport`.

        Raises:
            RunFailed: A failure was fatal; it holds the original exceptions.
            AlreadyRunning: It runs already.
            ConfigurationError: `duration` makes no sense.
            NotRunning: Called inside a running asyncio loop.
        """
        if duration is not None and not is_positive(duration, or_zero=True):
            raise ConfigurationError(
                f"run(duration={duration!r}): expected a finite number of seconds, 0 or more, "
                "or None to run until stopped"
            )
        if self._run_state is not None:
            raise AlreadyRunning(f"scheduler {self.name!r} runs already; make another one")
        if trio.lowlevel.in_trio_task():
            return self._run(duration, task_status)  # type: ignore[return-value]
        refuse_asyncio()
        try:
            return trio.run(self._run, duration, task_status)  # type: ignore[return-value]
        except OSError as error:  # Trio itself needs descriptors
            add_remedy(error)
            raise

    def stop(self, reason: str = "") -> None:
        """Stop the run gracefully; any thread, any number of times, safe in signal handlers."""
        run = self._run_state
        if run is not None:
            run.stop(reason or "stop() was called")

    def emergency_stop(self, reason: str = "") -> EmergencyReport:
        """Bring every critical node into its safe state now; any thread, signal-safe.

        Their ``enter_safe_state`` is called at once, on reserved threads or on the loop, and they
        do not tick until `reset_emergency`; the run goes on. A second call changes nothing.

        Arguments:
            reason: For the log and the report.

        Returns:
            Whom it has reached so far; `emergency` says it later. On the loop it returns at once,
            elsewhere when every ``enter_safe_state`` has ended, but after 0.3 s at the latest.
        """
        reason = reason or "emergency_stop() was called"
        run = self._run_state
        if run is None:
            return EmergencyReport(reason=reason, at=math.nan, active=False)
        return run.emergency_stop(reason)

    def reset_emergency(self) -> None:
        """Let critical nodes tick again; from the loop or any thread. Does nothing without need.

        Raises:
            HorusError: An ``enter_safe_state`` has not returned, or has not even been called yet.
        """
        run = self._run_state
        if run is not None and run.executor is not None:
            self._on_loop(run.executor.safety.reset)

    @property
    def emergency(self) -> EmergencyReport | None:
        """The present emergency, or the latest one of this or the last run; any thread."""
        run, report = self._run_state, self.report
        past = run.emergencies() if run is not None else report.emergencies if report else ()
        return past[-1] if past else None

    def dump(self, file: TextIO | None = None) -> str:
        """Print who waits for whom, and where every task and thread stands; any thread.

        It needs no loop: it also works while that is blocked. SIGUSR1 does it, too.

        Arguments:
            file: Where to; None: `sys.stderr`. It may block, as a terminal that nobody reads.

        Returns:
            What was printed.
        """
        run = self._run_state
        idle = f"{self.name} does not run"
        text = make_dump(idle, None, None, None) if run is None else run.dump()
        target: TextIO = sys.stderr if file is None else file
        target.write(text)
        target.flush()
        return text

    def statistics(self) -> SchedulerStatistics:
        """A frozen, consistent snapshot; at any time, any thread."""
        run = self._run_state
        stalls: tuple[Stall, ...] = ()
        if run is None or run.executor is None:
            pool, timer, wake_ups, elapsed, stall_count = None, "", 0, 0.0, 0
        else:
            executor = run.executor
            stall_count, stalls = run.stalls()
            pool, elapsed = executor.pool.statistics(), run.elapsed()
            timer, wake_ups = executor.timer.source, executor.timer.wake_ups
        # Looked at last: a run that has reported meanwhile counts no more.
        last = self._last_statistics if run is None else run.final
        if last is not None:
            stall_count, stalls = last.stall_count, last.stalls
            pool, timer, wake_ups, elapsed = last.pool, last.timer, last.wake_ups, last.elapsed
        nodes = {m.name: m.snapshot() for m in tuple(self._members.values())}
        health = max((n.health for n in nodes.values()), default=Health.HEALTHY)
        if pool is not None and pool.exhausted:
            health = Health.CRITICAL
        return SchedulerStatistics(
            name=self.name,
            running=run is not None,
            elapsed=elapsed,
            nodes=nodes,
            topics={hub.name: hub.statistics() for hub in self._topics},
            pool=pool,
            timer=timer,
            wake_ups=wake_ups,
            health=health,
            callback_errors=sum(observer.errors for observer in self._observers),
            stall_count=stall_count,
            stalls=stalls,
        )

    # Results

    def on_result(self, callback: Callable[[AsyncResult], object]) -> None:
        """Call `callback` with every result, on the loop; it must be quick.

        One that raises is logged and counted, and dropped after ten errors in a row.

        Raises:
            ConfigurationError: It is not a plain function.
        """
        if not callable(callback) or inspect.iscoroutinefunction(callback):
            raise ConfigurationError(
                f"on_result({callback!r}): expected a plain function of one AsyncResult; async "
                "code reads `async with scheduler.open_results() as results`"
            )
        observer = Observer(callback)
        self._observers.append(observer)
        if self._run_state is not None:
            self._on_loop(self._observe, observer)

    def _observe(self, observer: Observer) -> None:
        if self._run_state is not None and self._run_state.executor is not None:
            observer.join(self._run_state.executor)

    @contextlib.asynccontextmanager
    async def open_results(
        self, capacity: int = 1024
    ) -> AsyncGenerator[Subscription[AsyncResult], None]:
        """Receive every result while inside: a channel that drops the oldest when full.

        What was dropped is in its ``statistics()``. Before, during or between runs.
        """
        results = self._results.subscribe(capacity)
        try:
            yield results
        finally:
            results.close()

    # Inside

    async def _run(
        self,
        duration: float | None,
        task_status: trio.TaskStatus[None],
        staging: Staging | None = None,
    ) -> RunReport:
        refuse_importer()
        if self._run_state is not None:
            raise AlreadyRunning(f"scheduler {self.name!r} runs already; make another one")
        run = self._run_state = Run(self, staging)
        try:
            problem = await run.execute(duration, task_status)
        finally:
            self._run_state = None
            report = self.report = run.make_report()
        if problem is not None:
            raise problem
        if run.fatal:
            raise RunFailed(f"{self.name}: {run.reason}", run.failures(), report)
        return report

    def _member(self, name: str) -> Member:
        try:
            return self._members[name]
        except KeyError:
            raise UnknownNode(f"no node {name!r}{nearest(str(name), self._members)}") from None

    def _on_loop(self, function: Callable[..., T], *args: Any) -> T:
        """Call on the loop of the run, from any thread, and wait for it; here if none runs."""
        run = self._run_state
        if run is None or run.executor is None or run.executor.is_on_loop():
            return function(*args)
        try:
            return trio.from_thread.run_sync(function, *args, trio_token=run.token)
        except trio.RunFinishedError:
            raise NotRunning(f"the run of scheduler {self.name!r} is over") from None

    def _release_nodes(self) -> None:
        for member in self._members.values():
            member.node._owner = None
        self._members.clear()
