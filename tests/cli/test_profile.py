"""End to end: ``horus-trio run --profile``, its table, its JSON and its trace."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from command_line import ROBOT, Screen, finished, started, write_program

pytestmark = pytest.mark.slow


def slices(trace: Path) -> list[str]:
    """Names of the slices in a trace, each once, without the ticks' numbers."""
    events: list[dict[str, Any]] = json.loads(trace.read_text())["traceEvents"]
    return sorted({event["name"].split()[0] for event in events if event["ph"] == "X"})


def test_a_table_follows_the_report(tmp_path: Path) -> None:
    code, out, err = finished(
        "run", write_program(tmp_path, ROBOT), "--duration", "0.5", "--profile"
    )
    assert (code, err) == (0, "")
    report, _, profile = out.partition("\n\n")
    assert "robot ran 0.50 s and ended" in report
    lines = profile.splitlines()
    assert lines[0].startswith("where 0.50 s went: ")
    assert lines[1].split() == ["node", "in", "ticks", "loop", "thread", "runs", "awaits", "cpu"]
    assert [line.split()[:3] for line in lines[2:4]] == [
        ["Imu-1", "loop", "50"],
        ["Camera-1", "pool", "10"],
    ]
    assert "pool: 0.0 of 4 tokens were taken on average" in profile
    assert max(map(len, lines)) <= 80


def test_json_has_it_beside_the_report(tmp_path: Path) -> None:
    program = write_program(tmp_path, ROBOT)
    code, out, err = finished("run", program, "--duration", "0.3", "--profile", "--json")
    assert (code, err) == (0, "")
    report = json.loads(out)
    assert report["name"] == "robot"
    assert [node["name"] for node in report["profile"]["nodes"]] == ["Imu-1", "Camera-1"]
    assert report["profile"]["pool"]["tokens"] == 4


def test_json_is_as_ever_without_it(tmp_path: Path) -> None:
    _, out, _ = finished("run", write_program(tmp_path, ROBOT), "--duration", "0", "--json")
    assert "profile" not in json.loads(out)


def test_a_trace_is_written(tmp_path: Path) -> None:
    program, trace = write_program(tmp_path, ROBOT), tmp_path / "a trace.json"
    code, out, err = finished("run", program, "--duration", "0.3", "--profile-trace", trace)
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == f"trace: {trace} (open it in https://ui.perfetto.dev)"
    assert {"tick", "waits"} <= set(slices(trace))


def test_quiet_shows_a_profile_only_if_that_is_asked_for(tmp_path: Path) -> None:
    program, trace = write_program(tmp_path, ROBOT), tmp_path / "trace.json"
    words = ("run", program, "--duration", "0.2", "--quiet")
    assert finished(*words, "--profile-trace", trace) == (0, "", "")
    assert "tick" in slices(trace)
    code, out, _ = finished(*words, "--profile")
    assert code == 0
    assert out.startswith("where 0.20 s went: ")


FAILING = """
    import horus_trio as horus

    class Camera(horus.AsyncNode):
        failure_policy = horus.Fatal()
        async def tick_async(self):
            raise OSError("no device")
"""


def test_a_run_that_fails_has_its_trace_too(tmp_path: Path) -> None:
    program, trace = write_program(tmp_path, FAILING), tmp_path / "trace.json"
    code, out, err = finished("run", program, "--profile-trace", trace, "--no-control")
    assert code == 1
    assert "\nwhere 0.0" in out
    assert "OSError: no device" in err
    assert "horus_trio/profiling" not in err
    [tick] = [e for e in json.loads(trace.read_text())["traceEvents"] if e["name"] == "tick 1"]
    assert tick["args"]["status"] == "error"


def test_all_frames_on_demand_are_still_not_those_of_the_profiler(tmp_path: Path) -> None:
    program = write_program(tmp_path, FAILING)
    code, _, err = finished("run", program, "--profile", "--traceback", "--no-control")
    assert code == 1
    assert "horus_trio/executor" in err
    assert "horus_trio/profiling" not in err


