"""OpenCV, in the thread that reads: how a capture is opened, set up, and asked what it gives."""

from __future__ import annotations

import contextlib
import math
import os
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING

from ..errors import ConnectFailed
from ..extra import Extra
from .failures import unreachable, why_not
from .frame import CameraFormat
from .source import Source

if TYPE_CHECKING:
    import cv2

__all__ = ["OPENCV", "Order", "actual_format", "load_opencv", "open_capture"]

OPENCV = Extra("camera", "opencv-python-headless", "cv2")

_one_opens = threading.Lock()
"""OpenCV has a lock of its own in which it opens what FFmpeg reads. Who waits here can give up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be read, and how.

    Attributes:
        name: Of the camera in messages.
        source: Where frames come from.
        wanted: What is asked of it.
        paced: Whether a file is read at its own rate; None: a file is, and a pipe is not.
        loop: Whether a file begins again at its end.
        connect_within: Seconds in which it should be open.
        stalled_after: Seconds that a read may take.
    """

    name: str
    source: Source
    wanted: CameraFormat
    paced: bool | None
    loop: bool
    connect_within: float
    stalled_after: float


def load_opencv() -> ModuleType:
    """Import it. It takes some tenths of a second.

    Its warnings would tell on stderr, at each attempt, what is told by errors here. So it is loaded
    with them switched off, unless the program has loaded it before, or has chosen a level.

    Raises:
        MissingExtra: It cannot be imported.
    """
    is_first = "cv2" not in sys.modules
    opencv = OPENCV.load("Camera")
    if is_first and "OPENCV_LOG_LEVEL" not in os.environ:
        level = opencv.utils.logging
        level.setLogLevel(level.LOG_LEVEL_ERROR)
    return opencv


def open_capture(opencv: ModuleType, capture: cv2.VideoCapture, order: Order) -> None:
    """Open it, again if it is open, and set it up. Blocks.

    A server that does not let itself be reached is not left to FFmpeg: while that waits for it, no
    other video can be opened.

    Raises:
        ConnectFailed: It cannot be had.
    """
    source = order.source
    given = source.given
    if why := unreachable(source, order.connect_within / 2):
        raise _failed(order, why)
    try:
        if source.kind == "device":
            backend = opencv.CAP_V4L2 if sys.platform == "linux" else opencv.CAP_ANY
            is_open = capture.open(given, backend)
        elif opencv.videoio_registry.hasBackend(opencv.CAP_FFMPEG):
            with _turn(order):
                is_open = capture.open(given, opencv.CAP_FFMPEG, _parameters(opencv, order))
        else:
            is_open = capture.open(given)
    except (opencv.error, UnicodeError) as error:
        raise _failed(order, str(error)) from error
    if not is_open:
        raise _failed(order)
    if source.kind == "device":
        _ask(opencv, capture, order.wanted)


@contextlib.contextmanager
def _turn(order: Order) -> Iterator[None]:
    if not _one_opens.acquire(timeout=min(0.9 * order.connect_within, threading.TIMEOUT_MAX)):
        raise _failed(
            order,
            "OpenCV opens one video after the other, and one that was to be opened before does not "
            "come to an end: see which camera or server does not answer",
        )
    try:
        yield
    finally:
        _one_opens.release()


def actual_format(
    opencv: ModuleType, capture: cv2.VideoCapture, wanted: CameraFormat
) -> CameraFormat:
    """What a capture says it gives; None where it says nothing."""
    size = (
        round(capture.get(opencv.CAP_PROP_FRAME_WIDTH)),
        round(capture.get(opencv.CAP_PROP_FRAME_HEIGHT)),
    )
    rate = capture.get(opencv.CAP_PROP_FPS)
    code = round(capture.get(opencv.CAP_PROP_FOURCC))
    fourcc = (code & 0xFFFFFFFF).to_bytes(4, "little").decode("ascii", "replace")
    return CameraFormat(
        size=size if min(size) > 0 else None,
        rate=rate if 0 < rate < math.inf else None,
        fourcc=fourcc if code > 0 and fourcc.isprintable() else None,
        properties={number: capture.get(number) for number in wanted.properties},
    )


def _parameters(opencv: ModuleType, order: Order) -> list[int]:
    """For FFmpeg, which ends an open or a read itself when it takes too long in the network.

    With several threads it decodes several frames at a time, so each would come late.
    """
    properties: dict[int, int] = {}
    if order.source.kind == "address":
        properties[opencv.CAP_PROP_OPEN_TIMEOUT_MSEC] = _milliseconds(order.connect_within)
        properties[opencv.CAP_PROP_READ_TIMEOUT_MSEC] = _milliseconds(order.stalled_after)
        properties[opencv.CAP_PROP_N_THREADS] = 1
    properties |= {number: round(value) for number, value in order.wanted.properties.items()}
    return [figure for item in properties.items() for figure in item]


def _milliseconds(seconds: float) -> int:
    return min(math.ceil(seconds * 1000), 2**31 - 1)


def _ask(opencv: ModuleType, capture: cv2.VideoCapture, wanted: CameraFormat) -> None:
    """What a device makes of it shows in `actual_format`. The packing comes first: sizes and rates
    depend on it."""
    if wanted.fourcc is not None:
        capture.set(opencv.CAP_PROP_FOURCC, opencv.VideoWriter.fourcc(*wanted.fourcc))
    if wanted.size is not None:
        capture.set(opencv.CAP_PROP_FRAME_WIDTH, wanted.size[0])
        capture.set(opencv.CAP_PROP_FRAME_HEIGHT, wanted.size[1])
    if wanted.rate is not None:
        capture.set(opencv.CAP_PROP_FPS, wanted.rate)
    for number, value in wanted.properties.items():
        capture.set(number, value)


def _failed(order: Order, said: str = "") -> ConnectFailed:
    return ConnectFailed(f"{order.name} cannot be opened: {said or why_not(order.source)}")
