"""The camera pipeline finds the spot where it is, and records all of it."""

from __future__ import annotations

import csv
import math
import runpy
from pathlib import Path

import pytest
import trio

cv2 = pytest.importorskip("cv2")

pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "camera_pipeline.py"


def test_it_finds_the_spot_and_records_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder = trio.run(runpy.run_path(str(EXAMPLE))["main"], None, tmp_path)
    with (tmp_path / "spots.csv").open() as table:
        rows = list(csv.DictReader(table))
    assert len(rows) == recorder.recorded > 30
    numbers = [int(row["frame"]) for row in rows]
    assert numbers == sorted(set(numbers))
    for row in rows:
        angle = int(row["frame"]) % 60 / 60 * 2 * math.pi
        assert int(row["x"]) == pytest.approx(160 + 100 * math.cos(angle), abs=4)
        assert int(row["y"]) == pytest.approx(120 + 80 * math.sin(angle), abs=4)
        assert float(row["brightness"]) > 150
    capture = cv2.VideoCapture(str(tmp_path / "spots.avi"))
    images = 0
    while capture.read()[0]:
        images += 1
    capture.release()
    assert images == len(rows)
    said = capsys.readouterr().out
    assert "frames of (320, 240)" in said
    assert f"{images} spots recorded in spots.avi and spots.csv" in said
