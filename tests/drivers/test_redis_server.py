"""Connecting to Redis servers, and to what is none; and where they are."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from drivers.peers import HOST, free_port
from drivers.redis_peers import answering, open_redis
from drivers.steps import raises_soon

from horus_trio.drivers import (
    ChannelMessage,
    ConnectFailed,
    DeviceGone,
    DriverState,
    MissingExtra,
    RedisPubSub,
    RedisServer,
    RedisStream,
    StreamEntry,
)
from horus_trio.errors import ConfigurationError

Require = Callable[[str, bool, str], None]
Kind = Callable[[str | RedisServer], RedisStream | RedisPubSub]

SECRET = "s3cr3t%"

KINDS = [
    pytest.param(lambda server: RedisStream(server, "s"), id="stream"),
    pytest.param(lambda server: RedisPubSub(server, channels=["a"]), id="pubsub"),
]


async def works(device: RedisStream | RedisPubSub) -> None:
    """A message to itself."""
    with trio.fail_after(10):
        if isinstance(device, RedisStream):
            await device.send(StreamEntry({"n": 1}))
            assert (await device.receive())["n"] == b"1"
        else:
            await device.send(ChannelMessage(channel="a", data=b"1"))
            assert (await device.receive()).data == b"1"


# Credentials


@pytest.mark.parametrize("make", KINDS)
async def test_a_server_with_a_password(require: Require, tmp_path: Path, make: Kind) -> None:
    with open_redis(require, tmp_path, "--requirepass", SECRET) as redis:
        error = await raises_soon(ConnectFailed, make(redis.url).open)
        assert "NOAUTH" in str(error)
        assert "give its password" in str(error)
        wrong = make(redis.server(password="wr0ng"))
        error = await raises_soon(ConnectFailed, wrong.open)
        assert "WRONGPASS" in str(error)
        said = "".join(traceback.format_exception(error)) + repr(wrong) + repr(wrong.statistics())
        assert "wr0ng" not in said
        async with make(redis.server(password=SECRET)) as device:
            await works(device)
        url = f"redis://:{SECRET.replace('%', '%25')}@{HOST}:{redis.port}"
        async with make(url) as device:
            await works(device)
            assert SECRET not in repr(device)


async def test_a_user_who_may_not(require: Require, tmp_path: Path) -> None:
    with open_redis(require, tmp_path) as redis:
        redis.ask("ACL", "SETUSER", "robot", "on", ">" + SECRET, "~*", "&*", "+@connection")
        stream = RedisStream(redis.server(username="robot", password=SECRET), "s")
        error = await raises_soon(ConnectFailed, stream.open)
        assert "NOPERM" in str(error)
        assert "ACL SETUSER" in str(error)
        redis.ask("ACL", "SETUSER", "robot", "+@stream")
        async with stream:
            await works(stream)


async def test_a_password_that_is_not_wanted(require: Require, tmp_path: Path) -> None:
    with open_redis(require, tmp_path) as redis:
        stream = RedisStream(redis.server(password=SECRET), "s")
        error = await raises_soon(ConnectFailed, stream.open)
        assert "without any password configured" in str(error)


async def test_a_server_that_repeats_the_password_is_not_quoted() -> None:
    reply = f"-ERR unknown command 'AUTH', with args beginning with: '{SECRET}' \r\n".encode()
    async with answering(reply) as server:
        stream = RedisStream(RedisServer(host=HOST, port=server, password=SECRET), "s")
        error = await raises_soon(ConnectFailed, stream.open)
        assert "unknown command" in str(error)
        assert SECRET not in "".join(traceback.format_exception(error))
        assert SECRET not in stream.statistics().last_error


async def test_databases_are_apart(require: Require, tmp_path: Path) -> None:
    with open_redis(require, tmp_path) as redis:
        async with (
            RedisStream(redis.url + "/3", "s", start="0") as three,
            RedisStream(redis.url, "s", start="0") as zero,
        ):
            await works(three)
            with trio.move_on_after(0.05):
                raise AssertionError(await zero.receive())
        error = await raises_soon(ConnectFailed, RedisStream(redis.server(db=99), "s").open)
        assert "DB index is out of range" in str(error)


# Servers that are none, or not ready


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize(
    ("replies", "hang_up", "said"),
    [
        ([], False, "has not answered within 0.2 s; see whether it is a Redis server"),
        ([b"+PONG\r\n"], False, "has not answered within 0.2 s"),
        ([], True, "the server has closed the connection; see whether it is a Redis server"),
        ([b"HTTP/1.1 400 Bad Request\r\n\r\n"], False, "no reply of a Redis server: b'HTTP"),
        ([b"\r\n"], False, "no reply of a Redis server"),
        ([b"$x\r\n"], False, "no reply of a Redis server"),
        ([b"-\xff\xff\r\n"], False, "no reply of a Redis server"),
        ([b"x" * 65536, b"x" * 65536], False, "no reply of a Redis server"),
        ([b"-LOADING Redis is loading the dataset in memory\r\n"], False, "open again in a while"),
        ([b"-DENIED Redis is running in protected mode\r\n"], False, "give the server a password"),
        ([b"-ERR max number of clients reached\r\n"], False, "max number of clients"),
    ],
)
async def test_one_that_does_not_do(
    make: Kind, replies: list[bytes], hang_up: bool, said: str
) -> None:
    async with answering(*replies, hang_up=hang_up) as port:
        within = 0.2 if "0.2" in said else 10.0
        device = make(RedisServer(host=HOST, port=port, connect_within=within))
        error = await raises_soon(ConnectFailed, device.open)
        assert said in str(error)
        assert device.state is DriverState.CLOSED


@pytest.mark.parametrize("make", KINDS)
async def test_nobody_listens(make: Kind) -> None:
    device = make(f"redis://{HOST}:{free_port()}")
    error = await raises_soon(ConnectFailed, device.open)
    assert "nothing listens there: start what should, or check the port" in str(error)


async def test_a_name_that_cannot_be_resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    async def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(trio.socket, "getaddrinfo", unknown)
    error = await raises_soon(ConnectFailed, RedisStream("redis://no-such-robot.invalid", "s").open)
    assert "'no-such-robot.invalid' cannot be resolved" in str(error)


async def test_a_real_server_that_says_nothing(require: Require, tmp_path: Path) -> None:
    with open_redis(require, tmp_path) as redis:
        stream = RedisStream(redis.server(connect_within=0.1), "s")
        redis.pause()
        error = await raises_soon(ConnectFailed, stream.open)
        assert "busy or stopped" in str(error)
        redis.go_on()
        async with stream:
            await works(stream)


@pytest.mark.slow
async def test_a_real_server_that_loads_its_data(require: Require, tmp_path: Path) -> None:
    with open_redis(require, tmp_path, "--enable-debug-command", "yes") as redis:
        redis.ask("DEBUG", "POPULATE", "10000")
        assert redis.ask("SAVE") == b"+OK\r\n"
        redis.kill()
        redis.options = "--key-load-delay", "100", "--loading-process-events-interval-bytes", "1024"
        redis.start(wait=False)
        stream = RedisStream(redis.url, "s")
        said: set[str] = set()
        with trio.fail_after(30):
            while stream.state is not DriverState.OPEN:
                try:
                    await stream.open()
                except ConnectFailed as error:
                    said.add(str(error))
                    await trio.sleep(0.01)
        await works(stream)
        await stream.aclose()
        assert any("LOADING" in text and "open again in a while" in text for text in said), said


async def test_nonsense_later_on_is_said() -> None:
    async with answering(b"+PONG\r\n", b"?what\r\n") as port:
        stream = RedisStream(RedisServer(host=HOST, port=port), "s")
        error = await raises_soon(ConnectFailed, stream.open)
        assert "no reply of a Redis server: b'?what" in str(error)


# TLS


@pytest.fixture
def certificate(require: Require, tmp_path: Path) -> tuple[Path, Path]:
    require("openssl", shutil.which("openssl") is not None, "apt install openssl")
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext"),
            *(
                f"subjectAltName=DNS:localhost,IP:{HOST}",
                "-keyout",
                str(key),
                "-out",
                str(certificate),
            ),
        ],
        check=True,
        capture_output=True,
        timeout=60,
    )
    return certificate, key


def tls_options(certificate: tuple[Path, Path], port: int) -> list[str]:
    return [
        *("--tls-port", str(port), "--tls-auth-clients", "no"),
        *("--tls-cert-file", str(certificate[0]), "--tls-key-file", str(certificate[1])),
        *("--tls-ca-cert-file", str(certificate[0])),
    ]


@pytest.mark.parametrize("make", KINDS)
async def test_an_encrypted_connection(
    require: Require, tmp_path: Path, certificate: tuple[Path, Path], make: Kind
) -> None:
    port = free_port()
    context = ssl.create_default_context(cafile=certificate[0])
    with open_redis(require, tmp_path, *tls_options(certificate, port)) as redis:
        async with make(RedisServer(host=HOST, port=port, tls=context)) as device:
            await works(device)
            for number in range(40):
                with trio.move_on_after((number % 4) / 1000):
                    await device.receive()
            await works(device)
            if isinstance(device, RedisStream):
                much = StreamEntry({"n": bytes(1_000_000)})
                await device.send(much)
                assert (await device.receive()).fields == much.fields
            redis.kill()
            await raises_soon(DeviceGone, device.receive)


@pytest.mark.parametrize("make", KINDS)
async def test_a_certificate_that_is_not_trusted(
    require: Require, tmp_path: Path, certificate: tuple[Path, Path], make: Kind
) -> None:
    port = free_port()
    with open_redis(require, tmp_path, *tls_options(certificate, port)) as redis:
        error = await raises_soon(ConnectFailed, make(f"rediss://{HOST}:{port}").open)
        assert "self-signed certificate" in str(error)
        assert "cafile=…" in str(error)
        waits = make(redis.server(tls=True, connect_within=0.2))
        error = await raises_soon(ConnectFailed, waits.open)  # it does not know what it is told
        assert "a Redis server that listens there, for TLS" in str(error)
        error = await raises_soon(ConnectFailed, make(f"redis://{HOST}:{port}").open)
        assert "rediss://" in str(error)


# Without coredis


@pytest.mark.parametrize("make", KINDS)
def test_without_the_extra(monkeypatch: pytest.MonkeyPatch, make: Kind) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"needs coredis, .*pip install 'horus-trio\[redis\]'"):
        make("redis://127.0.0.1")


@pytest.mark.slow
async def test_the_package_is_imported_in_a_thread_and_no_sooner() -> None:
    program = """