@pytest.mark.parametrize(("signals", "expected"), [(1, 0), (2, 1)])
def test_a_run_that_is_interrupted_has_its_trace_too(
    tmp_path: Path, signals: int, expected: int
) -> None:
    program = write_program(
        tmp_path,
        ROBOT
        + """
    class Slow(horus.AsyncNode):
        async def tick_async(self):
            print("ticking", flush=True)
        async def shutdown(self):
            import trio
            print("shutting down", flush=True)
            await trio.sleep(2.5 if TWICE else 0)
    """.replace("TWICE", str(signals == 2)),
    )
    trace = tmp_path / "trace.json"
    with started("run", program, "--profile-trace", trace) as process:
        read_until(process, "ticking")
        process.send_signal(signal.SIGINT)
        if signals == 2:
            read_until(process, "shutting down")
            process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=30)
    assert process.returncode == expected
    assert "trace: " in out
    assert "shutdown" in slices(trace)


def read_until(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if text in line:
            return
    pytest.fail(f"it ended without saying {text!r}")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere/trace.json"], "--profile-trace: nowhere/trace.json: No such file or directory"),
        (["."], "--profile-trace: .: Is a directory"),
        ([], "argument --profile-trace: expected one argument"),
    ],
)
def test_a_file_that_cannot_be_is_said_before_the_run(
    tmp_path: Path, words: list[str], said: str
) -> None:
    write_program(tmp_path, ROBOT)
    code, out, err = finished("run", "robot.py", "--profile-trace", *words, cwd=tmp_path)
    assert (code, out) == (2, "")
    assert said in err


def test_a_full_disk_is_said_and_shows_in_the_exit_code(tmp_path: Path) -> None:
    if not os.path.exists("/dev/full"):  # noqa: PTH110
        pytest.skip("needs /dev/full, which Linux has")
    program = write_program(tmp_path, ROBOT)
    words = ("run", program, "--duration", "0.2", "--profile-trace", "/dev/full")
    code, out, err = finished(*words)
    assert code == 1
    assert err.startswith("horus-trio run: --profile-trace: /dev/full: [Errno 28] No space left")
    assert "where 0.20 s went: " in out  # what is known is shown
    assert "trace: " not in out


def test_a_target_that_cannot_run_leaves_the_file_alone(tmp_path: Path) -> None:
    trace = tmp_path / "trace.json"
    trace.write_text("of yesterday")
    code, _, _ = finished("run", tmp_path / "nowhere.py", "--profile-trace", trace)
    assert code == 2
    assert trace.read_text() == "of yesterday"


def test_the_live_table_goes_on_as_ever(tmp_path: Path) -> None:
    program = write_program(tmp_path, ROBOT)
    with Screen("run", program, "--duration", "1", "--profile") as screen:
        screen.read(until="Imu-1")
        shown = screen.read()
        assert screen.process.wait(10) == 0
    assert "where 1.00 s went: " in shown


def test_who_blocks_the_loop_is_named_without_frames_of_the_profiler(tmp_path: Path) -> None:
    program = write_program(
        tmp_path,
        """
    import time, trio, horus_trio as horus

    scheduler = horus.Scheduler(stall_after=0.2)

    async def tick(node):
        await trio.sleep(0.01)
        time.sleep(0.7)
        node.request_stop()

    scheduler.add(horus.Node("culprit", tick=tick))
    """,
    )
    code, out, err = finished("run", program, "--profile", "--plain", "--no-control")
    assert code == 0
    assert "by node 'culprit' (tick 1) at " in err
    assert "horus_trio/profiling" not in err
    assert "HINT culprit: it blocked the loop for 7" in out


def test_help_names_it() -> None:
    code, out, _ = finished("run", "--help")
    assert code == 0
    assert "--profile " in out
    assert "--profile-trace FILE" in out
