"""What README.md says is true: its example runs, its links lead somewhere, its commands exist."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trio
from test_docs import shape

import horus_trio as horus

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


class StubCamera:
    def __init__(self) -> None:
        self.frames = 0

    def read(self) -> int:
        self.frames += 1
        return self.frames


def test_the_ten_lines_run() -> None:
    program, _, _ = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    definitions, _, last = program.rpartition("horus.run(")
    camera = StubCamera()
    seen: list[int | None] = []

    def steer(frame: int | None) -> str:
        seen.append(frame)
        return "straight on"

    names: dict[str, Any] = {"open_camera": lambda: camera, "steer": steer}
    exec(definitions, names)  # noqa: S102 - the text of our own README
    report: horus.RunReport = eval(  # noqa: S307
        "horus.run(" + last.replace("duration=10", "duration=0.5"), names
    )
    assert report.ok
    # 15 and 50 are what the rates make of half a second; a loaded machine may miss many, and what
    # is promised of rates is tested elsewhere.
    assert 3 <= camera.frames <= 15
    assert 10 <= len(seen) <= 50
    assert max(frame or 0 for frame in seen) >= 2


def test_the_devices_are_nodes() -> None:
    _, program, _ = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    nodes: list[horus.Node] = []

    class Horus:
        @staticmethod
        def run(*given: horus.Node) -> None:
            nodes.extend(given)

    exec(program, {"horus": Horus})  # noqa: S102 - the text of our own README
    assert [node.name for node in nodes] == ["camera", "broker"]


def test_the_test_runs() -> None:
    class Control(horus.AsyncNode):
        ticks = 0

        async def tick_async(self) -> None:
            Control.ticks += 1
            if self.latest("distance", math.inf) < 5:
                self.send("brake", True)

    _, _, program = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    names: dict[str, Any] = {"Control": Control}
    exec(program, names)  # noqa: S102 - the text of our own README
    trio.run(names["test_brakes_in_time"])
    assert 230 <= Control.ticks < 250  # but for the third, and those of its restart


@pytest.mark.slow
def test_the_demo_ends_like_this(tmp_path: Path) -> None:
    (said,) = re.findall(r"It ends like this.*?```\n(.*?)```", TEXT, re.DOTALL)
    missing = ["it has not run"]
    for _ in range(3):  # it runs in real time, and machines pause
        finished = subprocess.run(
            [sys.executable, "-m", "horus_trio.cli", "demo"],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        shown = iter(shape(finished.stdout))
        missing = [line for line in shape(said) if line not in shown]  # in this order
        if not missing:
            break
    assert missing == []


def test_each_command_is_one_line() -> None:
    commands = re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)
    assert len(commands) == 2
    assert all(command.count("\n") == 1 for command in commands)
    assert [command.split()[-2:] for command in commands] == [
        [".venv/bin/horus-trio", "demo"],
        ["&&", ".venv/bin/nox"],
    ]
