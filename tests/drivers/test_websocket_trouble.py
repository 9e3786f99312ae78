"""`WebSocketClient` among servers that refuse, keep silent, talk nonsense or talk too much."""

from __future__ import annotations

import copy
import pickle
import struct
from collections.abc import Mapping
from typing import Any

import pytest
import trio
import trio.testing
from drivers.peers import HOST, free_port
from drivers.steps import SOON, raises_soon

from horus_trio.drivers import (
    ConnectFailed,
    DeviceGone,
    DriverState,
    ReceiveFailed,
    WebSocketClient,
    WebSocketClosed,
)
from horus_trio.errors import ConfigurationError

pytest.importorskip("trio_websocket")
from drivers.websocket_peers import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    HandMade,
    frame,
    open_by_hand,
)

AGREES = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"

# It cannot be opened


def answering(answer: bytes) -> Any:
    async def serve(server: HandMade) -> None:
        await server.read_request()
        await server.stream.send_all(answer)

    return serve


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("401 Unauthorized", "answers 401 Unauthorized; it wants to know who asks: give headers="),
        ("403 Forbidden", "answers 403 Forbidden; it does not let us in: check the credentials"),
        ("404 Not Found", "answers 404 Not Found; there is nothing at this path"),
        ("426 Upgrade Required", "it wants another version of the protocol"),
        ("429 Too Many Requests", "it is asked too often"),
        ("503 Service Unavailable", "it cannot serve now: look at its log"),
        ("200 OK", "it is a web server, and none for WebSockets at this path"),
        ("799 Strange", "answers 799; check the address"),
        (
            "301 Moved Permanently\r\nLocation: ws://there/new?token=secret",
            "it has moved to ws://there/new: give that address",
        ),
    ],
)
async def test_a_server_that_refuses_is_quoted_with_what_to_do(answer: str, said: str) -> None:
    data = f"HTTP/1.1 {answer}\r\nContent-Length: 0\r\n\r\n".encode()
    async with open_by_hand(answering(data)) as url:
        driver = WebSocketClient(url)
        error = await raises_soon(ConnectFailed, driver.open)
        assert str(error).startswith(f"WebSocketClient {url} cannot be opened: the server answers ")
        assert said in str(error)
        assert "secret" not in str(error)
        assert driver.state is DriverState.CLOSED
        assert driver.statistics().failures == 1


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("the token has expired\n", "answers 403 Forbidden: the token has expired; it does not"),
        ("<html>Forbidden</html>", "answers 403 Forbidden; it does not"),
        ("x" * 5000, f"answers 403 Forbidden: {'x' * 200}; it does not"),
        ("two\nlines", "answers 403 Forbidden; it does not"),
    ],
)
async def test_the_words_of_one_that_refuses_are_told(body: str, said: str) -> None:
    data = f"HTTP/1.1 403 Forbidden\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
    async with open_by_hand(answering(data)) as url:
        error = await raises_soon(ConnectFailed, WebSocketClient(url).open)
        assert said in str(error)


@pytest.mark.parametrize("ends", [True, False])
async def test_words_that_do_not_come_are_not_waited_for_long(
    ends: bool, autojump_clock: trio.testing.MockClock
) -> None:
    async def serve(server: HandMade) -> None:
        await server.read_request()
        await server.stream.send_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 10\r\n\r\nno")
        if not ends:
            await trio.sleep_forever()

    async with open_by_hand(serve) as url:
        began = trio.current_time()
        with pytest.raises(ConnectFailed, match="404 Not Found: no; there is nothing at this path"):
            await WebSocketClient(url).open()
        assert trio.current_time() - began == (0 if ends else 1)


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x15\x03\x01\x00\x02\x02\x46",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
        AGREES + b"Sec-WebSocket-Accept: bm9uc2Vuc2U=\r\n\r\n",
        AGREES + b"Sec-WebSocket-Protocol: \xff\r\n\r\n",
        AGREES + b"X-Long: " + b"x" * 100_000,
    ],
)
async def test_a_server_that_is_none_for_websockets(answer: bytes) -> None:
    async with open_by_hand(answering(answer)) as url:
        error = await raises_soon(ConnectFailed, WebSocketClient(url).open)
        assert "what answers is no WebSocket server (" in str(error)
        assert "check the address, the port, and whether it is ws:// or wss://" in str(error)


