"""`DirectoryWatch`: over a real folder, in which files come and go."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio
from drivers.file_peers import FolderPeer, NamesWritten, most_threads, open_folder_peer
from drivers.steps import (
    closes_in_every_state,
    leaks_nothing,
    raises_soon,
    until,
)

import horus_trio as horus
from horus_trio.drivers import (
    ConnectFailed,
    DeviceGone,
    DirectoryWatch,
    DriverNode,
    DriverState,
    FileChange,
    FileEvent,
    ReceiveFailed,
)
from horus_trio.drivers.files.inotify import Inotify
from horus_trio.testing import cancel_everywhere, check_driver

SOON = 10.0

SILENCE = 0.15
"""Seconds after which nothing more comes, and a move has no other half."""

CREATED, WRITTEN, MOVED = FileChange.CREATED, FileChange.WRITTEN, FileChange.MOVED
DELETED, MODIFIED, ATTRIBUTES = FileChange.DELETED, FileChange.MODIFIED, FileChange.ATTRIBUTES


async def all_of(watch: DirectoryWatch) -> list[FileEvent]:
    """What comes until nothing more does."""
    came: list[FileEvent] = []
    with trio.fail_after(SOON):
        while True:
            with trio.move_on_after(SILENCE) as scope:
                came.append(await watch.receive())
            if scope.cancelled_caught:
                return came


def told(watch: DirectoryWatch, events: list[FileEvent]) -> list[str]:
    """As lines: what, where, and where it was."""

    def relative(path: Path) -> str:
        return str(path.relative_to(watch._path)) + "/" * event.is_folder

    lines = []
    for event in events:
        source = f" from {relative(event.source)}" if event.source else ""
        lines.append(f"{event.change.value} {relative(event.path)}{source}")
    return lines


async def tells(watch: DirectoryWatch, lines: list[str], *, in_order: bool = True) -> None:
    """These come, and nothing more."""
    with trio.fail_after(SOON):
        came = told(watch, [await watch.receive() for _ in lines])
    came += told(watch, await all_of(watch))
    assert (came if in_order else sorted(came)) == lines


# What every driver does


@pytest.mark.slow
@pytest.mark.usefixtures("untraced")
async def test_it_keeps_the_contract_of_drivers() -> None:
    report = await check_driver(
        NamesWritten,
        open_folder_peer,
        number=lambda number: b"%d" % number,
        stream_bytes=100_000,
        cycles=300,
    )
    left = {rule.rule: rule.reason for rule in report.not_tried}
    assert left.pop("one byte at a time") == "the peer has no write()"
    assert set(left.values()) == {"the driver takes no messages"}


async def test_a_node_watches_again_when_its_folder_is_made_again(tmp_path: Path) -> None:
    folder = tmp_path / "missions"
    watch = DirectoryWatch(folder, events=[WRITTEN], existing=True)
    scheduler = horus.Scheduler(signals=False)
    scheduler.add(DriverNode("missions", watch, publish="file"))
    came = scheduler.topic("file").subscribe()
    async with trio.open_nursery() as nursery:
        with trio.fail_after(SOON):
            await nursery.start(scheduler.run)
            for name in ("one", "two"):
                folder.mkdir()
                (folder / name).write_text("go")
                event = await came.receive()
                assert event.path.name == name
                shutil.rmtree(folder)
                await until(lambda: watch.state is not DriverState.OPEN)
        scheduler.stop()
    counted = watch.statistics()
    assert (counted.connects, watch.state) == (2, DriverState.CLOSED)


async def test_it_closes_in_every_state(tmp_path: Path) -> None:
    await closes_in_every_state(lambda: DirectoryWatch(tmp_path))


@pytest.mark.slow
async def test_opened_and_closed_it_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    await leaks_nothing(lambda: DirectoryWatch(tmp_path, recursive=True), 100)


async def test_it_can_be_cancelled_anywhere() -> None:
    @contextlib.asynccontextmanager
    async def new() -> AsyncIterator[tuple[DirectoryWatch, FolderPeer]]:
        async with open_folder_peer() as peer:
            watch = DirectoryWatch(peer.path, recursive=True)
            try:
                yield watch, peer
            finally:
                shutil.rmtree(peer.path / "deep", ignore_errors=True)
                with trio.CancelScope(shield=True):
                    await watch.aclose()

    @contextlib.asynccontextmanager
    async def busy() -> AsyncIterator[tuple[DirectoryWatch, FolderPeer]]:
        async with new() as (watch, peer):
            await watch.open()
            (peer.path / "deep" / "er").mkdir(parents=True)
            (peer.path / "deep" / "er" / "file").write_text("x")
            await watch.receive()
            yield watch, peer

    async def works(line: tuple[DirectoryWatch, FolderPeer]) -> list[str]:
        watch, peer = line
        if watch.state is not DriverState.OPEN:
            await watch.open()
        await peer.send(b"file")
        with trio.fail_after(SOON):
            return told(watch, [await watch.receive(), await watch.receive()])

    async def first(line: tuple[DirectoryWatch, FolderPeer]) -> list[str]:
        return told(line[0], [await line[0].receive()])

    async def rest(line: tuple[DirectoryWatch, FolderPeer]) -> list[str]:
        with trio.fail_after(SOON):
            lines = told(line[0], [await line[0].receive() for _ in range(2)])
        assert lines == ["created deep/er/file", "written deep/er/file"]
        return lines

    async def closed(line: tuple[DirectoryWatch, FolderPeer]) -> DriverState:
        return line[0].state

    await cancel_everywhere(new, lambda line: line[0].open(), observe=works)
    await cancel_everywhere(busy, lambda line: line[0].aclose(), observe=closed)
    sweep = await cancel_everywhere(busy, first, observe=rest)
    assert sweep.checkpoints >= 3


# One folder


async def test_what_happens_to_files_is_told_in_order(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "watched", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    async with DirectoryWatch(folder) as watch:
        with (folder / "a").open("w") as file:
            file.write("one")
            file.flush()
            await tells(watch, ["created a"])
        await tells(watch, ["written a"])
        (folder / "a").rename(folder / "b")
        (folder / "b").rename(elsewhere / "b")
        (elsewhere / "b").rename(folder / "c")
        (folder / "c").unlink()
        (folder / "d").mkdir()
        (folder / "d" / "unseen").write_text("it is not recursive")
        shutil.rmtree(folder / "d")
        await tells(
            watch,
            [
                "moved b from a",
                "deleted b",
                "created c",
                "written c",
                "deleted c",
                "created d/",
                "deleted d/",
            ],
        )


async def test_a_move_that_has_no_other_half_holds_nothing_up_for_long(tmp_path: Path) -> None:
    folder = tmp_path / "watched"
    folder.mkdir()
    (folder / "a").write_text("")
    async with DirectoryWatch(folder) as watch:
        (folder / "a").rename(tmp_path / "a")
        (folder / "b").write_text("")
        await tells(watch, ["deleted a", "created b", "written b"])


async def test_modifications_and_attributes_are_told_if_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("one")
    async with DirectoryWatch(tmp_path, events=[MODIFIED, ATTRIBUTES]) as watch:
        with file.open("a") as writer:
            writer.write("two")
        file.chmod(0o600)
        os.chmod(tmp_path, 0o700)  # noqa: PTH101 - not of a file in it
        file.rename(tmp_path / "other")
        await tells(watch, ["modified file", "attributes file"])


async def test_what_is_moved_in_is_written_if_only_that_is_asked_for(tmp_path: Path) -> None:
    async with DirectoryWatch(tmp_path, events=[WRITTEN]) as watch:
        (tmp_path / "a.tmp").write_text("a")
        (tmp_path / "a.tmp").rename(tmp_path / "a.json")
        await tells(watch, ["written a.tmp", "written a.json"])


async def test_patterns_are_what_is_seen(tmp_path: Path) -> None:
    async with DirectoryWatch(tmp_path, patterns=["*.json", "*.yaml"]) as watch:
        (tmp_path / "a.tmp").write_text("a")
        (tmp_path / "a.tmp").rename(tmp_path / "a.json")
        (tmp_path / "a.json").rename(tmp_path / "a.yaml")
        (tmp_path / "a.yaml").rename(tmp_path / "a.done")
        await tells(
            watch,
            [
                "created a.json",
                "written a.json",
                "moved a.yaml from a.json",
                "deleted a.yaml",
            ],
        )


async def test_what_is_there_already_is_told_if_asked_for(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.json").write_text("a")
    (tmp_path / "b.txt").write_text("b")
    watch = DirectoryWatch(tmp_path, recursive=True, existing=True, patterns="*.json")
    for _ in range(2):
        async with watch:
            await tells(watch, ["created deep/a.json", "written deep/a.json"])


async def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    async with DirectoryWatch(tmp_path, events=[CREATED]) as watch:
        name = os.fsencode(tmp_path) + b"/\xff\n\xfe"
        os.close(os.open(name, os.O_CREAT | os.O_WRONLY))
        [event] = await all_of(watch)
        assert os.fsencode(event.path) == name


async def test_many_files_at_once_each_come(tmp_path: Path) -> None:
    async with DirectoryWatch(tmp_path, events=[CREATED]) as watch:
        for number in range(1000):
            (tmp_path / str(number)).touch()
        with trio.fail_after(SOON):
            came = [(await watch.receive()).path.name for _ in range(1000)]
        assert came == [str(number) for number in range(1000)]
        assert watch.statistics().lost == 0


@pytest.mark.slow
async def test_losses_are_told_and_counted_and_then_it_is_complete_again(tmp_path: Path) -> None:
    async with DirectoryWatch(tmp_path, recursive=True) as watch:
        file = tmp_path / "file"
        for _ in range(9000):  # two events each, of 16384 that are kept
            file.touch()
            file.unlink()
        (tmp_path / "unnoticed").mkdir()
        with trio.fail_after(3 * SOON):
            while (event := await watch.receive()).change is not FileChange.OVERFLOWED:
                pass
        assert event == FileEvent(change=FileChange.OVERFLOWED, path=tmp_path, is_folder=True)
        assert watch.statistics().lost == 1
        (tmp_path / "unnoticed" / "file").write_text("x")
        await tells(watch, ["created unnoticed/file", "written unnoticed/file"])


async def test_an_overflow_of_a_folder_that_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "watched"
    folder.mkdir()
    async with DirectoryWatch(folder) as watch:
        folder.rmdir()
        watch._changes.overflowed = True
        error = await raises_soon(DeviceGone, watch.receive)
        assert "has lost changes, and a folder in" in str(error)
        assert "No such file or directory" in str(error)


@pytest.mark.parametrize(("how", "what"), [("delete", "was deleted"), ("move", "was moved away")])
async def test_a_folder_that_is_gone_is_told_after_what_came_before(
    tmp_path: Path, how: str, what: str
) -> None:
    folder = tmp_path / "watched"
    folder.mkdir()
    async with DirectoryWatch(folder) as watch:
        (folder / "a").write_text("")
        if how == "delete":
            shutil.rmtree(folder)
        else:
            folder.rename(tmp_path / "other")
        with trio.fail_after(SOON):
            came = [await watch.receive(), await watch.receive()]
            if how == "delete":
                assert (await watch.receive()).change is DELETED
        assert told(watch, came) == ["created a", "written a"]
        error = await raises_soon(DeviceGone, watch.receive)
        assert str(error) == f"DirectoryWatch {folder} {what}"
        assert watch.state is DriverState.BROKEN


# Folders in it


async def test_new_folders_are_watched_and_what_was_in_them_is_told(tmp_path: Path) -> None:
    async with DirectoryWatch(tmp_path, recursive=True) as watch:
        (tmp_path / "1" / "2" / "3").mkdir(parents=True)
        (tmp_path / "1" / "2" / "3" / "early").write_text("x")
        await tells(
            watch,
            [
                "created 1/",
                "created 1/2/",
                "created 1/2/3/",
                "created 1/2/3/early",
                "written 1/2/3/early",
            ],
        )
        (tmp_path / "1" / "2" / "3" / "late").write_text("x")
        await tells(watch, ["created 1/2/3/late", "written 1/2/3/late"])


async def test_what_is_made_while_its_folder_is_searched_is_told_once(tmp_path: Path) -> None:
    """The classic race: a thread makes folders and files as fast as they are searched."""
    made: list[str] = []

    def make() -> None:
        for number in range(150):
            folder = tmp_path / f"{number}" / "in" / "it"
            folder.mkdir(parents=True)
            for name in "abc":
                (folder / name).write_text("x")
                made.append(f"{number}/in/it/{name}")

    came: dict[FileChange, list[str]] = {change: [] for change in FileChange}
    async with DirectoryWatch(tmp_path, recursive=True) as watch, trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, make)
        with trio.fail_after(3 * SOON):
            while len(came[CREATED]) < 450 or len(set(came[WRITTEN])) < 450:
                event = await watch.receive()
                if not event.is_folder:
                    came[event.change].append(str(event.path.relative_to(tmp_path)))
        for event in await all_of(watch):
            assert event.change is WRITTEN
    assert sorted(came[CREATED]) == sorted(made)
    assert set(came[WRITTEN]) == set(made)


async def test_a_folder_that_is_moved_is_watched_on_by_its_new_name(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "watched", tmp_path / "elsewhere"
    (folder / "1" / "2").mkdir(parents=True)
    elsewhere.mkdir()
    async with DirectoryWatch(folder, recursive=True) as watch:
        (folder / "1").rename(folder / "one")
        (folder / "one" / "2" / "a").write_text("")
        await tells(watch, ["moved one/ from 1/", "created one/2/a", "written one/2/a"])
        (folder / "one").rename(elsewhere / "one")
        await tells(watch, ["deleted one/"])
        (elsewhere / "one" / "2" / "b").write_text("")
        await tells(watch, [])
        (elsewhere / "one").rename(folder / "back")
        await tells(
            watch,
            [
                "created back/",
                "created back/2/",
                "created back/2/a",
                "created back/2/b",
                "written back/2/a",
                "written back/2/b",
            ],
            in_order=False,
        )
        (folder / "back" / "2" / "c").write_text("")
        await tells(watch, ["created back/2/c", "written back/2/c"])


async def test_a_folder_that_is_moved_before_it_could_be_watched(tmp_path: Path) -> None:
    async with DirectoryWatch(tmp_path, recursive=True) as watch:
        (tmp_path / "a" / "b").mkdir(parents=True)
        (tmp_path / "a" / "b" / "file").write_text("")
        (tmp_path / "a").rename(tmp_path / "c")
        (tmp_path / "c" / "b").rename(tmp_path / "c" / "d")
        await tells(
            watch,
            [
                "created a/",
                "moved c/ from a/",
                "created c/d/",
                "created c/d/file",
                "written c/d/file",
            ],
        )
        (tmp_path / "c" / "d" / "later").write_text("")
        await tells(watch, ["created c/d/later", "written c/d/later"])


async def test_links_to_folders_are_not_followed(tmp_path: Path) -> None:
    folder = tmp_path / "watched"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "round").symlink_to(folder)
    link = tmp_path / "link"
    link.symlink_to(folder)
    async with DirectoryWatch(link, recursive=True) as watch:  # but it may be one itself
        (folder / "again").symlink_to(folder)
        (folder / "deep" / "a").write_text("")
        await tells(watch, ["created again", "created deep/a", "written deep/a"])


# What cannot be watched


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: None, "there is no such folder: mkdir -p"),
        (lambda path: path.write_text(""), "it is no folder; to follow a file, take FileTail"),
    ],
)
async def test_what_is_no_folder(tmp_path: Path, make: Any, said: str) -> None:
    make(tmp_path / "watched")
    error = await raises_soon(ConnectFailed, DirectoryWatch(tmp_path / "watched").open)
    assert said in str(error)


def refuse(monkeypatch: pytest.MonkeyPatch, ending: str, code: int) -> None:
    """Have the system refuse to watch what is called so: root may all."""
    real = Inotify.add

    def add(self: Inotify, path: str, mask: int) -> int:
        if os.path.realpath(path).endswith(ending):  # it may be given by its descriptor
            raise OSError(code, os.strerror(code))
        return real(self, path, mask)

    monkeypatch.setattr(Inotify, "add", add)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (errno.ENOSPC, "sudo sysctl fs.inotify.max_user_watches=1048576"),
        (errno.EMFILE, "sudo sysctl fs.inotify.max_user_instances=1024"),
        (errno.EACCES, "this user may not read it: sudo chmod a+rx"),
        (errno.ENFILE, "the whole machine has no more descriptors"),
        (errno.ENOMEM, "Cannot allocate memory"),
    ],
)
async def test_limits_are_told_with_what_to_raise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, said: str
) -> None:
    refuse(monkeypatch, tmp_path.name, code)
    error = await raises_soon(ConnectFailed, DirectoryWatch(tmp_path).open)
    assert said in str(error)
    assert isinstance(error.__cause__, OSError)


async def test_no_more_descriptors_is_told(tmp_path: Path) -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.open("/dev/null", os.O_RDONLY))
        error = await raises_soon(ConnectFailed, DirectoryWatch(tmp_path).open)
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert "this process has no more descriptors (raise that limit: ulimit -n 65536)" in str(error)


async def test_folders_that_may_not_be_read_are_left_out_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").mkdir()
    refuse(monkeypatch, "secret", errno.EACCES)
    async with DirectoryWatch(tmp_path, recursive=True) as watch:
        assert watch.unwatched == {tmp_path / "secret"}
        (tmp_path / "new").mkdir()
        (tmp_path / "new" / "secret").mkdir()
        (tmp_path / "new" / "other").mkdir()
        error = await raises_soon(ReceiveFailed, lambda: all_of(watch))
        assert "Permission denied" in str(error)
        assert str(tmp_path / "new" / "secret") in str(error)
        assert watch.unwatched == {tmp_path / "secret", tmp_path / "new" / "secret"}
        await all_of(watch)
        (tmp_path / "new" / "other" / "a").write_text("")
        await tells(watch, ["created new/other/a", "written new/other/a"])


async def test_a_search_that_hangs_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_search = threading.Event()
    scandir = os.scandir

    def hangs(path: Any) -> Any:
        may_search.wait(SOON)
        return scandir(path)

    watch = DirectoryWatch(tmp_path, recursive=True)
    await watch.open()
    monkeypatch.setattr(os, "scandir", hangs)
    (tmp_path / "new").mkdir()
    assert await most_threads(watch, f"looks into {tmp_path.name}") == 1
    with trio.fail_after(SOON):
        await watch.aclose()
    may_search.set()
    monkeypatch.undo()
    async with watch:
        (tmp_path / "new" / "a").write_text("")
        await tells(watch, ["created new/a", "written new/a"])
