"""What streams and channels have in common: two connections, and what a server's refusals mean.

There is one for commands, each of which is answered at once, and one to be waited at: a blocking
read holds up whatever comes after it on its connection.
"""

from __future__ import annotations

import abc
import dataclasses
import functools
from types import ModuleType
from typing import TypeVar

import trio

from ...arguments import is_whole
from ...errors import ConfigurationError
from ..addresses import connect_failed
from ..driver import Driver, DriverStatistics
from ..errand import Errand
from ..errors import ConnectFailed, DeviceGone, FrameError, SendFailed
from .connection import Connection, Lost
from .replies import EXTRA, MOST, Refused, Word
from .server import RedisServer

__all__ = ["MIB", "RedisDriver", "plugged"]

T = TypeVar("T")

MIB = 1024 * 1024

OPENING = {
    "NOAUTH": "give its password: RedisServer(password=…), or redis://:password@host",
    "WRONGPASS": "check user and password",
    "DENIED": "give the server a password, or connect from its own machine",
    "LOADING": "it still reads its data from the disk: open again in a while",
    "MASTERDOWN": "it is a replica that has lost its primary: connect to the primary",
    "MOVED": "it is a node of a cluster: connect to the node that has this key",
    "NOPERM": "allow it to this user: ACL SETUSER on the server",
    "READONLY": "it is a replica: connect to its primary",
    "WRONGTYPE": "the key is in use for something else: take another name",
    "NOGROUP": "make it: ConsumerGroup(create=True), or XGROUP CREATE on the server",
}
"""What to do when that is refused, by the first word of the reply."""

SENDING = OPENING | {
    "OOM": "its memory (maxmemory) is full: limit streams with max_length=…, give it more, or have "
    "it evict",
    "MISCONF": "it cannot write to its disk: see its log",
    "NOREPLICAS": "it has too few replicas: see its min-replicas-to-write",
    "LOADING": "it still reads its data from the disk: send again in a while",
}


class RedisDriver(Driver[T]):
    """Base of the drivers in this folder.

    For their authors: `_prepare` what is to be waited for, with `_command` and `_reader`.

    Arguments:
        server: A `RedisServer`, or its URL.
        max_message: Bytes of a message.
    """

    def __init__(self, server: str | RedisServer, *, max_message: int) -> None:
        super().__init__()
        own = type(self).__qualname__
        if isinstance(server, RedisServer):
            self._server = server
        else:
            try:
                self._server = RedisServer.from_url(server)
            except ConfigurationError as error:
                raise ConfigurationError(f"{own}(server=…): {error}") from None
        if not is_whole(max_message, 1, 512 * MIB):
            raise ConfigurationError(
                f"{own}(max_message={max_message!r}): expected bytes, from 1 to 512 MiB, which is "
                "what Redis takes"
            )
        EXTRA.check(own)
        self._max_message = max_message
        self._largest_reply = MOST + max_message
        self._loaded: ModuleType | None = None
        self._command: Connection | None = None
        self._reader: Connection | None = None
        self._bytes_received = self._bytes_sent = 0  # of connections that are closed
        self._rejected = self._discarded = 0

    def statistics(self) -> DriverStatistics:
        open_ones = [one for one in (self._command, self._reader) if one is not None]
        return dataclasses.replace(
            super().statistics(),
            bytes_received=self._bytes_received + sum(one.bytes_received for one in open_ones),
            bytes_sent=self._bytes_sent + sum(one.bytes_sent for one in open_ones),
            discarded=self._discarded + (0 if self._reader is None else self._reader.discarded),
            rejected=self._rejected,
        )

    @abc.abstractmethod
    async def _prepare(self) -> None:
        """Have the server do what is to be done once for a connection."""

    async def _connect(self) -> None:
        library = await self._library()
        within = self._server.connect_within
        try:
            with trio.move_on_after(within):
                self._command = await self._dial(library)
                self._reader = await self._dial(library)
                await self._prepare()
                return
        except OSError as error:
            raise connect_failed(self.name, repr(self._server.host), error) from error
        except Refused as error:
            raise ConnectFailed(f"{self.name} cannot be opened: {said(error, OPENING)}") from error
        except Lost as error:
            raise ConnectFailed(
                f"{self.name} cannot be opened: {error}; see whether it is a Redis server that "
                "listens there, whether it wants TLS (rediss://), and its log"
            ) from error
        encrypted = "for TLS" if self._server.tls else "without TLS"
        raise ConnectFailed(
            f"{self.name} cannot be opened: it has not answered within {within:g} s; see whether "
            f"it is a Redis server that listens there, {encrypted}, and whether it is busy or "
            "stopped"
        )

    async def _dial(self, library: ModuleType) -> Connection:
        return await Connection.connect(
            self._server, library, longest=self._max_message, most=self._largest_reply
        )

    async def _library(self) -> ModuleType:
        """The module of the parser. Its package takes a second to be imported, once."""
        if self._loaded is None:
            load = functools.partial(EXTRA.load, type(self).__qualname__)
            self._loaded = await Errand(load, name="imports coredis").result()
        return self._loaded

    def _disconnect(self) -> None:
        for one in (self._command, self._reader):
            if one is not None:
                one.close()
                self._bytes_received += one.bytes_received
                self._bytes_sent += one.bytes_sent
        if self._reader is not None:
            self._discarded += self._reader.discarded
        self._command = self._reader = None

    async def _store(self, *words: Word) -> None:
        """Have a message stored or passed on by the server, for `_send`. A checkpoint."""
        try:
            await plugged(self._command).call(
                *words, check=self._check_fence, doubt=self._note_doubt
            )
        except Refused as error:
            raise SendFailed(f"send() of {self.name} failed: {said(error, SENDING)}") from error
        except Lost as error:
            raise self._gone(error) from error

    def _note_doubt(self, is_in_doubt: bool) -> None:
        # A command that the server may have got, and has not answered, is half a message.
        self._mid_message = is_in_doubt

    def _gone(self, error: Exception, hint: str = "") -> DeviceGone:
        return DeviceGone(f"{self.name} is gone: {error}{hint}")

    def _refused(self, error: Refused) -> DeviceGone:
        """What a refusal means to somebody who reads: it will be no better next time."""
        return DeviceGone(f"{self.name} can be read no more: {said(error, OPENING)}")

    def _check_size(self, size: int) -> None:
        if size > self._max_message:
            raise FrameError(
                f"a message of {size} bytes is longer than max_message={self._max_message}; send "
                "less, or several, or allow more"
            )

    def _reject(self, size: int) -> None:
        self._rejected += 1
        self._discarded += size


def said(error: Refused, remedies: dict[str, str]) -> str:
    """What the server said, and what to do."""
    remedy = remedies.get(error.code)
    return f"the server says {str(error)!r}" + (f"; {remedy}" if remedy else "")


def plugged(connection: Connection | None) -> Connection:
    """The connection, if there is one.

    Raises:
        trio.ClosedResourceError: There is none.
    """
    if connection is None:
        raise trio.ClosedResourceError("not connected")
    return connection
