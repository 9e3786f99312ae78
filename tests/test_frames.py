"""The frames of a thread, looked at from another one while it runs on; those of a task; and whose
code they are.
"""

from __future__ import annotations

import itertools
import json
import sys
import textwrap
import threading
import time
import types
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any

import outcome
import pytest
import trio

from horus_trio.executor.frames import frames_of, frames_of_thread, is_engines, place_of
from horus_trio.executor.pool import stack_of
from horus_trio.executor.threads import ThreadCall
from horus_trio.messages import Fence

DEPTH = 12


@pytest.fixture
def switching() -> Iterator[None]:
    """Threads take turns as often as the interpreter can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def test_they_begin_with_the_innermost_and_end_with_the_threads_first() -> None:
    ready, over = threading.Event(), threading.Event()

    def inner() -> None:
        ready.set()
        over.wait(10)

    def outer() -> None:
        inner()

    thread = threading.Thread(target=outer)
    thread.start()
    try:
        assert ready.wait(10)
        frames = frames_of_thread(thread.ident)
    finally:
        over.set()
        thread.join()
    names = [frame.f_code.co_name for frame, _ in frames]
    assert names.index("inner") + 1 == names.index("outer")
    assert names[-1] == "_bootstrap"
    lines = {frame.f_code.co_name: line for frame, line in frames}
    assert lines["outer"] == outer.__code__.co_firstlineno + 1


def test_of_this_thread_they_begin_with_the_one_that_looks() -> None:
    frames = frames_of_thread(threading.get_ident())
    names = [frame.f_code.co_name for frame, _ in frames]
    assert names[:2] == ["frames_of_thread", sys._getframe().f_code.co_name]


@pytest.mark.parametrize("thread", [None, 0, -1])
def test_no_thread_has_no_frames(thread: int | None) -> None:
    assert frames_of_thread(thread) == []


@pytest.mark.usefixtures("switching")
def test_each_look_sees_one_instant_of_a_thread_that_runs_on() -> None:
    """Never an inner frame of one call beside an outer frame of another."""
    over = threading.Event()

    def descend(depth: int, call: int) -> int:
        return call if depth == 0 else descend(depth - 1, call)

    def run() -> None:
        call = 0
        while not over.is_set():
            call += descend(DEPTH, call) - call + 1

    thread = threading.Thread(target=run)
    thread.start()
    deepest = 0
    try:
        for _ in range(3000):
            frames = [f for f, _ in frames_of_thread(thread.ident)]
            names = [frame.f_code.co_name for frame in frames]
            assert names[-1] == "_bootstrap"
            descents = names.count("descend")
            assert descents <= DEPTH + 1
            first = names.index("run") - descents
            assert names[first : first + descents] == ["descend"] * descents
            deepest = max(deepest, descents)
    finally:
        over.set()
        thread.join()
    assert deepest > 1


# The frames of a task


def made_in(file: str, source: str) -> Any:
    """What a source defines that lies, as its frames say, in that file."""
    names: dict[str, Any] = {"trio": trio, "types": types}
    code = compile(textwrap.dedent(source), str(Path("/", file)), "exec")
    exec(code, names)  # noqa: S102 - its frames are to lie in that file
    return SimpleNamespace(**names)


WATCHED = made_in(
    "opt/horus_trio/bridges/asyncio/watched.py",
    """
    async def waits_for(coroutine):
        await trio.sleep_forever()
    """,
)
"""Stands for where a task of Trio's waits for asyncio code."""

PROFILER = made_in(
    "opt/horus_trio/profiling/measure.py",
    """
    def called(function):
        return function()

    @types.coroutine
    def resumed_by_hand(coroutine):
        given = None
        while True:
            try:
                asked = coroutine.send(given)
            except StopIteration as end:
                return end.value
            given = yield asked
    """,
)
"""Stands for what measures a hook."""


@types.coroutine
def half_way() -> Iterator[None]:
    yield from deepest()


def deepest() -> Iterator[None]:
    yield


async def inner_step() -> None:
    await half_way()


async def outer_step() -> None:
    await inner_step()


@pytest.fixture
def stopped() -> Iterator[Coroutine[Any, Any, None]]:
    """Asyncio code, as it were, that waits."""
    coroutine = outer_step()
    coroutine.send(None)
    yield coroutine
    coroutine.close()


