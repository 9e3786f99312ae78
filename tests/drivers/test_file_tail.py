"""`FileTail`: over real files, which are written, rotated, truncated and deleted."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import shutil
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from drivers.file_peers import FilePeer, make_tail, most_threads, open_file_peer
from drivers.steps import closes_in_every_state, leaks_nothing, raises_soon, until

import horus_trio as horus
from horus_trio.drivers import (
    Cobs,
    ConnectFailed,
    DirectoryWatch,
    DriverNode,
    DriverState,
    FileTail,
    LengthPrefixed,
    Lines,
    ReceiveFailed,
)
from horus_trio.drivers.files import chore
from horus_trio.drivers.files.inotify import Inotify
from horus_trio.testing import cancel_everywhere, check_driver

SOON = 10.0

SILENCE = 0.05
"""Seconds after which nothing more comes."""


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


async def take(tail: FileTail, count: int) -> list[bytes]:
    with trio.fail_after(SOON):
        return [await tail.receive() for _ in range(count)]


async def nothing_comes(tail: FileTail) -> None:
    with trio.move_on_after(SILENCE):
        raise AssertionError(await tail.receive())


# What every driver does


@pytest.mark.slow
@pytest.mark.usefixtures("untraced")
async def test_it_keeps_the_contract_of_drivers() -> None:
    report = await check_driver(
        make_tail, open_file_peer, encode=Lines(), stream_bytes=2_000_000, cycles=300
    )
    left = {rule.rule: rule.reason for rule in report.not_tried}
    assert left.pop("peer vanishes") == "the peer has no vanish()"  # a file is never gone
    assert set(left.values()) == {"the driver takes no messages"}


async def test_a_node_of_it_publishes_what_is_appended() -> None:
    async with open_file_peer() as peer, trio.open_nursery() as nursery:
        driver = make_tail(peer)
        scheduler = horus.Scheduler(signals=False)
        scheduler.add(DriverNode("log", driver, publish="lines"))
        came = scheduler.topic("lines").subscribe()
        with trio.fail_after(SOON):
            await nursery.start(scheduler.run)
            for number in range(5):
                await peer.send(b"line %d" % number)
                assert await came.receive() == b"line %d" % number
        scheduler.stop()
    assert driver.state is DriverState.CLOSED


async def test_a_node_waits_for_a_file_that_must_exist_and_gets_all_of_it(tmp_path: Path) -> None:
    path = tmp_path / "log"
    scheduler = horus.Scheduler(signals=False)
    tail = FileTail(path, must_exist=True)
    scheduler.add(DriverNode("log", tail, publish="lines"))
    came = scheduler.topic("lines").subscribe()
    async with trio.open_nursery() as nursery:
        with trio.fail_after(SOON):
            await nursery.start(scheduler.run)
            await until(lambda: tail.statistics().failures)
            append(path, b"first\nsecond\n")
            assert [await came.receive(), await came.receive()] == [b"first", b"second"]
        scheduler.stop()
    assert tail.statistics().connects == 1


async def test_it_closes_in_every_state() -> None:
    async with open_file_peer() as peer:
        await closes_in_every_state(lambda: make_tail(peer))


@pytest.mark.slow
async def test_opened_and_closed_it_leaves_nothing() -> None:
    async with open_file_peer() as peer:
        await leaks_nothing(lambda: make_tail(peer), 100)


@contextlib.asynccontextmanager
async def new(**arguments: Any) -> AsyncIterator[tuple[FileTail, FilePeer]]:
    async with open_file_peer() as peer:
        tail = make_tail(peer, **arguments)
        try:
            yield tail, peer
        finally:
            with trio.CancelScope(shield=True):
                await tail.aclose()


async def test_it_can_be_cancelled_anywhere() -> None:
    @contextlib.asynccontextmanager
    async def opened() -> AsyncIterator[tuple[FileTail, FilePeer]]:
        async with new() as (tail, peer):
            await tail.open()
            yield tail, peer

    @contextlib.asynccontextmanager
    async def rotated() -> AsyncIterator[tuple[FileTail, FilePeer]]:
        async with opened() as (tail, peer):
            append(peer.path, b"old\n")
            await tail.receive()
            peer.path.rename(f"{peer.path}.1")
            append(peer.path, b"new\n")
            yield tail, peer

    async def works(line: tuple[FileTail, FilePeer]) -> bool:
        tail, peer = line
        await peer.send(b"hello")
        return await take(tail, 1) == [b"hello"]

    async def closed(line: tuple[FileTail, FilePeer]) -> DriverState:
        return line[0].state

    await cancel_everywhere(new, lambda line: line[0].open(), observe=works)
    await cancel_everywhere(opened, lambda line: line[0].aclose(), observe=closed)

    async def first(line: tuple[FileTail, FilePeer]) -> bytes:
        return await line[0].receive()

    sweep = await cancel_everywhere(rotated, first, observe=works)
    assert sweep.checkpoints >= 3


# Lines


async def test_half_a_line_is_kept_until_it_is_whole_whatever_waits_and_is_cancelled() -> None:
    async with new() as (tail, peer), tail:
        await peer.write(b"one\ntw")
        assert await take(tail, 1) == [b"one"]
        for piece in (b"o", b" and ", b"a half"):
            await nothing_comes(tail)
            await peer.write(piece)
        await nothing_comes(tail)
        await peer.write(b"\r\n\nthree\n")
        assert await take(tail, 3) == [b"two and a half", b"", b"three"]
        counted = tail.statistics()
    assert (counted.received, counted.discarded, counted.rejected) == (4, 0, 0)
    assert counted.bytes_received == len(b"one\ntwo and a half\r\n\nthree\n")


async def test_it_begins_with_the_first_line_that_is_not_complete(tmp_path: Path) -> None:
    path = tmp_path / "log"
    append(path, b"old\nhalf")
    async with FileTail(path) as tail:
        append(path, b" a line\n")
        assert await take(tail, 1) == [b"half a line"]
    async with FileTail(path, from_start=True) as tail:
        assert await take(tail, 2) == [b"old", b"half a line"]


async def test_a_line_that_is_longer_than_its_framing_permits_is_begun_in_nowhere(
    tmp_path: Path,
) -> None:
    path = tmp_path / "log"
    append(path, b"x" * 5000)
    async with FileTail(path, framing=Lines(max_frame=100)) as tail:
        append(path, b"y\nnext\n")
        assert await take(tail, 2) == [b"y", b"next"]


async def test_lines_that_are_too_long_are_rejected_and_counted() -> None:
    async with new(framing=Lines(max_frame=1000)) as (tail, peer), tail:
        await peer.write(b"x" * 300_000 + b"\ngood\n" + b"y" * 2000 + b"\nbetter\n")
        assert await take(tail, 2) == [b"good", b"better"]
        counted = tail.statistics()
    assert (counted.rejected, counted.discarded) == (2, 302_002)


async def test_binary_messages_follow_their_framing() -> None:
    framing = LengthPrefixed()
    messages = [bytes([number]) * number * 100 for number in range(1, 40)]
    data = b"".join(map(framing.encode, messages))
    async with new(framing=framing) as (tail, peer), tail:
        for begin in range(0, len(data), 777):
            await peer.write(data[begin : begin + 777])
        assert await take(tail, len(messages)) == messages


async def test_a_file_that_is_long_lets_others_run(tmp_path: Path) -> None:
    path = tmp_path / "log"
    line = b"x" * 70_000 + b"\n"
    append(path, line * 100)
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with (
        FileTail(path, from_start=True, framing=Lines(max_frame=80_000)) as tail,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(others)
        assert len(await take(tail, 100)) == 100
        nursery.cancel_scope.cancel()
    assert turns >= 100  # one for each 64 KiB


# Rotation


async def test_a_rotated_file_is_read_to_its_end_and_then_the_new_one() -> None:
    async with new() as (tail, peer), tail:
        await peer.send(b"one")
        rotated = peer.path.with_name("log.1")
        peer.path.rename(rotated)
        append(rotated, b"two\n")  # its writer has not noticed
        assert await take(tail, 2) == [b"one", b"two"]
        peer.path.touch()
        await nothing_comes(tail)
        append(rotated, b"three\n")  # the new one is there, and nobody writes to it
        assert await take(tail, 1) == [b"three"]
        append(rotated, b"four\n")
        append(peer.path, b"five\n")
        assert await take(tail, 2) == [b"four", b"five"]
        assert (tail.rotations, tail.truncations) == (1, 0)


@pytest.mark.parametrize(
    ("framing", "came", "discarded"), [(Lines(), [b"end", b"new"], 0), (Cobs(), [b"new"], 4)]
)
async def test_what_a_rotated_file_ends_with(
    framing: Any, came: list[bytes], discarded: int
) -> None:
    async with new(framing=framing) as (tail, peer), tail:
        await peer.write(framing.encode(b"end")[:-1])
        await nothing_comes(tail)
        peer.path.rename(f"{peer.path}.1")
        await nothing_comes(tail)
        append(peer.path, framing.encode(b"new"))
        assert await take(tail, len(came)) == came
        assert tail.statistics().discarded == discarded


async def test_files_that_are_rotated_faster_than_they_are_read_follow_in_order() -> None:
    async with new() as (tail, peer), tail:
        for generation in range(30):
            append(peer.path, b"%d\n" % generation)
            rotate(peer.path, 40)
        append(peer.path, b"30\n")
        assert await take(tail, 31) == [b"%d" % number for number in range(31)]
        assert tail.rotations == 30


def rotate(path: Path, keep: int) -> None:
    """As logrotate does: the highest number is the oldest."""
    for number in range(keep, 0, -1):
        old = path.with_name(f"{path.name}.{number}")
        if old.exists():
            old.rename(path.with_name(f"{path.name}.{number + 1}"))
    path.rename(path.with_name(f"{path.name}.1"))


async def test_files_that_are_rotated_by_date_follow_in_order() -> None:
    async with new() as (tail, peer), tail:
        for day in range(1, 29):
            append(peer.path, b"%d\n" % day)
            peer.path.rename(f"{peer.path}-202602{day:02}")
        append(peer.path, b"29\n")
        assert await take(tail, 29) == [b"%d" % day for day in range(1, 30)]


async def test_files_that_are_rotated_to_higher_and_higher_numbers_follow_in_order() -> None:
    async with new() as (tail, peer), tail:
        for number in range(1, 30):
            append(peer.path, b"%d\n" % number)
            os.utime(peer.path, ns=(0, number * 10**9))
            peer.path.rename(f"{peer.path}.{number}")
        append(peer.path, b"30\n")
        assert await take(tail, 30) == [b"%d" % number for number in range(1, 31)]
        await nothing_comes(tail)


async def test_a_deleted_file_is_read_to_its_end_and_a_new_one_waited_for() -> None:
    async with new() as (tail, peer), tail:
        with peer.path.open("ab", buffering=0) as writer:
            writer.write(b"one\n")
            assert await take(tail, 1) == [b"one"]
            peer.path.unlink()
            writer.write(b"two\n")
            assert await take(tail, 1) == [b"two"]
        await nothing_comes(tail)
        append(peer.path, b"three\n")
        assert await take(tail, 1) == [b"three"]


async def test_a_truncated_file_is_read_from_its_beginning() -> None:
    async with new() as (tail, peer), tail:
        await peer.write(b"one\ntwo\nha")
        assert await take(tail, 2) == [b"one", b"two"]
        await nothing_comes(tail)
        shutil.copy(peer.path, f"{peer.path}.1")
        os.truncate(peer.path, 0)
        await peer.write(b"three\n")
        assert await take(tail, 1) == [b"three"]
        assert (tail.truncations, tail.rotations) == (1, 0)
        assert tail.statistics().discarded == 2


async def test_a_truncated_file_that_has_grown_again_is_noticed_by_its_bytes() -> None:
    async with new() as (tail, peer), tail:
        await peer.write(b"one\n")
        assert await take(tail, 1) == [b"one"]
        peer.path.write_bytes(b"two\nthree\nfour\n")
        assert await take(tail, 3) == [b"two", b"three", b"four"]
        assert tail.truncations == 1


async def test_a_file_that_is_not_there_is_waited_for_and_its_folder_too(tmp_path: Path) -> None:
    path = tmp_path / "some" / "folders" / "log"
    async with FileTail(path) as tail:
        await nothing_comes(tail)
        path.parent.mkdir(parents=True)
        await nothing_comes(tail)
        append(path, b"one\n")
        assert await take(tail, 1) == [b"one"]
        shutil.rmtree(tmp_path / "some")
        await nothing_comes(tail)
        path.parent.mkdir(parents=True)
        append(path, b"two\n")
        assert await take(tail, 1) == [b"two"]


async def test_a_folder_that_takes_its_name_is_waited_out(tmp_path: Path) -> None:
    path = tmp_path / "log"
    append(path, b"")
    async with FileTail(path) as tail:
        append(path, b"one\n")
        assert await take(tail, 1) == [b"one"]
        path.unlink()
        path.mkdir()
        await nothing_comes(tail)
        path.rmdir()
        append(path, b"two\n")
        assert await take(tail, 1) == [b"two"]


# Links


async def test_a_link_that_is_set_to_another_file(tmp_path: Path) -> None:
    link = tmp_path / "current"
    for day in ("monday", "tuesday"):
        (tmp_path / day).mkdir()
    link.symlink_to("monday/log")
    async with FileTail(link) as tail:
        append(tmp_path / "monday" / "log", b"one\n")
        assert await take(tail, 1) == [b"one"]
        append(tmp_path / "tuesday" / "log", b"two\n")
        (tmp_path / "new").symlink_to(tmp_path / "tuesday" / "log")
        (tmp_path / "new").rename(link)
        assert await take(tail, 1) == [b"two"]
        (tmp_path / "tuesday" / "log").rename(tmp_path / "tuesday" / "log.1")
        append(tmp_path / "tuesday" / "log", b"three\n")
        assert await take(tail, 1) == [b"three"]


async def test_a_folder_on_the_way_that_is_a_link_and_is_exchanged(tmp_path: Path) -> None:
    (tmp_path / "v1").mkdir()
    (tmp_path / "v2").mkdir()
    (tmp_path / "data").symlink_to("v1")
    (tmp_path / "log").symlink_to("data/../data/log")
    append(tmp_path / "v1" / "log", b"")
    async with FileTail(tmp_path / "log") as tail:
        append(tmp_path / "v1" / "log", b"one\n")
        assert await take(tail, 1) == [b"one"]
        append(tmp_path / "v2" / "log", b"two\n")
        (tmp_path / "new").symlink_to("v2")
        (tmp_path / "new").rename(tmp_path / "data")
        assert await take(tail, 1) == [b"two"]


async def test_links_that_have_no_end_lead_to_no_file(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    error = await raises_soon(ConnectFailed, FileTail(tmp_path / "a").open)
    assert "Too many levels of symbolic links" in str(error)


# Where it goes on


MESSAGES = [b"", b"one", b"two", b"x" * 300, b"three\0", b"\r", b"last"]


@pytest.mark.parametrize("framing", [Lines(b"\r\n"), Cobs(), LengthPrefixed()], ids=repr)
async def test_a_position_after_each_message_leads_to_the_next_one(
    tmp_path: Path, framing: Any
) -> None:
    path = tmp_path / "log"
    messages = [message for message in MESSAGES if message or not isinstance(framing, Cobs)]
    append(path, b"".join(map(framing.encode, messages)))
    positions = []
    async with FileTail(path, framing=framing, from_start=True) as tail:
        positions.append(tail.position)
        for message in messages:
            assert await take(tail, 1) == [message]
            positions.append(tail.position)
    for count, position in enumerate(positions):
        assert position is not None
        assert position.offset == len(b"".join(map(framing.encode, messages[:count])))
        async with FileTail(path, framing=framing, start=position) as tail:
            assert await take(tail, len(messages) - count) == messages[count:]
            assert (tail.gaps, tail.truncations) == (0, 0)


async def test_a_position_after_garbage_and_within_what_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "log"
    framing = Lines(max_frame=1000)
    append(path, b"one\n" + b"x" * 200_000)
    async with FileTail(path, framing=framing, from_start=True) as tail:
        assert await take(tail, 1) == [b"one"]
        await nothing_comes(tail)
        position = tail.position
    append(path, b"yz\ntwo\n")
    async with FileTail(path, framing=framing, start=position) as tail:
        assert await take(tail, 1) == [b"two"]  # and not the end of the long one


async def test_opened_again_it_goes_on_where_it_was() -> None:
    async with new() as (tail, peer):
        async with tail:
            await peer.write(b"one\ntwo\nthree\nha")
            assert await take(tail, 2) == [b"one", b"two"]
        append(peer.path, b"lf\n")
        async with tail:
            assert await take(tail, 2) == [b"three", b"half"]
        counted = tail.statistics()
    assert (counted.bytes_received, counted.discarded) == (len(b"one\ntwo\nthree\nhalf\n"), 0)


async def test_what_was_rotated_while_it_was_closed_is_found() -> None:
    async with new() as (tail, peer):
        async with tail:
            await peer.write(b"one\ntwo\n")
            assert await take(tail, 1) == [b"one"]
        append(peer.path, b"three\n")
        for generation in range(40):
            rotate(peer.path, 50)
            append(peer.path, b"generation %d\n" % generation)
        async with tail:
            assert await take(tail, 2) == [b"two", b"three"]
            assert await take(tail, 40) == [b"generation %d" % number for number in range(40)]
            assert (tail.gaps, tail.truncations, tail.rotations) == (0, 0, 40)


async def test_if_its_file_is_gone_all_that_was_rotated_is_given_out_and_counted() -> None:
    async with new() as (tail, peer):
        async with tail:
            await peer.send(b"one")
            assert await take(tail, 1) == [b"one"]
        kept = os.open(peer.path, os.O_RDONLY)  # so that its number is not used again
        try:
            peer.path.unlink()
            for generation in range(30):
                append(peer.path, b"generation %d\n" % generation)
                if generation < 29:
                    rotate(peer.path, 50)
            async with tail:
                assert await take(tail, 30) == [b"generation %d" % number for number in range(30)]
                assert tail.gaps == 1
        finally:
            os.close(kept)


@pytest.mark.parametrize("after", [b"new\n", b"new\nand longer than it was\n"])
async def test_what_was_truncated_while_it_was_closed_is_read_from_its_beginning(
    after: bytes,
) -> None:
    async with new() as (tail, peer):
        async with tail:
            await peer.write(b"one\ntwo\n")
            assert await take(tail, 2) == [b"one", b"two"]
        peer.path.write_bytes(after)
        async with tail:
            assert await take(tail, after.count(b"\n")) == after.splitlines()
            assert tail.truncations == 1


async def test_a_file_that_came_while_it_was_closed_is_read_from_its_beginning(
    tmp_path: Path,
) -> None:
    path = tmp_path / "log"
    tail = FileTail(path)
    assert tail.position is None
    async with tail:
        await nothing_comes(tail)
        position = tail.position
    assert position is not None
    assert (position.inode, position.offset) == (0, 0)
    append(path, b"one\n")
    async with tail:
        assert await take(tail, 1) == [b"one"]
    async with FileTail(path, start=position) as another:
        assert await take(another, 1) == [b"one"]


async def test_the_last_line_of_a_rotated_file_is_given_out_once(tmp_path: Path) -> None:
    path = tmp_path / "log"
    append(path, b"one\nend")
    tail = FileTail(path, from_start=True)
    async with tail:
        assert await take(tail, 1) == [b"one"]
        await nothing_comes(tail)
        path.rename(f"{path}.1")
        append(path, b"new\n")
        with trio.fail_after(SOON):
            while not tail._frames:  # until it has turned to the new file, and given nothing out
                await tail._advance()
    async with tail:
        assert await take(tail, 1) == [b"end"]
    async with tail:
        assert await take(tail, 1) == [b"new"]


# Whatever comes


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
async def test_whatever_a_writer_does_each_line_comes_once_and_in_order(
    tmp_path: Path, seed: int
) -> None:
    path = tmp_path / "log"
    count = 4000
    over = threading.Event()

    def write() -> None:
        rng = random.Random(seed)
        file = path.open("ab", buffering=0)
        try:
            for number in range(count):
                line = b"%d %s\n" % (number, b"x" * rng.randrange(200))
                cut = rng.randrange(len(line))
                file.write(line[:cut])
                file.write(line[cut:])
                chance = rng.random()
                if chance < 0.01:
                    rotate(path, 60)
                    if rng.random() < 0.5:
                        file.write(b"late\n")
                    file.close()
                    file = path.open("ab", buffering=0)
                elif chance < 0.02 and over.wait(rng.random() * 0.02):
                    return
        finally:
            file.close()

    rng = random.Random(-seed)
    came: list[int] = []
    tail = FileTail(path)
    async with trio.open_nursery() as nursery:
        await tail.open()
        nursery.start_soon(trio.to_thread.run_sync, write)
        try:
            with trio.fail_after(3 * SOON):
                while not came or came[-1] != count - 1:
                    with trio.move_on_after(rng.random() * 0.01):
                        while not came or came[-1] != count - 1:
                            line = await tail.receive()
                            if line != b"late":
                                came.append(int(line.partition(b" ")[0]))
                    if rng.random() < 0.05:
                        await tail.aclose()
                        await tail.open()
        finally:
            over.set()
            with trio.CancelScope(shield=True):
                await tail.aclose()
    assert came == list(range(count))
    assert (tail.gaps, tail.truncations) == (0, 0)


@pytest.mark.slow
async def test_nothing_is_lost_when_the_kernel_loses_events(tmp_path: Path) -> None:
    path = tmp_path / "log"
    append(path, b"")
    async with FileTail(path) as tail:
        append(path, b"one\n")
        for _ in range(6000):  # four events each, of 16384 that are kept
            path.rename(f"{path}.1")
            path.with_name("log.1").rename(path)
        append(path, b"two\n")
        path.rename(f"{path}.1")
        append(path, b"three\n")
        assert await take(tail, 3) == [b"one", b"two", b"three"]


# Slow disks


async def test_a_read_that_hangs_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    may_read = threading.Event()
    pread = os.pread

    def hangs(*arguments: Any) -> bytes:
        may_read.wait(SOON)
        return pread(*arguments)

    def would_block(*_: object) -> int:
        raise BlockingIOError(errno.EAGAIN, "it would wait")

    async with new() as (tail, peer):
        await tail.open()
        await peer.write(b"one\ntwo\n")
        monkeypatch.setattr(os, "preadv", would_block)
        monkeypatch.setattr(os, "pread", hangs)
        assert await most_threads(tail, "reads log") == 1
        monkeypatch.setattr(os, "pread", pread)
        with trio.fail_after(SOON):
            await tail.aclose()  # it does not wait for the thread
            await tail.open()
            assert await tail.receive() == b"one"
        may_read.set()
        assert await take(tail, 1) == [b"two"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["tail", "watch"])
async def test_a_disk_that_hangs_keeps_a_few_threads_and_no_more(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often it is opened."""
    answers = threading.Event()
    add = Inotify.add

    def hangs(self: Inotify, path: str, mask: int) -> int:
        answers.wait(SOON)
        return add(self, path, mask)

    (tmp_path / "log").write_text("")
    monkeypatch.setattr(chore, "GRACE", 0.1)
    driver: FileTail | DirectoryWatch = (
        FileTail(tmp_path / "log") if kind == "tail" else DirectoryWatch(tmp_path)
    )
    monkeypatch.setattr(Inotify, "add", hangs)
    error: Exception | None = None
    for _ in range(chore.MOST_LEFT + 2):
        try:
            with trio.move_on_after(0.4):  # longer than GRACE
                await driver.open()
        except ConnectFailed as refused:
            error = refused
        await driver.aclose()
    assert "4 threads hang in calls of the file system" in str(error)
    hanging = [thread for thread in threading.enumerate() if thread.name.startswith("opens")]
    assert len(hanging) == chore.MOST_LEFT
    answers.set()
    monkeypatch.undo()
    await until(lambda: not any(t.name.startswith("opens") for t in threading.enumerate()))
    async with driver:
        assert driver.state is DriverState.OPEN


