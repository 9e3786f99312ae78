"""One run of a scheduler: start, tick, stop, report."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
import random
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import trio
from trio_util import move_on_when

from ..errors import HorusError, NodeExited, add_remedy
from ..executor import POOL_TOKENS, AsyncIOExecutor, EmergencyReport, NodeRunner, open_shielded
from ..health import Ledger
from ..logs import LogThread, message_of
from ..timer import Grid, is_real_time
from .conductor import Conductor
from .interpreter import Collector, switch_interval
from .member import Member
from .metronome import Metronome, late_phase, spread_phases
from .report import NodeFailure, RunReport, SchedulerStatistics, advice
from .settings import Staging
from .signals import SignalWatch
from .watchdog import HELD_UP, Lookout, Stall, make_dump
from .wiring import check_wiring

if TYPE_CHECKING:
    from .scheduler import Scheduler

__all__ = ["Run"]

SAY_WITHIN = 0.3
"""Seconds for which whoever makes an emergency waits to hear whom it has reached."""

BEAT_TAKES = 5e-6
"""Seconds that a node's beat takes to be made: of ten thousand the first would begin late."""


class Run:
    """One run of a scheduler: start, tick, stop, report.

    Arguments:
        scheduler: Whose nodes are run.
        staging: What a test harness wants otherwise, or None.
    """

    def __init__(self, scheduler: Scheduler, staging: Staging | None = None) -> None:
        self.scheduler = scheduler
        self._staging = staging
        self.token: trio.lowlevel.TrioToken = trio.lowlevel.current_trio_token()
        self.now: Callable[[], float] = trio.lowlevel.current_clock().current_time
        self.executor: AsyncIOExecutor | None = None
        self.metronome: Metronome | None = None
        self.reason: str = ""
        self.fatal: bool = False
        self.forced_by: str = ""
        self.final: SchedulerStatistics | None = None
        """The counters at the end; until then None."""
        self._thread = threading.get_ident()
        self._root = trio.lowlevel.current_root_task()
        self._lookout: Lookout | None = None
        self._emergencies: tuple[EmergencyReport, ...] = ()
        self._stopping = trio.Event()
        self._epoch = math.nan
        self._ended = math.nan
        self._warnings: list[str] = []
        self._failed: dict[NodeRunner, BaseException] = {}
        self._hook_errors: list[str] = []
        self._shutdown_while_busy: list[str] = []
        self._conductor = Conductor() if scheduler.settings.deterministic else None
        self._added_late = 0
        self._over = False

    def elapsed(self) -> float:
        """Seconds of ticking so far."""
        if self._epoch != self._epoch:
            return 0.0
        end = self._ended if self._ended == self._ended else self.now()
        return max(0.0, end - self._epoch)  # the epoch may be just ahead

    def stop(self, reason: str) -> None:
        """Ask for a graceful stop; any thread, signal-safe."""
        if not self.reason:
            self.reason = reason
        if self._lookout is not None:
            self._lookout.stop_asked()
        with contextlib.suppress(trio.RunFinishedError):
            self.token.run_sync_soon(self._stopping.set, idempotent=True)

    def emergency_stop(self, reason: str) -> EmergencyReport:
        """Bring every critical node into its safe state; any thread, signal-safe."""
        if self.executor is None:
            return EmergencyReport(reason=reason, at=self.now(), active=False)
        safety = self.executor.safety
        report = safety.trip(reason)
        if threading.get_ident() != self._thread:  # on the loop, nobody may wait
            give_up = time.monotonic() + SAY_WITHIN
            while report.pending and time.monotonic() < give_up:
                time.sleep(SAY_WITHIN / 300)
                report = safety.report or report
        return report

    def emergencies(self) -> tuple[EmergencyReport, ...]:
        """The latest emergencies of this run; any thread."""
        if self.final is not None or self.executor is None:
            return self._emergencies
        return self.executor.safety.reports

    def stalls(self) -> tuple[int, tuple[Stall, ...]]:
        """How often the loop stood still, and the latest of those times; any thread."""
        return (0, ()) if self._lookout is None else self._lookout.stalls()

    def dump(self) -> str:
        """Who waits for whom, and where every task and thread stands; any thread."""
        name, seconds = self.scheduler.name, self.elapsed()
        title = f"{name} has been running for {seconds:.1f} s"
        if self.reason:
            title += f" and is stopping: {self.reason}"
        blocked = None if self._lookout is None else self._lookout.blocked
        return make_dump(title, self.executor, self._root, blocked)

    def force(self, reason: str) -> None:
        """Cut everything short, once; on the loop."""
        if self.forced_by:
            return
        if self._lookout is not None:
            self._lookout.stop_forced()
        self.reason = f"{self.reason}, forced by {reason}"
        self.forced_by = reason
        if self.executor is not None:
            self.executor.log.warning("stop forced by %s", reason)
            self.executor.force_all()

    # The run

    async def execute(
        self, duration: float | None, task_status: trio.TaskStatus[None]
    ) -> BaseException | None:
        """Run to the end. Returns what has to be raised instead of a report."""
        scheduler, staging = self.scheduler, self._staging
        problem: BaseException | None = None
        dice = random.Random(0).random if self._conductor else random.random
        with (
            # The outermost: putting the rest back takes a while, and Ctrl-C must not cut it short.
            SignalWatch(
                scheduler.settings.signals and staging is None,
                stop=self.stop,
                emergency=self._second_signal,
                force=self.force,
                dump=self._dump_to_stderr,
            ) as signals,
            LogThread() as log_thread,
            switch_interval(scheduler.settings.switch_interval),
            Collector(wanted=staging is None and is_real_time()) as collector,
            contextlib.ExitStack() as watches,
        ):
            async with trio.open_nursery() as nursery:
                executor = self.executor = AsyncIOExecutor(
                    nursery,
                    await open_shielded(nursery),
                    limiter=scheduler.settings.limiter or trio.CapacityLimiter(POOL_TOKENS),
                    max_abandoned=scheduler.settings.max_abandoned,
                    topics=scheduler._topics,
                    log_thread=log_thread,
                    on_stop=self.stop,
                    results=scheduler._results,
                    dice=dice if staging is None else staging.dice,
                )
                self.metronome = Metronome(executor.timer, held=staging is not None)
                executor.on_left = self._node_left
                scheduler._topics.start_clock(executor.clock)
                for observer in scheduler._observers:
                    observer.join(executor)
                if self._conductor is not None:
                    nursery.start_soon(self._conductor.run)
                if staging is not None:
                    staging.prepare(executor)
                if scheduler._profile is not None:
                    watches.enter_context(scheduler._profile(executor))
                try:
                    async with move_on_when(self._stopping.wait):
                        try:
                            if staging is None and is_real_time():
                                lookout = self._look_out(executor, signals)
                                self._lookout = watches.enter_context(lookout)
                            await self._start(executor, collector)
                            collector.freeze()
                            task_status.started()
                            self._begin(executor, duration)
                            if self._lookout is not None:
                                self._lookout.ready()
                            await trio.sleep_forever()
                        except (HorusError, KeyboardInterrupt, OSError, RuntimeError) as error:
                            add_remedy(error)  # no descriptor, or no thread, for the watchdog
                            problem = error  # kept out of the nurseries, which would wrap it
                            self.reason = self.reason or repr(error)
                finally:
                    self._ended = self.now()
                    await self._stop(executor)
                    nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                await log_thread.finish()
        if log_thread.dropped:
            self._warnings.append(
                f"{log_thread.dropped} log records were dropped: log handlers are slow, or nobody "
                "reads what they write"
            )
        return problem

    async def _start(self, executor: AsyncIOExecutor, collector: Collector) -> None:
        members = list(self.scheduler._members.values())
        self._warnings += check_wiring({m.name: m.options for m in members})
        if not members:
            self._warnings.append("the scheduler has no nodes; add(…) some")
        for text in self._warnings:
            executor.log.warning("%s", text)
        # Every declared topic is joined before any init, which may publish.
        with collector.building():
            runners = [self._seat(executor, member) for member in members]
        runners.sort(key=lambda r: r.options.order)
        for _, group in itertools.groupby(runners, key=lambda r: r.options.order):
            started = list(group)
            with collector.building():
                for runner in started:
                    runner.start()
            for runner in started:
                if not runner.settled.is_set():
                    await runner.settled.wait()

    def _begin(self, executor: AsyncIOExecutor, duration: float | None) -> None:
        """Everything is initialised: the grid begins, in real time when the beats are made."""
        members = list(self.scheduler._members.values())
        epoch = self.now()
        if executor.timer.is_precise:
            epoch += len(members) * BEAT_TAKES
        self._epoch = epoch
        if duration is not None:
            # Before any release of the same instant: n seconds at r Hz are n * r ticks.
            alarm = executor.timer.alarm(lambda now: self._run_down(duration), order=-math.inf)
            alarm.set(epoch + duration)
            if self.metronome is not None:
                self.metronome.end = epoch + duration
        spread = spread_phases([m.rate if m.options.phase == "spread" else None for m in members])
        for member, phase in zip(members, spread, strict=True):
            if isinstance(member.options.phase, float):
                phase = member.options.phase
            elif self._conductor is not None:
                phase = 0.0
            self.start_beat(member, at=epoch + phase, since=epoch)

    def _run_down(self, duration: float) -> None:
        self.reason = self.reason or f"its duration of {duration:g} s was over"
        if self.metronome is not None:
            self.metronome.stop()
        self._stopping.set()

    async def _stop(self, executor: AsyncIOExecutor) -> None:
        scheduler = self.scheduler
        self._over = True
        self.reason = self.reason or "it was cancelled"
        if self._lookout is not None:
            self._lookout.stop_begun(self.reason)
        if self.metronome is not None:
            self.metronome.stop()
        with trio.CancelScope(shield=True):
            held_up = executor.timer.alarm(
                lambda now: executor.safety.trip_if_exposed("the stop is held up")
            )
            held_up.set(self.now() + HELD_UP)
            await executor.shutdown_all(scheduler.settings.stop_timeout)
        if self._conductor is not None:
            self._conductor.close()
        self._emergencies = executor.safety.reports
        self.final = dataclasses.replace(scheduler.statistics(), running=False)
        scheduler._last_statistics = self.final
        for runner in executor.runners.values():
            self._keep_record(runner)
        for member in scheduler._members.values():
            member.beat = None
        scheduler._topics.start_clock(None)
        for observer in scheduler._observers:
            observer.leave()
        executor.close()

    # Looking at it from outside

    def _look_out(self, executor: AsyncIOExecutor, signals: SignalWatch) -> Lookout:
        settings = self.scheduler.settings
        lookout = Lookout(
            executor,
            stall_after=settings.stall_after,
            stop_within=settings.stop_timeout,
            hear=signals.hear,
            last_resort=self.scheduler._last_resort,
        )
        if signals.is_outermost:
            lookout.listen()
        if self.reason:
            lookout.stop_asked()
        return lookout

    def _second_signal(self, reason: str) -> None:
        """In a signal handler, or in the watchdog's thread."""
        if self._lookout is not None:
            self._lookout.stop_forced()
        if self.executor is not None:
            self.executor.safety.trip_if_exposed(reason)

    def _dump_to_stderr(self) -> None:
        """In a thread of its own: nobody may read the terminal."""
        thread = threading.Thread(target=self.scheduler.dump, name="horus_trio dump", daemon=True)
        thread.start()

    # Nodes

    def _seat(self, executor: AsyncIOExecutor, member: Member) -> NodeRunner:
        member.ledger = Ledger()
        runner = executor.seat_node(
            member.node, member.name, member.options, member.ledger, member.rebuild
        )
        member.runner = runner
        if member.paused:
            runner.pause()
        if self._conductor is not None:
            self._conductor.join(runner)
        return runner

    def add_late(self, member: Member) -> None:
        """Start a node that was added during the run."""
        executor = self.executor
        if executor is None or self._over:
            return
        if self._epoch != self._epoch:
            # Still starting: the group of its order may be through already.
            self._seat(executor, member).start()
            return
        runner = self._seat(executor, member)
        runner.start()
        executor.start_soon(self._join_late, member, runner)

    async def _join_late(self, member: Member, runner: NodeRunner) -> None:
        await runner.settled.wait()
        rate, phase = member.rate, member.options.phase
        if rate is None or self._over:
            return
        if phase == "spread":
            self._added_late += 1
            phase = 0.0 if self._conductor else late_phase(self._added_late, rate)
        self.start_beat(member, at=self._epoch + phase, since=self.now())

    def start_beat(self, member: Member, at: float, since: float) -> None:
        """Release a node on the grid through `at`, at its points from `since` on (seconds)."""
        metronome, runner = self.metronome, member.runner
        if metronome is None or runner is None or member.rate is None or member.removing:
            return
        if self._epoch != self._epoch:
            return  # NaN, still starting: the beat begins with the others'
        if member.beat is not None:
            member.beat.stop()
        if runner.done.is_set():
            return
        runner.seat.period = 1.0 / member.rate
        grid = Grid(at, member.rate)
        member.beat = metronome.beat(runner.mailbox, grid, member.options.order)
        if not member.paused and not self._over:
            member.beat.start(since)

    def resume_beat(self, member: Member) -> None:
        """Go on releasing a node on its old grid, unless it or the run is about to end."""
        if member.beat is not None and not member.removing and not self._over:
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
            self._failed[runner] = runner.failure
            if runner.fatal:
                self.fatal = True
                self.stop(f"node {runner.name!r} failed")
            elif all(
                m.runner is not None and m.runner.failure is not None
                for m in scheduler._members.values()
            ):
                self.fatal = True
                for failed in self._failed:
                    failed.fatal = True
                self.stop("every node has failed")
        if member.removing:
            self._keep_record(runner)
            scheduler._forget(member)

    def _keep_record(self, runner: NodeRunner) -> None:
        self._hook_errors += runner.hook_errors
        if runner.shutdown_while_busy:
            self._shutdown_while_busy.append(runner.name)

    # The end

    def failures(self) -> list[Exception]:
        """The original exceptions of the nodes that failed for good, groups taken apart."""
        fatal = [error for runner, error in self._failed.items() if runner.fatal]
        return [leaf for error in fatal or self._failed.values() for leaf in _leaves(error)]

    def make_report(self) -> RunReport:
        """The report; after `execute`."""
        final = self.final or self.scheduler.statistics()
        pool = final.pool
        return RunReport(
            name=self.scheduler.name,
            reason=self.reason,
            duration=self.elapsed(),
            forced_by=self.forced_by,
            statistics=final,
            failed=tuple(
                NodeFailure(
                    node=runner.name,
                    fatal=runner.fatal,
                    error="; ".join([_summary(error), *getattr(error, "__notes__", ())]),
                    traceback="".join(traceback.format_exception(error)),
                )
                for runner, error in self._failed.items()
            ),
            stragglers=() if pool is None else pool.abandoned,
            shutdown_while_busy=tuple(self._shutdown_while_busy),
            hook_errors=tuple(self._hook_errors),
            emergencies=self.emergencies(),
            earlier_emergencies=0 if self.executor is None else self.executor.safety.forgotten,
            warnings=(*self._warnings, *advice(final)),
        )


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


def _summary(error: BaseException) -> str:
    return f"{type(error).__name__}: {message_of(error)}"
