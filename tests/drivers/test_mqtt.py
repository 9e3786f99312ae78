"""`MqttClient`: what every driver does, over a real broker; and what is refused."""

from __future__ import annotations

import contextlib
import importlib.util
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from drivers.mqtt_peers import (
    TOPIC,
    Broker,
    broker_for,
    make_client,
    make_mqtt,
    needs_mosquitto,
    open_mqtt_peer,
    scripted_broker,
)
from drivers.peers import HOST, descriptors, free_port
from drivers.steps import raises_soon

from horus_trio.drivers import (
    ConnectFailed,
    DriverState,
    FrameError,
    MissingExtra,
    MqttClient,
    MqttMessage,
    MqttOptions,
    MqttSubscription,
    SendFailed,
)
from horus_trio.errors import ConfigurationError
from horus_trio.testing import cancel_everywhere, check_driver

Require = Callable[[str, bool, str], None]


@pytest.fixture
def broker(require: Require, tmp_path: Path) -> Iterator[Broker]:
    """One that runs."""
    needs_mosquitto(require)
    with broker_for(tmp_path) as running:
        yield running


def numbered(number: int) -> MqttMessage:
    """Mostly short ones, and some long."""
    length = number * 7919 % 17_000 if number % 50 == 0 else number * 31 % 1000
    return MqttMessage(TOPIC, b"%d " % number + b"x" * length)


# What every driver does


@pytest.mark.slow
@pytest.mark.patience(120)
@pytest.mark.usefixtures("untraced")
async def test_it_keeps_the_contract_of_drivers(require: Require) -> None:
    needs_mosquitto(require)
    report = await check_driver(
        make_mqtt,
        open_mqtt_peer,
        messages=[MqttMessage(TOPIC, payload) for payload in (b"one", b"two", b"three")],
        number=numbered,
        stream_bytes=100_000,
        cycles=50,
    )
    assert [rule.rule for rule in report.not_tried] == ["one byte at a time"]


async def test_messages_of_every_quality_go_both_ways(broker: Broker) -> None:
    subscriptions = MqttSubscription("up/#", 2), MqttSubscription("down/#", 2)
    said = MqttMessage(
        "up/here",
        bytes(range(256)),
        expiry=60,
        content_type="application/octet-stream",
        response_topic="down/there",
        correlation=b"\0\1",
        user_properties=(("unit", "°C"), ("unit", "K")),
    )
    async with make_client(broker.port, subscriptions) as client:
        for qos in (0, 1, 2):
            for text in ("", "hello", "x" * 70_000):
                message = MqttMessage("down/ü", text.encode(), qos=qos)
                await client.send(message)
                assert await client.receive() == message
        await client.send(said)
        came = await client.receive()
        assert came.expiry is not None
        assert 58 <= came.expiry <= 60
        assert came == MqttMessage(
            "up/here",
            said.payload,
            expiry=came.expiry,
            content_type=said.content_type,
            response_topic=said.response_topic,
            correlation=said.correlation,
            user_properties=said.user_properties,
        )
        await client.flush()
        counted = client.statistics()
    assert (counted.sent, counted.received, counted.lost) == (10, 10, 0)
    assert counted.bytes_sent > counted.bytes_received > 210_000
    assert repr(client) == f"<MqttClient {HOST}:{broker.port}, closed>"


async def test_the_older_version_of_mqtt(broker: Broker) -> None:
    async with make_client(broker.port, "a/#", version="3.1.1", client_id="old") as client:
        for qos in (0, 1):
            await client.send(MqttMessage("a/b", b"hello", qos=qos))
            assert await client.receive() == MqttMessage("a/b", b"hello", qos=qos)
        error = await raises_soon(
            FrameError, lambda: client.send(MqttMessage("a/b", content_type="text/plain"))
        )
        assert "need MQTT 5" in str(error)


async def test_the_size_of_a_message_is_known_before_it_is_sent(broker: Broker) -> None:
    """By that it is known when it has gone out."""
    async with make_client(broker.port) as client:
        for length in (0, 100, 120, 130, 16_000, 16_400):
            for more in ({}, {"expiry": 5, "user_properties": (("a", "b"),)}):
                for qos in (0, 1):
                    message = MqttMessage("topic", bytes(length), qos=qos, **more)  # type: ignore[arg-type]
                    await client.flush()
                    assert client._session is not None
                    size = client._session.check(message)
                    before = client.statistics().bytes_sent
                    await client.send(message)
                    assert client.statistics().bytes_sent - before == size


