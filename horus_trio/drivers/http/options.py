"""How a server is asked, besides where: headers, credentials, trust."""

from __future__ import annotations

import base64
import os
import re
import ssl
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, runtime_checkable

from ...errors import ConfigurationError

__all__ = ["HttpAuth", "HttpOptions"]


@runtime_checkable
class HttpAuth(Protocol):
    """A scheme of HTTP's authentication, such as ``httpx2.DigestAuth("user", "password")``."""

    def async_auth_flow(self, request: Any) -> AsyncGenerator[Any, Any]:
        """What is asked, and what is asked next after each answer."""
        ...


Params: TypeAlias = Mapping[str, str | int | float] | Sequence[tuple[str, str | int | float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpOptions:
    """How a server is asked. What may be secret is in no ``repr`` and no error.

    Proxies are not used, whatever the environment says: devices are in the same network, or the
    robot's own concern.

    Attributes:
        headers: Sent along, such as ``{"X-Api-Key": key}``.
        params: Added to the query of the URL.
        auth: ``(user, password)``, for HTTP's basic scheme; or a text, which is a bearer token; or
            an ``httpx2.Auth``, such as ``httpx2.DigestAuth(user, password)``. Without encryption
            everybody on the way can read it.
        verify: Whose certificates are trusted with ``https``: True: those that the system trusts;
            a path: the authorities in that file or folder, such as the device's own certificate; an
            `ssl.SSLContext`; False: anybody's, which is no protection at all.

    Raises:
        ConfigurationError: One of them makes no sense.
    """

    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    params: Params = field(default=(), repr=False)
    auth: tuple[str, str] | str | HttpAuth | None = field(default=None, repr=False)
    verify: bool | str | os.PathLike[str] | ssl.SSLContext = True

    def __post_init__(self) -> None:
        if not isinstance(self.headers, Mapping):
            raise _wrong("headers", "a dict, such as {'X-Api-Key': key}", self.headers)
        for name, value in self.headers.items():
            _check_header(name, value)
        pairs = self.params.items() if isinstance(self.params, Mapping) else self.params
        if isinstance(pairs, (str, bytes)) or not all(_is_param(pair) for pair in pairs):
            raise _wrong("params", "a dict of texts and numbers, such as {'q': 'Oslo'}", pairs)
        if isinstance(self.auth, str):
            if not re.fullmatch(r"[\x21-\x7e]+", self.auth):
                raise ConfigurationError(
                    "HttpOptions(auth=…): a bearer token has no spaces and no control characters; "
                    "strip() it"
                )
        elif isinstance(self.auth, (tuple, list)):
            if len(self.auth) != 2 or not all(isinstance(part, str) for part in self.auth):
                raise _wrong("auth", "(user, password)", self.auth)
            if ":" in self.auth[0]:
                raise ConfigurationError(
                    "HttpOptions(auth=…): a user's name has no colon in HTTP's basic scheme"
                )
        elif self.auth is not None and not isinstance(self.auth, HttpAuth):
            raise _wrong("auth", "(user, password), a bearer token, or an httpx2.Auth", self.auth)
        trusts = isinstance(self.verify, (bool, str, os.PathLike, ssl.SSLContext))
        if not trusts or self.verify == "":
            raise _wrong("verify", "True, False, a path or an ssl.SSLContext", self.verify)

    def header_list(self, user: tuple[str, str] | None) -> list[tuple[str, str]]:
        """The headers to send, with what is known of who asks.

        Arguments:
            user: Name and password that were in the URL.
        """
        headers = list(self.headers.items())
        credentials = user or self.auth
        if isinstance(credentials, str):
            headers.append(("Authorization", f"Bearer {credentials}"))
        elif isinstance(credentials, (tuple, list)):
            text = ":".join(credentials).encode()
            headers.append(("Authorization", f"Basic {base64.b64encode(text).decode()}"))
        return headers

    @property
    def scheme(self) -> HttpAuth | None:
        """What answers the server's questions about who asks, if it is more than a header."""
        return self.auth if isinstance(self.auth, HttpAuth) else None


def _check_header(name: object, value: object) -> None:
    if not isinstance(name, str) or not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
        raise _wrong("headers", "names of letters, digits and hyphens", name, shown=True)
    if not isinstance(value, str) or not re.fullmatch(
        r"(?!\s)[\t\x20-\x7e\xa0-\xff]*(?<!\s)", value
    ):
        raise ConfigurationError(
            f"HttpOptions(headers=…): {name}: expected text without line breaks, or spaces around "
            "it; strip() it"
        )
    if name.lower() in _OURS:
        raise ConfigurationError(
            f"HttpOptions(headers=…): {name} is the driver's own business: {_OURS[name.lower()]}"
        )


_OURS = {
    "host": "it follows from the URL",
    "connection": "it is kept",
    "content-length": "nothing is sent along",
    "transfer-encoding": "nothing is sent along",
    "accept-encoding": "gzip is understood",
    "if-none-match": "it is made of what came last",
    "if-modified-since": "it is made of what came last",
    "range": "answers are complete, or bad",
}


def _is_param(pair: object) -> bool:
    return (
        isinstance(pair, (tuple, list))
        and len(pair) == 2
        and isinstance(pair[0], str)
        and isinstance(pair[1], (str, int, float))
    )


def _wrong(option: str, expected: str, got: object, *, shown: bool = False) -> ConfigurationError:
    said = f"{got!r:.80}" if shown else type(got).__name__
    return ConfigurationError(f"HttpOptions({option}=…): expected {expected}, got {said}")