async def test_a_server_that_hangs_up_instead_of_answering() -> None:
    async with open_by_hand(answering(b"")) as url:
        error = await raises_soon(ConnectFailed, WebSocketClient(url).open)
        assert "the server hangs up instead of answering" in str(error)


async def test_where_nothing_listens() -> None:
    driver = WebSocketClient(f"ws://{HOST}:{free_port()}")
    error = await raises_soon(ConnectFailed, driver.open)
    assert "nothing listens there: start what should, or check the port" in str(error)


@pytest.mark.parametrize("says", [b"", b"HTT", b"HTTP/1.1 101 Swit", b"HTTP/1.1 100 Continue\r\n"])
async def test_a_server_that_takes_the_connection_and_says_nothing(
    says: bytes, autojump_clock: trio.testing.MockClock
) -> None:
    async def serve(server: HandMade) -> None:
        await server.stream.send_all(says)
        await trio.sleep_forever()

    async with open_by_hand(serve) as url:
        driver = WebSocketClient(url, connect_within=7)
        began = trio.current_time()
        with pytest.raises(ConnectFailed) as caught:
            await driver.open()
        assert trio.current_time() - began == 7
    assert "not answered within 7 s; something takes the connection there" in str(caught.value)


async def test_a_server_that_takes_no_subscription(autojump_clock: trio.testing.MockClock) -> None:
    """It reads nothing, so that the line is full at last."""

    async def serve(server: HandMade) -> None:
        await server.agree()
        await trio.sleep_forever()

    async with open_by_hand(serve) as url:
        driver = WebSocketClient(url, subscribe=[bytes(2**20)] * 50, connect_within=7)
        with pytest.raises(ConnectFailed, match="it has not answered within 7 s"):
            await driver.open()
        assert driver.state is DriverState.CLOSED


# Frames


async def test_what_comes_with_the_answer_is_not_lost() -> None:
    async with (
        open_by_hand(lambda server: server.agree(frame("at once"), frame(b"more"))) as url,
        WebSocketClient(url) as driver,
    ):
        assert await driver.receive() == "at once"
        assert await driver.receive() == b"more"
        error = await raises_soon(DeviceGone, driver.receive)
        assert "has hung up without a word" in str(error)


async def test_fragments_make_one_message_and_pings_between_them_are_answered() -> None:
    answers: list[tuple[int, bytes]] = []
    whole = trio.Event()
    text = "grüße".encode()

    async def serve(server: HandMade) -> None:
        await server.agree()
        for part in (
            frame(text[:3], TEXT, last=False),  # in the middle of a letter
            frame(b"1", PING),
            frame(b"", CONTINUATION, last=False),
            frame(b"unasked", PONG),
            frame(text[3:], CONTINUATION),
            frame(b"", BINARY, last=False),
            frame(b"ab", CONTINUATION, last=False),
            frame(b"2", PING),
            frame(b"", CONTINUATION),
            frame(b"", TEXT, last=False),
            frame(b"", CONTINUATION),
        ):
            for at in range(len(part)):
                await server.stream.send_all(part[at : at + 1])
        for _ in range(2):
            answers.append(await server.read_frame())
        whole.set()
        await server.read_to_the_end()

    async with open_by_hand(serve) as url, WebSocketClient(url) as driver:
        with trio.fail_after(SOON):
            assert await driver.receive() == "grüße"
            assert await driver.receive() == b"ab"
            assert await driver.receive() == ""
            async with trio.open_nursery() as nursery:
                nursery.start_soon(driver.receive)
                await whole.wait()
                nursery.cancel_scope.cancel()
    assert answers == [(PONG, b"1"), (PONG, b"2")]


