"""`HttpPoller` and servers that are not there, say nothing, or say nonsense."""

from __future__ import annotations

import contextlib
import gzip
import socket
import struct
import zlib
from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing
from drivers.http_peers import Question, Stream, answer, in_turn, open_web_server, zipped
from drivers.peers import free_port
from drivers.steps import SOON, raises_soon, until
from trio.testing import MockClock

import horus_trio as horus
from horus_trio.drivers import (
    ConnectFailed,
    DeviceGone,
    DriverNode,
    DriverState,
    HttpOptions,
    HttpPoller,
    HttpReading,
    ReceiveFailed,
)

Say = Callable[[Question, Stream], Awaitable[bytes | None]]


async def accepts_and_says_nothing(question: Question, stream: Stream) -> None:
    await trio.sleep_forever()


async def hangs_up(question: Question, stream: Stream) -> None:
    await trio.lowlevel.checkpoint()


async def resets(question: Question, stream: Stream) -> None:
    assert isinstance(stream, trio.SocketStream)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await stream.aclose()


async def headers_without_end(question: Question, stream: Stream) -> None:
    await stream.send_all(b"HTTP/1.1 200 OK\r\n")
    while True:
        await stream.send_all(b"X-More: and more\r\n" * 100)


async def headers_that_trickle(question: Question, stream: Stream) -> None:
    await stream.send_all(b"HTTP/1.1 200 OK\r\n")
    while True:
        await stream.send_all(b"X-More: and more\r\n")
        await trio.sleep(0.01)


async def only_says_wait(question: Question, stream: Stream) -> None:
    while True:
        await stream.send_all(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")
        await trio.sleep(0.01)


async def stalls_in_the_body(question: Question, stream: Stream) -> None:
    await stream.send_all(answer(200, b"0123456789")[:-3])
    await trio.sleep_forever()


async def ends_in_the_body(question: Question, stream: Stream) -> None:
    await stream.send_all(answer(200, b"0123456789")[:-3])


async def chunked_garbage(question: Question, stream: Stream) -> bytes:
    await trio.lowlevel.checkpoint()
    return answer(200, b"5\r\nhello\r\nxyz\r\n", transfer_encoding="chunked")


async def a_line_without_end(question: Question, stream: Stream) -> bytes:
    await trio.lowlevel.checkpoint()
    return b"x" * 50_000 + b"\r\n\r\n"


async def another_protocol(question: Question, stream: Stream) -> bytes:
    await trio.lowlevel.checkpoint()
    return b"SSH-2.0-OpenSSH_9.2\r\n\r\n"


NO_ANSWER: list[tuple[Say, str]] = [
    (accepts_and_says_nothing, "has accepted the connection, and has not answered within 4 s"),
    (hangs_up, "has closed the connection without an answer"),
    (resets, "has broken the connection off (Connection reset by peer)"),
    (headers_without_end, "does not speak HTTP as it should"),
    (headers_that_trickle, "has not come to the end of its headers within 4 s"),
    (only_says_wait, "has not come to the end of its headers within 4 s"),
    (stalls_in_the_body, "not come to the end of its answer within 4 s: 7 bytes came"),
    (ends_in_the_body, "has closed the connection in the middle of its answer"),
    (chunked_garbage, "does not speak HTTP as it should"),
    (a_line_without_end, "does not speak HTTP as it should"),
    (another_protocol, "does not speak HTTP as it should"),
]


def id_of(value: object) -> str | None:
    return getattr(value, "__name__", None)


async def let_time_pass(clock: MockClock) -> None:
    """Half a second whenever nothing happens, so that what waits for too long does so at once."""
    while True:
        await trio.testing.wait_all_tasks_blocked(0.01)
        clock.jump(0.5)


@pytest.mark.parametrize(("say", "said"), NO_ANSWER, ids=id_of)
async def test_a_server_without_an_answer_cannot_be_opened(
    mock_clock: MockClock, say: Say, said: str
) -> None:
    async with open_web_server(say) as server, trio.open_nursery() as nursery:
        if "within" in said:
            nursery.start_soon(let_time_pass, mock_clock)
        poller = HttpPoller(server.url, answer_within=4)
        error = await raises_soon(ConnectFailed, poller.open)
        assert str(error).startswith(f"HttpPoller {server.url} cannot be opened: it ")
        assert said in str(error)
        assert len(str(error)) < 250
        assert poller.state is DriverState.CLOSED
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("say", "said"), NO_ANSWER, ids=id_of)
async def test_one_without_answers_is_gone_after_three(
    mock_clock: MockClock, say: Say, said: str
) -> None:
    async def good_at_first(question: Question, stream: Stream) -> bytes | None:
        if len(server.questions) == 1:
            return answer(200, b"good")
        return await say(question, stream)

    async with (
        open_web_server(good_at_first) as server,
        trio.open_nursery() as nursery,
        HttpPoller(server.url, every=0, answer_within=4) as poller,
    ):
        assert (await poller.receive()).body == b"good"
        if "within" in said:
            nursery.start_soon(let_time_pass, mock_clock)
        for _ in range(2):
            error = await raises_soon(ReceiveFailed, poller.receive)
            assert said in str(error)
            assert poller.state is DriverState.OPEN
        error = await raises_soon(DeviceGone, poller.receive)
        assert said in str(error)
        assert "the last of 3 polls in a row" in str(error)
        assert poller.state is DriverState.BROKEN
        nursery.cancel_scope.cancel()


