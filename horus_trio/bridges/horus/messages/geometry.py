"""Messages about where things are and how they turn."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from .kinds import F64, U64, f64
from .message import Message, expect, message

if TYPE_CHECKING:
    from typing import Self

__all__ = ["Point3", "Pose2D", "Quaternion", "Twist", "Vector3"]

_XYZ = "{m.x:.3f}, {m.y:.3f}, {m.z:.3f}"


@message(_XYZ, same=("x", "y", "z"))
class Vector3(Message):
    """A vector."""

    x: F64 = 0.0
    y: F64 = 0.0
    z: F64 = 0.0

    @classmethod
    def zero(cls) -> Self:
        """The vector of length 0."""
        return cls()

    def magnitude(self) -> float:
        """Its length."""
        return math.sqrt(self.x * self.x + self.y * self.y + self.z * self.z)

    def normalize(self) -> None:
        """Make its length 1; one of 1e-12 or less is left as it is."""
        length = self.magnitude()
        if length > 1e-12:
            self.x /= length
            self.y /= length
            self.z /= length

    def normalized(self) -> Vector3:
        """One of the same direction with length 1; of length 0 if this has no length."""
        length = self.magnitude()
        if not length > 0.0:
            return Vector3()
        return Vector3(self.x / length, self.y / length, self.z / length)

    def dot(self, other: Vector3) -> float:
        """The scalar product."""
        expect(Vector3, other)
        return self.x * other.x + self.y * other.y + self.z * other.z

    def cross(self, other: Vector3) -> Vector3:
        """The vector product."""
        expect(Vector3, other)
        return Vector3(
            self.y * other.z - self.z * other.y,
            self.z * other.x - self.x * other.z,
            self.x * other.y - self.y * other.x,
        )


@message(_XYZ, same=("x", "y", "z"))
class Point3(Message):
    """A point (m)."""

    x: F64 = 0.0
    y: F64 = 0.0
    z: F64 = 0.0

    @classmethod
    def origin(cls) -> Self:
        """The point all others are measured from."""
        return cls()

    def distance_to(self, other: Point3) -> float:
        """How far away `other` is (m)."""
        expect(Point3, other)
        dx, dy, dz = self.x - other.x, self.y - other.y, self.z - other.z
        return math.sqrt(dx * dx + dy * dy + dz * dz)


@message(_XYZ + ", {m.w:.3f}", same=("x", "y", "z", "w"))
class Quaternion(Message):
    """An orientation."""

    x: F64 = 0.0
    y: F64 = 0.0
    z: F64 = 0.0
    w: F64 = 1.0

    @classmethod
    def identity(cls) -> Self:
        """No rotation."""
        return cls()

    @classmethod
    def from_euler(cls, roll: float = 0.0, pitch: float = 0.0, yaw: float = 0.0) -> Self:
        """A rotation about x, then y, then z (rad)."""
        (cr, sr), (cp, sp), (cy, sy) = _half(roll), _half(pitch), _half(yaw)
        return cls(
            sr * cp * cy - cr * sp * sy,
            cr * sp * cy + sr * cp * sy,
            cr * cp * sy - sr * sp * cy,
            cr * cp * cy + sr * sp * sy,
        )

    def normalize(self) -> None:
        """Make its length 1, if it has any."""
        x, y, z, w = self.x, self.y, self.z, self.w
        length = math.sqrt(x * x + y * y + z * z + w * w)
        if length > 0.0:
            self.x /= length
            self.y /= length
            self.z /= length
            self.w /= length

    def is_valid(self) -> bool:
        """Whether all components are finite."""
        return finite(self.x, self.y, self.z, self.w)


@message(
    "x={m.x:.3f}, y={m.y:.3f}, theta={m.theta:.3f}, timestamp_ns={m.timestamp_ns}",
    topic="pose",
    same=("x", "y", "theta"),
)
class Pose2D(Message):
    """A place (m) and a direction (rad) in the plane."""

    x: F64
    y: F64
    theta: F64
    timestamp_ns: U64 = 0

    @classmethod
    def origin(cls) -> Self:
        """The origin, now."""
        return cls(0.0, 0.0, 0.0, time.time_ns())

    def distance_to(self, other: Pose2D) -> float:
        """How far away `other` is (m)."""
        expect(Pose2D, other)
        dx, dy = self.x - other.x, self.y - other.y
        return math.sqrt(dx * dx + dy * dy)

    def normalize_angle(self) -> None:
        """Turn `theta` by whole turns into -π … π."""
        beyond = abs(self.theta) - math.pi
        if 0.0 < beyond < math.inf:
            self.theta -= math.copysign(math.ceil(beyond / math.tau) * math.tau, self.theta)

    def is_valid(self) -> bool:
        """Whether place and direction are finite."""
        return finite(self.x, self.y, self.theta)


@message(
    "lin=[{m.linear_x:.3f}, {m.linear_y:.3f}, {m.linear_z:.3f}], "
    "ang=[{m.angular_x:.3f}, {m.angular_y:.3f}, {m.angular_z:.3f}], timestamp_ns={m.timestamp_ns}",
    topic="twist",
    same=("linear_x", "linear_y", "linear_z", "angular_x", "angular_y", "angular_z"),
)
class Twist(Message):
    """A velocity in space (m/s, rad/s)."""

    linear_x: F64 = 0.0
    linear_y: F64 = 0.0
    linear_z: F64 = 0.0
    angular_x: F64 = 0.0
    angular_y: F64 = 0.0
    angular_z: F64 = 0.0
    timestamp_ns: U64 = 0

    @classmethod
    def new_2d(cls, linear_x: float = 0.0, angular_z: float = 0.0) -> Self:
        """A velocity in the plane, now."""
        return cls(linear_x=linear_x, angular_z=angular_z, timestamp_ns=time.time_ns())

    @classmethod
    def stop(cls) -> Self:
        """No velocity, now."""
        return cls(timestamp_ns=time.time_ns())

    def is_valid(self) -> bool:
        """Whether all components are finite."""
        return finite(
            self.linear_x,
            self.linear_y,
            self.linear_z,
            self.angular_x,
            self.angular_y,
            self.angular_z,
        )


def finite(*numbers: float) -> bool:
    """Whether all numbers are finite."""
    return all(map(math.isfinite, numbers))


def _half(angle: float) -> tuple[float, float]:
    """Cosine and sine of half an angle (rad); NaN of what is not finite."""
    half = f64(angle) * 0.5
    return (math.cos(half), math.sin(half)) if math.isfinite(half) else (math.nan, math.nan)
