"""One tick: run it under its time limit, count it, publish its result.

Every tick that comes in is settled exactly once, whatever happens in it, and the ticker says only
what failed; what follows from a failure is the runner's business.

To enter and leave a cancel scope costs as much as all the rest of a tick, and so does moving the
deadline of one. So one scope without a deadline is around tick after tick, the limit of each is an
alarm, which is moved on by a store, and only a tick that is cut off uses the scope up.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import outcome
import trio

from ..errors import TickAbandoned, TickCancelled, TickTimedOut
from ..health import Ledger
from ..messages import AsyncResult, Fence, Tick, TickStatus
from ..node import Hook, Seat
from .pool import stack_of
from .threads import ThreadCall
from .worker import FAILURES, Worker

if TYPE_CHECKING:
    from .executor import AsyncIOExecutor

__all__ = ["Ticker"]


class Ticker:
    """Runs the ticks of one node.

    Arguments:
        executor: Publishes results.
        name: The node's name.
        worker: Runs ``def`` ticks.
        seat: Learns of each tick.
        ledger: Counts them.
        timeout: Seconds an ``async`` tick may take; None: without limit.
        deadline: Seconds after its release by which a tick should have ended; None: none.
        late: Called when one ended after its deadline, with what to say about it.

    Attributes:
        error: What makes the tick that was cut off a failure, or None.
    """

    def __init__(
        self,
        executor: AsyncIOExecutor,
        name: str,
        worker: Worker,
        seat: Seat,
        ledger: Ledger,
        *,
        timeout: float | None,
        deadline: float | None,
        late: Callable[[str], None],
    ) -> None:
        self._executor = executor
        self._clock = executor.clock
        self._name = name
        self._worker = worker
        self._seat = seat
        self._ledger = ledger
        self._timeout = timeout or math.inf
        self._deadline = deadline
        self._late = late
        self._limit = None if timeout is None else executor.timer.alarm(self._overrun)
        self._is_running = False
        self.open_scope()

    def open_scope(self) -> trio.CancelScope:
        """The scope to be around the ``async`` ticks from now on, until one of them is cut off.

        If that tick returns all the same, whatever the node awaits next is cancelled instead, and
        then too it needs a new scope.
        """
        self._timed_out = False
        self.error: BaseException | None = None
        self._scope = trio.CancelScope()
        return self._scope

    async def on_loop(self, hook: Hook, tick: Tick) -> BaseException | None:
        """Run an ``async`` tick, within the scope. A checkpoint only if the tick is one.

        Returns:
            What makes the tick a failure, or None.

        Raises:
            trio.Cancelled: The tick was cancelled, and is settled: `error` is what makes it a
                failure.
        """
        self._seat.turn_page(tick)
        started = self._clock()
        if self._limit is not None:
            self._limit.set(started + self._timeout)
        self._is_running = True
        try:
            value = await hook.call()
        except FAILURES as error:
            if self._heeded(error, self._worker.fence):
                self._settle_cancelled(tick, started)
                return None
            return self._failed(tick, started, self._clock(), error)
        except trio.Cancelled:
            self._unwound(tick, started)
            raise
        except BaseExceptionGroup as group:
            cancelled, errors = group.split(trio.Cancelled)
            if cancelled is None:
                return self._failed(tick, started, self._clock(), group)
            if errors is None:
                self._unwound(tick, started)
            else:  # it raised while it was being cancelled
                self.error = self._failed(tick, started, self._clock(), errors)
            raise cancelled from None
        finally:
            self._is_running = False
        self._succeeded(tick, started, self._clock(), value)
        return None

    async def in_thread(self, hook: Hook, tick: Tick) -> BaseException | None:
        """Run a ``def`` tick in a thread. A checkpoint.

        Returns:
            What makes the tick a failure, or None. If its thread was left behind, the worker is
            stuck.
        """
        self._seat.turn_page(tick)
        try:
            call = await self._worker.call_tick(hook)
        except RuntimeError as error:  # no thread could be started
            now = self._clock()
            return self._failed(tick, now, now, error)
        if call.waits_for_thread:
            self.cancel(tick)
            return None
        if self._worker.own is None:
            self._ledger.waits.record(call.started - call.queued_at)
        result = call.result
        if result is None:
            return self._abandoned(call, tick)
        if isinstance(result, outcome.Value):
            self._succeeded(tick, call.started, call.ended, result.value)
            return None
        raised = result.error
        if self._heeded(raised, call.fence):
            self._settle_cancelled(tick, call.started)  # it heeded check_cancelled()
            return None
        if isinstance(raised, TickTimedOut) and call.timed_out:  # its process was killed
            self._ledger.time_out(tick.scheduled, call.started, call.ended)
            self._publish(tick, TickStatus.TIMED_OUT, call.started, call.ended, None, raised)
            return raised
        return self._failed(tick, call.started, call.ended, raised)

    def interrupt(self) -> None:
        """Cancel the ``async`` tick that is running; it counts as cancelled. On the loop."""
        if self._is_running:
            self._scope.cancel()

    def _overrun(self, now: float) -> None:
        # One that is being cancelled from outside has not timed out.
        if self._is_running and not self._scope.cancel_called:
            self._timed_out = True
            self._scope.cancel()

    def cancel(self, tick: Tick) -> None:
        """Settle a tick that was released and never ran."""
        self._settle_cancelled(tick, self._clock())

    def _succeeded(self, tick: Tick, started: float, ended: float, value: Any) -> None:
        self._ledger.succeed(tick.scheduled, started, ended)
        self._publish(tick, TickStatus.OK, started, ended, value, None)
        deadline = self._deadline
        if deadline is not None and ended > tick.scheduled + deadline:
            self._ledger.deadline_missed += 1
            self._late(f"ended {ended - tick.scheduled:.3g} s after its release, past its deadline")

    def _failed(
        self, tick: Tick, started: float, ended: float, error: BaseException
    ) -> BaseException:
        self._ledger.fail(tick.scheduled, started, ended)
        self._publish(tick, TickStatus.ERROR, started, ended, None, error)
        return error

    @staticmethod
    def _heeded(error: BaseException, fence: Fence) -> bool:
        """Whether a tick ended because it was told that its time is over."""
        if not fence.expired:
            return False
        if isinstance(error, BaseExceptionGroup):
            return error.split((TickCancelled, TickAbandoned))[1] is None
        return isinstance(error, (TickCancelled, TickAbandoned))

    def _unwound(self, tick: Tick, started: float) -> None:
        """It was cancelled and has unwound; what it may have left behind is fenced off."""
        self._worker.renew_fence()
        if not self._timed_out:
            self._settle_cancelled(tick, started)
            return
        ended = self._clock()
        self._ledger.time_out(tick.scheduled, started, ended)
        self.error = TickTimedOut(
            f"tick {tick.seq} of node {self._name!r} took longer than its tick_timeout of "
            f"{self._timeout:g} s and was cancelled"
        )
        self._publish(tick, TickStatus.TIMED_OUT, started, ended, None, self.error)

    def _abandoned(self, call: ThreadCall, tick: Tick) -> BaseException:
        ended = call.abandoned_at
        if call.timed_out:
            text = f"ran longer than its tick_timeout of {self._worker.tick_limit:g} s"
        else:
            text = f"still ran {ended - call.started:.3g} s after its start, at the stop"
        error = TickTimedOut(
            f"tick {tick.seq} of node {self._name!r} {text}; its thread was left behind"
        )
        where = stack_of(call.thread).rstrip()
        if where:
            error.add_note(f"it was left at\n{where}")
        self._ledger.abandon(tick.scheduled, call.started, ended)
        self._publish(tick, TickStatus.ABANDONED, call.started, ended, None, error)
        return error

    def _settle_cancelled(self, tick: Tick, started: float) -> None:
        self._ledger.cancel()
        error = TickCancelled(f"tick {tick.seq} of node {self._name!r} was cancelled")
        self._publish(tick, TickStatus.CANCELLED, started, self._clock(), None, error)

    def _publish(
        self,
        tick: Tick,
        status: TickStatus,
        started: float,
        ended: float,
        value: Any,
        error: BaseException | None,
    ) -> None:
        if self._executor.is_observed:
            self._executor.publish(
                AsyncResult(
                    node=self._name,
                    seq=tick.seq,
                    status=status,
                    scheduled=tick.scheduled,
                    started=started,
                    duration=ended - started,
                    value=value,
                    error=error,
                )
            )
