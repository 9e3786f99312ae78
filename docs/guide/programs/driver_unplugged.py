"""What a robot does while its compass is unplugged, tried in a moment of virtual time."""

import logging

import trio

import horus_trio as horus
from horus_trio.drivers import DriverNode
from horus_trio.testing import FakeDriver, open_harness

logging.disable(logging.CRITICAL)


class Compass(DriverNode):
    def decode(self, message: bytes) -> int:
        return int(message)

    async def on_stale(self, silence: float) -> None:
        self.send("speed", 0.0)  # not a metre without it


class Drive(horus.AsyncNode):
    on = "heading"

    async def tick_async(self) -> None:
        self.recv("heading")
        self.send("speed", 1.0)


async def main() -> None:
    device = FakeDriver(b"90")
    compass = Compass("compass", device, publish="heading", stale_after=0.5)
    async with open_harness(compass, Drive("drive")) as h:
        await h.advance(0.2)
        device.hang_up()
        await h.advance(20)
        print("away:", h.state("compass").name, h.sent("speed"))
        device.come_back()
        device.feed(b"91")
        await h.advance_until(lambda: len(h.sent("heading")) == 2)
        print("back:", h.state("compass").name, h.sent("speed"))
        print("after", round(h.now - 20.2, 1), "s, and", device.statistics().failures, "errors")


trio.run(main)
