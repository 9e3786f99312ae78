"""Whose code a frame is: the engine's, a library's, or the user's own.

Frames are looked at from other threads, while the code they belong to may run on. So whatever is
read here may be a moment old, and a task that ends meanwhile just has no more frames.
"""

from __future__ import annotations

import gc
import itertools
import operator
import os
import sys
import sysconfig
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import trio

__all__ = ["frames_of", "frames_of_thread", "is_engines", "only_measures", "place_of"]


def frames_of(task: trio.lowlevel.Task) -> Iterator[tuple[FrameType, int]]:
    """The frames of a task with their lines, from the outermost on; any thread."""
    frames = _frames_within(task)
    while True:
        try:
            frame, line = next(frames)
        except (StopIteration, AttributeError, TypeError):  # it went on while it was looked at
            return
        yield frame, line


def frames_of_thread(thread: int | None) -> list[tuple[FrameType, int]]:
    """The frames of a thread with their lines, from the innermost on; any thread.

    Empty if there is no such thread.
    """
    # The interpreter must not switch threads half-way: a thread that runs on while its frames are
    # walked along hands out frames that are freed already, and CPython 3.11 crashes on them. It
    # switches between the byte codes of Python, so this walk has none: it is one call of `extend`,
    # and everything that it draws from is C. It makes objects, for which the garbage collector
    # would run, and with it finalisers in Python: so that pauses.
    start: Iterator[Any] = map(
        operator.itemgetter(thread), itertools.starmap(sys._current_frames, [()])
    )
    walk = itertools.accumulate(itertools.chain(start, itertools.repeat("f_back")), getattr)
    frames, again = itertools.tee(walk)
    found: deque[tuple[FrameType, int]] = deque()
    steps = zip(frames, map(operator.attrgetter("f_lineno"), again), strict=False)
    collects = gc.isenabled()
    gc.disable()
    try:
        found.extend(steps)
    except (KeyError, AttributeError):  # no such thread; past the outermost
        pass
    finally:
        if collects:
            gc.enable()
    return list(found)


def _frames_within(task: trio.lowlevel.Task) -> Iterator[tuple[FrameType, int]]:
    """What the task awaits; and what is resumed otherwise: by hand, or by an asyncio loop."""
    leads: FrameType | None = None
    for frame, line in task.iter_await_frames():
        yield frame, line
        leads = frame if leads is None or not _waits_for_asyncio(leads) else leads
    while leads is not None and (
        only_measures(leads.f_code.co_filename) or _waits_for_asyncio(leads)
    ):
        awaited, leads = leads.f_locals.get("coroutine"), None
        while awaited is not None:
            frame = getattr(awaited, "cr_frame", None) or awaited.gi_frame
            yield frame, frame.f_lineno
            leads = frame if leads is None or not _waits_for_asyncio(leads) else leads
            awaited = getattr(awaited, "cr_await", None) or getattr(awaited, "gi_yieldfrom", None)


def is_engines(frame: FrameType) -> bool:
    """Whether it is a frame of Trio or of this package, demonstrations excepted."""
    module = str(frame.f_globals.get("__name__", ""))
    ours = module.partition(".")[0] in ("trio", "outcome", "horus_trio")
    return ours and not module.startswith("horus_trio.cli.")


def only_measures(file: str) -> bool:
    """Whether it is a file of the profiler, which stands between the engine and a hook."""
    return _MEASURING in file


def _waits_for_asyncio(frame: FrameType) -> bool:
    """Whether it is that in which a task of Trio's waits for asyncio code: its ``coroutine``."""
    return frame.f_code.co_filename.endswith(_ASYNCIO)


def place_of(frames: Sequence[tuple[FrameType, int]]) -> str:
    """File, line and function of the innermost frame of the user's own, the outermost first.

    A user looks for a line of his own, not for one of the library that he has called. Where there
    is none, it is the innermost frame of all; of no frames, the empty text.
    """
    for frame, line in reversed(frames):
        if not is_engines(frame) and not _is_librarys(frame.f_code.co_filename):
            return _text(frame, line)
    return _text(*frames[-1]) if frames else ""


def _text(frame: FrameType, line: int) -> str:
    return f"{frame.f_code.co_filename}:{line} in {frame.f_code.co_name}"


def _is_librarys(file: str) -> bool:
    return file.startswith(_LIBRARY) or any(folder in file for folder in _INSTALLED)


_LIBRARY = (sysconfig.get_path("stdlib") + os.sep, "<frozen ")
_MEASURING = f"{os.sep}horus_trio{os.sep}profiling{os.sep}"
_ASYNCIO = str(Path("horus_trio", "bridges", "asyncio", "watched.py"))
_INSTALLED = tuple(f"{os.sep}{name}{os.sep}" for name in ("site-packages", "dist-packages"))
