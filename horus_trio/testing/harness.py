"""`Harness`: what a test says to the robot on its bench, and asks of it."""

from __future__ import annotations

import collections
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

from ..arguments import is_whole
from ..errors import ConfigurationError, UnknownNode, UnknownTopic, nearest
from ..executor import NodeRunner
from ..health import NodeState, NodeStatistics
from ..messages import AsyncResult
from ..node import Node, find_hooks
from ..scheduler import RunReport, Scheduler, SchedulerStatistics
from ..topics import Hub
from .faults import HOOKS, Fault, FaultKind, FaultMethods, Faults
from .injection import faulty
from .record import SentMessage, Trace, sent_by_test
from .stage import HarnessError, Stage

__all__ = ["Harness"]

T = TypeVar("T")

TICK_WITHIN = 300.0
"""Virtual seconds a tick on demand may take."""


class Harness(FaultMethods):
    """A robot on the bench. Made by `open_harness`.

    Attributes:
        scheduler: Runs the robot.
        seed: Of the run order, the jitter and the chance of faults.
        faults: The plan of faults.
    """

    def __init__(self, stage: Stage, *, seed: int, strict: bool) -> None:
        self.scheduler: Scheduler = stage.scheduler
        self.seed: int = seed
        self.faults: Faults = stage.faults
        self._strict = strict
        self._stage = stage
        self._awaited: dict[NodeRunner, int] = {}

    def __repr__(self) -> str:
        state = "running" if self._stage.ended is None else "stopped"
        return f"<Harness of {self.scheduler!r}, {state} at {self.now!r} s, seed {self.seed}>"

    # Time

    @property
    def now(self) -> float:
        """The instant, in seconds on the run's clock."""
        return self._stage.pilot.now()

    def advance(self, seconds: float) -> Coroutine[Any, Any, None]:
        """Await it to let time pass: all that falls due happens, in order.

        Nodes tick at their rates from now up to, and without, the instant at the end, so that
        `seconds` at `rate` Hz are ``seconds * rate`` ticks; all else that falls due at the end
        happens too. A checkpoint.

        Raises:
            ConfigurationError: `seconds` is not a finite number, 0 or more.
            HarnessError: The robot has stopped, or a thread of it really blocks.
            RunFailed: The run failed meanwhile.
        """
        return self._stage.forgotten.watch(self._advance(seconds), f"advance({seconds!r})")

    def advance_until(
        self, condition: Callable[[], object], *, within: float = 60.0
    ) -> Coroutine[Any, Any, None]:
        """Await it to let time pass, as `advance`, until `condition` returns something true.

        It is asked whenever the robot is at rest, before time moves. A checkpoint.

        Raises:
            HarnessError: It did not within so many seconds; the message says what the nodes do.
        """
        return self._stage.forgotten.watch(
            self._advance_until(condition, within), "advance_until(…)"
        )

    def settle(self) -> Coroutine[Any, Any, None]:
        """Await it to let everything happen that can without time passing. A checkpoint."""
        return self._stage.forgotten.watch(self._settle(), "settle()")

    def tick(
        self, count: int = 1, *, node: Node | str | None = None, within: float = TICK_WITHIN
    ) -> Coroutine[Any, Any, list[AsyncResult]]:
        """Await it to have nodes tick on demand, beside their rates, which rest meanwhile.

        Time passes only as far as the ticks need it. A checkpoint.

        Arguments:
            count: How many ticks, one after the other.
            node: Which node; None: all of them, side by side.
            within: Seconds one tick may take before it counts as hung.

        Returns:
            The results in the order in which the ticks ended.

        Raises:
            HarnessError: The node has stopped or is paused, or its tick does not end.
            RunFailed: The run failed meanwhile.
        """
        return self._stage.forgotten.watch(self._tick(count, node, within), f"tick({count!r})")

    def stop(self, reason: str = "the test stopped it") -> Coroutine[Any, Any, RunReport]:
        """Await it to stop the robot gracefully, and look at its report. A checkpoint.

        Raises:
            RunFailed: The run had failed, and nothing had said so yet.
            HarnessError: A node does not end.
        """
        return self._stage.forgotten.watch(self._stop(reason), "stop()")

    # Topics

    def publish(self, topic: str, data: Any) -> int:
        """Publish to an input of the robot; faults of the topic strike. Not a checkpoint.

        Nothing has reacted yet when it returns: await `tick`, `advance` or `settle`. A message
        that nobody listens for yet is kept for the first node that does, since one that declares
        no topics joins them when it first reads.

        Returns:
            How many subscriptions took the message.

        Raises:
            UnknownTopic: With ``strict=True``: no node declares to read it.
            HarnessError: The robot has stopped.
        """
        self._stage.require_running(f"publish({topic!r}, …)")
        if self._strict:
            options = [m.options for m in self.scheduler._members.values()]
            read = [name for o in options for name in (*o.on, *(sub.topic for sub in o.subs))]
            self._check_declared(f"publish({topic!r}, …)", topic, read, "read")
        token = sent_by_test.set(True)
        try:
            return self.scheduler.topic(topic).send(data)
        finally:
            sent_by_test.reset(token)

    def sent(self, topic: str) -> list[Any]:
        """What nodes have sent to a topic since the harness was opened, oldest first.

        Raises:
            UnknownTopic: With ``strict=True``: no node declares to write it.
        """
        return [message.data for message in self.messages(topic)]

    def messages(self, topic: str) -> list[SentMessage]:
        """`sent` with the time and the sender of each message."""
        if self._strict:
            options = [m.options for m in self.scheduler._members.values()]
            written = [pub.topic for o in options for pub in o.pubs]
            self._check_declared(f"sent({topic!r})", topic, written, "write")
        return self._stage.record.messages(topic)

    def topic(self, name: str) -> Hub[Any]:
        """The topic of that name."""
        return self.scheduler.topic(name)

    # What the robot did and does

    @property
    def results(self) -> list[AsyncResult]:
        """The results of all ticks so far, oldest first."""
        return list(self._stage.record.results)

    def results_of(self, node: Node | str) -> list[AsyncResult]:
        """The results of one node's ticks, also of one that was removed."""
        name = node if isinstance(node, str) else node.name
        if name not in self._stage.record.counts:
            name = self._stage.runner(node).name
        return [result for result in self._stage.record.results if result.node == name]

    def statistics(self) -> SchedulerStatistics:
        """The counters now."""
        return self.scheduler.statistics()

    def node_statistics(self, node: Node | str | None = None) -> NodeStatistics:
        """One node's counters now; the only node's if there is but one."""
        return self.scheduler.statistics().nodes[self._stage.runner(node).name]

    def state(self, node: Node | str | None = None) -> NodeState:
        """What a node is doing now; the only node's if there is but one."""
        return self._stage.runner(node).state

    @property
    def states(self) -> dict[str, NodeState]:
        """What each node is doing now, by name."""
        return {runner.name: runner.state for runner in self._stage.runners()}

    def node(self, name: str | None = None) -> Node:
        """The node of a name as it is now: after a restart of a factory, the fresh instance."""
        return self._stage.runner(name).node

    @property
    def trace(self) -> Trace:
        """The trace, which ``open_harness(…, trace=True)`` keeps.

        Raises:
            HarnessError: It keeps none.
        """
        if self._stage.record.trace is None:
            raise HarnessError("this harness keeps no trace: pass open_harness(…, trace=True)")
        return self._stage.record.trace

    @property
    def report(self) -> RunReport | None:
        """The report, once the robot has stopped."""
        return None if self._stage.ended is None else self.scheduler.report

    # Faults

    def wrap(self, device: T) -> T:
        """A device whose calls are struck by this harness's faults; see `faulty`."""
        return faulty(device, self.faults)

    def heal(self, fault: Fault | None = None) -> None:
        """Take a fault out of the plan, or all of them."""
        self.faults.heal(fault)

    def _add(
        self,
        kind: FaultKind,
        where: str,
        at: int | Iterable[int] | None,
        probability: float | None,
        node: str | None,
        **details: Any,
    ) -> Fault:
        fault = self.faults._add(kind, where, at, probability, node, **details)
        if fault.where in HOOKS:
            hooks = {
                name: find_hooks(member.node)
                for name, member in self.scheduler._members.items()
                if node is None or name == node
            }
            if not hooks and node is not None:
                self.faults.heal(fault)
                raise UnknownNode(f"no node {node!r}{nearest(node, self.scheduler._members)}")
            if all(getattr(found, fault.where) is None for found in hooks.values()):
                self.faults.heal(fault)
                raise HarnessError(
                    f"{kind.value}({where!r}): node {', '.join(map(repr, hooks))} has no "
                    f"{fault.where} to strike; define one"
                )
        return fault

    # Inside

    async def _advance(self, seconds: float) -> None:
        await self._stage.beat(self._stage.pilot.after(seconds))

    async def _advance_until(self, condition: Callable[[], object], within: float) -> None:
        if not callable(condition):
            raise ConfigurationError(f"advance_until({condition!r}): expected a function")
        failed: list[Exception] = []
        met = False

        def enough() -> bool:
            nonlocal met
            try:
                met = bool(condition())
            except Exception as error:  # noqa: BLE001 - raised below, outside Trio's loop
                failed.append(error)
            return met or bool(failed)

        await self._stage.beat(self._stage.pilot.after(within), enough)
        if failed:
            raise failed[0]
        if not met:
            raise HarnessError(
                f"advance_until: the condition was not met within {within:g} s; "
                f"{self._stage.doings()}"
            )

    async def _settle(self) -> None:
        self._stage.require_running("settle()")
        await self._stage.drive(self.now)

    async def _tick(self, count: int, node: Node | str | None, within: float) -> list[AsyncResult]:
        if not is_whole(count, 1):
            raise ConfigurationError(f"tick({count!r}): expected a whole number, 1 or more")
        self._stage.require_running("tick()")
        record = self._stage.record
        before = len(record.results) + record.forgotten
        in_flight: collections.Counter[str] = collections.Counter()
        runners: list[NodeRunner] = []
        for _ in range(count):
            runners = self._stage.runners() if node is None else [self._stage.runner(node)]
            for runner in runners:
                self._require_ticking(runner)
            for runner in runners:
                in_flight[runner.name] += runner.mailbox.busy
                self._awaited[runner] = record.counts[runner.name] + runner.mailbox.busy + 1
                runner.mailbox.post(self.now)
            try:
                await self._stage.drive(self._stage.pilot.after(within), self._no_more_to_come)
                self._refuse_hung(within)
            finally:
                self._awaited.clear()
        names = {runner.name for runner in runners}
        results: list[AsyncResult] = []
        for result in list(record.results)[max(0, before - record.forgotten) :]:
            if in_flight[result.node]:
                in_flight[result.node] -= 1  # a tick that was under way already
            elif result.node in names:
                results.append(result)
        return results

    def _no_more_to_come(self) -> bool:
        counts, awaited = self._stage.record.counts, self._awaited
        for runner, need in tuple(awaited.items()):
            if counts[runner.name] >= need:
                del awaited[runner]
        return all(runner.done.is_set() for runner in awaited)

    def _refuse_hung(self, within: float) -> None:
        self._no_more_to_come()
        if not self._awaited:
            return
        runner = next(iter(self._awaited))
        name = runner.name
        if runner.done.is_set():
            raise HarnessError(f"tick(): {self._why_stopped(runner)}")
        raise HarnessError(
            f"tick(): node {name!r} did not end its tick within {within:g} s: it "
            f"{self._stage.doing(runner)}; publish what it waits for before, let other nodes send "
            "it by advance(), or give it a tick_timeout"
        )

    async def _stop(self, reason: str) -> RunReport:
        self._stage.require_running("stop()")
        self._stage.require_free()
        await self._stage.end(reason)
        self._stage.tell()
        if self._stage.ended is None:  # told before, or the end would be here
            raise HarnessError("stop(): the robot does not end")
        return self._stage.ended.unwrap()

    def _require_ticking(self, runner: NodeRunner) -> None:
        if runner.done.is_set() or runner.mailbox.leaving is not None:
            raise HarnessError(f"tick(): {self._why_stopped(runner)}")
        if runner.is_paused:
            raise HarnessError(
                f"tick(): node {runner.name!r} is paused; h.scheduler.resume({runner.name!r}) first"
            )

    def _why_stopped(self, runner: NodeRunner) -> str:
        if runner.failure is not None:
            return (
                f"node {runner.name!r} has stopped: it failed for good with {runner.failure!r}; "
                "its failure_policy decides that"
            )
        return f"node {runner.name!r} has stopped; a stopped node does not tick"

    def _check_declared(self, call: str, topic: str, known: Iterable[str], verb: str) -> None:
        names = set(known)
        if topic not in names:
            raise UnknownTopic(
                f"{call}: no node declares to {verb} topic {topic!r}{nearest(topic, names)} "
                f"(strict=True; declare it in the node's "
                f"{'subs or on' if verb == 'read' else 'pubs'})"
            )
