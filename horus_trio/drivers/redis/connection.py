"""A connection to a Redis server: commands go out, and replies come back in their order.

A command that is cancelled half-way is not forgotten. Its rest goes out before the next one, and
its reply is passed over, so it never answers another command. What is waited for alone, as by a
blocking read, may be waited for again.
"""

from __future__ import annotations

import collections
import contextlib
import reprlib
import ssl
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import trio

from ..tcp import wire_of
from ..tls import Tls
from ..wire import Wire
from .replies import NotRedis, Refused, Replies, Word, packed
from .server import RedisServer

__all__ = ["Connection", "Lost", "understood"]


class Lost(Exception):
    """The connection is of no use any more; the text says why."""


@contextlib.contextmanager
def understood(reply: object) -> Iterator[None]:
    """Inside, a reply is taken apart.

    Raises:
        Lost: It is made otherwise than an answer to what was asked.
    """
    try:
        yield
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        raise Lost(f"{reprlib.repr(reply)} is no answer to what was asked") from error


class Connection:
    """Use `connect`."""

    def __init__(self, wire: Wire, replies: Replies) -> None:
        self._wire = wire
        self._replies = replies
        self._tls: Tls | None = None
        self._plain = bytearray()  # not encrypted yet
        self._out = bytearray()
        self._came: collections.deque[Any] = collections.deque()
        self._asked = self._answered = 0
        self._turns = trio.Lock()
        self.bytes_received: int = 0
        self.bytes_sent: int = 0

    @classmethod
    async def connect(
        cls, server: RedisServer, library: ModuleType, *, longest: int, most: int
    ) -> Connection:
        """Connect and log in. A checkpoint; cancelled or failed, nothing is open.

        Arguments:
            server: Where, and with what password.
            library: The module ``coredis.parser``.
            longest: Bytes that a text may have.
            most: Bytes that a reply may have.

        Raises:
            OSError: It is not there.
            Lost: It does not speak as expected.
            Refused: It does not want us.
        """
        stream = await trio.open_tcp_stream(server.host, server.port)
        connection = cls(wire_of(stream.socket, server.keepalive), Replies(library, longest, most))
        try:
            await connection._log_in(server)
        except BaseException:
            connection.close()
            raise
        return connection

    async def _log_in(self, server: RedisServer) -> None:
        if server.tls:
            await self._encrypt(server)
        if server.password is not None:
            user = () if server.username is None else (server.username,)
            refused: Refused | None = None
            try:
                await self.call("AUTH", *user, server.password)
            except Refused as error:
                # A server that does not know the command repeats what came with it.
                refused = Refused(error.code, error.text.replace(server.password, "…"))
            if refused is not None:
                raise refused  # with no context in which the password is
        await self.call("PING")
        if server.db:
            await self.call("SELECT", server.db)

    async def _encrypt(self, server: RedisServer) -> None:
        if isinstance(server.tls, ssl.SSLContext):
            context = server.tls
        else:
            context = await trio.to_thread.run_sync(ssl.create_default_context)
        tls = Tls(context, server.host)
        try:
            while True:
                agreed = tls.shake_hands()
                self._out += tls.to_send()
                await self.flush()
                if agreed:
                    break
                data = await self._wire.read()
                if not data:
                    raise ConnectionError("it has hung up")
                tls.feed(data)
        except OSError as error:
            text = getattr(error, "verify_message", "") or error.strerror or error.args[-1]
            raise Lost(
                f"no encrypted connection comes about ({text}); give RedisServer(tls=ssl."
                "create_default_context(cafile=…)) if this machine does not trust its certificate"
            ) from error
        self._tls = tls

    @property
    def is_idle(self) -> bool:
        """Whether nothing is to go out."""
        return not self._out and not self._plain

    @property
    def discarded(self) -> int:
        """Bytes of texts that were too long."""
        return self._replies.discarded

    def close(self) -> None:
        """Close it; who waits gets `trio.ClosedResourceError`. Idempotent."""
        self._wire.close()

    def put(self, *words: Word) -> None:
        """Have a command go out, with the next `flush` or `next`."""
        (self._out if self._tls is None else self._plain).extend(packed(*words))
        self._asked += 1

    def flush_nowait(self) -> None:
        """Send what there is room for.

        Raises:
            OSError: The connection is lost.
        """
        if self._plain and self._tls is not None:
            self._tls.encrypt(bytes(self._plain))
            self._plain.clear()
            self._out += self._tls.to_send()
        if self._out:
            with memoryview(self._out) as out:
                written = self._wire.write_nowait(out)
            self.bytes_sent += written
            del self._out[:written]

    async def flush(self, check: Callable[[], None] | None = None) -> None:
        """Send all that is to go out. A checkpoint if it has to wait; cancelled, call it again.

        Arguments:
            check: Called after every wait; if it raises, no more is sent.
        """
        self.flush_nowait()
        while self._out:
            await self._wire.wait_writable()
            if check is not None:
                check()
            self.flush_nowait()

    async def next(self) -> Any:
        """The next reply, in order. A checkpoint if it has to wait; cancelled, call it again.

        Raises:
            Lost: The connection is lost, or this is no Redis server.
        """
        while not self._came:
            try:
                await self.flush()
                data = await self._wire.read()
                if not data:
                    raise EOFError("the server has closed the connection")
                self.bytes_received += len(data)
                if self._tls is not None:
                    self._tls.feed(data)
                    data = self._tls.decrypted()
                    self._out += self._tls.to_send()
                    if self._tls.has_ended and not data:
                        raise EOFError("the server has closed the connection")
                self._came.extend(self._replies.feed(data))
            except NotRedis as error:
                raise Lost(f"what came is no reply of a Redis server: {error}") from error
            except (EOFError, OSError) as error:
                raise Lost(str(error)) from error
        self._answered += 1
        return self._came.popleft()

    def put_back(self, replies: list[Any]) -> None:
        """Have `next` give these out first, which came out of turn."""
        self._came.extendleft(reversed(replies))

    async def call(
        self,
        *words: Word,
        check: Callable[[], None] | None = None,
        doubt: Callable[[bool], None] | None = None,
    ) -> Any:
        """The reply to a command; several tasks take turns. A checkpoint.

        Arguments:
            words: The command.
            check: Called before it goes out, after every wait.
            doubt: Called with True before it goes out, and with False when it has been answered, or
                when it was cancelled and not a byte of it was out.

        Raises:
            Refused: The server has replied so.
            Lost: The connection is lost.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        waited = False
        try:
            self._turns.acquire_nowait()
        except trio.WouldBlock:
            await self._turns.acquire()
            waited = True
        try:
            if waited and check is not None:
                check()
            reply = await self._call(words, check, doubt or _no_matter)
        finally:
            self._turns.release()
        if isinstance(reply, Refused):
            raise reply
        return reply

    async def _call(
        self,
        words: tuple[Word, ...],
        check: Callable[[], None] | None,
        doubt: Callable[[bool], None],
    ) -> Any:
        before = len(self._out)
        self.put(*words)
        length = len(self._out) - before
        number = self._asked

        def check_first() -> None:
            if check is not None and len(self._out) >= length:  # not a byte of it is out
                check()

        doubt(True)
        answered = False
        try:
            await self.flush(check_first)
            reply = await self.next()
            while self._answered != number:  # it is that of a call that was cancelled
                reply = await self.next()
            answered = True
            doubt(False)
            return reply
        finally:
            if not answered and 0 < length <= len(self._out):
                del self._out[-length:]
                self._asked -= 1
                doubt(False)


def _no_matter(_: bool) -> None:
    """Whether the server has got it."""
