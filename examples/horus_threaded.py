"""HORUS's threaded sketch: a camera node whose `tick` blocks, and a plain `scheduler.run()`.

Run it with `python examples/horus_threaded.py`. A `def tick` runs in a worker thread, so a read
that blocks holds up this node and no other; a second node looks at 20 frames and ends the run.
"""

from __future__ import annotations

import time

import horus_trio as horus


class Camera:
    """Stands in for a camera: a frame takes 30 ms, and whoever reads it waits that long."""

    def __init__(self) -> None:
        self.frames = 0

    def read(self) -> str:
        time.sleep(0.03)
        self.frames += 1
        return f"frame {self.frames}"


class CameraNode(horus.Node):
    def __init__(self) -> None:
        super().__init__()
        self.camera = Camera()

    def tick(self) -> None:
        frame = self.camera.read()  # blocks
        self.send("camera_out", frame)


class Viewer(horus.Node):
    on = "camera_out"  # ticks when a frame arrives

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def tick(self) -> None:
        for frame in self.recv_all("camera_out"):
            self.seen += 1
            print(frame)
        if self.seen >= 20:
            self.request_stop("20 frames were seen")


scheduler = horus.Scheduler(tick_rate=30)
scheduler.add(CameraNode())
scheduler.add(Viewer())

if __name__ == "__main__":
    report = scheduler.run()
    print(report)
