"""The bench on which a contract tries a node: a harness, fed with inputs, that judges its end."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import trio

from ...errors import ConfigurationError, HorusError, MessageTypeError, NodeError
from ...executor import NodeRunner
from ...health import NodeState
from ...messages import AsyncResult, Tick, TickStatus, current_fence
from ...node import Hook, Hooks, Node, NodeOptions, OptionKeywords, find_hooks, gather_options
from ...policies import FailurePolicy, Ignore
from ...scheduler import RunReport, Scheduler
from ..faults import Faults
from ..harness import Harness
from ..leftovers import Scene
from ..opening import open_harness
from ..stage import HarnessError
from .contract import broken, left_behind, outline

__all__ = [
    "SEED",
    "Bench",
    "Calls",
    "Specimen",
    "Subject",
    "make_one",
    "open_bench",
    "require_clean",
    "seated",
]

SEED = 1
"""Of every bench: a contract that is broken is broken again."""

MOMENT = 0.001
"""Virtual seconds that are enough for a tick to begin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Specimen:
    """The node that is tried, and what it is tried with.

    Attributes:
        make_node: Makes one.
        inputs: Messages by topic.
        ticks: How many ticks a plain run has.
        real_limit: Real seconds a blocking hook may take.
        given: Options as in ``Scheduler.add``.
        options: All its options, checked.
        name: Its name on the bench.
        hooks: Which hooks it has.
    """

    make_node: Callable[[], Node]
    inputs: Mapping[str, tuple[Any, ...]]
    ticks: int
    real_limit: float
    given: OptionKeywords
    options: NodeOptions
    name: str
    hooks: Hooks

    def make(self) -> Node:
        """One more.

        Raises:
            NodeError: It is no node.
        """
        return make_one(self.make_node, self.given)


def make_one(make_node: Callable[[], Node], given: OptionKeywords) -> Node:
    """Make a node, and look whether it is one.

    Raises:
        ContractBroken: It cannot be made.
        NodeError: It is no node.
    """
    try:
        node = make_node()
    except HorusError:
        raise
    except Exception as error:
        raise broken(
            "life cycle",
            expected="make_node() to make a node",
            came=outline(error),
            remedy="open devices in init, not in __init__, and give arguments with a lambda",
        ) from error
    if inspect.iscoroutine(node):
        node.close()
        raise NodeError("check_node(make_node): expected a plain function, got an async one")
    gather_options(node, given)
    return node


class Calls:
    """Counts the calls of ``init`` that succeeded, and all calls of ``shutdown``.

    Arguments:
        faults: The plan of the run; faults of ``init`` are in it already.
        node: The node's name.
    """

    def __init__(self, faults: Faults, node: str) -> None:
        self.inits: int = 0
        self._shutdowns = faults.corrupt("shutdown", lambda value: value, node=node)
        faults.corrupt("init", self._initialised, node=node)

    @property
    def shutdowns(self) -> int:
        """How often ``shutdown`` was called."""
        return self._shutdowns.fired

    def _initialised(self, value: Any) -> Any:
        self.inits += 1
        return value


