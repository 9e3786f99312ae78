"""A robot beside a process of HORUS's own, which drives while the robot here looks out.

Run it with `python examples/horus_bridge.py`; it needs `pip install 'horus-trio[horus]'`. HORUS's
process drives towards a wall and says where it is. The brake here listens, and stops it in time.
"""

from __future__ import annotations

import subprocess
import sys

import horus_trio as horus
from horus_trio.bridges import HorusBridge, HorusTopic
from horus_trio.bridges.horus.messages import CmdVel

WALL = 2.0
"""Metres."""

DRIVER = """
import horus

place, speed = 0.0, 1.0

def tick(node):
    global place, speed
    command = node.recv("cmd_vel")
    if command is not None:
        speed = command.linear
    place += speed * horus.dt()
    node.send("place", {"metres": place, "speed": speed})

horus.run(horus.Node("base", tick=tick, rate=50, subs=[horus.CmdVel], pubs=["place"]), duration=20)
"""
"""A program of HORUS's."""


class Brake(horus.AsyncNode):
    """Ticks when a place arrives, and holds the robot in front of the wall."""

    on = "place"
    pubs = "brake"

    async def tick_async(self) -> None:
        for place in self.recv_all("place"):
            if place["speed"] > 0 and place["metres"] > WALL - 0.5:
                print(f"braking at {place['metres']:.2f} m")
                await self.send_async("brake", CmdVel(0.0, 0.0))
            elif place["speed"] == 0:
                self.request_stop(f"it stands at {place['metres']:.1f} m")


bridge = HorusBridge(
    "horus",
    receive="place",  # generic data, under the same name here
    send=HorusTopic("cmd_vel", CmdVel, topic="brake", capacity=4),
    rate=500,
)


def main() -> horus.RunReport:
    """Run both; the report of the robot here."""
    quiet = subprocess.DEVNULL
    with subprocess.Popen([sys.executable, "-c", DRIVER], stdout=quiet, stderr=quiet) as driver:
        try:
            return horus.run(bridge, Brake("brake"), duration=15)
        finally:
            driver.terminate()


if __name__ == "__main__":
    print(main())
    print(bridge.statistics())
