"""A small asyncio web server, with or without the engine: ``_web_server.py none|guest|background``.

It prints its port, and ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys

from aiohttp import web

import horus_trio as horus
from horus_trio.bridges import run_in_asyncio

NODES, RATE = 10, 100.0


class Idle(horus.AsyncNode):
    async def tick_async(self) -> None:
        pass


def robot() -> horus.Scheduler:
    """So many nodes that do nothing, at such a rate in Hz."""
    scheduler = horus.Scheduler(tick_rate=RATE)
    for number in range(NODES):
        scheduler.add(Idle(f"idle-{number}"))
    return scheduler


async def answer(request: web.Request) -> web.Response:
    """What an endpoint does at least."""
    return web.json_response({"path": request.path, "numbers": list(range(20))})


async def serve(engine: str) -> None:
    """Until standard input ends."""
    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    scheduler = robot()
    async with contextlib.AsyncExitStack() as stack:
        running: asyncio.Future[object] = asyncio.ensure_future(asyncio.sleep(0))
        if engine == "guest":
            running = asyncio.create_task(run_in_asyncio(scheduler.run))
        elif engine == "background":
            stack.enter_context(horus.background(scheduler))
        await asyncio.sleep(0.1)
        print(runner.addresses[0][1], flush=True)
        await asyncio.to_thread(sys.stdin.read)
        scheduler.stop()
        await running
    await runner.cleanup()
    if engine != "none":
        report = scheduler.report
        ticks = 0 if report is None else min(n.ok for n in report.statistics.nodes.values())
        seconds = 0.0 if report is None else report.duration
        print(ticks / (RATE * seconds or 1.0), flush=True)


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
