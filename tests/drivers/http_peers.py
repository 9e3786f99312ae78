"""Web servers on the loopback address, which say whatever a test wants, byte by byte."""

from __future__ import annotations

import collections
import contextlib
import gzip
import json
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

import trio
from drivers.peers import HOST

from horus_trio.drivers import Driver

__all__ = [
    "Handler",
    "MessagePeer",
    "Question",
    "WebServer",
    "answer",
    "begins_with",
    "in_turn",
    "open_message_peer",
    "open_web_server",
    "zipped",
]


@dataclass(frozen=True)
class Question:
    """What a server was asked.

    Attributes:
        target: Path and query.
        headers: By their names in lower case.
        connection: The number of the connection, from 1.
        at: When.
    """

    target: str
    headers: dict[str, str]
    connection: int
    at: float


Stream: TypeAlias = "trio.SocketStream | trio.SSLStream[trio.SocketStream]"

Handler: TypeAlias = Callable[[Question, Stream], Awaitable[bytes | None]]
"""Returns what to answer, or None when the connection is to be closed."""


def answer(status: int = 200, body: bytes = b"", **headers: str) -> bytes:
    """An answer; underscores in the names of headers are hyphens."""
    lines = [f"HTTP/1.1 {status} Whatever"]
    if status not in (204, 304) and "transfer_encoding" not in headers:
        headers.setdefault("content_length", str(len(body)))
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def zipped(body: bytes, **headers: str) -> bytes:
    """An answer that is compressed."""
    return answer(200, gzip.compress(body), content_encoding="gzip", **headers)


def in_turn(answers: Iterable[bytes | None]) -> Handler:
    """These, one after the other; then the connection is kept, and nothing is said."""
    left = iter(answers)

    async def say(question: Question, stream: Stream) -> bytes | None:
        for one in left:
            return one
        await trio.sleep_forever()
        return None

    return say


@dataclass
class WebServer:
    """Serves at `port`, and notes what it is asked."""

    handler: Handler
    port: int
    context: ssl.SSLContext | None = None
    questions: list[Question] = field(default_factory=list)
    connections: int = 0
    _scope: trio.CancelScope = field(default_factory=trio.CancelScope)

    @property
    def url(self) -> str:
        """Its address."""
        scheme = "http" if self.context is None else "https"
        return f"{scheme}://{'localhost' if self.context else HOST}:{self.port}/value"

    async def run(self, listener: trio.SocketListener) -> None:
        """Serve each connection until it is killed."""
        with self._scope:
            async with listener, trio.open_nursery() as nursery:
                while True:
                    stream = await listener.accept()
                    self.connections += 1
                    nursery.start_soon(self._serve, stream, self.connections)

    def kill(self) -> None:
        """End all connections, and listen no more."""
        self._scope.cancel()

    async def _serve(self, plain: trio.SocketStream, number: int) -> None:
        stream: Stream = plain
        if self.context is not None:
            stream = trio.SSLStream(plain, self.context, server_side=True, https_compatible=True)
        try:
            while (head := await _head(stream)) is not None:
                first, *lines = head.decode("latin-1").split("\r\n")
                headers = {
                    name.lower(): value.strip()
                    for name, _, value in (line.partition(":") for line in lines)
                }
                target = first.split(" ")[1]
                question = Question(target, headers, number, trio.current_time())
                self.questions.append(question)
                said = await self.handler(question, stream)
                if said is None:
                    break
                await stream.send_all(said)
                if b"\r\nconnection: close\r\n" in said:
                    break
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the other end has left
        finally:
            plain.socket.close()


async def _head(stream: Stream) -> bytes | None:
    """The next question without its empty line; None: there are no more."""
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        more = await stream.receive_some(65536)
        if not more:
            return None
        data += more
    return bytes(data[:-4])


@contextlib.asynccontextmanager
async def open_web_server(
    handler: Handler, *, port: int = 0, context: ssl.SSLContext | None = None
) -> AsyncGenerator[WebServer, None]:
    """A server that answers as `handler` says; killed on leaving."""
    [listener] = await trio.open_tcp_listeners(port, host=HOST)
    server = WebServer(handler, listener.socket.getsockname()[1], context)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.run, listener)
        yield server
        server.kill()


class MessagePeer:
    """A server that has messages: each is the answer until it is known to have arrived.

    A question names the message that came last (``If-None-Match``), and that one is done with. When
    there is none it waits for a moment, and then says so.
    """

    HOLD = 0.05
    """Seconds for which an answer is held back."""

    connection = "keep-alive"
    """What becomes of connections: ``"close"`` ends them with the answer."""

    def __init__(self) -> None:
        self._waiting: collections.deque[tuple[str, bytes]] = collections.deque()
        self._numbered = 0
        self._news = trio.Event()
        self._gone = False
        self.server: WebServer | None = None
        self._done = 0
        self._begins = False

    @property
    def url(self) -> str:
        assert self.server is not None
        return self.server.url

    async def send(self, message: Any, /) -> None:
        """Have this message answered next, after those that wait."""
        if self._gone:
            raise trio.BrokenResourceError("this peer has vanished")
        body = message if isinstance(message, bytes) else json.dumps(message).encode()
        self._numbered += 1
        self._waiting.append((f'"{self._numbered}"', body))
        self._tell()
        await trio.lowlevel.checkpoint()

    async def vanish(self) -> None:
        """Be gone, for good."""
        self._gone = True
        if self.server is not None:
            self.server.kill()
        await trio.lowlevel.checkpoint()

    async def handle(self, question: Question, stream: Stream) -> bytes | None:
        known = question.headers.get("if-none-match")
        if known is not None and self._waiting and known == self._waiting[0][0]:
            self._drop()
        if not self._waiting and not self._begins and not await self._hold(stream):
            return None
        self._begins = False
        if not self._waiting:
            return answer(204 if known is None else 304, connection=self.connection)
        tag, body = self._waiting[0]
        return answer(200, body, etag=tag, connection=self.connection)

    def begin(self, received: int) -> None:
        """A driver that has received so many messages is opened; it will tell nothing of them."""
        self._begins = True
        while self._done < received:
            self._drop()

    async def _hold(self, stream: Stream) -> bool:
        """Wait for a message, for a moment; whether the other end is still there."""
        assert isinstance(stream, trio.SocketStream)
        socket, there = stream.socket, True

        async def wait_for_the_end() -> None:
            nonlocal there
            await trio.lowlevel.wait_readable(socket)
            there = False
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.cancel_scope.deadline = trio.current_time() + self.HOLD
            nursery.start_soon(wait_for_the_end)
            await self._news.wait()
            nursery.cancel_scope.cancel()
        return there

    def _drop(self) -> None:
        self._waiting.popleft()
        self._done += 1

    def _tell(self) -> None:
        self._news.set()
        self._news = trio.Event()


@contextlib.asynccontextmanager
async def open_message_peer(
    kind: type[MessagePeer] = MessagePeer,
) -> AsyncGenerator[MessagePeer, None]:
    """For a driver that polls `peer.url` all the time."""
    peer = kind()
    async with open_web_server(peer.handle) as peer.server:
        yield peer


D = TypeVar("D", bound=Driver[Any])


def begins_with(driver: D, peer: MessagePeer) -> D:
    """That driver, but the peer is told when it is opened.

    To open a driver is to begin anew: it knows nothing of the answers that came before, which a
    server that has messages needs to know.
    """
    connect = driver._connect

    async def tell_and_connect() -> None:
        peer.begin(driver.statistics().received)
        await connect()

    driver._connect = tell_and_connect  # type: ignore[method-assign]
    return driver
