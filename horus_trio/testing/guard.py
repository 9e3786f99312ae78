"""`Guard`: runs one async test under a limit of real time, and looks at the tasks it leaves."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Awaitable, Callable, Iterator

import trio
import trio.testing

from .blocking import ThreadWatch
from .clock import VirtualClock
from .leftovers import system_tasks
from .places import standing

__all__ = ["Guard"]

STANDSTILL = 5.0
"""Real seconds in which nothing may happen under a virtual clock that nobody drives."""


class Guard:
    """Runs a test.

    Arguments:
        patience: Real seconds it may take; 0: without limit.

    Attributes:
        problem: What was wrong with the test, or empty.
    """

    def __init__(self, patience: float) -> None:
        self.problem: str = ""
        self._patience = patience
        self._scope = trio.CancelScope()

    async def run(self, test: Callable[[], Awaitable[None]]) -> None:
        """Run it. A checkpoint."""
        before = system_tasks()
        with contextlib.ExitStack() as stack:
            clock = trio.lowlevel.current_clock()
            if isinstance(clock, VirtualClock):
                watch = ThreadWatch(STANDSTILL)
                stack.enter_context(clock.watched(self, STANDSTILL, watch.time_left))
            if self._patience:
                stack.enter_context(self._timer())
            with self._scope:
                await test()
        if self.problem:
            return
        if system_tasks() - before:
            await trio.testing.wait_all_tasks_blocked()
        if left := system_tasks() - before:
            names = ", ".join(sorted(f"{task.name} {standing(task)}" for task in left))
            self.problem = f"left behind: tasks {names}; cancel them, or start them in a nursery"

    @contextlib.contextmanager
    def _timer(self) -> Iterator[None]:
        token = trio.lowlevel.current_trio_token()
        text = f"was still running after {self._patience:g} s"
        timer = threading.Timer(self._patience, token.run_sync_soon, [self._give_up, text])
        timer.name = "patience of the test"
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()

    def _give_up(self, problem: str) -> None:
        self.problem = self.problem or problem
        self._scope.cancel()

    # A virtual clock that nobody drives

    def stood_still(self) -> None:
        """The test waits for virtual time, and nothing moves it."""
        self._give_up(
            f"for {STANDSTILL:g} s of real time the test has waited at {trio.current_time():g} s "
            "of virtual time, which nothing moves: drive it by `await virtual_clock.advance(…)` "
            "in another task, open a harness, or use pytest-trio's autojump_clock"
        )

    def spins(self, task: trio.lowlevel.Task) -> None:
        """A task runs on and on at one instant."""
        self._give_up(
            f"task {task.name} runs again and again and never lets virtual time pass, "
            f"{standing(task)}; await trio.sleep(…) of more than 0 in its loop"
        )
