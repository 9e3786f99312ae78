"""What is used of Trio's inside, where it has no public name; nothing else here uses more.

The clock of a run that has begun, the dice that shuffle ready tasks and whether the shuffle is
repeatable, what a task is about to continue with, and who of the worker threads is idle.
"""

from __future__ import annotations

import ctypes
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, Protocol

import outcome
import trio

from ..errors import HorusError

__all__ = [
    "Runner",
    "abort",
    "cancelled_with",
    "current_runner",
    "drop",
    "goes_on",
    "idle_worker_threads",
    "is_blocked",
    "is_shielded_from",
    "run_order_dice",
    "seeded_run_order",
    "throw_into",
]


class Runner(Protocol):
    """What is used of Trio's runner."""

    clock: trio.abc.Clock


def current_runner() -> Runner:
    """The runner of the current Trio run.

    Raises:
        HorusError: This version of Trio keeps it elsewhere.
    """
    try:
        from trio._core._run import GLOBAL_RUN_CONTEXT

        runner: Runner = GLOBAL_RUN_CONTEXT.runner
    except (ImportError, AttributeError) as error:
        if not trio.lowlevel.in_trio_run():
            raise RuntimeError("must be called from async context") from None
        raise _unknown_trio() from error
    return runner


def run_order_dice() -> random.Random:
    """The dice with which Trio shuffles ready tasks, in every run of this process."""
    dice = getattr(trio._core._run, "_r", None)
    if not isinstance(dice, random.Random):
        raise _unknown_trio()
    return dice


@contextmanager
def seeded_run_order(seed: int | str) -> Iterator[None]:
    """While inside, Trio's random order of ready tasks is the same for the same seed."""
    dice, module = run_order_dice(), trio._core._run
    state, repeatable = dice.getstate(), module._ALLOW_DETERMINISTIC_SCHEDULING
    dice.seed(seed)
    module._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]
    try:
        yield
    finally:
        module._ALLOW_DETERMINISTIC_SCHEDULING = repeatable  # type: ignore[misc]
        dice.setstate(state)


def idle_worker_threads() -> set[threading.Thread]:
    """Trio's worker threads that wait for more work; after ten seconds of that they end."""
    from trio._core._thread_cache import THREAD_CACHE

    return {worker._thread for worker in list(THREAD_CACHE._idle_workers)}


# Tasks


def is_blocked(task: trio.lowlevel.Task) -> bool:
    """Whether a task waits, and is not about to run."""
    return task._next_send_fn is None


def cancelled_with(task: trio.lowlevel.Task) -> bool:
    """Whether a task is about to continue with `trio.Cancelled`."""
    comes = task._next_send
    return isinstance(comes, outcome.Error) and isinstance(comes.error, trio.Cancelled)


def goes_on(task: trio.lowlevel.Task) -> bool:
    """Whether a task is about to go on by itself, and not to learn how its children ended."""
    comes = task._next_send
    return (isinstance(comes, outcome.Value) or cancelled_with(task)) and all(
        nursery._nested_child_running for nursery in task.child_nurseries
    )


def is_shielded_from(task: trio.lowlevel.Task, scope: trio.CancelScope) -> bool:
    """Whether a shield is between a task and a scope around it."""
    status: Any = task._cancel_status
    while status is not None and status._scope is not scope:
        if status._scope.shield:
            return True
        status = status._parent
    return status is None


def throw_into(task: trio.lowlevel.Task, error: BaseException) -> None:
    """Have a task that is about to run continue with `error`."""
    task._next_send = outcome.Error(error)


def abort(task: trio.lowlevel.Task, error: BaseException, *, heed_promises: bool) -> None:
    """Have a blocked task continue with `error`, as if it were cancelled with that.

    What it waits for forgets it, and a shield does not count.

    Arguments:
        heed_promises: Leave it alone if what it waits for has refused before, and is to wake it.
    """

    def raise_error() -> NoReturn:
        raise error

    abort_func = task._abort_func
    if abort_func is not None:
        task._abort_func = None
        if abort_func(raise_error) is trio.lowlevel.Abort.FAILED:
            return
    elif heed_promises:
        return
    trio.lowlevel.reschedule(task, outcome.Error(error))


def drop(task: trio.lowlevel.Task, error: BaseException) -> None:
    """Have a task that is about to run end with `error`, without running any more of its code."""

    def end(_: object) -> None:
        raise error

    task._next_send_fn = end
    # Not even its end runs any of its code: one reference more, and it is never collected.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(task.coro))


def _unknown_trio() -> HorusError:
    return HorusError(
        f"trio {trio.__version__} keeps its run state where horus_trio.testing does not know it; "
        "use a version of trio from 0.30 to 0.35, or a newer horus_trio"
    )
