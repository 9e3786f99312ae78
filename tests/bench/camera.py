"""What `Camera` costs above a bare loop over OpenCV's `read`, and how many there can be.

The videos are made here. What is counted are frames that are read: with `every_frame` a task
receives each of them, otherwise as many as it can.
"""

from __future__ import annotations

import functools
import tempfile
import time
from pathlib import Path

import cv2
import numpy
import trio
from _compare import Count, Target, compare, counts, print_machine
from _quick import either

import horus_trio as horus
from horus_trio.drivers import Camera, DriverNode, Frame, VideoEnded

FRAMES = either(300, 20)
REPETITIONS = either(15, 1)
SECONDS = either(5.0, 0.5)

CAMERAS = 8
RATE = 30

KINDS = (
    ("MJPEG, 640 by 480", "MJPG", ".avi", (640, 480)),
    ("MPEG-4, 1280 by 720", "mp4v", ".mp4", (1280, 720)),
)


def make_video(path: Path, fourcc: str, size: tuple[int, int], frames: int) -> Path:
    """A spot that moves over a picture with some detail."""
    width, height = size
    rows, columns = numpy.mgrid[0:height, 0:width]
    ground = ((rows * 3 ^ columns) % 64).astype(numpy.uint8)
    picture = cv2.cvtColor(ground, cv2.COLOR_GRAY2BGR)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*fourcc), RATE, size)
    if not writer.isOpened():
        raise SystemExit(f"OpenCV cannot write {path.name}")
    for number in range(frames):
        image = picture.copy()
        cv2.circle(image, (40 + number * 3 % (width - 80), height // 2), 20, (255, 255, 255), -1)
        writer.write(image)
    writer.release()
    return path


# One, as fast as it goes


def bare_loop(path: Path) -> float:
    """Frames a second."""
    capture = cv2.VideoCapture(str(path))
    frames = 0
    began = time.perf_counter()
    while True:
        is_good, _image = capture.read()
        if not is_good:
            break
        frames += 1
    seconds = time.perf_counter() - began
    capture.release()
    return _all(frames) / seconds


def our_loop(path: Path, *, every_frame: bool) -> float:
    """The same through the driver."""

    async def main() -> float:
        frames = 0
        async with Camera(path, paced=False, every_frame=every_frame) as camera:
            began = time.perf_counter()
            try:
                while True:
                    frames = (await camera.receive()).number + 1
            except VideoEnded:
                return _all(frames) / (time.perf_counter() - began)

    return trio.run(main)


def _all(frames: int) -> int:
    if frames != FRAMES:
        raise SystemExit(f"{frames} frames of {FRAMES} were read")
    return frames


# Many, at their rate


def received_each(path: Path) -> list[float]:
    """Frames a second that each of several cameras has given out, side by side."""
    rates: list[float] = []

    async def receive(camera: Camera) -> None:
        first: Frame = await camera.receive()
        last, received = first, 0
        while last.taken_at - first.taken_at < SECONDS:
            last = await camera.receive()
            received += 1
        rates.append(received / (last.taken_at - first.taken_at))

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(CAMERAS):
                nursery.start_soon(one)

    async def one() -> None:
        async with Camera(path, loop=True) as camera:
            await receive(camera)

    trio.run(main)
    return rates


def sibling_ticks(path: Path) -> tuple[int, int]:
    """Ticks of a 100 Hz node beside a camera that is read as fast as it goes, and of how many."""

    async def control(node: horus.Node) -> None:
        node.latest("frames")

    newest = horus.Sub("frames", capacity=1, overflow=horus.Overflow.LATEST)
    report = horus.run(
        DriverNode("camera", Camera(path, loop=True, paced=False), publish="frames"),
        horus.Node("control", tick=control, rate=100, subs=newest),
        duration=SECONDS,
    )
    return report.statistics.nodes["control"].ok, round(100 * SECONDS)


def main() -> None:
    print_machine()
    with tempfile.TemporaryDirectory() as folder:
        for title, fourcc, suffix, size in KINDS:
            path = make_video(Path(folder) / f"video{size[0]}{suffix}", fourcc, size, FRAMES)
            compare(
                f"frames of a video, {title}",
                "frames a second",
                {
                    "cv2.VideoCapture.read() in a loop": functools.partial(bare_loop, path),
                    "Camera": functools.partial(our_loop, path, every_frame=False),
                    "Camera(every_frame=True)": functools.partial(our_loop, path, every_frame=True),
                },
                base="cv2.VideoCapture.read() in a loop",
                repetitions=REPETITIONS,
                targets={
                    "Camera": Target(at_least=0.9),
                    "Camera(every_frame=True)": Target(at_least=0.9),
                },
            )
        small = make_video(Path(folder) / "small.avi", "MJPG", (320, 240), FRAMES)
        rates = received_each(small)
        counts(
            f"{CAMERAS} cameras at {RATE} Hz, 320 by 240, in one process for {SECONDS:g} s",
            "frames a second",
            [
                Count(name="the slowest", figure=min(rates), target=Target(at_least=29)),
                Count(name="the fastest", figure=max(rates)),
            ],
        )
        ticks, whole = sibling_ticks(small)
        counts(
            "a 100 Hz node beside a video that is read as fast as it goes",
            "ticks",
            [Count(name="kept", figure=ticks, whole=whole, target=Target(at_least=295 / 300))],
        )


if __name__ == "__main__":
    main()
