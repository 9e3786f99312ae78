"""TLS as bytes in and bytes out, so that waiting and writing stay the driver's."""

from __future__ import annotations

import contextlib
import ssl

__all__ = ["Tls", "handshake_failed"]

PIECE = 65536
"""Bytes that are decrypted at once at most."""


class Tls:
    """One client's session.

    What goes to the other end is taken with `to_send`, what came from there is given to `feed`.

    Arguments:
        context: What is trusted.
        host: Whose certificate is expected.

    Attributes:
        has_ended: Whether the other end has said that nothing more will come.
    """

    def __init__(self, context: ssl.SSLContext, host: str) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._session = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self.has_ended: bool = False

    def shake_hands(self) -> bool:
        """Go on with the handshake; whether it is done.

        Raises:
            ssl.SSLError: It has failed. There may be something `to_send` all the same.
        """
        try:
            self._session.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def feed(self, data: bytes) -> None:
        """This came."""
        self._incoming.write(data)

    def decrypted(self) -> bytes:
        """What it means, as far as it has come.

        Raises:
            ssl.SSLError: It is not what the other end has encrypted.
        """
        pieces: list[bytes] = []
        try:
            while piece := self._session.read(PIECE):
                pieces.append(piece)
        except ssl.SSLWantReadError:
            return b"".join(pieces)
        except ssl.SSLZeroReturnError:
            pass
        self.has_ended = True
        return b"".join(pieces)

    def encrypt(self, data: bytes) -> None:
        """Have this `to_send`. It cannot be taken back."""
        self._session.write(data)

    def end(self) -> None:
        """Have `to_send` that nothing more will come."""
        # It complains that the other end has not said so yet, or that there is no session.
        with contextlib.suppress(ssl.SSLError):
            self._session.unwrap()

    def to_send(self) -> bytes:
        """What has to go to the other end; it is taken out."""
        return self._outgoing.read()


def handshake_failed(error: ssl.SSLError) -> str:
    """Why there is no secure connection, and what to do."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"its certificate does not hold: {error.verify_message}; give the host's name as the "
            "certificate has it, and the authority that signed it by "
            "ssl=ssl.create_default_context(cafile=…)"
        )
    said = (error.reason or str(error)).replace("_", " ").lower()
    if error.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"):
        return f"it does not speak TLS there ({said}); check the port, or write ws:// for wss://"
    return f"TLS fails ({said}); see which versions and certificates the server wants"
