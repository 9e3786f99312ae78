"""A facade node in a scheduler: its life, its present tick, its time, its counters.

The record of the node whose code runs is in a context variable: the clock functions look there.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import inspect
import math
import random
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from ...errors import AlreadyRunning, NodeExited
from .enums import NodeState
from .node_info import NodeInfo
from .tally import Tally

if TYPE_CHECKING:
    from .node import Node

__all__ = ["Record", "RunClock", "current_record"]

BUDGET_SHARE = 0.8
"""Share of its period that a node has as its budget, if none is given."""


class RunClock:
    """The time of one scheduler.

    Arguments:
        deterministic: Whether its nodes see virtual time: their ticks times their period.

    Attributes:
        started: When the present run was started, in seconds of `time.perf_counter`.
    """

    __slots__ = ("deterministic", "started")

    def __init__(self, deterministic: bool) -> None:
        self.deterministic: bool = deterministic
        self.started: float = math.nan


class Record:
    """One node in one scheduler.

    Arguments:
        node: The facade node.
        clock: The scheduler's.
        request_stop: Stops the scheduler.

    Attributes:
        info: What the node's callbacks see as ``node.info``.
        tally: Its counters.
        rate: Ticks a second, in Hz.
        period: Seconds between its ticks.
        budget: Seconds a tick should take at most; infinity: none.
        began: When the present tick began, in seconds of `time.perf_counter`; None outside a tick.
        is_ready: Whether it is initialised.
        init_error: What its latest ``init`` raised, or None.
    """

    __slots__ = (
        "_dice",
        "began",
        "budget",
        "call_tick",
        "clock",
        "info",
        "init_error",
        "is_ready",
        "node",
        "period",
        "rate",
        "tally",
    )

    def __init__(self, node: Node, clock: RunClock, request_stop: Callable[[], None]) -> None:
        self.node: Node = node
        self.clock: RunClock = clock
        self.tally: Tally = Tally()
        self.info: NodeInfo = NodeInfo(node.name)
        self.info._attach(self.tally, request_stop)
        self.began: float | None = None
        self.rate: float = 0.0
        self.period: float = 0.0
        self.budget: float = math.inf
        self.is_ready: bool = False
        self.init_error: Exception | None = None
        self._dice: tuple[int, random.Random] = (-1, random.Random())
        self.call_tick: Callable[[], Any] = self._with_info(node.tick)
        self.set_rate(node.rate)

    def set_rate(self, rate: float) -> None:
        """The node ticks at this rate from now on, in Hz."""
        self.rate = float(rate)
        self.period = 1.0 / rate
        node = self.node
        if node.budget is not None:
            self.budget = node.budget
        elif node._horus_has_budget:
            self.budget = BUDGET_SHARE * self.period

    def dice(self) -> random.Random:
        """The random numbers of this tick: for its name and number always the same ones."""
        total = self.tally.total
        if self._dice[0] != total:
            self._dice = (total, random.Random(f"{self.node.name}:{total}"))
        return self._dice[1]

    # Callbacks of ``def`` nodes

    def init(self) -> None:
        """Initialise the node, unless it is: `Scheduler.tick_once` may have been there first."""
        if not self.is_ready:
            with self.initialising():
                self._with_info(self.node.init)()

    def tick(self) -> Any:
        """Run one tick; what it raises is the caller's business."""
        token = current_record.set(self)
        tally = self.tally
        began = self.began = time.perf_counter()
        try:
            return self.call_tick()
        except BaseException:
            tally.failed += 1
            raise
        finally:
            self.began = None
            took = time.perf_counter() - began
            tally.count(took)
            if took > self.budget:
                tally.overruns += 1
            current_record.reset(token)

    def shutdown(self) -> None:
        """Shut the node down."""
        with self.shutting_down():
            self._with_info(self.node.shutdown)()

    # What is around the callbacks

    @contextlib.contextmanager
    def initialising(self) -> Iterator[None]:
        """The node is initialised inside.

        Raises:
            AlreadyRunning: Another scheduler has it.
        """
        node, info = self.node, self.info
        if node._horus_record is not None and node._horus_record is not self:
            self.init_error = AlreadyRunning(
                f"node {node.name!r} is running in another scheduler; one node, one run at a time"
            )
            raise self.init_error
        node._horus_record = self
        info._enter(NodeState.INITIALIZING)
        node.info = info  # the hooks of a subclass log and stop by it, too
        try:
            with self.current():
                yield
        except BaseException as error:
            node._horus_record = None
            info._enter(NodeState.ERROR)
            self.init_error = _as_exception(error)
            raise
        self.is_ready = True
        self.init_error = None
        info._enter(NodeState.RUNNING)

    @contextlib.contextmanager
    def ticking(self) -> Iterator[None]:
        """An ``async`` tick runs inside."""
        tally = self.tally
        began = self.began = time.perf_counter()
        try:
            with self.current():
                yield
        except BaseException:
            tally.failed += 1
            raise
        finally:
            self.began = None
            tally.count(time.perf_counter() - began)

    @contextlib.contextmanager
    def shutting_down(self) -> Iterator[None]:
        """The node is shut down inside."""
        self.info._enter(NodeState.STOPPING)
        try:
            with self.current():
                yield
        finally:
            self.is_ready = False
            self.node._horus_record = None
            self.info._enter(NodeState.STOPPED)

    @contextlib.contextmanager
    def current(self) -> Iterator[None]:
        """While inside, the code that runs is the node's."""
        token = current_record.set(self)
        try:
            yield
        finally:
            current_record.reset(token)

    def _with_info(self, method: Callable[..., Any]) -> Callable[[], Any]:
        """A subclass may define ``tick(self)`` as well as HORUS's ``tick(self, info)``."""
        return functools.partial(method, self.info) if _takes_argument(method) else method


current_record: contextvars.ContextVar[Record | None] = contextvars.ContextVar(
    "horus_trio_horus_record", default=None
)
"""The node whose code runs, or None."""


def _takes_argument(function: Callable[..., object]) -> bool:
    try:
        inspect.signature(function).bind(None)
    except TypeError:
        return False
    except ValueError:  # no signature is known
        return True
    return True


def _as_exception(error: BaseException) -> Exception:
    if isinstance(error, Exception):
        return error
    exited = NodeExited(f"a node raised {error!r}")
    exited.__cause__ = error
    return exited
