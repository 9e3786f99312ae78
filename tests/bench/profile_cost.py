"""What being profiled adds to a tick that does nothing.

The same robot with a `Profiler` attached and without, in turn: ten async nodes with a
``tick_timeout``, released as fast as they tick, in CPU time of the loop's thread, whose ticks are
one step, or two with a checkpoint between them; and one ``def`` node, each of whose ticks asks for
the next one, in CPU time of the process, threads included.
"""

from __future__ import annotations

import contextlib
import functools
import time

import trio
import trio.testing
from _compare import Target, compare, print_machine

import horus_trio as horus
from horus_trio.profiling import Profiler

NODES = 10
ROUNDS = 1500
DEF_TICKS = 1500


class Idle(horus.AsyncNode):
    async def tick_async(self) -> None:
        pass


class Pausing(horus.AsyncNode):
    async def tick_async(self) -> None:
        await trio.lowlevel.checkpoint()


class IdleInThread(horus.Node):
    def __init__(self, done: trio.Event) -> None:
        super().__init__("idle", on="go")
        self.left = DEF_TICKS
        self.done = done

    def tick(self) -> None:
        self.left -= 1
        if self.left:
            self.send("go", None)
        else:
            trio.from_thread.run_sync(self.done.set)


def measured(
    scheduler: horus.Scheduler, *, wanted: bool
) -> contextlib.AbstractContextManager[object]:
    return Profiler(scheduler) if wanted else contextlib.nullcontext()


async def async_tick(node: type[horus.AsyncNode], *, profile: bool) -> float:
    scheduler = horus.Scheduler(tick_rate=1e-3, signals=False)
    for number in range(NODES):
        scheduler.add(node(f"idle-{number}"), tick_timeout=1.0)
    with measured(scheduler, wanted=profile):
        async with trio.open_nursery() as nursery:
            await nursery.start(scheduler.run)
            run = scheduler._run_state
            if run is None or run.executor is None:
                raise RuntimeError("it does not run")
            executor = run.executor
            mailboxes = [runner.mailbox for runner in executor.runners.values()]
            await trio.testing.wait_all_tasks_blocked()
            begun = time.thread_time()
            for _ in range(ROUNDS):
                now = executor.clock()
                for mailbox in mailboxes:
                    mailbox.release(now)
                for _ in range(3):
                    await trio.lowlevel.checkpoint()
            spent = time.thread_time() - begun
            scheduler.stop()
    done = sum(node.ok for node in scheduler.statistics().nodes.values())
    if done < NODES * (ROUNDS - 1):
        raise RuntimeError(f"only {done} of {NODES * ROUNDS} ticks ran")
    return spent / done * 1e6


async def def_tick(*, profile: bool) -> float:
    scheduler = horus.Scheduler(signals=False)
    done = trio.Event()
    scheduler.add(IdleInThread(done))
    with measured(scheduler, wanted=profile):
        async with trio.open_nursery() as nursery:
            await nursery.start(scheduler.run)
            begun = time.process_time()
            scheduler.topic("go").send(None)
            await done.wait()
            spent = time.process_time() - begun
            scheduler.stop()
    return spent / DEF_TICKS * 1e6


def main() -> None:
    print_machine()
    for title, program in (
        ("A no-op async tick with tick_timeout", functools.partial(async_tick, Idle)),
        ("An async tick that pauses once", functools.partial(async_tick, Pausing)),
        ("A no-op def tick", def_tick),
    ):
        compare(
            title,
            "µs of CPU a tick",
            {
                "not profiled": functools.partial(
                    trio.run, functools.partial(program, profile=False)
                ),
                "profiled": functools.partial(trio.run, functools.partial(program, profile=True)),
            },
            base="not profiled",
            targets={"profiled": Target(at_most=1.2)},
        )


if __name__ == "__main__":
    main()
