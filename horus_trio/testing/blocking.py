"""Blocking code on virtual time: `blocking_delay`, and the watch that knows which threads work.

A thread of the robot either works, and then virtual time stands still, or it sleeps in a
`blocking_delay` (or waits for a `FakeDevice`), and then time may move. So a ``def`` tick can only
time out by the delays it asks for, never because a machine was slow.
"""

from __future__ import annotations

import contextlib
import contextvars
import math
import threading
import time
from collections.abc import Callable

import trio

from ..arguments import is_positive
from ..errors import AsyncCallInThread, ConfigurationError, NotRunning
from ..executor import AsyncIOExecutor, ThreadCall, stack_of
from ..helpers.at_work import current_at_work
from ..topics.bell import current_bell

__all__ = ["Sleeper", "ThreadWatch", "blocking_delay", "current_watch", "refuse_on_loop"]


def blocking_delay(seconds: float) -> None:
    """Block this thread for `seconds`: virtual ones under `open_harness`, else real ones.

    For ``def`` hooks and for fakes they call, in place of `time.sleep`.

    Raises:
        AsyncCallInThread: Called on the Trio loop, which it would block; await `trio.sleep` there.
        ConfigurationError: `seconds` is not a finite number, 0 or more.
        NotRunning: The harness was closed meanwhile.
    """
    if not is_positive(seconds, or_zero=True):
        raise ConfigurationError(
            f"blocking_delay({seconds!r}): expected a finite number of seconds, 0 or more"
        )
    refuse_on_loop(f"blocking_delay({seconds!r})", "await trio.sleep(…)")
    watch = current_watch.get()
    if watch is None:
        time.sleep(seconds)
    else:
        sleeper = Sleeper()
        watch.lie_down(sleeper, seconds)
        sleeper.wait()


def refuse_on_loop(call: str, instead: str) -> None:
    """Raise `AsyncCallInThread` on the Trio loop, which `call` would block."""
    if trio.lowlevel.in_trio_run():
        raise AsyncCallInThread(
            f"{call} would block the Trio loop; it is for def hooks, in async code use {instead}"
        )


class Sleeper:
    """A thread that does not work: made in the thread, woken from anywhere."""

    def __init__(self) -> None:
        self.thread: int = threading.get_ident()
        self.sent_away: bool = False
        self._woken = threading.Event()

    @property
    def is_awake(self) -> bool:
        """Whether it has been woken."""
        return self._woken.is_set()

    def wake(self) -> None:
        """Let it go on; any thread."""
        self._woken.set()

    def wait(self) -> None:
        """Sleep until woken.

        Raises:
            NotRunning: The harness was closed.
        """
        self._woken.wait()
        if self.sent_away:
            raise NotRunning("the harness was closed while this thread waited in it")


class ThreadWatch:
    """Knows which threads of one harness work.

    Arguments:
        real_limit: Seconds of real time for which one may work at a stretch.
    """

    def __init__(self, real_limit: float) -> None:
        self._real_limit = real_limit
        self._token = trio.lowlevel.current_trio_token()
        self._bell = current_bell()
        self._default = trio.to_thread.current_default_thread_limiter()
        self._executor: AsyncIOExecutor | None = None
        self._asleep: dict[int, Sleeper] = {}
        self._since: dict[ThreadCall | None, float] = {}
        self._given_up: set[ThreadCall | None] = set()
        self._closed = False

    def serve(self, executor: AsyncIOExecutor) -> None:
        """Watch the threads of this executor."""
        self._executor = executor

    def time_left(self, real: float) -> float | None:
        """How many real seconds the working threads have left; None: no thread works.

        Arguments:
            real: Now, by `time.perf_counter`.
        """
        pool = None if self._executor is None else self._executor.pool
        calls = [] if pool is None else pool.calls()
        anonymous = self._default.borrowed_tokens + current_at_work().count()
        if pool is not None:
            anonymous += pool.ending()
        if self._bell.is_rung:  # by any thread, and others rely on its waking the loop
            anonymous += 1
        if not calls and not anonymous:
            return None
        sleepers = self._asleep.copy()
        since: dict[ThreadCall | None, float] = {}
        for call in calls:
            if call.thread is not None and sleepers.pop(call.thread, None) is not None:
                continue
            if call not in self._given_up:
                since[call] = self._since.get(call, real)
        # Threads of helpers and of `trio.to_thread.run_sync` have no names here; those that sleep
        # are the rest.
        if anonymous > len(sleepers) and None not in self._given_up:
            since[None] = self._since.get(None, real)
        self._since = since
        return min(since.values()) + self._real_limit - real if since else None

    def give_up(self) -> str:
        """Do not wait for the threads that work now any more; says who they are, and where."""
        texts: list[str] = []
        for call in self._since:
            self._given_up.add(call)
            if call is None:
                texts.append(
                    "a thread of trio.to_thread.run_sync, or of a helper, has really worked for "
                    f"more than {self._real_limit:g} s"
                )
            else:
                texts.append(
                    f"{call.what} of node {call.node!r} has really blocked its thread for more "
                    f"than {self._real_limit:g} s\n{stack_of(call.thread).rstrip()}\n"
                )
        self._since = {}
        return "; ".join(texts)

    # Sleeping: on virtual time, or until somebody wakes the sleeper

    def lie_down(self, sleeper: Sleeper, seconds: float = math.inf) -> None:
        """Count the calling thread as asleep, to be woken after `seconds`; any thread."""
        self._ask(self._lie_down, sleeper, seconds)

    def rest(self) -> tuple[Callable[[], None], Callable[[], None]]:
        """How to count the calling thread as asleep, and how to end that; both for any thread."""
        sleeper = Sleeper()

        def lie_down() -> None:
            with contextlib.suppress(NotRunning):
                self.lie_down(sleeper)

        return lie_down, lambda: self.get_up(sleeper)

    def get_up(self, sleeper: Sleeper) -> None:
        """Wake a sleeper; any thread. From then on it counts as working."""
        try:
            self._ask(self._get_up, sleeper)
        except NotRunning:
            sleeper.wake()

    def _ask(self, function: Callable[..., None], *args: object) -> None:
        if trio.lowlevel.in_trio_run():
            function(*args)
            return
        try:
            self._token.run_sync_soon(function, *args)
        except trio.RunFinishedError:
            raise NotRunning("the harness is closed") from None

    def _lie_down(self, sleeper: Sleeper, seconds: float) -> None:
        if sleeper.is_awake:
            return
        executor = self._executor
        if self._closed or executor is None:
            sleeper.sent_away = True
            sleeper.wake()
            return
        self._asleep[sleeper.thread] = sleeper
        if seconds < math.inf:
            alarm = executor.timer.alarm(lambda now: self._get_up(sleeper))
            alarm.set(executor.clock() + seconds)

    def _get_up(self, sleeper: Sleeper) -> None:
        if self._asleep.get(sleeper.thread) is sleeper:
            del self._asleep[sleeper.thread]
        sleeper.wake()

    def close(self) -> None:
        """Send every sleeper away. On the loop."""
        self._closed = True
        for sleeper in tuple(self._asleep.values()):
            sleeper.sent_away = True
            self._get_up(sleeper)


current_watch: contextvars.ContextVar[ThreadWatch | None] = contextvars.ContextVar(
    "horus_trio_thread_watch", default=None
)
"""The watch of the harness this code runs in, or None."""
