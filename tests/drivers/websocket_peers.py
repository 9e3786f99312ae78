"""The other ends of WebSockets: a trio-websocket server, and one made by hand that may do wrong."""

from __future__ import annotations

import base64
import collections
import contextlib
import hashlib
import re
import ssl
import struct
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

import trio
import trio_websocket
from drivers.peers import HOST

__all__ = [
    "BINARY",
    "CLOSE",
    "CONTINUATION",
    "PING",
    "PONG",
    "TEXT",
    "HandMade",
    "WebSocketPeer",
    "certificate",
    "frame",
    "open_by_hand",
    "open_websocket_peer",
]

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

ENDS = (trio.BrokenResourceError, trio.ClosedResourceError)


def frame(payload: str | bytes, opcode: int | None = None, *, last: bool = True) -> bytes:
    """A frame as a server sends it; the opcode is that of a whole message, if it is not given."""
    if opcode is None:
        opcode = TEXT if isinstance(payload, str) else BINARY
    data = payload.encode() if isinstance(payload, str) else payload
    head = bytes([last << 7 | opcode])
    if len(data) < 126:
        return head + bytes([len(data)]) + data
    if len(data) < 2**16:
        return head + struct.pack("!BH", 126, len(data)) + data
    return head + struct.pack("!BQ", 127, len(data)) + data


class WebSocketPeer:
    """A trio-websocket server; the newest connection takes the place of the one before."""

    def __init__(self, listener: trio.SocketListener, context: ssl.SSLContext | None) -> None:
        self.listener = listener
        self.port: int = listener.socket.getsockname()[1]
        self.context = context
        self.url = f"{'ws' if context is None else 'wss'}://{HOST}:{self.port}/feed"
        self.websocket: trio_websocket.WebSocketConnection | None = None
        """The newest."""
        self.requests: list[trio_websocket.WebSocketRequest] = []
        self.closed: list[object] = []
        """How each has ended."""
        self.connections = 0
        self.subprotocol: str | None = None
        """The one to choose."""
        self._socket: trio.SocketStream | None = None
        self._stream: trio.abc.Stream | None = None
        self._messages: collections.deque[str | bytes] = collections.deque()
        self._news = trio.lowlevel.ParkingLot()
        self._may_read = trio.Event()
        self._may_read.set()
        self._gone = False
        self._scope = trio.CancelScope()
        self._newest = trio.CancelScope()

    async def receive(self) -> str | bytes:
        """The next message of any connection."""
        while not self._messages:
            self._look()
            await self._news.park()
        return self._messages.popleft()

    async def send(self, message: str | bytes, /) -> None:
        """Send a message on the newest connection, once there is one."""
        try:
            await (await self.connected()).send_message(message)
        except trio_websocket.ConnectionClosed as error:
            raise trio.BrokenResourceError("the driver has closed") from error

    async def write(self, data: bytes, /) -> None:
        """Put bytes on the line."""
        await self.connected()
        assert self._stream is not None
        await self._stream.send_all(data)

    async def connected(self) -> trio_websocket.WebSocketConnection:
        """Wait for a connection."""
        while self.websocket is None:
            self._look()
            await self._news.park()
        return self.websocket

    async def vanish(self) -> None:
        """Be gone, for good."""
        self._gone = True
        self.listener.socket.close()
        self._news.unpark_all()
        if self._socket is not None:
            self._socket.socket.close()
        self._scope.cancel()
        await trio.lowlevel.checkpoint()

    def pause_reading(self) -> None:
        """Take nothing from the line any more."""
        self._may_read = trio.Event()

    def resume_reading(self) -> None:
        """Go on."""
        self._may_read.set()

    async def run(self) -> None:
        """Serve each connection."""
        with self._scope:
            async with self.listener, trio.open_nursery() as nursery:
                while True:
                    socket = await self.listener.accept()
                    self._newest.cancel()
                    self._newest = trio.CancelScope()
                    self._socket, self.websocket = socket, None
                    nursery.start_soon(self._serve, socket, self._newest)

    async def _serve(self, socket: trio.SocketStream, scope: trio.CancelScope) -> None:
        stream: trio.abc.Stream = socket
        if self.context is not None:
            stream = trio.SSLStream(socket, self.context, server_side=True, https_compatible=True)
        try:
            with scope:
                async with trio.open_nursery() as nursery:
                    try:
                        await self._talk(socket, stream, nursery)
                    except trio_websocket.ConnectionClosed as error:
                        self.closed.append(error.reason)  # its reader ends by itself
                    except (*ENDS, trio_websocket.HandshakeError, OSError) as error:
                        self.closed.append(error)
                        nursery.cancel_scope.cancel()
        finally:
            if self._socket is socket:
                self.websocket = None
            socket.socket.close()

    async def _talk(
        self, socket: trio.SocketStream, stream: trio.abc.Stream, nursery: trio.Nursery
    ) -> None:
        if isinstance(stream, trio.SSLStream):
            await stream.do_handshake()  # trio-websocket waits for ever if that fails in it
        request = await trio_websocket.wrap_server_stream(nursery, stream)
        websocket = await request.accept(subprotocol=self.subprotocol)
        if self._socket is not socket:
            return
        self.websocket, self._stream = websocket, stream
        self.requests.append(request)
        self.connections += 1
        self._news.unpark_all()
        while True:
            await self._may_read.wait()
            self._messages.append(await websocket.get_message())
            self._news.unpark_all()

    def _look(self) -> None:
        if self._gone:
            raise trio.BrokenResourceError("this peer has vanished")