async def test_a_good_answer_between_bad_ones_begins_the_count_anew() -> None:
    async def every_third(question: Question, stream: Stream) -> bytes | None:
        good = len(server.questions) % 3 == 1
        if not good:
            await ends_in_the_body(question, stream)
            return None
        return answer(200, b"good")

    came: list[bytes] = []
    async with (
        open_web_server(every_third) as server,
        HttpPoller(server.url, every=0) as poller,
    ):
        for _ in range(9):
            try:
                came.append((await poller.receive()).body)
            except ReceiveFailed:
                came.append(b"")
    assert came == [b"good", b"", b""] * 3


async def test_that_nothing_is_new_is_a_good_answer_too() -> None:
    async def every_second(question: Question, stream: Stream) -> bytes | None:
        number = len(server.questions)
        if number > 1 and number % 2:
            await ends_in_the_body(question, stream)
            return None
        return answer(200, b"good", ETag='"1"') if number in (1, 12) else answer(304)

    failures = 0
    async with (
        open_web_server(every_second) as server,
        HttpPoller(server.url, every=0) as poller,
    ):
        await poller.receive()
        while poller.statistics().received < 2:
            try:
                await poller.receive()
            except ReceiveFailed:
                failures += 1
    assert failures == 5


async def test_gone_at_once_if_one_is_enough() -> None:
    answers = in_turn([answer(200), None])
    async with (
        open_web_server(answers) as server,
        HttpPoller(server.url, every=0, gone_after=1) as poller,
    ):
        await poller.receive()
        # The connection that was kept is closed, and so is the next one: no answer comes.
        server.handler = hangs_up
        error = await raises_soon(DeviceGone, poller.receive)
        assert "without an answer" in str(error)
        assert "in a row" not in str(error)


async def test_a_connection_that_was_closed_meanwhile_is_no_failure() -> None:
    """Whether that is seen before the question is asked, or only after it."""

    async def at_once(question: Question, stream: Stream) -> bytes | None:
        return answer(200, b"%d" % len(server.questions), connection="close")

    async def instead_of_an_answer(question: Question, stream: Stream) -> bytes | None:
        first = [other.connection for other in server.questions].count(question.connection) == 1
        return answer(200, b"%d" % len(server.questions)) if first else None

    for say, repeated in ((at_once, 0), (instead_of_an_answer, 4)):
        async with (
            open_web_server(say) as server,
            HttpPoller(server.url, every=0, gone_after=1) as poller,
        ):
            for _ in range(5):
                await poller.receive()
            assert poller.counts.repeated == repeated
            assert poller.statistics().failures == 0
        assert server.connections == 5


async def test_what_comes_after_an_answer_is_no_part_of_the_next() -> None:
    """Some devices send a body where there must be none."""
    wrong = b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nhello"
    answers = [answer(200, b"a", ETag='"1"'), wrong, wrong, answer(200, b"b"), wrong + wrong]
    async with (
        open_web_server(in_turn(answers)) as server,
        HttpPoller(server.url, every=0, gone_after=1) as poller,
    ):
        assert (await poller.receive()).body == b"a"
        assert (await poller.receive()).body == b"b"
        assert poller.statistics().failures == 0


