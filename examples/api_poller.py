"""A web API that is polled as fast as it allows, and no faster; what it says goes into a file.

Run it with `python examples/api_poller.py`. The API is made up, on the loopback interface: it has
the readings of five weather stations, answers one request in eight with an error, leaves one in
twenty without an answer, and counts who asks more than 50 times a second.

A node for each station polls it. They share a `RateLimiter`, which every request passes, and a
`BatchProcessor`, which writes many lines at once.
"""

from __future__ import annotations

import collections
import csv
import json
import math
import random
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import trio

import horus_trio as horus
from horus_trio.helpers import BatchProcessor, RateLimiter

STATIONS = ("harbour", "hill", "airport", "forest", "island")

LIMIT = 50
"""Requests a second that the API allows."""

BURST = 10
"""Requests at once."""


class Reading(NamedTuple):
    station: str
    number: int
    temperature: float


class Poller(horus.AsyncNode):
    """Asks for one station, again and again; the limiter says how fast."""

    rate = 1000  # far more than there will be

    def __init__(
        self, port: int, limiter: RateLimiter, readings: BatchProcessor[Reading], station: str
    ) -> None:
        super().__init__(station, helpers=[limiter, readings])
        self.port = port
        self.limiter = limiter
        self.readings = readings
        self.retries: int = 0

    async def tick_async(self) -> None:
        for attempt in range(6):
            await self.limiter.acquire()
            answer = None
            with trio.move_on_after(0.1):
                answer = await get(self.port, f"/stations/{self.name}")
            if answer is not None:
                number, temperature = answer["number"], answer["temperature"]
                await self.readings.add_async(Reading(self.name, number, temperature))
                return
            self.retries += 1
            await trio.sleep(0.01 * 2**attempt)
        raise OSError(f"the API does not tell about {self.name}")


async def get(port: int, path: str) -> Any:
    """One HTTP request; None: the server has trouble."""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
        answer = b"".join([part async for part in stream])
    head, _, body = answer.partition(b"\r\n\r\n")
    return json.loads(body) if b" 200 " in head.partition(b"\r\n")[0] else None


async def main(path: Path, seconds: float = 3.0) -> Server:
    """Poll; the server, which has counted."""

    def write(batch: list[Reading]) -> None:
        with path.open("a", newline="") as file:
            csv.writer(file).writerows(batch)

    limiter = RateLimiter(LIMIT, burst=BURST, name="API")
    readings = BatchProcessor(
        write,
        batch_size=25,
        interval=0.5,
        dead_letter=path.with_suffix(".dead"),
        name="readings",
    )
    async with trio.open_nursery() as nursery:
        server: Server = await nursery.start(Server.serve)
        scheduler = horus.Scheduler(name="API poller")
        pollers = [Poller(server.port, limiter, readings, station) for station in STATIONS]
        for poller in pollers:
            scheduler.add(poller)
        print(await scheduler.run(seconds))
        nursery.cancel_scope.cancel()

    print(f"\n  {'station':10} {'readings':>8} {'retries':>8}")
    with path.open(newline="") as lines:
        written = collections.Counter(line[0] for line in csv.reader(lines))
    for poller in pollers:
        print(f"  {poller.name:10} {written[poller.name]:8} {poller.retries:8}")
    batches = readings.statistics()
    print(
        f"\n{batches.processed} readings went into {path.name}, in {batches.batches} batches; "
        f"{batches.dead} could not be written"
    )
    print(
        f"{server.requests} requests reached the API, which allows {LIMIT} a second and {BURST} at "
        f"once; {server.too_many} were too many"
    )
    return server


# The API, simulated


class Server:
    """Answers, mostly; and counts who asks too often, by its own clock."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.requests = 0
        self.too_many = 0
        self.numbers = collections.Counter[str]()
        self._dice = random.Random(4)
        self._tokens = BURST + 2.0  # on their way, requests may bunch up a little
        self._last = time.monotonic()

    @staticmethod
    async def serve(*, task_status: trio.TaskStatus[Server]) -> None:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        server = Server(listeners[0].socket.getsockname()[1])
        task_status.started(server)
        await trio.serve_listeners(server.answer, listeners)

    async def answer(self, stream: trio.SocketStream) -> None:
        request = b""
        try:
            async with stream:
                while b"\r\n\r\n" not in request:
                    request += await stream.receive_some()
                status, body = await self.look_up(request.split()[1].decode())
                await stream.send_all(f"HTTP/1.0 {status}\r\n\r\n{body}".encode())
        except trio.BrokenResourceError:
            pass  # the client waits no more

    async def look_up(self, path: str) -> tuple[str, str]:
        self.requests += 1
        now = time.monotonic()
        self._tokens = min(BURST + 2.0, self._tokens + (now - self._last) * LIMIT) - 1
        self._last = now
        if self._tokens < 0:
            self.too_many += 1
            self._tokens += 1
            return "429 Too Many Requests", ""
        chance = self._dice.random()
        if chance < 1 / 8:
            return "503 Service Unavailable", ""
        if chance < 1 / 8 + 1 / 20:
            await trio.sleep(10)
        station = path.rpartition("/")[2]
        number = self.numbers[station]
        self.numbers[station] += 1
        temperature = round(15 + 5 * math.sin(number / 10), 2)
        return "200 OK", json.dumps({"number": number, "temperature": temperature})


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1] if sys.argv[1:] else "readings.csv"))
