"""A thermometer in a robot, for ever: it hangs up, and is connected to again."""

import functools
import logging

import trio

import horus_trio as horus
from horus_trio.drivers import DriverNode, Lines, TcpClient

logging.disable(logging.CRITICAL)


class Thermometer(DriverNode):
    def decode(self, message: bytes) -> float:
        return float(message.removesuffix(b" C"))

    def on_stale(self, silence: float) -> None:
        print("no thermometer")


class Heater(horus.AsyncNode):
    on = "temperature"

    async def tick_async(self) -> None:
        degrees = self.recv("temperature")
        print(degrees, "heat" if degrees < 20 else "rest")


readings = iter([b"19.5 C\n", b"19.8 C\n", None, b"20.1 C\n", b"what?\n", b"20.3 C\n"])


async def device(stream: trio.SocketStream) -> None:
    """The thermometer, simulated: hangs up once, and says something odd."""
    for reading in readings:
        if reading is None:
            return
        await stream.send_all(reading)
        await trio.sleep(0.1)
    await trio.sleep_forever()


async def main() -> None:
    async with trio.open_nursery() as nursery:
        serve = functools.partial(trio.serve_tcp, device, 0, host="127.0.0.1")
        (listener,) = await nursery.start(serve)
        port: int = listener.socket.getsockname()[1]

        client = TcpClient("127.0.0.1", port, framing=Lines())
        node = Thermometer("thermometer", client, publish="temperature", stale_after=5.0)
        scheduler = horus.Scheduler()
        scheduler.add(node)
        scheduler.add(Heater("heater"))
        report = await scheduler.run(1.5)
        print("connected again", report.statistics.nodes["thermometer"].restarts, "time")
        print("not understood:", node.rejected)

        nursery.cancel_scope.cancel()


trio.run(main)
