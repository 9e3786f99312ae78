"""Ten minutes of a robot in a moment, and a slow `def` tick on virtual time."""

import logging

import trio

import horus_trio as horus
from horus_trio.testing import blocking_delay, open_harness

logging.disable(logging.CRITICAL)


class Heartbeat(horus.AsyncNode):
    async def tick_async(self) -> None:
        self.send("alive", self.now)


class Sonar(horus.Node):
    def tick(self) -> None:
        blocking_delay(0.3)  # where the device would block
        self.send("range", 1.25)


async def main() -> None:
    async with open_harness(Heartbeat("heartbeat", rate=10)) as h:
        await h.advance(600)
        print(len(h.sent("alive")), "beats, the last at", h.sent("alive")[-1], "s")

    async with open_harness(Sonar("sonar", rate=2, tick_timeout=0.2)) as h:
        await h.advance(1)
        for result in h.results:
            print(f"a tick was {result.status.value} after {result.duration:.1f} s")
        print("sent:", h.sent("range"))


trio.run(main)
