"""A URL, taken apart: where to ask, as whom, and what to call it without telling secrets."""

from __future__ import annotations

import re
import urllib.parse
from dataclasses import dataclass, field

from ...errors import ConfigurationError

__all__ = ["Location"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """Where a server is asked.

    Attributes:
        url: What to ask, without who asks.
        shown: What it is called: without a query, which often has keys in it.
        host: The host in it.
        user: User and password that were in it, or None.
    """

    url: str = field(repr=False)
    shown: str
    host: str
    user: tuple[str, str] | None = field(repr=False, default=None)

    @classmethod
    def of(cls, owner: str, url: object) -> Location:
        """Take a URL apart.

        Raises:
            ConfigurationError: It is none, or not of HTTP. The message does not show what is in it.
        """
        if not isinstance(url, str):
            raise ConfigurationError(
                f"{owner}(url=…): expected text such as 'http://192.168.0.7/status', got "
                f"{type(url).__name__}"
            )
        if re.search(r"[\x00-\x20\x7f]", url):
            raise ConfigurationError(
                f"{owner}(url=…): there are spaces or control characters in it; strip() it, or "
                "write them as %20"
            )
        try:
            parts = urllib.parse.urlsplit(url)
            port, host = parts.port, parts.hostname
        except ValueError:
            # What it says may have a password in it.
            raise ConfigurationError(
                f"{owner}(url=…): the host and port are not valid; expected a URL such as "
                "'http://192.168.0.7:8080/status', or 'http://[::1]/status'"
            ) from None
        if parts.scheme not in ("http", "https") or not host:
            began = parts.scheme if re.fullmatch("[a-z][a-z0-9+.-]*", parts.scheme) else ""
            said = f", got one of {began}:" if began not in ("", "http", "https") else ""
            raise ConfigurationError(
                f"{owner}(url=…): expected a URL with a host, such as 'http://192.168.0.7/status' "
                f"or 'https://…'{said}"
            )
        if port == 0:
            raise ConfigurationError(f"{owner}(url=…): expected a port from 1 to 65535, got 0")
        user = None
        if parts.username is not None:
            user = (
                urllib.parse.unquote(parts.username),
                urllib.parse.unquote(parts.password or ""),
            )
        netloc = parts.netloc.rpartition("@")[2]
        path = parts.path or "/"
        return cls(
            url=urllib.parse.urlunsplit((parts.scheme, netloc, path, parts.query, "")),
            shown=f"{parts.scheme}://{netloc}{path}",
            host=host,
            user=user,
        )
