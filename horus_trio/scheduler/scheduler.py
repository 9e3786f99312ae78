"""`Scheduler`: nodes with rates and policies, live control, and the one way to run them."""

from __future__ import annotations

import contextlib
import inspect
import itertools
import math
import random
import sys
import traceback
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar, Unpack

import trio
from trio_util import move_on_when

from ..errors import (
    AlreadyRunning,
    ConfigurationError,
    HorusError,
    NodeError,
    NodeExited,
    NotRunning,
    RunFailed,
    UnknownNode,
    nearest,
)
from ..executor import POOL_TOKENS, AsyncIOExecutor, NodeRunner, numbered_name
from ..health import Health, Ledger, NodeState, NodeStatistics
from ..logs import LogThread
from ..messages import AsyncResult, current_fence
from ..node import (
    Hooks,
    Node,
    NodeOptions,
    OptionKeywords,
    find_hooks,
    gather_options,
    resolve_options,
)
from ..timer import Grid
from ..topics import Hub, Subscription, Topics
from .conductor import Conductor
from .metronome import Beat, late_phase, spread_phases
from .report import NodeFailure, RunReport, SchedulerStatistics, advice
from .signals import SignalWatch
from .wiring import check_wiring

__all__ = ["Scheduler", "run"]

T = TypeVar("T")

if TYPE_CHECKING:

    class _RunResult(RunReport, Awaitable[RunReport]):
        """What `Scheduler.run` returns: a report outside a Trio run, an awaitable inside one."""


