"""A camera, a detector that finds a bright spot in its images, and a recorder that films it all.

Run it with `python examples/camera_pipeline.py SOURCE`, where that is the number of a camera, a
video, or an address such as rtsp://192.168.0.7/live. Without one it reads a video that it makes, in
which a spot goes round, as it would read a camera. Needs the extra `camera`.
"""

from __future__ import annotations

import contextlib
import sys

import cv2
import trio

import horus_trio as horus
from horus_trio.drivers import Camera, DriverNode, Frame
from simulated.video import made_up_video


class Detector(horus.Node):
    """Finds the brightest spot of the newest frame. It is slow, so it has a thread of its own."""

    on = "frames"
    thread = "own"
    subs = horus.Sub("frames", capacity=1, overflow=horus.Overflow.LATEST)
    pubs = "spots"

    def tick(self) -> None:
        frame: Frame = self.recv("frames")
        grey = cv2.cvtColor(frame.image, cv2.COLOR_BGR2GRAY)
        _, _, _, place = cv2.minMaxLoc(cv2.GaussianBlur(grey, (31, 31), 0))
        self.send("spots", (frame, place))


class Recorder(horus.Node):
    """Writes the image of each spot, with a circle round it, to a video."""

    rate = 5
    order = -1  # it begins first and ends last
    thread = "own"
    subs = horus.Sub("spots", capacity=100)

    def init(self) -> None:
        self.writer: cv2.VideoWriter | None = None  # it has to know the size of the images
        self.places: dict[int, tuple[int, int]] = {}  # by the number of the frame

    def tick(self) -> None:
        for frame, place in self.recv_all("spots"):
            if self.writer is None:
                motion_jpeg = cv2.VideoWriter.fourcc(*"MJPG")
                self.writer = cv2.VideoWriter("spots.avi", motion_jpeg, 30.0, frame.size)
            image = frame.image.copy()  # others have it, too
            cv2.circle(image, place, 20, (0, 0, 255), 2)
            self.writer.write(image)
            self.places[frame.number] = place

    def shutdown(self) -> None:
        self.tick()
        if self.writer is not None:
            self.writer.release()


async def main(source: str = "") -> Recorder:
    """Film for three seconds."""
    with contextlib.nullcontext(source) if source else made_up_video() as place:
        camera = Camera(int(source) if source.isdecimal() else place, loop=not source)
        recorder = Recorder("recorder")
        scheduler = horus.Scheduler(name="camera pipeline")
        scheduler.add(DriverNode("camera", camera, publish="frames"))
        scheduler.add(Detector("detector")).add(recorder)
        print(await scheduler.run(3))
    counts = camera.statistics()
    print(f"{counts.received} frames of {camera.actual.size}, {counts.lost} passed over")
    print(f"{len(recorder.places)} spots filmed in spots.avi")
    return recorder


if __name__ == "__main__":
    trio.run(main, sys.argv[1] if sys.argv[1:] else "")
