"""The same with pytest: the plugin gives a harness to each test."""

import subprocess
import sys

import pytest

import horus_trio as horus
from horus_trio.testing import HarnessError, Openings


class Brake(horus.AsyncNode):
    async def tick_async(self) -> None:
        if self.age("distance") > 0.5:  # nothing heard: stop
            self.send("brake", True)


@pytest.mark.trio
async def test_brakes_when_the_sensor_falls_silent(node_harness: Openings) -> None:
    h = await node_harness(Brake(rate=10))
    h.publish("distance", 3.0)
    await h.advance(0.5)
    assert h.sent("brake") == []
    await h.advance(0.5)
    assert h.messages("brake")[0].time == 0.6


@pytest.mark.trio
async def test_a_stopped_robot_does_not_tick(node_harness: Openings) -> None:
    h = await node_harness(Brake())
    await h.stop()
    with pytest.raises(HarnessError):
        await h.tick()


if __name__ == "__main__":
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    print(subprocess.run(command, capture_output=True, text=True, check=True).stdout, end="")
