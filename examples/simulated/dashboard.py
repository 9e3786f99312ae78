"""A dashboard: a web page that shows what a robot feeds it with, and passes orders to the robot.

It passes on what comes from robots to the browsers, and what comes from browsers to the robots.
"""

from __future__ import annotations

import contextlib
import functools
from pathlib import Path

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest, serve_websocket

HOST = "127.0.0.1"
PAGE = Path(__file__).with_suffix(".html")


class Dashboard:
    """Serves the page at one port, and WebSockets of robots and of browsers at another."""

    def __init__(self, page_port: int = 0) -> None:
        self.page_port: int = page_port
        self.port: int = 0
        self.robots: set[WebSocketConnection] = set()
        self.browsers: set[WebSocketConnection] = set()
        self.told: int = 0

    async def run(
        self, *, task_status: trio.TaskStatus[trio.CancelScope] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Until it is cancelled, as by the scope that it starts with; then again, if need be."""
        async with trio.open_nursery() as nursery:
            serve = functools.partial(serve_websocket, self.talk, HOST, self.port, None)
            self.port = (await nursery.start(serve)).port
            pages = functools.partial(trio.serve_tcp, self.give_page, self.page_port, host=HOST)
            [listener] = await nursery.start(pages)
            self.page_port = listener.socket.getsockname()[1]
            print("the dashboard runs")
            task_status.started(nursery.cancel_scope)

    async def run_twice(self, *, task_status: trio.TaskStatus[trio.CancelScope]) -> None:
        """For a second, and after a pause again, at the same ports."""
        with trio.move_on_after(1):
            await self.run(task_status=task_status)
        await trio.sleep(0.3)
        await self.run()

    async def talk(self, request: WebSocketRequest) -> None:
        websocket = await request.accept()
        is_robot = request.path == "/robot"
        here, there = (self.robots, self.browsers)[:: 1 if is_robot else -1]
        here.add(websocket)
        try:
            if is_robot:
                print("the dashboard hears", await websocket.get_message())
            while True:
                message = await websocket.get_message()
                self.told += is_robot
                for other in tuple(there):
                    with contextlib.suppress(ConnectionClosed):
                        await other.send_message(message)
        except ConnectionClosed:
            pass
        finally:
            here.discard(websocket)

    async def give_page(self, stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()  # whatever it asks for
            page = PAGE.read_text().replace("PORT", str(self.port)).encode()
            head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(page)}\r\n"
            with contextlib.suppress(trio.BrokenResourceError):
                await stream.send_all(head.encode() + b"Connection: close\r\n\r\n" + page)
