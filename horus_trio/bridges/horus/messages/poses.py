"""Messages about places in space, with frames and uncertainties."""

from __future__ import annotations

import dataclasses
import math
import time
from typing import TYPE_CHECKING, Annotated

from .geometry import Pose2D, finite
from .kinds import F64, U64, Text, floats_of
from .message import Message, expect, message

if TYPE_CHECKING:
    from typing import Self

__all__ = [
    "Accel",
    "AccelStamped",
    "Pose3D",
    "PoseStamped",
    "PoseWithCovariance",
    "TransformStamped",
    "TwistWithCovariance",
]

_POSITION = "pos=[{m.x:.3f}, {m.y:.3f}, {m.z:.3f}]"
_LINEAR = "lin=[{m.linear_x:.3f}, {m.linear_y:.3f}, {m.linear_z:.3f}]"
_ANGULAR = "ang=[{m.angular_x:.3f}, {m.angular_y:.3f}, {m.angular_z:.3f}]"
_FRAME = "frame='{m.frame_id}'"
_TIME = "timestamp_ns={m.timestamp_ns}"


def _upright(pose: Pose2D) -> tuple[float, float]:
    """The last two components of the quaternion for a direction in the plane."""
    expect(Pose2D, pose)
    return math.sin(pose.theta / 2.0), math.cos(pose.theta / 2.0)


@message(
    f"{_POSITION}, quat=[{{m.qx:.3f}}, {{m.qy:.3f}}, {{m.qz:.3f}}, {{m.qw:.3f}}], {_TIME}",
    topic="pose3d",
    same=("x", "y", "z", "qx", "qy", "qz", "qw"),
)
class Pose3D(Message):
    """A place (m) and an orientation in space."""

    x: F64 = 0.0
    y: F64 = 0.0
    z: F64 = 0.0
    qx: F64 = 0.0
    qy: F64 = 0.0
    qz: F64 = 0.0
    qw: F64 = 1.0
    timestamp_ns: U64 = 0

    @classmethod
    def identity(cls) -> Self:
        """The origin, now."""
        return cls(timestamp_ns=time.time_ns())

    @classmethod
    def from_pose_2d(cls, pose: Pose2D) -> Self:
        """A place on the ground."""
        qz, qw = _upright(pose)
        return cls(pose.x, pose.y, qz=qz, qw=qw, timestamp_ns=pose.timestamp_ns)

    def distance_to(self, other: Pose3D) -> float:
        """How far away `other` is (m)."""
        expect(Pose3D, other)
        dx, dy, dz = self.x - other.x, self.y - other.y, self.z - other.z
        return math.sqrt(dx * dx + dy * dy + dz * dz)

    def is_valid(self) -> bool:
        """Whether place and orientation are finite."""
        return finite(self.x, self.y, self.z, self.qx, self.qy, self.qz, self.qw)


@message(f"{_POSITION}, {_FRAME}, {_TIME}", topic="pose_stamped")
class PoseStamped(Message):
    """A place (m) and an orientation in a frame."""

    x: F64 = 0.0
    y: F64 = 0.0
    z: F64 = 0.0
    qx: F64 = 0.0
    qy: F64 = 0.0
    qz: F64 = 0.0
    qw: F64 = 1.0
    frame_id: Text = ""
    timestamp_ns: U64 = 0


Covariance = Annotated[list[float], floats_of("covariance", 36)]
"""6 by 6, row by row: what is linear, then what is angular."""


def _diagonal(covariance: list[float], first: int) -> list[float]:
    return [covariance[7 * n] for n in range(first, first + 3)]


@message(f"{_POSITION}, {_FRAME}, {_TIME}", topic="pose_cov")
class PoseWithCovariance(Message):
    """A place (m) and an orientation in a frame, and how sure that is."""

    x: F64 = 0.0
    y: F64 = 0.0
    z: F64 = 0.0
    qx: F64 = 0.0
    qy: F64 = 0.0
    qz: F64 = 0.0
    qw: F64 = 1.0
    frame_id: Text = ""
    timestamp_ns: U64 = 0
    covariance: Covariance = dataclasses.field(default_factory=lambda: [0.0] * 36, init=False)

    def position_variance(self) -> list[float]:
        """The variances of x, y and z."""
        return _diagonal(self.covariance, 0)

    def orientation_variance(self) -> list[float]:
        """The variances of the rotations about x, y and z."""
        return _diagonal(self.covariance, 3)


