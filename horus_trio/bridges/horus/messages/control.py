"""Messages to motors, grippers and their controllers, and what the robot is to reach."""

from __future__ import annotations

import array
import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

from .geometry import Pose2D, Vector3, finite
from .kinds import F32, F64, U8, U32, U64, Flag, Kind, f32, f64s, sequence
from .message import Message, copied, expect, message

if TYPE_CHECKING:
    from typing import Self

__all__ = [
    "DifferentialDriveCommand",
    "ForceCommand",
    "MotorCommand",
    "NavGoal",
    "PidConfig",
    "ServoCommand",
    "TrajectoryPoint",
    "WrenchStamped",
]

_TIME = "timestamp_ns={m.timestamp_ns}"


@message(
    f"id={{m.motor_id}}, mode={{m.mode}}, target={{m.target:.3f}}, enable={{m.enable}}, {_TIME}",
    topic="motor_cmd",
)
class MotorCommand(Message):
    """What one motor is to do: a velocity (mode 0), a position (1)."""

    motor_id: U8 = 0
    mode: U8 = 0
    target: F64 = 0.0
    max_velocity: F64 = math.inf
    max_acceleration: F64 = math.inf
    feed_forward: F64 = 0.0
    enable: Flag = True
    timestamp_ns: U64 = 0

    @classmethod
    def velocity(cls, motor_id: int, velocity: float) -> Self:
        """To turn at a velocity, now."""
        return cls(motor_id, 0, velocity, timestamp_ns=time.time_ns())

    @classmethod
    def position(cls, motor_id: int, position: float, max_velocity: float) -> Self:
        """To go to a position, now."""
        return cls(motor_id, 1, position, max_velocity, timestamp_ns=time.time_ns())

    @classmethod
    def stop(cls, motor_id: int) -> Self:
        """To be let go, now."""
        return cls(motor_id, enable=False, timestamp_ns=time.time_ns())

    def is_valid(self) -> bool:
        """Whether the target is finite; limits may be infinite."""
        numbers = not math.isnan(self.max_velocity + self.max_acceleration)
        return finite(self.target, self.feed_forward) and numbers


_RADIANS = f32(f32(math.pi) / 180.0)  # as HORUS, which counts in 32 bits


def _speed(value: Any) -> float:
    speed = f32(value)
    return speed if math.isnan(speed) else min(max(speed, 0.0), 1.0)


@message(
    "id={m.servo_id}, pos={m.position:.3f}rad, speed={m.speed:.2f}, enable={m.enable}, " + _TIME,
    topic="servo_cmd",
)
class ServoCommand(Message):
    """Where one servo is to go (rad), at a speed of 0 … 1."""

    servo_id: U8 = 0
    position: F32 = 0.0
    speed: Annotated[float, Kind(_speed)] = 0.5
    enable: Flag = True
    timestamp_ns: U64 = 0

    @classmethod
    def with_speed(cls, servo_id: int, position: float, speed: float) -> Self:
        """To a position at a speed, now."""
        return cls(servo_id, position, speed, timestamp_ns=time.time_ns())

    @classmethod
    def disable(cls, servo_id: int) -> Self:
        """To be let go, now."""
        return cls(servo_id, 0.0, 0.0, False, time.time_ns())

    @classmethod
    def from_degrees(cls, servo_id: int, degrees: float) -> Self:
        """To a position in degrees, now."""
        return cls(servo_id, f32(degrees) * _RADIANS, timestamp_ns=time.time_ns())

    def is_valid(self) -> bool:
        """Whether position and speed are finite."""
        return finite(self.position, self.speed)


@message(
    f"left={{m.left_velocity:.3f}}, right={{m.right_velocity:.3f}}, enable={{m.enable}}, {_TIME}",
    topic="diff_drive_cmd",
)
class DifferentialDriveCommand(Message):
    """Velocities of a left and a right wheel (rad/s)."""

    left_velocity: F64 = 0.0
    right_velocity: F64 = 0.0
    max_acceleration: F64 = math.inf
    enable: Flag = True
    timestamp_ns: U64 = 0

    @classmethod
    def stop(cls) -> Self:
        """To be let go, now."""
        return cls(enable=False, timestamp_ns=time.time_ns())

    @classmethod
    def from_twist(
        cls, linear: float, angular: float, wheel_base: float, wheel_radius: float
    ) -> Self:
        """For a velocity (m/s, rad/s) on wheels so far apart (m) and of that radius (m), now."""
        radius = wheel_radius if abs(wheel_radius) >= 1e-9 else 1e-9
        half = angular * wheel_base / 2.0
        return cls((linear - half) / radius, (linear + half) / radius, timestamp_ns=time.time_ns())

    def is_valid(self) -> bool:
        """Whether the velocities are finite and the limit is a number."""
        limit = not math.isnan(self.max_acceleration)
        return finite(self.left_velocity, self.right_velocity) and limit


