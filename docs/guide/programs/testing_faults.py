"""What a robot does when its parts fail: at a chosen call, or by seeded chance."""

import logging

import trio

import horus_trio as horus
from horus_trio.testing import open_harness

logging.disable(logging.CRITICAL)


class Camera(horus.AsyncNode):
    failure_policy = horus.Restart(max_restarts=3, within=10, jitter=0)

    async def init(self) -> None:
        print(f"{self.now:.1f} s: camera opened")

    async def tick_async(self) -> None:
        self.send("frames", b"a picture")

    async def shutdown(self) -> None:
        print(f"{self.now:.1f} s: camera closed")


async def main() -> None:
    async with open_harness(Camera("camera", rate=10, tick_timeout=0.5), seed=7) as h:
        h.fail("tick", OSError("no light"), at=3)
        h.hang("tick", at=8)
        h.corrupt("frames", bytes.upper, at=1)
        h.drop("frames", probability=0.2)
        await h.advance(2)
        print("first frame:", h.sent("frames")[0])
        print("frames:", len(h.sent("frames")), "in", h.node_statistics().ok, "good ticks")
        print("restarts:", h.node_statistics().restarts)


trio.run(main)
