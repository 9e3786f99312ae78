"""How a server ends a conversation, for programs and in words."""

from __future__ import annotations

from ..errors import DeviceGone

__all__ = ["WebSocketClosed", "in_words"]


class WebSocketClosed(DeviceGone):
    """The server has ended the connection, and said why.

    Attributes:
        code: Of the WebSocket protocol, such as 1001; those from 4000 on are the server's own.
            1005: it has given none.
        reason: Its words, or an empty text.
    """

    def __init__(self, text: str, *, code: int = 1005, reason: str = "") -> None:
        super().__init__(text)
        self.code: int = code
        self.reason: str = reason


def in_words(code: int, reason: str) -> str:
    """A code, what it means, and the reason given."""
    meaning = _MEANINGS.get(code, "a code of its own" if code >= 3000 else "an unknown code")
    return f"{code} ({meaning})" + (f": {reason!r:.200}" if reason else "")


_MEANINGS = {
    1000: "normal end",
    1001: "going away",
    1002: "the protocol was broken",
    1003: "it does not take such data",
    1005: "no code given",
    1007: "text was no valid UTF-8",
    1008: "against its policy",
    1009: "a message was too big",
    1010: "it misses an extension",
    1011: "an error in the server",
    1012: "it restarts",
    1013: "try again later",
    1014: "the server behind it failed",
}
