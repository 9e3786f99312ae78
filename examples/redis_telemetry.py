"""A robot that logs into a Redis stream, and takes orders from a Redis channel.

Run it with `python examples/redis_telemetry.py redis://HOST:6379`. Without a server it starts one
on this machine, if redis-server is installed. An operator orders two speeds and a stop, and reads
what the robot has logged meanwhile.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator

import trio

import horus_trio as horus
from horus_trio.drivers import (
    ChannelMessage,
    ConnectFailed,
    DriverNode,
    RedisPubSub,
    RedisStream,
    StreamEntry,
)


class Orders(DriverNode):
    """Publishes the speed that is ordered."""

    def decode(self, message: ChannelMessage) -> float:
        return float(message.data)


class Drive(horus.AsyncNode):
    """Drives as it was told, and says where it is."""

    rate = 50
    subs = "order"
    pubs = "telemetry"

    def __init__(self) -> None:
        super().__init__("drive")
        self.place: float = 0.0

    async def tick_async(self) -> None:
        speed = self.latest("order", 0.0)
        self.place += speed * self.dt
        self.send("telemetry", {"speed": speed, "place": round(self.place, 4)})


async def operate(server: str, log: list[StreamEntry]) -> None:
    """Give orders, and read the log until the robot stands again."""
    async with (
        RedisPubSub(server) as orders,
        RedisStream(server, "telemetry", start="0") as telemetry,
    ):
        for speed in (0.5, 2.0, 0.0):
            await orders.send(ChannelMessage(channel="orders", data=b"%g" % speed))
            while not log or float(log[-1]["speed"]) != speed:
                log.append(await telemetry.receive())
            print(f"{log[-1].id}  {speed} m/s at {float(log[-1]['place']):.3f} m")
            await trio.sleep(0.3)


async def main(*server: str) -> list[StreamEntry]:
    """Drive for a second; the log."""
    entries: list[StreamEntry] = []
    async with contextlib.AsyncExitStack() as stack:
        [url] = server or [await stack.enter_async_context(started())]
        scheduler = horus.Scheduler(name="telemetry")
        scheduler.add(Drive())
        scheduler.add(Orders("orders", RedisPubSub(url, channels=["orders"]), publish="order"))
        log = RedisStream(url, "telemetry", max_length=10_000)
        scheduler.add(DriverNode("log", log, listen="telemetry"))
        async with trio.open_nursery() as nursery:

            async def run(task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
                await scheduler.run(task_status=task_status)
                nursery.cancel_scope.cancel()  # it may have been stopped by Ctrl-C

            await nursery.start(run)
            await operate(url, entries)
            scheduler.stop("the operator is through")
    print(f"{len(entries)} entries read")
    print(scheduler.report)
    return entries


@contextlib.asynccontextmanager
async def started() -> AsyncIterator[str]:
    """The URL of a server on this machine, for as long as this is open."""
    if shutil.which("redis-server") is None:
        raise SystemExit("redis-server is not installed: apt install redis-server, or give a URL")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        options = "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder
        process = await trio.lowlevel.open_process(
            ["redis-server", *options], stdout=subprocess.DEVNULL
        )
        try:
            yield await ready(f"redis://127.0.0.1:{port}")
        finally:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()


async def ready(url: str) -> str:
    """That URL, once the server answers."""
    with trio.fail_after(10):
        while True:
            try:
                async with RedisPubSub(url):
                    return url
            except ConnectFailed:
                await trio.sleep(0.02)


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:2])
