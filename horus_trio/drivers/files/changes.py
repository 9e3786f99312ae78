"""Changes in a folder: what the kernel and searches tell becomes messages. No I/O, no waiting.

A move comes in two halves. A folder that has come is searched for what was in it before it was
watched, and the kernel may tell the same again; and it may be called otherwise by then.
"""

from __future__ import annotations

import collections
import dataclasses
import fnmatch
import itertools
import math
import os
from pathlib import Path

from .events import FileChange, FileEvent
from .inotify import Mask, Notice
from .tree import Entry, Tree

__all__ = ["Changes", "Departure"]

LINGER = 1.0
"""Seconds after a search in which the kernel may tell of what it has found."""

PAIRING = 0.05
"""Seconds in which the other half of a move comes: the kernel tells them one right after the other,
unless it is interrupted in between."""

MOVES = Mask.MOVED_FROM | Mask.MOVED_TO

MASKS = {
    FileChange.CREATED: Mask.CREATE | MOVES,
    FileChange.MODIFIED: Mask.MODIFY,
    FileChange.WRITTEN: Mask.CLOSE_WRITE | MOVES,
    FileChange.MOVED: MOVES,
    FileChange.DELETED: Mask.DELETE | MOVES,
    FileChange.ATTRIBUTES: Mask.ATTRIB,
    FileChange.OVERFLOWED: 0,
}

CHANGES = {
    Mask.DELETE: FileChange.DELETED,
    Mask.CLOSE_WRITE: FileChange.WRITTEN,
    Mask.MODIFY: FileChange.MODIFIED,
    Mask.ATTRIB: FileChange.ATTRIBUTES,
}

ENDS = Mask.DELETE_SELF | Mask.MOVE_SELF | Mask.UNMOUNT | Mask.IGNORED


@dataclasses.dataclass(slots=True, eq=False)
class Departure:
    """The first half of a move.

    Attributes:
        path: Where it was.
        is_folder: Whether it is a folder.
        until: When the other half counts as missing.
        told: What has become of it, if that is known.
        later: What it was called since, in moved folders.
    """

    path: str
    is_folder: bool
    until: float
    told: list[FileEvent] | None = None
    later: list[str] = dataclasses.field(default_factory=list)

    @property
    def names(self) -> list[str]:
        """All that it was called."""
        return [self.path, *self.later]


