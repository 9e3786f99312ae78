"""The laws of hooks: what a node is called for, in which order, and when not. Pure."""

from __future__ import annotations

import collections
from collections.abc import Iterator

from horus_trio import SafetyOutcome

from .record import Record, by_life
from .snapshots import Violation

__all__ = [
    "hooks_in_order",
    "nothing_while_held",
    "nothing_while_paused",
    "own_thread_is_kept",
    "safe_where_reported",
]


def hooks_in_order(record: Record) -> Iterator[Violation]:
    """One thing at a time, and ``shutdown`` once after each ``init`` that succeeded."""
    busy_at_shutdown: set[str] = set()
    for life, entries in by_life(record.diary.entries).items():
        running: collections.Counter[str] = collections.Counter()
        alive = 0
        for entry in entries:
            if entry.phase == "is" or entry.what == "enter_safe_state":
                continue
            if entry.phase == "begins":
                at = f"{life}: {entry.what} {entry.seq or ''} began"
                if entry.what == "shutdown":
                    if alive != 1:
                        yield Violation("shutdown", f"{at} after {alive} init(s) to be undone")
                    if running["tick"]:
                        busy_at_shutdown.add(life.partition("/")[0])
                    alive -= 1
                elif +running:
                    yield Violation("one at a time", f"{at} during {sorted(+running)}")
                elif entry.what == "init" and alive:
                    yield Violation("shutdown", f"{at} before the last one was undone")
                elif entry.what == "tick" and not alive:
                    yield Violation("life cycle", f"{at} while it was not initialised")
                running[entry.what] += 1
                continue
            running[entry.what] -= 1
            if entry.what == "init" and entry.phase == "returned":
                alive += 1
        if alive > 0:
            yield Violation("shutdown", f"{life} was initialised and never shut down")
        if +running:
            yield Violation("leaks", f"{life} has never left {sorted(+running)}")
    silent = busy_at_shutdown - set(record.report.shutdown_while_busy)
    if silent:
        yield Violation("report", f"{sorted(silent)} were shut down while busy, unmentioned")


def nothing_while_paused(record: Record) -> Iterator[Violation]:
    """A node that is paused begins what was released before, and no more.

    One tick may be about to begin; where it waits for a thread, an arrival may have another one
    wait behind it.
    """
    for life, entries in by_life(record.diary.entries).items():
        plan = record.plan_of(life)
        released = 2 if plan.in_threads and plan.on else 1
        begun: list[int] | None = None
        for entry in entries:
            if entry.what == "paused":
                begun = []
            elif entry.what == "resumed":
                begun = None
            elif entry.what == "tick" and entry.phase == "begins" and begun is not None:
                begun.append(entry.seq)
                if len(begun) == released + 1:
                    yield Violation("pause", f"{life} began ticks {begun} while it was paused")


def nothing_while_held(record: Record) -> Iterator[Violation]:
    """In an emergency critical nodes begin no tick."""
    held = False
    for entry in record.diary.entries:
        if entry.what == "held":
            held = True
        elif entry.what == "let go":
            held = False
        elif held and entry.what == "tick" and entry.phase == "begins":
            plan = record.plan_of(entry.life)
            # In real time a thread may be between its start and its first entry; asyncio code
            # begins a step later than its tick.
            sure = plan.kind != "asyncio" and (record.plan.virtual or not plan.in_threads)
            if plan.critical and sure:
                text = f"{entry.life} began tick {entry.seq} in an emergency"
                yield Violation("safety", text)


def own_thread_is_kept(record: Record) -> Iterator[Violation]:
    """``init`` and ticks of a node with a thread of its own run in no other one."""
    threads: dict[str, int] = {}
    for entry in record.diary.entries:
        if entry.phase == "begins" and entry.what in ("init", "tick"):
            if record.plan_of(entry.life).kind != "own":
                continue
            if threads.setdefault(entry.life, entry.thread) != entry.thread:
                text = f"{entry.life} began {entry.what} {entry.seq or ''} in another thread"
                yield Violation("threads", text)


def safe_where_reported(record: Record) -> Iterator[Violation]:
    """Who is said to be in its safe state has been told, and nobody more often than there was need.

    A node may pass through it for other reasons: a miss, or its final failure.
    """
    called: collections.Counter[str] = collections.Counter()
    for entry in record.diary.entries:
        if entry.what == "enter_safe_state" and entry.phase == "begins":
            called[entry.life.partition("/")[0]] += 1
    reported: collections.Counter[str] = collections.Counter()
    for emergency in record.report.emergencies:
        for node in emergency.nodes:
            reported[node.node] += node.outcome is SafetyOutcome.SAFE
    for name, times in reported.items():
        if called[name] < times:
            yield Violation("safety", f"{name} is said to be safe {times}x, called {called[name]}x")
