"""UDP: a datagram is a message, and those that are lost are counted if they are numbered."""

from __future__ import annotations

import dataclasses
import errno
import socket
import struct
from collections.abc import Callable

import trio

from ..arguments import is_whole
from ..errors import ConfigurationError
from .addresses import Address, address_of, checked, connect_failed, host_and_port, resolve
from .driver import Driver, DriverStatistics
from .errors import FrameError, ReceiveFailed, SendFailed
from .sequence import LossCounter

__all__ = ["Udp"]

MAX_DATAGRAM = 65507
"""Bytes that a datagram may have over IPv4."""

UNREACHABLE = {
    errno.ECONNREFUSED: "reaches nobody: nothing listens there, so what was sent before is lost",
    errno.EHOSTUNREACH: "reaches nobody: the machine does not answer, or no route leads there",
    errno.ENETUNREACH: "reaches nobody: no route leads there",
    errno.ENETDOWN: "reaches nobody: the network is down",
}
"""What may pass, and leaves the socket as good as it was."""


class Udp(Driver[bytes]):
    """Datagrams to and from one other end, or from anybody.

    ::

        async with Udp(("127.0.0.1", 9000), sequence=lambda data: data[0], modulus=256) as hub:
            reading = await hub.receive()

    UDP promises nothing: datagrams may be lost, doubled, and come in another order. They are given
    out as they come. With `sequence`, ``statistics().lost`` says how many are missing, and
    `losses` the rest.

    With `remote`, only its datagrams come in, and if nobody listens there, its machine may say so:
    `receive` and `send` then raise `ReceiveFailed` and `SendFailed`, and the driver stays open.

    Arguments:
        local: Host and port to receive at; port 0 takes one that is free. None: whatever the
            operating system takes to reach `remote`.
        remote: Host and port to send to; None: nothing can be sent.
        max_datagram: Bytes that a datagram may have. Longer ones are not sent, and rejected when
            they come.
        sequence: Called with a datagram, returns its number, or None if it has none. If it raises
            `ValueError`, `LookupError` or `struct.error` the datagram is rejected.
        modulus: After how many the numbers begin again at 0.
    """

    def __init__(
        self,
        local: Address | None = None,
        remote: Address | None = None,
        *,
        max_datagram: int = MAX_DATAGRAM,
        sequence: Callable[[bytes], int | None] | None = None,
        modulus: int = 2**16,
    ) -> None:
        super().__init__()
        if local is None and remote is None:
            raise ConfigurationError(
                'Udp(): expected local=("127.0.0.1", port) to receive at, remote=(host, port) to '
                "send to, or both"
            )
        self._local = None if local is None else _pair("Udp(local=…)", local, lowest_port=0)
        self._remote = None if remote is None else _pair("Udp(remote=…)", remote)
        if not is_whole(max_datagram, 1, MAX_DATAGRAM):
            raise ConfigurationError(
                f"Udp(max_datagram={max_datagram!r}): expected bytes, from 1 to {MAX_DATAGRAM}"
            )
        if sequence is not None and not callable(sequence):
            raise ConfigurationError(
                f"Udp(sequence={sequence!r:.80}): expected a function that gives the number of a "
                "datagram, such as lambda data: data[0]"
            )
        self._max_datagram = max_datagram
        self._sequence = sequence
        self._losses = LossCounter(modulus)
        self._socket: socket.socket | None = None
        self._bytes_received = self._bytes_sent = self._rejected = self._discarded = 0

    @property
    def name(self) -> str:
        there = [
            f"{way} {host_and_port(address)}"
            for way, address in (("at", self._local), ("to", self._remote))
            if address is not None
        ]
        return f"{type(self).__qualname__} {' '.join(there)}"

    @property
    def address(self) -> Address:
        """Host and port that it receives at, while it is open.

        Raises:
            trio.ClosedResourceError: It is not.
        """
        return address_of(self._plugged().getsockname())

    @property
    def losses(self) -> LossCounter:
        """What the numbers of the datagrams tell, over all connections."""
        return self._losses

    def statistics(self) -> DriverStatistics:
        return dataclasses.replace(
            super().statistics(),
            bytes_received=self._bytes_received,
            bytes_sent=self._bytes_sent,
            discarded=self._discarded,
            rejected=self._rejected,
            lost=self._losses.lost,
        )

    async def _connect(self) -> None:
        self._losses.begin()
        family: int = socket.AF_UNSPEC
        local = remote = None
        where = ""
        try:
            if self._remote is not None:
                where = self._remote[0]
                family, remote = await resolve(*self._remote, socket.SOCK_DGRAM)
            if self._local is not None:
                where = self._local[0]
                family, local = await resolve(*self._local, socket.SOCK_DGRAM, family=family)
            self._socket = socket.socket(family, socket.SOCK_DGRAM)
            self._socket.setblocking(False)
            if local is not None:
                self._socket.bind(local)
            if remote is not None:
                self._socket.connect(remote)
        except OSError as error:
            raise connect_failed(self.name, repr(where), error) from error

    async def _receive(self) -> bytes:
        while True:
            plugged = self._plugged()
            await trio.lowlevel.wait_readable(plugged)
            try:
                data = plugged.recv(self._max_datagram + 1)
            except BlockingIOError:
                continue  # its checksum was wrong, or somebody else has read it
            except OSError as error:
                if error.errno in UNREACHABLE:
                    raise ReceiveFailed(f"{self.name} {UNREACHABLE[error.errno]}") from error
                raise
            self._bytes_received += len(data)
            if len(data) <= self._max_datagram and self._count(data):
                return data
            self._rejected += 1
            self._discarded += len(data)

    async def _send(self, message: bytes) -> None:
        if not isinstance(message, (bytes, bytearray, memoryview)):
            raise FrameError(
                f"expected a message of bytes, got {type(message).__name__}: {message!r:.80}; "
                "encode text first, as in text.encode()"
            )
        if len(message) > self._max_datagram:
            raise FrameError(
                f"a message of {len(message)} bytes is longer than max_datagram="
                f"{self._max_datagram}; send less, or several"
            )
        if self._remote is None:
            raise SendFailed(f"{self.name} has nobody to send to; give it remote=(host, port)")
        await trio.lowlevel.checkpoint_if_cancelled()
        while True:
            try:
                sent = self._plugged().send(message)
            except BlockingIOError:
                await trio.lowlevel.wait_writable(self._plugged())
                self._check_fence()
                continue
            except OSError as error:
                if error.errno == errno.EMSGSIZE:
                    raise FrameError(
                        f"a message of {len(message)} bytes is too long for the network: send "
                        "less, or several"
                    ) from error
                if error.errno in UNREACHABLE:
                    raise SendFailed(f"{self.name} {UNREACHABLE[error.errno]}") from error
                raise
            break
        self._bytes_sent += sent
        await trio.lowlevel.cancel_shielded_checkpoint()

    def _disconnect(self) -> None:
        if self._socket is not None:
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()
            self._socket = None

    def _plugged(self) -> socket.socket:
        if self._socket is None:
            raise trio.ClosedResourceError(f"{self.name} is not connected")
        return self._socket

    def _count(self, data: bytes) -> bool:
        """Look at the number of a datagram; whether it is valid."""
        if self._sequence is None:
            return True
        try:
            number = self._sequence(data)
        except (ValueError, LookupError, struct.error):
            return False
        if number is not None:
            self._losses.count(number)
        return True


def _pair(what: str, address: object, *, lowest_port: int = 1) -> Address:
    if not isinstance(address, (tuple, list)) or len(address) != 2:
        raise ConfigurationError(
            f'{what}: expected host and port, such as ("127.0.0.1", 9000), got {address!r:.80}'
        )
    return checked(what, *address, lowest_port=lowest_port)
