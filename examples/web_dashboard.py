"""A robot and its web dashboard in one asyncio program, in one thread.

Run it with `python examples/web_dashboard.py`: it serves on a free port of the loopback interface,
asks itself for a while, and ends. `python examples/web_dashboard.py 8000` serves until Ctrl-C. It
needs FastAPI and uvicorn: `pip install fastapi uvicorn`.

The engine lives as long as the app: `lifespan` runs it with `run_in_asyncio`. The endpoints use it
as it is for whatever need not wait, and `horus_trio.bridges.asyncio` for what waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import uvicorn
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

import horus_trio as horus
from horus_trio.bridges.asyncio import messages, run_in_asyncio, send

SECONDS = 2.0
"""For which it asks itself."""


@dataclasses.dataclass(frozen=True)
class Wheels:
    position: float
    speed: float


class Motor(horus.AsyncNode):
    """Drives as fast as the latest order says."""

    rate = 50
    subs = (horus.Sub("orders", capacity=4, overflow=horus.Overflow.BLOCK),)
    pubs = (horus.Pub("wheels", type=Wheels),)

    def __init__(self) -> None:
        super().__init__("motor")
        self.wheels = Wheels(0.0, 0.0)

    async def tick_async(self) -> None:
        speed = self.recv("orders", self.wheels.speed)
        self.wheels = Wheels(self.wheels.position + self.wheels.speed / 50, speed)
        self.send("wheels", self.wheels)

    async def shutdown(self) -> None:
        print(f"the motor stops at {self.wheels.position:.2f} m")


scheduler = horus.Scheduler(name="dashboard").add(Motor())


@contextlib.asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    robot = asyncio.create_task(run_in_asyncio(scheduler.run))
    yield
    robot.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await robot  # until every node has shut down; raises what made it fail


app = FastAPI(lifespan=lifespan)


@app.get("/nodes")
async def nodes() -> dict[str, Any]:
    """Statistics never wait."""
    return {
        name: {"state": node.state.value, "ok": node.ok, "rate": node.achieved_rate}
        for name, node in scheduler.statistics().nodes.items()
    }


@app.post("/speed/{speed}")
async def drive(speed: float) -> dict[str, Any]:
    """Orders are not lost: `send` waits until the motor has room for one more."""
    async with asyncio.timeout(1.0):
        return {"taken": await send(scheduler.topic("orders"), speed)}


@app.get("/wheels")
async def watch() -> StreamingResponse:
    """Server-sent events; a slow client sees the newest and misses some."""

    async def events() -> AsyncIterator[str]:
        wheels = scheduler.topic("wheels").subscribe(overflow=horus.Overflow.LATEST)
        try:
            async for message in messages(wheels):
                yield f"data: {json.dumps(dataclasses.asdict(message))}\n\n"
        finally:
            wheels.close()

    return StreamingResponse(events(), media_type="text/event-stream")


def make_server(port: int, log_level: str = "warning") -> uvicorn.Server:
    config = uvicorn.Config(
        app,
        host="127.0.0.1",
        port=port,
        ws="none",
        log_level=log_level,
        timeout_graceful_shutdown=1,  # open streams have no end of their own
    )
    return uvicorn.Server(config)


def port_of(server: uvicorn.Server) -> int:
    """The port that it has found."""
    port: int = server.servers[0].sockets[0].getsockname()[1]
    return port


async def ask(port: int, request: str) -> AsyncGenerator[str, None]:
    """The lines of an answer, as they come."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"{request} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        async for line in reader:
            yield line.decode().rstrip()
    finally:
        writer.close()
        await writer.wait_closed()


async def use(port: int) -> None:
    """What a browser would do."""
    last = ""
    async for line in ask(port, "POST /speed/0.5"):
        last = line
    print(f"an order was given: {last}")
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(SECONDS), contextlib.aclosing(ask(port, "GET /wheels")) as lines:
            async for line in lines:
                if line.startswith("data:"):
                    last = line
    print(f"the wheels: {last}")
    async for line in ask(port, "GET /nodes"):
        last = line
    print(f"the nodes: {last}")


async def demonstrate() -> None:
    """Serve, and be the client as well."""
    server = make_server(0)
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has nothing to wait for
        await asyncio.sleep(0.01)
    await use(port_of(server))
    server.should_exit = True
    await serving


def main() -> None:
    if len(sys.argv) > 1:
        with contextlib.suppress(KeyboardInterrupt):
            make_server(int(sys.argv[1]), "info").run()
    else:
        asyncio.run(demonstrate())
    print(scheduler.report)


if __name__ == "__main__":
    main()
