"""What `WebSocketClient` costs beside trio-websocket's own client, on the same server.

The server is a process of its own. It echoes messages: so a round trip is two switches of
processes, and the server's work, besides what is compared. Or it floods with frames that were made
before.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator

import trio
import trio_websocket
from _compare import Target, compare, print_machine
from _quick import either
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, Request, TextMessage

from horus_trio.drivers import WebSocketClient

HOST = "127.0.0.1"
MESSAGE = '{"battery": 12.41, "x": 1.52, "y": -0.38}'
ROUNDS = either(3_000, 100)
MESSAGES = either(50_000, 1_000)
REPETITIONS = either(9, 1)


async def serve() -> None:
    """Print the port, and serve until it is killed."""

    async def serve_one(stream: trio.SocketStream) -> None:
        with contextlib.suppress(trio.BrokenResourceError):
            await talk(stream)

    async def talk(stream: trio.SocketStream) -> None:
        server = WSConnection(ConnectionType.SERVER)
        server.receive_data(await stream.receive_some())
        [request] = server.events()
        await stream.send_all(server.send(AcceptConnection()))
        if isinstance(request, Request) and request.target == "/flood":
            data = MESSAGE.encode()
            frames = (bytes([0x81, len(data)]) + data) * 1000
            while True:
                await stream.send_all(frames)
        while data := await stream.receive_some():
            server.receive_data(data)
            for event in server.events():
                if isinstance(event, TextMessage):
                    await stream.send_all(server.send(event))

    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(functools.partial(trio.serve_tcp, serve_one, 0, host=HOST))
        print(listener.socket.getsockname()[1], flush=True)


@contextlib.contextmanager
def server(path: str) -> Iterator[str]:
    """Its URL."""
    with subprocess.Popen(
        [sys.executable, __file__, "serve"],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            yield f"ws://{HOST}:{int(process.stdout.readline())}{path}"
        finally:
            process.kill()


async def round_trips(
    send: Callable[[str], Awaitable[object]], receive: Callable[[], Awaitable[object]]
) -> float:
    """Microseconds of one, with a few before that do not count."""

    async def trips(count: int) -> None:
        for _ in range(count):
            await send(MESSAGE)
            if await receive() != MESSAGE:
                raise SystemExit("another message came back")

    await trips(max(1, ROUNDS // 10))
    gc.collect()
    began = time.perf_counter()
    await trips(ROUNDS)
    return (time.perf_counter() - began) / ROUNDS * 1e6


async def count(receive: Callable[[], Awaitable[object]]) -> float:
    """Thousand messages a second."""
    began = time.perf_counter()
    for _ in range(MESSAGES):
        if await receive() != MESSAGE:
            raise SystemExit("another message came")
    return MESSAGES / (time.perf_counter() - began) / 1e3


def bare_trips() -> float:
    async def main(url: str) -> float:
        async with trio.open_nursery() as nursery:
            websocket = await trio_websocket.connect_websocket_url(nursery, url)
            figure = await round_trips(websocket.send_message, websocket.get_message)
            nursery.cancel_scope.cancel()  # the server does not take its leave
        return figure

    with server("/echo") as url:
        return trio.run(main, url)


def our_trips() -> float:
    async def main(url: str) -> float:
        async with WebSocketClient(url) as driver:
            return await round_trips(driver.send, driver.receive)

    with server("/echo") as url:
        return trio.run(main, url)


def bare_flood() -> float:
    async def main(url: str) -> float:
        async with trio.open_nursery() as nursery:
            websocket = await trio_websocket.connect_websocket_url(nursery, url)
            figure = await count(websocket.get_message)
            nursery.cancel_scope.cancel()  # the server does not listen
        return figure

    with server("/flood") as url:
        return trio.run(main, url)


def our_flood() -> float:
    async def main(url: str) -> float:
        async with WebSocketClient(url) as driver:
            return await count(driver.receive)

    with server("/flood") as url:
        return trio.run(main, url)


def main() -> None:
    print_machine()
    compare(
        "a message and its echo over a WebSocket",
        "us",
        {"trio-websocket": bare_trips, "WebSocketClient": our_trips},
        base="trio-websocket",
        repetitions=REPETITIONS,
        targets={"WebSocketClient": Target(at_most=1.1)},
    )
    compare(
        "messages of a flood over a WebSocket",
        "thousand messages a second",
        {"trio-websocket": bare_flood, "WebSocketClient": our_flood},
        base="trio-websocket",
        repetitions=REPETITIONS,
        targets={"WebSocketClient": Target(at_least=0.9)},
    )


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        trio.run(serve)
    else:
        main()
