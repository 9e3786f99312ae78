"""One conversation with a WebSocket server, as bytes in and bytes out: no I/O, no waiting.

It is imported when a client is opened, since it needs wsproto.
"""

from __future__ import annotations

import http
import io

from wsproto import ConnectionType, WSConnection
from wsproto import events as ws
from wsproto.connection import ConnectionState
from wsproto.utilities import RemoteProtocolError

from .happenings import NOTHING, Closed, Happening, Oversized, Ping, Refused, Skipped
from .request import Request

__all__ = ["Conversation"]

MOST_WORDS = 1000
"""Bytes of what a server says to its refusal that are waited for."""

HTTP = b"HTTP/"
"""What every answer begins with; wsproto would wait for the end of a line, of whatever it is."""


class Conversation:
    """From the request to the close.

    Arguments:
        request: What is asked of the server.
        max_message: Bytes that a message may have.

    Attributes:
        subprotocol: The one agreed upon, or None.
    """

    def __init__(self, request: Request, max_message: int) -> None:
        self._ws = WSConnection(ConnectionType.CLIENT)
        self._request = request
        self._max_message = max_message
        self._text: io.StringIO | None = None  # a message that is not whole yet; or
        self._data: bytearray | None = None
        self._size = 0
        self._skips = False
        self._beginning = b""
        self._rejection: ws.RejectConnection | None = None
        self._words = bytearray()
        self._explains = False
        self.subprotocol: str | None = None

    # The upgrade

    def request(self) -> bytes:
        """What to say first."""
        asked = self._request
        return self._ws.send(
            ws.Request(
                host=asked.authority,
                target=asked.target,
                extra_headers=[(name.encode(), value.encode()) for name, value in asked.headers],
                subprotocols=list(asked.subprotocols),
            )
        )

    def has_answered(self) -> bool:
        """Whether the server has agreed, or refused: then there is a `refusal`."""
        for event in self._ws.handshake.events():
            if isinstance(event, ws.AcceptConnection):
                self.subprotocol = event.subprotocol
                return True
            if isinstance(event, ws.RejectConnection):
                self._rejection = event
                self._explains = event.has_body
            elif isinstance(event, ws.RejectData):
                self._words += event.data
                self._explains = not event.body_finished and len(self._words) < MOST_WORDS
        return self._rejection is not None

    @property
    def explains(self) -> bool:
        """Whether it has refused, and there is more to come about it."""
        return self._explains

    def refusal(self) -> str | None:
        """Why it has refused, and what to do; None: it has not."""
        event = self._rejection
        if event is None:
            return None
        status = event.status_code
        try:
            phrase = f" {http.HTTPStatus(status).phrase}"
        except ValueError:
            phrase = ""
        text = f"the server answers {status}{phrase}"
        said = self._words.decode("utf-8", "replace").strip()
        if said and said.isprintable() and not said.startswith("<"):
            text = f"{text}: {said:.200}"
        location = next(
            (value for name, value in event.headers if name.lower() == b"location"), None
        )
        if location is not None:
            there = location.partition(b"?")[0].decode("ascii", "replace")
            return f"{text}; it has moved to {there:.200}: give that address"
        return f"{text}; {_remedy(status)}"

    # What comes

    def feed(self, data: bytes) -> None:
        """This came.

        Raises:
            Refused: It is no answer to the request.
        """
        if len(self._beginning) < len(HTTP):
            self._beginning += data[: len(HTTP)]
            if not HTTP.startswith(self._beginning[: len(HTTP)]):
                raise Refused(_no_server(f"it says {self._beginning[:40]!r}"))
        try:
            self._ws.receive_data(data)
        except (RemoteProtocolError, ValueError) as error:
            raise Refused(_no_server(str(error))) from error

    def next(self) -> Happening | None:
        """What happens next, by what came; None: more has to come first."""
        for event in self._ws.events():
            if isinstance(event, ws.Message):
                return self._put_together(event)
            if isinstance(event, ws.Ping):
                return Ping(bytes(event.payload))
            if isinstance(event, ws.CloseConnection):
                # wsproto reports a breach of the rules like this, too, and stays open then.
                by_us = self._ws.state is ConnectionState.OPEN
                return Closed(int(event.code), event.reason or "", by_us)
            return NOTHING
        return None

    def _put_together(self, event: ws.Message) -> Happening:  # type: ignore[type-arg]  # of any kind
        part: str | bytes = event.data if isinstance(event.data, str) else bytes(event.data)
        is_last = event.message_finished
        size = len(part) if isinstance(part, bytes) or part.isascii() else len(part.encode())
        if self._skips:
            self._skips = not is_last
            return Skipped(size)
        self._size += size
        if self._size > self._max_message:
            size = self._size
            self._begin_anew()
            self._skips = not is_last
            return Oversized(size)
        if is_last and self._size == size:
            self._begin_anew()
            return part
        if isinstance(part, str):
            self._text = self._text or io.StringIO()
            self._text.write(part)
        else:
            self._data = self._data if self._data is not None else bytearray()
            self._data += part
        if not is_last:
            return NOTHING
        whole = self._text.getvalue() if self._text is not None else bytes(self._data or b"")
        self._begin_anew()
        return whole

    def _begin_anew(self) -> None:
        self._text = self._data = None
        self._size = 0

    # What goes

    def message(self, message: str | bytes) -> bytes:
        """A message as it goes over the line."""
        if isinstance(message, str):
            return self._ws.send(ws.TextMessage(message))
        return self._ws.send(ws.BytesMessage(message))

    def ping(self) -> bytes:
        """The question whether the server is there."""
        return self._ws.send(ws.Ping())

    def pong(self, payload: bytes) -> bytes:
        """The answer to its question."""
        return self._ws.send(ws.Pong(payload))

    def close(self, code: int) -> bytes:
        """The end, or the answer to the server's; nothing if that was said, or makes no sense."""
        if self._ws.state not in (ConnectionState.OPEN, ConnectionState.REMOTE_CLOSING):
            return b""
        return self._ws.send(ws.CloseConnection(code=code))


def _no_server(why: str) -> str:
    return (
        f"what answers is no WebSocket server ({why}); check the address, the port, and whether it "
        "is ws:// or wss://"
    )


def _remedy(status: int) -> str:
    """What to do when a server answers so."""
    if status in (401, 407):
        return 'it wants to know who asks: give headers={"Authorization": …}, or other credentials'
    if status == 403:
        return "it does not let us in: check the credentials, and whether it expects an Origin"
    if status == 404:
        return "there is nothing at this path: check it"
    if status == 426:
        return "it wants another version of the protocol, or wss://"
    if status == 429:
        return "it is asked too often: wait longer between attempts"
    if 500 <= status < 600:
        return "it cannot serve now: look at its log, and try again later"
    if 200 <= status < 300:
        return "it is a web server, and none for WebSockets at this path: check the path"
    return "check the address, and what the server expects"