class _Member:
    """A node of a scheduler, between and during runs."""

    def __init__(
        self,
        node: Node,
        name: str,
        options: NodeOptions,
        hooks: Hooks,
        factory: Callable[[], Node] | None,
        rate: float | None,
    ) -> None:
        self.node = node
        self.name = name
        self.options = options
        self.hooks = hooks
        self.factory = factory
        self.rate = rate
        self.ledger = Ledger()
        self.paused = False
        self.removing = False
        self.runner: NodeRunner | None = None
        self.beat: Beat | None = None

    def snapshot(self) -> NodeStatistics:
        if self.runner is not None:
            return self.runner.statistics(self.rate)
        return self.ledger.snapshot(
            name=self.name,
            state=NodeState.PAUSED if self.paused else NodeState.NEW,
            rate=self.rate,
            critical=self.options.critical,
        )


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
        stall_after: Seconds the loop may be blocked before that is reported.
        switch_interval: Seconds for `sys.setswitchinterval` during a run; None: leave it alone.

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
        self._tick_rate = _above_zero("tick_rate", tick_rate, "Hz")
        if not isinstance(name, str) or not name or not name.isprintable():
            raise ConfigurationError(f"Scheduler(name={name!r}): expected a printable, non-empty str")
        if limiter is not None and not isinstance(limiter, trio.CapacityLimiter):
            raise ConfigurationError(
                f"Scheduler(limiter={limiter!r}): expected a trio.CapacityLimiter, or None for 4"
            )
        if isinstance(max_abandoned, bool) or not isinstance(max_abandoned, int) or max_abandoned < 0:
            raise ConfigurationError(
                f"Scheduler(max_abandoned={max_abandoned!r}): expected a whole number, 0 or more"
            )
        self.name = name
        self._limiter = limiter
        self._stop_timeout = _above_zero("stop_timeout", stop_timeout, "seconds")
        self._signals = signals
        self._deterministic = deterministic
        self._max_abandoned = max_abandoned
        self._stall_after = _above_zero("stall_after", stall_after, "seconds")
        if switch_interval is not None:
            _above_zero("switch_interval", switch_interval, "seconds")
        self._switch_interval = switch_interval
        self._members: dict[str, _Member] = {}
        self._topics = Topics()
        self._results: Hub[AsyncResult] = Hub("results")
        self._observers: list[_Observer] = []
        self._run_state: _Run | None = None
        self._last_statistics: SchedulerStatistics | None = None
        self.report: RunReport | None = None
        """The last run's report."""

    def __repr__(self) -> str:
        state = "running" if self._run_state is not None else "idle"
        return f"<{type(self).__name__} {self.name!r}, {len(self._members)} node(s), {state}>"

    # Nodes

    def add(
        self, node: Node | Callable[[], Node], **options: Unpack[OptionKeywords]
    ) -> Scheduler:
        """Add a node, also while running; from the loop or any thread.

        Arguments:
            node: A node; or a class or function that makes one: then each restart makes a fresh
                instance.
            options: Override the node's own; see `NodeOptions`.

        Returns:
            The scheduler, so that calls can be chained.

        Raises:
            ConfigurationError: An option, or a name that is taken.
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
        hooks = find_hooks(instance)
        if instance._owner is not None:
            where = "this scheduler" if instance._owner is self else "another scheduler"
            raise AlreadyRunning(
                f"node {instance!r} is in {where} already; remove it there, or make another one"
            )
        self._on_loop(self._add, instance, resolved, hooks, factory)
        return self

    def _add(
        self,
        node: Node,
        options: NodeOptions,
        hooks: Hooks,
        factory: Callable[[], Node] | None,
    ) -> None:
        name = options.name or numbered_name(type(node), self._members)
        if name in self._members:
            raise ConfigurationError(
                f"there is a node named {name!r} already; give one of them another name="
            )
        rate = options.rate
        if rate is None and not options.on:
            rate = self._tick_rate
        member = _Member(node, name, options, hooks, factory, rate)
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

    def _remove(self, name: str, fence: Any) -> None:
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

    def _forget(self, member: _Member) -> None:
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
            if member.beat is not None and self._run_state is not None:
                member.beat.start(self._run_state.now())

    def set_rate(self, name: str, hz: float) -> None:
        """Change a node's rate: its new grid begins now; from the loop or any thread.

        Raises:
            UnknownNode: There is no such node.
            ConfigurationError: Not a finite number of Hz above 0.
        """
        rate = _above_zero("set_rate", hz, "Hz")
        self._on_loop(self._set_rate, name, rate)

    def _set_rate(self, name: str, rate: float) -> None:
        member = self._member(name)
        member.rate = rate
        if member.runner is not None and self._run_state is not None:
            self._run_state.start_beat(member, at=self._run_state.now() + 1.0 / rate)

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
    ) -> _RunResult:
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
        if duration is not None and (
            isinstance(duration, bool)
            or not isinstance(duration, (int, float))
            or not 0 <= duration < math.inf
        ):
            raise ConfigurationError(
                f"run(duration={duration!r}): expected a finite number of seconds, 0 or more, "
                "or None to run until stopped"
            )
        if self._run_state is not None:
            raise AlreadyRunning(f"scheduler {self.name!r} runs already; make another one")
        if trio.lowlevel.in_trio_run():
            return self._run(duration, task_status)  # type: ignore[return-value]
        _refuse_asyncio()
        return trio.run(self._run, duration, task_status)  # type: ignore[return-value]

    def stop(self, reason: str = "") -> None:
        """Stop the run gracefully; any thread, any number of times, safe in signal handlers."""
        run = self._run_state
        if run is not None:
            run.stop(reason or "stop() was called")

    def statistics(self) -> SchedulerStatistics:
        """A frozen, consistent snapshot; at any time, any thread."""
        run = self._run_state
        if run is None and self._last_statistics is not None:
            last = self._last_statistics
            pool, timer, wake_ups, elapsed = last.pool, last.timer, last.wake_ups, last.elapsed
        elif run is None or run.executor is None:
            pool, timer, wake_ups, elapsed = None, "", 0, 0.0
        else:
            executor = run.executor
            pool, elapsed = executor.pool.statistics(), run.elapsed()
            timer, wake_ups = executor.timer.source, executor.timer.wake_ups
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
        observer = _Observer(callback)
        self._observers.append(observer)
        if self._run_state is not None:
            self._on_loop(self._run_state.observe, observer)

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
        self, duration: float | None, task_status: trio.TaskStatus[None]
    ) -> RunReport:
        if self._run_state is not None:
            raise AlreadyRunning(f"scheduler {self.name!r} runs already; make another one")
        run = self._run_state = _Run(self)
        try:
            problem = await run.execute(duration, task_status)
        finally:
            self._run_state = None
        if problem is not None:
            raise problem
        report = self.report = run.make_report()
        if run.fatal:
            raise RunFailed(f"{self.name}: {run.reason}", run.failures(), report)
        return report

    def _member(self, name: str) -> _Member:
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


class _Observer:
    """A result callback and its record."""

    def __init__(self, callback: Callable[[AsyncResult], object]) -> None:
        self.callback = callback
        self.errors = 0
        self.streak = 0


class _Run:
    """One run of a scheduler: start, tick, stop, report."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.token = trio.lowlevel.current_trio_token()
        self.now = trio.lowlevel.current_clock().current_time
        self.executor: AsyncIOExecutor | None = None
        self.reason = ""
        self.fatal = False
        self._stopping = trio.Event()
        self._epoch = math.nan
        self._ended = math.nan
        self._warnings: list[str] = []
        self._failed: list[NodeRunner] = []
        self._hook_errors: list[str] = []
        self._shutdown_while_busy: list[str] = []
        self._conductor = Conductor() if scheduler._deterministic else None
        self._added_late = 0
        self._final: SchedulerStatistics | None = None
        self._over = False

    def elapsed(self) -> float:
        """Seconds of ticking so far."""
        if self._epoch != self._epoch:
            return 0.0
        return (self._ended if self._ended == self._ended else self.now()) - self._epoch

    def stop(self, reason: str) -> None:
        """Ask for a graceful stop; any thread, signal-safe."""
        if not self.reason:
            self.reason = reason
        with contextlib.suppress(trio.RunFinishedError):
            self.token.run_sync_soon(self._stopping.set, idempotent=True)

    def force(self, reason: str) -> None:
        """Cut everything short; on the loop."""
        self.reason = f"{self.reason}, forced by {reason}"
        if self.executor is not None:
            self.executor.log.warning("stop forced by %s", reason)
            self.executor.force_all()

    # The run

    async def execute(
        self, duration: float | None, task_status: trio.TaskStatus[None]
    ) -> BaseException | None:
        """Run to the end. Returns what has to be raised instead of a report."""
        scheduler = self.scheduler
        problem: BaseException | None = None
        with (
            LogThread() as log_thread,
            _switch_interval(scheduler._switch_interval),
            SignalWatch(scheduler._signals, self.stop, self.force),
        ):
            async with trio.open_nursery() as nursery:
                executor = self.executor = AsyncIOExecutor(
                    nursery,
                    limiter=scheduler._limiter or trio.CapacityLimiter(POOL_TOKENS),
                    max_abandoned=scheduler._max_abandoned,
                    topics=scheduler._topics,
                    log_thread=log_thread,
                    on_stop=self.stop,
                    results=scheduler._results,
                    dice=random.Random(0).random if self._conductor else random.random,
                )
                executor.on_left = self._node_left
                scheduler._topics.start_clock(executor.clock)
                for observer in scheduler._observers:
                    self.observe(observer)
                if self._conductor is not None:
                    nursery.start_soon(self._conductor.run)
                try:
                    async with move_on_when(self._stopping.wait):
                        await self._start(executor)
                        task_status.started()
                        self._begin(executor, duration)
                        await trio.sleep_forever()
                except (HorusError, KeyboardInterrupt) as error:
                    problem = error
                    self.reason = self.reason or repr(error)
                finally:
                    self._ended = self.now()
                    await self._stop(executor)
                    nursery.cancel_scope.cancel()
        return problem

    async def _start(self, executor: AsyncIOExecutor) -> None:
        members = list(self.scheduler._members.values())
        self._warnings += check_wiring({m.name: m.options for m in members})
        if not members:
            self._warnings.append("the scheduler has no nodes; add(…) some")
        for text in self._warnings:
            executor.log.warning("%s", text)
        by_order = sorted(members, key=lambda m: m.options.order)
        for _, group in itertools.groupby(by_order, key=lambda m: m.options.order):
            runners = [self._launch(executor, member) for member in group]
            for runner in runners:
                await runner.settled.wait()

    def _begin(self, executor: AsyncIOExecutor, duration: float | None) -> None:
        """Everything is initialised: the grid begins now."""
        epoch = self._epoch = self.now()
        if duration is not None:
            # Before any release of the same instant: n seconds at r Hz are n * r ticks.
            alarm = executor.timer.alarm(
                lambda now: self._run_down(duration), order=-math.inf
            )
            alarm.set(epoch + duration)
            if duration == 0:
                return
        members = list(self.scheduler._members.values())
        spread = spread_phases([m.rate if m.options.phase == "spread" else None for m in members])
        for member, phase in zip(members, spread, strict=True):
            if isinstance(member.options.phase, float):
                phase = member.options.phase
            elif self._conductor is not None:
                phase = 0.0
            self.start_beat(member, at=epoch + phase)

    def _run_down(self, duration: float) -> None:
        self.reason = self.reason or f"its duration of {duration:g} s was over"
        for member in self.scheduler._members.values():
            if member.beat is not None:
                member.beat.stop()
        self._stopping.set()

    async def _stop(self, executor: AsyncIOExecutor) -> None:
        scheduler = self.scheduler
        self._over = True
        self.reason = self.reason or "it was cancelled"
        for member in scheduler._members.values():
            if member.beat is not None:
                member.beat.stop()
        with trio.CancelScope(shield=True):
            late = executor.timer.alarm(lambda now: self._name_the_late(executor))
            late.set(self.now() + scheduler._stop_timeout + 1.0)
            await executor.shutdown_all(scheduler._stop_timeout)
            late.clear()
        self._final = scheduler._last_statistics = scheduler.statistics()
        for runner in executor.runners.values():
            self._keep_record(runner)
        for member in scheduler._members.values():
            if member.runner is not None:
                member.beat = None
        scheduler._topics.start_clock(None)
        executor.close()

    def _name_the_late(self, executor: AsyncIOExecutor) -> None:
        for runner in executor.runners.values():
            if not runner.done.is_set():
                executor.log.critical(
                    "node %r does not end (%s): Trio cannot leave behind async code that shields "
                    "itself, swallows Cancelled or blocks",
                    runner.name,
                    runner.phase,
                )

    # Nodes

    def _launch(self, executor: AsyncIOExecutor, member: _Member) -> NodeRunner:
        member.ledger = Ledger()
        rebuild = None
        if member.factory is not None:
            rebuild = _rebuilder(member, member.factory, self.scheduler)
        runner = executor.start_node(
            member.node, member.name, member.options, member.ledger, rebuild
        )
        member.runner = runner
        if member.paused:
            runner.pause()
        if self._conductor is not None:
            self._conductor.join(runner)
        return runner

    def add_late(self, member: _Member) -> None:
        """Start a node that was added during the run."""
        executor = self.executor
        if executor is None or self._over:
            return
        if self._epoch != self._epoch:
            # Still starting: the group of its order may be through already.
            self._launch(executor, member)
            return
        runner = self._launch(executor, member)
        executor.clean_context.run(executor.nursery.start_soon, self._join_late, member, runner)

    async def _join_late(self, member: _Member, runner: NodeRunner) -> None:
        await runner.settled.wait()
        rate, phase = member.rate, member.options.phase
        if rate is None or self._over:
            return
        if phase == "spread":
            self._added_late += 1
            phase = 0.0 if self._conductor else late_phase(self._added_late, rate)
        self.start_beat(member, at=self._epoch + phase)

    def start_beat(self, member: _Member, at: float) -> None:
        """Release a node on a grid that has a point at `at` (seconds)."""
        executor, runner = self.executor, member.runner
        if executor is None or runner is None or member.rate is None or member.removing:
            return
        if member.beat is not None:
            member.beat.stop()
        if runner.done.is_set():
            return
        grid = Grid(at, member.rate)
        member.beat = Beat(executor.timer, runner.mailbox, grid, member.options.order)
        if not member.paused and not self._over:
            member.beat.start(self.now())

    def _node_left(self, runner: NodeRunner) -> None:
        scheduler = self.scheduler
        member = scheduler._members.get(runner.name)
        if member is None or member.runner is not runner:
            return
        if member.beat is not None:
            member.beat.stop()
        member.node = runner.node
        if runner.failure is not None:
            self._failed.append(runner)
            if runner.fatal:
                self.fatal = True
                self.stop(f"node {runner.name!r} failed")
            elif all(m.runner is not None and m.runner.failure is not None
                     for m in scheduler._members.values()):
                self.fatal = True
                self.stop("every node has failed")
        if member.removing:
            self._keep_record(runner)
            scheduler._forget(member)

    def _keep_record(self, runner: NodeRunner) -> None:
        self._hook_errors += runner.hook_errors
        if runner.shutdown_while_busy:
            self._shutdown_while_busy.append(runner.name)

    # Results

    def observe(self, observer: _Observer) -> None:
        """Call an observer with the results of this run."""
        executor = self.executor
        if executor is None:
            return

        def deliver(result: AsyncResult) -> None:
            try:
                observer.callback(result)
            except Exception:
                observer.errors += 1
                observer.streak += 1
                executor.log.exception("result callback %r failed", observer.callback)
                if observer.streak >= 10:
                    executor.log.error(
                        "result callback %r failed ten times in a row and is dropped",
                        observer.callback,
                    )
                    executor.observers.remove(deliver)
            else:
                observer.streak = 0

        executor.observers.append(deliver)

    # The end

    def failures(self) -> list[Exception]:
        """The original exceptions of the nodes that failed for good, groups taken apart."""
        fatal = [r for r in self._failed if r.fatal] or self._failed
        return [leaf for r in fatal if r.failure is not None for leaf in _leaves(r.failure)]

    def make_report(self) -> RunReport:
        """The report; after `execute`."""
        final = self._final
        if final is None:
            raise HorusError("the run has not ended, so there is no report yet")
        pool = final.pool
        return RunReport(
            name=self.scheduler.name,
            reason=self.reason,
            duration=self.elapsed(),
            statistics=final,
            failed=tuple(
                NodeFailure(
                    node=r.name,
                    fatal=r.fatal,
                    error="; ".join(
                        [_summary(r.failure), *getattr(r.failure, "__notes__", ())]
                    ),
                    traceback="".join(traceback.format_exception(r.failure)),
                )
                for r in self._failed
                if r.failure is not None
            ),
            stragglers=() if pool is None else pool.abandoned,
            shutdown_while_busy=tuple(self._shutdown_while_busy),
            hook_errors=tuple(self._hook_errors),
            warnings=(*self._warnings, *advice(final)),
        )


