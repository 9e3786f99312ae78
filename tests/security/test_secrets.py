"""Passwords, tokens and keys are in no repr, name, error, log, statistics or report."""

from __future__ import annotations

import io
import logging
import socket
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import trio

import horus_trio as horus
from horus_trio.drivers import (
    Driver,
    DriverNode,
    HttpOptions,
    HttpPoller,
    JsonSensor,
    MqttClient,
    RedisPubSub,
    RedisServer,
    RedisStream,
    Subprocess,
    WebSocketClient,
)
from horus_trio.drivers import Lines as Framing
from horus_trio.helpers import postgres_pool

SECRET = "hunter2"

DRIVERS: dict[str, Callable[[int], Driver[Any]]] = {
    "redis by URL": lambda port: RedisPubSub(
        f"redis://robot:{SECRET}@127.0.0.1:{port}/0", channels=["a"]
    ),
    "redis": lambda port: RedisStream(
        RedisServer(host="127.0.0.1", port=port, username="robot", password=SECRET), "a"
    ),
    "mqtt": lambda port: MqttClient("127.0.0.1", port, username="robot", password=SECRET),
    "http by URL": lambda port: HttpPoller(
        f"http://robot:{SECRET}@127.0.0.1:{port}/a?key={SECRET}"
    ),
    "http": lambda port: HttpPoller(
        f"http://127.0.0.1:{port}/a",
        options=HttpOptions(
            headers={"X-Api-Key": SECRET}, params={"key": SECRET}, auth=("robot", SECRET)
        ),
    ),
    "json": lambda port: JsonSensor(
        f"http://127.0.0.1:{port}/a?key={SECRET}",
        fields={"a": "a"},
        options=HttpOptions(auth=SECRET),
    ),
    "websocket": lambda port: WebSocketClient(
        f"ws://127.0.0.1:{port}/a?key={SECRET}",
        headers={"Authorization": f"Bearer {SECRET}"},
        subscribe=[f'{{"token": "{SECRET}"}}'],
    ),
    "program": lambda port: Subprocess(
        ["/nonexistent/program"], framing=Framing(), env={"TOKEN": SECRET}
    ),
}


@pytest.fixture
def nobody() -> Iterator[int]:
    """A port at which nobody listens, and nobody will."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """Everything that anybody logs, at any level."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield stream
    root.setLevel(level)
    root.removeHandler(handler)


def told(error: BaseException) -> str:
    """All that can be seen of an error, without the lines of source in which the secret stands."""
    seen: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is not None and one not in seen:
            seen.append(one)
            waiting += [one.__cause__, None if one.__suppress_context__ else one.__context__]
    texts = [f"{one!r} {''.join(traceback.format_exception_only(one))}" for one in seen]
    return "\n".join(texts)


@pytest.mark.parametrize("kind", DRIVERS)
async def test_of_a_driver_that_cannot_connect(kind: str, nobody: int, logged: io.StringIO) -> None:
    driver = DRIVERS[kind](nobody)
    shown = [repr(driver), driver.name, str(driver)]

    async def use() -> None:
        await driver.open()
        await driver.receive()

    with trio.fail_after(20), pytest.raises(horus.HorusError) as caught:
        await use()
    shown += [told(caught.value), repr(driver), repr(driver.statistics())]
    await driver.aclose()
    text = "\n".join(shown) + logged.getvalue()
    assert "127.0.0.1" in text or kind == "program"  # where it is, is said
    assert SECRET not in text


@pytest.mark.parametrize("kind", DRIVERS)
async def test_of_a_robot_with_it(kind: str, nobody: int, logged: io.StringIO) -> None:
    scheduler = horus.Scheduler()
    scheduler.add(DriverNode("device", DRIVERS[kind](nobody), publish="a"))
    report = await scheduler.run(0.3)
    text = f"{report}{report.to_dict()}{scheduler.statistics()}{scheduler.dump(io.StringIO())}"
    assert SECRET not in text + logged.getvalue()


