"""HORUS's future API: an `AsyncNode` with `tick_async`, an `AsyncScheduler` and `run_async`.

Run it with `python examples/horus_async.py`. The ticks await on the Trio loop, without a thread; a
second node looks at 20 frames and ends the run.
"""

from __future__ import annotations

import trio

import horus_trio as horus


class Camera:
    """Stands in for a camera that can be awaited: a frame takes 30 ms."""

    def __init__(self) -> None:
        self.frames = 0

    async def read_async(self) -> str:
        await trio.sleep(0.03)
        self.frames += 1
        return f"frame {self.frames}"


class CameraNode(horus.AsyncNode):
    def __init__(self) -> None:
        super().__init__()
        self.camera = Camera()

    async def tick_async(self) -> None:
        frame = await self.camera.read_async()
        await self.send_async("camera_out", frame)


class Viewer(horus.AsyncNode):
    on = "camera_out"  # ticks when a frame arrives

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    async def tick_async(self) -> None:
        print(await self.recv_async("camera_out"))
        self.seen += 1
        if self.seen == 20:
            self.request_stop("20 frames were seen")


async_scheduler = horus.AsyncScheduler(tick_rate=30)
async_scheduler.add_async(CameraNode())
async_scheduler.add_async(Viewer())


async def main() -> None:
    report = await async_scheduler.run_async()
    print(report)


if __name__ == "__main__":
    trio.run(main)
