"""HORUS's thread-pool sketch: a node with threads of its own, whose tick *returns* a result.

Run it with `python examples/horus_thread_pool.py`. What a tick returns arrives as the `value` of
its `AsyncResult`, by callback or by channel; so does what it raises, here when the pool is slower
than the tick is willing to wait.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import horus_trio as horus


class Camera:
    """Stands in for a camera: a frame takes 30 ms, but every fifth a whole second and more."""

    def __init__(self) -> None:
        self.frames = 0

    def read(self) -> str:
        self.frames += 1
        frame = f"frame {self.frames}"
        time.sleep(1.2 if self.frames % 5 == 0 else 0.03)
        return frame


class CameraNode(horus.Node):
    failure_policy = horus.Ignore()  # a late frame is no reason to open the camera anew

    def __init__(self) -> None:
        super().__init__()
        self.camera = Camera()

    def init(self) -> None:
        self.executor = ThreadPoolExecutor(4)

    def tick(self) -> str:
        future = self.executor.submit(self.camera.read)
        return future.result(timeout=1.0)

    def shutdown(self) -> None:
        self.executor.shutdown()


def show(result: horus.AsyncResult) -> None:
    if result.success:
        print(f"tick {result.seq}: {result.value} after {1e3 * result.duration:.0f} ms")
    else:
        print(f"tick {result.seq}: {result.error!r}")


scheduler = horus.Scheduler(tick_rate=10)
scheduler.add(CameraNode())
scheduler.on_result(show)

if __name__ == "__main__":
    report = scheduler.run(duration=2)
    print(report)
