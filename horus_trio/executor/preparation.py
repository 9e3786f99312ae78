"""What a node needs before its first tick, and what undoes it: helpers, ``init``, a process.

Each step tells what went wrong instead of raising it. One that was cut short is a `TickCancelled`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import trio

from ..errors import HookTimedOut, TickCancelled
from ..node import Hooks, Node, NodeOptions, Seat
from .kept_open import Belongings
from .late_init import LateInit
from .life import Life
from .milestone import Milestone
from .process import ProcessTicks
from .worker import FAILURES, Worker

if TYPE_CHECKING:
    from .executor import AsyncIOExecutor

__all__ = ["Preparation"]


class Preparation:
    """Prepares one node, as often as it is restarted.

    Arguments:
        executor: Keeps helpers open.
        name: The node's name.
        options: The node's.
        seat: The node's; it may have a companion to be kept open.
        life: Cuts short what is awaited.
        worker: Runs ``init``.
        process: Runs its ticks in a process of its own, or None.
        done: Set when the node has left for good.
        failed: Called with what makes a helper fail while it is open.
    """

    __slots__ = (
        "_belongings",
        "_done",
        "_executor",
        "_late_init",
        "_life",
        "_name",
        "_options",
        "_process",
        "_worker",
    )

    def __init__(
        self,
        executor: AsyncIOExecutor,
        name: str,
        options: NodeOptions,
        seat: Seat,
        life: Life,
        worker: Worker,
        process: ProcessTicks | None,
        done: Milestone,
        failed: Callable[[BaseException], None],
    ) -> None:
        self._executor = executor
        self._name = name
        self._options = options
        self._life = life
        self._worker = worker
        self._process = process
        self._done = done
        self._belongings: Belongings | None = None
        things = options.helpers
        if seat.companion is not None:
            things = (seat.companion, *things)
        if things:
            self._belongings = Belongings(things, executor, options.shutdown_timeout, failed)
        self._late_init: LateInit | None = None  # made for each ``init``

    @property
    def has_helpers(self) -> bool:
        """Whether there is something to open."""
        return self._belongings is not None

    async def open_helpers(self) -> BaseException | None:
        """Have its helpers open, within its ``init_timeout``. A checkpoint if there are any."""
        if self._belongings is None:
            return None
        limit = trio.move_on_after(self._options.init_timeout)
        error: BaseException | None = None
        with self._life.scope as life, limit:
            try:
                await self._belongings.open()
            except (*FAILURES, BaseExceptionGroup) as failure:
                error = failure
        self._life.renew()
        if limit.cancelled_caught:
            error = HookTimedOut(
                f"the helpers of node {self._name!r} were not open within its init_timeout of "
                f"{self._options.init_timeout:g} s"
            )
        return self._cut_short() if life.cancelled_caught else error

    async def initialise(self, hooks: Hooks) -> BaseException | None:
        """Call its ``init``, if it has one. A checkpoint then, if the hook is one."""
        if hooks.init is None:
            return None
        error: BaseException | None = None
        late_init = self._look_after_init()
        with self._life.scope as life:
            error = await self._worker.call_hook(
                hooks.init,
                self._options.init_timeout,
                on_late=lambda result: late_init.ended(result, hooks.shutdown),
            )
        self._life.renew()
        return self._cut_short() if life.cancelled_caught else error

    async def start_process(self, node: Node) -> BaseException | None:
        """Have a process ready for the first tick, if it needs one; if there is none, init is owed
        its ``shutdown``.
        """
        if self._process is None:
            return None
        error = await self._process.prepare(node)
        self._life.renew()  # it may have been cut short
        if error is not None:
            self._look_after_init().owe()
        return error

    def owes_shutdown(self) -> bool:
        """Whether an ``init`` that was given up has succeeded, and its ``shutdown`` is still to be
        called, on the loop; asked once.
        """
        return self._late_init is not None and self._late_init.take_debt()

    async def close_helpers(self) -> list[BaseException]:
        """Close its helpers; returns what they raised. A checkpoint if there are any."""
        return [] if self._belongings is None else await self._belongings.close()

    def force(self, until: float) -> None:
        """Let closing its helpers take no longer than until that instant of Trio's clock."""
        if self._belongings is not None:
            self._belongings.force(until)

    def _cut_short(self) -> TickCancelled:
        return TickCancelled(f"init of node {self._name!r} was cancelled")

    def _look_after_init(self) -> LateInit:
        """Somebody to look after an ``init``; what was owed for the last one is settled by now."""
        self._late_init = LateInit(self._name, self._executor.log, self._done)
        return self._late_init