@pytest.mark.parametrize(
    ("nonsense", "code", "said"),
    [
        (b"\x81\x80\0\0\0\0", 1002, "client received unexpected masked frame"),
        (b"\x83\x00", 1002, "Invalid opcode 0x3"),
        (b"\xc1\x01x", 1002, "Reserved bit set unexpectedly"),
        (frame(b"x", CONTINUATION), 1002, "unexpected CONTINUATION"),
        (frame(b"x", TEXT, last=False) + frame(b"y", TEXT), 1002, "expected CONTINUATION"),
        (frame(b"x", PING, last=False), 1002, "Invalid attempt to fragment control frame"),
        (frame(bytes(126), PING), 1002, "Control frame with payload len > 125"),
        (frame(b"\xff\xff", TEXT), 1007, "invalid start byte"),
        (b"\x82\x7f" + b"\xff" * 8, 1002, "non-zero MSB"),
        (frame(b"x", CLOSE), 1002, "CLOSE with 1 byte payload"),
        (frame(struct.pack("!H", 1005), CLOSE), 1002, "remote CLOSE with local-only reason"),
        (frame(struct.pack("!H", 7), CLOSE), 1002, "CLOSE with invalid code"),
    ],
)
async def test_a_server_that_breaks_the_rules_is_told_so_and_gone(
    nonsense: bytes, code: int, said: str
) -> None:
    heard: list[tuple[int, bytes]] = []
    ended = trio.Event()

    async def serve(server: HandMade) -> None:
        await server.agree(frame("before") + nonsense)
        heard.append(await server.read_frame())
        ended.set()

    async with open_by_hand(serve) as url, WebSocketClient(url) as driver:
        assert await driver.receive() == "before"
        error = await raises_soon(DeviceGone, driver.receive)
        assert f"breaks the rules of WebSockets ({said}" in str(error) or said in str(error)
        assert f"it was closed with {code} (" in str(error)
        assert not isinstance(error, WebSocketClosed)
        assert driver.state is DriverState.BROKEN
        with trio.fail_after(SOON):
            await ended.wait()
    assert heard == [(CLOSE, struct.pack("!H", code))]


@pytest.mark.parametrize(
    ("payload", "code", "reason", "answer"),
    [
        (b"", 1005, "", 1000),
        (struct.pack("!H", 1012), 1012, "", 1012),
        (struct.pack("!H", 4999) + "tschüß".encode(), 4999, "tschüß", 4999),
    ],
)
async def test_a_close_is_answered_and_told(
    payload: bytes, code: int, reason: str, answer: int
) -> None:
    heard: list[tuple[int, bytes]] = []
    ended = trio.Event()

    async def serve(server: HandMade) -> None:
        await server.agree(frame(payload, CLOSE), frame("too late"))
        heard.append(await server.read_frame())
        ended.set()

    async with open_by_hand(serve) as url, WebSocketClient(url) as driver:
        error = await raises_soon(WebSocketClosed, driver.receive)
        assert isinstance(error, WebSocketClosed)
        assert (error.code, error.reason) == (code, reason)
        with trio.fail_after(SOON):
            await ended.wait()
    assert heard == [(CLOSE, struct.pack("!H", answer))]
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert (str(again), again.code, again.reason) == (str(error), code, reason)


@pytest.mark.parametrize(
    ("last", "raised", "code"),
    [
        (frame(struct.pack("!H", 1001), CLOSE), WebSocketClosed, 1001),
        (frame("no beginning", CONTINUATION), DeviceGone, 1002),
    ],
)
async def test_a_ping_right_before_the_end_is_answered_by_the_end(
    last: bytes, raised: type[Exception], code: int
) -> None:
    """They come in one piece, and after the end nothing else may be said."""
    heard: list[tuple[int, bytes]] = []
    ended = trio.Event()

    async def serve(server: HandMade) -> None:
        await server.agree(frame(b"are you there?", PING), last)
        heard.extend(await server.read_to_the_end())
        ended.set()

    async with open_by_hand(serve) as url, WebSocketClient(url) as driver:
        assert type(await raises_soon(raised, driver.receive)) is raised
        await driver.aclose()
        with trio.fail_after(SOON):
            await ended.wait()
    assert heard == [(CLOSE, struct.pack("!H", code))]


# Too long


