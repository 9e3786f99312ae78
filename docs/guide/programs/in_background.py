"""The engine in a thread of its own, for notebooks, GUIs and programs on asyncio."""

import time

import horus_trio as horus


class Pose(horus.AsyncNode):
    rate = 100

    async def tick_async(self) -> None:
        await self.send_async("pose", self.now)


if __name__ == "__main__":
    with horus.background([Pose("pose")]) as scheduler:
        poses = scheduler.topic("pose").subscribe(overflow=horus.Overflow.LATEST)
        scheduler.set_rate("pose", 50)
        time.sleep(0.3)
        print("has a pose:", poses.depth == 1)
        print("state:", scheduler.statistics().nodes["pose"].state.value)
    print("runs on:", scheduler.statistics().running)
