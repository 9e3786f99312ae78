"""What a client asks of a server, read from the arguments of `WebSocketClient`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from ...errors import ConfigurationError
from ..addresses import HIGHEST_PORT, host_and_port

__all__ = ["Request", "request_of"]

PORTS = {"ws": 80, "wss": 443}

TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""What HTTP calls a token: the name of a header, or of a subprotocol."""

OURS = frozenset({"connection", "content-length", "host", "transfer-encoding", "upgrade"})
"""Headers that the protocol itself needs; and all that begin with ``sec-websocket-``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked of whom.

    Attributes:
        secure: Whether over TLS.
        host: Name or address.
        port: Its port.
        target: Path and query.
        headers: Names and values, besides those of the protocol.
        subprotocols: Those that are offered, the best first.
    """

    secure: bool
    host: str
    port: int
    target: str = field(repr=False)
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    subprotocols: tuple[str, ...]

    @property
    def scheme(self) -> str:
        """``ws`` or ``wss``."""
        return "wss" if self.secure else "ws"

    @property
    def authority(self) -> str:
        """Host and port as the server is told them: the scheme's own port is left out."""
        if self.port == PORTS[self.scheme]:
            return f"[{self.host}]" if ":" in self.host else self.host
        return host_and_port((self.host, self.port))

    @property
    def place(self) -> str:
        """The URL for messages: without the query, in which there may be secrets."""
        path = self.target.partition("?")[0]
        return f"{self.scheme}://{self.authority}{'' if path == '/' else path}"


def request_of(what: str, url: object, headers: object, subprotocols: object) -> Request:
    """The request that these arguments mean.

    Arguments:
        what: Who was given them, for errors.

    Raises:
        ConfigurationError: They mean none.
    """
    secure, host, port, target = _read_url(what, url)
    return Request(
        secure=secure,
        host=host,
        port=port,
        target=target,
        headers=_read_headers(what, headers),
        subprotocols=_read_subprotocols(what, subprotocols),
    )


def _read_url(what: str, url: object) -> tuple[bool, str, int, str]:
    example = 'such as "ws://192.168.0.7:8080/telemetry"'
    if not isinstance(url, str):
        raise ConfigurationError(f"{what}(url={url!r:.80}): expected an address as text, {example}")
    # Not all of it is shown from here on: there may be secrets in it.
    if not url.isascii() or not url.isprintable() or " " in url:
        raise ConfigurationError(
            f"{what}(url=…): expected an address without spaces, line ends and letters beyond "
            "ASCII; write those of a path with urllib.parse.quote(), and a host in its xn-- form"
        )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        # What it says may have a password in it.
        raise ConfigurationError(
            f"{what}(url=…): its host or its port is not valid; expected one {example}"
        ) from None
    if parts.scheme not in PORTS:
        hint = {"http": "; write ws:// for http://", "https": "; write wss:// for https://"}
        began = f" {parts.scheme!r:.20}" if parts.scheme else " no scheme"
        raise ConfigurationError(
            f"{what}(url=…): it begins with{began}, expected ws:// or wss://, {example}"
            f"{hint.get(parts.scheme, '')}"
        )
    if parts.username is not None or parts.password is not None:
        raise ConfigurationError(
            f"{what}(url=…): there is a user or a password in it, which is not sent; give "
            'headers={"Authorization": "Basic …"}'
        )
    if parts.fragment or url.endswith("#"):
        raise ConfigurationError(
            f"{what}(url=…): it has a part after '#', which no server gets; leave it out"
        )
    host = parts.hostname
    if not host or port == 0:
        raise ConfigurationError(
            f"{what}(url=…): expected a host, and a port from 1 to {HIGHEST_PORT} or none, "
            f"{example}"
        )
    labels = host.removesuffix(".").split(".")
    if ":" not in host and not all(0 < len(label) < 64 for label in labels):
        raise ConfigurationError(
            f"{what}(url=…): {host!r:.80} is no name of a host: a part of it is empty or too long"
        )
    query = f"?{parts.query}" if parts.query else ""
    return parts.scheme == "wss", host, port or PORTS[parts.scheme], f"{parts.path or '/'}{query}"


def _read_headers(what: str, headers: object) -> tuple[tuple[str, str], ...]:
    if headers is None:
        return ()
    if not isinstance(headers, Mapping):
        raise ConfigurationError(
            f"{what}(headers=…): expected a dict, such as "
            f'{{"Authorization": "Bearer …"}}, got {type(headers).__name__}'
        )
    for name, value in headers.items():
        if not isinstance(name, str) or not TOKEN.fullmatch(name):
            raise ConfigurationError(
                f"{what}(headers=…): {name!r:.80} is no name of a header; expected text without "
                "spaces and colons"
            )
        if name.lower() in OURS or name.lower().startswith("sec-websocket-"):
            raise ConfigurationError(
                f"{what}(headers=…): {name!r} is set by the protocol; leave it out, and use url= "
                "and subprotocols="
            )
        text = value.strip(" \t") if isinstance(value, str) else None
        if text is None or text != value or not text.isascii() or not _is_in_a_line(text):
            raise ConfigurationError(
                f"{what}(headers=…): the value of {name!r} is no text that a header can have: "
                "ASCII, in one line, without spaces around it"
            )
    return tuple(headers.items())


def _is_in_a_line(text: str) -> bool:
    """Whether there is nothing in it that a line cannot have."""
    return text.replace("\t", " ").isprintable()


def _read_subprotocols(what: str, subprotocols: object) -> tuple[str, ...]:
    if isinstance(subprotocols, (str, bytes)) or not isinstance(subprotocols, Iterable):
        raise ConfigurationError(
            f'{what}(subprotocols={subprotocols!r:.80}): expected several names, such as ("mqtt",)'
        )
    names = tuple(subprotocols)
    for name in names:
        if not isinstance(name, str) or not TOKEN.fullmatch(name):
            raise ConfigurationError(
                f"{what}(subprotocols=…): {name!r:.80} is no name of a subprotocol; expected text "
                "without spaces and commas"
            )
    if len(set(names)) < len(names):
        raise ConfigurationError(f"{what}(subprotocols={names!r:.80}): expected each of them once")
    return names
