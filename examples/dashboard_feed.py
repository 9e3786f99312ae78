"""A robot shows how it is on a web page, and takes orders from there, over a WebSocket.

Run it with `python examples/dashboard_feed.py 8000`, and open http://127.0.0.1:8000 until Ctrl-C.
Without a port it ends by itself, and restarts the dashboard on the way. It needs
`pip install 'horus-trio[websocket]' trio-websocket`.

The dashboard would be a program of its own. It passes on what comes from the robot to the browsers,
and what comes from browsers to the robot.
"""

from __future__ import annotations

import contextlib
import functools
import json
import math
import sys

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest, serve_websocket

import horus_trio as horus
from horus_trio.drivers import DriverNode, WebSocketClient

HOST = "127.0.0.1"

PAGE = """<!doctype html><meta charset="utf-8"><title>Robot</title>
<p>Battery: <b id="battery">?</b> V <p>Position: <b id="position">?</b>
<p><button onclick="order(true)">Drive</button> <button onclick="order(false)">Stop</button>
<script>
  const show = (id, text) => document.getElementById(id).textContent = text
  const order = drive => socket.send(JSON.stringify({drive}))
  let socket
  function connect() {
    socket = new WebSocket("ws://127.0.0.1:PORT/browser")
    socket.onclose = () => setTimeout(connect, 300)
    socket.onmessage = ({data}) => {
      const {battery, x, y} = JSON.parse(data)
      show("battery", battery.toFixed(2))
      show("position", `${x.toFixed(2)}, ${y.toFixed(2)}`)
    }
  }
  connect()
</script>"""


class Robot(horus.AsyncNode):
    """Drives in a circle while it may, and its battery gets empty."""

    rate = 20
    subs = horus.Sub("drive", capacity=1)
    pubs = horus.Pub("status", type=dict)

    def __init__(self) -> None:
        super().__init__("robot")
        self.drives: bool = True
        self.driven: int = 0

    async def tick_async(self) -> None:
        self.drives = self.recv("drive", self.drives)
        self.driven += self.drives
        x, y = math.cos(self.driven / 20), math.sin(self.driven / 20)
        self.send("status", {"battery": 12.6 - self.driven / 100, "x": x, "y": y})


class Feed(DriverNode):
    """Sends the newest status as JSON, and publishes what is ordered."""

    def __init__(self, url: str) -> None:
        hello = json.dumps({"robot": "arm"})
        driver = WebSocketClient(url, subscribe=[hello], keepalive=5.0)
        status = horus.Sub("status", capacity=1, overflow=horus.Overflow.LATEST)
        super().__init__("feed", driver, publish="drive", listen=status)

    def encode(self, data: dict[str, float]) -> str:
        return json.dumps(data)

    def decode(self, message: str | bytes) -> bool:
        return bool(json.loads(message)["drive"])

    def on_stale(self, silence: float) -> None:
        print("the robot has no dashboard")


class Dashboard:
    """Serves the page at one port, and WebSockets of the robot and of browsers at another."""

    def __init__(self, page_port: int = 0) -> None:
        self.page_port: int = page_port
        self.port: int = 0
        self.robots: set[WebSocketConnection] = set()
        self.browsers: set[WebSocketConnection] = set()
        self.told: int = 0

    async def run(self, *, task_status: trio.TaskStatus[trio.CancelScope]) -> None:
        """Until it is cancelled; it starts with the scope to do so, and the next time anew."""
        async with trio.open_nursery() as nursery:
            serve = functools.partial(serve_websocket, self.talk, HOST, self.port, None)
            self.port = (await nursery.start(serve)).port
            pages = functools.partial(trio.serve_tcp, self.give_page, self.page_port, host=HOST)
            [listener] = await nursery.start(pages)
            self.page_port = listener.socket.getsockname()[1]
            print("the dashboard runs")
            task_status.started(nursery.cancel_scope)

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
            page = PAGE.replace("PORT", str(self.port)).encode()
            head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(page)}\r\n"
            with contextlib.suppress(trio.BrokenResourceError):
                await stream.send_all(head.encode() + b"Connection: close\r\n\r\n" + page)


async def main(*ports: str) -> tuple[horus.Scheduler, Dashboard]:
    """Restart the dashboard under the running robot, once."""
    dashboard = Dashboard(*map(int, ports))
    async with trio.open_nursery() as nursery:
        running = await nursery.start(dashboard.run)
        scheduler = horus.Scheduler(name="fed")
        scheduler.add(Robot())
        scheduler.add(Feed(f"ws://{HOST}:{dashboard.port}/robot"))
        if ports:
            print(f"see http://{HOST}:{dashboard.page_port}")
            await scheduler.run()
        else:
            await nursery.start(scheduler.run)
            await trio.sleep(1)
            running.cancel()
            await trio.sleep(0.3)
            await nursery.start(dashboard.run)
            await trio.sleep(1)
            scheduler.stop("the day is over")
        nursery.cancel_scope.cancel()
    print(scheduler.report)
    print(f"the dashboard was told {dashboard.told} times how it is")
    return scheduler, dashboard


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:2])
