"""The example that polls a web API stays within its limit, and writes what it has been told."""

from __future__ import annotations

import csv
import runpy
from pathlib import Path

import pytest
import trio

pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "api_poller.py"


def test_the_api_poller_uses_its_limit_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path("readings.csv")
    example = runpy.run_path(str(EXAMPLE))
    server = trio.run(example["main"], 3.0)
    assert 110 <= server.requests <= 200  # 160, less what a slow machine misses
    assert server.too_many == 0
    with path.open(newline="") as lines:
        rows = list(csv.reader(lines))
    assert len(rows) >= 60
    assert {row[0] for row in rows} == set(example["STATIONS"])
    for station in example["STATIONS"]:
        numbers = [int(row[1]) for row in rows if row[0] == station]
        assert numbers == sorted(set(numbers))
        assert len(numbers) <= server.numbers[station]
    said = capsys.readouterr().out
    assert f"{len(rows)} readings written, in " in said
    assert "; 0 lost" in said
    assert "0 were too many" in said
    assert not path.with_suffix(".dead").exists()