class Bench:
    """A node in a harness, under one rule. Made by `open_bench`."""

    def __init__(self, rule: str, specimen: Specimen, harness: Harness) -> None:
        self.rule: str = rule
        self.harness: Harness = harness
        self.runner: NodeRunner = harness._stage.runner(specimen.name)
        self._specimen = specimen
        self._fed = 0

    def feed(self) -> None:
        """Publish one message to each input."""
        for topic, messages in self._specimen.inputs.items():
            try:
                self.harness.publish(topic, messages[self._fed % len(messages)])
            except MessageTypeError as error:
                raise ConfigurationError(f"check_node(inputs=…): {error}") from error
        self._fed += 1

    async def tick(self) -> AsyncResult:
        """Feed it, and have it tick once. A checkpoint."""
        self.feed()
        try:
            results = await self.harness.tick(node=self.runner.name)
        except HarnessError:
            topic = self.runner.seat.waiting_for
            if topic is not None:
                raise self._starves(topic) from None
            raise
        return next((r for r in results if not r.success), results[-1])

    async def tick_well(self, when: str = "") -> AsyncResult:
        """Have it tick once, and succeed. A checkpoint."""
        result = await self.tick()
        if result.status is not TickStatus.OK:
            status = result.status.name
            raise broken(
                self.rule,
                expected=f"tick {result.seq}{when} to succeed",
                came=f"it ended with {status}: {outline(result.error or OSError())}",
                remedy="make the tick work with the inputs it is given, or give it others with "
                "inputs={…}",
            ) from result.error
        return result

    async def require_running(self, when: str) -> None:
        """It must be ready to tick. A checkpoint."""
        await self.harness.settle()
        state = self.runner.state
        if state is NodeState.RUNNING:
            return
        why, run = self.runner.init_error, self.harness.scheduler._run_state
        came = f"it is {state.name}"
        if why is not None:
            came += f", init raised {outline(why)}"
        if run is not None and run.reason:
            came += f", its run was stopped: {run.reason}"
        raise broken(
            self.rule,
            expected=f"the node to be RUNNING {when}",
            came=came,
            remedy="init must succeed, and nothing but a tick may stop the node",
        ) from why

    async def until_running(self, restarts: int, when: str) -> None:
        """Let time pass until it has been restarted so often, without ticks. A checkpoint."""
        runner, options = self.runner, self.runner.options
        self.harness.scheduler.pause(runner.name)
        await self.harness.advance_until(
            lambda: runner.ledger.restarts >= restarts and runner._state is NodeState.RUNNING,
            within=options.init_timeout + 2 * options.shutdown_timeout + 1.0,
        )
        self.harness.scheduler.resume(runner.name)
        await self.require_running(when)

    async def make_safe(self) -> list[str]:
        """Have the engine call ``enter_safe_state``; what it raised, as text. A checkpoint."""
        runner = self.runner
        before = len(runner.hook_errors)
        self.harness.scheduler.pause(runner.name)
        runner.safe_state.pass_through()
        await self.harness.advance_until(
            lambda: not runner.safe_state.is_out, within=runner.options.shutdown_timeout + 1.0
        )
        self.harness.scheduler.resume(runner.name)
        return runner.hook_errors[before:]

    async def begin_tick(self) -> None:
        """Feed it, and have a tick begin that may not end. A checkpoint."""
        self.feed()
        with contextlib.suppress(HarnessError):
            await self.harness.tick(node=self.runner.name, within=MOMENT)

    def sent(self) -> dict[str, list[Any]]:
        """What it has sent, by topic; also after its end."""
        stage = self.harness._stage
        sent = {hub.name: stage.record.sent(hub.name) for hub in stage.scheduler._topics}
        return {topic: messages for topic, messages in sent.items() if messages}

    def _starves(self, topic: str) -> Exception:
        given = self._specimen.inputs
        if topic not in given:
            remedy = f"pass check_node(…, inputs={{{topic!r}: [message, …]}})"
        else:
            remedy = (
                f"check_node publishes one message to {topic!r} before each tick: a tick must get "
                "along with one"
            )
        return broken(
            self.rule,
            expected="each tick to end",
            came=f"a tick waits for a message of topic {topic!r}, and none comes",
            remedy=remedy,
        )


@contextlib.asynccontextmanager
async def open_bench(
    rule: str,
    specimen: Specimen,
    node: Node | Callable[[], Node],
    *others: Node,
    faults: Faults | None = None,
    policy: FailurePolicy | None = None,
    tick_timeout: float | None = None,
    clean: bool = True,
    heeds_hooks: bool = True,
) -> AsyncGenerator[Bench, None]:
    """Run a node while inside; judge on leaving how it ended, and what it left.

    Arguments:
        rule: What is broken if it does not run, or end, as it should.
        specimen: What is tried.
        node: One of the specimen, or what makes it.
        others: More nodes of the robot.
        faults: Those to begin with.
        policy: Its failure policy; None: failures are ignored.
        tick_timeout: Instead of its own.
        clean: Whether nothing may be left after it.
        heeds_hooks: Whether its hooks may raise nothing.
    """
    before = Scene.now()
    options = specimen.given.copy()
    options["name"] = specimen.name
    options["failure_policy"] = Ignore() if policy is None else policy
    if tick_timeout is not None:
        options["tick_timeout"] = tick_timeout
    scheduler = Scheduler(name="check_node")
    try:
        scheduler.add(node, **options)
        for other in others:
            scheduler.add(other)
        async with open_harness(
            scheduler, seed=SEED, faults=faults, real_limit=specimen.real_limit
        ) as harness:
            bench = Bench(rule, specimen, harness)
            yield bench
    except (HarnessError, ExceptionGroup) as error:
        raise broken(
            rule,
            expected="the node to run, and to end when it is stopped",
            came=outline(error),
            remedy="see how the error came about; open_harness runs the node in the same way",
        ) from error
    finally:
        scheduler._release_nodes()
    if heeds_hooks:
        _judge_hooks(rule, harness.report)
    if clean:
        await require_clean(rule, before)


