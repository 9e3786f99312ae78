"""The few things of Trio's inside that have no public name, and nothing else here uses more.

The clock of a run that has begun, the dice that shuffle ready tasks and whether the shuffle is
repeatable, and what a task is about to continue with. Each is looked up when it is needed; a
version of Trio that keeps them elsewhere gets one clear error.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import outcome
import trio

from ..errors import HorusError

__all__ = ["current_runner", "drop", "run_order_dice", "seeded_run_order", "throw_into"]


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


def throw_into(task: trio.lowlevel.Task, error: BaseException) -> None:
    """Have a task continue with `error`, whether it is blocked or about to run."""
    try:
        blocked = task._next_send_fn is None
    except AttributeError as missing:
        raise _unknown_trio() from missing
    if blocked:
        trio.lowlevel.reschedule(task, outcome.Error(error))
    else:
        task._next_send = outcome.Error(error)


def drop(task: trio.lowlevel.Task, error: BaseException) -> None:
    """Have a task end with `error` without running any more of its code."""

    def end(_: object) -> None:
        raise error

    throw_into(task, error)
    task._next_send_fn = end


def _unknown_trio() -> HorusError:
    return HorusError(
        f"trio {trio.__version__} keeps its run state where horus_trio.testing does not know it; "
        "use a version of trio from 0.30 to 0.35, or a newer horus_trio"
    )