import importlib, sys, threading, trio
import horus_trio.drivers as drivers
stream = drivers.RedisStream("redis://127.0.0.1:1", "s")
assert "coredis" not in sys.modules
load, threads = importlib.import_module, []
def note(name, *rest):
    if name == "coredis.parser":
        threads.append(threading.current_thread())
    return load(name, *rest)
importlib.import_module = note
async def main():
    for _ in range(2):
        try:
            await stream.open()
        except drivers.ConnectFailed as error:
            print(error)
trio.run(main)
[thread] = threads
assert thread is not threading.main_thread()
"""
    finished = await trio.run_process(
        [sys.executable, "-c", program], capture_stdout=True, capture_stderr=True, check=False
    )
    assert (finished.returncode, finished.stderr) == (0, b"")
    assert finished.stdout.count(b"nothing listens there") == 2


# Where it is


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("redis://h", RedisServer(host="h")),
        ("redis://h:1/", RedisServer(host="h", port=1)),
        ("redis://[::1]:7/2", RedisServer(host="::1", port=7, db=2)),
        ("redis://u:p%40%3A%25@h", RedisServer(host="h", username="u", password="p@:%")),
        ("redis://:p@h", RedisServer(host="h", password="p")),
        ("rediss://h", RedisServer(host="h", tls=True)),
    ],
)
def test_a_url_says_where_it_is(url: str, server: RedisServer) -> None:
    assert RedisServer.from_url(url) == server


@pytest.mark.parametrize(
    "url",
    [
        f"http://:{SECRET}@h",
        "redis://",
        "h:6379",
        "",
        f"redis://:{SECRET}@h:port",
        f"redis://:{SECRET}@h:70000",
        f"redis://:{SECRET}@[::1",
        f"redis://:{SECRET}@h/one",
        f"redis://:{SECRET}@h/0?timeout=1",
        f"redis://robot:12/{SECRET}@h",
        f"redis://{SECRET}@",
        "redis://robot@h",
        None,
    ],
)
def test_what_is_no_such_url_is_refused_and_not_repeated(url: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        RedisStream(url, "s")
    assert "RedisStream(server=…): " in str(caught.value)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None  # nor in what urllib has said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"host": ""}, "expected a name or an address"),
        ({"port": 0}, "expected a whole number from 1 to 65535"),
        ({"password": ""}, "expected text, or None, got an empty one"),
        ({"password": b"s3cr"}, "got a bytes"),
        ({"username": "robot"}, r"needs password=…, too"),
        ({"db": -1}, "expected the number of a database"),
        ({"tls": "yes"}, "expected True, False, or an ssl.SSLContext"),
        ({"connect_within": 0}, "expected a finite number of seconds above 0"),
        ({"keepalive": 0.5}, "expected seconds from 1 to 32767"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as caught:
        RedisServer(**options)
    assert "s3cr" not in str(caught.value)


def test_a_password_shows_nowhere() -> None:
    server = RedisServer(host="h", username="robot", password=SECRET)
    assert SECRET not in repr(server) + str(server)
    assert str(server) == "h:6379"
