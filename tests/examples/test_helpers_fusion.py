"""The fusion of sensors goes on without the slow and the failing one, and brakes when it must."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
import trio

pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "sensor_fusion.py"


def test_three_of_five_sensors_are_enough_and_two_are_not(
    capsys: pytest.CaptureFixture[str],
) -> None:
    fusion = trio.run(runpy.run_path(str(EXAMPLE))["main"])
    assert len(fusion.fused) >= 5
    for wrong_by, gathered in fusion.fused:
        assert set(gathered.values) == {"lidar", "infrared", "radar"}
        assert abs(wrong_by) < 0.3
        assert isinstance(gathered.errors.get("camera", OSError()), OSError)
        assert "sonar" in gathered.missing
    assert fusion.brakes >= 2  # once the radar hangs
    said = capsys.readouterr().out
    assert said.count("brakes  ") == fusion.brakes
    assert "brakes   have answered: lidar, infrared; failed: camera; missing: sonar, radar" in said


def test_the_best_reading_counts_the_most() -> None:
    fuse = runpy.run_path(str(EXAMPLE))["fuse"]
    assert fuse([(1.0, 0.1), (2.0, 0.1)]) == pytest.approx(1.5)
    assert fuse([(1.0, 0.1), (2.0, 0.2)]) == pytest.approx(1.2)