@pytest.mark.parametrize(
    "frames",
    [
        [frame(bytes(101))],
        [frame("ü" * 51)],
        [frame(bytes(60), last=False), frame(bytes(60), CONTINUATION)],
        [
            frame(bytes(60), last=False),
            *[frame(bytes(60), CONTINUATION, last=False)] * 50,
            frame(bytes(60), CONTINUATION),
        ],
        [frame(bytes(3_000_000))],
    ],
)
async def test_a_message_that_is_too_long_is_told_once_and_passed_over(frames: list[bytes]) -> None:
    async def serve(server: HandMade) -> None:
        await server.agree()
        await server.stream.send_all(b"".join(frames) + frame("x" * 100))
        await server.read_to_the_end()

    async with open_by_hand(serve) as url, WebSocketClient(url, max_message=100) as driver:
        error = await raises_soon(ReceiveFailed, driver.receive)
        assert "a message of more than 100 bytes, which is passed over" in str(error)
        with trio.fail_after(SOON):
            assert await driver.receive() == "x" * 100
        counted = driver.statistics()
    assert (counted.rejected, counted.received, counted.failures) == (1, 1, 1)
    heads = sum(2 if len(one) < 128 else 10 for one in frames)
    assert counted.discarded == sum(map(len, frames)) - heads


async def test_one_that_came_while_only_sending_is_told_at_the_next_receive() -> None:
    async def serve(server: HandMade) -> None:
        await server.agree(frame(bytes(101)), frame(b"good"))
        await server.read_to_the_end()

    async with open_by_hand(serve) as url, WebSocketClient(url, max_message=100) as driver:
        await driver.send("x")
        await raises_soon(ReceiveFailed, driver.receive)
        assert await driver.receive() == b"good"


# Floods


async def test_a_flood_of_pings_is_answered_by_few_and_holds_nobody_up() -> None:
    count = 20_000
    last = trio.Event()
    pongs: list[bytes] = []

    async def serve(server: HandMade) -> None:
        await server.agree()
        flood = b"".join(frame(b"%d" % number, PING) for number in range(count))
        await server.stream.send_all(flood + frame("after it"))
        while not pongs or pongs[-1] != b"%d" % (count - 1):
            opcode, payload = await server.read_frame()
            assert opcode == PONG
            pongs.append(payload)
        last.set()
        await server.read_to_the_end()

    turns = 0

    async def sibling() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with open_by_hand(serve) as url, WebSocketClient(url) as driver:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sibling)
            with trio.fail_after(SOON):
                assert await driver.receive() == "after it"
            nursery.cancel_scope.cancel()
        with trio.fail_after(SOON):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(driver.receive)
                await last.wait()
                nursery.cancel_scope.cancel()
    assert turns > count / 70
    assert len(pongs) <= count
    assert [int(pong) for pong in pongs] == sorted(int(pong) for pong in pongs)


async def test_pings_of_a_server_that_reads_nothing_are_not_piled_up() -> None:
    """Nor do their answers come into the middle of a message."""
    go_on = trio.Event()
    heard: list[tuple[int, bytes]] = []

    async def serve(server: HandMade) -> None:
        await server.agree()
        for number in range(1000):
            await server.stream.send_all(frame(b"%d" % number, PING) * 20)
        await server.stream.send_all(frame("after them"))
        await go_on.wait()
        heard.extend(await server.read_to_the_end())

    async with open_by_hand(serve) as url:
        driver = WebSocketClient(url, max_message=2**24)
        async with driver, trio.open_nursery() as nursery:
            nursery.start_soon(driver.send, bytes(2**24))
            with trio.fail_after(SOON):
                assert await driver.receive() == "after them"
            assert driver._mid_message
            assert driver._line is not None
            assert driver._line.pong == b"999"  # and no others
            assert not driver._line._owed
            go_on.set()
    opcodes = [opcode for opcode, _ in heard]
    assert opcodes[-3:] == [BINARY, PONG, CLOSE]
    assert heard[-3][1] == bytes(2**24)
    assert heard[-2][1] == b"999"
    assert set(opcodes[:-3]) <= {PONG}


