"""Cameras and videos as drivers."""

from __future__ import annotations

import dataclasses
import math
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import trio

from ...arguments import is_number, is_positive, is_whole
from ...errors import ConfigurationError
from ..driver import DriverStatistics
from ..errors import ConnectFailed
from ..one_way import ReceiveOnlyDriver
from .box import Box
from .capture import OPENCV, Order
from .frame import CameraFormat, Frame
from .reader import Reader, stalled
from .source import Source, source_of

__all__ = ["Camera", "CameraStatistics"]

GRACE = 1.0
"""Seconds that a read may take to return after the close; then its thread is abandoned."""

LAST_LOOK = 0.05
"""Seconds for a frame to come that was late because the whole process stood still."""

IN_HAND = 4
"""Frames that are kept in advance if every one is wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraStatistics(DriverStatistics):
    """A camera at one instant.

    Attributes:
        abandoned: Threads that hang in a read or an open, of this camera. Each ends when that
            returns.
    """

    abandoned: int = 0


class Camera(ReceiveOnlyDriver[Frame]):
    """A camera or a video, by OpenCV. Needs the extra ``camera``.

    ::

        async with Camera(0, wanted=CameraFormat(size=(1280, 720), rate=30)) as camera:
            frame = await camera.receive()

    A thread of its own opens the camera and reads it all the time. `receive` gives out the newest
    frame, once; it waits if that has been given out. Those that were passed over for it are
    counted, in `Frame.lost` and in `statistics`. So what is received is new, however slow its user
    is.

    When no frame comes for `stalled_after`, or the stream ends, `receive` raises `DeviceGone`. A
    thread whose read does not return is then abandoned, since nothing can end it from outside. The
    camera can be opened again at once, with a new thread. The old one ends when its read returns.

    A video file acts as a camera: it is read at its own rate. At its end `receive` raises
    `VideoEnded`, which is a `DeviceGone`; so a `DriverNode` begins it again.

    Cancelling `open` leaves its thread to end by itself, and puts away what it has opened.

    Arguments:
        source: Number of a camera, as 0 for ``/dev/video0``; path of a device or of a video; or an
            address, such as ``"http://192.168.0.7:8080/video"`` (MJPEG), ``"rtsp://…"``, or
            whatever else FFmpeg knows.
        wanted: What is asked of a device; see `actual` for what it gives. Of a file, its `rate` is
            that at which it is read.
        paced: Whether a file is read at its rate, rather than as fast as it can be. None: a file
            is, and a pipe is not.
        loop: Whether a file begins again at its end.
        every_frame: Give out every frame, in order: the thread waits when four have not been taken.
            A device then passes frames over itself, and nobody counts them; a file and a server
            wait.
        connect_within: Seconds in which it must be open.
        stalled_after: Seconds that a read may take.
        max_abandoned: Threads that may hang; while there are so many, `open` raises
            `ConnectFailed`.
    """

    lossless: ClassVar[bool] = False

    def __init__(
        self,
        source: int | str | os.PathLike[str],
        *,
        wanted: CameraFormat | None = None,
        paced: bool | None = None,
        loop: bool = False,
        every_frame: bool = False,
        connect_within: float = 10.0,
        stalled_after: float = 2.0,
        max_abandoned: int = 4,
    ) -> None:
        super().__init__()
        self._source = source_of(source)
        self._wanted = _checked_format(wanted, self._source)
        if (loop or paced is not None) and self._source.kind != "file":
            option = "loop=True" if loop else f"paced={paced!r:.80}"
            raise ConfigurationError(
                f"{self.name}: {option} is for files, and this is "
                f"{'a device' if self._source.kind == 'device' else 'an address'}: leave it out"
            )
        for option, seconds in (
            ("connect_within", connect_within),
            ("stalled_after", stalled_after),
        ):
            if not is_positive(seconds):
                raise ConfigurationError(
                    f"Camera({option}={seconds!r:.80}): expected a finite number of seconds above 0"
                )
        if not is_whole(max_abandoned, 1):
            raise ConfigurationError(
                f"Camera(max_abandoned={max_abandoned!r:.80}): expected a whole number of threads, "
                "1 or more"
            )
        OPENCV.check("Camera")
        self.lossless = bool(every_frame)  # type: ignore[misc]  # that of the class is the usual one
        self._order = Order(
            name=self.name,
            source=self._source,
            wanted=self._wanted,
            paced=None if paced is None else bool(paced),
            loop=bool(loop),
            connect_within=float(connect_within),
            stalled_after=float(stalled_after),
        )
        self._max_abandoned = max_abandoned
        self._reader: Reader | None = None
        self._leaving: list[Reader] = []
        self._actual = CameraFormat()
        self._lost = 0

    def __repr__(self) -> str:
        hanging = self.abandoned
        more = f", {hanging} abandoned thread{'s' * (hanging > 1)}" if hanging else ""
        return f"<{self.name}, {self._state.value}{more}>"

    def __del__(self) -> None:
        # Nobody has closed it, and its thread must not read for ever.
        reader = getattr(self, "_reader", None)
        if reader is not None:
            reader.box.shut()

    @property
    def name(self) -> str:
        return f"{type(self).__qualname__} {self._source.text}"

    @property
    def actual(self) -> CameraFormat:
        """What the camera gives, as far as it says so: of the latest connection."""
        return self._actual

    @property
    def abandoned(self) -> int:
        """How many threads hang: they were told to end, and nobody waits for that any more."""
        long_ago = time.monotonic() - GRACE
        return sum(
            not reader.is_over and (reader.is_given_up or reader.left_at < long_ago)
            for reader in self._leaving
        )

    def statistics(self) -> CameraStatistics:
        counters: dict[str, Any] = dataclasses.asdict(super().statistics())
        counters.update(lost=self._lost, abandoned=self.abandoned)
        return CameraStatistics(**counters)

    async def _connect(self) -> None:
        await self._wait_for_threads()
        box = Box(room=IN_HAND if self.lossless else 1, every_frame=self.lossless)
        try:
            self._reader = reader = Reader(self._order, box)
        except RuntimeError as error:
            box.close()
            raise ConnectFailed(f"{self.name} cannot be opened: {error}") from error
        with trio.move_on_after(self._order.connect_within):
            self._actual = await self._first_word(box)
            return
        reader.is_given_up = True
        raise ConnectFailed(
            f"{self.name} cannot be opened: it has not answered within "
            f"{self._order.connect_within:g} s; see whether it is switched on, and works in "
            "another program"
        )

    async def _first_word(self, box: Box) -> CameraFormat:
        """Wait until it is open."""
        try:
            while (actual := box.actual()) is None:
                await box.news()
        except ConnectFailed as error:
            if self._source.kind == "device" and self._ending():
                raise ConnectFailed(
                    f"{error}; a thread of this driver still hangs in it"
                ) from error
            raise
        return actual

    async def _receive(self) -> Frame:
        await trio.lowlevel.checkpoint_if_cancelled()
        waited = False
        while True:
            reader = self._reader
            if reader is None:
                raise trio.ClosedResourceError(f"{self.name} is not connected")
            frame = reader.box.take()
            if frame is not None:
                self._lost += frame.lost
                if not waited:
                    await trio.lowlevel.cancel_shielded_checkpoint()
                return frame
            waited = True
            if await self._hears_nothing(reader):
                reader.is_given_up = True
                raise stalled(self._order)

    async def _hears_nothing(self, reader: Reader) -> bool:
        """Wait for news; whether there are none since the same read, for too long."""
        since, now = reader.reads_since, trio.current_time()
        deadline = (now if since is None else since) + self._order.stalled_after
        if now < deadline:
            with trio.move_on_at(deadline):
                await reader.box.news()
                return False
            with trio.move_on_after(LAST_LOOK):
                await reader.box.news()
                return False
        return since is not None and reader.reads_since == since

    def _disconnect(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.box.close()
            reader.left_at = time.monotonic()
            self._leaving.append(reader)

    async def _wait_disconnected(self) -> None:
        waited_for = [reader for reader in self._ending() if not reader.is_given_up]
        try:
            await trio.lowlevel.checkpoint()
            with trio.move_on_after(GRACE):
                for reader in waited_for:
                    await reader.ended()
        finally:
            for reader in waited_for:
                reader.is_given_up = True

    def _ending(self) -> list[Reader]:
        """Those that were told to end, and have not yet."""
        self._leaving = [reader for reader in self._leaving if not reader.is_over]
        return self._leaving

    async def _wait_for_threads(self) -> None:
        """Wait a little for those that are to end: they may have the device, or be too many.

        Raises:
            ConnectFailed: There are too many.
        """
        await trio.lowlevel.checkpoint()
        with trio.move_on_after(GRACE):
            for reader in self._ending() if self._source.kind == "device" else ():
                await reader.ended()
            while len(self._ending()) >= self._max_abandoned:  # noqa: ASYNC110 - any of them may end
                await trio.sleep(LAST_LOOK / 5)
        if (hanging := len(self._ending())) >= self._max_abandoned:
            raise ConnectFailed(
                f"{self.name} cannot be opened: {hanging} threads hang in reads of it, which is "
                f"max_abandoned={self._max_abandoned}; they end when it works again, or with this "
                "process: start that anew, or see to the device"
            )


def _checked_format(wanted: object, source: Source) -> CameraFormat:
    if wanted is None:
        return CameraFormat()
    if not isinstance(wanted, CameraFormat):
        raise ConfigurationError(
            f"Camera(wanted={wanted!r:.80}): expected a CameraFormat, such as "
            "CameraFormat(size=(640, 480), rate=30)"
        )
    if source.kind == "address" and (wanted.size or wanted.rate or wanted.fourcc):
        raise ConfigurationError(
            f"Camera(wanted={wanted!r:.80}): a server gives what it gives; ask for it in the "
            "address, or set the camera up"
        )
    if source.kind == "file" and (wanted.size or wanted.fourcc):
        raise ConfigurationError(
            f"Camera(wanted={wanted!r:.80}): a file has its size; expected a rate alone"
        )
    size = wanted.size
    if size is not None and not (
        isinstance(size, (tuple, list))
        and len(size) == 2
        and all(is_whole(side, 1) for side in size)
    ):
        raise ConfigurationError(
            f"CameraFormat(size={size!r:.80}): expected width and height, such as (640, 480)"
        )
    if wanted.rate is not None and not (is_number(wanted.rate) and 0 < wanted.rate < math.inf):
        raise ConfigurationError(
            f"CameraFormat(rate={wanted.rate!r:.80}): expected frames a second, above 0"
        )
    fourcc = wanted.fourcc
    if fourcc is not None and not (
        isinstance(fourcc, str) and len(fourcc) == 4 and fourcc.isascii()
    ):
        raise ConfigurationError(
            f'CameraFormat(fourcc={fourcc!r:.80}): expected four letters, such as "MJPG"'
        )
    properties = wanted.properties
    if not isinstance(properties, Mapping) or not all(
        is_whole(number) and is_number(value) for number, value in properties.items()
    ):
        raise ConfigurationError(
            f"CameraFormat(properties={properties!r:.80}): expected numbers by number, such as "
            "{cv2.CAP_PROP_EXPOSURE: 100}"
        )
    return wanted
