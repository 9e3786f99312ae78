"""A weather station that tells its values as JSON over HTTP, made up.

It has news three times a second, and is switched off for a second on the way.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import AsyncIterator

import trio

UNCHANGED = b"HTTP/1.1 304 Not Modified\r\n\r\n"


@contextlib.asynccontextmanager
async def weather_station() -> AsyncIterator[str]:
    """Its URL."""
    async with trio.open_nursery() as nursery:
        port = await nursery.start(switch_on_and_off)
        yield f"http://127.0.0.1:{port}/weather"
        nursery.cancel_scope.cancel()


async def switch_on_and_off(*, task_status: trio.TaskStatus[int]) -> None:
    """On for a second and a half, off for a second, and on again."""
    port = 0
    for seconds in (1.5, math.inf):
        listeners = await trio.open_tcp_listeners(port, host="127.0.0.1")
        if port == 0:
            port = listeners[0].socket.getsockname()[1]
            task_status.started(port)
        with trio.move_on_after(seconds):
            await trio.serve_listeners(answer, listeners)
        await trio.sleep(1)


async def answer(stream: trio.SocketStream) -> None:
    """Answer what comes over a connection, until it ends."""
    question = b""
    with contextlib.suppress(trio.BrokenResourceError):
        async for data in stream:
            question += data
            if question.endswith(b"\r\n\r\n"):
                number = int(trio.current_time() * 3)
                known = b'"%d"' % number in question
                await stream.send_all(UNCHANGED if known else news(number))
                question = b""


def news(number: int) -> bytes:
    """An answer with values, and with the tag by which they are asked for next time."""
    air = {"temperature": round(15 + 5 * math.sin(number / 10), 1), "unit": "C"}
    gauges = [{"id": "roof", "speed": number % 11 / 2}]
    body = json.dumps({"air": air, "gauges": gauges, "rain": number % 5 == 0})
    head = f'HTTP/1.1 200 OK\r\nETag: "{number}"\r\nContent-Length: {len(body)}'
    return f"{head}\r\n\r\n{body}".encode()
