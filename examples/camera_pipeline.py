"""A camera, a detector that finds a bright spot in its images, and a recorder that films it all.

Run it with `python examples/camera_pipeline.py SOURCE`, where that is the number of a camera, a
video, or an address such as rtsp://192.168.0.7/live. Without one it makes a video, in which a spot
goes round, and reads it as it would a camera. Needs the extra `camera`.
"""

from __future__ import annotations

import math
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy
import trio

import horus_trio as horus
from horus_trio.drivers import Camera, DriverNode, Frame

FOURCC = cv2.VideoWriter.fourcc(*"MJPG")


class Spot(NamedTuple):
    frame: Frame
    x: int
    y: int
    brightness: float  # from 0 to 255
    age: float  # s, of the frame when the spot was found


class Detector(horus.Node):
    """Finds the brightest spot of the newest frame. It is slow, so it has a thread of its own."""

    on = "frames"
    thread = "own"
    subs = horus.Sub("frames", capacity=1, overflow=horus.Overflow.LATEST)
    pubs = "spots"

    def tick(self) -> None:
        frame: Frame = self.recv("frames")
        grey = cv2.cvtColor(frame.image, cv2.COLOR_BGR2GRAY)
        smooth = cv2.GaussianBlur(grey, (31, 31), 0)
        _, brightness, _, (x, y) = cv2.minMaxLoc(smooth)
        self.send("spots", Spot(frame, x, y, brightness, frame.age(self.now)))


class Recorder(horus.Node):
    """Writes each spot to a table, and its image, with a circle round it, to a video."""

    rate = 5
    order = -1  # it begins first and ends last
    thread = "own"
    subs = horus.Sub("spots", capacity=100)

    def __init__(self, video: Path, table: Path) -> None:
        super().__init__("recorder")
        self.video, self.table = video, table
        self.recorded: int = 0
        self.oldest: float = 0.0

    def init(self) -> None:
        self.writer: cv2.VideoWriter | None = None  # it has to know the size of the images
        self.rows = self.table.open("w")
        self.rows.write("frame,x,y,brightness\n")

    def tick(self) -> None:
        for spot in self.recv_all("spots"):
            frame: Frame = spot.frame
            if self.writer is None:
                self.writer = cv2.VideoWriter(str(self.video), FOURCC, 30.0, frame.size)
            image = frame.image.copy()  # others have it, too
            cv2.circle(image, (spot.x, spot.y), 20, (0, 0, 255), 2)
            self.writer.write(image)
            self.rows.write(f"{frame.number},{spot.x},{spot.y},{spot.brightness:.0f}\n")
            self.recorded += 1
            self.oldest = max(self.oldest, spot.age)

    def shutdown(self) -> None:
        self.tick()
        self.rows.close()
        if self.writer is not None:
            self.writer.release()


async def main(source: int | str | None, folder: Path) -> Recorder:
    """Film for three seconds."""
    with tempfile.TemporaryDirectory() as place:
        if source is None:
            camera = Camera(make_video(Path(place) / "made_up.avi"), loop=True)
        else:
            camera = Camera(source)
        recorder = Recorder(folder / "spots.avi", folder / "spots.csv")
        scheduler = horus.Scheduler(name="camera pipeline")
        scheduler.add(DriverNode("camera", camera, publish="frames"))
        scheduler.add(Detector("detector"))
        scheduler.add(recorder)
        print(await scheduler.run(3))
    counts = camera.statistics()
    print(f"{counts.received} frames of {camera.actual.size}, {counts.lost} passed over")
    print(f"{recorder.recorded} spots recorded in {recorder.video.name} and {recorder.table.name}")
    print(f"a spot was found {recorder.oldest * 1000:.0f} ms after its frame came, at most")
    return recorder


def make_video(path: Path) -> Path:
    """Two seconds, at 30 Hz, of a spot that goes round in the dark."""
    noise = numpy.random.default_rng(1)
    writer = cv2.VideoWriter(str(path), FOURCC, 30.0, (320, 240))
    for number in range(60):
        image = noise.integers(0, 90, (240, 320, 3), numpy.uint8)
        angle = number / 60 * math.tau
        place = round(160 + 100 * math.cos(angle)), round(120 + 80 * math.sin(angle))
        cv2.circle(image, place, 12, (255, 255, 255), -1)
        writer.write(image)
    writer.release()
    return path


if __name__ == "__main__":
    argument = sys.argv[1] if sys.argv[1:] else None
    trio.run(main, int(argument) if argument and argument.isdecimal() else argument, Path())
