"""A robot shows how it is on a web page, and takes orders from there, over a WebSocket.

Run it with `python examples/dashboard_feed.py 8000`, and open http://127.0.0.1:8000 until Ctrl-C.
Without a port it ends by itself, and the dashboard is restarted on the way. It needs
`pip install 'horus-trio[websocket]' trio-websocket`.
"""

from __future__ import annotations

import json
import math
import sys

import trio

import horus_trio as horus
from horus_trio.drivers import DriverNode, WebSocketClient
from simulated.dashboard import Dashboard


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


async def main(*port: str) -> tuple[horus.Scheduler, Dashboard]:
    """Until Ctrl-C, or for two seconds and a half."""
    dashboard = Dashboard(*map(int, port))
    async with trio.open_nursery() as nursery:
        await nursery.start(dashboard.run if port else dashboard.run_twice)
        print(f"see http://127.0.0.1:{dashboard.page_port}")
        scheduler = horus.Scheduler(name="fed")
        scheduler.add(Robot())
        scheduler.add(Feed(f"ws://127.0.0.1:{dashboard.port}/robot"))
        print(await scheduler.run(None if port else 2.5))
        nursery.cancel_scope.cancel()
    print(f"the dashboard was told {dashboard.told} times how it is")
    return scheduler, dashboard


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:2])
