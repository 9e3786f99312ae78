"""A poller: what a server answers, as it is."""

from __future__ import annotations

from .polled import HttpCounts, Polled
from .reading import HttpReading

__all__ = ["HttpCounts", "HttpPoller"]


class HttpPoller(Polled[HttpReading]):
    """A device that is asked over HTTP with GET, again and again. Needs the extra ``http``.

    ::

        async with HttpPoller("http://192.168.0.7/status", every=0.5) as pump:
            print((await pump.receive()).text)

    Polls lie on a grid of multiples of `every` from the moment it was opened, so that they do not
    drift. An answer that is slow, or a `receive` that comes late, leaves polls out and delays none;
    a late `receive` asks at once. One connection is kept from poll to poll, and a request over one
    that the server had closed meanwhile is sent again.

    If the server names its answers (``ETag``, ``Last-Modified``), it is asked for news alone. That
    there are none (304) is no message, nor is an answer without content (204). A cancelled
    `receive` has taken nothing: an answer that was on its way is asked for again by the next one.

    `open` asks for the first time, and the answer is the first message, so it is `open` that tells
    a wrong address and refused credentials. Each `open` begins anew: the first answer is a message
    even if it was one before.

    What can go wrong then:

    - No connection is to be had: `DeviceGone`.
    - No answer in time, or half of one, or no HTTP: `ReceiveFailed`, and `DeviceGone` when it has
      happened `gone_after` times in a row.
    - Any other status, too many bytes, damaged gzip, a way to another server: `ReceiveFailed`. With
      429 and 503, ``Retry-After`` is obeyed, for 600 s at most.

    An answer whose length the server does not tell ends with the connection; if that breaks off
    properly (HTTP/1.0 has nothing better), half an answer looks like a whole one.

    Nothing can be sent: what became of a POST that was cancelled nobody knows. Cookies are not
    kept.

    Arguments:
        url: With ``http`` or ``https``. User and password may be in it, ``http://user:password@…``;
            they are not shown, and neither is its query.
        every: Seconds from poll to poll. 0: at once after each answer, for servers that hold their
            answers back until there is news, or with a `limiter`.
        limiter: Each request waits for its turn there; several pollers may share one.
        answer_within: Seconds in which an answer must be complete, from when the question may be
            asked.
        gone_after: After how many polls in a row without an answer the device counts as gone.
        max_bytes: Bytes that the body of an answer may have, decompressed. What is longer is not
            read to its end.
        unchanged: Whether 304 is a message, too: the reading that came before, as `unchanged`.
        options: Headers, credentials and trust.

    Raises:
        ConfigurationError: An argument makes no sense.
        MissingExtra: httpx2 is not installed.
    """

    def _parse(self, reading: HttpReading) -> HttpReading:
        return reading
