"""What `DirectoryWatch` makes of what the kernel tells, in orders that seldom come about."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from horus_trio.drivers import FileChange, FileEvent
from horus_trio.drivers.files.changes import Changes, Departure
from horus_trio.drivers.files.inotify import Mask, Notice
from horus_trio.drivers.files.tree import Entry

CREATED, MOVED, DELETED = FileChange.CREATED, FileChange.MOVED, FileChange.DELETED

FROM, TO, NEW = Mask.MOVED_FROM | Mask.ISDIR, Mask.MOVED_TO | Mask.ISDIR, Mask.CREATE | Mask.ISDIR


class Watched:
    """Folders by the numbers of their watches."""

    root = 1

    def __init__(self, *folders: str) -> None:
        self.folders = dict(enumerate(folders, 1))
        self.folder_of = self.folders.get

    def number(self, folder: str) -> int:
        return next(number for number, path in self.folders.items() if path == folder)

    def has(self, path: str) -> bool:
        return path in self.folders.values()

    def move(self, source: str, target: str) -> None:
        for number, path in self.folders.items():
            if path == source or path.startswith(source + "/"):
                self.folders[number] = target + path[len(source) :]

    def forget(self, path: str) -> None:
        for number, one in list(self.folders.items()):
            if one == path or one.startswith(path + "/"):
                del self.folders[number]


class Desk:
    def __init__(self, *folders: str) -> None:
        self.tree: Any = Watched(*folders)
        self.changes = Changes(frozenset({CREATED, MOVED, DELETED}), None, recursive=True)

    def tell(self, mask: int, path: str, cookie: int = 0) -> None:
        folder, _, name = path.rpartition("/")
        notice = Notice(self.tree.number(folder), mask, cookie, name)
        self.changes.take(notice, self.tree, 0.0)

    def search(self, *found: str) -> None:
        first = next(iter(self.changes.to_search))
        self.changes.take_folder(first, [Entry(path, is_folder=True) for path in found])

    def give_up(self, path: str) -> None:
        [departure] = [
            one for one in self.changes.queue if isinstance(one, Departure) and one.path == path
        ]
        self.changes.give_up(departure, self.tree)

    def told(self) -> list[tuple[FileChange, str, str | None]]:
        events: list[FileEvent] = []
        for one in self.changes.queue:
            events.extend([one] if isinstance(one, FileEvent) else one.told or ())
        return [(e.change, str(e.path), str(e.source) if e.source else None) for e in events]


def test_what_comes_back_out_of_a_folder_that_has_left_is_moved_with_all_that_is_in_it() -> None:
    desk = Desk("/r", "/r/a", "/r/a/50", "/r/b")
    desk.tell(FROM, "/r/a", 1)  # to where nobody watches
    desk.tell(NEW, "/r/a/50/81")
    desk.tell(FROM, "/r/a/50", 2)
    desk.tell(TO, "/r/b/150", 2)
    desk.tell(NEW, "/r/b/150/170")
    desk.tell(NEW, "/r/a/lost")
    desk.give_up("/r/a")
    assert desk.told() == [
        (CREATED, "/r/a/50/81", None),
        (MOVED, "/r/b/150", "/r/a/50"),
        (DELETED, "/r/a", None),
        (CREATED, "/r/b/150/170", None),
    ]
    assert desk.tree.has("/r/b/150")
    assert not desk.tree.has("/r/a")


def test_a_folder_of_its_name_is_not_mistaken_for_one_that_has_left() -> None:
    desk = Desk("/r", "/r/a", "/r/a/50", "/r/b")
    desk.tell(FROM, "/r/a", 1)
    desk.tell(NEW, "/r/a")
    desk.tell(FROM, "/r/a/50", 2)
    desk.tell(TO, "/r/b/150", 2)
    desk.give_up("/r/a")
    assert desk.told() == [
        (DELETED, "/r/a", None),
        (CREATED, "/r/a", None),
        (CREATED, "/r/b/150", None),
    ]


def test_what_the_kernel_tells_of_a_folder_that_is_searched_later_is_told_once() -> None:
    """It was watched already, under the name that it had before."""
    desk = Desk("/r", "/r/a", "/r/b")
    desk.tell(NEW, "/r/c")
    desk.tell(FROM, "/r/a", 1)
    desk.search("/r/c/a")  # of /r/c: it has arrived there meanwhile
    desk.tree.move("/r/a", "/r/c/a")
    desk.tell(NEW, "/r/c/a/x")
    desk.search("/r/c/a/x", "/r/c/a/y")
    told = [(change, path) for change, path, _ in desk.told() if "/r/c/a/" in path]
    assert told == [(CREATED, "/r/c/a/x"), (CREATED, "/r/c/a/y")]
    assert list(desk.changes.to_search) == ["/r/c/a/x", "/r/c/a/y"]


def test_what_is_gone_and_comes_again_is_news() -> None:
    desk = Desk("/r")
    desk.tell(NEW, "/r/c")
    desk.search("/r/c/x")
    desk.tree.folders[2] = "/r/c"
    desk.tell(NEW, "/r/c/x")  # found already
    desk.tell(Mask.DELETE | Mask.ISDIR, "/r/c/x")
    desk.tell(NEW, "/r/c/x")
    told = [change for change, path, _ in desk.told() if path == str(Path("/r/c/x"))]
    assert told == [CREATED, DELETED, CREATED]
