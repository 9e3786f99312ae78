"""The common messages, on HORUS's own package and on the facade."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from bridges.differential import Both

pytestmark = pytest.mark.slow  # two processes for each program

LOOK = """
import horus, math, random
from horus import *


nan, inf = math.nan, math.inf
NOW = 1_700_000_000 * 10**9

def timeless(text):
    "Instants are told apart from other numbers by their size."
    import re
    return re.sub(r"[0-9]{19}", "NOW", text)

def seen(function, *args, **keywords):
    try:
        return timeless(repr(function(*args, **keywords)))
    except OSError:
        return "OSError"
    except Exception as error:
        return next(c.__name__ for c in type(error).__mro__ if c.__module__ == "builtins")

found = {}

def look(label, function, *args, **keywords):
    assert label not in found, label
    found[label] = seen(function, *args, **keywords)

def fields(message, names):
    return [getattr(message, name) for name in names.split()]

def change(message, name, value):
    setattr(message, name, value)
    return getattr(message, name), message
"""

FIELDS = """
FIELDS = {
    "CmdVel": "linear angular timestamp_ns",
    "Imu": "accel_x accel_y accel_z gyro_x gyro_y gyro_z qx qy qz qw timestamp_ns "
    "orientation_covariance angular_velocity_covariance linear_acceleration_covariance",
    "Pose2D": "x y theta timestamp_ns",
    "Twist": "linear_x linear_y linear_z angular_x angular_y angular_z timestamp_ns",
    "Vector3": "x y z",
    "Point3": "x y z",
    "Quaternion": "x y z w",
    "LaserScan": "angle_min angle_max angle_increment range_min range_max ranges timestamp_ns",
    "JointState": "names positions velocities efforts timestamp_ns",
    "Odometry": "x y theta linear_velocity angular_velocity timestamp_ns",
}
NUMBERS = [0.1, 2, -3.25, 4.0005, 5e-9, 6, 7]
"""


def test_they_are_made_shown_and_changed_alike(on_both: Callable[[str], Both]) -> None:
    both = on_both(
        LOOK
        + FIELDS
        + """
for name, listed in FIELDS.items():
    cls = getattr(horus, name)
    look(f"{name} topic", getattr, cls, "__topic_name__", None)
    look(f"{name} names", lambda: (cls.__name__, cls.__qualname__))
    numeric = [n for n in listed.split() if n not in (
        "qx", "qy", "qz", "qw", "ranges", "names", "positions", "velocities", "efforts",
    ) and "covariance" not in n]
    if name == "Quaternion":
        numeric = listed.split()
    for count in range(len(numeric) + 3):
        given = NUMBERS[:count]
        if count == len(numeric) and numeric[-1] == "timestamp_ns":
            given[-1] = 12
        if name != "JointState" and not (name == "LaserScan" and count > 5):
            look(f"{name} {count} by place", lambda: fields(cls(*given), listed))
            look(f"{name} {count} shown", lambda: (repr(cls(*given)), str(cls(*given))))
            look(f"{name} {count} by name", lambda: cls(**dict(zip(numeric, given))))
    made = dict(zip(numeric, NUMBERS), timestamp_ns=9) if "timestamp_ns" in listed else (
        dict(zip(numeric, NUMBERS)))
    look(f"{name} unknown argument", lambda: cls(**made, unknown=1))
    look(f"{name} twice", lambda: cls(1, **made))
    for attribute in listed.split():
        for value in (0.1, 7, -1, True, 2**64, 1e300, nan, -inf, "x", None, b"x", [1.0], [1] * 9,
                      (0.1,) * 9, range(9), [], ["x"] * 9, [0.5] * 400, 10**400):
            look(f"{name}.{attribute} = {value!r:.40} {type(value)}",
                 lambda: change(cls(**made), attribute, value))
        look(f"del {name}.{attribute}", lambda: delattr(cls(**made), attribute))
    look(f"{name}.unknown", lambda: setattr(cls(**made), "unknown", 1))
    look(f"{name} unknown", lambda: cls(**made).unknown)
    look(f"{name} equal", lambda: [
        cls(**made) == cls(**made), cls(**made) != cls(**made), cls(**made) == 1,
        cls(**made) == cls(**{**made, numeric[0]: 5}), cls(**made) == None,
        cls(**made) in [cls(**made)],
    ])
    if "timestamp_ns" in made:
        later = {**made, "timestamp_ns": 1}
        look(f"{name} equal at another time", lambda: cls(**made) == cls(**later))
    if numeric[0] != "timestamp_ns":
        look(f"{name} nan", lambda: (
            cls(**{**made, numeric[0]: nan}) == cls(**{**made, numeric[0]: nan}),
            cls(**{**made, numeric[0]: nan}),
        ))
    look(f"{name} ordered", lambda: cls(**made) < cls(**made))
    look(f"{name} hashable", lambda: hash(cls(**made)) is not None)
    look(f"{name} true", lambda: bool(cls(**made)))
    look(f"{name} length", lambda: len(cls(**made)))
    look(f"{name} item", lambda: cls(**made)[0])
    look(f"{name} items", lambda: list(cls(**made)))

