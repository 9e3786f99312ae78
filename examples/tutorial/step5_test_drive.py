"""Step 5 of the tutorial: the nodes of step 2 are tested, on virtual time.

Run it with `python examples/tutorial/step5_test_drive.py`, or with pytest. A
minute of driving takes a moment, and what the sonar does is up to the test.
"""

import subprocess
import sys

import pytest
from step2_a_hung_reading import Drive, Sonar

from horus_trio.testing import Openings


@pytest.mark.trio
async def test_it_is_slow_near_the_wall(node_harness: Openings) -> None:
    h = await node_harness(Drive("drive"))
    for metres in (3.0, 0.6, 0.2):
        h.publish("distance", metres)
        await h.tick()
    assert h.sent("speed") == [0.5, 0.3, 0.1]


@pytest.mark.trio
async def test_it_stops_when_the_sonar_falls_silent(node_harness: Openings) -> None:
    h = await node_harness(Drive("drive"))
    h.publish("distance", 2.0)
    await h.advance(60)
    speeds = h.messages("speed")
    assert len(speeds) == 6000
    assert {message.data for message in speeds if message.time <= 0.4} == {0.5}
    assert {message.data for message in speeds if message.time > 0.4} == {0.0}


@pytest.mark.trio
async def test_a_reading_that_hangs_is_given_up(node_harness: Openings) -> None:
    h = await node_harness(Sonar("sonar"), Drive("drive"))
    h.hang("tick", at=3, node="sonar")
    await h.advance(10)
    assert h.node_statistics("sonar").abandoned == 1


if __name__ == "__main__":
    command = [sys.executable, "-m", "pytest", "-q", __file__]
    sys.exit(subprocess.run(command, check=False).returncode)
