"""Puts the measuring around a node's hooks: on the loop step by step, in a thread as a whole."""

from __future__ import annotations

import dataclasses
import math
import threading
import time
from collections.abc import Callable
from typing import Any

from ..messages import TickStatus
from ..node import Hook, Hooks
from .steps import timed_steps
from .track import Open, Span, Track, status_of, without_this_frame

__all__ = ["dress_hooks"]

HOOKS = ("tick", "init", "shutdown", "on_error", "enter_safe_state")


def dress_hooks(track: Track, hooks: Hooks, clock: Callable[[], float]) -> Hooks:
    """The hooks of a node, each timed.

    Arguments:
        track: Where it is noted.
        hooks: The node's.
        clock: The run's clock, in seconds; any thread.
    """
    dressed = {
        name: _dress(track, name, hook, clock)
        for name in HOOKS
        if (hook := getattr(hooks, name)) is not None
    }
    return dataclasses.replace(hooks, **dressed)


def _dress(track: Track, what: str, hook: Hook, clock: Callable[[], float]) -> Hook:
    if hook.is_async:
        call = timed_steps(track, what, hook.call)
    else:
        call = _in_thread(track, what, hook.call, clock)
    return dataclasses.replace(hook, call=call)


def _in_thread(
    track: Track, what: str, function: Callable[..., Any], clock: Callable[[], float]
) -> Callable[..., Any]:
    def timed(*args: Any) -> Any:
        runner = track.runner
        tick = runner.seat.tick if what == "tick" else None
        call = runner.thread_call
        if call is not None and call.thread != threading.get_ident():
            call = None  # of another hook, which is out
        begun = clock() if call is None else call.started
        asked = begun if call is None else call.queued_at
        key = object()
        track.open(key, Open(what, tick, asked, begun, call))
        worked = time.thread_time()
        try:
            value = function(*args)
        except BaseException as error:
            worked = time.thread_time() - worked
            _note(track, key, clock(), worked, error)
            without_this_frame(error)
            raise
        worked = time.thread_time() - worked
        _note(track, key, clock(), worked, None)
        return value

    return timed


def _note(track: Track, key: object, ended: float, cpu: float, error: BaseException | None) -> None:
    was = track.leave(key)
    if was is None:
        return  # it was left behind, and the run is over
    what, tick, asked, begun, call = was
    status = TickStatus.OK if error is None else status_of(error, ended - begun, None)
    if call is not None and call.abandoned:
        status = TickStatus.ABANDONED
        ended = call.abandoned_at if call.abandoned_at == call.abandoned_at else ended
    if track.where == "process":
        cpu = math.nan  # of this thread, which waits for the worker
        if tick is not None and call is not None and call.started == call.started:
            begun = call.started  # in the worker
    track.note(Span(what, tick, asked, begun, ended, running=ended - begun, cpu=cpu, status=status))