class Changes:
    """What is to be told of, and what has come.

    Arguments:
        events: What to tell of.
        patterns: Which names; None: all.
        recursive: Whether folders are to be searched.

    Attributes:
        queue: What has come, in order.
        to_search: Folders that were not searched yet, in order.
        overflowed: Whether the kernel has lost some.
        gone: What has become of the watched folder, if that is the end.
    """

    def __init__(
        self, events: frozenset[FileChange], patterns: tuple[str, ...] | None, *, recursive: bool
    ) -> None:
        self._events = events
        self._patterns = patterns
        self._recursive = recursive
        self.queue: collections.deque[FileEvent | Departure] = collections.deque()
        self.to_search: dict[str, None] = {}
        self.overflowed: bool = False
        self.gone: str = ""
        self._departures: dict[int, Departure] = {}  # by the cookies of their moves
        self._found: set[str] = set()  # by searching; the kernel may still tell that they are new
        self._told: set[str] = set()  # by the kernel, in folders that are yet to be searched
        self._searched = math.nan  # since when nothing has come after a search
        self._vanished: set[str] = set()  # folders that were gone when they were to be searched

    @property
    def mask(self) -> int:
        """What the kernel is to tell of."""
        mask = Mask.CREATE | MOVES if self._recursive else 0
        for event in self._events:
            mask |= MASKS[event]
        return mask

    def settle(self, now: float) -> None:
        """There is nothing more at present: whatever was found will soon have been told, if ever.

        A file is there a moment before the kernel tells of it, which may be long on a busy machine.
        """
        if math.isnan(self._searched):
            self._searched = now
        elif now - self._searched > LINGER:
            self._found.clear()
            self._vanished.clear()

    # What the kernel tells

    def take(self, notice: Notice, tree: Tree, now: float) -> None:
        """A notice has come; `now` on Trio's clock."""
        mask = notice.mask
        if mask & Mask.Q_OVERFLOW:
            self.overflowed = True
        folder = tree.folder_of(notice.wd)
        if folder is None or self.overflowed:
            return
        if not notice.name:
            self._take_end(notice, tree)
            return
        path, is_folder = os.path.join(folder, notice.name), bool(mask & Mask.ISDIR)  # noqa: PTH118
        if mask & Mask.CREATE:
            self._create(path, is_folder)
        elif mask & Mask.MOVED_FROM:
            self._unlist(path)
            departure = Departure(path, is_folder, now + PAIRING)
            self._departures[notice.cookie] = departure
            self.queue.append(departure)
        elif mask & Mask.MOVED_TO:
            departed = self._departures.pop(notice.cookie, None)
            if departed is None:
                self._create(path, is_folder, whole=True)
            else:
                departed.told = self._arrive(departed, path, tree)
        else:
            if mask & Mask.DELETE:
                self._unlist(path)
            for bit, change in CHANGES.items():
                if mask & bit:
                    self._tell(change, path, is_folder)

    def _take_end(self, notice: Notice, tree: Tree) -> None:
        """Of a watched folder itself."""
        if notice.wd == tree.root and notice.mask & ENDS and not self.gone:
            if notice.mask & Mask.MOVE_SELF:
                self.gone = "was moved away"
            elif notice.mask & Mask.UNMOUNT:
                self.gone = "was unmounted"
            else:
                self.gone = "was deleted"
        if notice.mask & Mask.IGNORED:
            tree.drop(notice.wd)

    def _create(self, path: str, is_folder: bool, *, whole: bool = False) -> None:
        """It is new, or was told already, since a search has found it."""
        if path in self._found:
            self._found.discard(path)
            return
        if os.path.dirname(path) in self.to_search:  # noqa: PTH120
            self._told.add(path)
        if whole:
            self.queue.extend(self._events_of_new(path, is_folder))
        else:
            self._tell(FileChange.CREATED, path, is_folder)
        if is_folder and self._recursive:
            self._unlist_in(path)
            self.to_search[path] = None

    def _unlist(self, path: str) -> None:
        """It is gone: if it comes again, that is news."""
        self._found.discard(path)
        self._told.discard(path)

    def _unlist_in(self, folder: str) -> None:
        """What is in that folder is news."""
        within = folder + os.sep
        self._found = {path for path in self._found if not path.startswith(within)}
        self._told = {path for path in self._told if not path.startswith(within)}

    def _arrive(self, departed: Departure, path: str, tree: Tree) -> list[FileEvent]:
        """Both halves of a move have come: what to tell."""
        source, is_folder = departed.path, departed.is_folder
        was_found = path in self._found
        if is_folder and self._recursive:
            if was_found:  # and so is what is in it, or will be
                self._unlist_in(source)
            self._move_folder(source, path, tree)
        self._found.discard(path)
        if self._is_one_event(source, path) and not was_found:
            return [
                FileEvent(
                    change=FileChange.MOVED,
                    path=Path(path),
                    is_folder=is_folder,
                    source=Path(source),
                )
            ]
        told = self._event(FileChange.DELETED, source, is_folder)
        return told if was_found else told + self._events_of_new(path, is_folder)

    def _move_folder(self, source: str, path: str, tree: Tree) -> None:
        """All that is known by the old name is called otherwise."""
        tree.move(source, path)
        within = source + os.sep
        for paths in (self._found, self._told):
            for old in [old for old in paths if old.startswith(within)]:
                paths.remove(old)
                paths.add(path + old[len(source) :])
        for one in self._departures.values():
            if one.names[-1].startswith(within):
                one.later.append(path + one.names[-1][len(source) :])
        late, self._vanished = self._vanished, set()
        left, self.to_search = (*self.to_search, *late), {}
        for old in left:
            if old == source or old.startswith(within):
                self.to_search[path + old[len(source) :]] = None
            elif old in late:
                self._vanished.add(old)
            else:
                self.to_search[old] = None
        if not tree.has(path):
            self.to_search[path] = None  # it has left before its folder was searched

    def give_up(self, departure: Departure, tree: Tree) -> None:
        """It was moved to where nobody watches."""
        self._drop(departure)
        departure.told = self._event(FileChange.DELETED, departure.path, departure.is_folder)
        if departure.is_folder:
            tree.forget(departure.names[-1])
            self._forget_after(departure)

    def _forget_after(self, departure: Departure) -> None:
        """What was told of a folder after it has left is elsewhere by now.

        If something has come back out of it since, all that is in that was told while it was in
        there. Then the folder counts as gone after that.
        """
        within = tuple(name + os.sep for name in departure.names)
        at = self.queue.index(departure)
        later = list(itertools.islice(self.queue, at + 1, None))
        while len(self.queue) > at + 1:
            self.queue.pop()
        came_back = self._before_the_last_came_back(later, departure, within)
        if came_back:
            self._end_moves(later[:came_back], within)
            self.queue.extend(later[:came_back])
            self.queue.extend(departure.told or ())
            departure.told = []
        for one in later[came_back:]:
            if isinstance(one, FileEvent):
                self.queue.extend(self._outside(one, within))
                continue
            self.queue.append(one)
            if one.told is not None:
                one.told = [told for event in one.told for told in self._outside(event, within)]
            elif one.path.startswith(within):
                one.told = []  # where it may arrive it is new
                self._drop(one)

    def _before_the_last_came_back(
        self, later: list[FileEvent | Departure], departure: Departure, within: tuple[str, ...]
    ) -> int:
        """How many of them there are up to the last that has left the folder for somewhere else.

        0 if there is none; or if there is another folder of its name by now, with which it would be
        mistaken.
        """
        came_back = 0
        for number, one in enumerate(later, 1):
            for event in [one] if isinstance(one, FileEvent) else one.told or ():
                if str(event.path) in departure.names:
                    return 0
                if str(event.source or "").startswith(within) and not str(event.path).startswith(
                    within
                ):
                    came_back = number
        return came_back

    def _end_moves(self, events: list[FileEvent | Departure], within: tuple[str, ...]) -> None:
        """What is leaving the folder will be new where it arrives."""
        for one in events:
            if isinstance(one, Departure) and one.told is None and one.path.startswith(within):
                one.told = []
                self._drop(one)

    def _outside(self, event: FileEvent, within: tuple[str, ...]) -> list[FileEvent]:
        """What is left of an event for those who do not see what is in a folder, by its names."""
        path, source = str(event.path), str(event.source or "")
        if not path.startswith(within):
            return (
                self._events_of_new(path, event.is_folder) if source.startswith(within) else [event]
            )
        left = event.source is not None and not source.startswith(within)
        return self._event(FileChange.DELETED, source, event.is_folder) if left else []

    def _drop(self, departure: Departure) -> None:
        for cookie, one in list(self._departures.items()):
            if one is departure:
                del self._departures[cookie]

    # What searches bring

    def take_folder(self, path: str, found: list[Entry] | None) -> None:
        """The first of `to_search` was searched; None: it was not there any more."""
        del self.to_search[path]
        if found is None:
            self._vanished.add(path)
            self._searched = math.nan
        else:
            new = self.find(found)
            self.to_search.update((entry.path, None) for entry in new if entry.is_folder)

    def find(self, found: list[Entry]) -> list[Entry]:
        """Tell what was found, and return what of it is new."""
        self._searched = math.nan
        new = [entry for entry in found if entry.path not in self._found]
        # What the kernel has told since the folder is watched is not to be told again.
        new = [entry for entry in new if entry.path not in self._told]
        self._told.difference_update(entry.path for entry in found)
        for path, is_folder in new:
            self._found.add(path)
            self.queue.extend(self._events_of_new(path, is_folder))
        return new

    def begin_anew(self, tree: Tree, root: Path) -> None:
        """Some were lost, and all folders that there are now are watched anew."""
        for departure in list(self._departures.values()):
            self.give_up(departure, tree)
        self.overflowed = False
        self.to_search.clear()
        self._found.clear()
        self._told.clear()
        self._vanished.clear()
        self.queue.append(FileEvent(change=FileChange.OVERFLOWED, path=root, is_folder=True))

    # What is told

    def _tell(self, change: FileChange, path: str, is_folder: bool) -> None:
        self.queue.extend(self._event(change, path, is_folder))

    def _events_of_new(self, path: str, is_folder: bool) -> list[FileEvent]:
        """It was there, whole, when it was noticed."""
        return [
            *self._event(FileChange.CREATED, path, is_folder),
            *self._event(FileChange.WRITTEN, path, is_folder),
        ]

    def _event(self, change: FileChange, path: str, is_folder: bool) -> list[FileEvent]:
        """A change as a message, if it is to be told."""
        if change not in self._events or not self._matches(path):
            return []
        if is_folder and change is FileChange.WRITTEN:
            return []
        return [FileEvent(change=change, path=Path(path), is_folder=is_folder)]

    def _is_one_event(self, source: str, path: str) -> bool:
        moves = FileChange.MOVED in self._events
        return moves and self._matches(source) and self._matches(path)

    def _matches(self, path: str) -> bool:
        if self._patterns is None:
            return True
        name = os.path.basename(path)  # noqa: PTH119
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in self._patterns)
