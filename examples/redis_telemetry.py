"""A robot that logs into a Redis stream, and takes orders from a Redis channel.

Run it with `python examples/redis_telemetry.py redis://HOST:6379`. Without a server it starts one,
if redis-server is installed. An operator orders two speeds and a stop, and reads what the robot has
logged meanwhile. It needs `pip install 'horus-trio[redis]'`.
"""

from __future__ import annotations

import contextlib
import sys

import trio

import horus_trio as horus
from horus_trio.drivers import ChannelMessage, DriverNode, RedisPubSub, RedisStream, StreamEntry
from simulated.redis_server import redis_server


class Orders(DriverNode):
    """Publishes the speed that is ordered."""

    def decode(self, message: ChannelMessage) -> float:
        return float(message.data)


class Drive(horus.AsyncNode):
    """Drives as it was told, and says where it is."""

    rate = 50
    subs = "order"
    pubs = "telemetry"
    place: float = 0.0

    async def tick_async(self) -> None:
        speed = self.latest("order", 0.0)
        self.place += speed * self.dt
        self.send("telemetry", {"speed": speed, "place": round(self.place, 4)})


async def operate(server: str, log: list[StreamEntry]) -> None:
    """Give orders, and read the log until the robot stands again."""
    telemetry = RedisStream(server, "telemetry", start="0")
    async with RedisPubSub(server) as orders, telemetry:
        for speed in (0.5, 2.0, 0.0):
            await orders.send(ChannelMessage(channel="orders", data=b"%g" % speed))
            while not log or float(log[-1]["speed"]) != speed:
                log.append(await telemetry.receive())
            print(f"{log[-1].id}  {speed} m/s at {float(log[-1]['place']):.3f} m")
            await trio.sleep(0.3)


async def main(server: str = "") -> list[StreamEntry]:
    """Drive for a second; the log."""
    entries: list[StreamEntry] = []
    async with contextlib.nullcontext(server) if server else redis_server() as url:
        scheduler = horus.Scheduler(name="telemetry").add(Drive("drive"))
        scheduler.add(Orders("orders", RedisPubSub(url, channels=["orders"]), publish="order"))
        log = RedisStream(url, "telemetry", max_length=10_000)
        scheduler.add(DriverNode("log", log, listen="telemetry"))

        async def run(task_status: trio.TaskStatus[None]) -> None:
            print(await scheduler.run(task_status=task_status))
            nursery.cancel_scope.cancel()  # the operator, if it was stopped by Ctrl-C

        async with trio.open_nursery() as nursery:
            await nursery.start(run)
            await operate(url, entries)
            scheduler.stop("the operator is through")
    print(f"{len(entries)} entries read")
    return entries


if __name__ == "__main__":
    trio.run(main, sys.argv[1] if sys.argv[1:] else "")