async def test_it_closes_in_every_state(broker: Broker) -> None:
    client = make_client(broker.port, "a")
    await client.aclose()
    await client.open()
    ended: list[BaseException] = []

    async def wait_in(call: Callable[[], Any]) -> None:
        ended.append(await raises_soon(trio.ClosedResourceError, call))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait_in, client.receive)
        nursery.start_soon(wait_in, client.attend)
        await trio.testing.wait_all_tasks_blocked(0.01)
        await client.aclose()
    assert len(ended) == 2
    await client.aclose()
    for call in (client.receive, client.attend, client.flush):
        await raises_soon(trio.ClosedResourceError, call)


async def test_opened_and_closed_it_leaves_nothing(broker: Broker) -> None:
    client = make_client(broker.port, "a")
    for _ in range(2):
        await client.open()
        await client.aclose()
    before = descriptors()
    for _ in range(30):
        await client.open()
        await client.send(MqttMessage("a", b"x"))
        await client.aclose()
    assert descriptors() <= before
    assert client.statistics().connects == 32


@pytest.mark.slow
async def test_open_and_aclose_can_be_cancelled_anywhere(broker: Broker) -> None:
    @contextlib.asynccontextmanager
    async def new() -> AsyncIterator[MqttClient]:
        client = make_client(broker.port, "a")
        try:
            yield client
        finally:
            with trio.CancelScope(shield=True):
                await client.aclose()

    @contextlib.asynccontextmanager
    async def new_and_open() -> AsyncIterator[MqttClient]:
        async with new() as client:
            await client.open()
            yield client

    async def works(client: MqttClient) -> bool:
        if client.state is not DriverState.OPEN:
            await client.open()
        await client.send(MqttMessage("a", b"x"))
        return await client.receive() == MqttMessage("a", b"x")

    await cancel_everywhere(new, MqttClient.open, observe=works)
    await cancel_everywhere(new_and_open, MqttClient.aclose, observe=works)


@pytest.mark.slow
async def test_receive_send_and_flush_can_be_cancelled_anywhere(broker: Broker) -> None:
    @contextlib.asynccontextmanager
    async def new() -> AsyncIterator[MqttClient]:
        async with make_client(broker.port, "a") as client:
            yield client

    @contextlib.asynccontextmanager
    async def new_with_message() -> AsyncIterator[MqttClient]:
        async with new() as client:
            await client.send(MqttMessage("a", b"first"))
            yield client

    async def send(client: MqttClient) -> None:
        await client.send(MqttMessage("a", b"first"))

    async def works(client: MqttClient) -> bool:
        await client.send(MqttMessage("a", b"last"))
        while (came := await client.receive()).payload == b"first":
            pass
        await client.flush()
        return came.payload == b"last" and not client.unacknowledged

    async def has_lost_nothing(client: MqttClient) -> bool:
        await client.send(MqttMessage("a", b"last"))
        return (await client.receive()).payload in (b"first", b"last")

    await cancel_everywhere(new_with_message, MqttClient.receive, observe=has_lost_nothing)
    await cancel_everywhere(new_with_message, MqttClient.flush, observe=works)
    await cancel_everywhere(new, send, observe=works)


async def test_a_cancelled_receive_takes_nothing(broker: Broker) -> None:
    async with make_client(broker.port, "a") as client:
        for number in range(100):
            message = MqttMessage("a", b"%d" % number, qos=number % 2)
            await client.send(message)
            for _ in range(number % 4):
                with trio.CancelScope() as scope:
                    scope.cancel()
                    await client.receive()
            assert await client.receive() == message


@pytest.fixture
def certificate(require: Require, tmp_path: Path) -> Path:
    """Of this machine, with a key beside it."""
    made = subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=localhost", "-addext", f"subjectAltName=IP:{HOST}"),
            *("-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "certificate")),
        ],
        capture_output=True,
        check=False,
    )
    require("openssl", made.returncode == 0, "apt install openssl")
    return tmp_path / "certificate"


