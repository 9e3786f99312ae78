"""`AsyncIOExecutor`: nodes as supervised tasks in one nursery, their pool, timer and topics."""

from __future__ import annotations

import contextlib
import contextvars
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Unpack

import trio

from ..errors import AlreadyRunning, ConfigurationError, NotRunning, UnknownNode, nearest
from ..health import Ledger, NodeStatistics
from ..logs import LogThread, OffLoopLogger, engine_logger
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
from ..policies import Ignore
from ..printable import one_line
from ..timer import Timer, is_real_time
from ..topics import Hub, Subscription, Topics
from .kept_open import KeptOpen
from .pool import BlockingPool, PoolStatistics
from .process import check_process
from .runner import NodeRunner
from .safe_state import SafeState
from .safety import SafetyChain
from .worker import FORCED_GRACE

__all__ = ["AsyncIOExecutor", "ExecutorStatistics", "open_executor", "open_shielded"]

POOL_TOKENS = 4
"""Blocking calls at once, as many as HORUS's Tokio runtime has workers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorStatistics:
    """An executor at one instant."""

    nodes: dict[str, NodeStatistics]
    pool: PoolStatistics
    timer: str


class AsyncIOExecutor:
    """Runs nodes: a task and a mailbox for each, a pool for their blocking code.

    Ticks come from whoever calls `tick`; time limits, the fence and the hooks are kept here,
    rates and failure policies are the scheduler's (without one, failures are counted and the
    node ticks on, unless its options say otherwise). Made by `open_executor`.

    Arguments:
        nursery: Where the tasks live. Its owner calls `shutdown_all` before leaving it.
        nodes: Where those of the nodes live: what `open_shielded` gave.
        limiter: Tokens of the blocking pool.
        max_abandoned: Threads that may be left behind before tokens are held back.
        topics: The topics of the nodes.
        log_thread: Where log records go.
        on_stop: Called when a node asks to stop the run; any thread.
        results: Where results are published while somebody subscribes.
        dice: Random numbers in [0, 1), for jitter.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        nodes: trio.Nursery,
        *,
        limiter: trio.CapacityLimiter,
        max_abandoned: int,
        topics: Topics,
        log_thread: LogThread,
        on_stop: Callable[[str], None],
        results: Hub[AsyncResult] | None = None,
        dice: Callable[[], float] = random.random,
    ) -> None:
        clock = trio.lowlevel.current_clock()
        self.nursery = nursery
        self._nodes = nodes
        self.clock: Callable[[], float] = clock.current_time
        self.topics = topics
        self.log_thread = log_thread
        self.log: OffLoopLogger = OffLoopLogger(engine_logger)
        self.log.thread = log_thread
        self.clean_context: contextvars.Context = contextvars.copy_context()
        self.timer: Timer = Timer()
        self.pool: BlockingPool = BlockingPool(
            limiter, max_abandoned, self.timer, self.clock, self.start_soon
        )
        self.safety: SafetyChain = SafetyChain(self.clock, self.log)
        self.nothing_to_make_safe: SafeState = SafeState.of_nothing(self)
        """Shared by the nodes that have no ``enter_safe_state`` and are not critical."""
        self.kept_open: dict[int, KeptOpen] = {}
        """What nodes have been given and is open, by identity."""
        self.random = dice
        self.observers: list[Callable[[AsyncResult], None]] = []
        self.on_left: Callable[[NodeRunner], None] | None = None
        self.dress: Callable[[str, Hooks], Hooks] = lambda name, hooks: hooks
        """What is put around the hooks of the node of a name; a harness puts its faults there."""
        self.runners: dict[str, NodeRunner] = {}
        self._token = trio.lowlevel.current_trio_token()
        self._request_stop = on_stop
        self._timer_scope = trio.CancelScope(shield=True)
        self._results_hub: Hub[AsyncResult] = Hub("results") if results is None else results
        self._owns_results = results is None
        self._results: Subscription[AsyncResult] | None = None
        self._has_autojump = getattr(clock, "autojump_threshold", float("inf")) != float("inf")
        self._has_real_clock = is_real_time(clock)
        nursery.start_soon(self._run_timer)

    def __repr__(self) -> str:
        return f"<AsyncIOExecutor of {len(self.runners)} node(s)>"

    # For applications

    async def spawn_node(self, node: Node, **options: Unpack[OptionKeywords]) -> None:
        """Start a node and wait until it is initialised. A checkpoint.

        Cancelled, the node has left again.

        Arguments:
            node: The node.
            options: Override its own; see `NodeOptions`. The policy is `Ignore` unless given.

        Raises:
            ConfigurationError, NodeError: The node or an option is not as it must be.
            Exception: Whatever the node's ``init`` raised.
        """
        given = gather_options(node, options)
        resolved = resolve_options(type(node).__qualname__, given)
        if "failure_policy" not in given:
            resolved = resolve_options(
                type(node).__qualname__, {**given, "failure_policy": Ignore()}
            )
        name = resolved.name or numbered_name(type(node), self.runners)
        runner = self.seat_node(node, name, resolved, Ledger())
        runner.start()
        try:
            await runner.settled.wait()
            if runner.init_error is not None:
                raise runner.init_error
        except BaseException:
            runner.leave("its init did not succeed")
            with trio.CancelScope(shield=True):
                await runner.done.wait()
            del self.runners[name]
            raise

    def tick(self, node: Node | str) -> bool:
        """Ask a node to tick.

        Returns:
            Whether a tick was released; False: it coalesced with one that waits already.

        Raises:
            UnknownNode: There is no such node here.
        """
        return self._find(node).mailbox.post(self.clock())

    def tick_all(self) -> int:
        """Ask every node to tick; returns how many ticks were released."""
        return sum(self.tick(name) for name in tuple(self.runners))

    @property
    def results(self) -> Subscription[AsyncResult]:
        """The results of all ticks: a receive channel that drops the oldest beyond 1024.

        It ends when the executor has been left and everything has been received.
        """
        if self._results is None:
            self._results = self.open_results(1024)
        return self._results

    def statistics(self) -> ExecutorStatistics:
        """A snapshot; any thread."""
        return ExecutorStatistics(
            nodes={name: runner.statistics() for name, runner in tuple(self.runners.items())},
            pool=self.pool.statistics(),
            timer=self.timer.source,
        )

    async def shutdown_all(self, within: float = 10.0) -> None:
        """Stop every node: what is in flight gets its grace, then each ``shutdown`` is called.

        In reverse `order`, nodes of one order side by side, save that critical ones come after the
        others: they stay in reach of an emergency. Runs to its end even if cancelled.

        Arguments:
            within: Seconds it may take; before they are over, everything left is forced.
        """
        with trio.CancelScope(shield=True):
            grace = min(FORCED_GRACE, within / 2)
            deadline = self.timer.alarm(lambda now: self.force_all(grace))
            deadline.set(self.clock() + within - grace)
            turns: dict[tuple[int, bool], list[NodeRunner]] = {}
            for runner in self.runners.values():
                turns.setdefault(_turn(runner), []).append(runner)
            gates = {turn: trio.Event() for turn in turns}
            for turn, runners in turns.items():
                for runner in runners:
                    runner.leave("shutdown", gates[turn])
            for turn in sorted(gates):
                gates[turn].set()
                for runner in turns[turn]:
                    if not runner.done.is_set():
                        await runner.done.wait()
            deadline.clear()

    # For the scheduler

    def seat_node(
        self,
        node: Node,
        name: str,
        options: NodeOptions,
        ledger: Ledger,
        rebuild: Callable[[], tuple[Node, Hooks]] | None = None,
    ) -> NodeRunner:
        """Give a node its seat: its declared topics are joined. Then `NodeRunner.start` it.

        Raises:
            NodeError: The node has no usable tick.
            AlreadyRunning: It is in a run already.
            ConfigurationError: Its ``def`` hooks cannot keep this run's virtual time, or it is
                not fit for ``thread="process"``.
        """
        if name in self.runners:
            raise ConfigurationError(f"there is a node named {name!r} already; names are unique")
        seat = node._seat
        if seat is not None and not seat.over:
            raise AlreadyRunning(f"node {name!r} is in a run already; one node, one run")
        hooks = find_hooks(node)
        if hooks.uses_threads and self._has_autojump:
            raise ConfigurationError(
                f"node {name!r} has def hooks, and under an autojump clock virtual time would run "
                "away from their threads; make them async, use a MockClock without autojump, "
                "or run the test in real time"
            )
        check_process(name, options, hooks)
        if options.thread == "process" and not self._has_real_clock:
            raise ConfigurationError(
                f"node {name!r} has thread='process', and a worker process lives in real time, "
                "which this run does not; give thread='pool' in tests, or test in real time"
            )
        runner = NodeRunner(self, node, name, hooks, options, ledger, rebuild)
        self.runners[name] = runner
        return runner

    def open_results(self, capacity: int) -> Subscription[AsyncResult]:
        """A reader of results from now on; it drops the oldest when full. Close it."""
        return self._results_hub.subscribe(capacity)

    @property
    def is_observed(self) -> bool:
        """Whether anybody wants results."""
        return bool(self.observers) or self._results_hub.has_subscriptions

    def publish(self, result: AsyncResult) -> None:
        """Hand a result to whoever observes."""
        if self.observers:
            # An observer is no part of the tick: it may publish what an abandoned one may not.
            fence = current_fence.set(None)
            try:
                for observe in tuple(self.observers):
                    observe(result)
            finally:
                current_fence.reset(fence)
        if self._results_hub.has_subscriptions:
            self._results_hub.publish(result)

    def node_left(self, runner: NodeRunner) -> None:
        """A node's task has ended."""
        self.safety.leave(runner)
        if self.on_left is not None:
            self.on_left(runner)

    def start_soon(self, function: Callable[..., Awaitable[object]], *args: Any) -> None:
        """Start a task of the engine in a clean context: no tick's fence. On the loop."""
        self.clean_context.run(self.nursery.start_soon, function, *args)

    def start_node(self, function: Callable[[], Awaitable[object]]) -> None:
        """Start a node's task, in a clean context and shielded. On the loop."""
        self.clean_context.run(self._nodes.start_soon, function)

    def request_stop(self, reason: str) -> None:
        """A node wants the run to stop; any thread."""
        self._request_stop(reason)

    def call_on_loop(self, function: Callable[..., object], *args: Any) -> None:
        """Call `function` soon on the loop, or now if this is the loop; any thread.

        Raises:
            NotRunning: The run is over.
        """
        if self.is_on_loop():
            function(*args)
            return
        try:
            self._token.run_sync_soon(lambda: function(*args))
        except trio.RunFinishedError:
            raise NotRunning("the run is over") from None

    def is_on_loop(self) -> bool:
        """Whether the caller is in this Trio run."""
        return trio.lowlevel.in_trio_run() and trio.lowlevel.current_trio_token() is self._token

    def force_all(self, grace: float = FORCED_GRACE) -> None:
        """Hurry every node that has not left; its hooks have `grace` seconds from now.

        Critical nodes enter their safe state.
        """
        self.safety.trip_if_exposed("the stop is forced")
        for runner in tuple(self.runners.values()):
            runner.force(grace)

    def close(self) -> None:
        """After `shutdown_all`: give back what is held, and end the timer."""
        self.pool.close()
        if self._owns_results:
            self._results_hub.close()
        self._timer_scope.cancel()
        self._nodes.cancel_scope.cancel()

    def _find(self, node: Node | str) -> NodeRunner:
        name = node if isinstance(node, str) else getattr(node, "name", None)
        runner = self.runners.get(name) if isinstance(name, str) else None
        if runner is None or (isinstance(node, Node) and runner.node is not node):
            raise UnknownNode(f"no node {name or node!r} here{nearest(str(name), self.runners)}")
        return runner

    async def _run_timer(self) -> None:
        with self._timer_scope:
            try:
                await self.timer.run()
            finally:
                self.timer.close()


