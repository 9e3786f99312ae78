"""`HttpPoller`: what it asks, when, and what it gives out, over HTTP on the loopback address."""

from __future__ import annotations

import contextlib
import pickle
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
import trio
import trio.testing
from drivers.http_peers import (
    MessagePeer,
    Question,
    Stream,
    WebServer,
    answer,
    begins_with,
    in_turn,
    open_message_peer,
    open_web_server,
    zipped,
)
from drivers.peers import descriptors
from drivers.steps import SOON, closes_in_every_state, leaks_nothing, raises_soon

from horus_trio.drivers import (
    DriverState,
    HttpOptions,
    HttpPoller,
    HttpReading,
    MissingExtra,
    ReceiveFailed,
)
from horus_trio.errors import ConfigurationError
from horus_trio.helpers import RateLimiter
from horus_trio.testing import cancel_everywhere


async def bodies(poller: HttpPoller, count: int) -> list[bytes]:
    with trio.fail_after(SOON):
        return [(await poller.receive()).body for _ in range(count)]


def nothing_first() -> Any:
    """The first question of each connection is told that there is nothing; the others, nothing."""
    seen: set[int] = set()

    async def say(question: Question, stream: Stream) -> bytes | None:
        if question.connection in seen:
            await trio.sleep_forever()
        seen.add(question.connection)
        return answer(204)

    return say


# Readings


async def test_the_first_answer_is_the_first_message() -> None:
    said = answer(200, "21,5 °C".encode("latin-1"), Content_Type="text/plain; charset=ISO-8859-1")
    async with open_web_server(in_turn([said])) as server:
        async with HttpPoller(server.url) as poller:
            assert len(server.questions) == 1
            began = trio.current_time()
            reading = await poller.receive()
        assert (reading.status, reading.body) == (200, b"21,5 \xb0C")
        assert (reading.text, reading.charset) == ("21,5 °C", "iso-8859-1")
        assert reading.headers["content-type"] == "text/plain; charset=ISO-8859-1"
        assert 0 < reading.elapsed < SOON
        assert began - SOON < reading.at <= began
        assert not reading.unchanged
        assert repr(reading) == "<HttpReading 200, 7 bytes: b'21,5 \\xb0C'>"
        assert pickle.loads(pickle.dumps(reading)) == reading
        with pytest.raises(AttributeError):
            reading.status = 500  # type: ignore[misc]
        assert poller.state is DriverState.CLOSED
    [question] = server.questions
    assert question.target == "/value"
    assert question.headers["accept-encoding"] == "gzip"
    assert "if-none-match" not in question.headers


def reading_of(body: bytes, content_type: str = "") -> HttpReading:
    headers = {"content-type": content_type}
    return HttpReading(status=200, body=body, headers=headers, at=0.0, elapsed=0.0)


@pytest.mark.parametrize(
    ("content_type", "charset"),
    [
        ("", None),
        ("application/json", None),
        ('text/plain; charset="UTF-16"', "utf-16"),
        ("text/plain; charset=", None),
        ("text/plain; charset=no-such-thing", "no-such-thing"),
        ("text/plain; charset=base64", "base64"),
        ("; ; charset", None),
    ],
)
def test_a_character_set_that_is_none_is_utf_8(content_type: str, charset: str | None) -> None:
    reading = reading_of("°".encode("utf-16" if charset == "utf-16" else "utf-8"), content_type)
    assert reading.charset == charset
    assert reading.text == "°"


def test_text_that_is_not_valid_is_shown_all_the_same() -> None:
    assert reading_of(b"a\xff").text == "a\ufffd"
    assert repr(reading_of(bytes(100))).count("\\x00") == 40


async def test_the_same_header_twice_is_joined() -> None:
    said = b"HTTP/1.1 200 OK\r\nX-A: 1\r\nx-a: 2\r\nContent-Length: 0\r\n\r\n"
    async with open_web_server(in_turn([said])) as server, HttpPoller(server.url) as poller:
        reading = await poller.receive()
    assert reading.headers["x-a"] == "1, 2"
    assert reading.body == b""


