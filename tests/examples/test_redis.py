"""The example with Redis does what it shows."""

from __future__ import annotations

import runpy
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


@pytest.mark.slow
def test_the_robot_logs_what_it_does_and_obeys(
    require: Callable[[str, bool, str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    present = shutil.which("redis-server") is not None
    require("redis-server", present, "apt install redis-server")
    entries = trio.run(runpy.run_path(str(EXAMPLES / "redis_telemetry.py"))["main"], "")
    places = [float(entry["place"]) for entry in entries]
    speeds = [float(entry["speed"]) for entry in entries]
    assert places == sorted(places)
    assert places[-1] > 0.3
    assert list(dict.fromkeys(speeds)) in ([0.5, 2.0, 0.0], [0.0, 0.5, 2.0])
    assert speeds[-1] == 0.0
    assert len({entry.id for entry in entries}) == len(entries)
    said = capsys.readouterr().out
    assert said.count(" m/s at ") == 3
    assert f"{len(entries)} entries read" in said


def test_without_a_server_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    with pytest.raises(SystemExit, match="apt install redis-server"):
        trio.run(runpy.run_path(str(EXAMPLES / "redis_telemetry.py"))["main"], "")
