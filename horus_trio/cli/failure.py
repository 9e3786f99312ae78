"""Errors of users' code as users want to see them: their own frames, causes and notes included."""

from __future__ import annotations

import importlib
import os
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import outcome
import trio

import horus_trio as horus

__all__ = ["described", "failures"]


def _folder(module: ModuleType) -> str:
    return f"{Path(str(module.__file__)).parent}{os.sep}"


_MACHINERY = (
    *map(_folder, (horus, trio, outcome, importlib)),
    "<frozen importlib",
    "<frozen runpy",
)
"""Where the frames are that call users' code."""


def described(error: BaseException, *, whole: bool = False) -> str:
    """The traceback as text, without a newline at the end.

    Arguments:
        error: What was raised.
        whole: Show the frames of the engine, too.
    """
    text = traceback.TracebackException.from_exception(error)
    if not whole:
        for part in _parts(text):
            frames = [f for f in part.stack if not f.filename.startswith(_MACHINERY)]
            # An error of the engine itself is better shown with a frame of it than with none.
            if not frames and not isinstance(error, SyntaxError):
                frames = part.stack[-1:]
            part.stack = traceback.StackSummary.from_list(frames)
    return "".join(text.format()).rstrip("\n")


def failures(error: horus.RunFailed, *, whole: bool = False) -> Iterator[str]:
    """Each of the original exceptions of a failed run, as a paragraph."""
    for one in error.exceptions:
        yield described(one, whole=whole)


def _parts(text: traceback.TracebackException) -> Iterator[traceback.TracebackException]:
    """It, its causes and contexts, and the members of groups."""
    waiting, seen = [text], set()
    while waiting:
        part = waiting.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        yield part
        waiting += [p for p in (part.__cause__, part.__context__) if p is not None]
        waiting += part.exceptions or ()
