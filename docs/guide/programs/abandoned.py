"""A tick that hangs, what it may still do, and what happens beside it."""

import time

import horus_trio as horus


class Arm(horus.Node):
    rate = 5
    tick_timeout = 0.2
    failure_policy = horus.Ignore()

    def init(self) -> None:
        self.calls = 0

    def tick(self) -> None:
        self.calls += 1
        if self.calls == 1:
            time.sleep(0.5)  # the bus hangs; nobody can interrupt this
            try:
                self.send("motor", 1.0)
            except horus.TickAbandoned:
                print("the old command was refused")
                raise
        self.send("motor", 0.0)


class Beat(horus.AsyncNode):
    rate = 100

    async def tick_async(self) -> None:
        await self.send_async("beat", self.now)


if __name__ == "__main__":
    report = horus.run(Arm("arm"), Beat("beat"), duration=1)
    arm, beat = (report.statistics.nodes[name] for name in ("arm", "beat"))
    print("arm:", arm.abandoned, "abandoned, went on:", arm.ok > 0)
    print("beat:", beat.ok, "of 100")