def _judge_hooks(rule: str, report: RunReport | None) -> None:
    if report is not None and report.hook_errors:
        raise broken(
            rule,
            expected="no hook to raise or to exceed its time limit",
            came=report.hook_errors[0].rstrip(),
            remedy="a hook that cleans up must succeed in every state it can find",
        )


async def require_clean(rule: str, before: Scene) -> None:
    """There must be nothing new. A checkpoint."""
    left = await left_behind(before)
    if left:
        raise broken(
            rule,
            expected="nothing new once the node has been stopped",
            came=f"it left {left}",
            remedy="close in shutdown what init and tick open, join threads, wait for processes, "
            "and start tasks with self.start_soon; init may find what an init that failed left",
        )


# Cancelling a node's own code


class Subject(Mapping[str, object]):
    """A node in a harness whose hooks are called by hand; as a mapping, what the node owns.

    `cancel_everywhere` looks there for locks, and not at the engine behind the node.
    """

    def __init__(self, bench: Bench) -> None:
        self.bench: Bench = bench
        self.hooks: Hooks = find_hooks(bench.runner.node)

    def _own(self) -> dict[str, object]:
        node = self.bench.runner.node
        own = {k: v for k, v in vars(node).items() if k not in ("_seat", "_owner", "_functions")}
        own.update((name, partial.func) for name, partial in node._functions.items())  # type: ignore[attr-defined]
        return own

    def __getitem__(self, key: str) -> object:
        return self._own()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._own())

    def __len__(self) -> int:
        return len(self._own())

    async def tick(self) -> object:
        """Call its ``async`` tick, in a task of its own. A checkpoint."""
        bench = self.bench
        bench.feed()
        await trio.lowlevel.checkpoint()  # a tick need not be one
        latest = bench.runner.seat.tick
        seq = 1 if latest is None else latest.seq + 1
        bench.runner.seat.turn_page(Tick(seq=seq, scheduled=bench.harness.now))
        return await self._call(self.hooks.tick)

    async def init(self) -> None:
        """Call its ``async`` init, in a task of its own. A checkpoint."""
        await trio.lowlevel.checkpoint()
        hook = self.hooks.init
        if hook is None:
            return
        try:
            await self._call(hook)
        except BaseException:
            with trio.CancelScope(shield=True):
                await self.bench.runner._end_tasks()  # as the engine does
            raise

    async def _call(self, hook: Hook) -> object:
        current_fence.set(self.bench.runner._worker.fence)
        return await hook.call()

    async def let_time_pass(self) -> None:
        """Let time pass for what is called by hand, until cancelled."""
        with contextlib.suppress(HorusError):  # told on leaving the harness
            while True:
                await self.bench.harness.advance(60.0)


@contextlib.asynccontextmanager
async def seated(
    rule: str, specimen: Specimen, faults: Faults | None = None
) -> AsyncGenerator[Subject, None]:
    """A fresh node in a harness that does not tick, while time passes."""
    async with open_bench(rule, specimen, specimen.make(), faults=faults, clean=False) as bench:
        bench.harness.scheduler.pause(bench.runner.name)
        subject = Subject(bench)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(subject.let_time_pass)
            yield subject
            nursery.cancel_scope.cancel()
