"""HORUS's topics and messages: a topic of a class carries that class, a message has its fields."""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from typing import Any, assert_type

from horus_trio.bridges.horus import CmdVel, Imu, JointState, LaserScan, Params, Pose2D, Rate, Topic
from horus_trio.bridges.horus.config import SchedulerConfig


def messages() -> None:
    command = CmdVel(0.1, angular=2, timestamp_ns=3)
    assert_type(command.linear, float)
    assert_type(command.timestamp_ns, int)
    assert_type(CmdVel.zero(), CmdVel)
    command.linear = 1
    assert_type(Imu(1, 2, 3, 4, 5, 6).orientation_covariance, list[float])
    assert_type(LaserScan(ranges=(1, 2)).ranges, list[float])
    assert_type(LaserScan().min_range(), float | None)
    assert_type(JointState(["a"], [1.0]).position("a"), float | None)
    assert_type(Pose2D(1, 2, 3).distance_to(Pose2D.origin()), float)

    CmdVel(1)  # type: ignore[call-arg]
    CmdVel(1, "fast")  # type: ignore[arg-type]
    CmdVel(1, 2, speed=3)  # type: ignore[call-arg]
    command.linear = "fast"  # type: ignore[assignment]
    command.speed = 1  # type: ignore[attr-defined]
    Pose2D(1, 2, 3).distance_to(command)  # type: ignore[arg-type]


def topics() -> None:
    typed = Topic(CmdVel, endpoint="cmd")
    assert_type(typed, Topic[CmdVel])
    assert_type(typed.recv(), CmdVel | None)
    assert_type(typed.send(CmdVel(1, 2)), bool)
    assert_type(Topic("scan", 16).recv(), Any | None)
    assert_type(typed.stats(), dict[str, Any])

    typed.send({"linear": 1})  # type: ignore[arg-type]
    typed.send_blocking(CmdVel(1, 2))  # type: ignore[call-arg]
    Topic(42)  # type: ignore[call-overload]


def others() -> None:
    assert_type(Params("a.yaml").keys(), list[str])
    assert_type(Rate(30).actual_hz(), float)
    assert_type(SchedulerConfig().rate(50).cpu_cores, list[int] | None)
    Rate("30")  # type: ignore[arg-type]