@message(f"kp={{m.kp:.3f}}, ki={{m.ki:.3f}}, kd={{m.kd:.3f}}, {_TIME}", topic="pid_config")
class PidConfig(Message):
    """Gains and limits of a controller."""

    kp: F64 = 1.0
    ki: F64 = 0.0
    kd: F64 = 0.0
    controller_id: U8 = 0
    integral_limit: F64 = math.inf
    output_limit: F64 = math.inf
    anti_windup: Flag = True
    timestamp_ns: U64 = 0

    @classmethod
    def proportional(cls, kp: float) -> Self:
        """One gain, now."""
        return cls(kp, timestamp_ns=time.time_ns())

    @classmethod
    def pi(cls, kp: float, ki: float) -> Self:
        """Two gains, now."""
        return cls(kp, ki, timestamp_ns=time.time_ns())

    @classmethod
    def pd(cls, kp: float, kd: float) -> Self:
        """Two gains, now."""
        return cls(kp, kd=kd, timestamp_ns=time.time_ns())

    def with_limits(self, integral_limit: float, output_limit: float) -> Self:
        """The same with these limits."""
        other = copied(self)
        other.integral_limit, other.output_limit = integral_limit, output_limit
        return other

    def is_valid(self) -> bool:
        """Whether the gains are finite and not below 0; limits may be infinite."""
        numbers = not math.isnan(self.integral_limit + self.output_limit)
        return (
            finite(self.kp, self.ki, self.kd) and min(self.kp, self.ki, self.kd) >= 0.0 and numbers
        )


def _fitted(default: tuple[float, ...]) -> Kind:
    """A list of as many floats as `default` has: shorter ones are filled up by it, longer cut."""

    def keep(value: Any) -> array.array[float]:
        given = sequence(value)[: len(default)]
        return f64s([*given, *default[len(given) :]])

    return Kind(keep, array.array.tolist)


Three = Annotated[list[float], _fitted((0.0, 0.0, 0.0))]
Four = Annotated[list[float], _fitted((0.0, 0.0, 0.0, 1.0))]


@message(
    "pos=[{m.position[0]:.3f}, {m.position[1]:.3f}, {m.position[2]:.3f}], "
    "t={m.time_from_start:.3f}s",
    topic="trajectory_point",
)
class TrajectoryPoint(Message):
    """Where to be at a time (s) on the way."""

    position: Three
    velocity: Three
    acceleration: Three
    orientation: Four
    angular_velocity: Three
    time_from_start: F64

    def __init__(
        self,
        position: Sequence[float] | None = None,
        velocity: Sequence[float] | None = None,
        acceleration: Sequence[float] | None = None,
        orientation: Sequence[float] | None = None,
        angular_velocity: Sequence[float] | None = None,
        time_from_start: float = 0.0,
    ) -> None:
        self.position = list(position or ())
        self.velocity = list(velocity or ())
        self.acceleration = list(acceleration or ())
        self.orientation = list(orientation or ())
        self.angular_velocity = list(angular_velocity or ())
        self.time_from_start = time_from_start

    @classmethod
    def new_2d(cls, x: float, y: float, vx: float, vy: float, time: float) -> Self:
        """A place in the plane and a velocity there."""
        return cls([x, y], [vx, vy], time_from_start=time)

    @classmethod
    def stationary(cls, x: float, y: float, z: float) -> Self:
        """A place to stay at."""
        return cls([x, y, z])


_WRENCH = "force=[{m.fx:.3f},{m.fy:.3f},{m.fz:.3f}], torque=[{m.tx:.3f},{m.ty:.3f},{m.tz:.3f}]"


