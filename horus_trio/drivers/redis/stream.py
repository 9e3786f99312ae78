"""Redis streams: logs on a server that are written to, and read from any place on."""

from __future__ import annotations

import contextlib
import dataclasses

import trio

from ...arguments import is_whole
from ...errors import ConfigurationError
from ..driver import DriverState, DriverStatistics
from ..errors import ConnectFailed, SendFailed
from .connection import Lost, understood
from .device import MIB, RedisDriver, plugged
from .entries import StreamEntry, StreamState, position_of, words_of
from .group import ConsumerGroup
from .reading import FromPosition, InGroup
from .replies import Refused, Word
from .server import RedisServer

__all__ = ["RedisStream"]


class RedisStream(RedisDriver[StreamEntry]):
    """A stream on a Redis server. Needs the extra ``redis``, and Redis 5 or newer.

    ::

        async with RedisStream("redis://192.168.0.7", "telemetry", max_length=10_000) as telemetry:
            await telemetry.send(StreamEntry({"x": 1.5, "state": "moving"}))

    `receive` gives out each entry in order, from `start` on, and goes on where it was when it is
    opened again. A cancelled one loses nothing: the read stays under way, and its reply belongs to
    the next call. Entries that were trimmed away before they were read are counted in
    ``statistics().lost``, by Redis 7 or newer; of a stream that is kept shorter than a batch, when
    it is opened again. In a group only those can be counted that had been read.

    `send` returns when the server has the entry. One that is cancelled while it waits for that
    leaves the driver broken, since nobody knows whether the entry was stored; it raises
    `SendFailed` for what the server refuses, such as when its memory is full. Plain dicts are taken
    as well, such as those that a `DriverNode` gets from a topic.

    Arguments:
        server: A `RedisServer`, or a URL of one, such as ``redis://:password@192.168.0.7:6379/0``.
        stream: Key of the stream that is read.
        start: Where to begin when it is opened for the first time: ``"$"`` with what comes from
            then on, ``"0"`` with the oldest entry there is, an id with what follows that entry. A
            group that is created begins there; one that is there goes on where it was.
        group: To share the entries with other readers, and to have the server note what was read.
        send_to: Key of the stream that `send` adds to; None: the same one.
        max_length: Entries to keep, a few more at times: older ones are trimmed away by `send`.
            None: all are kept.
        batch: Entries that are read at once, and kept until they are received.
        max_message: Bytes that the fields of an entry may have. Longer ones are not sent, and
            rejected when they come.
    """

    def __init__(
        self,
        server: str | RedisServer,
        stream: str,
        *,
        start: str = "$",
        group: ConsumerGroup | None = None,
        send_to: str | None = None,
        max_length: int | None = None,
        batch: int = 64,
        max_message: int = MIB,
    ) -> None:
        self._stream = _key("stream", stream)
        super().__init__(server, max_message=max_message)
        self._send_to = self._stream if send_to is None else _key("send_to", send_to)
        if start != "$":
            try:
                position_of(start)
            except (TypeError, ValueError):
                raise ConfigurationError(
                    f'RedisStream(start={start!r:.80}): expected "$" for what is new, "0" for all, '
                    'or the id of an entry, such as "1718000000000-0"'
                ) from None
        if group is not None and not isinstance(group, ConsumerGroup):
            raise ConfigurationError(
                f"RedisStream(group={group!r:.80}): expected a ConsumerGroup(name=…, consumer=…)"
            )
        for option, number in (("max_length", max_length), ("batch", batch)):
            if number is None and option == "max_length":
                continue
            if not is_whole(number, 1):
                raise ConfigurationError(
                    f"RedisStream({option}={number!r:.80}): expected a whole number, 1 or more"
                )
        # Entries may be longer than allowed, and are rejected one by one.
        self._largest_reply += 4 * batch * max_message
        self._start = start
        self._group = group
        self._limit: tuple[Word, ...] = () if max_length is None else ("MAXLEN", "~", max_length)
        self._reading: FromPosition | InGroup = (
            FromPosition(stream, batch, max_message, start=start)
            if group is None
            else InGroup(stream, batch, max_message, group=group)
        )

    @property
    def name(self) -> str:
        group = "" if self._group is None else f", group {self._group.name!r:.80}"
        return f"{type(self).__qualname__} {self._stream!r:.80}{group} at {self._server}"

    def statistics(self) -> DriverStatistics:
        counted = super().statistics()
        return dataclasses.replace(
            counted,
            rejected=self._reading.rejected,
            discarded=counted.discarded + self._reading.discarded,
            lost=self._reading.lost,
        )

    async def acknowledge(self, *entries: StreamEntry | str) -> None:
        """Have entries that were received count as done, in a group that is `explicit`.

        A checkpoint. Cancelled, it may be done or not; do it again.

        Arguments:
            entries: Entries, or their ids.

        Raises:
            SendFailed: The server refuses it.
            DeviceGone: The device is lost. The entries will be given out again.
            TickAbandoned: The tick this belongs to was abandoned.
            trio.ClosedResourceError: It is not open, or was closed meanwhile.
            ConfigurationError: There is nothing to acknowledge here, or this is no such entry.
        """
        group = self._group
        if group is None or not group.explicit:
            raise ConfigurationError(
                f"acknowledge(): {self.name} has no group whose entries are acknowledged by the "
                "program: give it group=ConsumerGroup(name=…, consumer=…, explicit=True)"
            )
        ids = [entry.id if isinstance(entry, StreamEntry) else entry for entry in entries]
        for entry_id in ids:
            try:
                position_of(entry_id)
            except (TypeError, ValueError):
                raise ConfigurationError(
                    "acknowledge(): expected entries that were received, or their ids, got "
                    f"{entry_id!r:.80}"
                ) from None
        if self._state is not DriverState.OPEN:
            self._refuse("acknowledge")
        self._check_fence()
        connection = self._connection
        try:
            if ids:
                words = "XACK", self._stream, group.name, *ids
                await plugged(self._command).call(*words, check=self._check_fence)
            else:
                await trio.lowlevel.checkpoint()
        except Refused as error:
            raise SendFailed(f"acknowledge() of {self.name} failed: the server says {error}") from (
                error
            )
        except (Lost, OSError, trio.ClosedResourceError) as error:
            cause = self._gone(error) if isinstance(error, Lost) else error
            failure = self._failed(cause, SendFailed, "acknowledge", connection)
            if failure is error:
                raise
            raise failure from error

    async def _prepare(self) -> None:
        if self._send_to != self._stream:
            reply = await plugged(self._command).call("TYPE", self._send_to)
            with understood(reply):
                kind = reply.decode()
            if kind not in ("none", "stream"):
                raise ConnectFailed(
                    f"{self.name} cannot be opened: the key {self._send_to!r:.80} is in use for a "
                    f"{kind}, which is no stream: take another name"
                )
        state = await self._state_of_stream()
        if isinstance(self._reading, FromPosition):
            with understood(state):
                self._reading.begin(state)
        elif self._group is not None:
            await self._join(self._group, self._reading)

    async def _state_of_stream(self) -> StreamState:
        try:
            reply = await plugged(self._command).call("XINFO", "STREAM", self._stream)
        except Refused as error:
            if error.code == "ERR" and "no such key" in error.text:
                return StreamState()
            raise
        with understood(reply):
            return StreamState.of_reply(reply)

    async def _join(self, group: ConsumerGroup, reading: InGroup) -> None:
        command = plugged(self._command)
        if group.create:
            # If the server has lost the group, what has come meanwhile is not to be passed over.
            start = self._start if reading.last is None else reading.last
            try:
                await command.call("XGROUP", "CREATE", self._stream, group.name, start, "MKSTREAM")
            except Refused as error:
                if error.code != "BUSYGROUP":
                    raise
        await command.call(
            *("XREADGROUP", "GROUP", group.name, group.consumer),
            *("COUNT", 1, "STREAMS", self._stream, "0"),
        )
        reading.begin()

    def _disconnect(self) -> None:
        if isinstance(self._reading, InGroup):
            self._acknowledge_at_last(self._reading)
        self._reading.drop()
        super()._disconnect()

    def _acknowledge_at_last(self, reading: InGroup) -> None:
        """Tell the server what was given out. If that is lost, it is told when opened again."""
        ids, group, command = reading.to_acknowledge, self._group, self._command
        if ids and group is not None and command is not None and command.is_idle:
            command.put("XACK", self._stream, group.name, *ids)
            with contextlib.suppress(OSError, trio.ClosedResourceError):
                command.flush_nowait()

    async def _receive(self) -> StreamEntry:
        reading = self._reading
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            while True:
                with understood("an entry"):
                    entry = reading.pop()
                if entry is not None:
                    return entry
                reader = plugged(self._reader)
                if not reading.waits:
                    reading.ask(reader.put)
                reply = await reader.next()
                with understood(reply):
                    reading.take(reply)
        except Refused as error:
            raise self._refused(error) from error
        except Lost as error:
            raise self._gone(error) from error

    async def _send(self, message: StreamEntry) -> None:
        words = words_of(message)
        self._check_size(sum(map(len, words)))
        await self._store("XADD", self._send_to, *self._limit, "*", *words)


def _key(option: str, key: object) -> str:
    if not isinstance(key, str) or not key:
        raise ConfigurationError(
            f'RedisStream({option}={key!r:.80}): expected the key of a stream, such as "telemetry"'
        )
    return key