async def test_nobody_there() -> None:
    poller = HttpPoller(f"http://127.0.0.1:{free_port()}/x?key=secret")
    error = await raises_soon(ConnectFailed, poller.open)
    assert "nothing listens there: start what should, or check the port" in str(error)
    assert "secret" not in str(error)
    assert isinstance(error.__cause__, OSError)
    async with open_web_server(in_turn([answer(200)])) as server, HttpPoller(server.url) as poller:
        await poller.receive()
        server.kill()
        poller._grid.due = trio.current_time()
        error = await raises_soon(DeviceGone, poller.receive)
        assert "is gone: it cannot be reached" in str(error)
        assert isinstance(error.__cause__, OSError)


async def test_a_machine_that_does_not_answer_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    async def connect(host: str, port: int) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr(trio, "open_tcp_stream", connect)
    poller = HttpPoller("http://192.0.2.1/", answer_within=0.05)
    error = await raises_soon(ConnectFailed, poller.open)
    assert "has not accepted the connection within 0.05 s" in str(error)


@pytest.mark.parametrize("host", ["no-such-robot.invalid", "a..b", "x" * 80, "-a.☃", "256.1.1.1"])
async def test_a_name_that_is_none(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    async def connect(host: str, port: int) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(trio, "open_tcp_stream", connect)
    error = await raises_soon(ConnectFailed, HttpPoller(f"http://{host}/").open)
    assert f"{host!r}" in str(error)
    assert "cannot be resolved" in str(error) or "is not a valid name of a host" in str(error)


# Statuses


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (300, "Multiple Choices"),
        (401, "Unauthorized: give it credentials that are right"),
        (403, "Forbidden: these credentials may not read it"),
        (404, "Not Found: check the path of the address"),
        (418, ""),
        (499, ""),
    ],
)
async def test_what_stays_so_is_told_when_it_is_opened(status: int, said: str) -> None:
    async with open_web_server(in_turn([answer(status, b"<html>no</html>")])) as server:
        poller = HttpPoller(server.url)
        error = await raises_soon(ConnectFailed, poller.open)
    assert f"cannot be opened: it answers {status}" in str(error)
    assert said in str(error)
    assert "html" not in str(error)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599])
async def test_what_may_pass_is_one_answer_that_failed(status: int) -> None:
    answers = [answer(status, b"oh"), answer(status), answer(status), answer(200, b"good")]
    async with open_web_server(in_turn(answers)) as server:
        async with HttpPoller(server.url, every=0, gone_after=1) as poller:
            for _ in range(3):
                error = await raises_soon(ReceiveFailed, poller.receive)
                assert f"answers {status}" in str(error)
            assert (await poller.receive()).body == b"good"
            assert poller.statistics().rejected == 3
            assert poller.state is DriverState.OPEN
        assert server.connections == 1


async def test_credentials_that_are_not_right_any_more() -> None:
    async with open_web_server(in_turn([answer(200), answer(401), answer(200, b"x")])) as server:
        options = HttpOptions(auth=("me", "wrong"))
        async with HttpPoller(server.url, every=0, options=options) as poller:
            await poller.receive()
            error = await raises_soon(ReceiveFailed, poller.receive)
            assert "auth=(user, password)" in str(error)
            assert (await poller.receive()).body == b"x"


# Too much


async def test_a_body_that_is_announced_as_too_large_is_not_read() -> None:
    async def say(question: Question, stream: Stream) -> bytes | None:
        if len(server.questions) == 2:
            return answer(200, b"small")
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        with contextlib.suppress(trio.BrokenResourceError):
            for _ in range(1000):
                await stream.send_all(bytes(1_000_000))
        return None

    async with (
        open_web_server(say) as server,
        HttpPoller(server.url, every=0, max_bytes=1000) as poller,
    ):
        error = await raises_soon(ReceiveFailed, poller.receive)
        assert "more than max_bytes=1000 bytes" in str(error)
        assert (await poller.receive()).body == b"small"
        assert poller.statistics().bytes_received < 200_000


