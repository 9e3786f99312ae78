"""Who runs on a thread: the node and its hook, found by the engine's own frames on the stack.

Only frames are looked at, and only those of the running thread: nothing is recorded beforehand, so
a tick costs nothing for it. Source is read when somebody wants to see the stack: most looks at a
busy loop lead to nothing, and each file that is read stays in memory.
"""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from types import CodeType

from ...executor import (
    TASK_ADVICE,
    Owner,
    frames_of_thread,
    is_engines,
    only_measures,
    owner_of,
    place_of,
)

__all__ = ["Culprit", "who_runs"]

HOST_ADVICE = "let a thread do what takes time, in asyncio with `await asyncio.to_thread(…)`"

INNER, OUTER = 8, 4
"""So many frames are shown of a stack's ends; those between them are left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Culprit:
    """What a thread is busy with.

    Attributes:
        node: Name of the node whose code it is, or None.
        what: Such as ``tick 12``, or ``code of no node``.
        where: File, line and function; empty if that is not known.
        places: The frames of that code, the innermost last, as places without their source.
        advice: What to do if it blocks the loop.
        is_idle: Whether it is the engine's or Trio's own code, which waits or is about to.
    """

    node: str | None
    what: str
    where: str = ""
    places: tuple[traceback.FrameSummary, ...] = ()
    advice: str = TASK_ADVICE
    is_idle: bool = False

    def __str__(self) -> str:
        owner = self.what if self.node is None else f"node {self.node!r} ({self.what})"
        return f"{owner} at {self.where}" if self.where else owner

    @property
    def stack(self) -> str:
        """The frames with their lines, as the text of a traceback; of many, only both ends."""
        left_out = len(self.places) - INNER - OUTER
        if left_out <= 0:
            return "".join(traceback.format_list(self.places))
        return "".join(
            [
                *traceback.format_list(self.places[:OUTER]),
                f"  [{left_out} more]\n",
                *traceback.format_list(self.places[-INNER:]),
            ]
        )


def who_runs(thread: int) -> Culprit | None:
    """Whose code the thread of that identifier is in now; None: there is no such thread."""
    frames = frames_of_thread(thread)
    if not frames:
        return None
    owner: Owner | None = None
    for depth, (frame, _) in enumerate(frames):
        owner = owner_of(frame)
        if owner is not None:
            frames = frames[: max(depth, 1)]
            break
    stack = [(f, line) for f, line in reversed(frames) if not only_measures(f.f_code.co_filename)]
    if owner is None:
        # Trio's loop is not on the stack: it is a guest, and this is its host's code.
        owner = Owner(node=None, what="code of no node", advice=HOST_ADVICE)
    return Culprit(
        node=owner.node,
        what=owner.what,
        where=place_of(stack),
        places=tuple(_place(frame.f_code, line) for frame, line in stack),
        advice=owner.advice,
        is_idle=owner.node is None and is_engines(frames[0][0]),
    )


def _place(code: CodeType, line: int) -> traceback.FrameSummary:
    return traceback.FrameSummary(code.co_filename, line, code.co_name, lookup_line=False)
