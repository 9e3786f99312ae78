"""The supervised task of one node: ``init``, tick after tick, ``shutdown``; again after a failure.

The task is in a shielded nursery: nothing outside cancels it. It leaves when its mailbox says
Shutdown, and all that ends what it awaits, besides time limits, is its `Life`: cut short when the
node failed in the background, or when its time to finish is over.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import trio

from ..errors import TickCancelled
from ..health import Ledger, NodeState, NodeStatistics
from ..messages import Shutdown, Tick
from ..node import Hook, Hooks, Node, NodeOptions, Seat
from ..policies import Continue, Decision, EndRun, GiveUp, Miss, Rebuild, Suspend
from .background import BackgroundTasks
from .inputs import Inputs
from .judge import Judge, is_interrupt
from .life import Life
from .mailbox import Mailbox
from .milestone import Milestone
from .misses import Misses
from .preparation import Preparation
from .process import ProcessTicks
from .safe_state import SafeState
from .threads import ThreadCall
from .ticker import Ticker
from .turnstile import Turnstile
from .worker import FAILURES, Worker

if TYPE_CHECKING:
    from .executor import AsyncIOExecutor

__all__ = ["NodeRunner"]

FINISH_GRACE = 0.5
"""Seconds an async tick has to finish once the node was told to stop (its `shutdown_timeout` if
that is less). A tick that waits for input, or for a thread, is cancelled at once."""

THREAD_TICK_TIMEOUT = 30.0
"""The ``tick_timeout`` of a ``def`` tick that has none of its own, in seconds."""


class NodeRunner:
    """Runs one node in an executor. Made by `AsyncIOExecutor`.

    Arguments:
        executor: Whose nursery, pool, timer and topics it uses.
        node: The node.
        name: The node's name.
        hooks: The node's hooks.
        options: Checked options.
        ledger: The node's counters.
        rebuild: Makes a fresh instance and finds its hooks, or None: the same instance again.
    """

    __slots__ = (
        "_background_error",
        "_clock",
        "_gate",
        "_hooks",
        "_inputs",
        "_judge",
        "_life",
        "_misses",
        "_preparation",
        "_process",
        "_rebuild",
        "_started",
        "_state",
        "_tasks",
        "_ticker",
        "_turnstile",
        "_worker",
        "done",
        "executor",
        "fatal",
        "init_error",
        "ledger",
        "mailbox",
        "name",
        "node",
        "options",
        "phase",
        "safe_state",
        "seat",
        "settled",
        "shutdown_while_busy",
        "task",
    )

    def __init__(
        self,
        executor: AsyncIOExecutor,
        node: Node,
        name: str,
        hooks: Hooks,
        options: NodeOptions,
        ledger: Ledger,
        rebuild: Callable[[], tuple[Node, Hooks]] | None,
    ) -> None:
        self.executor: AsyncIOExecutor = executor
        self.name: str = name
        self.node: Node = node
        self.options: NodeOptions = options
        self.ledger: Ledger = ledger
        self.fatal: bool = False
        self.init_error: BaseException | None = None
        """What the latest ``init`` raised, or None."""
        self.shutdown_while_busy: bool = False
        self.phase: str = "waiting to start"
        self.settled: Milestone = Milestone()
        """Set when the first ``init`` has succeeded, or has failed and is its policy's business."""
        self.done: Milestone = Milestone()
        """Set when the node has left for good."""
        self.task: trio.lowlevel.Task | None = None
        """The node's task, once it has been started."""
        self.seat: Seat = Seat(executor.topics, executor.clock, self, executor.log_thread)
        node._open_beside(self.seat, name)
        misses = self._misses = self._act_on_misses()
        self.mailbox: Mailbox = Mailbox(
            ledger,
            _nothing if misses is None else misses.overrun,
            catch_up=options.on_miss is Miss.CATCH_UP,
        )
        self._hooks = hooks
        self._rebuild = rebuild
        self._clock = executor.clock
        self._state = NodeState.NEW
        self._started = False
        self._gate: trio.Event | None = None
        own = None
        if options.thread == "own" and hooks.uses_threads:
            own = executor.pool.own_worker(name)
        timeout = options.tick_timeout
        self._worker = Worker(
            name,
            executor.pool,
            executor.timer,
            options.limiter or executor.pool.limiter,
            own,
            THREAD_TICK_TIMEOUT if timeout == "auto" else timeout,
        )
        self._turnstile = Turnstile(
            self.mailbox, self.seat, executor.timer, executor.clock, self._worker
        )
        self._process: ProcessTicks | None = None
        if options.thread == "process":
            self._process = ProcessTicks(name, options, self.seat, self._worker, self._clock)
        self.safe_state: SafeState = executor.nothing_to_make_safe
        if options.critical:
            self.safe_state = self._guard()
            executor.safety.join(self)
        self._ticker = Ticker(
            executor,
            name,
            self._worker,
            self.seat,
            ledger,
            timeout=None if timeout == "auto" else timeout,
            deadline=options.deadline,
            late=_nothing if misses is None else misses.late,
        )
        self._judge = Judge(
            name,
            options.failure_policy,
            ledger,
            executor.log,
            executor.clock,
            executor.random,
        )
        self._tasks: BackgroundTasks | None = None
        self._background_error: BaseException | None = None
        self._life = Life(self._worker, executor.timer, executor.clock)
        self._preparation = Preparation(
            executor,
            name,
            options,
            self.seat,
            self._life,
            self._worker,
            self._process,
            self.done,
            self._background_failed,
        )
        self._inputs: Inputs | None = None
        if options.subs or options.pubs or options.on:
            self._inputs = Inputs(
                executor, name, options, self.seat, self.mailbox, self._observer_failed
            )
        self._turnstile.shut()  # nobody waits for a node that does not tick yet
        self._replace(node, hooks)

    def __repr__(self) -> str:
        return f"<NodeRunner of {self.name!r}, {self.state.value}>"

    # What others see and ask; on the loop unless it says otherwise

    @property
    def state(self) -> NodeState:
        """What the node is doing; any thread."""
        if self._worker.stuck is not None and self._state is not NodeState.FAILED:
            return NodeState.STUCK
        if self._state is not NodeState.RUNNING:
            return self._state
        if self._turnstile.held:
            return NodeState.SAFE
        call = self._worker.call
        if call is not None and call.waits_for_token:
            return NodeState.WAITING_FOR_THREAD
        if self._turnstile.paused:
            return NodeState.PAUSED
        if self._turnstile.resting:
            return NodeState.SUSPENDED
        if self.mailbox.busy and self.seat.waiting_for is not None:
            return NodeState.WAITING_FOR_INPUT
        return NodeState.RUNNING

    @property
    def is_paused(self) -> bool:
        """Whether somebody has paused it; any thread."""
        return self._turnstile.paused

    @property
    def is_held(self) -> bool:
        """Whether an emergency holds it; any thread."""
        return self._turnstile.held

    @property
    def thread_call(self) -> ThreadCall | None:
        """The thread call that its tick or ``init`` is in, or None; any thread."""
        return self._worker.call

    @property
    def failure(self) -> BaseException | None:
        """The error with which the node failed for good, or None."""
        return self._judge.failure

    @property
    def hook_errors(self) -> list[str]:
        """What ``shutdown``, ``on_error`` and ``enter_safe_state`` raised, as text."""
        return self._judge.hook_errors

    def statistics(self, rate: float | None = None) -> NodeStatistics:
        """A snapshot; any thread."""
        return self.ledger.snapshot(
            name=self.name,
            state=self.state,
            rate=rate,
            critical=self.options.critical,
            inputs=() if self._inputs is None else self._inputs.snapshot(),
        )

    def pause(self) -> None:
        """Take no more ticks until `resume`; one in flight goes on."""
        self._turnstile.pause()

    def resume(self) -> None:
        """Undo `pause`."""
        self._turnstile.resume()

    def leave(self, reason: str, gate: trio.Event | None = None) -> None:
        """Tell the node to finish: one Shutdown message, and bounded time for what is in flight.

        Arguments:
            reason: For the log.
            gate: Awaited before the node's ``shutdown``, if given.
        """
        if self.mailbox.leaving is not None:
            return
        if not self._started:
            self._finish()
            return
        self._gate = gate
        self.mailbox.shut(Shutdown(reason=reason))
        self._worker.fence.expire()
        call = self._worker.call
        if self._state is NodeState.BACKING_OFF:
            self._life.scope.cancel()
        elif call is not None and call.waits_for_thread:
            self._life.cut_short()
        elif call is not None or self._worker.stuck is not None:
            self._life.cut_short_in(self.options.shutdown_timeout)
        elif self.mailbox.busy and self.seat.waiting_for is not None:
            self._life.cut_short()
        elif self.mailbox.busy or self._state is NodeState.STARTING:
            self._life.cut_short_in(min(FINISH_GRACE, self.options.shutdown_timeout))

    def force(self, grace: float) -> None:
        """Cancel whatever is in flight at once; hooks have `grace` seconds from now."""
        self.leave("forced stop")
        if self._gate is not None:
            self._gate.set()
        now = self._clock()
        if self.safe_state.is_out:  # it comes before the shutdown, and both have to be through
            grace /= 2
            self.safe_state.hurry(now + grace)
        self._worker.force(now, grace)
        self._life.cut_short()
        if self._tasks is not None:
            self._tasks.cancel()
        self._preparation.force(now + grace)

    # In an emergency

    def hold(self) -> None:
        """Begin no more ticks, and let the one in flight publish nothing more.

        Any thread and any signal handler.
        """
        self._turnstile.held = True
        self._worker.fence.shut()

    def held_on_loop(self) -> None:
        """What `hold` needs the loop for: wake what waits in a tick, and cancel it."""
        if not self._turnstile.held:
            return
        self._turnstile.shut()
        self._worker.fence.close()
        if self.mailbox.busy:
            self._ticker.interrupt()
        call = self._worker.call
        if call is None or call.what != "tick":
            return
        if call.waits_for_thread or call.interrupt is not None:  # a process can be killed
            self._worker.cancel()

    def let_go(self) -> None:
        """Undo `hold`. On the loop."""
        if not self._turnstile.held:
            return
        if self.task is not None and self._state is NodeState.RUNNING:
            self.task.context.run(self._worker.renew_fence)
        self._turnstile.let_go()

    def cancel_tick(self, tick: Tick) -> None:
        """Settle a tick that was released and will never run."""
        self._ticker.cancel(tick)

    def request_stop(self, reason: str) -> None:
        """Stop the run; any thread."""
        self.executor.request_stop(reason)

    def emergency_stop(self, reason: str) -> None:
        """Bring every critical node into its safe state; any thread."""
        self.executor.safety.trip(reason)

    def start_soon(self, function: Callable[..., Awaitable[object]], args: tuple[Any, ...]) -> None:
        """Start a background task of the node; any thread."""
        self.executor.call_on_loop(self._start_task, function, args)

    def fail(self, error: BaseException) -> None:
        """Something that the node had begun itself has failed: so has the node; any thread."""
        self.executor.call_on_loop(self._background_failed, error)

    # The task

    def start(self) -> None:
        """Start the node's task, unless it was told to leave before."""
        if self.done.is_set():
            return
        self._started = True
        self.executor.start_node(self._run)

    async def _run(self) -> None:
        """The node's supervised task, until it leaves or has failed for good."""
        self.task = trio.lowlevel.current_task()
        process = self._process
        try:
            if process is None:
                await self._supervise()
            else:
                async with process.open():
                    await self._supervise()
            self._judge.close()
            if self._misses is not None:
                self._misses.close()
        finally:
            self._finish()

    async def _supervise(self) -> None:
        decision: Decision | None = None
        while self.mailbox.leaving is None:
            # One incarnation: init, ticks, shutdown.
            error = await self._begin()
            if error is None:
                decision = await self._serve()
            else:
                decision = await self._init_failed(error)
            await self._end(decision, error)
            await self._close_helpers()
            if self.mailbox.leaving is not None or not isinstance(decision, Rebuild):
                break
            self._enter(NodeState.BACKING_OFF, "backing off before its restart")
            with self._life.scope:
                await trio.sleep(decision.delay)
                await self._worker.wait_while_stuck()
            self._life.renew()
            if self.mailbox.leaving is None:
                self.ledger.restarts += 1
        if isinstance(decision, (GiveUp, EndRun)):
            self._enter(NodeState.FAILED, "failed for good")
            self.fatal = isinstance(decision, EndRun) or self.options.critical
        else:
            self._enter(NodeState.STOPPED, "stopped")

    async def _begin(self) -> BaseException | None:
        """Have the node initialised; returns what its ``init`` raised, or None."""
        self._background_error = self.init_error = None
        self._worker.renew_fence(expired=self.mailbox.leaving is not None)
        self._enter(NodeState.STARTING, "in init")
        error = await self._prepare()
        if isinstance(error, TickCancelled) and self._background_error is not None:
            error = self._background_error  # which has cut it short
        self.init_error = error
        self.settled.set()
        if error is None:
            self.safe_state.live = True
            if self.options.critical:
                self.executor.safety.admit(self)
        return error

    async def _end(self, decision: Decision | None, error: BaseException | None) -> None:
        """Have the node shut down, if its ``init`` raised no error; safe first if it failed."""
        if isinstance(decision, EndRun) or (isinstance(decision, GiveUp) and self.options.critical):
            self.executor.safety.trip(f"node {self.name!r} failed for good")
        if isinstance(decision, (GiveUp, EndRun)):
            self.safe_state.enter()
        await self._end_tasks()
        if error is not None:
            await self._shut_down_late()
            return
        if self._gate is not None and not self._gate.is_set():
            self.phase = "waiting for its turn to shut down"
            await self._gate.wait()
        self.phase = "in enter_safe_state"
        await self.safe_state.close()
        self.shutdown_while_busy |= self._worker.stuck is not None
        if self._hooks.shutdown is not None:
            self._worker.renew_fence()  # a shutdown has time of its own, and may publish
            await self._run_hook(self._hooks.shutdown)

    async def _prepare(self) -> BaseException | None:
        preparation = self._preparation
        if preparation.has_helpers:
            self.phase = "opening its helpers"
            error = await preparation.open_helpers()
            self.phase = "in init"
            if error is not None:
                return error
        try:
            self._build_anew()
        except FAILURES as failure:
            return failure
        try:
            await self.safe_state.prepare()
        except RuntimeError as failure:  # no thread could be started
            return failure
        error = await preparation.initialise(self._hooks)
        return await preparation.start_process(self.node) if error is None else error

    def _build_anew(self) -> None:
        """Have another instance for a restart, if it was added as something that makes one."""
        if self.ledger.restarts and self._rebuild is not None:
            self._replace(*self._rebuild())

    async def _close_helpers(self) -> None:
        if self._preparation.has_helpers:
            self.phase = "closing its helpers"
            for error in await self._preparation.close_helpers():
                self._hook_failed("closing its helpers", error)

    async def _init_failed(self, error: BaseException) -> Decision | None:
        """What follows, once its background tasks have ended; None: it was told to leave."""
        await self._end_tasks()
        decision: Decision | None = None
        if is_interrupt(error):
            self.request_stop(f"KeyboardInterrupt in node {self.name!r}")
            return None
        leaving = self.mailbox.leaving is not None
        if leaving and isinstance(error, TickCancelled):
            return None  # cut short by the stop, not failed
        if error is not self._background_error:
            self._judge.note(error, "init")
        if leaving:
            return None  # nothing is to be shut down
        with self._life.scope:
            await self._worker.wait_while_stuck()
            await self._shut_down_late()
            if self.mailbox.leaving is None:
                decision = await self._decide(error, "init")
        self._life.renew()
        # A node that is not initialised cannot tick on: it tries again.
        if isinstance(decision, Continue):
            return Rebuild(1.0)
        if isinstance(decision, Suspend):
            return Rebuild(decision.delay)
        return decision

    async def _shut_down_late(self) -> None:
        """Undo an init that succeeded after it had been given up, if its shutdown is async."""
        if self._preparation.owes_shutdown():
            await self._run_hook(self._hooks.shutdown)

    async def _serve(self) -> Decision | None:
        """Tick until told to leave, or until a failure ends this incarnation."""
        self._enter(NodeState.RUNNING, "ticking")
        decision: Decision | None = None
        mailbox, ticker, life = self.mailbox, self._ticker, self._life
        if self._inputs is not None:
            self._inputs.start()
        self._turnstile.begin()
        life.is_cut = False
        while mailbox.leaving is None and self._background_error is None:
            error: BaseException | None = None
            with ticker.open_scope() as life.scope:
                error = await self._tick_on()
            if life.scope.cancelled_caught:
                if life.is_cut:
                    break
                error = ticker.error
            if error is not None:
                life.renew()
                if life.is_cut:
                    life.scope.cancel()
                with life.scope:
                    decision = await self._tick_failed(error)
                if decision is not None or life.scope.cancelled_caught:
                    break
            self._tick_over()
        life.renew()
        self._turnstile.end()
        self.safe_state.tick_ended()
        if self._inputs is not None:
            self._inputs.stop()
        if mailbox.leaving is not None:
            return None
        if decision is None and self._background_error is not None:
            with life.scope:
                await self._worker.wait_while_stuck()
            life.renew()
            if mailbox.leaving is not None:
                return None
            decision = await self._decide(self._background_error, "a background task")
            if isinstance(decision, (Continue, Suspend)):  # the tasks are gone: start them again
                decision = Rebuild(decision.delay if isinstance(decision, Suspend) else 0.0)
        return decision

    async def _tick_on(self) -> BaseException | None:
        """Tick until told to leave, or until one fails: its error."""
        mailbox, judge, ledger, turnstile = self.mailbox, self._judge, self.ledger, self._turnstile
        ticker, receive = self._ticker, self.mailbox.receive
        hook = self._hooks.tick
        tick = ticker.on_loop if hook.is_async else ticker.in_thread
        while True:
            message = await receive()
            if isinstance(message, Shutdown):
                return None
            if mailbox.leaving is not None:
                self.cancel_tick(message)
                return None
            mailbox.taken()
            if turnstile.held:
                self.cancel_tick(message)
                mailbox.done()
                continue
            ok = ledger.ok
            error = await tick(hook, message)
            if error is not None:
                return error
            if judge.is_counting and ledger.ok > ok:  # not one that was cut short
                judge.succeeded()
            self._tick_over()

    def _tick_over(self) -> None:
        """A tick, if there was one, has come to its end, and so has what followed from it."""
        if self.mailbox.busy:
            self.mailbox.done()
            if self._turnstile.held:
                self.safe_state.tick_ended()

    def _finish(self) -> None:
        for tick in self.mailbox.empty():
            self.cancel_tick(tick)
        self._worker.fence.close()
        self.seat.over = True
        self.seat.leave()
        self.safe_state.live = False
        self.phase = "done"
        self.settled.set()
        self.done.set()
        self.executor.node_left(self)

    # Failures and hooks

    async def _tick_failed(self, error: BaseException) -> Decision | None:
        """None if the node ticks on, else the decision that ends this incarnation."""
        tick = self.seat.tick
        where = "its tick" if tick is None else f"tick {tick.seq}"
        if is_interrupt(error):
            self.mailbox.suspend()  # the stop is on its way: not one tick more
            self.request_stop(f"KeyboardInterrupt in node {self.name!r}")
            return None
        if self._background_error is None:  # or the tick was only cut short, not failed
            self._judge.note(error, where)  # now: its thread may never return
        if self._worker.stuck is not None:
            await self._wait_for_thread()  # at a stop until its time is over
        if self.mailbox.leaving is not None:
            return None
        decision = await self._decide(error, where)
        if isinstance(decision, Suspend):
            self._turnstile.rest(decision.delay)
            return None
        if isinstance(decision, Continue):
            self._turnstile.open()
            return None
        return decision

    async def _wait_for_thread(self) -> None:
        """The tick is settled; its thread is out, and until it returns the node does nothing."""
        self._turnstile.shut()
        if self.mailbox.end_turn is not None:
            self.mailbox.end_turn()
        self.phase = "stuck: its thread has not returned"
        await self._worker.wait_while_stuck()
        self.phase = "ticking"
        self._worker.renew_fence()

    async def _decide(self, error: BaseException, where: str) -> Decision:
        """Tell the node of a failure that has been noted, and ask the policy."""
        if self._hooks.on_error is not None:
            if self._worker.own is not None:
                await self.safe_state.through()  # which has the thread that on_error is to have
            await self._run_hook(self._hooks.on_error, error)
            await self._worker.wait_while_stuck()
        if self.mailbox.leaving is not None:
            return Continue()  # the stop came meanwhile: nothing is decided any more
        return self._judge.decide(error, where)

    async def _run_hook(self, hook: Hook | None, *args: Any) -> None:
        """Run a hook whose failure is noted and changes nothing else."""
        if hook is None:
            return
        phase, self.phase = self.phase, f"in {hook.name}"
        if hook.name == "shutdown":
            self._state = NodeState.STOPPING
        error = await self._worker.call_hook(hook, self.options.shutdown_timeout, args)
        self.phase = phase
        if error is None:
            return
        self._hook_failed(hook.name, error)

    def _hook_failed(self, name: str, error: BaseException) -> None:
        if is_interrupt(error):
            self.request_stop(f"KeyboardInterrupt in node {self.name!r}")
        self._judge.note_hook(error, name)

    def _observer_failed(self, error: BaseException, what: str = "on_stale") -> None:
        self._judge.note_observer(error, what)

    # Background tasks

    def _start_task(
        self, function: Callable[..., Awaitable[object]], args: tuple[Any, ...]
    ) -> None:
        if self.mailbox.leaving is not None or self.done.is_set():
            self.executor.log.warning(
                "node %r is stopping: background task %r was not started", self.name, function
            )
        else:
            if self._tasks is None:
                self._tasks = BackgroundTasks(self.name, self.executor, self._background_failed)
            self._tasks.start(function, args)

    async def _end_tasks(self) -> None:
        """End the node's background tasks. A checkpoint if it has any."""
        if self._tasks is not None:
            await self._tasks.end()

    def _background_failed(self, error: BaseException) -> None:
        if is_interrupt(error):
            self.request_stop(f"KeyboardInterrupt in node {self.name!r}")
            return
        self._judge.note(error, "a background task")
        ends = self.mailbox.leaving is not None or self.init_error is not None
        if self._background_error is None and not ends:
            self._background_error = error
            self._life.cut_short()

    # The node's own things

    def _enter(self, state: NodeState, phase: str) -> None:
        self._state = state
        self.phase = phase

    def _replace(self, node: Node, hooks: Hooks) -> None:
        self.node._seat = None  # it may be the same instance
        node.name = self.name
        node._seat = self.seat
        if self._process is not None:
            hooks = self._process.dress(node, hooks)
        self.node, self._hooks = node, self.executor.dress(self.name, hooks)
        hook = self._hooks.enter_safe_state
        if hook is not None and self.safe_state is self.executor.nothing_to_make_safe:
            self.safe_state = self._guard()
        self.safe_state.hook = hook

    def _guard(self) -> SafeState:
        return SafeState(
            self.executor,
            self.name,
            seconds=self.options.shutdown_timeout,
            own=self._worker.own,
            ready=self.options.critical,
            is_ending=lambda: self._turnstile.held and self.mailbox.busy,
            failed=lambda error: self._hook_failed("enter_safe_state", error),
        )

    def _act_on_misses(self) -> Misses | None:
        """What follows from a miss; None: nothing but what the ledger and the mailbox do."""
        if self.options.on_miss in (Miss.SKIP, Miss.CATCH_UP):
            return None
        return Misses(
            self.name,
            self.options.on_miss,
            clock=self.executor.clock,
            log=self.executor.log,
            make_safe=lambda: self.safe_state.pass_through(),
            stop=self.executor.request_stop,
        )


def _nothing(*args: object) -> None:
    """What follows from a miss that is only counted."""
