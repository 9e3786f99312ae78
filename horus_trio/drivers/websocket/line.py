"""A connection to a WebSocket server: the wire, what is said over it, and what is still to be said.

Nothing here waits. What the protocol itself has to say is owed until there is room for it between
two messages: some bytes that are cut out already, and the answer to the latest ping. Earlier pings
need no answer then, so that is all there ever is, however many come.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..tls import Tls
from ..wire import Wire

if TYPE_CHECKING:
    from .protocol import Conversation

__all__ = ["Line", "Traffic"]

GOOD_BYE = 1000


@dataclass(slots=True)
class Traffic:
    """Bytes over all connections of a driver."""

    received: int = 0
    sent: int = 0


class Line:
    """One connection.

    Arguments:
        wire: To the server; it is closed with this.
        tls: What makes it secret, if anything does.
        talk: What is said.
        traffic: Where bytes are counted.

    Attributes:
        pong: What the answer that is owed to a ping says; None: none is owed.
    """

    def __init__(self, wire: Wire, tls: Tls | None, talk: Conversation, traffic: Traffic) -> None:
        self.wire = wire
        self.tls = tls
        self.talk = talk
        self.pong: bytes | None = None
        self._traffic = traffic
        self._owed = b""

    @property
    def has_ended(self) -> bool:
        """Whether the server has said that nothing more will come."""
        return self.tls is not None and self.tls.has_ended

    def came(self, data: bytes) -> None:
        """This came over the wire.

        Raises:
            ssl.SSLError: It is not what the server has encrypted.
            Refused: It is no answer to our request.
        """
        self._traffic.received += len(data)
        if self.tls is not None:
            self.tls.feed(data)
            data = self.tls.decrypted()
            self._owed += self.tls.to_send()
        if data:
            self.talk.feed(data)

    def sealed(self, data: bytes) -> bytes:
        """As it goes over the wire. It has to, then."""
        if self.tls is None:
            return data
        self.tls.encrypt(data)
        return self.tls.to_send()

    def write(self, data: bytes | memoryview) -> int:
        """Write what there is room for: how much that was."""
        written = self.wire.write_nowait(data)
        self._traffic.sent += written
        return written

    def owe(self, data: bytes) -> None:
        """Have this said by `say`."""
        if data:
            self._owed += self.sealed(data)

    @property
    def is_owing(self) -> bool:
        """Whether there is something to be said."""
        return bool(self._owed) or self.pong is not None

    def say(self) -> bool:
        """Say what is owed, as far as there is room; whether that was all.

        Not in the middle of a message.
        """
        while True:
            if not self._owed:
                if self.pong is None:
                    return True
                self._owed = self.sealed(self.talk.pong(self.pong))
                self.pong = None
            self._owed = self._owed[self.write(self._owed) :]
            if self._owed:
                return False

    def owe_the_end(self, code: int) -> None:
        """Have it said that it ends; a ping is not answered after that."""
        self.pong = None
        self.owe(self.talk.close(code))

    def say_good_bye(self) -> bool:
        """Say that it ends, as far as there is room; whether that was all. Not in a message."""
        self.owe_the_end(GOOD_BYE)
        if self.tls is not None:
            self.tls.end()
            self._owed += self.tls.to_send()
        try:
            return self.say()
        except OSError:  # it is broken, and nobody has noticed yet
            return False