async def test_many_small_messages_hold_nobody_up() -> None:
    count, turns = 30_000, 0

    async def serve(server: HandMade) -> None:
        await server.agree(frame("") * count)
        await server.read_to_the_end()

    async def sibling() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with (
        open_by_hand(serve) as url,
        WebSocketClient(url) as driver,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(sibling)
        with trio.fail_after(SOON):
            for _ in range(count):
                assert await driver.receive() == ""
        nursery.cancel_scope.cancel()
    assert turns > count / 70


# Bad input


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (None, "expected an address as text"),
        ("", "expected ws:// or wss://"),
        ("127.0.0.1:8080", "expected ws:// or wss://"),
        ("http://robot", "write ws:// for http://"),
        ("https://robot", "write wss:// for https://"),
        ("ws://", "expected a host"),
        ("ws:///path", "expected a host"),
        ("ws://robot:0", "a port from 1 to 65535"),
        ("ws://robot:70000", "its host or its port is not valid"),
        ("ws://robot:x", "its host or its port is not valid"),
        ("ws://[::1", "its host or its port is not valid"),
        ("ws://me:secret@robot", 'give headers={"Authorization"'),
        ("ws://robot/#part", "leave it out"),
        ("ws://robot/a b", "without spaces"),
        ("ws://robot/a\r\nX: y", "without spaces"),
        ("ws://robot/ü", "urllib.parse.quote()"),
        (f"ws://{'a' * 64}.example", "a part of it is empty or too long"),
        ("ws://robot..example", "a part of it is empty or too long"),
        ("wss://.robot", "a part of it is empty or too long"),
    ],
)
def test_an_address_that_is_none_is_refused(url: Any, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        WebSocketClient(url)
    assert str(caught.value).startswith("WebSocketClient(url=")
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"keepalive": 0}, "expected seconds above 0"),
        ({"keepalive": True}, "expected seconds above 0"),
        ({"keepalive": float("inf")}, "or None"),
        ({"keepalive": "10"}, "expected seconds above 0"),
        ({"connect_within": 0}, "expected a finite number of seconds above 0"),
        ({"connect_within": None}, "expected a finite number of seconds above 0"),
        ({"max_message": 0}, "expected bytes, a whole number"),
        ({"max_message": 1e6}, "expected bytes, a whole number"),
        ({"subscribe": "imu"}, "expected a list of messages"),
        ({"subscribe": b"imu"}, "expected a list of messages"),
        ({"subscribe": 7}, "expected a list of messages"),
        ({"subscribe": [7]}, "expected a message of text or bytes, got int"),
        ({"subscribe": ["x" * 11], "max_message": 10}, "a message of 11 bytes is longer"),
        ({"headers": [("a", "b")]}, "expected a dict"),
        ({"headers": {"a b": "c"}}, "is no name of a header"),
        ({"headers": {7: "c"}}, "is no name of a header"),
        ({"headers": {"a": "b\r\nc: d"}}, "in one line"),
        ({"headers": {"a": 7}}, "is no text that a header can have"),
        ({"headers": {"Upgrade": "x"}}, "is set by the protocol"),
        ({"headers": {"sec-websocket-key": "x"}}, "is set by the protocol"),
        ({"subprotocols": "mqtt"}, "expected several names"),
        ({"subprotocols": 7}, "expected several names"),
        ({"subprotocols": ["a,b"]}, "is no name of a subprotocol"),
        ({"subprotocols": ["a", "a"]}, "expected each of them once"),
        ({"ssl": True}, "expected an ssl.SSLContext"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: Mapping[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        WebSocketClient("ws://robot", **arguments)
    assert said in str(caught.value)
    [name] = list(arguments)[:1]
    assert str(caught.value).startswith(f"WebSocketClient({name}=")


def test_tls_for_an_address_without_is_refused() -> None:
    import ssl

    with pytest.raises(ConfigurationError, match="write wss:// for ws://"):
        WebSocketClient("ws://robot", ssl=ssl.create_default_context())


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("ws://robot", "WebSocketClient ws://robot"),
        ("WS://Robot:80/", "WebSocketClient ws://robot"),
        ("wss://robot:443/a?b=c", "WebSocketClient wss://robot/a"),
        ("wss://[::1]:80/a", "WebSocketClient wss://[::1]:80/a"),
        ("ws://[::1]?x", "WebSocketClient ws://[::1]"),
    ],
)
def test_the_name_says_where_it_is(url: str, name: str) -> None:
    assert WebSocketClient(url).name == name
