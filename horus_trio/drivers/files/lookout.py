"""Which file is behind a path, which ones it was before, and when to look again.

A log is rotated: renamed, and a new one takes its name. Or its path is a symbolic link that is set
to another file. So the folders of the path and of every link on the way are watched, for the names
that matter. All of this may block, and is done in a thread.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import re
import stat
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from .chore import Descriptors
from .inotify import Inotify, Mask, Notice

__all__ = ["ASIDE", "Found", "Lookout", "NotAFile", "OpenFile"]

FOLDER = (
    Mask.CREATE
    | Mask.DELETE
    | Mask.MOVED_FROM
    | Mask.MOVED_TO
    | Mask.ATTRIB
    | Mask.DELETE_SELF
    | Mask.MOVE_SELF
    | Mask.ONLYDIR
)

FILE = Mask.MODIFY | Mask.ATTRIB | Mask.DELETE_SELF | Mask.MOVE_SELF

LINKS = 40
"""Symbolic links in a path after which there is no end to them."""

ROTATED = r"[.-](\d[\d._T:-]*)"
"""What is added to the name of a file that is rotated: a number, or a date."""

ANY = re.compile(r".*()", re.DOTALL)

TRIES = 1000
"""How often files are looked for that are renamed meanwhile."""

RENAMED = "the files in its folder are renamed faster than they can be looked at"

TRIES_AT_ONE = 5
"""The same, for one that may not be there at all."""

LONGEST = 5
"""Digits that a number of rotations may have; longer ones are dates."""

ASIDE = 16
"""Files that may be open because they were rotated and are not read yet, and about as many more."""


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A file that was opened, with a watch on it."""

    descriptor: int
    inode: int
    watch: int


class Found(NamedTuple):
    """Files that follow, in order; and whether there are more of them than may be open."""

    files: list[OpenFile]
    more: bool


class NotAFile(OSError):
    """What is there is a folder, a device, or anything else that does not grow."""


