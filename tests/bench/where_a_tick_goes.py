"""Where the time of a no-op async tick goes, line by line, and whether the lines add up.

Each line is a loop over the very objects of a running node, in the same run as the whole tick, and
turn by turn with it. What Trio does in a tick (a message into a channel, the receiver woken, run
and suspended again) is a bare program without anything else.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Awaitable, Callable

import async_tick
import trio
import trio.testing
from _compare import Count, Target, counts, print_machine, show_progress

import horus_trio as horus
from horus_trio.messages import AsyncResult, Tick, TickStatus

NODES = 10
LOOPS = 4000
REPETITIONS = 15


async def wake_only(nodes: int = NODES, rounds: int = 2000) -> float:
    """CPU time in µs of a message to a task that waits for it, until it waits again."""

    async def receiver(channel: trio.MemoryReceiveChannel[float]) -> None:
        while True:
            await channel.receive()

    async with trio.open_nursery() as nursery:
        channels = []
        for _ in range(nodes):
            send, receive = trio.open_memory_channel[float](2)
            channels.append(send)
            nursery.start_soon(receiver, receive)
        await trio.testing.wait_all_tasks_blocked()
        begun = time.thread_time()
        for _ in range(rounds):
            for channel in channels:
                channel.send_nowait(0.0)
            await trio.lowlevel.checkpoint()
            await trio.lowlevel.checkpoint()
        spent = time.thread_time() - begun
        nursery.cancel_scope.cancel()
    return spent / (nodes * rounds) * 1e6


def nothing(*args: object) -> None:
    """A line's own call, which is taken off its time."""


def calls(function: Callable[[], object]) -> float:
    """CPU time of a call in µs, without that of calling."""
    begun = time.thread_time()
    for _ in range(LOOPS):
        function()
    middle = time.thread_time()
    for _ in range(LOOPS):
        nothing()
    return (2 * middle - begun - time.thread_time()) / LOOPS * 1e6


async def awaits(function: Callable[[], Awaitable[object]]) -> float:
    """CPU time of awaiting what never waits, in µs."""
    begun = time.thread_time()
    for _ in range(LOOPS):
        await function()
    middle = time.thread_time()
    for _ in range(LOOPS):
        nothing()
    return (2 * middle - begun - time.thread_time()) / LOOPS * 1e6


async def lines() -> dict[str, float]:
    """One measurement of each line of a tick, in µs."""
    async with horus.open_executor() as executor:
        await executor.spawn_node(async_tick.Idle("idle"), tick_timeout=1.0)
        runner = executor.runners["idle"]
        await trio.testing.wait_all_tasks_blocked()
        mailbox, ticker, ledger = runner.mailbox, runner._ticker, runner.ledger
        hook = runner._hooks.tick
        tick = Tick(seq=1, scheduled=executor.clock())
        now = executor.clock()
        limit = ticker._limit
        assert limit is not None
        limit.set(now + 1e3)
        put, mailbox.dispatch = mailbox.dispatch, nothing

        def release() -> None:
            mailbox.ready = True
            mailbox.release(now)

        def result() -> AsyncResult:
            return AsyncResult(
                node="idle",
                seq=1,
                status=TickStatus.OK,
                scheduled=now,
                started=now,
                duration=0.0,
                value=None,
                error=None,
            )

        def around() -> None:
            isinstance(tick, horus.Shutdown)
            mailbox.taken()
            runner._judge.is_counting  # noqa: B018 - what is measured
            runner._tick_over()

        made = result()
        found = {
            "Tick(…), frozen": calls(lambda: Tick(seq=1, scheduled=now)),
            "mailbox.release: accounting, number": calls(release),
            "receive loop: taken, policy asked, done": calls(around),
            "the limit's alarm moved on": calls(lambda: limit.set(now + 1e3)),
            "the clock, twice": 2 * calls(executor.clock),
            "the node's seat told of the tick": calls(lambda: runner.seat.turn_page(tick)),
            "counters, two histograms": calls(lambda: ledger.succeed(now, now, now + 1e-5)),
            "AsyncResult(…), frozen": calls(result),
            "publishing it to a reader": calls(lambda: executor.publish(made)),
            "the tick's coroutines, all of it": await awaits(lambda: ticker.on_loop(hook, tick)),
        }
        inner = (
            "the limit's alarm moved on",
            "the clock, twice",
            "the node's seat told of the tick",
            "counters, two histograms",
            "AsyncResult(…), frozen",
            "publishing it to a reader",
        )
        whole = found.pop("the tick's coroutines, all of it")
        found["mailbox.release: accounting, number"] -= found["Tick(…), frozen"]
        found["the tick's coroutines, and what is left"] = whole - sum(found[n] for n in inner)
        mailbox.dispatch = put
        mailbox.ready = True
    return found


def main() -> None:
    """Measure and print."""
    print_machine()
    ticks: list[float] = []
    parts: dict[str, list[float]] = {}
    for repetition in range(REPETITIONS):
        show_progress(f"{repetition + 1}/{REPETITIONS}")
        ticks.append(async_tick.cost(NODES))
        parts.setdefault("Trio: send, wake, run, wait again", []).append(trio.run(wake_only))
        for name, figure in trio.run(lines).items():
            parts.setdefault(name, []).append(figure)
    show_progress("")
    tick = statistics.median(ticks)
    rows = {name: statistics.median(figures) for name, figures in parts.items()}
    counts(
        f"Where a no-op async tick's {tick:.1f} µs go, {NODES} nodes",
        "µs of CPU, of the whole",
        [
            *(Count(name=name, figure=round(figure, 2)) for name, figure in rows.items()),
            Count(
                name="the lines together, of a tick",
                figure=round(sum(rows.values()), 2),
                whole=round(tick, 2),
                target=Target(at_least=0.9, at_most=1.1),
            ),
        ],
    )


if __name__ == "__main__":
    main()
