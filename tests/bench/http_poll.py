"""What a poll over HTTP costs through the driver, beside httpx2's own client in a Trio program.

The server is a process of its own on the loopback address, which answers each request on a
connection that is kept with the same bytes, and does nothing else. So what is compared is the
client: a request, an answer, and what is made of it.
"""

from __future__ import annotations

import contextlib
import gc
import json
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator

import trio
from _compare import Target, compare, print_machine
from _quick import either

from horus_trio.drivers import HttpPoller, JsonField, JsonSensor

POLLS = either(1_000, 30)
REPETITIONS = either(15, 1)

SERVER = """
import socket, sys
body = sys.argv[1].encode()
head = b"HTTP/1.1 200 OK\\r\\nContent-Type: application/json\\r\\nETag: \\"1\\"\\r\\n"
answer = head + b"Content-Length: %d\\r\\n\\r\\n" % len(body) + body
nothing = b"HTTP/1.1 304 Not Modified\\r\\nETag: \\"1\\"\\r\\n\\r\\n"
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
while True:
    client, _ = listener.accept()
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with client:
        asked = b""
        while data := client.recv(65536):
            asked += data
            if asked.endswith(b"\\r\\n\\r\\n"):
                news = b"/news" in asked or b"-match" not in asked.lower()
                client.sendall(answer if news else nothing)
                asked = b""
"""

DOCUMENT = {
    "station": "harbour",
    "main": {"temperature": 21.5, "humidity": 40, "pressure": 1013.2},
    "sensors": [{"id": number, "value": number * 1.5} for number in range(8)],
}


@contextlib.contextmanager
def server() -> Iterator[str]:
    """Its address."""
    command = [sys.executable, "-c", SERVER, json.dumps(DOCUMENT)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            if process.stdout is None:
                raise SystemExit("the server says nothing")
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


async def of_polls(poll: Callable[[], Awaitable[object]]) -> float:
    """Microseconds of one, with a few before that do not count."""
    for _ in range(max(1, POLLS // 10)):
        await poll()
    gc.collect()
    began = time.perf_counter()
    for _ in range(POLLS):
        await poll()
    return (time.perf_counter() - began) / POLLS * 1e6


def bare_get() -> float:
    import httpx2

    async def main(url: str) -> float:
        async with httpx2.AsyncClient(trust_env=False) as client:

            async def poll() -> None:
                answer = await client.get(url + "/news", headers={"If-None-Match": '"1"'})
                answer.raise_for_status()
                if not answer.content:
                    raise SystemExit("the answer is empty")

            return await of_polls(poll)

    with server() as url:
        return trio.run(main, url)


def our_get() -> float:
    async def main(url: str) -> float:
        async with HttpPoller(url + "/news", every=0) as poller:

            async def poll() -> None:
                if not (await poller.receive()).body:
                    raise SystemExit("the answer is empty")

            return await of_polls(poll)

    with server() as url:
        return trio.run(main, url)


def bare_unchanged() -> float:
    import httpx2

    async def main(url: str) -> float:
        async with httpx2.AsyncClient(trust_env=False) as client:

            async def poll() -> None:
                answer = await client.get(url + "/same", headers={"If-None-Match": '"1"'})
                if answer.status_code != 304:
                    raise SystemExit("it has changed")

            return await of_polls(poll)

    with server() as url:
        return trio.run(main, url)


def our_unchanged() -> float:
    async def main(url: str) -> float:
        async with HttpPoller(url + "/same", every=0, unchanged=True) as poller:
            await poller.receive()

            async def poll() -> None:
                if not (await poller.receive()).unchanged:
                    raise SystemExit("it has changed")

            return await of_polls(poll)

    with server() as url:
        return trio.run(main, url)


def bare_json() -> float:
    import httpx2

    async def main(url: str) -> float:
        async with httpx2.AsyncClient(trust_env=False) as client:

            async def poll() -> None:
                answer = await client.get(url + "/news", headers={"If-None-Match": '"1"'})
                answer.raise_for_status()
                document = answer.json()
                values = {
                    "temperature": float(document["main"]["temperature"]),
                    "fourth": float(document["sensors"][3]["value"]),
                }
                if values != {"temperature": 21.5, "fourth": 4.5}:
                    raise SystemExit("other values came")

            return await of_polls(poll)

    with server() as url:
        return trio.run(main, url)


def our_json() -> float:
    fields = {
        "temperature": JsonField("main.temperature", float),
        "fourth": JsonField("sensors.3.value", float),
    }

    async def main(url: str) -> float:
        async with JsonSensor(url + "/news", every=0, fields=fields) as sensor:

            async def poll() -> None:
                if await sensor.receive() != {"temperature": 21.5, "fourth": 4.5}:
                    raise SystemExit("other values came")

            return await of_polls(poll)

    with server() as url:
        return trio.run(main, url)


def main() -> None:
    print_machine()
    for title, bare, ours, name in (
        ("an answer over HTTP", bare_get, our_get, "HttpPoller"),
        ("an answer that nothing is new", bare_unchanged, our_unchanged, "HttpPoller"),
        ("two values out of JSON", bare_json, our_json, "JsonSensor"),
    ):
        compare(
            title,
            "us",
            {"httpx2.AsyncClient": bare, name: ours},
            base="httpx2.AsyncClient",
            repetitions=REPETITIONS,
            targets={name: Target(at_most=1.2)},
        )


if __name__ == "__main__":
    main()
