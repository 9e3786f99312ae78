"""HORUS's messages.

A class body is a table of fields: name, kind (`.kinds`) and default.
"""

from .control import (
    DifferentialDriveCommand,
    ForceCommand,
    MotorCommand,
    NavGoal,
    PidConfig,
    ServoCommand,
    TrajectoryPoint,
    WrenchStamped,
)
from .environment import (
    BatteryState,
    FluidPressure,
    Illuminance,
    MagneticField,
    NavSatFix,
    RangeSensor,
    Temperature,
)
from .geometry import (
    Point3,
    Pose2D,
    Quaternion,
    Twist,
    Vector3,
)
from .message import (
    MESSAGES,
    Message,
    copied,
    not_an_instance,
)
from .motion import (
    CmdVel,
    JointState,
    Odometry,
)
from .poses import (
    Accel,
    AccelStamped,
    Pose3D,
    PoseStamped,
    PoseWithCovariance,
    TransformStamped,
    TwistWithCovariance,
)
from .sensors import (
    Imu,
    LaserScan,
)
from .status import (
    Clock,
    DiagnosticStatus,
    EmergencyStop,
    Heartbeat,
    ResourceUsage,
    SafetyStatus,
    TimeReference,
)

__all__ = [
    "MESSAGES",
    "Accel",
    "AccelStamped",
    "BatteryState",
    "Clock",
    "CmdVel",
    "DiagnosticStatus",
    "DifferentialDriveCommand",
    "EmergencyStop",
    "FluidPressure",
    "ForceCommand",
    "Heartbeat",
    "Illuminance",
    "Imu",
    "JointState",
    "LaserScan",
    "MagneticField",
    "Message",
    "MotorCommand",
    "NavGoal",
    "NavSatFix",
    "Odometry",
    "PidConfig",
    "Point3",
    "Pose2D",
    "Pose3D",
    "PoseStamped",
    "PoseWithCovariance",
    "Quaternion",
    "RangeSensor",
    "ResourceUsage",
    "SafetyStatus",
    "ServoCommand",
    "Temperature",
    "TimeReference",
    "TrajectoryPoint",
    "TransformStamped",
    "Twist",
    "TwistWithCovariance",
    "Vector3",
    "WrenchStamped",
    "copied",
    "not_an_instance",
]
