"""What a server has answered."""

from __future__ import annotations

import email.message
import encodings
from collections.abc import Mapping
from dataclasses import dataclass
from encodings.aliases import aliases

__all__ = ["HttpReading", "decoded"]

CHARSETS = frozenset(aliases.values()) | {"cp737", "cp874", "koi8_t", "koi8_u", "utf_8_sig"}
"""What a document may be written in. Python keeps each other name it is asked for, for ever."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpReading:
    """An answer, complete, and decompressed.

    Attributes:
        status: HTTP's status, from 200 to 299, or 304 if it is `unchanged`.
        body: What came; of one that is `unchanged`, what had come before.
        headers: By their names in lower case. What comes several times is joined by ``", "``.
        at: When the last of it came, on Trio's clock.
        elapsed: Seconds from the question to that; what a `limiter` took before does not count.
        unchanged: Whether the server said that nothing is new.
    """

    status: int
    body: bytes
    headers: Mapping[str, str]
    at: float
    elapsed: float
    unchanged: bool = False

    def __repr__(self) -> str:
        shown = f"{self.body[:40]!r}{'…' if len(self.body) > 40 else ''}"
        unchanged = ", unchanged" if self.unchanged else ""
        return f"<HttpReading {self.status}, {len(self.body)} bytes: {shown}{unchanged}>"

    @property
    def charset(self) -> str | None:
        """The character set that the server names, in lower case; None: none."""
        message = email.message.Message()
        message["Content-Type"] = self.headers.get("content-type", "")
        charset = message.get_param("charset")
        return charset.lower() if isinstance(charset, str) and charset else None

    @property
    def text(self) -> str:
        """The body as text, in `charset` or else UTF-8. What is not valid becomes ``\\ufffd``."""
        try:
            return decoded(self.body, self.charset or "utf-8", errors="replace")
        except (LookupError, ValueError):  # there is no such character set, or it is none
            return self.body.decode(errors="replace")


def decoded(body: bytes, charset: str, errors: str = "strict") -> str:
    """A body in a character set that a server has named.

    Python's other codecs are none: to decode Punycode takes a time that grows with the square of
    the length.

    Raises:
        LookupError: There is no such character set.
        ValueError: The body is not in it.
    """
    name = encodings.normalize_encoding(charset[:40]).lower()
    name = aliases.get(name, name)
    if name not in CHARSETS:
        raise LookupError(f"{charset!r:.80} is no character set")
    return body.decode(name, errors)
