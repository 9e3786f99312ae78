"""A WebSocket client as a driver: no task of its own, all I/O is in the calls that are awaited.

What has to be said besides messages is a few bytes: answers to pings, and questions whether the
server is there. `receive` and `send` say them between two messages, whichever comes to it first.
So no cancelled call has cut one in two, and nothing waits for a task that somebody has to run.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import os
import ssl as tls_library
from collections.abc import Callable, Iterable, Mapping, Sequence
from ssl import SSLContext
from types import ModuleType
from typing import NoReturn

import trio

from ...errors import ConfigurationError
from ..driver import Driver, DriverState, DriverStatistics
from ..errand import Errand
from ..errors import ConnectFailed, DeviceGone, FrameError, ReceiveFailed
from ..extra import Extra
from ..tcp import wire_of
from ..tls import Tls
from ..wire import Wire
from .closing import WebSocketClosed, in_words
from .happenings import Closed, Oversized, Ping, Refused, Skipped
from .limits import limits_of
from .line import Line, Traffic
from .messages import checked_messages, fault_of
from .request import request_of
from .upgrade import failure, upgrade

__all__ = ["WebSocketClient"]

WSPROTO = Extra("websocket", "wsproto", "wsproto")

IN_A_ROW = 64
"""Frames after which other tasks have their turn, if none of them had to be waited for."""

RETRY = 0.05
"""Seconds until it is tried again whether there is room for what is owed."""

LEAVE_WITHIN = 1.0
"""Seconds for which the server may still take what was sent before the end."""


class WebSocketClient(Driver[str | bytes]):
    """A WebSocket server, such as a sensor's, a simulator's or a dashboard's. Needs the extra
    ``websocket``.

    ::

        feed = WebSocketClient("ws://192.168.0.7:8080/feed", subscribe=['{"subscribe": "imu"}'])
        async with feed:
            print(await feed.receive())

    A message is text (`str`) or binary (`bytes`), and arrives whole, in however many frames it
    was sent. One that is too long raises `ReceiveFailed` and is passed over.

    The server's pings are answered, and its end is noticed, while somebody is in `receive` or
    `attend`, as a `DriverNode` always is; and by each `send`. A slow program slows the server down:
    no more than 64 KiB and one message are kept, and the rest waits in TCP. What comes during
    `attend` is thrown away, and counted as discarded.

    Arguments:
        url: ``ws://host:port/path?query``, or ``wss://…`` over TLS. Messages of errors leave the
            query out.
        subscribe: Messages that are sent after each connect, before anything else; or a plain
            function that returns them, called each time.
        keepalive: Seconds of silence after which the server is asked whether it is there; if it
            says nothing for as long again, it is gone. Counted while somebody is in `receive` or
            `attend`. None: it is never asked.
        headers: More headers of the request, such as ``{"Authorization": "Bearer …"}``.
        subprotocols: Names of what is spoken over it, the best first; see `subprotocol`.
        max_message: Bytes that a message may have, both ways; text counts as UTF-8.
        connect_within: Seconds in which the connection must come about, subscriptions included.
        ssl: What is trusted, for ``wss://``; None: the authorities that the operating system
            trusts.

    Raises:
        ConfigurationError: An argument makes no sense.
        MissingExtra: wsproto is not installed.
    """

    def __init__(
        self,
        url: str,
        *,
        subscribe: Sequence[str | bytes] | Callable[[], Iterable[str | bytes]] = (),
        keepalive: float | None = 10.0,
        headers: Mapping[str, str] | None = None,
        subprotocols: Iterable[str] = (),
        max_message: int = 2**20,
        connect_within: float = 10.0,
        ssl: SSLContext | None = None,
    ) -> None:
        super().__init__()
        what = type(self).__qualname__
        self._request = request_of(what, url, headers, subprotocols)
        self._limits = limits_of(
            what, max_message=max_message, connect_within=connect_within, keepalive=keepalive
        )
        if ssl is not None and not isinstance(ssl, SSLContext):
            raise ConfigurationError(
                f"{what}(ssl={ssl!r:.80}): expected an ssl.SSLContext, such as "
                "ssl.create_default_context(cafile=…), or None"
            )
        if ssl is not None and not self._request.secure:
            raise ConfigurationError(
                f"{what}(ssl=…): {self._request.place} is not over TLS; write wss:// for ws://"
            )
        self._ssl = ssl
        if not callable(subscribe):
            subscribe = checked_messages(f"{what}(subscribe=…)", subscribe, max_message)
        self._subscribe = subscribe
        WSPROTO.check(what)
        self._loaded: ModuleType | None = None
        self._traffic = Traffic()
        self._rejected = self._discarded = 0
        self._line: Line | None = None
        self._leaving: Wire | None = None
        self._leaves_politely = False
        self._kept: str | bytes | ReceiveFailed | None = None
        self._steps = 0
        self._heard = 0.0
        self._asked = False
        self._opened_before = 0
        self._let_others_run = False

    @property
    def name(self) -> str:
        return f"{type(self).__qualname__} {self._request.place}"

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that the server has chosen; None if it has not, or there is no line."""
        return None if self._line is None else self._line.talk.subprotocol

    def statistics(self) -> DriverStatistics:
        return dataclasses.replace(
            super().statistics(),
            bytes_received=self._traffic.received,
            bytes_sent=self._traffic.sent,
            discarded=self._discarded,
            rejected=self._rejected,
        )

    # Connecting

    async def _connect(self) -> None:
        protocol = await self._load()
        self._kept = None
        self._steps = 0
        self._asked = self._let_others_run = self._mid_message = False
        self._opened_before = self._connects
        try:
            with trio.move_on_after(self._limits.connect_within):
                await self._call(protocol)
                return
        except (Refused, OSError) as error:
            raise failure(self.name, self._request.host, error) from error
        if self._line is None:
            text = "see whether it is switched on, in this network, and behind no firewall"
        else:
            text = "something takes the connection there; see whether it is a WebSocket server"
        raise ConnectFailed(
            f"{self.name} cannot be opened: it has not answered within "
            f"{self._limits.connect_within:g} s; {text}"
        )

    async def _load(self) -> ModuleType:
        """What needs wsproto; imported in a thread, since that takes its time."""
        if self._loaded is None:
            self._loaded = await Errand(self._import, name="imports wsproto").result()
        return self._loaded

    def _import(self) -> ModuleType:
        WSPROTO.load(type(self).__qualname__)
        if self._request.secure and self._ssl is None:
            self._ssl = tls_library.create_default_context()
        return importlib.import_module(f"{__package__}.protocol")

    async def _call(self, protocol: ModuleType) -> None:
        """Connect, agree on the protocol, and subscribe."""
        asked = self._request
        tls = None if self._ssl is None else Tls(self._ssl, asked.host)
        talk = protocol.Conversation(asked, self._limits.max_message)
        stream = await trio.open_tcp_stream(asked.host, asked.port)
        wire = wire_of(stream.socket, self._limits.tcp_keepalive, shut=self._shut)
        line = self._line = Line(wire, tls, talk, self._traffic)
        await upgrade(line, self._subscriptions)
        self._heard = trio.current_time()

    def _subscriptions(self) -> tuple[str | bytes, ...]:
        self._check_fence()
        if not callable(self._subscribe):
            return tuple(self._subscribe)
        what = f"what subscribe= of {self.name} returns"
        return checked_messages(what, self._subscribe(), self._limits.max_message)

    # Receiving

    async def _receive(self) -> str | bytes:
        line = self._connected()
        await trio.lowlevel.checkpoint_if_cancelled()
        while True:
            message = self._next(line)
            if isinstance(message, ReceiveFailed):
                raise message
            if message is not None:
                return message
            if self._steps >= IN_A_ROW:
                self._steps = 0
                await trio.lowlevel.checkpoint()
                if self._line is not line:
                    raise trio.ClosedResourceError(f"{self.name} was closed meanwhile")
            else:
                if not self._mid_message:
                    line.say()
                self._came(line, await self._more(line))

    async def _attend(self) -> NoReturn:
        if self._receiving:
            raise trio.BusyResourceError(f"another task is receiving from {self.name}")
        self._receiving = True
        try:
            while True:
                try:
                    message = await self._receive()
                except ReceiveFailed:  # it is counted
                    await trio.lowlevel.checkpoint()
                else:
                    self._discarded += len(
                        message.encode() if isinstance(message, str) else message
                    )
        finally:
            self._receiving = False

    def _next(self, line: Line) -> str | bytes | ReceiveFailed | None:
        """The next message of what has come, or what to raise for it; None: go on."""
        if self._kept is not None:
            kept, self._kept = self._kept, None
            return kept
        while self._steps < IN_A_ROW:
            self._steps += 1
            happening = line.talk.next()
            if happening is None:
                break
            if isinstance(happening, (str, bytes)):
                return happening
            if isinstance(happening, Ping):
                line.pong = happening.payload
            elif isinstance(happening, Closed):
                self._end(line, happening)
            elif isinstance(happening, Oversized):
                self._rejected += 1
                self._discarded += happening.size
                return ReceiveFailed(
                    f"{self.name} has sent a message of more than {self._limits.max_message} "
                    "bytes, which is passed over; raise max_message, or have it send less"
                )
            elif isinstance(happening, Skipped):
                self._discarded += happening.size
        return None

    async def _more(self, line: Line) -> bytes:
        """What comes next over the wire. Asks whether the server is there if nothing comes."""
        if line.has_ended:
            raise DeviceGone(f"{self.name} has hung up")
        if self._let_others_run:
            # An answer may have come since the send, and need not be waited for.
            self._let_others_run = False
            if data := line.wire.read_nowait():
                return data
        while True:
            with trio.CancelScope(deadline=self._deadline(line)):
                if data := await line.wire.read():
                    return data
                raise DeviceGone(f"{self.name} has hung up without a word")
            # It may have come while nobody listened.
            if data := line.wire.read_nowait():
                return data
            if trio.current_time() >= self._heard + self._limits.keepalive:
                if self._asked:
                    raise DeviceGone(
                        f"{self.name} says nothing, and was asked {self._limits.keepalive:g} s ago "
                        "whether it is there"
                    )
                self._asked = True
                self._heard = trio.current_time()
                line.owe(line.talk.ping())
            if not self._mid_message:
                line.say()

    def _deadline(self, line: Line) -> float:
        """Until when to wait for what comes."""
        silent = self._heard + self._limits.keepalive
        if line.is_owing and not self._mid_message:
            # Trio waits for one thing at a time, and this one is seldom: the line is full.
            return min(silent, trio.current_time() + RETRY)
        return silent

    def _came(self, line: Line, data: bytes) -> None:
        self._steps = 0
        self._heard = trio.current_time()
        self._asked = False
        try:
            line.came(data)
        except tls_library.SSLError as error:
            raise DeviceGone(f"{self.name} sends what cannot be decrypted: {error}") from error

    def _end(self, line: Line, closed: Closed) -> NoReturn:
        """The conversation is over."""
        line.owe_the_end(closed.code)
        if not self._mid_message:
            with contextlib.suppress(OSError):  # it does not listen any more
                line.say()
        if closed.by_us:
            raise DeviceGone(
                f"{self.name} breaks the rules of WebSockets ({closed.reason}); it was closed "
                f"with {in_words(closed.code, '')}"
            )
        raise WebSocketClosed(
            f"{self.name} has closed with {in_words(closed.code, closed.reason)}",
            code=closed.code,
            reason=closed.reason,
        )

    # Sending

    async def _send(self, message: str | bytes) -> None:
        line = self._connected()
        if fault := fault_of(message, self._limits.max_message):
            raise FrameError(fault)
        data = line.talk.message(message if isinstance(message, str) else bytes(message))
        await trio.lowlevel.checkpoint_if_cancelled()
        self._look(line)
        if line.tls is not None:
            # What is encrypted cannot be taken back, so there has to be room first.
            await line.wire.wait_writable()
            self._check_fence()
        while not line.say():
            await self._room(line)
        if line.tls is not None:
            data = line.sealed(data)
            self._mid_message = True
        rest = memoryview(data)
        while rest := rest[line.write(rest) :]:
            self._mid_message = self._mid_message or len(rest) < len(data)
            await self._room(line)
            while not self._mid_message and not line.say():
                await self._room(line)
        self._mid_message = False
        line.say()
        await trio.lowlevel.cancel_shielded_checkpoint()
        self._let_others_run = True

    async def _room(self, line: Line) -> None:
        """Wait for room on a line that was full."""
        await line.wire.wait_writable()
        self._heard = trio.current_time()  # something was taken
        if not self._mid_message:
            self._check_fence()

    def _look(self, line: Line) -> None:
        """Answer pings, and notice the end, if nobody receives: a message is kept for who will."""
        if self._receiving or self._kept is not None:
            return
        self._steps = 0
        self._kept = self._next(line)
        if self._kept is not None or self._steps >= IN_A_ROW:
            return
        if data := line.wire.read_nowait():
            self._came(line, data)
            self._kept = self._next(line)

    # Disconnecting

    def _disconnect(self) -> None:
        line, self._line = self._line, None
        self._kept = None
        if line is None:
            return
        self._leaves_politely = (
            self._state is DriverState.CLOSED
            and self._connects > self._opened_before  # else aclose() may not wait for the end
            and not self._mid_message
            and line.say_good_bye()
        )
        line.wire.close()

    def _shut(self, descriptor: int) -> None:
        if self._leaves_politely:
            self._leaves_politely = False
            self._leaving = Wire(descriptor)
        else:
            os.close(descriptor)

    async def _wait_disconnected(self) -> None:
        """Have the server take what was sent: closed with data unread, TCP throws that away."""
        leaving, self._leaving = self._leaving, None
        if leaving is None:
            await trio.lowlevel.checkpoint()
            return
        try:
            with trio.move_on_after(LEAVE_WITHIN):
                while await leaving.read():
                    pass
        except OSError:
            pass  # it has hung up
        finally:
            leaving.close()

    def _connected(self) -> Line:
        if self._line is None:
            raise trio.ClosedResourceError(f"{self.name} is not connected")
        return self._line
