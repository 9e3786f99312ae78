"""A camera that blocks, and a control loop that never notices."""

import time

import horus_trio as horus


class Camera(horus.Node):
    rate = 20

    def init(self) -> None:
        self.number = 0  # open the device here

    def tick(self) -> None:
        time.sleep(0.03)  # a read that blocks
        self.number += 1
        self.send("frames", f"frame {self.number}")


class Control(horus.AsyncNode):
    rate = 100

    async def tick_async(self) -> None:
        frame = self.latest("frames")
        await self.send_async("speed", 0.0 if frame is None else 0.5)


if __name__ == "__main__":
    print(horus.run(Camera(), Control(), duration=1))
