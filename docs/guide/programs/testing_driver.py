"""A fake driver: a device that sends, fails, is unplugged and comes back, in no time."""

import errno
import logging

import trio

import horus_trio as horus
from horus_trio.drivers import DriverNode
from horus_trio.testing import FakeDriver, open_harness

logging.disable(logging.CRITICAL)

POLICY = horus.Restart(within=None, backoff=0.5, jitter=0)


async def main() -> None:
    device = FakeDriver("48.1 N")
    node = DriverNode("gps", device, publish="fix", listen="setup", failure_policy=POLICY)
    async with open_harness(node) as h:
        device.feed("48.2 N")
        h.publish("setup", "10 Hz")
        await h.advance(1)
        print(h.sent("fix"), device.written, device)

        device.fail("receive", OSError(errno.EIO, "cable pulled"))
        await h.advance(0.1)
        print(h.state(), "-", device.statistics().last_error)

        device.hang_up()
        await h.advance(10)
        device.come_back()
        device.feed("48.3 N")
        await h.advance(10)
        print(h.sent("fix"), "after", device.statistics().connects, "connections")


trio.run(main)