@message(f"{_LINEAR}, {_ANGULAR}, {_TIME}", topic="twist_cov")
class TwistWithCovariance(Message):
    """A velocity in space (m/s, rad/s) in a frame, and how sure that is."""

    linear_x: F64 = 0.0
    linear_y: F64 = 0.0
    linear_z: F64 = 0.0
    angular_x: F64 = 0.0
    angular_y: F64 = 0.0
    angular_z: F64 = 0.0
    frame_id: Text = ""
    timestamp_ns: U64 = 0
    covariance: Covariance = dataclasses.field(default_factory=lambda: [0.0] * 36, init=False)

    def linear_variance(self) -> list[float]:
        """The variances of the linear velocities."""
        return _diagonal(self.covariance, 0)

    def angular_variance(self) -> list[float]:
        """The variances of the angular velocities."""
        return _diagonal(self.covariance, 3)


@message(f"{_LINEAR}, {_ANGULAR}, {_TIME}", topic="accel")
class Accel(Message):
    """An acceleration in space (m/s², rad/s²)."""

    linear_x: F64 = 0.0
    linear_y: F64 = 0.0
    linear_z: F64 = 0.0
    angular_x: F64 = 0.0
    angular_y: F64 = 0.0
    angular_z: F64 = 0.0
    timestamp_ns: U64 = 0

    def is_valid(self) -> bool:
        """Whether all components are finite."""
        linear = finite(self.linear_x, self.linear_y, self.linear_z)
        return linear and finite(self.angular_x, self.angular_y, self.angular_z)


@message(f"{_LINEAR}, {_FRAME}, {_TIME}", topic="accel_stamped")
class AccelStamped(Message):
    """An acceleration in space (m/s², rad/s²) in a frame."""

    linear_x: F64 = 0.0
    linear_y: F64 = 0.0
    linear_z: F64 = 0.0
    angular_x: F64 = 0.0
    angular_y: F64 = 0.0
    angular_z: F64 = 0.0
    frame_id: Text = ""
    timestamp_ns: U64 = 0


@message(
    "t=[{m.tx:.3f}, {m.ty:.3f}, {m.tz:.3f}], "
    f"r=[{{m.rx:.3f}}, {{m.ry:.3f}}, {{m.rz:.3f}}, {{m.rw:.3f}}], {_TIME}",
    topic="transform",
)
class TransformStamped(Message):
    """A translation (m) and a rotation."""

    tx: F64 = 0.0
    ty: F64 = 0.0
    tz: F64 = 0.0
    rx: F64 = 0.0
    ry: F64 = 0.0
    rz: F64 = 0.0
    rw: F64 = 1.0
    timestamp_ns: U64 = 0

    @classmethod
    def identity(cls) -> Self:
        """None at all, now."""
        return cls(timestamp_ns=time.time_ns())

    @classmethod
    def from_pose_2d(cls, pose: Pose2D) -> Self:
        """To a place on the ground, now."""
        rz, rw = _upright(pose)
        return cls(pose.x, pose.y, rz=rz, rw=rw, timestamp_ns=time.time_ns())

    def _length(self) -> float:
        return math.sqrt(self.rx**2 + self.ry**2 + self.rz**2 + self.rw**2)

    def is_valid(self) -> bool:
        """Whether it is finite, and its rotation of length 1."""
        if not finite(self.tx, self.ty, self.tz, self.rx, self.ry, self.rz, self.rw):
            return False
        return abs(self._length() - 1.0) < 1e-6

    def normalize_rotation(self) -> None:
        """Make the rotation's length 1, if it has any."""
        length = self._length()
        if length > 0.0:
            self.rx /= length
            self.ry /= length
            self.rz /= length
            self.rw /= length
