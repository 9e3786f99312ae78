"""A robot and its web dashboard in one asyncio program: `run_in_asyncio`, beside FastAPI.

Run it with `python examples/web_dashboard.py 8000`, until Ctrl-C. Without a port a browser that is
made up looks at it, and it ends. It needs `pip install fastapi uvicorn`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator

import uvicorn
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

import horus_trio as horus
from horus_trio.bridges.asyncio import messages, run_in_asyncio, send
from simulated.browser import visited


class Motor(horus.AsyncNode):
    rate = 50
    subs = horus.Sub("orders", capacity=4, overflow=horus.Overflow.BLOCK)
    speed = position = 0.0

    async def tick_async(self) -> None:
        self.speed = self.recv("orders", self.speed)
        self.position += self.speed / 50
        self.send("wheels", {"position": self.position, "speed": self.speed})


scheduler = horus.Scheduler(name="dashboard").add(Motor("motor"))


@contextlib.asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    robot = asyncio.create_task(run_in_asyncio(scheduler.run))
    yield
    robot.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await robot  # until every node has shut down; raises what made it fail
    print(scheduler.report)


app = FastAPI(lifespan=lifespan)


@app.get("/nodes")  # statistics never wait
async def nodes() -> dict[str, int]:
    return {name: node.ok for name, node in scheduler.statistics().nodes.items()}


@app.post("/speed/{speed}")  # orders are not lost: `send` waits until the motor has room for them
async def drive(speed: float) -> dict[str, int]:
    async with asyncio.timeout(1.0):
        return {"taken": await send(scheduler.topic("orders"), speed)}


@app.get("/wheels")  # server-sent events; a slow client sees the newest and misses some
async def watch() -> StreamingResponse:
    return StreamingResponse(events(), media_type="text/event-stream")


async def events() -> AsyncIterator[str]:
    wheels = scheduler.topic("wheels").subscribe(overflow=horus.Overflow.LATEST)
    with contextlib.closing(wheels):
        async for message in messages(wheels):
            yield f"data: {json.dumps(message)}\n\n"


if __name__ == "__main__":
    port = int(sys.argv[1]) if sys.argv[1:] else 0
    # Streams have no end of their own: they are given a second.
    config = uvicorn.Config(app, port=port, ws="none", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(server.serve() if sys.argv[1:] else visited(server))
