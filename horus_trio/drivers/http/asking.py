"""Asks over httpx2, and has the whole answer or says why not. Imported only when it is needed.

httpx2's connections, requests and schemes of authentication are used, and not its `AsyncClient`:
that would write each URL into the log, with the keys in its query; gather bodies without a limit;
and can be closed only by waiting. One connection is kept alive from answer to answer.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass

import httpcore2
import httpx2

from .body import Body
from .location import Location
from .network import Network
from .options import HttpOptions
from .trouble import BadAnswer, CannotConnect, NoAnswer

__all__ = ["Answer", "Asker"]

MAX_REDIRECTS = 5
"""How often an answer may send us on before it is taken for a circle."""

REDIRECTS = frozenset({301, 302, 303, 307, 308})

IDLE = 60.0
"""Seconds after which a connection that was kept is not trusted any more."""

DEFAULTS = {"Accept": "*/*", "Accept-Encoding": "gzip", "User-Agent": "horus-trio"}


@dataclass(frozen=True, slots=True)
class Answer:
    """All of an answer."""

    status: int
    raw: list[tuple[bytes, bytes]]
    """Its headers, as they came."""
    body: bytes

    def header(self, name: bytes) -> bytes | None:
        """The value of a header, whose name is in lower case; the first if there are several."""
        return next((value for key, value in self.raw if key.lower() == name), None)

    def text_of(self, name: bytes) -> str | None:
        """The same, as text."""
        value = self.header(name)
        return None if value is None else value.decode("latin-1")

    @property
    def headers(self) -> Mapping[str, str]:
        """All of them, as text."""
        headers: dict[str, str] = {}
        for raw_name, raw_value in self.raw:
            name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        return headers


class Asker:
    """Asks one server for one thing, one question at a time.

    Arguments:
        location: Where.
        options: How.
        max_bytes: What an answer may have.
        before_each: Waited for before each question, further ones that come of redirects too.

    Attributes:
        network: Its connections.
        questions: How many were asked.
        repeats: How many of them again, since a connection that was kept had gone bad.

    Raises:
        CannotConnect: The URL is not valid after all.
    """

    def __init__(
        self,
        location: Location,
        options: HttpOptions,
        max_bytes: int,
        before_each: Callable[[], Awaitable[None]] | None,
    ) -> None:
        try:
            url = httpx2.URL(location.url)
        except httpx2.InvalidURL as error:
            raise CannotConnect(
                f"cannot be reached: {location.host!r:.80} is not a valid name of a host", error
            ) from error
        params = options.params
        self._url = url.copy_merge_params(httpx2.QueryParams(params)) if params else url  # type: ignore[arg-type]  # a list of pairs is one of tuples, or of lists
        given = options.header_list(location.user)
        names = {name.lower() for name, _ in given}
        defaults = [pair for pair in DEFAULTS.items() if pair[0].lower() not in names]
        self._headers = [
            (name.encode("latin-1"), value.encode("latin-1")) for name, value in defaults + given
        ]
        self._scheme = options.scheme
        self._max_bytes = max_bytes
        self._before_each = before_each
        self.network: Network = Network(options.verify)
        self._pool = httpcore2.AsyncConnectionPool(
            # The network has a context of its own; this one keeps another from being made.
            ssl_context=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
            max_connections=2,
            max_keepalive_connections=1,
            keepalive_expiry=IDLE,
            network_backend=self.network,  # type: ignore[arg-type]  # it has the methods
        )
        self._connects_before = 0
        self._received_before = 0
        self._had_lines = False
        self._body: Body | None = None
        self.questions: int = 0
        self.repeats: int = 0

    def close(self) -> None:
        """Close its connections at once."""
        self.network.close()

    async def get(self, conditions: list[tuple[bytes, bytes]]) -> Answer:
        """Ask. A checkpoint; cancelled, its connection is closed.

        Arguments:
            conditions: Headers besides the usual ones.

        Raises:
            Trouble: There is no whole answer, or it leads elsewhere.
        """
        self._connects_before = self.network.connects
        self._received_before = self.network.bytes_received
        self._had_lines = bool(self.network.lines)
        self._body = None
        request = httpx2.Request("GET", self._url, headers=self._headers + conditions)
        if self._scheme is None:
            return await self._follow(request)
        async with contextlib.aclosing(self._scheme.async_auth_flow(request)) as flow:
            request = await anext(flow)
            while True:
                answer = await self._follow(request)
                try:
                    request = await flow.asend(_as_response(answer, request))
                except StopAsyncIteration:
                    return answer

    def unanswered(self, seconds: float) -> NoAnswer:
        """What to say when there is no whole answer after so long: how far it came."""
        network, within = self.network, f"within {seconds:g} s"
        if self._body is not None:
            came = self._body.came
            return NoAnswer(f"has not come to the end of its answer {within}: {came} bytes came")
        if network.bytes_received > self._received_before:
            return NoAnswer(f"has not come to the end of its headers {within}")
        if self._had_lines or network.connects > self._connects_before:
            return NoAnswer(f"has accepted the connection, and has not answered {within}")
        return NoAnswer(
            f"has not accepted the connection {within}; see whether it is switched on, in this "
            "network, and behind no firewall"
        )

    async def _follow(self, request: httpx2.Request) -> Answer:
        """Ask, and go where the answer leads."""
        for _ in range(MAX_REDIRECTS + 1):
            if self._before_each is not None:
                await self._before_each()
            answer = await self._ask(request)
            where = answer.text_of(b"location")
            if answer.status not in REDIRECTS or not where:
                return answer
            request = _redirected(request, where)
        raise BadAnswer(
            f"leads in a circle, or further than {MAX_REDIRECTS} times: give the address where it "
            "ends",
            lasting=True,
        )

    async def _ask(self, request: httpx2.Request) -> Answer:
        """Ask; again if a connection that was kept is not worth it.

        The other end may just have closed it; or it has sent more than belonged to the last answer.
        """
        connects, kept = self.network.connects, bool(self.network.lines)
        try:
            return await self._ask_once(request)
        except NoAnswer:
            stale = kept and self.network.connects == connects
            if not stale or self._body is not None:
                raise
        self.repeats += 1
        return await self._ask_once(request)

    async def _ask_once(self, request: httpx2.Request) -> Answer:
        self.questions += 1
        url = request.url
        question = httpcore2.Request(
            request.method,
            httpcore2.URL(
                scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
            ),
            headers=request.headers.raw,
        )
        try:
            response = await self._pool.handle_async_request(question)
            try:
                answer = Answer(response.status, response.headers, b"")
                self._body = body = Body(answer.text_of(b"content-encoding") or "", self._max_bytes)
                length = answer.header(b"content-length") or b""
                if length.isdigit() and response.status != 304:
                    body.announce(int(length))
                parts: AsyncGenerator[bytes, None] = response.stream.__aiter__()  # type: ignore[union-attr, assignment]  # it is async here
                async with contextlib.aclosing(parts):
                    async for part in parts:
                        body.feed(part)
                return Answer(response.status, response.headers, body.whole())
            finally:
                await response.aclose()
        except (httpcore2.ProtocolError, httpcore2.UnsupportedProtocol) as error:
            if not self.network.hung_up:
                text = (
                    f"does not speak HTTP as it should ({error!s:.100}): check the port and the "
                    "path"
                )
            elif self._body is None:
                text = "has closed the connection without an answer"
            else:
                text = "has closed the connection in the middle of its answer"
            raise NoAnswer(text, error) from error


def _redirected(request: httpx2.Request, where: str) -> httpx2.Request:
    """The question that an answer leads to, at the same server: nobody else gets our secrets."""
    try:
        url = request.url.join(where)
    except httpx2.InvalidURL as error:
        raise BadAnswer("leads to what is no URL", error, lasting=True) from error
    old = request.url
    same = (url.scheme, url.host, _port(url)) == (old.scheme, old.host, _port(old))
    encrypted = (old.scheme, url.scheme) == ("http", "https") and url.host == old.host
    if not same and not encrypted:
        path = url.raw_path.partition(b"?")[0]  # without what may be secret, and encoded
        shown = f"{url.scheme}://{(url.netloc + path).decode('ascii')}"[:120]
        raise BadAnswer(
            f"leads to another server, {shown}: it is not followed there with these headers; if "
            "that is right, give that address",
            lasting=True,
        )
    headers = request.headers.copy()
    headers["Host"] = url.netloc.decode("ascii")
    return httpx2.Request("GET", url, headers=headers)


def _port(url: httpx2.URL) -> int | None:
    return url.port or {"http": 80, "https": 443}.get(url.scheme)


def _as_response(answer: Answer, request: httpx2.Request) -> httpx2.Response:
    """The answer as schemes of authentication look at it."""
    plain = [pair for pair in answer.raw if pair[0].lower() != b"content-encoding"]
    return httpx2.Response(answer.status, headers=plain, content=answer.body, request=request)