look("positions cannot be changed in place", lambda: JointState(["a"], [1]).positions.append(1))
show(**found)
"""
    )
    found = both.agree()
    assert len(found) > 1000
    assert found["CmdVel 2 by place"] == "[0.10000000149011612, 2.0, 0]"  # 32 bits
    assert found["CmdVel 1 by place"] == "TypeError"
    assert found["Odometry hashable"] == "True"


def test_their_methods_give_the_same(on_both: Callable[[str], Both]) -> None:
    both = on_both(
        LOOK
        + """
random.seed(7)
TRIALS = [[random.uniform(-9, 9) for _ in range(8)] for _ in range(40)]
TRIALS += [[0.0] * 8, [-0.0] * 8, [1e-13] * 8, [1e200] * 8, [nan] * 8, [inf] * 8, [math.pi] * 8,
           [-math.pi] * 8, [3 * math.pi] * 8, [-3 * math.pi] * 8, [1.0, 0, 0, 0, 0, 0, 0, 0]]

def done(message, method):
    return getattr(message, method)(), message, [getattr(message, n) for n in dir(message)
        if not n.startswith("_") and type(getattr(message, n)) is float]

for number, (a, b, c, d, e, f, g, h) in enumerate(TRIALS):
    v, w, p, q = Vector3(a, b, c), Vector3(d, e, f), Point3(a, b, c), Point3(d, e, f)
    exactly = lambda v: (v.x, v.y, v.z)
    look(f"{number} magnitude", v.magnitude)
    look(f"{number} normalized", lambda: exactly(v.normalized()))
    look(f"{number} dot", v.dot, w)
    look(f"{number} cross", lambda: exactly(v.cross(w)))
    look(f"{number} normalize", lambda: (v.normalize(), exactly(v)))
    look(f"{number} distance", p.distance_to, q)
    look(f"{number} from_euler", lambda: done(Quaternion.from_euler(a, b, c), "is_valid"))
    look(f"{number} quaternion", lambda: done(Quaternion(a, b, c, d), "normalize"))
    look(f"{number} pose distance", Pose2D(a, b, c).distance_to, Pose2D(d, e, f))
    if abs(c) < 1e100 or c != c:  # HORUS would turn it by one turn after the other
        look(f"{number} normalize_angle", lambda: done(Pose2D(a, b, c), "normalize_angle"))
    for index in range(8):
        values = [1.0] * 8
        values[index] = a
        look(f"{number} {index} valid", lambda: [
            Pose2D(*values[:3]).is_valid(), Twist(*values[:6]).is_valid(),
            Quaternion(*values[:4]).is_valid(), Odometry(*values[:5]).is_valid(),
            Imu(*values[:6]).is_valid(),
        ])
    imu = Imu(a, b, c, d, e, f)
    look(f"{number} set_orientation", imu.set_orientation_from_euler, g, h, a)
    look(f"{number} orientation", done, imu, "is_valid")
    imu.orientation_covariance = [a] * 9
    look(f"{number} imu", lambda: [
        imu.has_orientation(), exactly(imu.angular_velocity_vec()),
        exactly(imu.linear_acceleration_vec()), imu.orientation_quat(),
    ])
    odometry = Odometry(a, b)
    look(f"{number} update", odometry.update, Pose2D(a, b, c, 5), Twist(d, e, f, g, h, a, 6))
    look(f"{number} updated", done, odometry, "is_valid")
    scan = LaserScan(a, b, c, min(abs(d), 1), 5, [abs(x) for x in (a, b, c, d, e, f, g, h)])
    look(f"{number} scan", lambda: [
        len(scan), scan.min_range(), scan, [scan.is_range_valid(i) for i in (0, 1, 5, 8, 359, 360)],
        [scan.angle_at(i) for i in (0, 1, 7, 359, 360, 10**9)], scan.ranges[:9], len(scan.ranges),
    ])

