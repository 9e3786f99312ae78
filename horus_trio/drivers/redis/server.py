"""Where a Redis server is, and who we are to it."""

from __future__ import annotations

import ssl
import urllib.parse
from dataclasses import dataclass, field

from ...arguments import is_positive, is_whole
from ...errors import ConfigurationError
from ..addresses import checked, host_and_port
from ..tcp import checked_keepalive

__all__ = ["RedisServer"]

PORT = 6379

DIGITS = 9
"""Of the number of a database, at most."""

SCHEMES = "redis", "rediss"

FORM = "redis://user:password@host:6379/0"


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisServer:
    """A Redis server, and how to connect to it. Drivers take a URL as well, see `from_url`.

    ::

        RedisServer(host="192.168.0.7", username="robot", password=os.environ["REDIS_PASSWORD"])

    The password shows in no `repr` and in no error.

    Attributes:
        host: Name or address.
        port: Its port.
        username: Of an ACL user; None: the default user.
        password: None: it asks for none.
        db: Number of the database that the streams are in. Channels are common to all.
        tls: True: encrypted, with the certificates that this machine trusts; or a context of one's
            own, for other certificates.
        connect_within: Seconds in which opening must be done, logging in included.
        keepalive: As in `TcpClient`.

    Raises:
        ConfigurationError: One of them makes no sense.
    """

    host: str = "127.0.0.1"
    port: int = PORT
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    db: int = 0
    tls: bool | ssl.SSLContext = False
    connect_within: float = 10.0
    keepalive: float | None = 10.0

    def __post_init__(self) -> None:
        checked("RedisServer", self.host, self.port)
        for name, text in (("username", self.username), ("password", self.password)):
            if text is not None and (not isinstance(text, str) or not text):
                kind = "an empty one" if text == "" else f"a {type(text).__name__}"
                raise ConfigurationError(
                    f"RedisServer({name}=…): expected text, or None, got {kind}"
                )
        if self.username is not None and self.password is None:
            raise ConfigurationError(
                f"RedisServer(username={self.username!r}): needs password=…, too"
            )
        if not is_whole(self.db, 0):
            raise ConfigurationError(
                f"RedisServer(db={self.db!r}): expected the number of a database, 0 or more"
            )
        if not isinstance(self.tls, (bool, ssl.SSLContext)):
            raise ConfigurationError(
                f"RedisServer(tls={self.tls!r:.80}): expected True, False, or an ssl.SSLContext"
            )
        if not is_positive(self.connect_within):
            raise ConfigurationError(
                f"RedisServer(connect_within={self.connect_within!r}): expected a finite number of "
                "seconds above 0"
            )
        checked_keepalive("RedisServer", self.keepalive)

    def __str__(self) -> str:
        return host_and_port((self.host, self.port))

    @classmethod
    def from_url(cls, url: str) -> RedisServer:
        """The server of a URL, ``redis://user:password@host:6379/0``, or less of it.

        ``rediss://`` is encrypted. A ``%`` in user and password is written ``%25``, and other
        special characters likewise.

        Raises:
            ConfigurationError: It is no such URL.
        """
        if not isinstance(url, str):
            raise ConfigurationError(
                f"expected a URL such as {FORM!r}, or a RedisServer, got a {type(url).__name__}"
            )
        try:
            parts = urllib.parse.urlsplit(url)
            port = parts.port
        except ValueError:
            # What it says may have the password in it.
            raise ConfigurationError(f"expected a URL such as {FORM!r}: this one is none") from None
        if parts.scheme not in SCHEMES or not parts.hostname:
            raise ConfigurationError(
                f"expected a URL such as {FORM!r}, or rediss:// if it is encrypted; this one has "
                + ("no host" if parts.scheme in SCHEMES else "another scheme, or none")
            )
        if parts.query or parts.fragment:
            raise ConfigurationError(
                f"expected a URL such as {FORM!r}, with nothing after the database: options are "
                "those of RedisServer(…)"
            )
        number = parts.path.strip("/") or "0"
        if not number.isdecimal() or len(number) > DIGITS:
            raise ConfigurationError(
                f"expected a URL such as {FORM!r}: what follows the host of this one is no number "
                "of a database; is a '/' in the password not written %2F?"
            )
        return cls(
            host=parts.hostname,
            port=PORT if port is None else port,
            username=_unquoted(parts.username),
            password=_unquoted(parts.password),
            db=int(number),
            tls=parts.scheme == "rediss",
        )


def _unquoted(text: str | None) -> str | None:
    return urllib.parse.unquote(text) if text else None
