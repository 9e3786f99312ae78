"""`WebSocketClient`: against a server of trio-websocket over real sockets."""

from __future__ import annotations

import contextlib
import shutil
import ssl
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from drivers.peers import HOST, descriptors, free_port
from drivers.steps import SOON, closes_in_every_state, leaks_nothing, raises_soon, until

import horus_trio as horus
from horus_trio.drivers import (
    ConnectFailed,
    DeviceGone,
    Driver,
    DriverNode,
    DriverState,
    FrameError,
    MissingExtra,
    SendInterrupted,
    WebSocketClient,
    WebSocketClosed,
)
from horus_trio.drivers.websocket.protocol import Conversation
from horus_trio.testing import cancel_everywhere, check_driver

pytest.importorskip("trio_websocket")
from drivers.websocket_peers import (
    WebSocketPeer,
    certificate,
    frame,
    open_websocket_peer,
)

LETTERS = "abcdefghijklmnopqrstuvwxyz" * 40


def make_client(peer: WebSocketPeer, **arguments: Any) -> WebSocketClient:
    return WebSocketClient(peer.url, **arguments)


def any_client(peer: WebSocketPeer) -> Any:
    """One for what is said to be of bytes alone."""
    return make_client(peer)


@pytest.fixture
def contexts(
    tmp_path: Path, require: Callable[[str, bool, str], None]
) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """TLS for a server, and for its client."""
    require("openssl", shutil.which("openssl") is not None, "apt install openssl")
    public, key = certificate(tmp_path)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(public, key)
    return server, ssl.create_default_context(cafile=str(public))


async def exchange(
    driver: Driver[str | bytes], peer: WebSocketPeer, message: str | bytes = b"hello"
) -> None:
    """A message there and one back."""
    with trio.fail_after(SOON):
        await driver.send(message)
        assert await peer.receive() == message
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.send, message[::-1])
            came = await driver.receive()
        assert (type(came), came) == (type(message), message[::-1])


# What every driver does


def text(number: int) -> str:
    """A message of any length."""
    size = number * 2654435761 % 2**32 % 900
    return f"{number} é{LETTERS[:size]}"


@pytest.mark.slow
@pytest.mark.usefixtures("untraced")
async def test_it_keeps_the_contract_of_drivers_with_bytes() -> None:
    report = await check_driver(
        make_client, open_websocket_peer, encode=frame, stream_bytes=1_000_000, cycles=200
    )
    assert not report.not_tried


@pytest.mark.slow
@pytest.mark.usefixtures("untraced")
async def test_it_keeps_the_contract_of_drivers_with_text() -> None:
    report = await check_driver(
        make_client,
        open_websocket_peer,
        messages=("one", "two", "drei ßüß"),
        number=text,
        encode=frame,
        stream_bytes=300_000,
        cycles=20,
    )
    assert not report.not_tried


