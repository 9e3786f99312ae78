"""The kernel tells of changes in folders and files: a descriptor that is waited for.

inotify-simple makes it, sets watches and takes events apart. Waiting is Trio's.
"""

from __future__ import annotations

import contextlib
import errno
import os
from types import ModuleType
from typing import NamedTuple

import trio

from ..errors import ConnectFailed
from ..extra import Extra
from .chore import Descriptors

__all__ = ["INOTIFY", "Inotify", "Mask", "Notice", "cannot_watch"]

INOTIFY = Extra("files", "inotify-simple", "inotify_simple")

CHUNK = 16384
"""Bytes of events that are read at once: some 500, taken apart in about a millisecond."""


class Mask:
    """Bits of inotify: what may be watched for, and what has happened."""

    MODIFY = 0x00000002
    ATTRIB = 0x00000004
    CLOSE_WRITE = 0x00000008
    MOVED_FROM = 0x00000040
    MOVED_TO = 0x00000080
    CREATE = 0x00000100
    DELETE = 0x00000200
    DELETE_SELF = 0x00000400
    MOVE_SELF = 0x00000800
    UNMOUNT = 0x00002000
    Q_OVERFLOW = 0x00004000
    IGNORED = 0x00008000
    ONLYDIR = 0x01000000
    EXCL_UNLINK = 0x04000000
    ISDIR = 0x40000000


class Notice(NamedTuple):
    """An event as the kernel tells it."""

    wd: int
    mask: int
    cookie: int
    name: str


class Inotify:
    """A queue of events. Made in a thread, since the package starts a process for the first one.

    Arguments:
        who: The class of the driver that needs it.
        held: Owns its descriptor.

    Raises:
        MissingExtra: The package cannot be imported.
        OSError: There may be no more of them, or no more descriptors.
    """

    def __init__(self, who: str, held: Descriptors) -> None:
        self._package: ModuleType = INOTIFY.load(who)
        self._queue = self._package.INotify(nonblocking=True, closefd=False)
        self._descriptor = held.add(self._queue.fileno())
        self._held = held

    def add(self, path: str, mask: int) -> int:
        """Watch; the number of the watch, the same one for the same file. Any thread.

        Raises:
            OSError: It is not there, not ours, or there may be no more watches.
        """
        return int(self._queue.add_watch(path, mask))

    def remove(self, wd: int) -> None:
        """Watch no longer. Any thread."""
        with contextlib.suppress(OSError):  # what was watched is gone, and the watch with it
            self._queue.rm_watch(wd)

    async def wait(self) -> None:
        """Return when there is something to read. A checkpoint.

        Raises:
            trio.ClosedResourceError: It was closed meanwhile.
        """
        await trio.lowlevel.wait_readable(self._descriptor)

    def read_nowait(self) -> list[Notice]:
        """What has happened since, some of it; nothing if there is nothing left."""
        try:
            data = os.read(self._descriptor, CHUNK)
        except BlockingIOError:
            return []
        return [Notice(*event) for event in self._package.parse_events(data)]

    def wake(self) -> None:
        """Who waits gets `trio.ClosedResourceError`. On the loop, before the descriptor closes."""
        trio.lowlevel.notify_closing(self._descriptor)

    def close(self) -> None:
        """Close it now: neither a thread nor a task needs it."""
        self._held.close(self._descriptor)


def cannot_watch(name: str, error: OSError) -> ConnectFailed:
    """What to raise if there may be no more queues, watches, or descriptors; or for the rest."""
    if error.errno == errno.ENOSPC:
        return ConnectFailed(
            f"{name} cannot be watched: this user has no more watches, of the "
            f"{_limit('max_user_watches')} there may be; raise the limit: "
            "sudo sysctl fs.inotify.max_user_watches=1048576"
        )
    if error.errno == errno.EMFILE:
        return ConnectFailed(
            f"{name} cannot be watched: either this user has no more queues of inotify, of the "
            f"{_limit('max_user_instances')} there may be (raise the limit: "
            "sudo sysctl fs.inotify.max_user_instances=1024), or this process has no more "
            "descriptors (raise that limit: ulimit -n 65536)"
        )
    if error.errno == errno.ENFILE:
        return ConnectFailed(f"{name} cannot be watched: the whole machine has no more descriptors")
    return ConnectFailed(f"{name} cannot be watched: {error.strerror or error}")


def _limit(which: str) -> str:
    try:
        with open(f"/proc/sys/fs/inotify/{which}") as file:  # noqa: PTH123
            return file.read().strip()
    except OSError:
        return "few"
