"""The frames of a thread, looked at from another one while it runs on."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator

import pytest

from horus_trio.executor.frames import frames_of_thread

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