class Lookout:
    """Finds the file of a path, and watches for the next one.

    Arguments:
        path: Absolute.
        inotify: Gets the watches.
        held: Gets the files that are opened.
    """

    def __init__(self, path: Path, inotify: Inotify, held: Descriptors) -> None:
        self._path = path
        self._inotify = inotify
        self._held = held
        self._folders: dict[int, set[str]] = {}

    # In a thread

    def watch(self) -> None:
        """Watch all that decides which file it is.

        Raises:
            OSError: There may be no more watches, or a folder may not be read.
        """
        places = _places(self._path)
        while True:
            folders: dict[int, set[str]] = {}
            for folder, name in places:
                try:
                    folders.setdefault(self._inotify.add(folder, FOLDER), set()).add(name)
                except (FileNotFoundError, NotADirectoryError):
                    break  # it has just gone
            before, places = places, _places(self._path)
            if places == before:
                break
        for old in self._folders.keys() - folders.keys():
            self._inotify.remove(old)
        self._folders = folders

    def find(self, known: Container[int] = ()) -> OpenFile | None:
        """Open the file that is behind the path now; None if there is none, or it is a known one.

        Raises:
            NotAFile: It is none.
            OSError: It cannot be opened, or not be watched.
        """
        return self._open(str(self._path), known)

    def find_between(
        self, last: int | None, file: OpenFile | None, known: frozenset[int] = frozenset()
    ) -> Found:
        """Open what was rotated after one file and before another.

        Arguments:
            last: Inode of the first; None: of one that is no more, so all of them came after it.
            file: The second one, open already, which follows them; None: there is none.
            known: Inodes of others that are open already.

        Raises:
            OSError: One cannot be opened, or not be watched.
        """
        if last is not None:
            known |= {last}
        for _ in range(TRIES):
            between = _between(self._rotated(), last, file.inode if file else None)
            wanted = [(name, inode) for name, inode in between if inode not in known]
            files = self._open_all(wanted[:ASIDE])
            if files is None:  # they have just been renamed
                continue
            if len(wanted) > ASIDE:
                if file is not None:
                    self._held.close(file.descriptor)
                return Found(files, more=True)
            return Found(files if file is None else [*files, file], more=False)
        raise OSError(errno.EBUSY, RENAMED)

    def find_latest(self) -> OpenFile | None:
        """Open what was rotated last; None if nothing was."""
        rotated = self._rotated()
        return self._open(rotated[-1][0]) if rotated else None

    def find_rotated(self, inode: int) -> OpenFile | None:
        """Open a file by its inode, whatever it is called by now, in the folder of the path.

        Raises:
            OSError: It cannot be opened, or not be watched.
        """
        for _ in range(TRIES_AT_ONE):
            named = [entry for entry in self._entries(ANY) if entry[1] == inode]
            files = self._open_all(named[:1])
            if files:
                return files[0]
        return None

    def _open_all(self, files: list[tuple[str, int]]) -> list[OpenFile] | None:
        """Open files by names and inodes; None if one of them is called otherwise by now."""
        opened: list[OpenFile] = []
        for name, inode in files:
            file = self._open(name)
            if file is not None:
                opened.append(file)
            if file is None or file.inode != inode:
                for each in opened:
                    self._held.close(each.descriptor)
                return None
        return opened

    def _rotated(self) -> list[tuple[str, int]]:
        """Paths and inodes of what the file was before, the oldest first."""
        name = os.path.basename(os.path.realpath(self._path))  # noqa: PTH119
        pattern = re.compile(re.escape(name) + ROTATED)
        found = self._entries(pattern)
        for _ in range(TRIES):  # one that is renamed meanwhile may be missing, or there twice
            before, found = found, self._entries(pattern)
            if found == before:
                return found
        raise OSError(errno.EBUSY, RENAMED)

    def _entries(self, pattern: re.Pattern[str]) -> list[tuple[str, int]]:
        """Paths and inodes of the files with such names, the oldest first."""
        folder = os.path.dirname(os.path.realpath(self._path))  # noqa: PTH120
        found: list[_Named] = []
        with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
            for entry in entries:
                match = pattern.fullmatch(entry.name)
                if match is None:
                    continue
                with contextlib.suppress(FileNotFoundError):
                    there = entry.stat(follow_symlinks=False)
                    if stat.S_ISREG(there.st_mode):
                        found.append(_Named(match[1], entry.path, there.st_ino, there.st_mtime_ns))
        return [(file.path, file.inode) for file in _by_age(found)]

    def _open(self, path: str, known: Container[int] = ()) -> OpenFile | None:
        try:
            there = os.stat(path)  # noqa: PTH116
            if not stat.S_ISREG(there.st_mode):  # opening a device, or a pipe, does something
                raise NotAFile(f"it is {_kind_of(there.st_mode)}")
            if there.st_ino in known:
                return None
            descriptor = self._held.add(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
        except (FileNotFoundError, NotADirectoryError):
            return None
        there = os.fstat(descriptor)
        if not stat.S_ISREG(there.st_mode) or there.st_ino in known:
            self._held.close(descriptor)
            return None
        # By its descriptor: another file may have taken its name by now.
        watch = self._inotify.add(f"/proc/self/fd/{descriptor}", FILE)
        return OpenFile(descriptor, there.st_ino, watch)

    # On the loop

    def concerns(self, notice: Notice) -> bool:
        """Whether another file may be behind the path since."""
        if notice.mask & Mask.Q_OVERFLOW:
            return True
        names = self._folders.get(notice.wd)
        if names is None:
            return False
        return not notice.name or notice.name in names


def _places(path: Path) -> list[tuple[str, str]]:
    """The names on which it depends what is behind a path, with their folders.

    Those are each symbolic link on the way, and the last name, or the first that is not there.
    """
    left = list(reversed(path.parts[1:]))
    folder, places, links = path.anchor, list[tuple[str, str]](), 0
    while left:
        name = left.pop()
        if name == "..":
            folder = os.path.dirname(folder)  # noqa: PTH120
            continue
        whole = os.path.join(folder, name)  # noqa: PTH118
        try:
            target = os.readlink(whole)  # noqa: PTH115
        except FileNotFoundError:
            places.append((folder, name))
            break
        except OSError:  # it is no link
            if not left:
                places.append((folder, name))
            folder = whole
            continue
        places.append((folder, name))
        links += 1
        if links > LINKS:
            break
        if target.startswith("/"):
            folder = "/"
        left.extend(part for part in reversed(target.split("/")) if part not in ("", "."))
    return places


def _between(
    rotated: list[tuple[str, int]], first: int | None, last: int | None
) -> list[tuple[str, int]]:
    """Those after the first inode, if it is one of them or None, and before the last."""
    inodes = [inode for _, inode in rotated]
    end = inodes.index(last) if last in inodes else len(inodes)
    if first is None:
        return rotated[:end]
    return rotated[inodes.index(first) + 1 : end] if first in inodes else []


class _Named(NamedTuple):
    """A file that was found by its name."""

    ending: str
    path: str
    inode: int
    written: int

    @property
    def is_numbered(self) -> bool:
        # There are digits, such as ², that no number is made of.
        return self.ending.isascii() and self.ending.isdigit() and len(self.ending) <= LONGEST


def _by_age(files: list[_Named]) -> list[_Named]:
    """Sort files by what is added to their names, the oldest first.

    Most programs call the youngest 1, and rename the others; some count on. The times when they
    were written say which, and no more than that: a robot's clock is set now and then.
    """
    dated = sorted(file for file in files if not file.is_numbered)
    numbered = sorted((f for f in files if f.is_numbered), key=lambda file: int(file.ending))
    counted_on = sum(
        (low.written < high.written) - (low.written > high.written)
        for low, high in itertools.pairwise(numbered)
    )
    return dated + (numbered if counted_on > 0 else numbered[::-1])


def _kind_of(mode: int) -> str:
    kinds = {
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    return kinds.get(stat.S_IFMT(mode), "no regular file")
