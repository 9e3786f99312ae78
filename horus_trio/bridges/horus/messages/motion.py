"""Messages about how a robot is to move, and how it does."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .geometry import Pose2D, Twist, finite
from .kinds import F32, F64, U64, Floats, Names, sequence, text
from .message import Message, expect, message

if TYPE_CHECKING:
    from typing import Self

__all__ = ["CmdVel", "JointState", "Odometry"]


@message(
    "linear={m.linear:.3f}, angular={m.angular:.3f}, timestamp_ns={m.timestamp_ns}",
    topic="cmd_vel",
    same=("linear", "angular"),
)
class CmdVel(Message):
    """A velocity for a robot on two wheels: forward (m/s) and turning (rad/s)."""

    linear: F32
    angular: F32
    timestamp_ns: U64 = 0

    @classmethod
    def zero(cls) -> Self:
        """To stand still, now."""
        return cls(0.0, 0.0, time.time_ns())


@message(
    "x={m.x:.3f}, y={m.y:.3f}, theta={m.theta:.3f}, v_lin={m.linear_velocity:.3f}, "
    "v_ang={m.angular_velocity:.3f}, timestamp_ns={m.timestamp_ns}",
    topic="odom",
)
class Odometry(Message):
    """Where a robot believes to be, and how fast it is (m, rad, m/s, rad/s)."""

    x: F64 = 0.0
    y: F64 = 0.0
    theta: F64 = 0.0
    linear_velocity: F64 = 0.0
    angular_velocity: F64 = 0.0
    timestamp_ns: U64 = 0

    def update(self, pose: Pose2D, twist: Twist) -> None:
        """Take place and velocity from `pose` and `twist`, now."""
        expect(Pose2D, pose)
        expect(Twist, twist)
        self.x, self.y, self.theta = pose.x, pose.y, pose.theta
        self.linear_velocity, self.angular_velocity = twist.linear_x, twist.angular_z
        self.timestamp_ns = time.time_ns()

    def set_frames(self, frame: str, child_frame: str) -> None:
        """Accepted as in HORUS, where they cannot be read back in Python either."""
        text(frame)
        text(child_frame)

    def is_valid(self) -> bool:
        """Whether place and velocity are finite."""
        return finite(self.x, self.y, self.theta, self.linear_velocity, self.angular_velocity)


@message("", topic="joint_states", fixed=("names", "positions", "velocities", "efforts"))
class JointState(Message):
    """Positions (rad or m), velocities and efforts of named joints.

    Lists that are shorter than `names` are filled up with 0, longer ones are cut. Once made, only
    `timestamp_ns` can be changed.
    """

    names: Names
    positions: Floats
    velocities: Floats
    efforts: Floats
    timestamp_ns: U64

    def __init__(
        self,
        names: Sequence[str] | None = None,
        positions: Sequence[float] | None = None,
        velocities: Sequence[float] | None = None,
        efforts: Sequence[float] | None = None,
        timestamp_ns: int = 0,
    ) -> None:
        self.names = list(sequence(names or ()))
        joints = len(self)
        self.positions = _fitted(positions, joints)
        self.velocities = _fitted(velocities, joints)
        self.efforts = _fitted(efforts, joints)
        self.timestamp_ns = timestamp_ns

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        joints = ", ".join(self.names)
        return f"JointState({len(self)} joints: [{joints}], timestamp_ns={self.timestamp_ns})"

    def position(self, name: str) -> float | None:
        """The position of the joint of that name; None: there is none."""
        return self._of(self.positions, name)

    def velocity(self, name: str) -> float | None:
        """The velocity of the joint of that name; None: there is none."""
        return self._of(self.velocities, name)

    def effort(self, name: str) -> float | None:
        """The effort of the joint of that name; None: there is none."""
        return self._of(self.efforts, name)

    def _of(self, values: list[float], name: str) -> float | None:
        names = self.names
        return values[names.index(name)] if text(name) in names else None


def _fitted(values: Sequence[float] | None, count: int) -> list[float]:
    """As many of them, filled up with 0."""
    given = sequence(values or ())[:count]
    return [*given, *[0.0] * (count - len(given))]