@message(_WRENCH, topic="wrench")
class WrenchStamped(Message):
    """Forces (N) and torques (N·m) that are felt."""

    fx: F64 = 0.0
    fy: F64 = 0.0
    fz: F64 = 0.0
    tx: F64 = 0.0
    ty: F64 = 0.0
    tz: F64 = 0.0
    timestamp_ns: U64 = 0

    @classmethod
    def force_only(cls, force: Vector3) -> Self:
        """A force, now."""
        expect(Vector3, force)
        return cls(force.x, force.y, force.z, timestamp_ns=time.time_ns())

    @classmethod
    def torque_only(cls, torque: Vector3) -> Self:
        """A torque, now."""
        expect(Vector3, torque)
        return cls(tx=torque.x, ty=torque.y, tz=torque.z, timestamp_ns=time.time_ns())

    def force_magnitude(self) -> float:
        """How strong the force is."""
        return Vector3(self.fx, self.fy, self.fz).magnitude()

    def torque_magnitude(self) -> float:
        """How strong the torque is."""
        return Vector3(self.tx, self.ty, self.tz).magnitude()

    def exceeds_limits(self, max_force: float, max_torque: float) -> bool:
        """Whether one of them is stronger than that."""
        return self.force_magnitude() > max_force or self.torque_magnitude() > max_torque

    def filter(self, prev: WrenchStamped, alpha: float) -> None:
        """Smooth it: take `alpha`, 0 … 1, of this, and the rest of `prev`."""
        expect(WrenchStamped, prev)
        alpha = min(max(alpha, 0.0), 1.0)
        for name in ("fx", "fy", "fz", "tx", "ty", "tz"):
            mixed = alpha * getattr(self, name) + (1.0 - alpha) * getattr(prev, name)
            setattr(self, name, mixed)


@message(_WRENCH, topic="force_cmd")
class ForceCommand(Message):
    """Forces (N) and torques (N·m) to exert."""

    fx: F64
    fy: F64
    fz: F64
    tx: F64
    ty: F64
    tz: F64
    timeout_seconds: F64
    timestamp_ns: U64

    def __init__(
        self,
        fx: float = 0.0,
        fy: float = 0.0,
        fz: float = 0.0,
        tx: float = 0.0,
        ty: float = 0.0,
        tz: float = 0.0,
        timeout: float = 0.0,
        timestamp_ns: int = 0,
    ) -> None:
        self.fx, self.fy, self.fz = fx, fy, fz
        self.tx, self.ty, self.tz = tx, ty, tz
        self.timeout_seconds = timeout
        self.timestamp_ns = timestamp_ns

    @classmethod
    def force_only(cls, target: Vector3) -> Self:
        """A force, now."""
        expect(Vector3, target)
        return cls(target.x, target.y, target.z, timestamp_ns=time.time_ns())

    @classmethod
    def surface_contact(cls, normal_force: float, normal: Vector3) -> Self:
        """A force against a surface with that normal, now."""
        expect(Vector3, normal)
        n = normal.normalized()
        force = (n.x * normal_force, n.y * normal_force, n.z * normal_force)
        return cls(*force, timestamp_ns=time.time_ns())

    def with_timeout(self, timeout_seconds: float) -> Self:
        """The same for that long (s)."""
        other = copied(self)
        other.timeout_seconds = timeout_seconds
        return other


@message(
    "x={m.x:.3f}, y={m.y:.3f}, theta={m.theta:.3f}, timeout={m.timeout_seconds:.1f}s",
    topic="nav_goal",
)
class NavGoal(Message):
    """Where to go in the plane (m, rad), how exactly and in what time (s)."""

    x: F64
    y: F64
    theta: F64
    tolerance_position: F64
    tolerance_angle: F64
    timeout_seconds: F64
    timestamp_ns: U64
    goal_id: U32
    priority: U8

    def __init__(
        self,
        x: float = 0.0,
        y: float = 0.0,
        theta: float = 0.0,
        position_tolerance: float = 0.1,
        angle_tolerance: float = 0.1,
        timeout: float = 30.0,
        timestamp_ns: int = 0,
    ) -> None:
        self.x, self.y, self.theta = x, y, theta
        self.tolerance_position = position_tolerance
        self.tolerance_angle = angle_tolerance
        self.timeout_seconds = timeout
        self.timestamp_ns = timestamp_ns
        self.goal_id, self.priority = 0, 1

    def with_timeout(self, timeout_seconds: float) -> Self:
        """The same, in that time (s)."""
        other = copied(self)
        other.timeout_seconds = timeout_seconds
        return other

    def with_priority(self, priority: int) -> Self:
        """The same, with that priority."""
        other = copied(self)
        other.priority = priority
        return other

    def is_position_reached(self, current: Pose2D) -> bool:
        """Whether `current` is there."""
        return Pose2D(self.x, self.y, self.theta).distance_to(current) <= self.tolerance_position

    def is_orientation_reached(self, current: Pose2D) -> bool:
        """Whether `current` looks there."""
        expect(Pose2D, current)
        off = Pose2D(0.0, 0.0, self.theta - current.theta)
        off.normalize_angle()
        return abs(off.theta) <= self.tolerance_angle

    def is_reached(self, current: Pose2D) -> bool:
        """Whether both is so."""
        return self.is_position_reached(current) and self.is_orientation_reached(current)