async def test_gzip_is_decompressed_and_counted_as_it_came() -> None:
    body = b"0123456789" * 10_000
    async with open_web_server(in_turn([zipped(body)])) as server, HttpPoller(server.url) as poller:
        assert await bodies(poller, 1) == [body]
        assert 100 < poller.statistics().bytes_received < 2000
        assert poller.statistics().bytes_sent > 50


async def test_it_polls_on_one_connection() -> None:
    numbers = [b"%d" % number for number in range(50)]
    async with open_web_server(in_turn(answer(200, number) for number in numbers)) as server:
        async with HttpPoller(server.url, every=0) as poller:
            assert await bodies(poller, 50) == numbers
            assert poller.counts.questions == 50
            assert poller.statistics().received == 50
        assert server.connections == 1


async def test_one_byte_at_a_time() -> None:
    async def trickle(question: Question, stream: Stream) -> bytes | None:
        number = len(server.questions)
        for byte in answer(200, b"number %d" % number):
            await stream.send_all(bytes([byte]))
            await trio.lowlevel.checkpoint()
        return b""

    async with open_web_server(trickle) as server, HttpPoller(server.url, every=0) as poller:
        assert await bodies(poller, 5) == [b"number %d" % number for number in range(1, 6)]


# Conditional requests


async def test_it_asks_for_news_alone() -> None:
    date = "Wed, 21 Oct 2026 07:28:00 GMT"
    answers = [
        answer(200, b"a", ETag='"1"', Last_Modified=date),
        answer(304),
        answer(304),
        answer(200, b"b", ETag='W/"2"'),
        answer(200, b"c"),
        answer(200, b"d"),
    ]
    async with (
        open_web_server(in_turn(answers)) as server,
        HttpPoller(server.url, every=0) as poller,
    ):
        assert await bodies(poller, 4) == [b"a", b"b", b"c", b"d"]
        counts = poller.counts
    asked = [
        (question.headers.get("if-none-match"), question.headers.get("if-modified-since"))
        for question in server.questions
    ]
    first = ('"1"', date)
    assert asked == [(None, None), first, first, first, ('W/"2"', None), (None, None)]
    assert (counts.questions, counts.unchanged, counts.empty) == (6, 2, 0)


async def test_that_nothing_is_new_may_be_a_message() -> None:
    answers = [answer(200, b"a", ETag='"1"'), answer(304, ETag='"1"'), answer(204), answer(304)]
    async with (
        open_web_server(in_turn(answers)) as server,
        HttpPoller(server.url, every=0, unchanged=True) as poller,
    ):
        first, second, third = [await poller.receive() for _ in range(3)]
    assert (first.status, first.unchanged) == (200, False)
    assert (second.status, second.unchanged, second.body) == (304, True, b"a")
    assert (third.unchanged, third.body) == (True, b"a")
    assert first.at < second.at < third.at
    assert "unchanged" in repr(second)


async def test_what_was_not_asked_for_is_no_answer() -> None:
    answers = [answer(200, b"a"), answer(304), answer(206, b"half"), answer(200, b"b")]
    async with (
        open_web_server(in_turn(answers)) as server,
        HttpPoller(server.url, every=0) as poller,
    ):
        await poller.receive()
        for status in (304, 206):
            error = await raises_soon(ReceiveFailed, poller.receive)
            assert f"answers {status}" in str(error)
        assert await bodies(poller, 1) == [b"b"]


async def test_an_answer_that_was_cancelled_is_asked_for_again() -> None:
    may_go_on = trio.Event()

    async def stall_once(question: Question, stream: Stream) -> bytes | None:
        number = len(server.questions)
        if number == 1:
            return answer(200, b"one", ETag='"1"')
        whole = answer(200, b"two", ETag='"2"')
        if number == 2:
            await stream.send_all(whole[:-1])
            may_go_on.set()
            await trio.sleep_forever()
        return whole if number == 3 else answer(200, b"three")

    async with open_web_server(stall_once) as server, HttpPoller(server.url, every=0) as poller:
        assert await bodies(poller, 1) == [b"one"]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(poller.receive)
            await may_go_on.wait()
            nursery.cancel_scope.cancel()
        assert await bodies(poller, 2) == [b"two", b"three"]
    asked = [question.headers.get("if-none-match") for question in server.questions]
    assert asked == [None, '"1"', '"1"', '"2"']


