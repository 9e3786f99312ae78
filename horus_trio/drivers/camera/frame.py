"""What comes from a camera, and what can be asked of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio

from ..errors import DeviceGone

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

__all__ = ["CameraFormat", "Frame", "VideoEnded"]


class VideoEnded(DeviceGone):
    """A video file has come to its end, and was not to begin again."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Frame:
    """An image, and when it came.

    Attributes:
        image: An array, height by width by 3, of blue, green and red, from 0 to 255. It is handed
            on by reference and cannot be written to: who wants to draw in it makes a ``copy()``.
        number: How many were read before it since the camera was opened, those that were passed
            over included.
        taken_at: When it was read; s, Trio's clock.
        lost: How many were passed over between the frame given out before and this one.
    """

    image: NDArray[numpy.uint8] = field(repr=False)
    number: int
    taken_at: float
    lost: int = 0

    def age(self, now: float | None = None) -> float:
        """Seconds since it was read.

        Arguments:
            now: s, Trio's clock; in a ``def`` tick, ``self.now``. None: now, in a Trio task.
        """
        return (trio.current_time() if now is None else now) - self.taken_at

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        height, width = self.image.shape[:2]
        return width, height


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraFormat:
    """What is asked of a camera, or what it really gives.

    Attributes:
        size: Width and height; None: as the device has it.
        rate: Frames a second.
        fourcc: Four letters for how the device packs its images, such as ``"MJPG"``, which many
            need for large ones at full rate.
        properties: Others of OpenCV's, by their numbers, such as
            ``{cv2.CAP_PROP_EXPOSURE: 100}``.
    """

    size: tuple[int, int] | None = None
    rate: float | None = None
    fourcc: str | None = None
    properties: Mapping[int, float] = field(default_factory=dict)
