"""Cameras and videos: one thread reads, and `receive` gives out the newest frame.

`frame` is what comes, `source` where it comes from, `capture` is OpenCV, `reader` the thread, and
`box` what lies between the thread and the loop. `driver` puts them together. `failures` finds out
why a source cannot be opened.
"""

from .driver import Camera, CameraStatistics
from .frame import CameraFormat, Frame, VideoEnded

__all__ = ["Camera", "CameraFormat", "CameraStatistics", "Frame", "VideoEnded"]
