"""HORUS's less common messages, on its own package and on the facade."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from bridges.differential import Both
from bridges.test_differential_messages import LOOK

pytestmark = pytest.mark.slow  # two processes for each program

HELPERS = (
    LOOK
    + """
import inspect


MORE = '''
Accel AccelStamped BatteryState Clock DiagnosticStatus DifferentialDriveCommand EmergencyStop
FluidPressure ForceCommand Heartbeat Illuminance MagneticField MotorCommand NavGoal NavSatFix
PidConfig Pose3D PoseStamped PoseWithCovariance RangeSensor ResourceUsage SafetyStatus ServoCommand
Temperature TimeReference TrajectoryPoint TransformStamped TwistWithCovariance WrenchStamped
'''.split()

def all_of(message):
    return message, {n: getattr(message, n) for n in dir(message)
                     if not n.startswith("_") and not callable(getattr(message, n))}

def changed(message, **values):
    for name, value in values.items():
        setattr(message, name, value)
    return message

def after(message, method, *args):
    return getattr(message, method)(*args), all_of(message)
"""
)


def test_they_are_made_shown_and_changed_alike(on_both: Callable[[str], Both]) -> None:
    both = on_both(
        HELPERS
        + """
for name in MORE:
    cls = getattr(horus, name)
    look(f"{name} topic", getattr, cls, "__topic_name__")
    look(f"{name} default", lambda: all_of(cls()))
    look(f"{name} unknown argument", lambda: cls(unknown=1))
    parameters = list(inspect.signature(cls).parameters)
    found[f"{name} parameters"] = parameters
    for count in range(1, len(parameters) + 2):
        for value in (1, 0.25, "x", None, True, [1.5], 300):
            look(f"{name} {count} {value!r}", lambda: all_of(cls(*[value] * count)))
    for parameter in parameters:
        for value in (0.1, 3, -1, 2**32, 2**64, 1e300, nan, "text", None, True, [1, 2, 3]):
            look(f"{name}({parameter}={value!r})", lambda: all_of(cls(**{parameter: value})))
    for attribute in all_of(cls())[1]:
        for value in (0.1, 7, -1, 255, 256, 2**16, 2**32, 2**64, 1e300, nan, -inf, "text", None,
                      True, (1, 2, 3), [0.5] * 36, b"x", 10**400):
            if attribute == "covariance" and type(value) in (bytes, tuple):
                continue  # HORUS overwrites as many of the 36 as there are
            look(f"{name}.{attribute} = {value!r:.40} {type(value)}",
                 lambda: change(cls(), attribute, value))
        look(f"del {name}.{attribute}", lambda: delattr(cls(), attribute))
    look(f"{name}.unknown", lambda: setattr(cls(), "unknown", 1))
    look(f"{name} equal", lambda: [cls() == cls(), cls() != cls(), cls() == 1])
    look(f"{name} hashable", lambda: hash(cls()) is not None)
show(**found)
"""
    )
    assert len(both.agree()) > 3000


def test_their_methods_give_the_same(on_both: Callable[[str], Both]) -> None:
    both = on_both(
        HELPERS
        + """
random.seed(3)
for number in range(30):
    a, b, c, d, e, f, g = (random.uniform(-9, 9) for _ in range(7))
    wrench = lambda: WrenchStamped(a, b, c, d, e, f)
    goal = NavGoal(a, b, c / 3, abs(d), abs(e) / 3)
    look(f"{number} poses", lambda: [
        all_of(Pose3D.from_pose_2d(Pose2D(a, b, c, 5))),
        Pose3D(a, b, c).distance_to(Pose3D(d, e, f)),
        all_of(TransformStamped.from_pose_2d(Pose2D(a, b, c))),
    ])
    look(f"{number} rotation", after, TransformStamped(a, b, c, d, e, f, g), "normalize_rotation")
    look(f"{number} wheels", lambda: all_of(DifferentialDriveCommand.from_twist(a, b, c, d)))
    look(f"{number} servo", lambda: [all_of(ServoCommand.from_degrees(1, a * 100)),
                                     all_of(ServoCommand.with_speed(1, a, b))])
    look(f"{number} wrench", lambda: [
        wrench().force_magnitude(), wrench().torque_magnitude(),
        wrench().exceeds_limits(abs(g), 99), wrench().exceeds_limits(99, abs(g)),
        after(wrench(), "filter", WrenchStamped(b, c, d, e, f, g), g / 9),
        all_of(WrenchStamped.force_only(Vector3(a, b, c))),
        all_of(WrenchStamped.torque_only(Vector3(a, b, c))),
        all_of(ForceCommand.force_only(Vector3(a, b, c))),
    ])
    look(f"{number} surface", lambda: [
        round(x, 12) for m in [ForceCommand.surface_contact(a, Vector3(b, c, d))]
        for x in (m.fx, m.fy, m.fz)])
    look(f"{number} distance", lambda: round(
        NavSatFix(a * 10, b * 20).distance_to(NavSatFix(c * 10, d * 20)), 3))
    look(f"{number} goal", lambda: [
        goal.is_position_reached(Pose2D(f, g, a / 3)),
        goal.is_orientation_reached(Pose2D(f, g, a / 3)),
        goal.is_reached(Pose2D(f, g, a / 3)),
    ])

