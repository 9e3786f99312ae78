"""Tests on virtual time: a second of the robot's time takes milliseconds."""

from horus_trio.testing import open_harness

from .robot import Drive, Sonar


async def test_it_stops_before_the_wall() -> None:
    async with open_harness(Drive()) as robot:
        robot.publish("distance", 3.0)
        await robot.advance(0.1)
        assert robot.sent("speed")[-1] == 1.0
        robot.publish("distance", 0.9)
        await robot.advance(0.1)
        assert robot.sent("speed")[-1] == 0.0


async def test_it_stops_when_the_sonar_hangs() -> None:
    async with open_harness(Sonar(), Drive()) as robot:
        await robot.advance(1.0)
        assert robot.sent("speed")[-1] == 1.0
        robot.hang("tick", node="sonar")
        await robot.advance(1.0)
        assert robot.sent("speed")[-1] == 0.0