@pytest.mark.slow
@pytest.mark.usefixtures("untraced")
async def test_it_keeps_the_contract_of_drivers_over_tls(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    report = await check_driver(
        lambda peer: make_client(peer, ssl=contexts[1]),
        lambda: open_websocket_peer(contexts[0]),
        encode=frame,
        stream_bytes=300_000,
        cycles=20,
    )
    assert not report.not_tried


async def test_it_closes_in_every_state() -> None:
    async with open_websocket_peer() as peer:
        await closes_in_every_state(lambda: any_client(peer))


async def test_opened_and_closed_it_leaves_nothing() -> None:
    async with open_websocket_peer() as peer:
        await leaks_nothing(lambda: any_client(peer), 100)


async def test_every_call_can_be_cancelled_anywhere() -> None:
    @contextlib.asynccontextmanager
    async def new() -> AsyncIterator[tuple[WebSocketClient, WebSocketPeer]]:
        async with open_websocket_peer() as peer:
            driver = make_client(peer, subscribe=["first"])
            try:
                yield driver, peer
            finally:
                with trio.CancelScope(shield=True):
                    await driver.aclose()

    @contextlib.asynccontextmanager
    async def new_and_open() -> AsyncIterator[tuple[WebSocketClient, WebSocketPeer]]:
        async with new() as (driver, peer):
            await driver.open()
            assert await peer.receive() == "first"
            yield driver, peer

    @contextlib.asynccontextmanager
    async def with_a_message() -> AsyncIterator[tuple[WebSocketClient, WebSocketPeer]]:
        async with new_and_open() as (driver, peer):
            await peer.send("a message")
            yield driver, peer

    async def is_subscribed(line: tuple[WebSocketClient, WebSocketPeer]) -> bool:
        """The newest connection has got it, whatever those before it have got."""
        driver, peer = line
        await driver.send("works")
        heard: list[object] = []
        while not heard or heard[-1] != "works":
            heard.append(await peer.receive())
        assert set(heard[:-1]) == {"first"}
        return True

    async def works(line: tuple[WebSocketClient, WebSocketPeer]) -> bool:
        await exchange(*line)
        return True

    async def sent_once(line: tuple[WebSocketClient, WebSocketPeer]) -> list[object]:
        await line[0].send("the last")
        heard: list[object] = []
        while not heard or heard[-1] != "the last":
            heard.append(await line[1].receive())
        return heard

    await cancel_everywhere(new, lambda line: line[0].open(), observe=is_subscribed)
    await cancel_everywhere(with_a_message, lambda line: line[0].receive(), observe=works)
    await cancel_everywhere(new_and_open, lambda line: line[0].send("a message"), observe=sent_once)
    await cancel_everywhere(
        new_and_open, lambda line: line[0].aclose(), observe=lambda line: line[0].state
    )


async def test_a_node_of_it_publishes_and_sends() -> None:
    scheduler = horus.Scheduler(signals=False)
    async with open_websocket_peer() as peer, trio.open_nursery() as nursery:
        driver = make_client(peer)
        scheduler.add(DriverNode("server", driver, publish="in", listen="out"))
        came = scheduler.topic("in").subscribe()
        with trio.fail_after(SOON):
            await nursery.start(scheduler.run)
            for number in range(5):
                await peer.send(f"up {number}")
                assert await came.receive() == f"up {number}"
                scheduler.topic("out").send(b"down %d" % number)
                assert await peer.receive() == b"down %d" % number
        scheduler.stop()
    assert driver.state is DriverState.CLOSED


# Messages


async def test_text_and_bytes_of_any_length_arrive_as_they_are() -> None:
    async with open_websocket_peer() as peer, make_client(peer) as driver:
        for size in (0, 1, 125, 126, 127, 65_535, 65_536, 2**20):
            await exchange(driver, peer, b"x" * size)
            await exchange(driver, peer, "y" * size)
        await exchange(driver, peer, "ü€😀" * 1000)
        counted = driver.statistics()
    assert (counted.sent, counted.received) == (17, 17)
    assert counted.bytes_sent > 2 * 2**20
    assert counted.bytes_received > 2 * 2**20


async def test_other_kinds_of_bytes_are_sent_as_bytes() -> None:
    async with open_websocket_peer() as peer, make_client(peer) as driver:
        for message in (bytearray(b"abcd"), memoryview(b"xxabcdxx")[2:6]):
            await driver.send(message)  # type: ignore[arg-type]  # it may be so
            assert await peer.receive() == b"abcd"


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("x" * 101, "a message of 101 bytes is longer than max_message=100"),
        ("ü" * 51, "a message of 102 bytes is longer than max_message=100"),
        (bytes(101), "a message of 101 bytes is longer than max_message=100"),
        ({"speed": 1}, "expected a message of text or bytes, got dict"),
        (None, "expected a message of text or bytes, got NoneType"),
        ("\ud800", "no valid Unicode"),
    ],
)
async def test_what_cannot_be_sent_is_refused_and_nothing_of_it_is_sent(
    message: Any, said: str
) -> None:
    async with open_websocket_peer() as peer, make_client(peer, max_message=100) as driver:
        error = await raises_soon(FrameError, lambda: driver.send(message))
        assert said in str(error)
        await exchange(driver, peer, b"x" * 100)
        await exchange(driver, peer, "ü" * 50)


# The request


async def test_the_server_gets_path_query_headers_and_subprotocols() -> None:
    async with open_websocket_peer() as peer:
        peer.subprotocol = "telemetry.v1"
        driver = WebSocketClient(
            f"{peer.url}/imu?token=secret",
            headers={"Authorization": "Bearer 42", "X-Robot": "arm"},
            subprotocols=("telemetry.v2", "telemetry.v1"),
        )
        assert driver.subprotocol is None
        async with driver:
            assert driver.subprotocol == "telemetry.v1"
            await peer.connected()
            [request] = peer.requests
            assert request.path == "/feed/imu?token=secret"
            assert request.proposed_subprotocols == ("telemetry.v2", "telemetry.v1")
            headers = dict(request.headers)
            assert headers[b"authorization"] == b"Bearer 42"
            assert headers[b"x-robot"] == b"arm"
            assert repr(driver) == f"<WebSocketClient ws://{HOST}:{peer.port}/feed/imu, open>"
            assert "secret" not in repr(driver)
        assert driver.subprotocol is None