def _turn(runner: NodeRunner) -> tuple[int, bool]:
    """A node's turn to shut down; lower is earlier."""
    return -runner.options.order, runner.options.critical


def numbered_name(cls: type[Node], taken: Iterable[str]) -> str:
    """The first free name ``Class-1``, ``Class-2``, … for an unnamed node."""
    names, stem = set(taken), one_line(cls.__name__)
    number = 1
    while (name := f"{stem}-{number}") in names:
        number += 1
    return name


async def open_shielded(nursery: trio.Nursery) -> trio.Nursery:
    """A nursery for nodes that nothing outside cancels, until its own scope is cancelled.

    One shield for all of them: each of its own would be another half KiB.
    """
    opened: list[trio.Nursery] = []
    with trio.CancelScope(shield=True):
        opened.append(await nursery.start(_hold))
    return opened[0]


async def _hold(*, task_status: trio.TaskStatus[trio.Nursery]) -> None:
    async with trio.open_nursery() as nodes:
        nodes.cancel_scope.shield = True
        task_status.started(nodes)
        await trio.sleep_forever()


@contextlib.asynccontextmanager
async def open_executor(
    *,
    limiter: trio.CapacityLimiter | None = None,
    max_abandoned: int = 16,
    stop_timeout: float = 10.0,
    topics: Topics | None = None,
) -> AsyncGenerator[AsyncIOExecutor, None]:
    """Open an executor without a scheduler: spawn nodes, ask them to tick, read their results.

    Leaving the block shuts every node down; an exception in the block, cancellation included,
    forces what does not finish within its grace.

    Arguments:
        limiter: Tokens of the blocking pool; None: a `trio.CapacityLimiter` of 4.
        max_abandoned: Threads that may be left behind before tokens are held back.
        stop_timeout: Seconds the shutting down may take.
        topics: Shared topics; None: new ones.
    """
    problem: BaseException | None = None
    with LogThread() as log_thread:
        async with trio.open_nursery() as nursery:
            topics = Topics() if topics is None else topics
            executor = AsyncIOExecutor(
                nursery,
                await open_shielded(nursery),
                limiter=trio.CapacityLimiter(POOL_TOKENS) if limiter is None else limiter,
                max_abandoned=max_abandoned,
                topics=topics,
                log_thread=log_thread,
                on_stop=lambda reason: executor.call_on_loop(nursery.cancel_scope.cancel),
            )
            topics.start_clock(executor.clock)
            executor.results  # noqa: B018 - keep results from the start
            try:
                yield executor
            except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001
                problem = error  # raised again outside the nursery, which would wrap it
            finally:
                await executor.shutdown_all(stop_timeout)
                executor.close()
                topics.start_clock(None)
        with trio.CancelScope(shield=True):
            await log_thread.finish()
    if problem is not None:
        raise problem