for value in (0.0, -1.0, nan, inf, 1.0):
    look(f"valid {value}", lambda: [
        Pose3D(value).is_valid(), Pose3D(qx=value).is_valid(), Pose3D(qw=value).is_valid(),
        Accel(value).is_valid(), Accel(angular_z=value).is_valid(),
        TransformStamped(value).is_valid(), TransformStamped(rw=value).is_valid(),
        MotorCommand(0, 0, value, 1, 1).is_valid(),
        MotorCommand(0, 0, 1, 1, 1, value).is_valid(), ServoCommand(0, value).is_valid(),
        ServoCommand(0, 0, value).is_valid(), DifferentialDriveCommand(value).is_valid(),
        DifferentialDriveCommand(max_acceleration=value).is_valid(), RangeSensor(value).is_valid(),
        NavSatFix(value).is_valid(), NavSatFix(0, value).is_valid(),
        NavSatFix(0, 0, value).is_valid(),
    ])
    look(f"gains {value}", lambda: [
        PidConfig(*gains, integral_limit=1, output_limit=1).is_valid()
        for gains in ((value, 1, 1), (1, value, 1), (1, 1, value))])
for value in (90, 91, 180, 181, -180, -181):
    look(f"there {value}", lambda: (NavSatFix(value).is_valid(), NavSatFix(0, value).is_valid()))
for value in (1 + 1.1e-6, 1 + 0.9e-6, 1 - 1.1e-6, 1 - 0.9e-6):
    look(f"rotation {value}", lambda: TransformStamped(rw=value).is_valid())
for value in (0.01, 0.02, 0.03, 3.9, 4, 4.1):
    look(f"range {value}", lambda: RangeSensor(value).is_valid())
for value in (-1, 0, 9.9, 10, 15, 19.9, 20, 20.1, 100):
    look(f"battery {value}", lambda: (
        BatteryState(12, value).is_low(20), BatteryState(12, value).is_critical(),
        BatteryState(12, value, -1).time_remaining(),
        ResourceUsage(value).is_cpu_high(20), ResourceUsage(0, 0, value).is_memory_high(20),
        changed(ResourceUsage(), temperature=value).is_temperature_high(20),
    ))
for value in range(4):
    look(f"status {value}", lambda: (
        Clock(source=value), DiagnosticStatus(value), changed(NavSatFix(), status=value).has_fix()))
for name in ("enabled", "estop_engaged", "watchdog_ok", "limits_ok", "comms_ok"):
    for on in (True, False):
        look(f"safe {name} {on}", lambda: changed(SafetyStatus(), **{name: on}).is_safe())
for name in ("fault_code", "mode"):
    for n in range(4):
        look(f"safe {name} {n}", lambda: changed(SafetyStatus(), **{name: n}).is_safe())

