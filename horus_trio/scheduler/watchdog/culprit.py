"""Who runs on a thread: the node and its hook, found by the engine's own frames on the stack.

Only frames are looked at, and only those of the running thread: nothing is recorded beforehand, so
a tick costs nothing for it.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import Any

from ...executor import attribution

__all__ = ["Culprit", "place_of", "text_of", "who_runs"]

FRAMES_SHOWN = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Culprit:
    """What a thread is busy with.

    Attributes:
        node: Name of the node whose code it is, or None.
        what: Such as ``tick 12``, or ``code of no node``.
        where: File, line and function of the innermost frame.
        stack: The frames of that code as text, the innermost last.
    """

    node: str | None
    what: str
    where: str
    stack: str

    def __str__(self) -> str:
        owner = self.what if self.node is None else f"node {self.node!r} ({self.what})"
        return f"{owner} at {self.where}"


def who_runs(thread: int) -> Culprit | None:
    """Whose code the thread of that identifier is in now; None: there is no such thread."""
    innermost = sys._current_frames().get(thread)
    if innermost is None:
        return None
    frames: list[FrameType] = []
    frame: FrameType | None = innermost
    while frame is not None:
        owner = _OWNERS.get(frame.f_code)
        if owner is not None:
            node, what = owner(frame.f_locals)
            return Culprit(
                node=node,
                what=what,
                where=place_of(frames[0] if frames else frame),
                stack=text_of(frames or [frame]),
            )
        frames.append(frame)
        frame = frame.f_back
    return Culprit(
        node=None, what="code of no node", where=place_of(innermost), stack=text_of(frames)
    )


def place_of(frame: FrameType) -> str:
    """File, line and function of a frame."""
    return f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}"


def text_of(frames: list[FrameType]) -> str:
    """Frames, the innermost first, as the text of a traceback; the outermost are left out."""
    shown = [
        traceback.FrameSummary(f.f_code.co_filename, f.f_lineno, f.f_code.co_name)
        for f in reversed(frames[:FRAMES_SHOWN])
    ]
    return "".join(traceback.StackSummary.from_list(shown).format())


_OWNERS: dict[CodeType, Callable[[dict[str, Any]], tuple[str | None, str]]] = attribution()
