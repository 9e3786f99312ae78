"""asyncio code in nodes: a connection that is kept alive between the ticks that use it."""

from __future__ import annotations

import asyncio
import contextlib

import horus_trio as horus
from horus_trio.bridges import AsyncioNode


class Station(AsyncioNode):
    """Serves positions to whoever asks, with asyncio's streams."""

    order = 0  # its init comes first
    rate = 1

    async def init(self) -> None:
        self.heard = 0
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            async for line in reader:
                if line == b"position?\n":
                    writer.write(b"1.25\n")
                else:
                    self.heard += 1

    async def tick(self) -> None:
        pass

    async def shutdown(self) -> None:
        self.server.close()


class Radio(AsyncioNode):
    """Asks ten times a second, and says in between that it is alive."""

    order = 1
    rate = 10

    def __init__(self, station: Station) -> None:
        super().__init__("radio")
        self.station = station

    async def init(self) -> None:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.station.port)
        self.keeping = asyncio.create_task(self.keep_alive())

    async def keep_alive(self) -> None:
        while True:  # cancelled when the node is shut down; if it fails, the node has failed
            self.writer.write(b"alive\n")
            await self.writer.drain()
            await asyncio.sleep(0.01)

    async def tick(self) -> None:
        async with asyncio.timeout(0.5):
            self.writer.write(b"position?\n")
            answer = await self.reader.readline()
        self.send("position", float(answer))

    async def shutdown(self) -> None:
        self.writer.close()


async def steer(node: horus.Node) -> None:
    """Trio code, in the same run."""
    if node.has_msg("position"):
        positions.append(node.recv("position"))


positions: list[float] = []

if __name__ == "__main__":
    station = Station("station")
    control = horus.Node("control", tick=steer, rate=100, subs=["position"])
    horus.run(station, Radio(station), control, duration=1)
    print("positions:", positions[0], "and more:", len(positions) > 5)
    print("alive between the ticks:", station.heard > 50)
