"""A video, made up: for two seconds, at 30 Hz, a bright spot goes round in the dark."""

from __future__ import annotations

import contextlib
import math
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy


@contextlib.contextmanager
def made_up_video() -> Iterator[Path]:
    """Its file."""
    noise = numpy.random.default_rng(1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "made_up.avi"
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 30.0, (320, 240))
        for number in range(60):
            image = noise.integers(0, 90, (240, 320, 3), numpy.uint8)
            angle = number / 60 * math.tau
            place = round(160 + 100 * math.cos(angle)), round(120 + 80 * math.sin(angle))
            cv2.circle(image, place, 12, (255, 255, 255), -1)
            writer.write(image)
        writer.release()
        yield path
