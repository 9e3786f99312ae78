"""Where a `FileTail` begins when it is opened: what there is to read, and from where on."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from ..framing import Delimited, Framing, Lines
from .chore import Descriptors
from .inotify import Inotify
from .lookout import Lookout, OpenFile
from .position import OVERLAP, TailPosition, check_of, read_before

__all__ = ["Survey", "end_of", "survey_of"]


PLAIN: tuple[type[Framing], ...] = (Lines, Delimited)
"""Half a message of these is one, too; a subclass may have a code of its own."""


@dataclass(slots=True)
class Survey:
    """What was found.

    Attributes:
        inotify, lookout: Watch it.
        files: To be read, in order.
        more: Whether there are more of them.
        offset: Where to begin in the first, in bytes.
        before: What is there right before that.
        missing: Whether there is no file behind the path.
        gap: Whether the file of the position was not found.
        truncated: Whether it was truncated since, or written anew.
    """

    inotify: Inotify
    lookout: Lookout
    files: list[OpenFile] = field(default_factory=list)
    more: bool = False
    offset: int = 0
    before: bytes = b""
    missing: bool = False
    gap: bool = False
    truncated: bool = False

    def go_to(self, offset: int) -> None:
        """Begin here in the first file."""
        self.offset = offset
        self.before = read_before(self.files[0].descriptor, offset)


def survey_of(
    path: Path,
    held: Descriptors,
    framing: Framing,
    resume: TailPosition | None,
    *,
    from_start: bool,
) -> Survey:
    """Watch, look, and open; in a thread.

    Raises:
        NotAFile: There is something else.
        OSError: It cannot be read or watched.
    """
    inotify = Inotify("FileTail", held)
    lookout = Lookout(path, inotify, held)
    lookout.watch()
    survey = Survey(inotify, lookout)
    file = lookout.find()
    survey.missing = file is None
    if resume is not None and resume.inode:
        _go_on(survey, resume, file)
    elif resume is not None:  # none was there
        survey.files, survey.more = lookout.find_between(None, file)
    elif file is not None:
        survey.files.append(file)
        if not from_start:
            survey.go_to(_last_incomplete(file.descriptor, framing))
    elif (latest := lookout.find_latest()) is not None:  # what comes will come after that
        survey.files.append(latest)
        survey.go_to(_last_incomplete(latest.descriptor, framing))
    return survey


def _go_on(survey: Survey, resume: TailPosition, file: OpenFile | None) -> None:
    """Find the file of a position, and what came after it."""
    old = file
    if file is None or file.inode != resume.inode:
        old = survey.lookout.find_rotated(resume.inode)
    if old is None:
        survey.gap = True
        survey.files, survey.more = survey.lookout.find_between(None, file)
        return
    survey.files.append(old)
    survey.go_to(resume.offset)
    if check_of(survey.before) != resume.check or len(survey.before) < min(resume.offset, OVERLAP):
        survey.truncated = True
        survey.go_to(0)
    if old is not file:
        followers = survey.lookout.find_between(old.inode, file)
        survey.files.extend(followers.files)
        survey.more = followers.more


def _last_incomplete(descriptor: int, framing: Framing) -> int:
    """Where the last message begins, if it is not complete; else the end of the file."""
    size = os.fstat(descriptor).st_size
    end = end_of(framing)
    begin = max(0, size - framing.max_frame)
    at = os.pread(descriptor, size - begin, begin).rfind(end) if end else -1
    if at >= 0:
        return begin + at + len(end)
    return size if begin or not end else 0


def end_of(framing: Framing) -> bytes:
    """What ends a message, if that alone makes one complete; else nothing."""
    if isinstance(framing, Delimited) and type(framing) in PLAIN:
        return framing.delimiter
    return b""
