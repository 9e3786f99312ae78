"""Names of HORUS's that have nothing behind them here, and what to do instead.

They can be imported, as programs do that use them only in places; using one says what it is.
"""

from __future__ import annotations

from typing import Any, NoReturn

from .errors import OutOfScope

__all__ = ["OUTSIDE", "Outside", "refuse"]

_MEMORY = (
    "its data lies in HORUS's shared memory. Send numpy arrays by reference over a "
    "horus_trio.Hub, or keep this node on HORUS and connect the two by a HorusBridge"
)
_TRANSFORMS = (
    "coordinate transforms are HORUS's. Use a library for them (scipy.spatial.transform), or keep "
    "this node on HORUS and connect the two by a HorusBridge"
)
_PERCEPTION = (
    "perception types are HORUS's. Send dicts, or keep this node on HORUS and connect the two by a "
    "HorusBridge"
)
_DRIVERS = "hardware is opened by horus_trio.drivers (serial, TCP, UDP, processes)"
_MESSAGES = "this message type is not here: send dicts, or write a dataclass and send it"
_MESSAGE_TYPES = """
    AudioFrame BoundingBox2D BoundingBox3D CameraInfo CompressedImage ContactInfo CostMap
    Detection Detection3D DiagnosticReport DiagnosticValue GoalResult HapticFeedback
    ImpedanceParameters JointCommand JoystickInput KeyboardInput Landmark Landmark3D
    LandmarkArray NavPath NodeHeartbeat OccupancyGrid PathPlan PlaneArray PlaneDetection
    PointField RegionOfInterest SegmentationMask StereoInfo TactileArray TrackedObject
    TrackingHeader VelocityObstacle VelocityObstacles Waypoint
"""
_INSIDE = "it is the inside of HORUS's own scheduler: use horus.Scheduler"
_TOOLS = "messages are Python classes here: send dicts, or write a dataclass and send it"

OUTSIDE = {
    "Image": _MEMORY,
    "PointCloud": _MEMORY,
    "DepthImage": _MEMORY,
    "Tensor": _MEMORY,
    "TensorPool": _MEMORY,
    "TensorHandle": _MEMORY,
    "Transform": _TRANSFORMS,
    "TransformFrame": _TRANSFORMS,
    "TransformFrameConfig": _TRANSFORMS,
    "DetectionList": _PERCEPTION,
    "PointXYZ": _PERCEPTION,
    "PointXYZRGB": _PERCEPTION,
    "PointCloudBuffer": _PERCEPTION,
    "COCOPose": _PERCEPTION,
    "perception": _PERCEPTION,
    "drivers": _DRIVERS,
    "hardware": _DRIVERS,
    "msggen": _TOOLS,
    "NodeBuilder": _INSIDE,
    **dict.fromkeys(_MESSAGE_TYPES.split(), _MESSAGES),
}
"""Name → what to do."""


class Outside(type):
    """Of classes that are not there: whatever is done with them says so."""

    def __call__(cls, *args: object, **kwargs: object) -> NoReturn:
        refuse(cls.__name__)

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):  # what Python itself looks for
            raise AttributeError(name)
        refuse(cls.__name__)


def refuse(name: str) -> NoReturn:
    """Say that `name` is not part of this, and what to do."""
    raise OutOfScope(f"horus.{name} is not part of horus_trio: {OUTSIDE[name]}")


def __getattr__(name: str) -> Any:
    if name not in OUTSIDE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = Outside(name, (), {})
    return found
