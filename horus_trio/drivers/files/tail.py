"""A file that grows, such as a log: its messages as they are written, whatever becomes of its name.

The kernel tells when to look (inotify); nothing polls. What the file has grown by is read until its
end after each such event, so no event can come too early. Reading takes what is in memory, and
leaves the rest to a thread, so a slow disk holds nobody up.
"""

from __future__ import annotations

import collections
import contextlib
import copy
import dataclasses
import errno
import functools
import os
from collections.abc import Callable, Sequence
from typing import Any

import trio

from ...errors import ConfigurationError
from ..driver import DriverStatistics
from ..errand import Errand
from ..errors import ConnectFailed, DeviceGone, ReceiveFailed
from ..framing import Framing, Lines
from ..one_way import ReceiveOnlyDriver
from ..wire import CHUNK
from .chore import Chore, Descriptors, LeftBehind, close_aside
from .inotify import INOTIFY, Inotify, Mask, Notice, cannot_watch
from .lookout import ASIDE, Found, Lookout, NotAFile, OpenFile
from .paths import path_of
from .position import OVERLAP, UNKNOWN, Ledger, TailPosition, check_of, read_before
from .survey import end_of, survey_of

__all__ = ["FileTail"]

FORBIDDEN = "this user may not read it, or a folder on the way to it: sudo chmod a+r it"

IN_A_THREAD = frozenset({errno.EAGAIN, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS})
"""What a read that must not wait says if it would have to, or does not know."""

NOTHING = TailPosition(inode=0, offset=0, check=check_of(b""))