async def names_in_task(function: Callable[[], Awaitable[object]]) -> list[str]:
    """The names of the frames of a task that waits in that function, from there on."""
    tasks: list[trio.lowlevel.Task] = []

    async def first() -> None:
        tasks.append(trio.lowlevel.current_task())
        await function()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(first)
        await trio.testing.wait_all_tasks_blocked()
        frames = list(itertools.islice(frames_of(tasks[0]), 100))
        nursery.cancel_scope.cancel()
    assert list(itertools.islice(frames_of(tasks[0]), 100)) == []  # it has ended
    names = [frame.f_code.co_name for frame, _ in frames]
    lines = {frame.f_code.co_name: line for frame, line in frames}
    if "outer_step" in lines:
        assert lines["outer_step"] == outer_step.__code__.co_firstlineno + 1
    assert names[0] == "first"
    return names[1:]


ASYNCIO = ["outer_step", "inner_step", "half_way", "deepest"]


async def test_behind_a_task_that_waits_for_asyncio_code_is_that_code(
    stopped: Coroutine[Any, Any, None],
) -> None:
    names = await names_in_task(lambda: WATCHED.waits_for(stopped))
    assert names[:2] == ["waits_for", "sleep_forever"]
    assert names[-4:] == ASYNCIO
    assert names.count("outer_step") == 1


async def test_behind_what_measures_a_hook_is_the_hook(stopped: Coroutine[Any, Any, None]) -> None:
    async def hook() -> None:
        await trio.sleep_forever()

    names = await names_in_task(lambda: PROFILER.resumed_by_hand(hook()))
    assert names[:3] == ["resumed_by_hand", "hook", "sleep_forever"]

    async def hook_in_asyncio() -> None:
        await WATCHED.waits_for(stopped)

    names = await names_in_task(lambda: PROFILER.resumed_by_hand(hook_in_asyncio()))
    assert names[:4] == ["resumed_by_hand", "hook_in_asyncio", "waits_for", "sleep_forever"]
    assert names[-4:] == ASYNCIO


async def test_a_task_of_ones_own_has_only_its_own_frames() -> None:
    coroutine = "a local variable of the name that leads on elsewhere"

    async def waits() -> None:
        _ = coroutine
        await trio.sleep_forever()

    names = await names_in_task(waits)
    assert names[:2] == ["waits", "sleep_forever"]


# Whose they are


def frame_in(module: str | None, file: str = "/home/me/robot.py") -> FrameType:
    names: dict[str, Any] = {"sys": sys} if module is None else {"sys": sys, "__name__": module}
    names["__builtins__"] = {}
    code = compile("def here():\n    return sys._getframe()", file, "exec")
    exec(code, names)  # noqa: S102 - its frame is to lie in that file
    frame: FrameType = names["here"]()
    return frame


@pytest.mark.parametrize(
    ("module", "engines"),
    [
        ("trio._core._run", True),
        ("outcome", True),
        ("horus_trio.executor.runner", True),
        ("horus_trio.cli.demo", False),
        ("horus_trio_robot", False),
        ("__main__", False),
        (None, False),
    ],
)
def test_frames_of_the_engine(module: str | None, engines: bool) -> None:
    assert is_engines(frame_in(module)) is engines


def test_a_place_is_the_innermost_of_the_user() -> None:
    mine = frame_in("robot"), 7
    outer = frame_in("robot", "/home/me/main.py"), 3
    standard = frame_in("json", json.__file__), 11
    frozen = frame_in("runpy", "<frozen runpy>"), 12
    installed = frame_in("numpy", "/venv/lib/site-packages/numpy/core.py"), 13
    debians = frame_in("numpy", "/usr/lib/python3/dist-packages/numpy/core.py"), 14
    engines = frame_in("trio._core._run", "/src/trio/_core/_run.py"), 15
    libraries = [standard, frozen, installed, debians, engines]
    assert place_of([outer, mine, *libraries]) == "/home/me/robot.py:7 in here"
    assert place_of([*libraries, mine]) == "/home/me/robot.py:7 in here"
    for library in libraries:
        assert place_of([mine, library]) == "/home/me/robot.py:7 in here"
    assert place_of(libraries[:3]) == "/venv/lib/site-packages/numpy/core.py:13 in here"
    assert place_of([]) == ""


def test_the_stack_of_a_hook_in_a_thread_is_the_users_code_alone() -> None:
    def hook() -> str:
        stack: str = PROFILER.called(lambda: stack_of(threading.get_ident()))
        return stack

    pool: Any = SimpleNamespace(clock=time.perf_counter)
    call = ThreadCall(pool, "arm", "tick", hook, (), Fence("arm"), limiter=None)
    call.work()
    assert isinstance(call.result, outcome.Value)
    names = [line.rpartition(" in ")[2] for line in call.result.value.splitlines()[::2]]
    assert names[:3] == ["hook", "<lambda>", "stack_of"]
    assert stack_of(None) == ""
