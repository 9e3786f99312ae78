"""One operation: what is to be called, how far it has come, and what became of it."""

from __future__ import annotations

import contextvars
import enum
import inspect
import math
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import outcome
import trio

from ..errors import ConfigurationError, HorusError
from ..topics.waiting import Waiter
from .functions import is_async

__all__ = [
    "Operation",
    "OperationCancelled",
    "OperationDropped",
    "OperationExited",
    "OperationResult",
    "OperationStatus",
    "OperationTimedOut",
    "check_function",
]


class OperationTimedOut(HorusError, TimeoutError):
    """An operation took longer than its timeout."""


class OperationCancelled(HorusError):
    """An operation was cancelled before it ended: by a call, a deadline, or the closing."""


class OperationDropped(HorusError):
    """An operation was thrown out of a full queue by a newer one; it was never started."""


class OperationExited(HorusError):
    """An operation raised SystemExit, the ``__cause__`` of this: operations fail, nothing exits.

    It also stands for a KeyboardInterrupt or a `trio.Cancelled` that came out of a thread.
    """


class OperationStatus(enum.Enum):
    """How an operation ended."""

    COMPLETED = "completed"
    FAILED = "failed"
    TIMED_OUT = "timed out"
    CANCELLED = "cancelled"
    DROPPED = "dropped"

    def __repr__(self) -> str:
        return f"OperationStatus.{self.name}"

    if not TYPE_CHECKING:
        __hash__ = object.__hash__  # there is one of each; that of Enum is a few calls


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationResult:
    """What became of one operation.

    Attributes:
        id: Which one.
        status: How it ended.
        value: What it returned; None unless it is COMPLETED.
        error: The exception itself, with its traceback; None if it is COMPLETED.
        duration: Seconds it ran, without the time in the queue; 0.0 if it was never started.
    """

    id: str
    status: OperationStatus
    value: Any = None
    error: BaseException | None = None
    duration: float = 0.0

    @property
    def success(self) -> bool:
        """Whether it returned."""
        return self.error is None

    @property
    def outcome(self) -> outcome.Outcome[Any]:
        """A fresh one-shot `outcome.Outcome`."""
        return outcome.Value(self.value) if self.error is None else outcome.Error(self.error)

    def unwrap(self) -> Any:
        """What it returned; raises its error if it has one."""
        if self.error is not None:
            raise self.error
        return self.value


class Operation:
    """A call that is to be made, once.

    `started`, `due` and `thread` are written where it runs, all else under the `Runner`'s lock.

    Attributes:
        id: For its result.
        is_async: Whether it runs on the loop, not in a thread.
        context: The one it was submitted in; it runs there.
        timeout: Seconds it may run, or `math.inf`.
        started: The instant it began, in its own thread or task; NaN before.
        due: The instant its time is over; `math.inf` before it began.
        status: How it ended, or None.
        value, error, duration: As in `OperationResult`.
        scope: What an ``async`` one runs in, or the thread of a ``def`` one.
        cancelled: Why an ``async`` one is being cancelled, or None.
        waiters: Who waits for it.
        thread: In which thread a ``def`` one runs.
    """

    __slots__ = (
        "args",
        "cancelled",
        "context",
        "due",
        "duration",
        "error",
        "function",
        "id",
        "is_async",
        "scope",
        "started",
        "status",
        "thread",
        "timeout",
        "value",
        "waiters",
    )

    def __init__(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        timeout: float,
        on_loop: bool,
        id: str = "",  # noqa: A002 - what it is called in the result
    ) -> None:
        self.id: str = id
        self.function: Callable[..., Any] | None = function
        self.args: tuple[Any, ...] = args
        self.is_async: bool = on_loop
        self.context: contextvars.Context | None = contextvars.copy_context()
        self.timeout: float = timeout
        self.started: float = math.nan
        self.due: float = math.inf
        self.status: OperationStatus | None = None
        self.value: Any = None
        self.error: BaseException | None = None
        self.duration: float = 0.0
        self.scope: trio.CancelScope | None = None
        self.cancelled: str | None = None
        self.waiters: list[Waiter] = []
        self.thread: int | None = None

    def __repr__(self) -> str:
        state = "pending" if self.status is None else self.status.value
        return f"<Operation {self.id!r}, {state}>"

    def result(self) -> OperationResult:
        """Its result, once it has ended."""
        if self.status is None:
            raise RuntimeError(f"operation {self.id!r} has not ended")
        return OperationResult(
            id=self.id,
            status=self.status,
            value=self.value,
            error=self.error,
            duration=self.duration,
        )


def check_function(owner: str, function: object) -> bool:
    """Whether calling it gives something to be awaited.

    Raises:
        ConfigurationError: It cannot be called, or is a coroutine already.
    """
    if type(function) is types.FunctionType:  # this is asked at every `submit`
        return is_async(function)
    if inspect.iscoroutine(function):
        function.close()
        raise ConfigurationError(
            f"{owner}: got a coroutine; give the function and its arguments, without calling it"
        )
    if not callable(function):
        raise ConfigurationError(f"{owner}: {function!r:.80} cannot be called; give a function")
    return is_async(function)
