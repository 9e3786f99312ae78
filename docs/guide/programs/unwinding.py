"""A tick that is cancelled, and the command that its `finally` still sends."""

import logging

import trio

import horus_trio as horus
from horus_trio.testing import open_harness

logging.disable(logging.CRITICAL)


class Wheel(horus.AsyncNode):
    tick_timeout = 0.2
    failure_policy = horus.Ignore()
    pubs = "motor"
    jammed = True

    async def tick_async(self) -> None:
        self.send("motor", "go")
        try:
            if self.jammed:
                await trio.sleep_forever()
        finally:
            self.send("motor", "stop")  # also when this tick is cancelled


async def main() -> None:
    wheel = Wheel("wheel", rate=2)
    async with open_harness(wheel) as h:
        await h.advance(0.5)
        wheel.jammed = False
        await h.advance(0.5)
        print("sent:", h.sent("motor"))
        for result in h.results:
            print(f"tick {result.seq}: {result.status.value}")


trio.run(main)
