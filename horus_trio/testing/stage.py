"""The robot on the bench: how it is run, driven, watched and stopped, whatever it does."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from typing import Any

import outcome
import trio

from ..errors import HorusError, UnknownNode, nearest
from ..executor import AsyncIOExecutor, NodeRunner
from ..health import NodeState
from ..node import Node
from ..scheduler import RunReport, Scheduler
from ..scheduler.settings import Staging
from ..topics import Hub
from .blocking import ThreadWatch
from .eviction import Eviction, is_alive
from .faults import Faults
from .forgotten import ForgottenAwaits
from .injection import dress_hooks, dress_hub, undress_hub
from .pilot import Pilot
from .places import standing
from .record import Record

__all__ = ["HarnessError", "Stage"]

OPENING_WITHIN = 3600.0
"""Virtual seconds until every node is initialised; each ``init`` has a limit of its own."""


class HarnessError(HorusError):
    """The harness was used in a way that makes no sense, or the robot would hang the test."""


class Stage:
    """Runs one robot for a harness, in the task `run`.

    What goes wrong is raised once: by the call that lets time pass, or else on leaving.

    Arguments:
        scheduler: Runs the robot.
        seed: Of jitter.
        faults: The plan of faults.
        pilot: Lets time pass.
        watch: Knows which threads work.
        record: Takes down what happens.
        real_limit: Seconds of real time in which nothing may happen.

    Attributes:
        body: The test's scope; cancelled when the test itself would hang.
        ended: How the run ended, or None.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        *,
        seed: int,
        faults: Faults,
        pilot: Pilot,
        watch: ThreadWatch,
        record: Record,
        real_limit: float,
    ) -> None:
        self.scheduler: Scheduler = scheduler
        self.faults: Faults = faults
        self.pilot: Pilot = pilot
        self.record: Record = record
        self.body: trio.CancelScope = trio.CancelScope()
        self.ended: outcome.Outcome[RunReport] | None = None
        self.forgotten: ForgottenAwaits = ForgottenAwaits()
        self._seed = seed
        self._watch = watch
        self._real_limit = real_limit
        self._executor: AsyncIOExecutor | None = None
        self._is_open = False
        self._is_ending = False
        self._spinning = False
        self._driving = False
        self._over = trio.Event()
        self._problem: HarnessError | None = None
        self._told = False

    # Letting time pass

    async def beat(self, until: float, enough: Callable[[], bool] | None = None) -> None:
        """Let time pass with the metronome going."""
        self.require_running("advance")
        run = self.scheduler._run_state
        metronome = None if run is None else run.metronome
        self.require_free()
        if metronome is None:
            raise HarnessError("advance: the robot is stopping")
        metronome.go(self.pilot.now(), until)
        try:
            await self.drive(until, enough)
        finally:
            metronome.hold()

    async def drive(self, until: float, enough: Callable[[], bool] | None = None) -> None:
        """Let time pass to `until` (seconds), or until `enough`. A checkpoint."""
        self.require_free()
        self._driving = True
        try:
            await self.pilot.drive(until, enough)
        finally:
            self._driving = False
        self.tell()

    def tell(self) -> None:
        """Raise what has gone wrong, once."""
        problem: BaseException | None = self._problem
        if problem is None and isinstance(self.ended, outcome.Error):
            problem = self.ended.error
        if problem is not None and not self._told:
            self._told = True
            raise problem

    def require_free(self) -> None:
        """Raise `HarnessError` while another task lets time pass."""
        if self._driving:
            raise HarnessError(
                "the harness is letting time pass already, in another task; await its calls one "
                "after the other"
            )

    # What the clock notices

    def stood_still(self) -> None:
        """Nothing has happened for `real_limit` seconds of real time."""
        blocked = self._watch.give_up()
        if blocked:
            self._fail(
                f"{blocked}; virtual time stands still while real code runs: use "
                "horus_trio.testing.blocking_delay in place of time.sleep and a FakeDevice in "
                "place of hardware, raise real_limit, or test in real time (real_time=True)"
            )
        elif not self._driving:
            self._fail(
                f"for {self._real_limit:g} s of real time the test has waited at "
                f"{self.pilot.now():g} s of virtual time, which only moves while it awaits the "
                "harness: use `await h.advance(seconds)` in place of trio.sleep, or test in real "
                "time (real_time=True)"
            )

    def spins(self, task: trio.lowlevel.Task) -> None:
        """A task runs on and on without letting time pass."""
        self._spinning = True
        if self._is_ending:  # cancelled, and it goes on all the same
            self.pilot.halt()
            return
        self._fail(
            f"task {task.name} runs again and again at {self.pilot.now():g} s and never lets time "
            f"pass, {standing(task)}; await trio.sleep(…) of more than 0 in its loop"
        )
        if self._executor is not None:
            self._executor.force_all(0.0)

    def _fail(self, text: str) -> None:
        if self._problem is None:
            self._problem = HarnessError(text)
        if self._driving:
            self.pilot.halt()
        else:
            self.body.cancel()

    # Looking

    def require_running(self, call: str) -> None:
        """Raise `HarnessError` unless the robot runs."""
        if not self._is_open:
            raise HarnessError(f"{call}: the harness is closed; call it inside `async with`")
        if self.ended is None:
            return
        report = self.scheduler.report
        why = "" if report is None else f": {report.reason}"
        raise HarnessError(f"{call}: the robot has stopped{why}; open another harness")

    def runners(self) -> list[NodeRunner]:
        """The tasks of all nodes."""
        found = [m.runner for m in self.scheduler._members.values() if m.runner is not None]
        if not found:
            raise HarnessError("there is no node in this harness")
        return found

    def runner(self, node: Node | str | None) -> NodeRunner:
        """The task of one node; of the only one, if None is named."""
        if node is None:
            runners = self.runners()
            if len(runners) > 1:
                names = ", ".join(repr(runner.name) for runner in runners)
                raise HarnessError(f"there are {len(runners)} nodes; name one of {names}")
            return runners[0]
        name = node if isinstance(node, str) else getattr(node, "name", None)
        member = self.scheduler._members.get(name) if isinstance(name, str) else None
        if member is None or member.runner is None:
            raise UnknownNode(f"no node {name or node!r}{nearest(str(name), self.names())}")
        return member.runner

    def names(self) -> list[str]:
        return list(self.scheduler._members)

    def doings(self) -> str:
        return "; ".join(f"node {r.name!r} {self.doing(r)}" for r in self.runners())

    def doing(self, runner: NodeRunner) -> str:
        if runner.state is NodeState.WAITING_FOR_INPUT:
            return f"is waiting for topic {runner.seat.waiting_for!r}"
        where = "" if runner.task is None else f", {standing(runner.task)}"
        return f"is {runner.state.value} ({runner.phase}{where})"

    # Running, opening, closing

    async def run(self) -> None:
        """The robot's task."""
        staging = Staging(dice=random.Random(self._seed).random, prepare=self._prepare)
        status: trio.TaskStatus[None] = _Started(self)
        self.ended = await outcome.acapture(self.scheduler._run, None, status, staging)
        self._over.set()
        self.pilot.halt()

    def _prepare(self, executor: AsyncIOExecutor) -> None:
        self._executor = executor
        self._watch.serve(executor)
        executor.dress = lambda name, hooks: dress_hooks(self.faults, name, hooks)
        executor.observers.insert(0, self.record.tick)

        def later(seconds: float, hub: Hub[Any], data: Any) -> None:
            alarm = executor.timer.alarm(lambda now: _deliver(hub, data))
            alarm.set(executor.clock() + seconds)

        def dress(hub: Hub[Any]) -> None:
            self.record.tap(hub, executor.clock)
            dress_hub(
                self.faults,
                hub,
                lambda seconds, data: executor.call_on_loop(later, seconds, hub, data),
            )

        topics = self.scheduler._topics
        for hub in topics:
            dress(hub)
        topics._on_new = dress

    def started(self) -> None:
        """Every node is initialised."""
        self._is_open = True

    async def open(self) -> None:
        """Wait until the robot has started."""
        until = self.pilot.after(OPENING_WITHIN)
        await self.drive(until, lambda: self._is_open or self._is_over())
        if not self._is_open and not self._is_over():
            raise HarnessError(f"the robot does not start: {self.doings()}")
        if not self._is_open:  # stopped in an init: its threads end in real time
            await self._over.wait()
            self.tell()
        self._is_open = True

    async def close(self) -> None:
        """Stop the robot, whatever it does, and leave its topics as they were."""
        await self.end("its harness was left")
        self._is_open = False
        self._watch.close()
        topics = self.scheduler._topics
        topics._on_new = None
        for hub in topics:
            undress_hub(hub)
        self.record.untap(topics)
        forgotten = self.forgotten.close()
        if forgotten and self._problem is None:
            self._problem = HarnessError(forgotten)

    async def end(self, reason: str) -> None:
        """Stop the robot, if need be by force. A checkpoint."""
        self._driving = self._is_ending = True
        self._spinning = False
        self.scheduler.stop(reason)
        limit = self.scheduler.settings.stop_timeout + 2.0
        try:
            for _ in range(2):  # once more, if a blocked thread halted it
                if not self._have_left() and not self._spinning:
                    await self.pilot.drive(self.pilot.after(limit), self._have_left)
            if not self._have_left():
                await self._end_by_force()
            await self._over.wait()  # what is left, such as idle threads that end, is in real time
        finally:
            self._driving = False

    def _is_over(self) -> bool:
        """Whether the run has ended, but for what ends in real time."""
        run = self.scheduler._run_state
        return self.ended is not None or (run is not None and run._over and self._have_left())

    def _have_left(self) -> bool:
        """Whether every node has left."""
        executor = self._executor
        return self.ended is not None or (
            executor is not None and all(r.done.is_set() for r in executor.runners.values())
        )

    async def _end_by_force(self) -> None:
        executor = self._executor
        if executor is None:
            return
        runners = [r for r in executor.runners.values() if not r.done.is_set()]
        texts = [f"node {r.name!r} does not stop: it {self.doing(r)}" for r in runners]
        why = (
            f"{'; '.join(texts)}. Trio cannot leave behind async code that shields itself or "
            "swallows trio.Cancelled: let Cancelled through, and bound every shield"
        )
        if self._problem is None:
            self._problem = HarnessError(why)
        with contextlib.ExitStack() as evictions:
            tasks = [r.task for r in runners if r.task is not None]
            for task in tasks:
                evictions.enter_context(Eviction(task, 0.0, drops=True))
            while any(map(is_alive, tasks)):
                await trio.lowlevel.checkpoint()
        for runner in runners:
            if not runner.done.is_set():  # its task was dropped
                runner._finish()


def _deliver(hub: Hub[Any], data: Any) -> None:
    with contextlib.suppress(trio.ClosedResourceError):  # closed while it was on its way
        hub.publish(data)


class _Started:
    """The `trio.TaskStatus` of the robot's run."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def started(self, value: None = None) -> None:
        """Every node is initialised."""
        self._stage.started()
