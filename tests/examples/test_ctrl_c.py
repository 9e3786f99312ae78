"""Ctrl-C ends every example at once, with its report, whatever it and its companions wait for."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = [
    path
    for path in sorted((ROOT / "examples").glob("*.py"))
    if path.stem != "scpi_instrument"  # it is not a robot, and ends at once
]

FOR_EVER = """
import os, runpy, signal, sys, threading
import trio
import horus_trio

examples = os.path.dirname(sys.argv[1])
sys.path[0] = examples
sys.argv = sys.argv[1:]
run, sleep = horus_trio.Scheduler.run, trio.sleep


def press_ctrl_c():
    os.killpg(os.getpgrp(), signal.SIGINT)


def run_for_ever(scheduler, duration=None, **keywords):
    pressed = threading.Timer(0.2, press_ctrl_c)
    scheduler.on_result(lambda result: pressed.ident or pressed.start())
    return run(scheduler, **keywords)


def sleep_for_ever(seconds):
    ours = sys._getframe(1).f_code.co_filename.startswith(examples) and seconds > 0.09
    return trio.sleep_forever() if ours else sleep(seconds)


horus_trio.Scheduler.run, trio.sleep = run_for_ever, sleep_for_ever
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""Runs an example that never ends by itself, in whatever it does, and presses Ctrl-C.

That goes to the whole group of processes, as on a terminal, soon after the first tick.
"""


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: str(path.stem))
def test_it_ends(example: Path, tmp_path: Path, require: Callable[[str, bool, str], None]) -> None:
    if example.stem == "horus_bridge":
        present = importlib.util.find_spec("horus") is not None
        require("horus-robotics", present, "pip install 'horus-trio[horus]', on Linux on x86-64")
    finished = subprocess.run(
        [sys.executable, "-W", "error", "-c", FOR_EVER, str(example)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        start_new_session=True,
    )
    assert finished.returncode == 0, finished.stderr
    assert "ended: SIGINT" in finished.stdout
    assert "KeyboardInterrupt" not in finished.stderr