@contextlib.asynccontextmanager
async def open_websocket_peer(
    context: ssl.SSLContext | None = None, port: int = 0
) -> AsyncIterator[WebSocketPeer]:
    """For a `WebSocketClient(peer.url)`."""
    [listener] = await trio.open_tcp_listeners(port, host=HOST)
    async with trio.open_nursery() as nursery:
        peer = WebSocketPeer(listener, context)
        nursery.start_soon(peer.run)
        yield peer
        nursery.cancel_scope.cancel()


class HandMade:
    """A connection of a server that is made by hand, and knows nothing of WebSockets."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.request = b""
        self._buffer = bytearray()

    async def agree(self, *more: bytes) -> None:
        """Read the request, and accept it; with more bytes in the same piece."""
        await self.read_request()
        found = re.search(rb"Sec-WebSocket-Key: (\S+)\r\n", self.request, re.IGNORECASE)
        assert found is not None
        accept = base64.b64encode(hashlib.sha1(found[1] + GUID).digest())
        await self.stream.send_all(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n" + b"".join(more)
        )

    async def read_request(self) -> None:
        """Read it."""
        while b"\r\n\r\n" not in self._buffer:
            await self._read()
        head, self._buffer = self._buffer.split(b"\r\n\r\n", 1)
        self.request = bytes(head) + b"\r\n"

    async def read_frame(self) -> tuple[int, bytes]:
        """Opcode and payload of the next frame; it has to be whole and masked."""
        first, second = await self._take(2)
        assert first & 0x80
        assert second & 0x80
        length = second & 0x7F
        if length == 126:
            (length,) = struct.unpack("!H", await self._take(2))
        elif length == 127:
            (length,) = struct.unpack("!Q", await self._take(8))
        mask = await self._take(4)
        data = await self._take(length)
        masks = mask * (length // 4 + 1)
        whole = int.from_bytes(data, "big") ^ int.from_bytes(masks[:length], "big")
        return first & 0xF, whole.to_bytes(length, "big")

    async def read_to_the_end(self) -> list[tuple[int, bytes]]:
        """The frames up to the one that closes."""
        frames = [await self.read_frame()]
        while frames[-1][0] != CLOSE:
            frames.append(await self.read_frame())
        return frames

    async def _take(self, count: int) -> bytes:
        while len(self._buffer) < count:
            await self._read()
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        return data

    async def _read(self) -> None:
        data = await self.stream.receive_some(65536)
        if not data:
            raise trio.EndOfChannel
        self._buffer += data


Serve: TypeAlias = Callable[[HandMade], Awaitable[object]]


@contextlib.asynccontextmanager
async def open_by_hand(serve: Serve) -> AsyncIterator[str]:
    """The URL of a server, each of whose connections is served like this, and then closed."""

    async def handle(stream: trio.SocketStream) -> None:
        async with stream:
            with contextlib.suppress(trio.BrokenResourceError, trio.EndOfChannel):
                await serve(HandMade(stream))

    [listener] = await trio.open_tcp_listeners(0, host=HOST)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, handle, [listener])
        yield f"ws://{HOST}:{listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


def certificate(folder: Path) -> tuple[Path, Path]:
    """A fresh certificate for the loopback address, signed by itself, and its key."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-days", "2", "-subj", "/CN=robot", "-addext", f"subjectAltName=IP:{HOST}",
            "-keyout", str(key), "-out", str(certificate),
        ],
        check=True,
        capture_output=True,
        timeout=60,
    )  # fmt: skip
    return certificate, key