async def test_tls(require: Require, certificate: Path, tmp_path: Path) -> None:
    needs_mosquitto(require)
    more = f"certfile {certificate}\nkeyfile {tmp_path}/key"
    with broker_for(tmp_path, more=more) as broker:
        trusts = ssl.create_default_context(cafile=str(certificate))
        async with make_client(broker.port, "a", tls=trusts) as client:
            for length in (0, 10, 500_000):
                for qos in (0, 1):
                    message = MqttMessage("a", bytes(length), qos=qos)
                    await client.send(message)
                    assert await client.receive() == message
            for number in range(200):  # which come in few pieces
                await client.send(MqttMessage("a", b"%d" % number, qos=0))
            for number in range(200):
                assert (await client.receive()).payload == b"%d" % number
        error = await raises_soon(ConnectFailed, make_client(broker.port, tls=True).open)
        assert "TLS has failed" in str(error)
        error = await raises_soon(ConnectFailed, make_client(broker.port).open)
        assert "TLS" in str(error)


# What goes wrong when it is opened


async def test_nobody_listens() -> None:
    error = await raises_soon(ConnectFailed, make_client(free_port()).open)
    assert "nothing listens there" in str(error)


async def test_a_name_that_cannot_be_resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    async def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(trio.socket, "getaddrinfo", unknown)
    error = await raises_soon(ConnectFailed, MqttClient("no-such-broker.invalid").open)
    assert "'no-such-broker.invalid' cannot be resolved" in str(error)


@pytest.fixture
def passwords(require: Require, tmp_path: Path) -> Path:
    """Of a user robot."""
    needs_mosquitto(require)
    file = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-c", "-b", str(file), "robot", "secret"], check=True)
    file.chmod(0o600)
    return file


@pytest.mark.parametrize("version", [5, "3.1.1"])
async def test_refused_credentials(passwords: Path, tmp_path: Path, version: int | str) -> None:
    more = f"password_file {passwords}"
    with broker_for(tmp_path, anonymous=False, more=more) as broker:
        who: dict[str, Any] = {"username": "robot", "version": version}
        async with make_client(broker.port, password="secret", **who):
            pass
        wrong = make_client(broker.port, password="guess", **who)
        error = await raises_soon(ConnectFailed, wrong.open)
        assert "the broker refuses, as user 'robot': " in str(error)
        assert "check username and password" in str(error)
        assert "guess" not in str(error) + repr(wrong)
        assert wrong.state is DriverState.CLOSED
        assert wrong.statistics().failures == 1
        error = await raises_soon(ConnectFailed, make_client(broker.port).open)
        assert "the broker refuses: " in str(error)


async def test_a_subscription_that_is_refused_is_named() -> None:
    async with scripted_broker() as scripted:
        scripted.granted = b"\x01\x87"
        client = make_client(scripted.port, ("open/#", "secret/#"))
        error = await raises_soon(ConnectFailed, client.open)
        assert "refuses the subscription 'secret/#': Not authorized; check it" in str(error)
        assert client.state is DriverState.CLOSED


async def test_what_the_broker_refuses_is_told_by_flush(require: Require, tmp_path: Path) -> None:
    needs_mosquitto(require)
    acl = tmp_path / "acl"
    acl.write_text("topic readwrite open/#\n")
    acl.chmod(0o600)
    with broker_for(tmp_path, more=f"acl_file {acl}") as broker:
        async with make_client(broker.port, "open/#") as client:
            await client.send(MqttMessage("open/a", b"1"))
            await client.send(MqttMessage("secret/a", b"2"))
            error = await raises_soon(SendFailed, client.flush)
            assert "has refused 1 of what was sent: 'secret/a' (Not authorized)" in str(error)
            assert (client.refused, client.unacknowledged) == (1, ())
            assert client.statistics().failures == 1
            await client.flush()  # it was told
            assert (await client.receive()).payload == b"1"


async def test_a_broker_that_accepts_and_says_nothing() -> None:
    [listener] = await trio.open_tcp_listeners(0, host=HOST)
    async with listener:
        port = listener.socket.getsockname()[1]
        client = make_client(port, connect_within=0.2)
        error = await raises_soon(ConnectFailed, client.open)
        assert "has accepted the connection and said nothing within 0.2 s" in str(error)
        assert client.state is DriverState.CLOSED