look("new", lambda: [CmdVel.zero(), Pose2D.origin(), Twist.stop(), Twist.new_2d(), Vector3.zero(),
                     Twist.new_2d(1, 2), Twist.new_2d(angular_z=3), Point3.origin(),
                     Quaternion.identity(), Quaternion.from_euler(), Quaternion.from_euler(yaw=1)])
look("from an instance", lambda: [CmdVel(1, 2).zero(), Twist(1).stop()])
for label, call in {
    "dot": lambda: Vector3().dot(Point3()),
    "cross": lambda: Vector3().cross(1),
    "distance": lambda: Point3().distance_to(Vector3()),
    "pose": lambda: Pose2D.origin().distance_to(None),
    "update pose": lambda: Odometry().update(1, Twist()),
    "update twist": lambda: Odometry().update(Pose2D(1, 2, 3), 1),
    "frames": lambda: Odometry().set_frames(1, "a"),
    "frames fine": lambda: Odometry().set_frames("a", "b"),
    "angle": lambda: LaserScan().angle_at(-1),
    "range": lambda: LaserScan().is_range_valid(1.5),
    "orientation": lambda: Imu(1, 2, 3, 4, 5, 6).set_orientation_from_euler("a", 1, 2),
    "euler": lambda: Quaternion.from_euler("a"),
    "joint": lambda: JointState().position(1),
}.items():
    look(f"bad {label}", call)

for label, ranges in {"none": None, "empty": [], "more": [1.0] * 400, "tuple": (1, 2), "str": "ab",
                      "range": range(4), "strs": ["a"], "number": 5, "iterator": iter([1])}.items():
    def made(label=label, ranges=ranges):
        scan = LaserScan(range_max=9, range_min=0.5, ranges=ranges)
        return len(scan), scan.ranges[:5], len(scan.ranges), scan.min_range()
    look(f"ranges {label}", made)

for label, given in {
    "all": (["a", "b"], [0.1, 1], [1, 2], (3, 4), 5),
    "short": (["a", "b"], [0.1]),
    "long": (["a"], [1, 2, 3]),
    "no names": (None, [1, 2]),
    "twice": (["a", "a"], [1, 2]),
    "numbers": ([1],),
    "text": ("ab",),
    "texts": (["a"], ["b"]),
    "empty name": ([""], None, None, [7]),
}.items():
    look(f"joints {label}", lambda: (lambda j: [
        j, j.names, j.positions, j.velocities, j.efforts, len(j), j.timestamp_ns, j.position("a"),
        j.velocity("b"), j.effort(""), bool(j),
    ])(JointState(*given)))
show(**found)
"""
    )
    found = both.agree()
    assert len(found) > 1000