WRONG: dict[str, Callable[[], Any]] = {
    "redis: port": lambda: RedisPubSub(f"redis://robot:{SECRET}@h:99999/0", channels=["a"]),
    "redis: a colon too many": lambda: RedisPubSub(f"redis://robot:{SECRET}", channels=["a"]),
    "redis: scheme": lambda: RedisPubSub(f"http://robot:{SECRET}@h/0", channels=["a"]),
    "redis: slash": lambda: RedisPubSub(f"redis://robot:x/{SECRET}@h/0", channels=["a"]),
    "redis: no text": lambda: RedisServer(password=SECRET.encode()),  # type: ignore[arg-type]
    "mqtt: no user": lambda: MqttClient("h", password=SECRET),
    "mqtt: NUL": lambda: MqttClient("h", username="u", password=f"{SECRET}\0"),
    "mqtt: no text": lambda: MqttClient("h", username="u", password=SECRET.encode()),  # type: ignore[arg-type]
    "http: port": lambda: HttpPoller(f"http://robot:{SECRET}@h:x/"),
    "http: no host": lambda: HttpPoller(f"http://robot:{SECRET}"),
    "http: space": lambda: HttpPoller(f"http://robot:{SECRET}@h/ "),
    "http: scheme": lambda: HttpPoller(f"ftp://robot:{SECRET}@h/"),
    "http: header": lambda: HttpOptions(headers={"X-Key": f"{SECRET}\r\nX-More: 1"}),
    "http: token": lambda: HttpOptions(auth=f"{SECRET} "),
    "http: auth": lambda: HttpOptions(auth=("a:b", SECRET)),
    "http: params": lambda: HttpOptions(params=SECRET),  # type: ignore[arg-type]
    "websocket: port": lambda: WebSocketClient(f"ws://robot:{SECRET}"),
    "websocket: user": lambda: WebSocketClient(f"ws://robot:{SECRET}@h/"),
    "websocket: scheme": lambda: WebSocketClient(f"robot{SECRET}"),
    "websocket: header": lambda: WebSocketClient("ws://h/", headers={"A": f"{SECRET}\r\nB: 1"}),
    "websocket: space": lambda: WebSocketClient(f"ws://h/?key={SECRET} "),
    "postgres: unquoted": lambda: postgres_pool(f"host=h password=a {SECRET}"),
    "postgres: escaped": lambda: postgres_pool(f"postgresql://u:%zz{SECRET}@h/d"),
    "postgres: bytes": lambda: postgres_pool(f"password={SECRET}".encode()),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("kind", WRONG)
def test_of_what_is_refused(kind: str) -> None:
    with pytest.raises(horus.ConfigurationError) as caught:
        WRONG[kind]()
    text = told(caught.value)
    assert SECRET not in text


def test_of_a_pool_of_connections() -> None:
    pool = postgres_pool(f"host=127.0.0.1 user=u password={SECRET}", password=SECRET)
    assert SECRET not in f"{pool!r}{pool.statistics()}"
    assert SECRET not in repr(RedisServer(password=SECRET))
    assert SECRET not in repr(HttpOptions(headers={"X-Key": SECRET}, auth=SECRET))


@pytest.mark.parametrize(
    "make",
    [
        lambda value: HttpOptions(headers={"X-Key": value}),
        lambda value: HttpOptions(headers={value: "x"}),
        lambda value: HttpOptions(auth=value),
        lambda value: HttpPoller(f"http://h/{value}"),
        lambda value: WebSocketClient("ws://h/", headers={"X-Key": value}),
        lambda value: WebSocketClient("ws://h/", headers={value: "x"}),
        lambda value: WebSocketClient(f"ws://h/{value}"),
        lambda value: WebSocketClient("ws://h/", subprotocols=[value]),
    ],
    ids=["header", "name", "token", "URL", "ws header", "ws name", "ws URL", "ws protocol"],
)
@pytest.mark.parametrize("value", ["a\r\nX: 1", "a\nX: 1", "a\rX: 1", "a\0"], ids=repr)
def test_a_request_has_no_more_lines_than_it_should(make: Any, value: str) -> None:
    with pytest.raises(horus.ConfigurationError):
        make(value)
