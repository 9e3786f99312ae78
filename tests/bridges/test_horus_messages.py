"""Messages of the HORUS facade, where they are not compared with the originals."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import math
import pickle
from typing import Any

import pytest

from horus_trio.bridges import horus
from horus_trio.bridges.horus import outside
from horus_trio.bridges.horus.errors import OutOfScope
from horus_trio.bridges.horus.messages import (
    MESSAGES,
    CmdVel,
    DiagnosticStatus,
    Imu,
    JointState,
    LaserScan,
    Message,
    MotorCommand,
    NavGoal,
    PidConfig,
    Pose2D,
    PoseStamped,
    PoseWithCovariance,
    copied,
)
from horus_trio.bridges.horus.topic import Topic

COMMON = {
    "CmdVel",
    "Imu",
    "JointState",
    "LaserScan",
    "Odometry",
    "Point3",
    "Pose2D",
    "Quaternion",
    "Twist",
    "Vector3",
}

_numbers = itertools.count()


def content(message: Message) -> dict[str, Any]:
    return {f.name: getattr(message, f.name) for f in dataclasses.fields(message)}  # type: ignore[arg-type]


def some(cls: type[Message]) -> Message:
    """A message whose fields are not the defaults."""
    if issubclass(cls, JointState):
        return JointState(["a", "b"], [0.1, 0.2], [1], [2, 3], 4)
    if issubclass(cls, LaserScan):
        return LaserScan(-1, 1, 0.1, 0.2, 9, [1, 2, 3], 4)
    required = {"CmdVel": 2, "Pose2D": 3, "Imu": 6}.get(cls.__name__, 0)
    made = cls(*[0.5] * required)
    for number, (name, value) in enumerate(content(made).items(), 1):
        new: Any = {bool: not value, int: number, float: number / 8, str: f"text {number}"}.get(
            type(value), [number / 8] * len(value) if isinstance(value, list) else None
        )
        if name not in cls._fixed:
            setattr(made, name, new)
    return made


@pytest.fixture(params=sorted(MESSAGES))
def cls(request: pytest.FixtureRequest) -> type[Message]:
    return MESSAGES[request.param]


def test_the_common_ones_are_there() -> None:
    assert MESSAGES.keys() >= COMMON
    assert len(MESSAGES) > 35


def test_each_is_a_dataclass_that_can_be_copied(cls: type[Message]) -> None:
    message = some(cls)
    assert dataclasses.is_dataclass(message)
    assert cls.__doc__
    for make in (copied, copy.copy, copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))):
        other = make(message)
        assert type(other) is cls
        assert content(other) == content(message)
        assert repr(other) == repr(message)
        assert other is not message


def test_each_travels_through_a_topic_of_its_own(cls: type[Message]) -> None:
    name = f"test.message{next(_numbers)}"
    topic = Topic(cls, endpoint=name)
    message = some(cls)
    topic.send(message)
    received = topic.recv()
    assert received is not None
    assert received is not message
    assert content(received) == content(message)
    del topic
    plain = Topic(name)
    plain.send(message)
    assert plain.recv() == content(message)


def test_what_a_message_gives_is_the_callers_own(cls: type[Message]) -> None:
    message = some(cls)
    before = repr(content(message))
    for value in content(message).values():
        if isinstance(value, list):
            value.clear()
    assert repr(content(message)) == before


def test_a_field_that_cannot_be_kept_changes_nothing(cls: type[Message]) -> None:
    message = some(cls)
    before = repr(content(message))
    for name in content(message):
        with pytest.raises((TypeError, AttributeError)):
            setattr(message, name, object())
        with pytest.raises(AttributeError):
            delattr(message, name)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        message.nonsense = 1  # type: ignore[attr-defined]
    assert repr(content(message)) == before


# Where they are meant to differ


def test_texts_and_joints_are_not_cut() -> None:
    names = [f"joint {n}" for n in range(20)] + ["é" * 40]
    state = JointState(names, range(21))
    assert (len(state), state.names, state.positions[20]) == (21, names, 20.0)
    assert PoseStamped(frame_id="x" * 100).frame_id == "x" * 100


@pytest.mark.parametrize("theta", [1e9, -1e9, 1e300, math.pi * 5, math.inf, -math.inf])
def test_any_angle_is_turned_at_once(theta: float) -> None:
    pose = Pose2D(0, 0, theta)
    pose.normalize_angle()
    if math.isinf(theta):
        assert pose.theta == theta
    else:
        assert abs(pose.theta) <= math.pi or abs(theta) > 1e15  # there, no turn is told apart


def test_a_goal_is_not_reached_by_being_far_beyond_a_turn() -> None:
    goal = NavGoal(0, 0, 0.0, angle_tolerance=0.1)
    assert goal.is_orientation_reached(Pose2D(0, 0, 4 * math.pi + 0.05))
    assert not goal.is_orientation_reached(Pose2D(0, 0, 3 * math.pi))


def test_covariances_are_whole() -> None:
    pose = PoseWithCovariance()
    with pytest.raises(ValueError, match="covariance must have exactly 36 elements, got 35"):
        pose.covariance = [0.0] * 35
    with pytest.raises(ValueError, match="orientation_covariance must have exactly 9"):
        Imu(1, 2, 3, 4, 5, 6).orientation_covariance = [1.0]


def test_infinite_limits_are_valid() -> None:
    assert MotorCommand.velocity(1, 2.0).is_valid()
    assert PidConfig().is_valid()
    assert not MotorCommand(max_velocity=math.nan).is_valid()
    assert not PidConfig(output_limit=math.nan).is_valid()


def test_an_unknown_level_is_not_fine() -> None:
    status = DiagnosticStatus(7, message="nan")
    assert (status.level, repr(status)) == (
        7,
        "DiagnosticStatus(level=?, code=0, msg='nan', component='')",
    )


def test_they_may_be_derived_from() -> None:
    class Marked(CmdVel):
        """A message of one's own that a topic of the original carries."""

    topic = Topic(CmdVel, endpoint=f"test.message{next(_numbers)}")
    topic.send(Marked(1, 2))
    assert type(topic.recv()) is Marked


# What is not here


@pytest.mark.parametrize("name", sorted(outside.OUTSIDE))
def test_what_is_not_here_says_so_when_it_is_used(name: str) -> None:
    assert name not in MESSAGES
    assert name not in horus.__all__
    found = getattr(outside, name)
    assert found is getattr(outside, name)
    for use in (lambda: found(1, 2), lambda: found.something, lambda: Topic(found)):
        with pytest.raises(OutOfScope, match=rf"horus\.{name} is not part of horus_trio: \w+"):
            use()


def test_all_messages_are_names_of_the_facade() -> None:
    assert MESSAGES.keys() <= set(horus.__all__)
    for name, cls in MESSAGES.items():
        assert getattr(horus, name) is cls
