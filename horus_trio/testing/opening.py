"""`open_harness`: a robot on a bench, with virtual time, ticks on demand, and faults.

The robot is run by an ordinary `Scheduler`, so what is tested is what will run. Three things
differ: the run lives on virtual time, which moves only while the test awaits one of the
harness's calls; its metronome releases ticks only during `Harness.advance`; and Trio's order of
ready tasks, chance faults and jitter all follow from one seed.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable
from typing import Unpack

import trio

from ..arguments import is_positive, is_whole
from ..errors import ConfigurationError
from ..node import Node, OptionKeywords
from ..scheduler import Scheduler
from ..topics.waiting import current_rest
from .blocking import ThreadWatch, current_watch
from .clock import VirtualClock, installed
from .faults import Faults
from .harness import Harness
from .internals import run_order_dice, seeded_run_order
from .pilot import Pilot, RealPilot, VirtualPilot
from .record import Record
from .stage import HarnessError, Stage

__all__ = ["open_harness"]


@contextlib.asynccontextmanager
async def open_harness(
    *nodes: Scheduler | Node | Callable[[], Node],
    seed: int | None = None,
    faults: Faults | None = None,
    strict: bool = False,
    real_time: bool = False,
    real_limit: float = 5.0,
    history: int = 100_000,
    trace: bool = False,
    tick_rate: float = 100.0,
    deterministic: bool = False,
    **options: Unpack[OptionKeywords],
) -> AsyncGenerator[Harness, None]:
    """Run nodes on a bench while inside: ``async with open_harness(Camera()) as h:``.

    Inside, every node is initialised, virtual time stands at the instant at which that was done,
    and nothing has ticked. Leaving stops the robot as a `Scheduler` does. Works in any Trio run,
    whatever its clock, and needs no test framework.

    Arguments:
        nodes: Nodes, or classes or functions that make them; or one `Scheduler` with its nodes.
        seed: Of the run order, of jitter and of chance; None: drawn. A test that fails names it.
        faults: A plan to begin with, for what happens in ``init``; the harness has its methods.
        strict: Whether publishing to, and looking at, topics that no node declares is an error.
        real_time: Use the run's clock as it is; `Harness.advance` then really waits.
        real_limit: Seconds of real time for which a thread of the robot may block, or the test
            may wait without anything happening, before the test fails.
        history: How many results, and messages of each topic, are kept; the oldest go.
        trace: Whether to keep a `Trace`.
        tick_rate, deterministic: Of the scheduler that is made for the nodes.
        options: For every node, as in ``Scheduler.add``.

    Raises:
        RunFailed: On leaving (or entering), if the run failed and no call has raised it before.
        HarnessError: A node does not stop, or a call of the harness was not awaited.
        ConfigurationError: An argument makes no sense.
    """
    _check_arguments(seed, real_limit, history)
    if seed is None:
        seed = run_order_dice().getrandbits(32)
    scheduler, is_ours = _robot(nodes, tick_rate, deterministic, options)
    problem: BaseException | None = None
    try:
        with contextlib.ExitStack() as stack:
            stack.enter_context(seeded_run_order(seed))
            watch = ThreadWatch(real_limit)
            clock = None if real_time else stack.enter_context(installed(VirtualClock()))
            if clock is not None and isinstance(clock.watcher, Stage):
                raise HarnessError(
                    "another harness is open in this run: give it all the nodes, or open one "
                    "after the other"
                )
            pilot: Pilot = RealPilot() if clock is None else VirtualPilot(clock)
            stage = Stage(
                scheduler,
                seed=seed,
                faults=Faults(seed) if faults is None else faults,
                pilot=pilot,
                watch=watch,
                record=Record(history, trace),
                real_limit=real_limit,
            )
            if clock is not None:
                stack.enter_context(clock.watched(stage, real_limit, watch.time_left))
            stack.callback(current_watch.reset, current_watch.set(watch))
            stack.callback(current_rest.reset, current_rest.set(watch.rest))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stage.run, name=f"robot {scheduler.name!r}")
                try:
                    await stage.open()
                    with stage.body:
                        yield Harness(stage, seed=seed, strict=strict)
                except trio.Cancelled:
                    raise
                except BaseException as error:
                    if _belongs_to_trio(error):
                        raise
                    problem = error  # raised outside the nursery, which would wrap it
                finally:
                    with trio.CancelScope(shield=True):
                        await stage.close()
        if problem is not None:
            raise problem
        stage.tell()
    except BaseException as error:
        if not _belongs_to_trio(error):
            error.add_note(f"this robot's seed was {seed}: open_harness(…, seed={seed}) repeats it")
        raise
    finally:
        if is_ours:
            scheduler._release_nodes()


def _belongs_to_trio(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return error.subgroup((trio.Cancelled, GeneratorExit)) is not None
    return isinstance(error, (trio.Cancelled, GeneratorExit))


def _check_arguments(seed: int | None, real_limit: float, history: int) -> None:
    if seed is not None and not is_whole(seed):
        raise ConfigurationError(f"seed={seed!r}: expected a whole number, or None to draw one")
    if not is_positive(real_limit):
        raise ConfigurationError(
            f"real_limit={real_limit!r}: expected a finite number of seconds above 0"
        )
    if not is_whole(history, 1):
        raise ConfigurationError(f"history={history!r}: expected a whole number, 1 or more")


def _robot(
    nodes: tuple[Scheduler | Node | Callable[[], Node], ...],
    tick_rate: float,
    deterministic: bool,
    options: OptionKeywords,
) -> tuple[Scheduler, bool]:
    """The scheduler to run, and whether it was made here."""
    if any(isinstance(node, Scheduler) for node in nodes):
        if len(nodes) > 1 or options:
            raise ConfigurationError(
                "open_harness(scheduler): expected one Scheduler and nothing else to run; add "
                "nodes and their options to it before"
            )
        return nodes[0], False  # type: ignore[return-value]
    scheduler = Scheduler(tick_rate, name="harness", deterministic=deterministic)
    try:
        for node in nodes:
            scheduler.add(node, **options)  # type: ignore[arg-type]
    except BaseException:
        scheduler._release_nodes()
        raise
    return scheduler, True
