"""A background task that runs between the ticks of its node, and dies with it."""

import trio

import horus_trio as horus


class Radio(horus.AsyncNode):
    rate = 10

    async def init(self) -> None:
        self.beats = 0
        self.start_soon(self.keep_alive, 0.02)

    async def keep_alive(self, period: float) -> None:
        while True:
            self.beats += 1
            await trio.sleep(period)

    async def tick_async(self) -> None:
        await self.send_async("status", self.beats)


if __name__ == "__main__":
    radio = Radio("radio")
    report = horus.run(radio, duration=0.5)
    print(report.statistics.nodes["radio"].ok, "ticks,", radio.beats, "beats")
