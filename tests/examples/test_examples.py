"""Every example runs as it is, and HORUS's sketches do what their comments say."""

from __future__ import annotations

import importlib.util
import os
import re
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

import horus_trio as horus

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("untraced_children")]

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
SKETCHES = [path for path in EXAMPLES if path.name.startswith("horus_")]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: str(path.stem))
def test_it_runs(example: Path, tmp_path: Path, require: Callable[[str, bool, str], None]) -> None:
    if example.stem == "horus_bridge":
        present = importlib.util.find_spec("horus") is not None
        require("horus-robotics", present, "pip install 'horus-trio[horus]', on Linux on x86-64")
    finished = subprocess.run(
        [sys.executable, "-W", "error", str(example)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert re.search(r"ran \d\.\d\d s and ended", finished.stdout)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: str(path.stem))
def test_it_says_what_it_shows_and_how_to_run_it(example: Path) -> None:
    text = example.read_text()
    first = text.split('"""')[1]
    assert f"python examples/{example.name}" in first
    assert f"]({example.name})" in (example.parent / "README.md").read_text()


@pytest.mark.parametrize("sketch", SKETCHES, ids=lambda path: str(path.stem))
def test_a_sketch_is_short(sketch: Path) -> None:
    assert len(sketch.read_text().splitlines()) <= 80


def test_the_threaded_sketch_sends_its_frames() -> None:
    program = runpy.run_path(str(ROOT / "examples" / "horus_threaded.py"))
    scheduler: horus.Scheduler = program["scheduler"]
    frames = scheduler.topic("camera_out").subscribe()
    report = scheduler.run()
    assert report.reason == "20 frames were seen"
    assert frames.drain()[:20] == [f"frame {number}" for number in range(1, 21)]


def test_the_async_sketch_sends_its_frames() -> None:
    program = runpy.run_path(str(ROOT / "examples" / "horus_async.py"))
    scheduler: horus.AsyncScheduler = program["async_scheduler"]
    frames = scheduler.topic("camera_out").subscribe()
    trio.run(program["main"])
    assert scheduler.report is not None
    assert scheduler.report.reason == "20 frames were seen"
    assert frames.drain()[:20] == [f"frame {number}" for number in range(1, 21)]


def test_what_the_thread_pool_sketch_returns_is_the_value_of_its_results() -> None:
    program = runpy.run_path(str(ROOT / "examples" / "horus_thread_pool.py"))
    scheduler: horus.Scheduler = program["scheduler"]
    results: list[horus.AsyncResult] = []
    scheduler.on_result(results.append)
    report = scheduler.run(duration=0.35)
    assert report.reason == "its duration of 0.35 s was over"
    ended = [result for result in results if result.status is horus.TickStatus.OK]
    assert [result.value for result in ended[:3]] == ["frame 1", "frame 2", "frame 3"]
    assert all(result.outcome.unwrap() == result.value for result in ended)
