"""Time is torn away: the process is stopped for a while, and the wall clock is set."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from environment.robot import at_best, ended, run, started

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="needs signals"),
]

# Stopped, as by a debugger, a full system log or a laptop's lid

STOPPED = """
def works(node):
    if node.current_tick.seq == 1:
        print("ready", flush=True)
    for _ in range(8):
        time.sleep(0.1)


async def waits(node):
    for _ in range(8):
        await trio.sleep(0.1)


robot(
    horus.Node("works", tick=works, rate=1, phase=0.5, tick_timeout=30),
    horus.Node("waits", tick=waits, rate=1, phase=0.5, tick_timeout=30),
    duration=5,
)
"""


def test_a_stopped_process_goes_on_where_the_grid_is(tmp_path: Path) -> None:
    with started(STOPPED, tmp_path / "run") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        time.sleep(0.3)
        process.send_signal(signal.SIGSTOP)
        time.sleep(2)
        process.send_signal(signal.SIGCONT)
        told = ended(process, tmp_path / "run")
    assert told.code == 0
    assert told.report["reason"] == "its duration of 5 s was over"
    beat = told.nodes["beat"]
    assert beat["ticks_released"] == 500  # not one more to make up for the others
    assert beat["missed"] >= 195
    assert beat["ok"] <= 305
    for name in ("works", "waits"):  # they were in a tick, which goes on
        node = told.nodes[name]
        assert (node["abandoned"], node["timed_out"], node["errors"]) == (0, 0, 0)
    assert told.report["hook_errors"] == []
    assert "the process stood still for 2" in told.stderr
    told.require_nothing_lost()
    told.require_accounted()


# The wall clock is set: an hour on, and two hours back

STEPPED = """
import ctypes

offset = ctypes.c_long.in_dll(ctypes.CDLL(None), "wall_clock_offset")
seen, ages = [], []


async def steps(node):
    offset.value = {1: 0, 2: 3600, 3: -3600}[min(node.current_tick.seq, 3)]
    seen.append(time.time() - time.monotonic())


async def sends(node):
    node.send("pose", node.current_tick.seq)


async def reads(node):
    ages.append(node.age("pose"))
    if node.latest("pose", max_age=1.0) is None:
        raise ValueError(f"stale: {node.age('pose')}")


async def waits(node):
    await trio.sleep(0.05)


def works(node):
    time.sleep(0.05)


async def fails(node):
    raise ValueError("again")


def stale(topic):
    raise ValueError("stale")


pose = horus.Sub("pose", max_age=1.0, on_stale=stale)
always = horus.Restart(within=None, backoff=0.2, max_backoff=0.2, jitter=0)
robot(
    horus.Node("steps", tick=steps, rate=1, phase=0.5),
    horus.Node("sends", tick=sends, rate=10, phase=0),
    horus.Node("reads", tick=reads, rate=50, phase=0.01, subs=[pose]),
    horus.Node("waits", tick=waits, rate=10, tick_timeout=1.0),
    horus.Node("works", tick=works, rate=10, tick_timeout=1.0),
    horus.Node("fails", tick=fails, rate=50, failure_policy=always),
)
print(*seen, max(ages))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs the dynamic linker of Linux")
def test_a_step_of_the_wall_clock_is_not_felt(
    tmp_path: Path, require: Callable[[str, bool, str], None]
) -> None:
    compiler = shutil.which("cc")
    require("a C compiler", compiler is not None, "apt-get install gcc libc6-dev")
    library = tmp_path / "wall_clock.so"
    source = Path(__file__).with_name("wall_clock.c")
    subprocess.run(
        [compiler or "cc", "-shared", "-fPIC", "-Wall", "-Werror", "-o", library, source],
        check=True,
    )
    told = at_best(lambda folder: run(STEPPED, folder, env={"LD_PRELOAD": str(library)}), tmp_path)
    assert told.code == 0, told.stderr
    first, second, third, oldest = map(float, told.stdout.split())
    assert second - first == pytest.approx(3600, abs=5)  # the steps were seen
    assert third - second == pytest.approx(-7200, abs=5)
    assert 0 <= oldest < 1.0
    assert told.report["duration"] == pytest.approx(3, abs=0.5)
    for name in ("steps", "reads", "waits", "works"):
        node = told.nodes[name]
        assert (node["errors"], node["timed_out"], node["abandoned"]) == (0, 0, 0)
        assert node["observer_errors"] == 0
        assert node["ok"] >= 0.9 * node["ticks_released"]
    assert 5 <= told.nodes["fails"]["restarts"] <= 15  # every 0.2 s and its period
    told.require_nothing_lost()
    told.require_accounted()