async def test_a_broker_that_does_not_answer_the_subscription() -> None:
    async with scripted_broker() as scripted:
        scripted.answers_subscriptions = False
        client = make_client(scripted.port, "a", connect_within=0.2)
        error = await raises_soon(ConnectFailed, client.open)
        assert "has not answered the subscriptions within 0.2 s" in str(error)


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"220 smtp.example.com ESMTP\r\n",
        b"\x20\xff\xff\xff\xff\xff",
        b"\x20\x03\x00\x00",
        b"\x20\x02\x00\x00",
        b"\x30\x02\xff\xff",
        b"",
    ],
)
async def test_what_answers_is_no_broker(said: bytes) -> None:
    async def serve(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(said)

    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host=HOST)
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        client = make_client(listener.socket.getsockname()[1])
        error = await raises_soon(ConnectFailed, client.open)
        assert "is it an MQTT broker" in str(error)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("reason", "said"),
    [(0x84, 'version="3.1.1"'), (0x85, "another client_id"), (0x89, "see its log")],
)
async def test_other_refusals(reason: int, said: str) -> None:
    async with scripted_broker() as scripted:
        scripted.connack = bytes([0, reason, 0])
        error = await raises_soon(ConnectFailed, make_client(scripted.port).open)
        assert "the broker refuses: " in str(error)
        assert said in str(error)


async def test_a_lower_quality_than_was_asked_for_is_refused() -> None:
    async with scripted_broker() as scripted:
        scripted.granted = b"\x00"
        client = make_client(scripted.port, "a/b")
        error = await raises_soon(ConnectFailed, client.open)
        assert "grants only QoS 0 for 'a/b': say MqttSubscription('a/b', qos=0)" in str(error)


# What cannot be sent


BAD_MESSAGES: list[tuple[Any, str]] = [
    (b"bytes", "expected an MqttMessage, got bytes"),
    (MqttMessage(""), "the topic is empty"),
    (MqttMessage("a/+/b"), "no wildcards"),
    (MqttMessage("a/#"), "no wildcards"),
    (MqttMessage("a\0b"), "a NUL in it"),
    (MqttMessage("a" * 65_536), "65535 at most"),
    (MqttMessage("\ud800"), "a lone surrogate"),
    (MqttMessage(b"a"), "expected a topic that is text, got bytes"),  # type: ignore[arg-type]
    (MqttMessage("a", "text"), "encode text first"),  # type: ignore[arg-type]
    (MqttMessage("a", None), "expected a payload of bytes, got NoneType"),  # type: ignore[arg-type]
    (MqttMessage("a", bytes(1001)), "1001 bytes, more than max_message=1000"),
    (MqttMessage("a", qos=3), "qos=3, expected 0, 1 or 2"),
    (MqttMessage("a", qos=True), "qos=True, expected 0, 1 or 2"),
    (MqttMessage("a", retain=1), "retain=1, expected True or False"),  # type: ignore[arg-type]
    (MqttMessage("a", expiry=-1), "expiry=-1, expected whole seconds"),
    (MqttMessage("a", content_type="\0"), "content_type has a NUL"),
    (MqttMessage("a", response_topic="+"), "response_topic to send to has no wildcards"),
    (MqttMessage("a", correlation="x"), "correlation='x', expected bytes"),  # type: ignore[arg-type]
    (MqttMessage("a", user_properties=["x"]), "expected a tuple of pairs"),  # type: ignore[arg-type]
    (MqttMessage("a", user_properties=("xy",)), "user_properties has 'xy'"),  # type: ignore[arg-type]
    (MqttMessage("a", user_properties=(("x", "\0"),)), "a NUL in it"),
]


@pytest.mark.parametrize(("message", "said"), BAD_MESSAGES, ids=[said for _, said in BAD_MESSAGES])
async def test_what_cannot_be_sent_is_refused_and_it_stays_open(message: Any, said: str) -> None:
    async with (
        scripted_broker() as scripted,
        make_client(scripted.port, max_message=1000) as client,
    ):
        error = await raises_soon(FrameError, lambda: client.send(message))
        assert said in str(error)
        assert client.state is DriverState.OPEN
        await client.send(MqttMessage("a" * 65_535, bytes(1000), qos=0))
        assert not client.unacknowledged


@pytest.mark.parametrize(
    ("properties", "message", "said"),
    [
        (b"\x27\0\0\0\x64", MqttMessage("a", bytes(100)), "and the broker takes 100 at most"),
        (b"\x24\x01", MqttMessage("a", qos=2), "takes QoS 1 at most, and it has 2"),
        (b"\x25\x00", MqttMessage("a", retain=True), "the broker keeps no values"),
    ],
)
async def test_what_the_broker_does_not_take_is_not_sent(
    properties: bytes, message: MqttMessage, said: str
) -> None:
    async with scripted_broker() as scripted:
        scripted.connack = bytes([0, 0, len(properties)]) + properties
        async with make_client(scripted.port) as client:
            error = await raises_soon(FrameError, lambda: client.send(message))
            assert said in str(error)
            await client.send(MqttMessage("a", qos=1))