async def test_a_read_that_was_begun_is_not_begun_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """However often the receiver gives up, a slow disk gets somewhere."""
    reads = 0
    pread = os.pread
    may_read = threading.Event()

    def slow(*arguments: Any) -> bytes:
        nonlocal reads
        reads += 1
        may_read.wait(SOON)
        return pread(*arguments)

    def would_block(*_: object) -> int:
        raise BlockingIOError(errno.EAGAIN, "it would wait")

    async with new() as (tail, peer), tail:
        await peer.write(b"one\n")
        monkeypatch.setattr(os, "preadv", would_block)
        monkeypatch.setattr(os, "pread", slow)
        gave_up = 0
        while gave_up < 5 or not reads:
            with trio.move_on_after(0.001):
                await tail.receive()
            gave_up += 1
        assert reads == 1
        may_read.set()
        assert await take(tail, 1) == [b"one"]
        monkeypatch.undo()


async def test_a_file_in_memory_is_no_other(require: Callable[[str, bool, str], None]) -> None:
    """There a read cannot promise not to wait, so threads do all of it."""
    require("/dev/shm", os.access("/dev/shm", os.W_OK), "mount a tmpfs there")
    folder = Path("/dev/shm") / f"horus-tail-{os.getpid()}"
    folder.mkdir()
    try:
        async with FileTail(folder / "log") as tail:
            for number in range(20):
                append(folder / "log", b"%d\n" % number)
                if number % 5 == 4:
                    rotate(folder / "log", 9)
                assert await take(tail, 1) == [b"%d" % number]
    finally:
        shutil.rmtree(folder)