async def test_subscriptions_come_first_after_each_connect() -> None:
    calls = 0

    def subscribe() -> Iterator[str | bytes]:
        nonlocal calls
        calls += 1
        yield f"subscribe {calls}"
        yield b"binary"

    async with open_websocket_peer() as peer:
        for given, first in (
            (["a", b"b"], ["a", b"b"]),
            ((message for message in ("a", "b")), ["a", "b"]),
            (subscribe, ["subscribe 1", b"binary"]),
        ):
            driver = make_client(peer, subscribe=given)
            for _ in range(2):
                async with driver:
                    await driver.send("then")
                    heard = [await peer.receive() for _ in range(3)]
                assert heard == [*first, "then"]
                if given is subscribe:
                    first = ["subscribe 2", b"binary"]
            assert driver.statistics().sent == 2


@pytest.mark.parametrize(
    ("gives", "said"),
    [
        ("text alone", "expected a list of messages"),
        (None, "expected a list of messages"),
        ([{"subscribe": "imu"}], "expected a message of text or bytes, got dict"),
    ],
)
async def test_a_function_that_gives_no_subscriptions_is_named(gives: Any, said: str) -> None:
    async with open_websocket_peer() as peer:
        driver = make_client(peer, subscribe=lambda: gives)
        error = await raises_soon(horus.ConfigurationError, driver.open)
        assert "what subscribe= of WebSocketClient ws://" in str(error)
        assert said in str(error)
        assert driver.state is DriverState.CLOSED


# The end


async def test_the_servers_code_and_reason_are_told() -> None:
    async with open_websocket_peer() as peer, make_client(peer) as driver:
        await peer.send("the last word")
        websocket = await peer.connected()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(websocket.aclose, 4003, "your token has expired")
            assert await driver.receive() == "the last word"
            error = await raises_soon(WebSocketClosed, driver.receive)
        assert isinstance(error, WebSocketClosed)
        assert (error.code, error.reason) == (4003, "your token has expired")
        assert "has closed with 4003 (a code of its own): 'your token has expired'" in str(error)
        assert driver.state is DriverState.BROKEN
        again = await raises_soon(DeviceGone, lambda: driver.send("x"))
        assert "your token has expired" in str(again)


async def test_a_server_that_vanishes_is_gone() -> None:
    async with open_websocket_peer() as peer, make_client(peer) as driver:
        await exchange(driver, peer)
        await peer.vanish()
        await raises_soon(DeviceGone, driver.receive)


async def test_what_was_sent_before_the_end_arrives_though_much_is_unread() -> None:
    async with open_websocket_peer() as peer:
        driver = make_client(peer)
        async with driver:
            with trio.fail_after(SOON):
                for _ in range(5):
                    await peer.send(bytes(20_000))
                for number in range(50):
                    await driver.send(f"{number}")
        with trio.fail_after(SOON):
            assert [await peer.receive() for _ in range(50)] == [f"{n}" for n in range(50)]
        await until(lambda: peer.closed)
        assert "1000" in str(peer.closed[0])


async def test_one_sender_alone_answers_pings_and_notices_the_end() -> None:
    async with open_websocket_peer() as peer, make_client(peer) as driver:
        websocket = await peer.connected()
        pinged = trio.Event()

        async def ping() -> None:
            await websocket.ping(b"there?")
            pinged.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ping)
            with trio.fail_after(SOON):
                while not pinged.is_set():
                    await driver.send("data")
                    await trio.sleep(0.01)
        await peer.send("kept")
        await driver.send("data")
        assert await driver.receive() == "kept"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(websocket.aclose, 1001, "")

            async def send_on() -> None:
                while True:
                    await driver.send("data")
                    await trio.sleep(0.01)

            error = await raises_soon(WebSocketClosed, send_on)
        assert "has closed with 1001 (going away)" in str(error)


# Back-pressure


async def test_a_slow_server_makes_send_wait_and_nothing_is_lost() -> None:
    messages = [chr(65 + number % 50) * 100_000 for number in range(200)]
    sent = 0

    async def send_all() -> None:
        nonlocal sent
        for message in messages:
            await driver.send(message)
            sent += 1

    async with open_websocket_peer() as peer, make_client(peer) as driver:
        await exchange(driver, peer)
        peer.pause_reading()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_all)
            stood = -1
            with trio.fail_after(SOON):
                while stood != sent:
                    stood = sent
                    await trio.sleep(0.25)
            assert sent < len(messages)
            peer.resume_reading()
            with trio.fail_after(3 * SOON):
                for message in messages:
                    assert await peer.receive() == message


