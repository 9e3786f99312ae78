"""`DirectoryWatch` of a tree that changes while it is searched: who follows it knows the tree."""

from __future__ import annotations

import contextlib
import random
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from horus_trio.drivers import DirectoryWatch, FileChange, FileEvent

SOON = 30.0


class Gardener:
    """Changes a tree at random, in a thread: each name is used once.

    Arguments:
        root: The tree.
        outside: Where parts of it go, and come from.
        seed: Repeats it.
        pauses: Whether it stops now and then, so that it is followed closely.
    """

    def __init__(self, root: Path, outside: Path, seed: int, *, pauses: bool) -> None:
        self.root = root
        self.outside = outside
        self.rng = random.Random(seed)
        self.pauses = pauses
        self.made = 0

    def work(self, count: int) -> None:
        deeds: list[tuple[int, Callable[[Path], object]]] = [
            (5, lambda folder: (folder / self.name()).mkdir()),
            (5, lambda folder: (folder / self.name()).write_text("x")),
            (2, lambda _: self.some(Path.is_file).unlink()),
            (2, lambda folder: self.some(Path.is_file).rename(folder / self.name())),
            (3, lambda folder: self.some(Path.is_dir).rename(folder / self.name())),
            (1, lambda _: self.some(Path.is_dir).rename(self.outside / self.name())),
            (1, lambda folder: self.one_outside().rename(folder / self.name())),
            (1, lambda _: self.maybe_take_away()),
        ]
        weights, functions = zip(*deeds, strict=True)
        for _ in range(count):
            folders = [self.root, *filter(Path.is_dir, self.root.rglob("*"))]
            # There may be nothing to choose from, and a folder cannot go into itself.
            with contextlib.suppress(IndexError, OSError):
                self.rng.choices(functions, weights)[0](self.rng.choice(folders))
            if self.pauses and self.rng.random() < 0.2:
                threading.Event().wait(self.rng.random() * 0.005)

    def name(self) -> str:
        self.made += 1
        return str(self.made)

    def some(self, kind: Callable[[Path], bool]) -> Path:
        return self.rng.choice(sorted(filter(kind, self.root.rglob("*"))))

    def one_outside(self) -> Path:
        return self.rng.choice(sorted(self.outside.iterdir()))

    def maybe_take_away(self) -> None:
        if self.rng.random() < 0.3:
            shutil.rmtree(self.some(Path.is_dir))


class Follower:
    """What is in a tree, by what was told of it."""

    def __init__(self) -> None:
        self.known: set[Path] = set()

    def take(self, event: FileEvent) -> None:
        if event.change is FileChange.CREATED:
            assert event.path not in self.known, event
            self.known.add(event.path)
        elif event.change is FileChange.DELETED:
            self.known = {path for path in self.known if not path.is_relative_to(event.path)}
        elif event.change is FileChange.MOVED:
            assert event.source is not None
            moved = {path for path in self.known if path.is_relative_to(event.source)}
            self.known -= moved
            self.known |= {event.path / path.relative_to(event.source) for path in moved}
            self.known.add(event.path)  # it may have moved before its folder was searched


@pytest.mark.slow
@pytest.mark.parametrize("pauses", [False, True])
@pytest.mark.parametrize("seed", range(3))
async def test_who_follows_what_is_told_knows_what_is_there(
    tmp_path: Path, seed: int, pauses: bool
) -> None:
    root, outside = tmp_path / "tree", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    gardener = Gardener(root, outside, seed, pauses=pauses)
    follower = Follower()
    async with DirectoryWatch(root, recursive=True) as watch, trio.open_nursery() as nursery:
        over = trio.Event()

        async def work() -> None:
            await trio.to_thread.run_sync(gardener.work, 250)
            over.set()

        nursery.start_soon(work)
        with trio.fail_after(SOON):
            is_over = False
            while not is_over:
                is_over = over.is_set()
                with trio.move_on_after(0.2):
                    while True:
                        follower.take(await watch.receive())
            # On a busy machine the last may take longer.
            while follower.known != set(root.rglob("*")):
                follower.take(await watch.receive())
        tree = watch._tree
        assert tree is not None
        watched = set(map(Path, tree._folders.values()))
        assert watched == {root, *filter(Path.is_dir, root.rglob("*"))}
        assert watch.statistics().lost == 0
    assert gardener.made > 100
