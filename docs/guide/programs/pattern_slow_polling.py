"""Something slow is asked for twice a second, beside a loop at 100 Hz."""

from __future__ import annotations

import time

import horus_trio as horus


def battery() -> float:
    """Volts; takes 30 ms."""
    time.sleep(0.03)
    return 11.8


class ByHand(horus.Node):
    """Every fiftieth tick takes three periods. A tick that is skipped makes it later still."""

    rate = 100

    def init(self) -> None:
        self.ticks = 0

    def tick(self) -> None:
        self.ticks += 1
        if self.ticks % 50 == 1:
            self.volts = battery()


class Here(horus.AsyncNode):
    rate = 100

    async def tick_async(self) -> None:
        self.volts = self.latest("battery")


if __name__ == "__main__":
    by_hand, here = ByHand("by hand"), Here("here")
    poller = horus.Node("battery", tick=lambda node: node.send("battery", battery()), rate=2)
    report = horus.run(by_hand, here, poller, duration=1.5)
    nodes = report.statistics.nodes
    print("by hand:", by_hand.volts, "V - missed some ticks:", nodes["by hand"].missed > 0)
    fewer = nodes["here"].missed < nodes["by hand"].missed
    print("here:", here.volts, "V - missed fewer:", fewer)
