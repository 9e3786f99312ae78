"""What a folder tells of the files in it."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from pathlib import Path

__all__ = ["FileChange", "FileEvent"]


class FileChange(enum.Enum):
    """What has happened to a file, or to a folder in the watched one.

    Attributes:
        CREATED: It is new, and may still be empty; or it was moved in from elsewhere.
        MODIFIED: It was written to, or truncated. Many writes may be told as one.
        WRITTEN: Somebody who had opened it for writing has closed it, or it was moved in: it is
            whole, unless others write, too.
        MOVED: It has another name, or another folder among the watched ones.
        DELETED: It is gone, or was moved elsewhere.
        ATTRIBUTES: Its permissions, owner, times or links have changed.
        OVERFLOWED: Changes were lost, since they came faster than they were received. Look through
            the folder: what changes from now on is told again.
    """

    CREATED = "created"
    MODIFIED = "modified"
    WRITTEN = "written"
    MOVED = "moved"
    DELETED = "deleted"
    ATTRIBUTES = "attributes"
    OVERFLOWED = "overflowed"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEvent:
    """A change.

    Attributes:
        change: What has happened.
        path: To which file, as it is called now.
        is_folder: Whether it is a folder.
        source: What it was called before, if it was moved; else None.
    """

    change: FileChange
    path: Path
    is_folder: bool = False
    source: Path | None = None
