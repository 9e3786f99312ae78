"""From a fresh TCP connection to a WebSocket: TLS, the request, the answer, the first messages."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable, Iterable

import trio

from ..addresses import connect_failed
from ..errors import ConnectFailed
from ..tls import Tls, handshake_failed
from .happenings import Refused
from .line import Line

__all__ = ["failure", "upgrade"]

WORDS_WITHIN = 1.0
"""Seconds for which a server that has refused may say why."""


async def upgrade(line: Line, first: Callable[[], Iterable[str | bytes]]) -> None:
    """Agree on the protocol, and send the first messages. A checkpoint.

    Arguments:
        line: A fresh one.
        first: Is called for the messages, when the server has agreed.

    Raises:
        Refused: The server does not talk.
        ssl.SSLError: There is no secure connection.
        OSError: There is none at all.
    """
    if line.tls is not None:
        await _shake_hands(line, line.tls)
    await _write(line, line.sealed(line.talk.request()))
    while not line.talk.has_answered():
        line.came(await _answer(line))
    if line.talk.refusal() is not None:
        raise Refused(await _hear_out(line))
    for message in first():
        await _write(line, line.sealed(line.talk.message(message)))


async def _shake_hands(line: Line, tls: Tls) -> None:
    try:
        while not tls.shake_hands():
            await _write(line, tls.to_send())
            tls.feed(await _answer(line))
    except ssl.SSLError:
        line.write(tls.to_send())  # the server is told why, if there is room
        raise
    await _write(line, tls.to_send())


async def _answer(line: Line) -> bytes:
    data = await line.wire.read()
    if not data:
        raise Refused(
            "the server hangs up instead of answering; see its log, whether this is the right "
            "port, and whether it is ws:// or wss://"
        )
    return data


async def _hear_out(line: Line) -> str | None:
    """Why the server has refused, with what it says to that if it says so soon."""
    with trio.move_on_after(WORDS_WITHIN), contextlib.suppress(Refused, OSError):
        while line.talk.explains:
            line.came(await _answer(line))
            line.talk.has_answered()
    return line.talk.refusal()


async def _write(line: Line, data: bytes) -> None:
    rest = memoryview(data)
    while rest := rest[line.write(rest) :]:
        await line.wire.wait_writable()


def failure(name: str, host: str, error: Refused | OSError) -> ConnectFailed:
    """What to raise from an error of `upgrade`, or of the connection before it."""
    if isinstance(error, Refused):
        return ConnectFailed(f"{name} cannot be opened: {error}")
    if isinstance(error, ssl.SSLError):
        return ConnectFailed(f"{name} cannot be opened: {handshake_failed(error)}")
    return connect_failed(name, repr(host), error)
