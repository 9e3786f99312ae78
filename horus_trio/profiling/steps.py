"""Times an ``async`` hook step by step.

A step is what runs on the loop without a pause: from a resumption to the next await that really
waits, or to the end. Between steps the coroutine awaits. So the three things that are asked for are
exact: how long it ran, how long it awaited, and for how long it kept the loop from everybody else.

Most ticks are one step, and `timed_steps` does that much by itself. What pauses is driven by
a `Steps`. What is sent and thrown goes in, what is yielded, returned and raised comes out, and
tracebacks and the frames of a waiting task show the coroutine's own frames as ever.
"""

from __future__ import annotations

import math
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, Self

from ..messages import TickStatus
from .track import BLOCKING, MARKS, Span, Track, status_of, without_this_frame

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
    is_tick = what == "tick"
    clock = track.watch.read

    @types.coroutine
    def on_loop(*args: Any) -> Generator[Any, Any, Any]:
        made = call(*args)
        coroutine: Coroutine[Any, Any, Any] = (
            made if type(made) is types.CoroutineType else _awaited(made)
        )
        begun = clock()
        try:
            trap = coroutine.send(None)
        except StopIteration as end:
            if is_tick:
                track.note_short_tick(begun, clock())
            else:
                _Steps(track, what, coroutine, begun).end(TickStatus.OK)
            return end.value
        except BaseException as error:
            _Steps(track, what, coroutine, begun).fail(error)
            without_this_frame(error)
            raise
        steps = _Steps(track, what, coroutine, begun)
        steps.pause()
        steps.first = [trap]
        try:
            return (yield from steps)
        except BaseException as error:
            without_this_frame(error)
            raise

    return on_loop


class _Steps:
    """Drives one coroutine that has paused.

    Arguments:
        track: Where it is noted.
        what: Name of the hook.
        coroutine: Of the hook.
        begun: When its first step began, by the track's watch.

    Attributes:
        first: What the first step has yielded, until somebody takes it.
    """

    __slots__ = (
        "_begun",
        "_clock",
        "_coroutine",
        "_long_steps",
        "_longest",
        "_marks",
        "_resumed",
        "_running",
        "_steps",
        "_track",
        "_what",
        "first",
    )

    def __init__(
        self,
        track: Track,
        what: str,
        coroutine: Coroutine[Any, Any, Any],
        begun: float,
    ) -> None:
        self._track = track
        self._what = what
        self._coroutine = coroutine
        self._clock = track.watch.read
        self._begun = self._resumed = begun
        self._running = self._longest = 0.0
        self._steps = self._long_steps = 0
        self._marks: list[float] = []
        self.first: list[Any] = []

    # What drives it

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        return self.first.pop() if self.first else self.send(None)

    def send(self, value: Any) -> Any:
        """Resume it."""
        self._resume()
        try:
            trap = self._coroutine.send(value)
        except StopIteration:
            self.end(TickStatus.OK)
            raise
        except BaseException as error:
            self.fail(error)
            without_this_frame(error)
            raise
        self.pause()
        return trap

    def throw(self, kind: Any, value: Any = None, traceback: Any = None) -> Any:
        """Resume it with an exception; the interpreter may give it in three parts."""
        self._resume()
        try:
            trap = self._coroutine.throw(_exception(kind, value, traceback))
        except StopIteration:
            self.end(TickStatus.OK)
            raise
        except BaseException as error:
            self.fail(error)
            without_this_frame(error)
            raise
        self.pause()
        return trap

    def close(self) -> None:
        """End it."""
        self._coroutine.close()

    # Whoever looks at a task that waits asks a coroutine for these

    @property
    def cr_frame(self) -> types.FrameType | None:
        """The frame of the coroutine."""
        return getattr(self._coroutine, "cr_frame", None)

    @property
    def cr_await(self) -> Any:
        """What the coroutine awaits."""
        return getattr(self._coroutine, "cr_await", None)

    # Timing

    def pause(self) -> None:
        """A step has ended with an await that waits."""
        now = self._clock()
        self._account(now)
        if len(self._marks) < MARKS:
            self._marks.append(now)

    def fail(self, error: BaseException) -> None:
        """It has raised."""
        options = self._track.runner.options
        limit = options.tick_timeout if self._what == "tick" else None
        seconds = self._clock() - self._begun
        self.end(status_of(error, seconds, None if limit == "auto" else limit))

    def end(self, status: TickStatus) -> None:
        """The last step has ended."""
        now = self._clock()
        self._account(now)
        track, offset = self._track, self._track.watch.offset
        track.note(
            Span(
                what=self._what,
                tick=track.runner.seat.tick if self._what == "tick" else None,
                asked=self._begun + offset,
                begun=self._begun + offset,
                ended=now + offset,
                running=self._running,
                longest=self._longest,
                long_steps=self._long_steps,
                steps=self._steps,
                marks=tuple([mark + offset for mark in self._marks]),
                cpu=math.nan,
                status=status,
            )
        )

    def _resume(self) -> None:
        now = self._resumed = self._clock()
        if len(self._marks) < MARKS:
            self._marks.append(now)

    def _account(self, now: float) -> None:
        took = now - self._resumed
        self._steps += 1
        self._running += took
        if took > self._longest:
            self._longest = took
        if took > BLOCKING:
            self._long_steps += 1


async def _awaited(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


def _exception(kind: Any, value: Any, traceback: Any) -> BaseException:
    if isinstance(kind, BaseException):
        return kind
    error: BaseException = value if isinstance(value, BaseException) else kind()
    return error if traceback is None else error.with_traceback(traceback)
