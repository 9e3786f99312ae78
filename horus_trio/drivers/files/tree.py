"""The watched folder, and those in it: which watch is of which folder. Growing may block."""

from __future__ import annotations

import errno
import os
from typing import NamedTuple

from .inotify import Inotify, Mask

__all__ = ["Entry", "Tree"]

VANISHED = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
"""What a folder says that was there a moment ago."""

ALWAYS = Mask.DELETE_SELF | Mask.MOVE_SELF | Mask.ONLYDIR | Mask.EXCL_UNLINK


class Entry(NamedTuple):
    """A file or folder that was found."""

    path: str
    is_folder: bool


class Tree:
    """Watches on folders.

    Arguments:
        inotify: Gets the watches.
        root: Path of the folder.
        mask: What to watch for.

    Attributes:
        inotify: Has the watches.
        root: Number of the first watch, once it has grown.
        unwatched: Folders that may not be read.
    """

    def __init__(self, inotify: Inotify, root: str, mask: int) -> None:
        self.inotify: Inotify = inotify
        self.root: int = -1
        self.unwatched: set[str] = set()
        self._path = root
        self._mask = mask | ALWAYS
        self._folders: dict[int, str] = {}

    # In a thread

    def grow(self, *, recursive: bool) -> list[Entry]:
        """Watch the folder, perhaps with all in it; what is there. Nobody uses it meanwhile.

        Raises:
            OSError: It cannot be watched or read, or there may be no more watches.
        """
        self.root = self.inotify.add(self._path, self._mask)
        self._folders[self.root] = self._path
        found = _entries_of(self._path)
        if recursive:
            for entry in found:  # and in those that are added meanwhile
                if entry.is_folder:
                    try:
                        found.extend(self.watch(entry.path) or ())
                    except PermissionError:
                        self.unwatched.add(entry.path)
        return found

    def watch(self, path: str) -> list[Entry] | None:
        """Watch one more, without those in it; what is there, perhaps since before that.

        None: it is not there any more.

        Raises:
            OSError: It may not be watched or read, or there may be no more watches.
        """
        try:
            # Links are not followed, so there is an end to it.
            folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            if error.errno in VANISHED:
                return None
            raise
        try:
            # By its descriptor, so that it is watched and read, or neither, if it moves meanwhile.
            self._folders[self.inotify.add(f"/proc/self/fd/{folder}", self._mask)] = path
            return _entries_of(path, folder)
        finally:
            os.close(folder)

    # On the loop

    def folder_of(self, watch: int) -> str | None:
        """The folder of a watch, by its present path; None if it is not watched any more."""
        return self._folders.get(watch)

    def has(self, path: str) -> bool:
        """Whether a folder is watched."""
        return path in self._folders.values()

    def drop(self, watch: int) -> None:
        """The watch has ended."""
        self._folders.pop(watch, None)

    def move(self, source: str, target: str) -> None:
        """A folder is called otherwise, and so are those in it."""
        for watch, path in self._inside(source):
            self._folders[watch] = target + path[len(source) :]

    def forget(self, path: str) -> None:
        """A folder was moved elsewhere: it is watched no more, and neither are those in it."""
        for watch, _ in self._inside(path):
            self.inotify.remove(watch)
            self.drop(watch)

    def _inside(self, folder: str) -> list[tuple[int, str]]:
        within = folder + os.sep
        return [
            (watch, path)
            for watch, path in self._folders.items()
            if path == folder or path.startswith(within)
        ]


def _entries_of(path: str, folder: int | None = None) -> list[Entry]:
    """What is in a folder, by its descriptor if that is given."""
    with os.scandir(path if folder is None else folder) as entries:
        return [
            Entry(os.path.join(path, entry.name), entry.is_dir(follow_symlinks=False))  # noqa: PTH118
            for entry in entries
        ]
