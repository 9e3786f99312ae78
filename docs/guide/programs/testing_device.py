"""A fake device: what a `def` tick reads is fed by the test."""

import logging

import trio

import horus_trio as horus
from horus_trio.testing import FakeDevice, open_harness

logging.disable(logging.CRITICAL)


class Gps(horus.Node):
    failure_policy = horus.Restart(jitter=0)

    def __init__(self, device: FakeDevice) -> None:
        super().__init__("gps", rate=1)
        self.device = device

    def tick(self) -> None:
        self.send("position", self.device.read())

    def shutdown(self) -> None:
        self.device.write("off")


async def main() -> None:
    device = FakeDevice("48.1 N", OSError("cable pulled"), "48.2 N", latency=0.1)
    async with open_harness(Gps(device)) as h:
        await h.advance(3)
        print(h.sent("position"))
        print("errors:", h.node_statistics().errors, "restarts:", h.node_statistics().restarts)
    print("written:", device.written)


trio.run(main)
