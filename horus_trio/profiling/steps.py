"""Times an ``async`` hook step by step.

A step is what runs on the loop without a pause: from a resumption to the next await that really
waits, or to the end. Between steps the coroutine awaits. So the three things that are asked for are
exact: how long it ran, how long it awaited, and for how long it kept the loop from everybody else.

The hook's coroutine is resumed by hand. What is sent and thrown goes in, and what is yielded,
returned and raised comes out, tracebacks unchanged. In the frames of a waiting task, `frames_of` of
the executor goes on from here by the local variable ``coroutine``.
"""

from __future__ import annotations

import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any

from ..messages import TickStatus
from .track import (
    BLOCKING,
    MARKS,
    Span,
    Track,
    span_on_loop,
    status_of,
    without_this_frame,
)

__all__ = ["timed_steps"]


def timed_steps(
    track: Track, what: str, call: Callable[..., Awaitable[Any]]
) -> Callable[..., Awaitable[Any]]:
    """An ``async`` hook that is timed.

    Arguments:
        track: Where it is noted.
        what: Name of the hook, ``tick`` for either kind of tick.
        call: The hook.
    """
    # Most ticks go no further than to the first `return`, or through this one function: each call
    # more would be a tenth of what it costs.
    is_tick = what == "tick"
    clock, offset = track.watch
    note_tick, coroutine_type = track.note_tick, types.CoroutineType

    @types.coroutine
    def on_loop(*args: Any) -> Generator[Any, Any, Any]:
        made = call(*args)
        coroutine: Coroutine[Any, Any, Any] = (
            made if type(made) is coroutine_type else _awaited(made)
        )
        marks: list[float] = []
        beyond: _Beyond | None = None
        begun = clock()
        try:
            trap = coroutine.send(None)
            while True:
                paused = clock()
                if beyond is not None:
                    beyond.step_ended(paused)
                resume: Callable[[Any], Any] = coroutine.send
                try:
                    sent = yield trap
                except BaseException as error:  # noqa: BLE001, ASYNC103 - it is handed on
                    without_this_frame(error)
                    resume, sent = coroutine.throw, error
                if len(marks) < MARKS:
                    marks += (paused, clock())
                elif beyond is None:
                    beyond = _Beyond(marks[-1], paused, clock())
                else:
                    beyond.step_begins(clock())
                trap = resume(sent)
        except StopIteration as end:
            if is_tick and beyond is None:
                note_tick(begun, clock(), marks)
            else:
                note(begun, marks, beyond, None)
            return end.value
        except BaseException as error:
            note(begun, marks, beyond, error)
            without_this_frame(error)
            raise
        finally:
            sent = None  # an error would refer to this frame, and the frame to the error

    def note(
        begun: float, marks: list[float], beyond: _Beyond | None, error: BaseException | None
    ) -> None:
        """It has ended, and not as most ticks do."""
        ended = clock()
        status = TickStatus.OK
        if error is not None:
            limit = track.runner.options.tick_timeout if is_tick else None
            status = status_of(error, ended - begun, None if limit == "auto" else limit)
        tick = track.runner.seat.tick if is_tick else None
        if beyond is None:
            span = span_on_loop(what, tick, begun, ended, marks, offset, status=status)
        else:
            beyond.step_ended(ended)
            *pauses, paused, _ = marks
            span = span_on_loop(what, tick, begun, paused, pauses, offset, status=status)
            span = beyond.added_to(span, ended + offset, [mark + offset for mark in marks])
        track.note(span)

    return on_loop


class _Beyond:
    """The steps of a hook after those whose instants are kept."""

    __slots__ = ("_begun", "_long_steps", "_longest", "_running", "_steps")

    def __init__(self, begun: float, paused: float, resumed: float) -> None:
        """The first of them began, and paused, and the next one begins."""
        self._running = self._longest = 0.0
        self._steps = self._long_steps = 0
        self._begun = begun
        self.step_ended(paused)
        self._begun = resumed

    def step_begins(self, now: float) -> None:
        self._begun = now

    def step_ended(self, now: float) -> None:
        took = now - self._begun
        self._running += took
        self._longest = max(self._longest, took)
        self._long_steps += took > BLOCKING
        self._steps += 1

    def added_to(self, span: Span, ended: float, marks: list[float]) -> Span:
        """The span with these steps, of which the last one has ended."""
        return span._replace(
            ended=ended,
            running=span.running + self._running,
            longest=max(span.longest, self._longest),
            long_steps=span.long_steps + self._long_steps,
            steps=span.steps + self._steps,
            marks=tuple(marks),
        )


async def _awaited(awaitable: Awaitable[Any]) -> Any:
    return await awaitable
