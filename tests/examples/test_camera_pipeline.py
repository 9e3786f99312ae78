"""The camera pipeline finds the spot where it is, and records all of it."""

from __future__ import annotations

import math
import runpy
from pathlib import Path

import pytest
import trio

cv2 = pytest.importorskip("cv2")

pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "camera_pipeline.py"


def test_it_finds_the_spot_and_records_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    recorder = trio.run(runpy.run_path(str(EXAMPLE))["main"])
    assert len(recorder.places) > 30
    assert list(recorder.places) == sorted(recorder.places)
    for number, (x, y) in recorder.places.items():
        angle = number % 60 / 60 * math.tau
        assert x == pytest.approx(160 + 100 * math.cos(angle), abs=4)
        assert y == pytest.approx(120 + 80 * math.sin(angle), abs=4)
    capture = cv2.VideoCapture(str(tmp_path / "spots.avi"))
    images = 0
    while capture.read()[0]:
        images += 1
    capture.release()
    assert images == len(recorder.places)
    said = capsys.readouterr().out
    assert "frames of (320, 240)" in said
    assert f"{images} spots filmed in spots.avi" in said
