"""Slows threads down by chance: a plugin for pytest, by ``nox -s shaken``.

A thread of Trio's rests before its function, after it, and before it calls the loop. What relies on
a thread being quick, in the engine or in a test, is seen then, where a busy machine would show it
once in a thousand runs.
"""

from __future__ import annotations

import random
import threading
import time
from typing import Any

import pytest
import trio
from trio._core._thread_cache import WorkerThread

SHARE = 0.4
"""How many of the occasions are taken."""

LONGEST = 0.03
"""Seconds of the longest rest."""

MAIN = threading.main_thread()


def rest() -> None:
    """Sleep, now and then."""
    if random.random() < SHARE:
        time.sleep(random.random() * LONGEST)


def pytest_configure(config: pytest.Config) -> None:
    """Have all of Trio's threads rest."""
    handle = WorkerThread._handle_job
    run_sync_soon = trio.lowlevel.TrioToken.run_sync_soon

    def handle_job(thread: WorkerThread[Any]) -> None:
        assert thread._job is not None
        function, deliver, name = thread._job

        def late() -> object:
            try:
                return function()
            finally:
                rest()

        thread._job = late, deliver, name
        rest()
        handle(thread)

    def run_later(token: trio.lowlevel.TrioToken, *args: Any, **keywords: Any) -> None:
        # Not the loop itself, nor a signal handler.
        if not trio.lowlevel.in_trio_run() and threading.current_thread() is not MAIN:
            rest()
        run_sync_soon(token, *args, **keywords)

    WorkerThread._handle_job = handle_job  # type: ignore[assignment, method-assign]
    trio.lowlevel.TrioToken.run_sync_soon = run_later  # type: ignore[assignment]
