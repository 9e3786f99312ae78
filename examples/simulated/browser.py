"""What a browser would do on a web dashboard, in asyncio: give an order, and look for a while."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator

import uvicorn

SECONDS = 2.0
"""For which it looks."""


def port_of(server: uvicorn.Server) -> int:
    """The port that a server has found."""
    port: int = server.servers[0].sockets[0].getsockname()[1]
    return port


async def visited(server: uvicorn.Server) -> None:
    """Serve until the browser has seen enough, or Ctrl-C."""
    server.config.log_level = "warning"
    server.config.configure_logging()
    browser = asyncio.create_task(visit(server))
    await server.serve()
    await browser


async def visit(server: uvicorn.Server) -> None:
    """Use it, as soon as it has started, and then tell it to end."""
    while not server.started:  # noqa: ASYNC110 - uvicorn has nothing to wait for
        await asyncio.sleep(0.01)
    try:
        await look(port_of(server))
    except OSError:
        if not server.should_exit:  # by Ctrl-C
            raise
    finally:
        server.should_exit = True


async def look(port: int) -> None:
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
