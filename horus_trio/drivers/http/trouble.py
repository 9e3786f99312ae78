"""What can be wrong with an answer, or the lack of one: before it is known what that means.

While a device is opened, all of them are `ConnectFailed`, unless it may pass by itself; later the
driver decides whether one poll failed, or the device is gone.
"""

from __future__ import annotations

import http

__all__ = ["BadAnswer", "CannotConnect", "NoAnswer", "Trouble", "bad_status"]


class Trouble(Exception):
    """Base of them; never seen by users.

    Attributes:
        text: What happened, and what to do: the end of a sentence that begins with the device.
        cause: The error behind it. (``__cause__`` is lost on the way through the library.)
        retry_after: Seconds for which the server wants to be left alone.
    """

    def __init__(
        self, text: str, cause: BaseException | None = None, *, retry_after: float = 0.0
    ) -> None:
        super().__init__(text)
        self.text = text
        self.cause = cause
        self.retry_after = retry_after


class CannotConnect(Trouble):
    """There is no connection to be had."""


class NoAnswer(Trouble):
    """There was a connection, and no answer came over it, or not all of one."""


class BadAnswer(Trouble):
    """An answer came, and it is of no use.

    Attributes:
        lasting: Whether asking again cannot help.
    """

    def __init__(
        self,
        text: str,
        cause: BaseException | None = None,
        *,
        lasting: bool = False,
        retry_after: float = 0.0,
    ) -> None:
        super().__init__(text, cause, retry_after=retry_after)
        self.lasting = lasting


MAY_PASS = frozenset({408, 409, 423, 425, 429})
"""Statuses of the client's fault that may be others the next time."""

REMEDIES = {
    401: "give it credentials that are right: auth=(user, password), or auth='a token'",
    403: "these credentials may not read it: use others, or have the server allow it",
    404: "check the path of the address",
    405: "it is not made to be read with GET: check the path of the address",
    406: "it has nothing of the kind that the header Accept asks for",
    407: "a proxy on the way wants credentials",
    410: "it is gone for good: find out where it is now",
    429: "it is asked too often: raise every=, or share a limiter= between those who ask it",
    500: "see the server's own log",
    502: "the server stands before another one, which does not answer well",
    503: "it is overloaded, or being looked after: it may pass",
    504: "the server stands before another one, which does not answer in time",
}


def bad_status(status: int, *, retry_after: float = 0.0) -> BadAnswer:
    """What a status that is no success means."""
    try:
        phrase = f" {http.HTTPStatus(status).phrase}"
    except ValueError:
        phrase = ""
    remedy = REMEDIES.get(status, "")
    if retry_after:
        remedy = f"{remedy}; it is left alone for {retry_after:.3g} s".removeprefix("; ")
    return BadAnswer(
        f"answers {status}{phrase}{f': {remedy}' if remedy else ''}",
        lasting=status < 500 and status not in MAY_PASS,
        retry_after=retry_after,
    )
