"""`cancel_everywhere`: an operation cancelled at each of its checkpoints must lose nothing.

The law: *cancelled anywhere and repeated, it is as if it had run once*. And wherever it is
cancelled, it ends soon, lets `trio.Cancelled` through, and leaves no lock held, no token taken, no
task, thread, descriptor or child process behind.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, TypeVar, overload

import trio

from ...arguments import is_positive
from ...errors import ConfigurationError
from ..blocking import ThreadWatch
from ..clock import VirtualClock
from .findings import CancellationBroken, Finding, Sweep
from .sweeper import Sweeper

__all__ = ["CancellationBroken", "Finding", "Sweep", "cancel_everywhere"]

T = TypeVar("T")


@overload
async def cancel_everywhere(
    make: Callable[[], AbstractAsyncContextManager[T]],
    use: Callable[[T], Awaitable[object]],
    *,
    observe: Callable[[T], object] | None = None,
    repeat: bool = True,
    same_result: bool = True,
    watch: Iterable[object] = (),
    deadline: float = 5.0,
) -> Sweep: ...


@overload
async def cancel_everywhere(
    make: Callable[[], Awaitable[T]],
    use: Callable[[T], Awaitable[object]],
    *,
    observe: Callable[[T], object] | None = None,
    repeat: bool = True,
    same_result: bool = True,
    watch: Iterable[object] = (),
    deadline: float = 5.0,
) -> Sweep: ...


@overload
async def cancel_everywhere(
    make: Callable[[], AbstractContextManager[T]],
    use: Callable[[T], Awaitable[object]],
    *,
    observe: Callable[[T], object] | None = None,
    repeat: bool = True,
    same_result: bool = True,
    watch: Iterable[object] = (),
    deadline: float = 5.0,
) -> Sweep: ...


@overload
async def cancel_everywhere(
    make: Callable[[], T],
    use: Callable[[T], Awaitable[object]],
    *,
    observe: Callable[[T], object] | None = None,
    repeat: bool = True,
    same_result: bool = True,
    watch: Iterable[object] = (),
    deadline: float = 5.0,
) -> Sweep: ...


async def cancel_everywhere(
    make: Callable[[], Any],
    use: Callable[[Any], Awaitable[object]],
    *,
    observe: Callable[[Any], object] | None = None,
    repeat: bool = True,
    same_result: bool = True,
    watch: Iterable[object] = (),
    deadline: float = 5.0,
) -> Sweep:
    """Cancel ``use(make())`` at each of its checkpoints, on a fresh object each time. A checkpoint.

    It is cancelled before it begins, and at every yield to Trio twice: while it waits there, and as
    it is woken. After that it is repeated, and must come to the result, and to what `observe` sees,
    of an attempt that was not cancelled. On a virtual clock that nobody drives, time moves by
    itself meanwhile. A repetition that raises `trio.ClosedResourceError` or
    `trio.BrokenResourceError` is accepted: the object says that it is of no more use.

    Arguments:
        make: Makes the object, or an awaitable of it, or a context manager to be entered. An
            object with ``aclose`` or ``close`` is closed at the end. Locks are not entered.
        use: The operation; it must come to the same end each time.
        observe: What has been done to the object, to be compared, such as the messages delivered:
            a value that changes no more, or an awaitable of it.
        repeat: Whether a cancelled operation is repeated.
        same_result: Whether the repetition must return what the operation returns.
        watch: More objects whose locks, limiters and semaphores must be free afterwards; those
            that can be reached from the object and from `use` are watched anyway.
        deadline: Real seconds that an attempt may take, whatever the run's clock; after them it is
            evicted, which is a finding.

    Returns:
        A summary, if nothing was found.

    Raises:
        CancellationBroken: With what was found; or from the error with which the operation fails
            without being cancelled.
        ConfigurationError: An argument makes no sense.
    """
    for name, function in (("make", make), ("use", use), ("observe", observe)):
        if not callable(function) and not (name == "observe" and function is None):
            raise ConfigurationError(
                f"cancel_everywhere({name}={function!r}): expected a function, got "
                f"{type(function).__name__}; pass the function itself, or a lambda"
            )
    if not is_positive(deadline):
        raise ConfigurationError(
            f"cancel_everywhere(deadline={deadline!r}): expected a finite number of seconds "
            "above 0; leave it out for 5 s"
        )
    sweeper = Sweeper(
        make=make,
        use=use,
        observe=observe,
        repeat=repeat,
        same_result=same_result,
        watch=tuple(watch),
        deadline=deadline,
    )
    clock = trio.lowlevel.current_clock()
    with contextlib.ExitStack() as stack:
        if isinstance(clock, VirtualClock) and not clock.is_driven:
            stack.enter_context(clock.running_free(ThreadWatch(math.inf).time_left))
        return await sweeper.sweep()