def run(
    *nodes: Node | Callable[[], Node],
    duration: float | None = None,
    **options: Any,
) -> _RunResult:
    """Run nodes and nothing else: ``horus_trio.run(Camera(), Control(), duration=3)``.

    Arguments:
        nodes: Nodes, or classes or functions that make them.
        duration: Seconds of ticking; None: until stopped.
        options: Of the `Scheduler`.

    Returns:
        The `RunReport`; inside a Trio run an awaitable, as `Scheduler.run`.
    """
    scheduler = Scheduler(**options)
    try:
        for node in nodes:
            scheduler.add(node)
    except BaseException:
        scheduler._release_nodes()
        raise
    if trio.lowlevel.in_trio_run():
        return _run_and_release(scheduler, duration)  # type: ignore[return-value]
    try:
        return scheduler.run(duration)
    finally:
        scheduler._release_nodes()


async def _run_and_release(scheduler: Scheduler, duration: float | None) -> RunReport:
    try:
        return await scheduler.run(duration)
    finally:
        scheduler._release_nodes()


def _rebuilder(
    member: _Member, factory: Callable[[], Node], owner: Scheduler
) -> Callable[[], tuple[Node, Hooks]]:
    def rebuild() -> tuple[Node, Hooks]:
        fresh = factory()
        gather_options(fresh, {})  # refuses what is no node
        member.node._owner = None
        fresh._owner = owner
        member.node = fresh
        return fresh, find_hooks(fresh)

    return rebuild


