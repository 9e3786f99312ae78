"""The thread that reads: it opens a capture, reads frames into a box, and releases the capture.

A capture is used by its thread alone. A read may hang for ever, and to release a capture in which
another thread reads ends the process. So a thread whose read hangs is left to itself: when the
read returns at last, it finds its box closed, releases its capture, and ends.

How long a read takes, and when the next frame of a file is due, is a matter of the device, so it is
measured on the clock of the machine. What frames and errors tell is on Trio's.
"""

from __future__ import annotations

import atexit
import math
import time
from types import ModuleType
from typing import TYPE_CHECKING

import trio

from ..errand import Errand
from ..errors import ConnectFailed, DeviceGone, DriverError
from .box import Box
from .capture import Order, actual_format, load_opencv, open_capture
from .frame import VideoEnded

if TYPE_CHECKING:
    import cv2
    import numpy
    from numpy.typing import NDArray

__all__ = ["Reader", "stalled"]

USUAL_RATE = 30.0
"""Hz, of a file that names none."""

FASTEST = 10_000.0
"""Hz; what says more says nonsense."""

PATIENCE = 0.1
"""Seconds that a file may be behind its rate and catch up."""

LAST_WAIT = 0.5
"""Seconds that the end of the process waits for a read to return."""


class Reader:
    """A thread that reads from now on. Made on the loop.

    Arguments:
        order: What it reads.
        box: Where it puts frames; when that is closed, it ends.

    Raises:
        RuntimeError: There are no more threads.
    """

    def __init__(self, order: Order, box: Box) -> None:
        self.box: Box = box
        self._order = order
        self._now = trio.lowlevel.current_clock().current_time
        self.is_given_up: bool = False
        """Whether nobody waits for its end any more."""
        self.left_at: float = math.inf
        """When it was told to end; s, on the clock of the machine."""
        self._reads_since: float | None = None
        self._read_began: float | None = None  # the same on the clock of the machine
        # A thread of Python's that is stopped inside of OpenCV ends the process with an abort.
        atexit.register(self._end_before_exit)
        try:
            self._errand = Errand(self._run, name=f"reads {order.name}"[:60])
        except BaseException:
            atexit.unregister(self._end_before_exit)
            raise

    @property
    def is_over(self) -> bool:
        """Whether the thread is through, and its capture released."""
        return self._errand.is_over

    @property
    def reads_since(self) -> float | None:
        """Since when it has been in a read; s, Trio's clock. None: it is in none."""
        return self._reads_since

    async def ended(self) -> None:
        """Wait until the thread is through. A checkpoint."""
        await self._errand.ended()

    # In the thread

    def _run(self) -> None:
        try:
            opencv = load_opencv()
            capture = opencv.VideoCapture()
            try:
                open_capture(opencv, capture, self._order)
                if not self.box.is_closed:
                    self.box.opened(actual_format(opencv, capture, self._order.wanted))
                    self._read_all(opencv, capture)
            finally:
                capture.release()
        except DriverError as error:
            self.box.fail(error.with_traceback(None))  # which would keep an image
        except Exception as error:  # noqa: BLE001 - it is raised by the call that waits
            self.box.fail(error)
        finally:
            atexit.unregister(self._end_before_exit)

    def _read_all(self, opencv: ModuleType, capture: cv2.VideoCapture) -> None:
        """Read until the box is closed."""
        order, box = self._order, self.box
        is_video = order.source.is_video()
        pace = self._pace_of(is_video, capture.get(opencv.CAP_PROP_FPS))
        number = 0
        first = 0  # of this turn, of a file that is read again and again
        opened_anew = False
        while True:
            is_good, image, seconds = self._read(capture)
            if box.is_closed:
                return
            if seconds >= order.stalled_after and order.source.kind == "address":
                # FFmpeg has given it up, and what it gives then is half an image.
                raise stalled(order)
            if is_good:
                if pace is not None:
                    pace.wait(box)
                image.flags.writeable = False
                box.put(image, number, self._now())
                number += 1
                del image  # its memory may serve for the next one
            elif order.loop and number > first:
                first, opened_anew = number, False
                capture.set(opencv.CAP_PROP_POS_FRAMES, 0)
            elif order.loop and number and not opened_anew:
                opened_anew = True  # not everything can be wound back
                self._open_anew(opencv, capture)
            else:
                raise self._end(number, is_video, capture.get(opencv.CAP_PROP_FRAME_COUNT))

    def _read(self, capture: cv2.VideoCapture) -> tuple[bool, NDArray[numpy.uint8], float]:
        """Whether it is good, what it brought, and the seconds that it took."""
        self._read_began = began = time.monotonic()
        self._reads_since = self._now()
        is_good, image = capture.read()
        self._reads_since = self._read_began = None
        return is_good, image, time.monotonic() - began  # type: ignore[return-value]  # 8 bits

    def _open_anew(self, opencv: ModuleType, capture: cv2.VideoCapture) -> None:
        self._reads_since = self._now()
        try:
            open_capture(opencv, capture, self._order)
        except ConnectFailed as error:
            raise DeviceGone(f"{self._order.name} cannot begin again: {error}") from error
        finally:
            self._reads_since = None

    def _end(self, number: int, is_video: bool, promised: float) -> DeviceGone:
        """What to raise when there are no more frames after so many."""
        name = self._order.name
        if not is_video:
            return DeviceGone(
                f"{name} gives no more frames, after {number}: it is unplugged, or has ended the "
                "stream"
            )
        if number == 0:
            return DeviceGone(
                f"{name} has no frame that can be read: the file is damaged, or packed in a way "
                "that OpenCV does not know; see what `ffprobe` says of it"
            )
        damaged = f", of {promised:.0f} that its header promises: it may be damaged" * (
            not self._order.loop and number + 1 < promised < math.inf
        )
        return VideoEnded(f"{name} has ended after {number} frames{damaged}")

    def _pace_of(self, is_video: bool, rate: float) -> Pace | None:
        order = self._order
        if not (is_video if order.paced is None else order.paced):
            return None
        rate = order.wanted.rate or rate
        return Pace(rate if 0 < rate < FASTEST else USUAL_RATE)

    # At the end of the process

    def _end_before_exit(self) -> None:
        """The camera was not closed."""
        self.box.shut()
        now = time.monotonic()
        began = self._read_began
        if began is not None and now - began > max(self._order.stalled_after, LAST_WAIT):
            return  # it hangs
        while not self.is_over and time.monotonic() < now + LAST_WAIT:
            time.sleep(0.001)


class Pace:
    """A grid of time, so that rates are exact."""

    def __init__(self, rate: float) -> None:
        self._period = 1 / rate
        self._due = time.monotonic()

    def wait(self, box: Box) -> None:
        """Wait for the next point, or until the box is closed."""
        now = time.monotonic()
        if now > self._due + PATIENCE:
            self._due = now  # no burst after a pause
        box.sleep(self._due - now)
        self._due += self._period


def stalled(order: Order) -> DeviceGone:
    """What to raise when nothing comes."""
    return DeviceGone(
        f"{order.name} has stalled: no frame for {order.stalled_after:g} s; see whether it is "
        "there, and give a longer stalled_after= to one that is so slow"
    )
