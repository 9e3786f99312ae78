"""The sockets under httpcore2, in our own hands.

`Driver._disconnect` may not wait, and httpx2 closes its connections by awaiting. So this is the
seam that httpcore2 has to the operating system (it calls it a network backend), for Trio alone: it
knows each socket, closes them at once, whoever waits for one, and counts bytes. Its errors are
those of `trouble`, so that nothing is translated twice. Nothing here has a limit of time: the
driver puts one around the whole.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import trio

from ..addresses import connect_failed
from .trouble import CannotConnect, NoAnswer

__all__ = ["Line", "Network"]


class Line:
    """A connection: what httpcore2 calls a network stream."""

    def __init__(self, network: Network, stream: trio.SocketStream) -> None:
        self._network = network
        self._socket = stream.socket
        self._stream: trio.SocketStream | trio.SSLStream[trio.SocketStream] = stream
        self._closed = False

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        """Bytes that have come; none: there are no more. A checkpoint."""
        try:
            data = await self._stream.receive_some(max_bytes)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            self._network.hung_up = True
            raise NoAnswer(f"has broken the connection off ({_said(error)})", error) from error
        self._network.hung_up = not data
        self._network.bytes_received += len(data)
        return bytes(data)

    async def write(self, data: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Send all of it. A checkpoint."""
        try:
            await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            self._network.hung_up = True
            raise NoAnswer(f"has broken the connection off ({_said(error)})", error) from error
        self._network.bytes_sent += len(data)

    async def aclose(self) -> None:
        """Close it. A checkpoint."""
        self.close()
        await trio.lowlevel.checkpoint()

    def close(self) -> None:
        """Close it at once, without TLS's goodbye, and wake who waits for it."""
        self._closed = True
        self._network.lines.discard(self)
        self._socket.close()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> Line:
        """Encrypt it, by the network's own context. A checkpoint; cancelled, it is closed."""
        try:
            context = await self._network.trusting()
            stream = trio.SSLStream(
                self._network.plain(self._stream),
                context,
                server_hostname=server_hostname,
                https_compatible=True,
            )
            await stream.do_handshake()
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            self.close()
            raise _not_trusted(error, server_hostname) from error
        except BaseException:
            self.close()
            raise
        self._stream = stream
        return self

    def get_extra_info(self, info: str) -> Any:
        """What httpcore2 asks: whether something has come, or its end, while nothing was asked."""
        if info == "is_readable":
            return self._closed or self._socket.is_readable()
        return None


class Network:
    """Connects, and knows what is connected.

    Arguments:
        verify: See `HttpOptions`.

    Attributes:
        lines: The connections that are there.
        connects: How many there have been.
        hung_up: Whether the other end has, in the latest read or write.
        bytes_received: Bytes that have come, inside TLS.
        bytes_sent: Bytes that went out.
    """

    def __init__(self, verify: bool | str | os.PathLike[str] | ssl.SSLContext) -> None:
        self._verify = True if isinstance(verify, ssl.SSLContext) else verify
        self._context = verify if isinstance(verify, ssl.SSLContext) else None
        self.lines: set[Line] = set()
        self.connects: int = 0
        self.hung_up = False
        self.bytes_received = self.bytes_sent = 0

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> Line:
        """A new connection. A checkpoint."""
        try:
            stream = await trio.open_tcp_stream(host, port)
        except OSError as error:
            # The sentence of TCP's drivers, without its beginning.
            text = str(connect_failed("", repr(host), error)).removeprefix(" cannot be opened: ")
            raise CannotConnect(f"cannot be reached: {text}", error) from error
        self.connects += 1
        line = Line(self, stream)
        self.lines.add(line)
        return line

    def close(self) -> None:
        """Close all of them at once."""
        for line in tuple(self.lines):
            line.close()

    @staticmethod
    def plain(stream: trio.SocketStream | trio.SSLStream[trio.SocketStream]) -> trio.SocketStream:
        """The stream below TLS."""
        return stream.transport_stream if isinstance(stream, trio.SSLStream) else stream

    async def trusting(self) -> ssl.SSLContext:
        """Whom is trusted: made in a thread, as to read certificates takes a while. A checkpoint.

        Raises:
            CannotConnect: What is to be trusted cannot be read.
        """
        if self._context is None:
            self._context = await trio.to_thread.run_sync(
                _context, self._verify, abandon_on_cancel=True
            )
        else:
            await trio.lowlevel.checkpoint()
        return self._context


def _context(verify: bool | str | os.PathLike[str]) -> ssl.SSLContext:
    """In a thread."""
    if verify is False:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif verify is True:
        context = ssl.create_default_context()
    else:
        where = Path(verify)
        try:
            folder, file = (where, None) if where.is_dir() else (None, where)
            context = ssl.create_default_context(cafile=file, capath=folder)
        except (OSError, ssl.SSLError) as error:
            raise CannotConnect(
                f"cannot be reached: verify={str(where)!r} has no certificates that can be read "
                f"({_said(error)}): expected a file of PEM, or a folder of them",
                error,
            ) from error
    context.set_alpn_protocols(["http/1.1"])
    return context


def _not_trusted(error: Exception, host: str | None) -> CannotConnect:
    """What is wrong with TLS."""
    cause = error.__cause__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return CannotConnect(
            f"cannot be trusted: {cause.verify_message}; give HttpOptions(verify=…) the path of "
            f"the certificate that vouches for {host!r}, or ask it by the name that is in it",
            cause,
        )
    if isinstance(cause, ssl.SSLError) and not isinstance(cause, ssl.SSLEOFError):
        return CannotConnect(
            f"does not speak TLS as it should ({_said(cause)}): check that it is https: at this "
            "port",
            cause,
        )
    return CannotConnect(
        "has broken the connection off while it was being encrypted: check that it is https: at "
        "this port",
        error,
    )


def _said(error: BaseException) -> str:
    """What the innermost error says."""
    while error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, ssl.SSLError):
        return error.reason or str(error)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