def _leaves(error: BaseException) -> Iterator[Exception]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            for note in getattr(error, "__notes__", ()):
                inner.add_note(note)
            yield from _leaves(inner)
    elif isinstance(error, Exception):
        yield error
    else:
        exited = NodeExited(f"a node raised {error!r}")
        exited.__cause__ = error
        for note in getattr(error, "__notes__", ()):
            exited.add_note(note)
        yield exited


def _summary(error: BaseException | None) -> str:
    return "" if error is None else f"{type(error).__name__}: {error}"


def _above_zero(option: str, value: Any, unit: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
        raise ConfigurationError(f"{option}={value!r}: expected a finite number of {unit} above 0")
    return float(value)


def _refuse_asyncio() -> None:
    asyncio = sys.modules.get("asyncio")
    if asyncio is None:
        return
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise NotRunning(
        "run() would block the asyncio loop this is called in; put the engine into a thread of "
        "its own: `with horus_trio.background(nodes) as scheduler:`"
    )


@contextlib.contextmanager
def _switch_interval(seconds: float | None) -> Iterator[None]:
    if seconds is None:
        yield
        return
    earlier = sys.getswitchinterval()
    sys.setswitchinterval(seconds)
    try:
        yield
    finally:
        sys.setswitchinterval(earlier)


