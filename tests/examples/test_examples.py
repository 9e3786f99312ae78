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

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent
FOLDER = ROOT / "examples"
EXAMPLES = sorted(FOLDER.glob("*.py"))
FILES = sorted(FOLDER.rglob("*.py"))
"""All of them, also those that are started by others."""


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
    if example.stem != "scpi_instrument":  # a driver without a robot
        assert re.search(r"ran \d+\.\d\d s and ended", finished.stdout)


def id_of(file: Path) -> str:
    return str(file.relative_to(FOLDER).with_suffix(""))


@pytest.mark.parametrize("file", FILES, ids=id_of)
def test_it_is_short_and_says_what_it_shows_and_how_to_run_it(file: Path) -> None:
    text = file.read_text()
    assert len(text.splitlines()) <= 80
    assert text.startswith('"""')
    first = text.split('"""')[1]
    assert first.partition("\n")[0].endswith(".")
    if file.parent.name != "simulated":
        assert re.search(rf"(python|horus-trio run|pytest) {file.relative_to(ROOT)}\b", first)


def test_the_index_has_every_file_once_and_no_other() -> None:
    linked = re.findall(r"\]\((?!https?:|\.\.)([^)#]+)\)", (FOLDER / "README.md").read_text())
    assert sorted(linked) == sorted(str(file.relative_to(FOLDER)) for file in FILES)


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
