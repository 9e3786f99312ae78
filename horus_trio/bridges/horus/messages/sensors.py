"""Messages from sensors."""

from __future__ import annotations

import array
import dataclasses
import math
from collections.abc import Sequence
from typing import Annotated, Any

from .geometry import Quaternion, Vector3, finite
from .kinds import F32, F64, U64, Kind, f32, f32s, floats_of, sequence, u64
from .message import Message, message

__all__ = ["Imu", "LaserScan"]

POINTS = 360
"""Ranges of a scan, always."""


@message(
    "accel=[{m.accel_x:.3f}, {m.accel_y:.3f}, {m.accel_z:.3f}], "
    "gyro=[{m.gyro_x:.3f}, {m.gyro_y:.3f}, {m.gyro_z:.3f}], timestamp_ns={m.timestamp_ns}",
    topic="imu",
)
class Imu(Message):
    """Acceleration (m/s²), angular velocity (rad/s) and, where it is known, orientation.

    Covariances are lists of 9 numbers, row by row; a first number of -1 means unknown.
    """

    accel_x: F64
    accel_y: F64
    accel_z: F64
    gyro_x: F64
    gyro_y: F64
    gyro_z: F64
    timestamp_ns: U64 = 0
    qx: F64 = dataclasses.field(default_factory=lambda: 0.0, init=False)
    qy: F64 = dataclasses.field(default_factory=lambda: 0.0, init=False)
    qz: F64 = dataclasses.field(default_factory=lambda: 0.0, init=False)
    qw: F64 = dataclasses.field(default_factory=lambda: 1.0, init=False)
    orientation_covariance: Annotated[list[float], floats_of("orientation_covariance", 9)] = (
        dataclasses.field(default_factory=lambda: [-1.0] * 9, init=False)
    )
    angular_velocity_covariance: Annotated[
        list[float], floats_of("angular_velocity_covariance", 9)
    ] = dataclasses.field(default_factory=lambda: [0.0] * 9, init=False)
    linear_acceleration_covariance: Annotated[
        list[float], floats_of("linear_acceleration_covariance", 9)
    ] = dataclasses.field(default_factory=lambda: [0.0] * 9, init=False)

    def set_orientation_from_euler(self, roll: float, pitch: float, yaw: float) -> None:
        """Set the orientation (rad); whether it counts as known is in its covariance."""
        q = Quaternion.from_euler(roll, pitch, yaw)
        self.qx, self.qy, self.qz, self.qw = q.x, q.y, q.z, q.w

    def has_orientation(self) -> bool:
        """Whether the orientation is known."""
        return self.orientation_covariance[0] >= 0.0

    def is_valid(self) -> bool:
        """Whether all but the covariances is finite."""
        return finite(
            self.accel_x,
            self.accel_y,
            self.accel_z,
            self.gyro_x,
            self.gyro_y,
            self.gyro_z,
            self.qx,
            self.qy,
            self.qz,
            self.qw,
        )

    def angular_velocity_vec(self) -> Vector3:
        """The angular velocity."""
        return Vector3(self.gyro_x, self.gyro_y, self.gyro_z)

    def linear_acceleration_vec(self) -> Vector3:
        """The acceleration."""
        return Vector3(self.accel_x, self.accel_y, self.accel_z)

    def orientation_quat(self) -> Quaternion:
        """The orientation."""
        return Quaternion(self.qx, self.qy, self.qz, self.qw)


def _ranges(values: Any) -> array.array[float]:
    ranges = f32s(sequence(values)[:POINTS])
    ranges.extend([0.0] * (POINTS - len(ranges)))
    return ranges


@message("", topic="scan")
class LaserScan(Message):
    """Distances (m) all around; 360 of them, those not given are 0, more are cut."""

    angle_min: F32
    angle_max: F32
    angle_increment: F32
    range_min: F32
    range_max: F32
    ranges: Annotated[list[float], Kind(_ranges, array.array.tolist)]
    timestamp_ns: U64

    def __init__(
        self,
        angle_min: float = 0.0,
        angle_max: float = 0.0,
        angle_increment: float = 0.0,
        range_min: float = 0.0,
        range_max: float = 0.0,
        ranges: Sequence[float] | None = None,
        timestamp_ns: int = 0,
    ) -> None:
        self.angle_min = angle_min
        self.angle_max = angle_max
        self.angle_increment = angle_increment
        self.range_min = range_min
        self.range_max = range_max
        self.ranges = () if ranges is None else ranges  # type: ignore[assignment]
        self.timestamp_ns = timestamp_ns

    def __len__(self) -> int:
        return len(self._valid())

    def __repr__(self) -> str:
        return (
            f"LaserScan(angle=[{self.angle_min:.2f}, {self.angle_max:.2f}], "
            f"range=[{self.range_min:.2f}, {self.range_max:.2f}], {len(self)} points, "
            f"timestamp_ns={self.timestamp_ns})"
        ).replace("nan", "NaN")

    def angle_at(self, index: int) -> float:
        """The direction of a range (rad); 0 for one that does not exist."""
        if u64(index) >= POINTS:
            return 0.0
        return f32(self.angle_min + f32(index * self.angle_increment))

    def is_range_valid(self, index: int) -> bool:
        """Whether there is such a range, within the limits."""
        return u64(index) < POINTS and self._is_valid(self.ranges[index])

    def min_range(self) -> float | None:
        """The shortest valid range (m); None: there is none."""
        return min(self._valid(), default=None)

    def _valid(self) -> list[float]:
        return [r for r in self.ranges if self._is_valid(r)]

    def _is_valid(self, distance: float) -> bool:
        return math.isfinite(distance) and self.range_min <= distance <= self.range_max