# What cannot be read


@pytest.mark.parametrize("kind", ["folder", "pipe", "device"])
async def test_what_is_no_regular_file(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "log"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path = Path("/dev/null")
    error = await raises_soon(ConnectFailed, FileTail(path).open)
    assert f"{path} cannot be opened: it is a {kind}, expected a regular file" in str(error)


async def test_a_file_that_must_exist(tmp_path: Path) -> None:
    error = await raises_soon(ConnectFailed, FileTail(tmp_path / "log", must_exist=True).open)
    assert "there is no such file; see whether its name is right" in str(error)


async def test_a_file_that_may_not_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may read all, so the system is made to refuse."""
    real_open = os.open
    forbidden = False

    def refusing(path: Any, *arguments: Any, **options: Any) -> int:
        if forbidden and str(path).endswith("log"):
            raise PermissionError(13, "Permission denied")
        return real_open(path, *arguments, **options)

    monkeypatch.setattr(os, "open", refusing)
    async with new() as (tail, peer):
        forbidden = True
        error = await raises_soon(ConnectFailed, tail.open)
        assert "this user may not read it" in str(error)
        forbidden = False
        async with tail:
            peer.path.rename(f"{peer.path}.1")
            append(peer.path, b"one\n")
            forbidden = True
            error = await raises_soon(ReceiveFailed, tail.receive)
            assert "has a new file: this user may not read it" in str(error)
            await nothing_comes(tail)
            forbidden = False
            peer.path.chmod(0o644)
            assert await take(tail, 1) == [b"one"]


async def test_what_is_read_is_lost_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fails is a device that is gone; opened again nothing is missing."""
    async with new() as (tail, peer):
        await tail.open()
        await peer.write(b"one\n")
        with monkeypatch.context() as patch:

            def fails(*_: object) -> int:
                raise OSError(5, "Input/output error")

            patch.setattr(os, "preadv", fails)
            await raises_soon(horus.drivers.DeviceGone, tail.receive)
        assert tail.state is DriverState.BROKEN
        await tail.aclose()
        await tail.open()
        assert await take(tail, 1) == [b"one"]