async def test_a_slow_program_makes_the_server_wait_and_nothing_is_lost() -> None:
    count, sent = 400, 0

    async def send_all() -> None:
        nonlocal sent
        for number in range(count):
            await peer.send(b"%05d" % number + bytes(50_000))
            sent += 1

    async with (
        open_websocket_peer() as peer,
        make_client(peer) as driver,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(send_all)
        stood = -1
        with trio.fail_after(SOON):
            while stood != sent:
                stood = sent
                await trio.sleep(0.25)
        assert sent < count
        for _ in range(100):  # these look at what has come, and keep one message at most
            await driver.send("x")
        assert driver.statistics().bytes_received <= 2 * 65536
        with trio.fail_after(3 * SOON):
            for number in range(count):
                assert (await driver.receive())[:5] == b"%05d" % number


async def test_a_send_that_is_cancelled_in_a_message_breaks_it() -> None:
    async with open_websocket_peer() as peer, make_client(peer, max_message=2**26) as driver:
        peer.pause_reading()
        before = driver.statistics().bytes_sent
        async with trio.open_nursery() as nursery:
            nursery.start_soon(driver.send, bytes(2**26))
            await until(lambda: driver.statistics().bytes_sent > before)
            nursery.cancel_scope.cancel()
        assert driver.state is DriverState.BROKEN
        await raises_soon(SendInterrupted, lambda: driver.send("x"))
        await driver.aclose()
        peer.resume_reading()
        async with driver:
            await exchange(driver, peer)


# In a robot


@pytest.mark.slow
async def test_behind_a_node_it_comes_back_with_its_subscriptions_whenever_the_server_does() -> (
    None
):
    port = free_port()
    scheduler = horus.Scheduler(signals=False)
    driver = WebSocketClient(f"ws://{HOST}:{port}", subscribe=['{"subscribe": "imu"}'])
    scheduler.add(
        DriverNode(
            "imu",
            driver,
            publish="imu",
            failure_policy=horus.Restart(within=None, backoff=0.02, max_backoff=0.05),
        )
    )
    came = scheduler.topic("imu").subscribe()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scheduler.run)
        for number in range(4):
            async with open_websocket_peer(port=port) as peer:
                with trio.fail_after(SOON):
                    assert await peer.receive() == '{"subscribe": "imu"}'
                    await peer.send(f"{number}")
                    assert await came.receive() == f"{number}"
                await peer.vanish()
            await until(lambda: driver.state is not DriverState.OPEN)
        scheduler.stop()
    assert driver.statistics().connects == 4
    assert scheduler.statistics().nodes["imu"].restarts >= 3


# TLS


async def test_over_tls_all_is_the_same(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    async with open_websocket_peer(contexts[0]) as peer:
        driver = make_client(peer, ssl=contexts[1], subscribe=["first"])
        assert driver.name == f"WebSocketClient wss://{HOST}:{peer.port}/feed"
        for _ in range(2):
            async with driver:
                assert await peer.receive() == "first"
                await exchange(driver, peer)
                await exchange(driver, peer, "ü" * 400_000)
        assert driver.statistics().bytes_sent > 1_600_000


async def test_a_certificate_that_nobody_trusts_is_refused(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    async with open_websocket_peer(contexts[0]) as peer:
        before = descriptors()
        for _ in range(3):
            error = await raises_soon(ConnectFailed, make_client(peer).open)
            assert "its certificate does not hold: self-signed certificate" in str(error)
            assert "ssl=ssl.create_default_context(cafile=…)" in str(error)
        await until(lambda: descriptors() <= before)


async def test_tls_and_none_do_not_get_on(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    async with open_websocket_peer() as plain:
        driver = WebSocketClient(plain.url.replace("ws:", "wss:"), ssl=contexts[1])
        error = await raises_soon(ConnectFailed, driver.open)
        assert "write ws:// for wss://" in str(error) or "is ws:// or wss://" in str(error)
    async with open_websocket_peer(contexts[0]) as secret:
        driver = WebSocketClient(secret.url.replace("wss:", "ws:"))
        error = await raises_soon(ConnectFailed, driver.open)
        assert "ws:// or wss://" in str(error)


# The package


def test_without_wsproto_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    find_spec = __import__("importlib.util").util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == "wsproto" else find_spec(name)
    )
    with pytest.raises(MissingExtra, match=r"pip install 'horus-trio\[websocket\]'"):
        WebSocketClient("ws://127.0.0.1:1")


async def test_wsproto_that_cannot_be_imported_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = WebSocketClient("ws://127.0.0.1:1")
    monkeypatch.setitem(sys.modules, "wsproto", None)
    error = await raises_soon(MissingExtra, driver.open)
    assert "WebSocketClient needs wsproto" in str(error)
    assert driver.state is DriverState.CLOSED


def test_the_conversation_needs_no_connection() -> None:
    assert Conversation.__module__.endswith("websocket.protocol")