class FileTail(ReceiveOnlyDriver[bytes]):
    """Gives the messages that are appended to a file. Needs the extra ``files``, and Linux.

    ::

        async with FileTail("/var/log/robot.log") as log:
            while True:
                print(await log.receive())

    It goes by the name of the file, as ``tail -F`` does. When another file takes that name, the old
    one is read to its end first, and left when the new one has got its first byte; files that were
    rotated faster than they were read follow in order if they are named by numbers or dates. It
    waits for a file that is not there, or was deleted. Symbolic links are followed, and watched. A
    file that was truncated, or whose bytes have become others, is read from its beginning.

    A message that is not complete is kept until it is. What a rotated file ends with, and no
    delimiter, counts as its last message with `Lines` and `Delimited`. With other framings, and
    when a file is truncated, it is discarded, and counted.

    Opened again, it goes on after the last message that was given out; and so does the next program
    with `start`. If that file is not found any more, whatever was rotated and is still there is
    given out, perhaps again: see `gaps`.

    Changes that another machine makes to a network file system are not told by the kernel, and come
    to light with the next local one.

    Arguments:
        path: The file.
        framing: How messages lie in it; None: `Lines`. It is copied.
        from_start: Whether a file that is there already is read from its beginning. Else it begins
            with the first message that is not complete yet.
        start: Where to go on: a `position`.
        must_exist: Whether `open` fails if there is no such file.

    Raises:
        ConfigurationError: An argument makes no sense.
        MissingExtra: inotify-simple is not installed.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        framing: Framing | None = None,
        from_start: bool = False,
        start: TailPosition | None = None,
        must_exist: bool = False,
    ) -> None:
        super().__init__()
        self._path = path_of("FileTail", path, "/var/log/robot.log")
        if framing is not None and not isinstance(framing, Framing):
            raise ConfigurationError(
                f"FileTail(framing={framing!r:.80}): expected a Framing, such as Lines(), with "
                "its parentheses"
            )
        if start is not None and not isinstance(start, TailPosition):
            raise ConfigurationError(
                f"FileTail(start={start!r:.80}): expected a TailPosition, such as the position of "
                "another FileTail"
            )
        if start is not None and from_start:
            raise ConfigurationError(
                "FileTail(from_start=True, start=…): expected one of them: start says where"
            )
        INOTIFY.check("FileTail")
        self._framing = Lines() if framing is None else copy.deepcopy(framing)
        self._from_start = from_start
        self._must_exist = must_exist
        self._resume = start
        self._bytes_received = self._rotations = self._truncations = self._gaps = 0
        self._buffer = memoryview(bytearray(CHUNK + OVERLAP))
        self._held: Descriptors | None = None
        self._closing: Errand[None] | None = None
        self._left = LeftBehind()
        self._chore: tuple[Chore[Any], Callable[[Any], object]] | None = None
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._inotify: Inotify | None = None
        self._lookout: Lookout | None = None
        self._files: collections.deque[OpenFile] = collections.deque()
        self._frames: collections.deque[bytes] = collections.deque()
        self._ledger = Ledger()
        self._kept = NOTHING
        self._offset = 0  # in the first of the files
        self._overlap = b""  # the bytes before that
        self._moved = False  # another file may be behind the path
        self._all_read = False  # since the latest event
        self._leaving = False  # the first of the files grows no more

    @property
    def name(self) -> str:
        return f"{type(self).__qualname__} {self._path}"

    @property
    def position(self) -> TailPosition | None:
        """Where the next message begins that was not given out; None if that is not known yet.

        It is not known before the first `open`, without `start`. It may take a few milliseconds,
        since what was read ahead is looked through.
        """
        return self._resume if self._lookout is None else self._position_now()

    @property
    def rotations(self) -> int:
        """How often another file took the place of the one that was read."""
        return self._rotations

    @property
    def truncations(self) -> int:
        """How often a file was truncated, or written anew; what it had and was not read is lost."""
        return self._truncations

    @property
    def gaps(self) -> int:
        """How often it was opened, and the file of its position was not found: messages that were
        written meanwhile may be lost, and others may come again."""
        return self._gaps

    def statistics(self) -> DriverStatistics:
        return dataclasses.replace(
            super().statistics(),
            bytes_received=self._bytes_received,
            discarded=self._framing.discarded,
            rejected=self._framing.rejected,
        )

    # Opening and closing

    async def _connect(self) -> None:
        await self._left.make_room(self.name)
        held = self._held = Descriptors()
        survey = functools.partial(
            survey_of, self._path, held, self._framing, self._resume, from_start=self._from_start
        )
        chore = Chore(survey, held, f"opens {self._path.name}")
        self._chore = chore, self._ignore
        came = await chore.result()
        self._chore = None
        try:
            began = came.unwrap()
        except OSError as error:
            raise self._not_opened_because(error) from error
        self._inotify, self._lookout = began.inotify, began.lookout
        self._files.extend(began.files)
        self._moved = began.more
        self._gaps += began.gap
        self._truncations += began.truncated
        self._offset, self._overlap = began.offset, began.before
        if began.files:
            self._ledger.settle((began.files[0].inode, began.offset))
        if began.missing and self._must_exist:
            raise ConnectFailed(
                f"{self.name} cannot be opened: there is no such file; see whether its name is "
                "right, or leave must_exist out to wait for it"
            )

    def _not_opened_because(self, error: OSError) -> ConnectFailed:
        if isinstance(error, NotAFile):
            return ConnectFailed(
                f"{self.name} cannot be opened: {error.args[0]}, expected a regular file"
            )
        if isinstance(error, PermissionError):
            return ConnectFailed(f"{self.name} cannot be opened: {FORBIDDEN}")
        return cannot_watch(self.name, error)

    def _disconnect(self) -> None:
        if self._held is None:
            return
        if self._lookout is not None:  # what was read ahead is read again
            self._remember()
        if self._chore is not None:
            self._left.add(self._chore[0])
            self._chore[0].drop()
            self._chore = None
        if self._inotify is not None:
            self._inotify.wake()
        self._closing = close_aside(self._held.let_go, f"closes {self._path.name}")
        if self._closing is not None:
            self._left.add(self._closing)
        self._held = None
        self._begin_anew()

    def _remember(self) -> None:
        self._resume = position = self._position_now()
        if self._files and position.inode == self._files[0].inode:
            self._bytes_received -= self._offset - position.offset
        discarded = self._framing.discarded
        self._framing.reset()
        self._framing.discarded = discarded

    def _position_now(self) -> TailPosition:
        inode, offset = self._ledger.place
        for file in self._files:
            if file.inode == inode:
                try:
                    check = check_of(read_before(file.descriptor, offset))
                except OSError:
                    check = UNKNOWN  # so it is read again from its beginning
                return TailPosition(inode=inode, offset=offset, check=check)
        return self._kept

    async def _wait_disconnected(self) -> None:
        if self._closing is not None:
            await self._closing.ended()
        else:
            await trio.lowlevel.checkpoint()

    # Receiving

    async def _receive(self) -> bytes:
        frames = self._frames
        if frames:
            await trio.lowlevel.checkpoint_if_cancelled()
        else:
            while not frames:
                await self._advance()
        self._ledger.give()
        return frames.popleft()

    async def _advance(self) -> None:
        """Do the next of the things to be done. A checkpoint, and nothing is undone after it."""
        if self._chore is not None:  # perhaps one that was begun by a call that was cancelled
            chore, apply = self._chore
            came = await chore.result()
            self._chore = None
            try:
                apply(came.unwrap())
            except PermissionError as error:
                raise ReceiveFailed(f"{self.name} has a new file: {FORBIDDEN}") from error
            except OSError as error:
                raise DeviceGone(f"{self.name} cannot go on: {_reason(error)}") from error
            return
        inotify, lookout = self._inotify, self._lookout
        if inotify is None or lookout is None:
            raise trio.ClosedResourceError(f"{self.name} is not open")
        if self._all_read and not self._moved and not self._may_turn():
            await inotify.wait()
            for notice in inotify.read_nowait():
                self._take_note(notice, lookout)
            return
        await trio.lowlevel.checkpoint()
        if self._moved and len(self._files) < ASIDE:
            self._begin_chore(functools.partial(_look, lookout, tuple(self._files)), self._follow)
            self._moved = False
        elif self._all_read:
            self._turn(inotify)
        elif self._files:
            self._read(self._files[0])
        else:
            self._all_read = True

    def _take_note(self, notice: Notice, lookout: Lookout) -> None:
        if lookout.concerns(notice):
            self._moved = True
        if notice.mask & Mask.Q_OVERFLOW:
            self._all_read = False
        elif any(file.watch == notice.wd for file in self._files):
            self._all_read = False
            self._moved = self._moved or bool(notice.mask & ~Mask.MODIFY)

    def _follow(self, found: Found) -> None:
        """Take files that have come."""
        if not self._files and found.files:
            self._ledger.settle((found.files[0].inode, 0))
        self._files.extend(found.files)
        self._moved = self._moved or found.more
        self._all_read = False

    def _read(self, file: OpenFile) -> None:
        """Read on, what is in memory; else have it read in a thread."""
        begin = self._offset - len(self._overlap)
        try:
            size = os.preadv(file.descriptor, [self._buffer], begin, os.RWF_NOWAIT)
        except OSError as error:
            if error.errno not in IN_A_THREAD:
                raise
            read = functools.partial(os.pread, file.descriptor, len(self._buffer), begin)
            self._begin_chore(read, self._take)
        else:
            self._take(bytes(self._buffer[:size]))

    def _take(self, read: bytes) -> None:
        """Take what was read, the bytes that were known first."""
        known = len(self._overlap)
        inode = self._files[0].inode
        if not read.startswith(self._overlap):
            self._truncations += 1
            self._framing.reset()
            self._offset, self._overlap = 0, b""
            self._ledger.settle((inode, 0))
            return
        data = read[known:]
        if not data:
            self._all_read = True
            return
        before = copy.deepcopy(self._framing)
        self._frames.extend(self._framing.feed(data))
        if self._frames:
            self._ledger.expect_of(before, data, inode, self._offset)
        self._offset += len(data)
        self._overlap = read[-OVERLAP:]
        self._bytes_received += len(data)

    def _may_turn(self) -> bool:
        """Whether the first of the files grows no more, and another one follows."""
        files = self._files
        if len(files) < 2:
            return False
        # Who renames a log may write to it until the new one is there, and then no more.
        return self._leaving or len(files) > 2 or os.fstat(files[1].descriptor).st_size > 0

    def _turn(self, inotify: Inotify) -> None:
        """Go over to the next file, when the first was read once more since it grows no more."""
        files = self._files
        if not self._may_turn():
            return
        if not self._leaving:
            self._leaving, self._all_read = True, False
            return
        self._kept = self._position_now()  # until the last message of it is given out
        old = files.popleft()
        self._leaving = self._all_read = False
        self._rotations += 1
        self._offset, self._overlap = 0, b""
        begin = files[0].inode, 0
        if self._framing.pending and (end := end_of(self._framing)):
            self._frames.extend(self._framing.feed(end))
        self._framing.reset()
        if self._frames:
            self._ledger.expect(lambda _: begin)
        else:
            self._ledger.settle(begin)
        inotify.remove(old.watch)
        if self._held is not None:
            self._held.close(old.descriptor)

    def _begin_chore(self, function: Callable[[], Any], apply: Callable[[Any], object]) -> None:
        if self._held is not None:
            self._chore = Chore(function, self._held, f"reads {self._path.name}"), apply

    def _ignore(self, came: object) -> None:
        """What was opened is used by nobody."""


def _look(lookout: Lookout, files: Sequence[OpenFile]) -> Found:
    """Find the files that follow, in a thread."""
    lookout.watch()
    known = frozenset(file.inode for file in files)
    file: OpenFile | None = None
    with contextlib.suppress(NotAFile):  # it may be one again
        file = lookout.find(known)
    if not files and file is None:
        return Found([], more=False)
    # Before the first one there was none, and none that was rotated.
    return lookout.find_between(files[-1].inode if files else None, file, known)


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
