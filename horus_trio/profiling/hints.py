"""What a node's figures say should be changed. Pure: a profile in, sentences out."""

from __future__ import annotations

import math

from .report import NodeProfile

__all__ = ["hints_for"]

ENOUGH_TICKS = 10
"""Ticks below which a share is chance: a first tick imports, connects and fills caches."""

WAITS_LONG = 0.1
"""Of the time, waiting for a thread: a tenth of its period is what a node's deadline notices."""

WORTH_IT = 0.001
"""Seconds: a shorter tick costs little more than its way into a thread, wherever it runs."""

MOSTLY_IO = 0.2
"""Of its time in a thread, working: below this, the thread does little but wait."""

MOSTLY_CPU = 0.8
"""Of its time in a thread, working: above this, it computes; the rest is the interpreter's lock."""

BUSY = 0.1
"""Of the time, working in a thread: below this, the lock is free for others often enough."""

BLOCKS_OFTEN = 3
"""Long steps: one or two may be an import, or a moment in which the machine had no time."""

BLOCKS_LONG = 0.1
"""Seconds: a step so long costs every node of 100 Hz ten ticks; once is enough for a hint."""


def hints_for(node: NodeProfile) -> tuple[str, ...]:
    """What to change about a node, and why; nothing if it has not ticked often enough to tell."""
    hints: list[str] = []
    if node.blocking_steps >= BLOCKS_OFTEN or node.longest_step >= BLOCKS_LONG:
        many = (
            f", and {node.blocking_steps} steps for over 10 ms" if node.blocking_steps > 1 else ""
        )
        hints.append(
            f"it blocked the loop for {node.longest_step * 1e3:.0f} ms in a step of its "
            f"{node.longest_in}{many}: move that into a def tick, or "
            "`await trio.to_thread.run_sync(…)`"
        )
    if node.ticks < ENOUGH_TICKS:
        return tuple(hints)
    cpu = math.nan if node.cpu is None else node.cpu  # of which no comparison is true
    waits_long = node.where == "pool" and node.waiting.share >= WAITS_LONG
    computes = cpu >= MOSTLY_CPU and cpu * node.running.share >= BUSY
    waits_for_io = cpu <= MOSTLY_IO and node.running.p50 >= WORTH_IT
    if waits_long:
        hints.append(
            f"it waited for a thread {100 * node.waiting.share:.0f} % of the time: give it "
            "thread='own'"
        )
    if computes:
        hints.append(
            f"its def tick burns CPU ({100 * cpu:.0f} % of {node.running.p50 * 1e3:.3g} ms) and "
            "holds the interpreter's lock meanwhile: give it thread='process'"
        )
    elif waits_for_io:
        hints.append(
            f"its def tick mostly waits for I/O (CPU {100 * cpu:.0f} % of "
            f"{node.running.p50 * 1e3:.3g} ms): an async driver would need no thread"
        )
    return tuple(hints)
