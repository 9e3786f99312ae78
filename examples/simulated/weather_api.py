"""A web API with the readings of weather stations, made up, which allows so many requests a second.

It answers one request in eight with an error, leaves one in twenty without an answer, and counts
those that are too many. `get` asks it.
"""

from __future__ import annotations

import collections
import contextlib
import json
import math
import random
import time
from collections.abc import AsyncIterator
from typing import Any

import trio


async def get(port: int, path: str) -> Any:
    """One HTTP request; None: the server has trouble."""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
        answer = b"".join([part async for part in stream])
    head, _, body = answer.partition(b"\r\n\r\n")
    return json.loads(body) if b" 200 " in head.partition(b"\r\n")[0] else None


class WeatherApi:
    """Counts by its own clock. Requests may bunch up a little on their way."""

    def __init__(self, limit: float, burst: float) -> None:
        self.requests = self.too_many = 0
        self.numbers = collections.Counter[str]()
        self._limit, self._most = limit, burst + 2
        self._dice = random.Random(4)
        self._tokens, self._last = self._most, time.monotonic()

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[int]:
        """Its port."""
        async with trio.open_nursery() as nursery:
            listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
            nursery.start_soon(trio.serve_listeners, self.answer, listeners)
            yield listeners[0].socket.getsockname()[1]
            nursery.cancel_scope.cancel()

    async def answer(self, stream: trio.SocketStream) -> None:
        request = b""
        with contextlib.suppress(trio.BrokenResourceError):  # the client waits no more
            async with stream:
                while b"\r\n\r\n" not in request:
                    request += await stream.receive_some()
                status, body = await self.look_up(request.split()[1].decode())
                await stream.send_all(f"HTTP/1.0 {status}\r\n\r\n{body}".encode())

    async def look_up(self, path: str) -> tuple[str, str]:
        self.requests += 1
        now = time.monotonic()
        self._tokens = min(self._most, self._tokens + (now - self._last) * self._limit) - 1
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