for label, call in {
    "motor": lambda: [MotorCommand.velocity(3, 1.5), MotorCommand.position(3, 1.5, 2),
                      MotorCommand.stop(3)],
    "servo": lambda: [ServoCommand.disable(4)],
    "wheels": lambda: [DifferentialDriveCommand.stop(),
                       DifferentialDriveCommand.from_twist(1, 2, 3, 0),
                       DifferentialDriveCommand.from_twist(1, 2, 3, -1)],
    "pid": lambda: [PidConfig.proportional(2), PidConfig.pi(2, 3), PidConfig.pd(2, 3)],
    "point": lambda: [TrajectoryPoint.new_2d(1, 2, 3, 4, 5), TrajectoryPoint.stationary(1, 2, 3),
                      TrajectoryPoint([1, 2], (3,), [4, 5, 6, 7], [8], None, 9),
                      changed(TrajectoryPoint(), position=[1, 2])],
    "identity": lambda: [Pose3D.identity(), TransformStamped.identity(),
                         NavSatFix.from_coordinates(1, 2, 3)],
    "clock": lambda: [Clock.wall_clock(), Clock.sim_time(5, 2), Clock.replay_time(6, 0.5)],
    "status": lambda: [DiagnosticStatus.ok("m"), DiagnosticStatus.warn(1, "m"),
                       DiagnosticStatus.error(2, "m"), DiagnosticStatus.fatal(3, "m")],
    "stop": lambda: [EmergencyStop.engage("r"), EmergencyStop.release()],
}.items():
    look(f"new {label}", lambda: [all_of(m) for m in call()])

pid, goal, force = PidConfig(1, 2, 3), NavGoal(1, 2, 3), ForceCommand(1, 2, 3)
status, stop = DiagnosticStatus.ok("m"), EmergencyStop.engage("why")
beat, safety = Heartbeat("n", 3), SafetyStatus()
pose, twist = PoseWithCovariance(), TwistWithCovariance()
pose.covariance = twist.covariance = list(range(36))
for label, call in {
    "limits": lambda: (all_of(pid.with_limits(4, 5)), all_of(pid)),
    "goal": lambda: (all_of(goal.with_timeout(5)), all_of(goal.with_priority(6)), all_of(goal)),
    "force": lambda: (all_of(force.with_timeout(5)), all_of(force)),
    "no surface": lambda: ForceCommand.surface_contact(5, Vector3()),
    "component": lambda: (all_of(status.with_component("c")), all_of(status)),
    "texts": lambda: (status.message_str(), status.component_str(), stop.reason_str()),
    "source": lambda: (all_of(stop.with_source("s")), stop.with_source("s") is stop),
    "beats": lambda: (after(beat, "update", 1.5), after(beat, "update", 2)),
    "fault": lambda: (after(safety, "set_fault", 5), safety.is_safe()),
    "no fault": lambda: (after(safety, "clear_faults"), safety.is_safe()),
    "variances": lambda: [pose.position_variance(), pose.orientation_variance(),
                          twist.linear_variance(), twist.angular_variance()],
    "elapsed": lambda: [Clock(10).elapsed_since(Clock(4)), Clock(4).elapsed_since(Clock(10))],
    "paused": lambda: [Clock(paused=True).is_paused(), Clock(paused=True, sim_speed=1.25)],
    "reference": lambda: [TimeReference(offset_ns=o).correct_timestamp(t) for o, t in (
        (5, 3), (-5, 2**64 - 1), (5, 100), (-(2**63), 0))],
    "equal": lambda: [
        TimeReference(1, "a") == TimeReference(1, "a"),
        TimeReference(1, "a") == TimeReference(1, "b"),
        TimeReference(1, timestamp_ns=1) == TimeReference(1),
        Pose3D(1) == Pose3D(1, timestamp_ns=2),
        Pose3D(qx=1) == Pose3D()],
    "accuracy": lambda: [NavSatFix().horizontal_accuracy(),
                         changed(NavSatFix(), hdop=1.5).horizontal_accuracy()],
    "bad pose": lambda: Pose3D.from_pose_2d(1),
    "bad distance": lambda: Pose3D().distance_to(Point3()),
    "bad fix": lambda: NavSatFix().distance_to(1),
    "bad goal": lambda: goal.is_reached(1),
    "bad wrench": lambda: WrenchStamped.force_only([1, 2, 3]),
    "bad filter": lambda: WrenchStamped().filter(1, 0.5),
    "bad reason": lambda: EmergencyStop.engage(1),
    "bad motor": lambda: MotorCommand.stop(-1),
}.items():
    look(label, call)
show(**found)
"""
    )
    assert len(both.agree()) > 250
