"""TCP: to a device that listens, and for a device that connects to us."""

from __future__ import annotations

import math
import os
import socket
from collections.abc import Callable

import trio

from ..arguments import is_number, is_positive
from ..errors import ConfigurationError
from .addresses import (
    Address,
    address_of,
    checked,
    connect_failed,
    host_and_port,
    resolve,
)
from .errors import ConnectFailed, DeviceGone
from .framing import Framing
from .stream import StreamDriver
from .wire import Wire

__all__ = ["TcpClient", "TcpServer", "checked_keepalive", "wire_of"]

PROBES = 3
"""How often the other end is asked whether it is there, before it counts as gone."""


class TcpClient(StreamDriver):
    """A device that listens at a TCP port.

    ::

        async with TcpClient("192.168.0.7", 5025, framing=Lines()) as supply:
            await supply.send(b"OUTP ON")

    If the host has several addresses they are tried in turn, each 0.25 s after the one before.
    Small messages are sent at once (TCP_NODELAY).

    Arguments:
        host: Name or address.
        port: Its port.
        framing: How messages lie in the stream.
        connect_within: Seconds in which the connection must come about.
        keepalive: Seconds of silence after which the machine at the other end is asked whether it
            is there; if it says nothing for as long again, it is gone. At least 1; None: it is
            never asked, and one that was switched off is not noticed while nothing is sent.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        framing: Framing,
        connect_within: float = 10.0,
        keepalive: float | None = 10.0,
    ) -> None:
        super().__init__(framing)
        self._address = checked(type(self).__qualname__, host, port)
        if not is_positive(connect_within):
            raise ConfigurationError(
                f"TcpClient(connect_within={connect_within!r}): expected a finite number of "
                "seconds above 0"
            )
        self._connect_within = float(connect_within)
        self._keepalive = checked_keepalive("TcpClient", keepalive)

    @property
    def name(self) -> str:
        return f"{type(self).__qualname__} {host_and_port(self._address)}"

    async def _open_wire(self) -> Wire:
        host, port = self._address
        try:
            with trio.move_on_after(self._connect_within):
                stream = await trio.open_tcp_stream(host, port)
                return wire_of(stream.socket, self._keepalive)
        except OSError as error:
            raise connect_failed(self.name, repr(host), error) from error
        raise ConnectFailed(
            f"{self.name} cannot be opened: it has not answered within {self._connect_within:g} s; "
            "see whether it is switched on, in this network, and behind no firewall"
        )


class TcpServer(StreamDriver):
    """A device that connects to us: one, once, for as long as this is open.

    ::

        async with TcpServer("192.168.0.1", 9000, framing=Lines()) as arm:
            await arm.send(b"HOME")  # as soon as the arm has connected

    `open` listens, and does not wait. `receive` and `send` wait until the device has connected; a
    message that is worth nothing later is sent in a ``with trio.move_on_after(…)``. Further
    devices are refused then. When the device leaves, `receive` raises `DeviceGone`, as at the end
    of any line, and opening again waits for it anew: a `DriverNode` does that by itself.

    Arguments:
        host: Name or address of this machine to listen at, and no other. By default only programs
            on this machine can connect; ``"0.0.0.0"`` is every address it has.
        port: To listen at; 0 takes one that is free, see `address`.
        framing: How messages lie in the stream.
        keepalive: As in `TcpClient`.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        framing: Framing,
        keepalive: float | None = 10.0,
    ) -> None:
        super().__init__(framing)
        self._given = checked(type(self).__qualname__, host, port, lowest_port=0)
        self._keepalive = checked_keepalive("TcpServer", keepalive)
        self._listener: socket.socket | None = None
        self._address: Address | None = None
        self._client: Address | None = None
        self._accepting = trio.Lock()

    @property
    def name(self) -> str:
        return f"{type(self).__qualname__} {host_and_port(self._address or self._given)}"

    @property
    def address(self) -> Address:
        """Host and port it listens at, or has listened at for the device that is there.

        Raises:
            trio.ClosedResourceError: It is not open.
        """
        if self._address is None:
            raise trio.ClosedResourceError(f"{self.name} is not open")
        return self._address

    @property
    def client(self) -> Address | None:
        """Host and port of the device, or None while there is none."""
        return self._client

    async def _connect(self) -> None:
        self._begin_anew()
        host, port = self._given
        try:
            family, name = await resolve(host, port, socket.SOCK_STREAM)
            self._listener = socket.socket(family, socket.SOCK_STREAM)
            self._listener.setblocking(False)
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._listener.bind(name)
            self._listener.listen(1)
            self._address = address_of(self._listener.getsockname())
        except OSError as error:
            raise connect_failed(self.name, repr(host), error) from error

    async def _open_wire(self) -> Wire:
        while True:
            listener = self._listener
            if listener is None:
                raise trio.ClosedResourceError(f"{self.name} is closed")
            await trio.lowlevel.wait_readable(listener)
            try:
                client, name = listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                continue  # it has left again
            except OSError as error:
                raise DeviceGone(f"{self.name} can take no connection: {error}") from error
            self._close_listener()
            self._client = address_of(name)
            return wire_of(client, self._keepalive)

    async def _receive(self) -> bytes:
        if self._wire is None:
            await self._await_client()
        return await super()._receive()

    async def _send(self, message: bytes) -> None:
        if self._wire is None:
            self._framing.encode(message)  # what cannot be sent is refused at once
            await self._await_client()
            self._check_fence()
        await super()._send(message)

    async def _await_client(self) -> None:
        async with self._accepting:
            if self._wire is None:
                self._wire = await self._open_wire()

    def _close_wire(self) -> None:
        self._close_listener()
        self._address = self._client = None

    def _close_listener(self) -> None:
        """Refuse further ones."""
        if self._listener is not None:
            trio.lowlevel.notify_closing(self._listener)
            self._listener.close()
            self._listener = None


def wire_of(
    connected: socket.socket | trio.socket.SocketType,
    keepalive: float | None,
    *,
    shut: Callable[[int], object] = os.close,
) -> Wire:
    """A wire that has taken over the socket's descriptor, which `shut` closes."""
    try:
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for level, option, value in _keepalive_options(keepalive):
            connected.setsockopt(level, option, value)
    except BaseException:
        connected.close()
        raise
    return Wire(connected.detach(), shut=shut)


def _keepalive_options(keepalive: float | None) -> list[tuple[int, int, int]]:
    if keepalive is None:
        return []
    wanted = {
        "TCP_KEEPIDLE": math.ceil(keepalive),
        "TCP_KEEPINTVL": max(1, round(keepalive / PROBES)),
        "TCP_KEEPCNT": PROBES,
        # What was sent and is not acknowledged keeps the system from asking.
        "TCP_USER_TIMEOUT": math.ceil(2 * keepalive * 1000),
    }
    return [
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        *(
            (socket.IPPROTO_TCP, getattr(socket, name), value)
            for name, value in wanted.items()
            if hasattr(socket, name)
        ),
    ]


def checked_keepalive(what: str, keepalive: float | None) -> float | None:
    """Seconds of silence, if they are such.

    Raises:
        ConfigurationError: They are not.
    """
    if keepalive is None:
        return None
    if not is_number(keepalive) or not 1 <= keepalive <= 32767:
        raise ConfigurationError(
            f"{what}(keepalive={keepalive!r}): expected seconds from 1 to 32767, or None"
        )
    return float(keepalive)