async def test_each_opening_begins_anew() -> None:
    answers = [answer(200, b"a", ETag='"1"')] * 2
    async with open_web_server(in_turn(answers)) as server:
        poller = HttpPoller(server.url, every=0)
        for _ in range(2):
            async with poller:
                assert await bodies(poller, 1) == [b"a"]
    assert [question.headers.get("if-none-match") for question in server.questions] == [None, None]
    assert poller.counts.questions == 2
    assert poller.statistics().connects == 2


async def test_cancelled_at_random_it_gets_each_message_once() -> None:
    """On connections that are kept, whatever pass of the loop a receive is cancelled in."""
    async with (
        open_message_peer() as peer,
        begins_with(HttpPoller(peer.url, every=0), peer) as poller,
    ):
        came: list[bytes] = []
        for number in range(150):
            await peer.send(b"%d" % number)
        before = descriptors()
        with trio.fail_after(3 * SOON):
            passes = 0
            while len(came) < 150:
                passes = (passes + 1) % 40
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(cancel_after, passes, nursery.cancel_scope)
                    came.append((await poller.receive()).body)
                    nursery.cancel_scope.cancel()
        assert came == [b"%d" % number for number in range(150)]
        await trio.sleep(0.1)  # the server has to notice which connections have ended
        assert descriptors() <= before + 2
        assert peer.server is not None
        assert peer.server.connections > 10


async def cancel_after(passes: int, scope: trio.CancelScope) -> None:
    for _ in range(passes):
        await trio.lowlevel.checkpoint()
    scope.cancel()


# How it asks


async def test_options_are_sent_along() -> None:
    options = HttpOptions(
        headers={"X-Api-Key": "k1", "accept": "text/csv"},
        params={"q": "a b&c", "n": 3},
        auth=("Aladdin", "open sesame"),
    )
    async with (
        open_web_server(in_turn([answer(200)])) as server,
        HttpPoller(server.url + "?x=1#part", options=options),
    ):
        pass
    [question] = server.questions
    assert question.target in ("/value?x=1&q=a+b%26c&n=3", "/value?x=1&q=a%20b%26c&n=3")
    assert question.headers["x-api-key"] == "k1"
    assert question.headers["accept"] == "text/csv"
    assert question.headers["authorization"] == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
    assert question.headers["host"] == f"127.0.0.1:{server.port}"


async def test_credentials_in_the_url_and_tokens() -> None:
    async with open_web_server(in_turn([answer(200)] * 2)) as server:
        where = server.url.replace("//", "//Aladdin:open%20sesame@")
        async with HttpPoller(where):
            pass
        async with HttpPoller(server.url, options=HttpOptions(auth="t0k3n")):
            pass
    assert [question.headers["authorization"] for question in server.questions] == [
        "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
        "Bearer t0k3n",
    ]


async def test_digest_is_spoken() -> None:
    async def check(question: Question, stream: Stream) -> bytes | None:
        if "authorization" in question.headers:
            return answer(200, question.headers["authorization"].encode())
        return answer(401, WWW_Authenticate='Digest realm="r", nonce="n1", qop="auth"')

    options = HttpOptions(auth=httpx2.DigestAuth("robot", "secret"))
    async with (
        open_web_server(check) as server,
        HttpPoller(server.url, every=0, options=options) as poller,
    ):
        first, second = await bodies(poller, 2)
    assert first.startswith(b'Digest username="robot", realm="r", nonce="n1"')
    assert b"nc=00000002" in second
    assert len(server.questions) == 3  # the nonce is used again