async def test_a_body_without_end_is_cut_off() -> None:
    async def say(question: Question, stream: Stream) -> bytes | None:
        if len(server.questions) == 2:
            return answer(200, bytes(1000))  # as much as it may be
        await stream.send_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        with contextlib.suppress(trio.BrokenResourceError):
            while True:
                await stream.send_all(b"3e8\r\n" + bytes(1000) + b"\r\n")
        return None

    async with (
        open_web_server(say) as server,
        HttpPoller(server.url, every=0, max_bytes=1000) as poller,
    ):
        error = await raises_soon(ReceiveFailed, poller.receive)
        assert "more than max_bytes=1000 bytes" in str(error)
        assert (await poller.receive()).body == bytes(1000)
        assert poller.statistics().bytes_received < 300_000


def much_of_nothing() -> bytes:
    """Gzip that is long, and has nothing in it."""
    zipper = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    return zipper.flush(zlib.Z_FULL_FLUSH) + b"\x00\x00\x00\xff\xff" * 30_000 + zipper.flush()


@pytest.mark.parametrize(
    ("zipped_body", "said"),
    [
        (gzip.compress(bytes(50_000_000)), "more than max_bytes=100000 bytes"),
        (much_of_nothing(), "more than max_bytes=100000 bytes"),
        (gzip.compress(bytes(99_999)) + gzip.compress(b"ab"), "more than max_bytes=100000 bytes"),
        (gzip.compress(b"0123456789" * 100)[:-9], "gzip whose end is missing"),
        (b"this is no gzip", "no valid gzip"),
        (gzip.compress(b"good") + b"bad", "no valid gzip"),
        (gzip.compress(b"x" * 1000)[:-8] + bytes(8), "no valid gzip"),  # a wrong checksum
    ],
    ids=["bomb", "nothing", "two", "cut", "none", "tail", "checksum"],
)
async def test_gzip_that_is_too_much_or_damaged(zipped_body: bytes, said: str) -> None:
    bad = answer(200, zipped_body, content_encoding="gzip")
    good = zipped(bytes(100_000))
    several = answer(200, gzip.compress(b"a") + gzip.compress(b"b"), content_encoding="gzip")
    async with (
        open_web_server(in_turn([bad, good, several])) as server,
        HttpPoller(server.url, every=0, max_bytes=100_000) as poller,
    ):
        error = await raises_soon(ReceiveFailed, poller.receive)
        assert said in str(error)
        assert (await poller.receive()).body == bytes(100_000)
        assert (await poller.receive()).body == b"ab"


async def test_an_encoding_that_was_not_asked_for() -> None:
    said = [answer(200, b"??", content_encoding="br"), answer(200, b"", content_encoding="gzip")]
    async with open_web_server(in_turn(said)) as server, HttpPoller(server.url, every=0) as poller:
        error = await raises_soon(ReceiveFailed, poller.receive)
        assert "Content-Encoding 'br', though gzip is all it was offered" in str(error)
        assert (await poller.receive()).body == b""


# In a robot


async def test_a_server_that_is_killed_and_comes_back(caplog: pytest.LogCaptureFixture) -> None:
    """The node publishes again, and what one bad answer is, is none of its failures."""
    port = free_port()
    numbers = iter(range(1000))

    async def count(question: Question, stream: Stream) -> bytes | None:
        number = next(numbers)
        return answer(503) if number == 2 else answer(200, b"%d" % number)

    poller = HttpPoller(f"http://127.0.0.1:{port}/", every=0.01)
    node = DriverNode("station", poller, publish="readings")
    scheduler = horus.Scheduler(signals=False)
    scheduler.add(node)
    came = scheduler.topic("readings").subscribe()

    async def until_there_are(count: int) -> list[bytes]:
        with trio.fail_after(SOON):
            readings: list[HttpReading] = [await came.receive() for _ in range(count)]
        return [reading.body for reading in readings]

    async with trio.open_nursery() as nursery:
        nursery.start_soon(scheduler.run)
        async with open_web_server(count, port=port):
            first = await until_there_are(5)
            assert node.connected
        await until(lambda: not node.connected)
        await until(lambda: node.is_stale)
        async with open_web_server(count, port=port):
            second = await until_there_are(5)
            assert node.connected
        scheduler.stop()
    bodies = [int(body) for body in first + second]
    assert 2 not in bodies
    assert bodies == sorted(set(bodies))
    assert node.rejected == 1
    statistics = scheduler.statistics().nodes["station"]
    assert statistics.restarts >= 1
    assert poller.statistics().connects == 2
    assert poller.state is DriverState.CLOSED