async def test_the_brokers_own_limit_is_kept(require: Require, tmp_path: Path) -> None:
    needs_mosquitto(require)
    with broker_for(tmp_path, more="max_packet_size 2000\nmax_qos 1") as broker:
        async with make_client(broker.port, "a") as client:
            error = await raises_soon(
                FrameError, lambda: client.send(MqttMessage("a", bytes(2000)))
            )
            assert "the broker takes 2000 at most" in str(error)
            error = await raises_soon(FrameError, lambda: client.send(MqttMessage("a", qos=2)))
            assert "takes QoS 1 at most" in str(error)
            await client.send(MqttMessage("a", bytes(1900)))
            assert len((await client.receive()).payload) == 1900


# Arguments


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"host": ""}, "expected a name or an address"),
        ({"port": 0}, "expected a whole number from 1 to 65535"),
        ({"subscribe": 5}, "expected a filter"),
        ({"subscribe": [5]}, "expected filters"),
        ({"subscribe": "a/b#"}, "# is a level of its own, and the last one"),
        ({"subscribe": "#/a"}, "# is a level of its own, and the last one"),
        ({"subscribe": "a+"}, r"\+ is a level of its own"),
        ({"subscribe": ("a", "")}, "the filter is empty"),
        ({"subscribe": "$share/group"}, r"\$share/GROUP/TOPICS"),
        ({"client_id": ""}, "the client_id is empty"),
        ({"client_id": "a\0"}, "the client_id has a NUL in it"),
        ({"client_id": "\ud800"}, "lone surrogate"),
        ({"username": 7}, "expected a username that is text, got int"),
        ({"password": "x"}, "expected a username with it"),
        ({"username": "a", "password": 5}, "expected a password that is text, got int"),
        ({"will": b"gone"}, "expected an MqttMessage"),
        ({"will": MqttMessage("#")}, "no wildcards"),
        ({"will": MqttMessage("a", bytes(70_000))}, "that of a will may have 65535"),
        ({"tls": "yes"}, "expected True, False, or an ssl.SSLContext"),
        ({"options": 5}, r"expected MqttOptions\(…\)"),
        (
            {
                "subscribe": MqttSubscription("a", no_local=True),
                "options": MqttOptions(version="3.1.1"),
            },
            "need MQTT 5",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        MqttClient(**({"host": HOST} | arguments))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"version": 4}, 'expected 5 or "3.1.1"'),
        ({"version": True}, 'expected 5 or "3.1.1"'),
        ({"keepalive": 0}, "a whole number from 1 to 65535"),
        ({"keepalive": 1.5}, "a whole number from 1 to 65535"),
        ({"session_expiry": -1}, "a whole number from 0"),
        ({"window": 0}, "a whole number from 1"),
        ({"held": 0}, "a whole number from 1"),
        ({"max_message": 0}, "a whole number from 1"),
        ({"connect_within": 0}, "a finite number of seconds above 0"),
    ],
)
def test_options_that_make_no_sense_are_refused(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        MqttOptions(**arguments)


def test_a_subscription_has_a_quality() -> None:
    with pytest.raises(ConfigurationError, match="qos=3"):
        MqttSubscription("a", 3)
    assert MqttSubscription("$share/group/a/#", 2).qos == 2


def test_the_port_is_that_of_the_protocol() -> None:
    assert MqttClient(HOST).name == f"MqttClient {HOST}:1883"
    assert MqttClient(HOST, tls=True).name == f"MqttClient {HOST}:8883"
    assert MqttClient(HOST).client_id != MqttClient(HOST).client_id


def test_without_paho_the_remedy_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "paho" else find(name, *a)
    )
    with pytest.raises(MissingExtra, match=r"pip install 'horus-trio\[mqtt\]'"):
        MqttClient(HOST)


def test_paho_is_not_imported_before_it_is_needed() -> None:
    program = (
        "import sys, horus_trio.drivers as d; d.MqttClient('h'); sys.exit('paho' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
