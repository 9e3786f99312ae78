"""What holds for every test: it ends in time, and leaves nothing behind.

`leaves_nothing` fails a test after which a thread, file descriptor or child process is there that
was not there before. An async test also fails when a system task outlives it (an ordinary task
cannot: its nursery waits for it), or when it takes longer in *real* time than its patience; so a
deadlock under a virtual clock is a failure with a traceback too.

Time: an async test that asks for `autojump_clock` or `mock_clock` (of pytest-trio) runs on virtual
time and compares it with `==`. Real time is for tests of what only real time shows.
"""

from __future__ import annotations

import functools
import inspect
import os
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import hypothesis
import pytest
import trio
import trio.testing
from trio._core._thread_cache import THREAD_CACHE

pytest_plugins = ["pytester"]

PATIENCE = 30.0
"""Seconds of real time for one async test, unless marked `@pytest.mark.patience(seconds)`."""

GRACE = 2.0
"""Seconds in which threads and processes that have been told to end may end."""

hypothesis.settings.register_profile("real machines pause", deadline=None)
hypothesis.settings.load_profile("real machines pause")


# What is required of the machine


@pytest.fixture(scope="session")
def require() -> Callable[[str, bool, str], None]:
    """Call with a name, whether it is present, and how to install it.

    What is absent skips the test on a user's machine, and fails it in continuous integration.
    """

    def require(name: str, present: bool, how_to_install: str) -> None:
        if present:
            return
        reason = f"needs {name}, which is not here: {how_to_install}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)

    return require


# What every test leaves behind: nothing


@pytest.fixture(autouse=True)
def leaves_nothing() -> Iterator[None]:
    before = whats_there()
    yield
    give_up = time.monotonic() + GRACE
    while left := whats_there() - before:
        if time.monotonic() > give_up:
            names = ", ".join(sorted(str(thing) for thing in left))
            pytest.fail(f"left behind: {names}", pytrace=False)
        time.sleep(0.01)


def whats_there() -> set[object]:
    return busy_threads() | open_descriptors() | child_processes()


def busy_threads() -> set[object]:
    """All threads but Trio's idle workers, which wait ten seconds for more work and then end.

    A worker that still runs somebody's function counts. Trio tells idle from busy only here.
    """
    idle = {worker._thread for worker in list(THREAD_CACHE._idle_workers)}
    return {thread for thread in threading.enumerate() if thread not in idle}


def open_descriptors() -> set[object]:
    """The open file descriptors with what they lead to; nothing where there is no `/proc`."""
    descriptors = set[object]()
    for link in Path("/proc/self/fd").glob("*"):
        try:
            descriptors.add(f"descriptor {link.name} of {link.readlink()}")
        except FileNotFoundError:
            continue  # it was the descriptor of this very listing
    return descriptors


def child_processes() -> set[object]:
    """The children of this process, dead ones not yet waited for included."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return set()
    children = set[object]()
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, fields = status.read_text().rpartition(")")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields.split()[1]) == os.getpid():
            children.add(f"process {name})")
    return children


# What holds for async tests


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    if isinstance(item, pytest.Function) and item.get_closest_marker("trio"):
        marker = item.get_closest_marker("patience")
        patience = float(marker.args[0]) if marker else PATIENCE
        if generated := getattr(item.obj, "hypothesis", None):
            generated.inner_test = guarded(generated.inner_test, patience)
        else:
            item.obj = guarded(item.obj, patience)
    return (yield)


def guarded(test: Callable[..., Awaitable[None]], patience: float) -> Callable[..., object]:
    """The async test under a real-time limit and a watch on system tasks."""
    if not inspect.iscoroutinefunction(test):
        return test  # another example of a generated test, guarded already

    @functools.wraps(test)
    async def run(**arguments: object) -> None:
        before = system_tasks()
        with trio.CancelScope() as scope:
            in_loop = trio.lowlevel.current_trio_token()
            timer = threading.Timer(patience, in_loop.run_sync_soon, [scope.cancel])
            timer.name = "patience of the test"
            timer.start()
            try:
                await test(**arguments)
            finally:
                timer.cancel()
                timer.join()
        if scope.cancelled_caught:
            pytest.fail(f"was still running after {patience:g} s")
        if system_tasks() - before:
            await trio.testing.wait_all_tasks_blocked()
        if left := system_tasks() - before:
            names = ", ".join(sorted(task.name for task in left))
            pytest.fail(f"left behind: tasks {names}")

    return run


def system_tasks() -> set[trio.lowlevel.Task]:
    root = trio.lowlevel.current_root_task()
    nurseries = root.child_nurseries if root else ()
    return {task for nursery in nurseries for task in nursery.child_tasks}
