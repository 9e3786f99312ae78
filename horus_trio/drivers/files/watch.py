"""A folder whose files come and go: each change is a message.

The kernel keeps the changes until they are received (inotify). It tells of those in a folder and
not of those deeper down, so new folders are watched as they come, and searched for what was there
before the watch.
"""

from __future__ import annotations

import dataclasses
import errno
import functools
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import trio

from ...errors import ConfigurationError
from ..driver import DriverStatistics
from ..errand import Errand
from ..errors import ConnectFailed, DeviceGone, ReceiveFailed
from ..one_way import ReceiveOnlyDriver
from .changes import Changes, Departure
from .chore import Chore, Descriptors, LeftBehind, close_aside
from .events import FileChange, FileEvent
from .inotify import INOTIFY, Inotify, cannot_watch
from .paths import path_of
from .tree import Entry, Tree

__all__ = ["DirectoryWatch"]

USUAL = (FileChange.CREATED, FileChange.WRITTEN, FileChange.MOVED, FileChange.DELETED)


class DirectoryWatch(ReceiveOnlyDriver[FileEvent]):
    """Tells what happens to the files in a folder. Needs the extra ``files``, and Linux.

    ::

        async with DirectoryWatch("/srv/missions", patterns="*.json") as folder:
            while True:
                event = await folder.receive()
                if event.change in (FileChange.WRITTEN, FileChange.MOVED):
                    plan(event.path.read_text())

    Both halves of a move are one `FileEvent`, if source and target are watched and match the
    patterns. Otherwise, and if moves are not asked for, it counts as a deletion and a creation,
    and as written. So ``events=[FileChange.WRITTEN]`` tells of every file that is complete, whether
    it was written here or moved here.

    With `recursive`, new folders are watched as soon as they come. What was in them before that is
    told as created and written, and may be told as written again when its writer is through.
    Symbolic links are not followed. Folders that may not be read are `unwatched`.

    The kernel keeps 16 384 changes (``fs.inotify.max_queued_events``). If more come before they are
    received, that is one `FileChange.OVERFLOWED`, counted as lost; what changes after it was
    received is complete again. Changes while it is not open are not told, see `existing`.

    When the folder is deleted, moved or unmounted, `receive` raises `DeviceGone`, after what came
    before.

    Arguments:
        path: The folder; it may be a symbolic link to one.
        recursive: Whether folders in it are watched, too, however deep.
        events: What to tell of. Losses are told always.
        patterns: Shell patterns for the names of files and folders, such as ``"*.json"``; None:
            all. Folders are watched whatever they are called.
        existing: Whether what is there when it is opened is told as created and written first; each
            time it is opened.

    Raises:
        ConfigurationError: An argument makes no sense.
        MissingExtra: inotify-simple is not installed.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        recursive: bool = False,
        events: Iterable[FileChange] = USUAL,
        patterns: str | Iterable[str] | None = None,
        existing: bool = False,
    ) -> None:
        super().__init__()
        self._path = path_of("DirectoryWatch", path, "/srv/missions")
        self._events = _events_of(events)
        self._patterns = _patterns_of(patterns)
        self._recursive = recursive
        INOTIFY.check("DirectoryWatch")
        self._existing = existing
        self._overflows = 0
        self._held: Descriptors | None = None
        self._closing: Errand[None] | None = None
        self._left = LeftBehind()
        self._chore: Chore[Any] | None = None
        self._apply: Callable[[Any], object] = self._take_root
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._tree: Tree | None = None
        self._changes = Changes(self._events, self._patterns, recursive=self._recursive)

    @property
    def name(self) -> str:
        return f"{type(self).__qualname__} {self._path}"

    @property
    def unwatched(self) -> frozenset[Path]:
        """Folders in it that are not watched, since they may not be read; while it is open."""
        return frozenset(map(Path, self._tree.unwatched)) if self._tree else frozenset()

    def statistics(self) -> DriverStatistics:
        """Counters, in every state. Each overflow counts as one lost message, at least."""
        return dataclasses.replace(super().statistics(), lost=self._overflows)

    # Opening and closing

    async def _connect(self) -> None:
        await self._left.make_room(self.name)
        held = self._held = Descriptors()
        self._apply = self._take_root
        self._chore = Chore(functools.partial(self._grow, held), held, f"opens {self._path.name}")
        try:
            await self._finish(self._chore)
        except PermissionError as error:
            raise ConnectFailed(
                f"{self.name} cannot be watched: this user may not read it: "
                f"sudo chmod a+rx {self._path}, or run this as somebody who may"
            ) from error
        except OSError as error:
            if error.errno == errno.ENOENT:
                raise ConnectFailed(
                    f"{self.name} cannot be watched: there is no such folder: mkdir -p {self._path}"
                ) from error
            if error.errno == errno.ENOTDIR:
                raise ConnectFailed(
                    f"{self.name} cannot be watched: it is no folder; to follow a file, take "
                    "FileTail"
                ) from error
            raise cannot_watch(self.name, error) from error

    def _grow(self, held: Descriptors) -> tuple[Tree, list[Entry]]:
        """In a thread."""
        tree = Tree(Inotify("DirectoryWatch", held), str(self._path), self._changes.mask)
        return tree, tree.grow(recursive=self._recursive)

    def _take_root(self, grown: tuple[Tree, list[Entry]]) -> None:
        self._tree, found = grown
        if self._existing:
            self._changes.find(found)

    def _disconnect(self) -> None:
        if self._chore is not None:
            self._left.add(self._chore)
            self._chore.drop()
            self._chore = None
        if self._tree is not None:
            self._tree.inotify.wake()
        if self._held is not None:
            self._closing = close_aside(self._held.let_go, f"closes {self._path.name}")
            if self._closing is not None:
                self._left.add(self._closing)
            self._held = None
        self._begin_anew()

    async def _wait_disconnected(self) -> None:
        if self._closing is not None:
            await self._closing.ended()
        else:
            await trio.lowlevel.checkpoint()

    # Receiving

    async def _receive(self) -> FileEvent:
        queue = self._changes.queue
        while True:
            if queue:
                first = queue[0]
                if isinstance(first, FileEvent):
                    await trio.lowlevel.checkpoint_if_cancelled()
                    queue.popleft()
                    return first
                if first.told is not None:
                    queue.popleft()
                    queue.extendleft(reversed(first.told))
                    continue
            await self._advance()

    async def _advance(self) -> None:
        """Do the next of the things to be done. A checkpoint, and nothing is undone after it."""
        if self._chore is not None:  # perhaps one that was begun by a call that was cancelled
            await self._go_on_with(self._chore)
            return
        tree, held, changes = self._tree, self._held, self._changes
        if tree is None or held is None:
            raise trio.ClosedResourceError(f"{self.name} is not open")
        await trio.lowlevel.checkpoint()
        if changes.overflowed:
            self._begin_chore(functools.partial(self._grow, held), self._renew)
        elif changes.to_search:
            path = next(iter(changes.to_search))
            self._begin_chore(
                functools.partial(tree.watch, path), functools.partial(changes.take_folder, path)
            )
        elif notices := tree.inotify.read_nowait():
            for notice in notices:
                changes.take(notice, tree, trio.current_time())
        else:
            changes.settle(trio.current_time())
            await self._wait(tree, changes)

    async def _go_on_with(self, chore: Chore[Any]) -> None:
        try:
            await self._finish(chore)
        except OSError as error:
            failure = cannot_watch(f"a folder in {self.name}", error)
            if self._changes.overflowed:
                raise DeviceGone(f"{self.name} has lost changes, and {failure}") from error
            path = next(iter(self._changes.to_search))
            del self._changes.to_search[path]
            if self._tree is not None:
                self._tree.unwatched.add(path)
            raise ReceiveFailed(f"{failure} ({path})") from error

    async def _wait(self, tree: Tree, changes: Changes) -> None:
        first = changes.queue[0] if changes.queue else None
        if isinstance(first, Departure):
            with trio.move_on_at(first.until) as scope:
                await tree.inotify.wait()
            if scope.cancelled_caught:
                changes.give_up(first, tree)
        elif changes.gone:
            raise DeviceGone(f"{self.name} {changes.gone}")
        else:
            await tree.inotify.wait()

    # What threads bring

    def _renew(self, grown: tuple[Tree, list[Entry]]) -> None:
        """Changes were lost: begin anew, with all folders that there are now."""
        if self._tree is not None:
            self._changes.begin_anew(self._tree, self._path)
            self._tree.inotify.wake()
            close_aside(self._tree.inotify.close, f"closes {self._path.name}")
        self._tree, _ = grown
        self._overflows += 1

    def _begin_chore(self, function: Callable[[], Any], apply: Callable[[Any], object]) -> None:
        if self._held is not None:
            self._chore = Chore(function, self._held, f"looks into {self._path.name}")
            self._apply = apply

    async def _finish(self, chore: Chore[Any]) -> None:
        """Wait for a chore. A checkpoint; cancelled, it goes on.

        Raises:
            OSError: It has failed.
        """
        came = await chore.result()
        self._chore = None
        self._apply(came.unwrap())


def _events_of(events: object) -> frozenset[FileChange]:
    given = tuple(events) if isinstance(events, Iterable) else ()
    if not given or not all(isinstance(event, FileChange) for event in given):
        raise ConfigurationError(
            f"DirectoryWatch(events={events!r:.80}): expected some of FileChange, such as "
            "[FileChange.WRITTEN]"
        )
    return frozenset(given)


def _patterns_of(patterns: object) -> tuple[str, ...] | None:
    if patterns is None:
        return None
    given = (patterns,) if isinstance(patterns, str) else patterns
    given = tuple(given) if isinstance(given, Iterable) else ()
    if not given or not all(isinstance(pattern, str) and pattern for pattern in given):
        raise ConfigurationError(
            f'DirectoryWatch(patterns={patterns!r:.80}): expected shell patterns, such as "*.json"'
        )
    if any("/" in pattern for pattern in given):
        raise ConfigurationError(
            f"DirectoryWatch(patterns={patterns!r:.80}): expected patterns of names, without '/'"
        )
    return given