async def test_what_the_environment_says_of_proxies_is_not_heard(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with open_web_server(in_turn([answer(200)])) as server, HttpPoller(server.url):
        assert len(server.questions) == 1


async def test_ipv6() -> None:
    try:
        [listener] = await trio.open_tcp_listeners(0, host="::1")
    except OSError:
        pytest.skip("this machine has no IPv6")
    server = WebServer(in_turn([answer(200, b"six")]), listener.socket.getsockname()[1])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.run, listener)
        async with HttpPoller(f"http://[::1]:{server.port}/value") as poller:
            assert await bodies(poller, 1) == [b"six"]
            assert "[::1]" in repr(poller)
        server.kill()
    assert server.questions[0].headers["host"] == f"[::1]:{server.port}"


async def test_it_takes_nothing_to_send() -> None:
    async with open_web_server(in_turn([answer(200)])) as server, HttpPoller(server.url) as poller:
        with pytest.raises(ConfigurationError, match="takes no messages"):
            await poller.send(await poller.receive())


# What is secret


async def test_secrets_are_told_to_nobody(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    options = HttpOptions(headers={"X-Key": "SECRET1"}, params={"appid": "SECRET2"})
    said: list[str] = []
    async with open_web_server(
        in_turn([answer(200), answer(401), answer(302, Location="/x?SECRET3"), None, None])
    ) as server:
        where = server.url.replace("//", "//me:SECRET4@") + "?key=SECRET5"
        poller = HttpPoller(where, every=0, options=options)
        async with poller:
            await poller.receive()
            for _ in range(2):
                said.append(str(await raises_soon(ReceiveFailed, poller.receive)))
            said += [repr(poller), poller.name, poller.statistics().last_error]
    assert server.questions[0].target == "/value?key=SECRET5&appid=SECRET2"
    said += [repr(options), repr(poller._location), caplog.text]
    for bad in (f"{where} ", "ftp://me:SECRET4@host/", "http://me:SECRET4@host:99999/"):
        with pytest.raises(ConfigurationError) as caught:
            HttpPoller(bad)
        said.append(str(caught.value))
    for arguments in (
        {"headers": {"X-Key": "SECRET1\n"}},
        {"auth": "SECRET 6"},
        {"auth": ("a:b", "SECRET6")},
        {"auth": ("SECRET6",)},
    ):
        with pytest.raises(ConfigurationError) as caught:
            HttpOptions(**arguments)
        said.append(str(caught.value))
    assert "SECRET" not in "\n".join(said)
    assert repr(poller) == f"<HttpPoller http://127.0.0.1:{server.port}/value, closed>"


# Open and closed


async def test_it_closes_in_every_state() -> None:
    async with open_web_server(nothing_first()) as server:
        await closes_in_every_state(lambda: HttpPoller(server.url, every=0))
        await closes_in_every_state(lambda: HttpPoller(server.url, every=1000))


async def test_a_receive_that_waits_for_the_limiter_or_a_connection_is_ended() -> None:
    limiter = RateLimiter(0.001, burst=1)
    async with open_web_server(in_turn([answer(204)])) as server:
        poller = HttpPoller(server.url, every=0, limiter=limiter)
        await poller.open()
        async with trio.open_nursery() as nursery:

            async def receive() -> None:
                await raises_soon(trio.ClosedResourceError, poller.receive)

            nursery.start_soon(receive)
            await trio.testing.wait_all_tasks_blocked(0.01)
            await poller.aclose()
            assert not poller._receiving  # it has tidied up
    assert limiter.statistics().waiting == 0


async def test_opened_and_closed_it_leaves_nothing() -> None:
    async with open_web_server(nothing_first()) as server:
        await leaks_nothing(lambda: HttpPoller(server.url), 100)


async def test_open_and_aclose_can_be_cancelled_anywhere() -> None:
    @contextlib.asynccontextmanager
    async def new() -> AsyncIterator[HttpPoller]:
        async with open_message_peer() as peer:
            await peer.send(b"hello")
            poller = begins_with(HttpPoller(peer.url, every=0), peer)
            try:
                yield poller
            finally:
                with trio.CancelScope(shield=True):
                    await poller.aclose()

    @contextlib.asynccontextmanager
    async def new_and_open() -> AsyncIterator[HttpPoller]:
        async with new() as poller:
            await poller.open()
            yield poller

    async def works(poller: HttpPoller) -> bytes:
        return (await poller.receive()).body

    await cancel_everywhere(new, lambda poller: poller.open(), observe=works)
    await cancel_everywhere(
        new_and_open, lambda poller: poller.aclose(), observe=lambda poller: poller.state
    )


class ClosingPeer(MessagePeer):
    """Keeps no connection, so that one that a cancellation costs is no leftover."""

    connection = "close"


async def test_receive_can_be_cancelled_anywhere() -> None:
    @contextlib.asynccontextmanager
    async def new_and_open() -> AsyncIterator[HttpPoller]:
        async with (
            open_message_peer(ClosingPeer) as peer,
            begins_with(HttpPoller(peer.url, every=0), peer) as poller,
        ):
            for number in range(3):
                await peer.send(b"%d" % number)
            yield poller

    async def receive(poller: HttpPoller) -> bytes:
        return (await poller.receive()).body

    async def receive_the_rest(poller: HttpPoller) -> list[bytes]:
        return await bodies(poller, 2)

    await cancel_everywhere(new_and_open, receive, observe=receive_the_rest)


# Bad input


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"url": 7}, "expected text such as 'http://"),
        ({"url": "192.168.0.7/status"}, "expected a URL with a host"),
        ({"url": "mqtt://host/"}, "got one of mqtt:"),
        ({"url": "http:///status"}, "expected a URL with a host"),
        ({"url": "http://host/a b"}, "spaces or control characters"),
        ({"url": "http://host:0/"}, "expected a port from 1 to 65535"),
        ({"url": "http://host:port/"}, "the host and port are not valid"),
        ({"url": "http://[::1/"}, "the host and port are not valid"),
        ({"every": -1}, r"every=-1\): expected a finite number of seconds, 1e-06 or more"),
        ({"every": float("nan")}, "every=nan"),
        ({"every": True}, "every=True"),
        ({"every": 10**400}, "every=1000"),
        ({"every": 1e-300}, "every=1e-300"),
        ({"answer_within": 0}, "answer_within=0.*above 0"),
        ({"answer_within": float("inf")}, "answer_within=inf"),
        ({"gone_after": 0}, "expected a whole number, 1 or more"),
        ({"max_bytes": 1.5}, "expected a whole number, 1 or more"),
        ({"limiter": 5}, "expected a horus_trio.helpers.RateLimiter"),
        ({"options": {"auth": "x"}}, r"expected HttpOptions\(…\), got dict"),
        (
            {"url": "http://a:b@host/", "options": HttpOptions(auth="x")},
            "credentials in it, and others in options",
        ),
        (
            {"url": "http://a:b@host/", "options": HttpOptions(headers={"AUTHORIZATION": "x"})},
            "credentials in it, and others in options",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        HttpPoller(**({"url": "http://127.0.0.1/"} | arguments))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"headers": [("a", "b")]}, "headers=…"),
        ({"headers": {"a b": "c"}}, "names of letters, digits and hyphens, got 'a b'"),
        ({"headers": {"a": 7}}, "a: expected text without line breaks"),
        ({"headers": {"Host": "x"}}, "Host is the driver's own business: it follows from the URL"),
        ({"headers": {"accept-encoding": "br"}}, "gzip is understood"),
        ({"params": "a=b"}, "params=…"),
        ({"params": {"a": [1]}}, "params=…"),
        ({"auth": ("me",)}, r"expected \(user, password\)"),
        ({"auth": 7}, "a bearer token, or an httpx2.Auth"),
        ({"verify": None}, "a path or an ssl.SSLContext"),
        ({"verify": ""}, "a path or an ssl.SSLContext"),
    ],
)
def test_options_that_make_no_sense_are_refused(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        HttpOptions(**arguments)


def test_the_package_is_asked_for_in_the_constructor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra) as caught:
        HttpPoller("http://127.0.0.1/")
    assert str(caught.value) == (
        "HttpPoller needs httpx2, which is not installed: pip install 'horus-trio[http]'"
    )
