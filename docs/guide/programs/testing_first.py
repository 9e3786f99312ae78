"""A node that steers, tested without a camera, a motor, or a second of waiting."""

import trio

import horus_trio as horus
from horus_trio.testing import open_harness


class Control(horus.AsyncNode):
    async def tick_async(self) -> None:
        x = await self.recv_async("target_x")
        await trio.sleep(0.02)  # thinks
        self.send("cmd_vel", {"turn": -0.5 * x})


async def main() -> None:
    async with open_harness(Control(rate=10)) as h:
        h.publish("target_x", 3.0)
        (result,) = await h.tick()
        print("sent:", h.sent("cmd_vel"))
        print("took:", result.duration, "s; now it is", h.now, "s")


trio.run(main)
