"""Who held the interpreter's lock: asked when it has been let go, for until then nobody can ask.

While one thread held it, no Python code ran: so it was a tick that began before, and that either
still runs or ended in the very moment in which others could go on. A tick that meanwhile slept or
waited in its thread looks the same, so it may be one of several.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ...executor import NodeRunner
from ...node import find_hooks
from .culprit import Culprit, who_runs

__all__ = ["who_held_the_lock"]

NAMED = 4
"""So many are named at most."""

SLACK = 0.1
"""Seconds until this thread runs after the lock has been let go, at most."""


def who_held_the_lock(
    runners: Mapping[str, NodeRunner], seconds: float, on_loop: bool, now: float
) -> Culprit | None:
    """The node that held it for so many seconds until `now`, or one of which it is.

    Arguments:
        runners: The nodes, by name.
        seconds: How long it was held, at least.
        on_loop: Whether it was code on the loop, probably.
        now: Seconds of the run.

    Returns:
        None: It is not known.
    """
    ended: dict[bool, list[Culprit]] = {True: [], False: []}
    running: list[Culprit] = []
    for runner in tuple(runners.values()):
        call, tick = runner.thread_call, runner.seat.tick
        if call is not None and call.result is None and call.started < now - seconds + SLACK:
            culprit = who_runs(call.thread or 0)
            if culprit is not None and culprit.node == runner.name:
                running.append(culprit)
        elif tick is not None and _has_just_ended(runner, seconds, now):
            known = call is not None or runner.ledger.last_start < now - seconds + SLACK
            which = f"tick {tick.seq}" if known and not runner.mailbox.busy else "a tick"
            is_async = find_hooks(runner.node).tick.is_async
            ended[is_async].append(Culprit(node=runner.name, what=which))
    in_threads = [*ended[False], *running]
    found = (ended[True] or in_threads) if on_loop else (in_threads or ended[True])
    if len(found) < 2:
        return found[0] if found else None
    names = ", ".join(map(str, found[:NAMED]))
    return replace(found[0], node=None, what=f"one of {names}", where="")


def _has_just_ended(runner: NodeRunner, seconds: float, now: float) -> bool:
    """Whether a tick of it may have lasted so long, and until just now."""
    call = runner.thread_call
    if call is not None:  # the loop has not heard of its end yet
        return call.started < now - seconds + SLACK and call.ended > now - SLACK
    # The next tick may have begun since: then this is the longest so far, or there is no telling.
    longest = runner.ledger.durations.summary().max
    return longest > seconds - SLACK and runner.ledger.last_start + longest > now - SLACK
