"""HORUS's Python API, as its users write it, on this engine.

Programs written for HORUS run unchanged: `install` puts these names at ``horus``, and
``horus-trio run --as-horus app.py`` does so for a program.
"""

from .clock import budget_remaining, dt, elapsed, ms, now, rng_float, tick, timestamp_ns, us
from .config import SchedulerConfig
from .declarations import Pub, Sub
from .enums import Miss, NodeState
from .errors import HorusNotFoundError, HorusTimeoutError, HorusTransformError, OutOfScope
from .install import InstallError, ModuleOutOfScope, install, uninstall
from .messages import (
    Accel,
    AccelStamped,
    BatteryState,
    Clock,
    CmdVel,
    DiagnosticStatus,
    DifferentialDriveCommand,
    EmergencyStop,
    FluidPressure,
    ForceCommand,
    Heartbeat,
    Illuminance,
    Imu,
    JointState,
    LaserScan,
    MagneticField,
    MotorCommand,
    NavGoal,
    NavSatFix,
    Odometry,
    PidConfig,
    Point3,
    Pose2D,
    Pose3D,
    PoseStamped,
    PoseWithCovariance,
    Quaternion,
    RangeSensor,
    ResourceUsage,
    SafetyStatus,
    ServoCommand,
    Temperature,
    TimeReference,
    TrajectoryPoint,
    TransformStamped,
    Twist,
    TwistWithCovariance,
    Vector3,
    WrenchStamped,
)
from .node import Node
from .node_info import NodeInfo
from .params import Params
from .rate import Rate
from .refusals import Refused
from .scheduler import Scheduler, run
from .topic import Topic
from .version import __version__, get_version

get_timestamp_ns = timestamp_ns

__all__ = [
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
    "HorusNotFoundError",
    "HorusTimeoutError",
    "HorusTransformError",
    "Illuminance",
    "Imu",
    "InstallError",
    "JointState",
    "LaserScan",
    "MagneticField",
    "Miss",
    "ModuleOutOfScope",
    "MotorCommand",
    "NavGoal",
    "NavSatFix",
    "Node",
    "NodeInfo",
    "NodeState",
    "Odometry",
    "OutOfScope",
    "Params",
    "PidConfig",
    "Point3",
    "Pose2D",
    "Pose3D",
    "PoseStamped",
    "PoseWithCovariance",
    "Pub",
    "Quaternion",
    "RangeSensor",
    "Rate",
    "Refused",
    "ResourceUsage",
    "SafetyStatus",
    "Scheduler",
    "SchedulerConfig",
    "ServoCommand",
    "Sub",
    "Temperature",
    "TimeReference",
    "Topic",
    "TrajectoryPoint",
    "TransformStamped",
    "Twist",
    "TwistWithCovariance",
    "Vector3",
    "WrenchStamped",
    "__version__",
    "budget_remaining",
    "dt",
    "elapsed",
    "get_timestamp_ns",
    "get_version",
    "install",
    "ms",
    "now",
    "rng_float",
    "run",
    "tick",
    "timestamp_ns",
    "uninstall",
    "us",
]
